using System.Data;
using System.Data.Common;
using System.Runtime.CompilerServices;
using Dapper;
using Microsoft.Data.Sqlite;

namespace Pakhouse.Server;

/// <summary>
/// SQLite: one file in the data folder, and one for the history of key usage; each has one writer at a time. For one machine.
/// </summary>
public sealed class SqliteDatabase : Database
{
    private readonly string folder;
    private readonly string connectionString;
    private readonly SqliteUsage usage;
    private readonly SemaphoreSlim writer = new(1, 1);
    private readonly SemaphoreSlim usageWriter = new(1, 1);
    private readonly DiskReserve reserve;

    /// <summary>How far a correct clock can be behind the newest time that was written (summer time, a wrong zone).</summary>
    private static readonly TimeSpan behindMax = TimeSpan.FromDays(1);

    /// <summary>
    /// How far a correct clock can be ahead of it. A longer pause of the server looks like a wrong clock, so the operator must decide.
    /// </summary>
    private static readonly TimeSpan aheadMax = TimeSpan.FromDays(31);

    // A pool, which is the whole process's, gives connections back as they were. By SQLite's handles: those that have been set up.
    private static readonly ConditionalWeakTable<object, object> settled = [];

    private DateTimeOffset seenAt;

    public SqliteDatabase(PakhouseOptions options)
        : this(options.DataFolder) { }

    internal SqliteDatabase(string dataFolder)
    {
        folder = dataFolder;
        FilePath = Path.Combine(folder, "pakhouse.db");
        usage = new SqliteUsage(folder);
        reserve = new DiskReserve(folder);
        ProtectionKeys = new ProtectionKeyFiles(Path.Combine(folder, "data-protection"));
        connectionString = new SqliteConnectionStringBuilder
        {
            DataSource = FilePath,
            ForeignKeys = true,
            DefaultTimeout = 5,
        }.ToString();
    }

    public string FilePath { get; }

    public string UsageFilePath => usage.FilePath;

    public override string DisplayName => FilePath;

    public override ProtectionKeyStore ProtectionKeys { get; }

    public override bool IsMade => File.Exists(FilePath);

    /// <summary>There is no space for any change, or only the space reserved for the end of keys.</summary>
    public override bool IsDiskFull => reserve.IsDiskFull || !reserve.TryFill();

    /// <summary>Creates the data folder (0700) and its file (0600) if they are missing, and updates the schema.</summary>
    public override void Prepare()
    {
        DataFolder.Create(folder);
        DataFolder.Open(FilePath, FileMode.OpenOrCreate).Dispose(); // SQLite gives its -wal and -shm files the mode of the file itself
        while (true)
        {
            try
            {
                Migrate();
                reserve.TryFill();
                return;
            }
            catch (SqliteException e) when (IsFull(e) && reserve.TryRelease())
            {
                // After an orderly stop even a reader needs a little space, for the files next to the database.
            }
            catch (SqliteException e)
            {
                throw new StartupException(
                    IsFull(e) ? $"The disk of {folder} is full. Free some space." : $"The database {FilePath} cannot be used: {e.Message}",
                    e
                );
            }
        }
    }

    private void Migrate()
    {
        using var connection = new SqliteConnection(Unpooled(connectionString));
        connection.Open();
        connection.Execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA temp_store=MEMORY;");
        var isNew = connection.ExecuteScalar<long>("SELECT COUNT(*) FROM sqlite_master") == 0;
        Migrations.Run(connection, Schema.Sqlite);
        IsUsageLost = !usage.Prepare(connection, isNew);
    }

    protected override Task<T> WriteOwnAsync<T>(Func<DbTransaction, Task<T>> change) => WriteAsync(writer, BeginAsync, change);

    protected override Task<T> WriteOwnUsageAsync<T>(Func<DbTransaction, Task<T>> change) =>
        WriteAsync(usageWriter, BeginUsageAsync, change);

