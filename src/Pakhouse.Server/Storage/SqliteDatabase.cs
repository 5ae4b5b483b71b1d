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

    public SqliteDatabase(PakhouseOptions options)
    {
        folder = options.DataFolder;
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

    protected override async Task<DbConnection> OpenAsync()
    {
        var connection = new SqliteConnection(connectionString);
        try
        {
            await connection.OpenAsync();
            // FULL: NORMAL lost acknowledged commits in a rehearsed power cut. busy_timeout: another process (a command) may be writing.
            await connection.ExecuteAsync("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA busy_timeout=5000;");
            return Opened(connection);
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
