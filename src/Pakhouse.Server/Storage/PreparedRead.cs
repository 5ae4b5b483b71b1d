using System.Collections.Concurrent;
using System.Data;
using System.Data.Common;

namespace Pakhouse.Server;

/// <summary>
/// One SELECT, prepared once on each of a few kept connections. On the path of an exchange a new command on a pooled
/// connection costs a third of the rate. A result is never kept: each call reads the database as it is.
/// </summary>
/// <param name="keptMax">Connections for this statement, in use and kept. More calls at once wait, for <see cref="WaitMax"/> at
/// most.</param>
/// <param name="isPrepared">Off where a pooler stands between, which may run the next call on another connection.</param>
public sealed class PreparedRead(Func<Task<DbConnection>> open, string sql, string[] parameters, int keptMax, bool isPrepared)
    : IAsyncDisposable
{
    /// <summary>A call that finds every connection taken for this long is answered 503.</summary>
    public static readonly TimeSpan WaitMax = TimeSpan.FromSeconds(3);

    private readonly ConcurrentQueue<DbCommand> idle = new();
    private readonly SemaphoreSlim places = new(keptMax);

    /// <summary>The row, or default when there is none.</summary>
    /// <param name="row">Reads the columns by position; the reader is at its row.</param>
    /// <param name="values">One for each parameter, in order.</param>
    public async ValueTask<T?> SingleAsync<T>(Func<DbDataReader, T> row, params string?[] values)
    {
        if (!await places.WaitAsync(WaitMax)) throw new TimeoutException("Every connection of a prepared read is taken.");
        try
        {
            if (idle.TryDequeue(out var command))
            {
                try
                {
                    return await ReadAsync(command, row, values);
                }
                catch (DbException e) when (Database.IsUnavailable(e) && e.InnerException is not TimeoutException)
                {
                    // It was kept while the database restarted or moved, as were the others. This is a read: once more, on a new
                    // connection. Not after a timeout: the caller has waited enough.
                    await DropIdleAsync();
                }
            }

            return await ReadAsync(await PrepareAsync(), row, values);
        }
        finally
        {
            places.Release();
        }
    }

    public async ValueTask DisposeAsync()
    {
        await DropIdleAsync();
        places.Dispose();
    }

    private async ValueTask<T?> ReadAsync<T>(DbCommand command, Func<DbDataReader, T> row, string?[] values)
    {
        try
        {
            for (var i = 0; i < values.Length; i++) command.Parameters[i].Value = (object?)values[i] ?? DBNull.Value;

            T? result;
            // Disposing the reader resets the statement: no read transaction stays open, so the next call sees the newest commit (R6).
            await using (var reader = await command.ExecuteReaderAsync())
                result = await reader.ReadAsync() ? row(reader) : default;
            idle.Enqueue(command);
            return result;
        }
        catch
        {
            await CloseAsync(command); // a connection on which anything failed is not kept
            throw;
        }
    }

    private async ValueTask DropIdleAsync()
    {
        while (idle.TryDequeue(out var command)) await CloseAsync(command);
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
