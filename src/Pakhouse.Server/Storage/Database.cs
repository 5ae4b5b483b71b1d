using System.Collections.Concurrent;
using System.Data;
using System.Data.Common;
using Dapper;
using Microsoft.Data.Sqlite;

namespace Pakhouse.Server;

/// <summary>
/// The way to the database: connections, transactions, and prepared reads on kept connections. It owns no SQL of the
/// product: each room holds its own, one text for every database.
/// <para>Invariant: what <see cref="WriteAsync{T}"/> has returned is on the disk (<c>synchronous=FULL</c>), and every
/// read that begins afterwards sees it.</para>
/// </summary>
public sealed class Database : IAsyncDisposable
{
    private readonly string connectionString;
    private readonly SemaphoreSlim writer = new(1, 1);
    private readonly ConcurrentBag<PreparedRead> preparedReads = [];

    static Database() => ColumnTypes.Register();

    public Database(PakhouseOptions options)
    {
        Folder = options.DataFolder;
        FilePath = Path.Combine(Folder, "pakhouse.db");
        connectionString = new SqliteConnectionStringBuilder
        {
            DataSource = FilePath,
            ForeignKeys = true,
            DefaultTimeout = 5,
        }.ToString();
    }

    public string Folder { get; }

    public string FilePath { get; }

    /// <summary>Makes the data folder (0700) and its file (0600) where they are missing, and brings the schema up to date.</summary>
    /// <exception cref="StartupException">The file was written by a newer version, or is no database.</exception>
    public void Prepare()
    {
        const UnixFileMode ownerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        if (OperatingSystem.IsWindows())
        {
            Directory.CreateDirectory(Folder); // a Windows profile folder is its user's own
        }
        else
        {
            Directory.CreateDirectory(Folder, ownerOnly | UnixFileMode.UserExecute);
            // SQLite gives its -wal and -shm files the mode of the file itself.
            new FileStream(FilePath, new FileStreamOptions { Mode = FileMode.OpenOrCreate, Access = FileAccess.ReadWrite, Share = FileShare.ReadWrite, UnixCreateMode = ownerOnly }).Dispose();
        }

        Migrations.Apply(connectionString);
    }

    /// <summary>Runs reads that need no transaction of their own.</summary>
    public async Task<T> ReadAsync<T>(Func<DbConnection, Task<T>> read)
    {
        await using var connection = await OpenAsync();
        return await read(connection);
    }

    /// <summary>
    /// Runs a change in one transaction and commits it; a throw rolls it back. The transaction holds the write lock from its
    /// first moment, so that what it reads stays true until it commits.
    /// </summary>
    public async Task<T> WriteAsync<T>(Func<DbTransaction, Task<T>> change)
    {
        // SQLite has one writer. Waiting here is fair and costs nothing; waiting in SQLite is a poll.
        await writer.WaitAsync();
        try
        {
            await using var connection = await OpenAsync();
            await using var transaction = connection.BeginTransaction(IsolationLevel.Serializable, deferred: false);
            var result = await change(transaction);
            await transaction.CommitAsync();
            return result;
        }
        finally
        {
            writer.Release();
        }
    }

    /// <summary>Runs a change that may be refused: committed when it is not, rolled back when it is.</summary>
    public async Task<Outcome<T>> ChangeAsync<T>(Func<DbTransaction, Task<Outcome<T>>> change)
    {
        try
        {
            return await WriteAsync(async transaction =>
            {
                var outcome = await change(transaction);
                return outcome.Refusal is { } refusal ? throw new RolledBackException(refusal) : outcome;
            });
        }
        catch (RolledBackException e)
        {
            return e.Refusal;
        }
    }

