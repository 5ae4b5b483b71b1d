using System.Data;
using System.Data.Common;
using Dapper;
using DbUp;
using Microsoft.AspNetCore.DataProtection.Repositories;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Logging.Abstractions;

namespace Pakhouse.Server;

/// <summary>SQLite: one file under the data folder, one writer at a time. For one machine.</summary>
public sealed class SqliteDatabase : Database
{
    private readonly string folder;
    private readonly string connectionString;
    private readonly SemaphoreSlim writer = new(1, 1);

    /// <summary>A right clock is at most so far behind the newest time that was written. (Summer time, a zone set wrong.)</summary>
    private static readonly TimeSpan behindMax = TimeSpan.FromDays(1);

    /// <summary>And so far ahead: a longer pause of the server cannot be told from a wrong clock, and somebody must say which it is.</summary>
    private static readonly TimeSpan aheadMax = TimeSpan.FromDays(31);

    private DateTimeOffset seenAt;

    public SqliteDatabase(PakhouseOptions options) : this(options.DataFolder)
    {
    }

    internal SqliteDatabase(string dataFolder)
    {
        folder = dataFolder;
        FilePath = Path.Combine(folder, "pakhouse.db");
        connectionString = new SqliteConnectionStringBuilder
        {
            DataSource = FilePath,
            ForeignKeys = true,
            DefaultTimeout = 5,
        }.ToString();
    }

    public string FilePath { get; }

    public override string Place => FilePath;

    public override IXmlRepository ProtectionKeys => new FileSystemXmlRepository(new DirectoryInfo(Path.Combine(folder, "data-protection")), NullLoggerFactory.Instance);

    /// <summary>Makes the data folder (0700) and its file (0600) where they are missing, and brings the schema up to date.</summary>
    public override void Prepare()
    {
        DataFolder.Create(folder);
        if (!OperatingSystem.IsWindows())
        {
            // SQLite gives its -wal and -shm files the mode of the file itself.
            new FileStream(FilePath, new FileStreamOptions
            {
                Mode = FileMode.OpenOrCreate,
                Access = FileAccess.ReadWrite,
                Share = FileShare.ReadWrite,
                UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
            }).Dispose();
        }

        try
        {
            Migrations.Apply("sqlite", DeployChanges.To.SqliteDatabase(connectionString));
        }
        catch (SqliteException e)
        {
            throw new StartupException($"The database {FilePath} cannot be used: {e.Message}", e);
        }
    }

    public override async Task<T> WriteAsync<T>(Func<DbTransaction, Task<T>> change)
    {
        // SQLite has one writer. Waiting here is fair and costs nothing; waiting in SQLite is a poll.
        await writer.WaitAsync();
        try
        {
            await using var connection = await OpenAsync();
            // Not deferred at this level: it holds the write lock from its first moment, also against other processes.
            await using var transaction = await connection.BeginTransactionAsync(IsolationLevel.Serializable);
            var result = await change(transaction);
            await transaction.CommitAsync();
            return result;
        }
        finally
        {
            writer.Release();
        }
    }

    public override Task<T> WriteAloneAsync<T>(Func<DbTransaction, Task<T>> change) => WriteAsync(change);

    public override async Task<T> SnapshotAsync<T>(Func<DbTransaction, Task<T>> read)
    {
        await using var connection = (SqliteConnection)await OpenOwnAsync();
        await using var transaction = connection.BeginTransaction(deferred: true);
        return await read(transaction);
    }

    /// <summary>Writes a whole copy into a new file, as it stands at one moment, while the server goes on.</summary>
    internal async Task CopyToAsync(string file)
    {
        await using var connection = await OpenOwnAsync();
        await connection.ExecuteAsync("VACUUM INTO @file", new { file }, commandTimeout: 0);
    }

    public override async Task<TimeBounds> ReadTimeBoundsAsync()
    {
        // The newest time that was written: by the watch, and in a database of an earlier version by whatever happened last.
        var newest = await ReadAsync(connection => connection.ExecuteScalarAsync<long?>(
            """
            SELECT COALESCE((SELECT CAST(value AS BIGINT) FROM deployment WHERE name = 'seen_at'),
                            (SELECT at FROM activity ORDER BY id DESC LIMIT 1))
            """));
        if (newest is null) return TimeBounds.Any;
        var seen = DateTimeOffset.FromUnixTimeMilliseconds(newest.Value);
        return new TimeBounds(seen - behindMax, seen + aheadMax, $"the newest time in the database, {seen:u},");
    }

    /// <summary>Once an hour: an idle server leaves its disk alone.</summary>
    public override async Task WriteSeenTimeAsync(DateTimeOffset now, bool accept)
    {
        if (!accept && (now - seenAt).Duration() < TimeSpan.FromHours(1)) return;
        await WriteAsync(transaction => transaction.Connection!.ExecuteAsync(
            """
            INSERT INTO deployment (name, value) VALUES ('seen_at', @now)
            ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE @accept = 1 OR CAST(deployment.value AS BIGINT) < @milliseconds
            """, new { now = now.ToUnixTimeMilliseconds().ToString(), milliseconds = now, accept = accept ? 1L : 0L }, transaction));
        seenAt = now;
    }

    /// <summary>Closes every connection and folds the log into the file: after an orderly stop the file alone is whole.</summary>
    public override async ValueTask DisposeAsync()
    {
        await base.DisposeAsync();
        writer.Dispose();
        await using var last = new SqliteConnection(new SqliteConnectionStringBuilder(connectionString) { Pooling = false }.ToString());
        SqliteConnection.ClearPool(new SqliteConnection(connectionString));
        if (!File.Exists(FilePath)) return; // a temporary folder that is gone already
        try
        {
            await last.OpenAsync();
            await last.ExecuteAsync("PRAGMA busy_timeout=1000; PRAGMA wal_checkpoint(TRUNCATE);");
        }
        catch (SqliteException)
        {
            // Somebody else reads, or the disk is full: the log stays beside the file, and nothing in it is lost.
        }
    }

    internal static bool IsItsAbsence(Exception exception) => exception is SqliteException
    {
        // PERM, BUSY, LOCKED, READONLY, IOERR, CORRUPT, FULL, CANTOPEN, PROTOCOL, NOTADB: the file, not our statement.
        SqliteErrorCode: 3 or 5 or 6 or 8 or 10 or 11 or 13 or 14 or 15 or 26,
    };

    public override int RowsInStatement => 4;

    protected override int SpareConnections => 64;

    protected override PreparedRead MakeRead(string sql, int keptMax, string[] parameters) => new(OpenAsync, sql, parameters, keptMax, isPrepared: true);

    protected override async Task<DbConnection> OpenAsync() => Opened(await OpenOwnAsync());

    private async Task<DbConnection> OpenOwnAsync()
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
}

/// <summary>The folder on this machine: the SQLite file and, with it, the Data Protection keys.</summary>
internal static class DataFolder
{
    /// <summary>With mode 0700 where it is missing. A Windows profile folder is its user's own.</summary>
    public static void Create(string folder)
    {
        if (OperatingSystem.IsWindows()) Directory.CreateDirectory(folder);
        else Directory.CreateDirectory(folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
    }
}
