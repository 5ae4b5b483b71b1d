using System.Collections.Concurrent;
using System.Data;
using System.Data.Common;

namespace Pakhouse.Server;

/// <summary>
/// One SELECT, prepared once on each of a few kept connections. In an exchange, a new command on a pooled connection costs a third of the
/// rate. A result is never cached: each call reads the current database.
/// </summary>
/// <param name="keptMax">Connections for this statement, in use and kept. Further calls wait, for at most <see cref="WaitMax"/>.</param>
/// <param name="isPrepared">Off behind a pooler, which may run the next call on another connection.</param>
public sealed class PreparedRead(Func<Task<DbConnection>> open, string sql, string[] parameters, int keptMax, bool isPrepared)
    : IAsyncDisposable
{
    /// <summary>A call that finds no free connection for this long gets 503.</summary>
    public static readonly TimeSpan WaitMax = TimeSpan.FromSeconds(3);

    private readonly ConcurrentQueue<DbCommand> idle = new();
    private readonly SemaphoreSlim places = new(keptMax);

    /// <summary>The row, or default if there is none.</summary>
    /// <param name="row">Reads the columns by position; the reader is on its row.</param>
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
                    // The connection and the others were kept while the database restarted or moved. This is a read, so it runs once more,
                    // on a new connection. Not after a timeout: the caller has waited long enough.
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
            await CloseAsync(command); // a connection with any failure is not kept
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
