using System.Collections.Concurrent;
using System.Data;
using System.Data.Common;
using System.Diagnostics.CodeAnalysis;

namespace Pakhouse.Server;

/// <summary>
/// One SELECT, prepared once on each of a few kept connections. On the path of an exchange a new command on a pooled
/// connection costs a third of the rate. A result is never kept: each call reads the database as it is.
/// </summary>
/// <param name="keptMax">Connections kept open for this statement. More may be in use at once; those are given back to their pool.</param>
/// <param name="isPrepared">Off where a pooler stands between, which may run the next call on another connection.</param>
public sealed class PreparedRead(Func<Task<DbConnection>> open, string sql, string[] parameters, int keptMax, bool isPrepared) : IAsyncDisposable
{
    private readonly ConcurrentQueue<DbCommand> idle = new();
    private int kept;

    /// <summary>The row, or default when there is none.</summary>
    /// <param name="row">Reads the columns by position; the reader is at its row.</param>
    /// <param name="values">One for each parameter, in order.</param>
    public async ValueTask<T?> SingleAsync<T>(Func<DbDataReader, T> row, params string?[] values)
    {
        if (TryTakeIdle(out var command))
        {
            try
            {
                return await ReadAsync(command, row, values);
            }
            catch (DbException e) when (Database.IsOutOfReach(e) && e.InnerException is not TimeoutException)
            {
                // It was kept while the database restarted or moved, as were the others. This is a read: once more, on a new connection.
                // Not after a timeout: the caller has waited enough.
                await DropIdleAsync();
            }
        }

        return await ReadAsync(await PrepareAsync(), row, values);
    }

    public ValueTask DisposeAsync() => DropIdleAsync();

    private async ValueTask<T?> ReadAsync<T>(DbCommand command, Func<DbDataReader, T> row, string?[] values)
    {
        try
        {
            for (var i = 0; i < values.Length; i++) command.Parameters[i].Value = (object?)values[i] ?? DBNull.Value;

            T? result;
            // Disposing the reader resets the statement: no read transaction stays open, so the next call sees the newest commit (R6).
            await using (var reader = await command.ExecuteReaderAsync())
                result = await reader.ReadAsync() ? row(reader) : default;

            if (Interlocked.Increment(ref kept) <= keptMax)
            {
                idle.Enqueue(command);
            }
            else
            {
                Interlocked.Decrement(ref kept);
                await CloseAsync(command);
            }

            return result;
        }
        catch
        {
            await CloseAsync(command); // a connection on which anything failed is not kept
            throw;
        }
    }

    private bool TryTakeIdle([NotNullWhen(true)] out DbCommand? command)
    {
        if (!idle.TryDequeue(out command)) return false;
        Interlocked.Decrement(ref kept);
        return true;
    }

    private async ValueTask DropIdleAsync()
    {
        while (TryTakeIdle(out var command)) await CloseAsync(command);
    }

    private async Task<DbCommand> PrepareAsync()
    {
        var connection = await open();
        try
        {
            var command = connection.CreateCommand();
            command.CommandText = sql;
            foreach (var name in parameters)
            {
                var parameter = command.CreateParameter();
                (parameter.ParameterName, parameter.DbType) = (name, DbType.String);
                command.Parameters.Add(parameter);
            }

            if (isPrepared) await command.PrepareAsync();
            return command;
        }
        catch
        {
            await connection.DisposeAsync();
            throw;
        }
    }

    private static async ValueTask CloseAsync(DbCommand command)
    {
        var connection = command.Connection;
        await command.DisposeAsync();
        if (connection is not null) await connection.DisposeAsync();
    }
}