    /// <summary>A statement that is prepared once per connection and kept; see <see cref="PreparedRead"/>.</summary>
    public PreparedRead PrepareRead(string sql, params string[] parameters)
    {
        var read = new PreparedRead(OpenAsync, sql, parameters);
        preparedReads.Add(read);
        return read;
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var read in preparedReads) await read.DisposeAsync();
        writer.Dispose();
        SqliteConnection.ClearPool(new SqliteConnection(connectionString));
    }

    /// <summary>Whether the exception means "the database cannot be reached or used now", to be answered 503 and not 500.</summary>
    public static bool IsOutOfReach(Exception exception) => exception is SqliteException
    {
        // PERM, BUSY, LOCKED, READONLY, IOERR, CORRUPT, FULL, CANTOPEN, PROTOCOL, NOTADB: the file, not our statement.
        SqliteErrorCode: 3 or 5 or 6 or 8 or 10 or 11 or 13 or 14 or 15 or 26,
    };

    private async Task<SqliteConnection> OpenAsync()
    {
        var connection = new SqliteConnection(connectionString);
        try
        {
            await connection.OpenAsync();
            // FULL: NORMAL lost acknowledged commits in a rehearsed power cut. busy_timeout: another process (a command) may be writing.
            await connection.ExecuteAsync("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA busy_timeout=5000;");
            return connection;
        }
        catch
        {
            await connection.DisposeAsync();
            throw;
        }
    }

    private sealed class RolledBackException(Refusal refusal) : Exception
    {
        public Refusal Refusal { get; } = refusal;
    }
}

/// <summary>
/// One SELECT, prepared once on each of a few kept connections. On the path of an exchange a new command on a pooled
/// connection costs a third of the rate. A result is never kept: each call reads the database as it is.
/// </summary>
public sealed class PreparedRead(Func<Task<SqliteConnection>> open, string sql, string[] parameters) : IAsyncDisposable
{
    private readonly ConcurrentQueue<DbCommand> idle = new();

    /// <summary>The row, or default when there is none.</summary>
    /// <param name="row">Reads the columns by position; the reader is at its row.</param>
    /// <param name="values">One for each parameter, in order.</param>
    public async ValueTask<T?> SingleAsync<T>(Func<DbDataReader, T> row, params string?[] values)
    {
        if (!idle.TryDequeue(out var command)) command = await PrepareAsync();
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
            // A connection on which anything failed is not kept.
            await CloseAsync(command);
            throw;
        }
    }

    public async ValueTask DisposeAsync()
    {
        while (idle.TryDequeue(out var command)) await CloseAsync(command);
    }

    private async Task<DbCommand> PrepareAsync()
    {
        var connection = await open();
        var command = connection.CreateCommand();
        command.CommandText = sql;
        foreach (var name in parameters) command.Parameters.Add(new SqliteParameter(name, SqliteType.Text));
        await command.PrepareAsync();
        return command;
    }

    private static async ValueTask CloseAsync(DbCommand command)
    {
        var connection = command.Connection;
        await command.DisposeAsync();
        if (connection is not null) await connection.DisposeAsync();
    }
}

/// <summary>How the three types that no database here has are stored: ids as text, times as Unix milliseconds.</summary>
internal static class ColumnTypes
{
    public static void Register()
    {
        SqlMapper.RemoveTypeMap(typeof(Guid));
        SqlMapper.RemoveTypeMap(typeof(DateTimeOffset));
        SqlMapper.AddTypeHandler(new IdHandler());
        SqlMapper.AddTypeHandler(new TimeHandler());
        SqlMapper.AddTypeHandler(new RolesHandler());
        DefaultTypeMap.MatchNamesWithUnderscores = true;
    }

    private sealed class IdHandler : SqlMapper.TypeHandler<Guid>
    {
        public override Guid Parse(object value) => Guid.Parse((string)value);

        public override void SetValue(IDbDataParameter parameter, Guid value) =>
            (parameter.DbType, parameter.Value) = (DbType.String, value.ToString());
    }

    private sealed class TimeHandler : SqlMapper.TypeHandler<DateTimeOffset>
    {
        public override DateTimeOffset Parse(object value) => DateTimeOffset.FromUnixTimeMilliseconds((long)value);

        public override void SetValue(IDbDataParameter parameter, DateTimeOffset value) =>
            (parameter.DbType, parameter.Value) = (DbType.Int64, value.ToUnixTimeMilliseconds());
    }

    private sealed class RolesHandler : SqlMapper.TypeHandler<NameSet>
    {
        public override NameSet Parse(object value) => NameSet.Parse((string)value);

        public override void SetValue(IDbDataParameter parameter, NameSet? value) =>
            (parameter.DbType, parameter.Value) = (DbType.String, value?.ToString() ?? "");
    }
}