    /// <summary>
    /// It holds the write lock of <c>pakhouse.db</c> from its start, also against other processes, but no lock of the other file.
    /// BEGIN IMMEDIATE would wait for flushes. So it begins without a lock (which the library calls ReadUncommitted), and takes the lock
    /// of the one file by a statement that changes nothing.
    /// </summary>
    private async Task<DbTransaction> BeginAsync()
    {
        var transaction = await (await OpenAsync()).BeginTransactionAsync(IsolationLevel.ReadUncommitted);
        await transaction.Connection!.ExecuteAsync("DELETE FROM counters WHERE 0 = 1", transaction: transaction);
        return transaction;
    }

    private async Task<DbTransaction> BeginUsageAsync() =>
        await Opened(await OpenAsync(usage.ConnectionString, "")).BeginTransactionAsync(IsolationLevel.Serializable);

    private async Task<T> WriteAsync<T>(SemaphoreSlim gate, Func<Task<DbTransaction>> begin, Func<DbTransaction, Task<T>> change)
    {
        // A file has one writer. Waiting here is fair and costs nothing; SQLite waits by polling.
        await gate.WaitAsync();
        try
        {
            while (true)
            {
                TransactionNotes? notes = null;
                try
                {
                    await using var transaction = await begin();
                    await using var connection = transaction.Connection!;
                    notes = TransactionNotes.Begin(transaction);
                    var result = await change(transaction);
                    // The space released from the reserve is for the end of keys.
                    if (!notes.IsUrgent && !reserve.TryFill())
                        throw new DiskFullException();
                    await transaction.CommitAsync();
                    Committed?.Invoke(notes);
                    return result;
                }
                catch (SqliteException e) when (IsFull(e))
                {
                    if (notes is not { IsUrgent: true } || !reserve.TryRelease())
                        throw new DiskFullException(e);
                    await ReuseLogAsync(); // and try once more from the start
                }
            }
        }
        finally
        {
            gate.Release();
        }
    }

    protected override Task<T> WriteOwnAloneAsync<T>(Func<DbTransaction, Task<T>> change) => WriteOwnAsync(change);

    protected override async Task<T> SnapshotOwnAsync<T>(Func<DbTransaction, Task<T>> read)
    {
        await using var connection = await OpenOwnAsync();
        await using var transaction = connection.BeginTransaction(deferred: true);
        return await read(transaction);
    }

    /// <summary>Writes a complete copy into new files, each from one consistent moment, while the server runs.</summary>
    internal async Task CopyToAsync(string file, string usageFile)
    {
        await using var connection = await OpenOwnAsync();
        await connection.ExecuteAsync("VACUUM main INTO @file", new { file }, commandTimeout: 0);
        await connection.ExecuteAsync("VACUUM usage INTO @usageFile", new { usageFile }, commandTimeout: 0);
    }

    public override async Task<TimeBounds> ReadTimeBoundsAsync()
    {
        // The newest time that was written: by the clock watch, or in a database of an earlier version by its last change.
        var newest = await ReadAsync(connection =>
            connection.ExecuteScalarAsync<long?>(
                """
                SELECT COALESCE((SELECT CAST(value AS BIGINT) FROM deployment WHERE name = 'seen_at'),
                                (SELECT at FROM activity ORDER BY id DESC LIMIT 1))
                """
            )
        );
        if (newest is null)
            return TimeBounds.Any;
        var seen = DateTimeOffset.FromUnixTimeMilliseconds(newest.Value);
        return new TimeBounds(seen - behindMax, seen + aheadMax, $"the newest time in the database, {seen:u},");
    }

    /// <summary>Once an hour, so that an idle server does not use the disk.</summary>
    public override async Task WriteSeenTimeAsync(DateTimeOffset now, bool accept)
    {
        if (!accept && (now - seenAt).Duration() < TimeSpan.FromHours(1))
            return;
        await WriteAsync(transaction =>
            transaction.Connection!.ExecuteAsync(
                """
                INSERT INTO deployment (name, value) VALUES ('seen_at', @now)
                ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE @accept = 1
                    OR CAST(deployment.value AS BIGINT) < @milliseconds
                """,
                new
                {
                    now = now.ToUnixTimeMilliseconds().ToString(),
                    milliseconds = now,
                    accept = accept ? 1L : 0L,
                },
                transaction
            )
        );
        seenAt = now;
    }

    /// <summary>Closes every connection and merges the logs into the files: after an orderly stop the files alone are complete.</summary>
    public override async ValueTask DisposeAsync()
    {
        await base.DisposeAsync();
        writer.Dispose();
        usageWriter.Dispose();
        await CloseAsync(FilePath, connectionString);
        await CloseAsync(UsageFilePath, usage.ConnectionString);
    }

    private static async Task CloseAsync(string file, string connectionString)
    {
        await using var last = new SqliteConnection(Unpooled(connectionString));
        SqliteConnection.ClearPool(new SqliteConnection(connectionString));
        if (!File.Exists(file)) return; // a temporary folder that was already deleted
        try
        {
            await last.OpenAsync();
            await last.ExecuteAsync("PRAGMA busy_timeout=1000; PRAGMA wal_checkpoint(TRUNCATE);");
        }
        catch (SqliteException)
        {
            // Another process reads, or the disk is full: the log file stays, and nothing in it is lost.
        }
    }

    private static string Unpooled(string connectionString) =>
        new SqliteConnectionStringBuilder(connectionString) { Pooling = false }.ToString();

    internal static bool IsUnavailableFault(Exception exception) =>
        exception
            is SqliteException
        {
            // PERM, BUSY, LOCKED, READONLY, IOERR, CORRUPT, FULL, CANTOPEN, PROTOCOL, NOTADB: a fault of the file, not of our statement.
            SqliteErrorCode: 3 or 5 or 6 or 8 or 10 or 11 or 13 or 14 or 15 or 26,
        };

    /// <summary>Besides FULL: the errors of SQLite when it cannot create the files next to the database.</summary>
    private bool IsFull(SqliteException e) => e.SqliteErrorCode == 13 || (e.SqliteErrorCode is 10 or 14 && reserve.IsDiskFull);

    /// <summary>Moves the content of the log into the database, so that the log is written from its start again, in its existing
    /// space.</summary>
    private async Task ReuseLogAsync()
    {
        try
        {
            await using var connection = await OpenAsync();
            await connection.ExecuteAsync("PRAGMA wal_checkpoint(RESTART)");
        }
        catch (SqliteException)
        {
            // A reader blocks it, or the database itself needs the space; then the log grows.
        }
    }

    public override int InsertBatchRows => 4;

    protected override int PreparedConnectionsMax => 64;

    protected override PreparedRead MakeRead(string sql, int keptMax, string[] parameters) =>
        new(OpenReaderAsync, sql, parameters, keptMax, isPrepared: true);

    /// <summary>
    /// Kept, and so a connection outside the pool's use. It maps the file (up to 2 GB of it, SQLite's limit) instead of copying pages out
    /// of it: as long as nothing changes in the file, and flushes do not, a read of an exchange takes four fifths of the time.
    /// </summary>
    private async Task<DbConnection> OpenReaderAsync()
    {
        var connection = await OpenOwnAsync();
        await connection.ExecuteAsync("PRAGMA main.mmap_size=2147418112");
        return Opened(connection);
    }

    protected override async Task<DbConnection> OpenAsync() => Opened(await OpenOwnAsync());

    private Task<SqliteConnection> OpenOwnAsync() =>
        OpenAsync(connectionString, "ATTACH @UsageFilePath AS usage; PRAGMA usage.synchronous=FULL;");

    /// <param name="also">What else a new connection is told.</param>
    private async Task<SqliteConnection> OpenAsync(string to, string also)
    {
        var connection = new SqliteConnection(to);
        try
        {
            await connection.OpenAsync();
            if (!settled.TryGetValue(connection.Handle!, out _))
            {
                // FULL: NORMAL lost acknowledged commits in a rehearsed power cut. busy_timeout: another process (a command) may be
                // writing. temp_store: nothing but the data folder needs to be writable.
                await connection.ExecuteAsync(
                    $"PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA busy_timeout=5000; PRAGMA temp_store=MEMORY; {also}",
                    new { UsageFilePath });
                settled.AddOrUpdate(connection.Handle!, connection);
            }

            return connection;
        }
        catch
        {
            await connection.DisposeAsync();
            throw;
        }
    }
}
