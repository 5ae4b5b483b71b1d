using System.Data;
using Dapper;
using Microsoft.Data.Sqlite;

namespace Pakhouse.Server;

/// <summary>
/// The second file of SQLite, <c>usage.db</c>: how keys are used, written in batches every few seconds. In the file that exchanges read,
/// each of these commits would empty the page cache of every reader. Pages join the two: every connection to <c>pakhouse.db</c> has this
/// one attached, and no table is in both, so statements need no prefix.
/// <para>It decides nothing. A missing file is made anew, and the history of use begins again.</para>
/// </summary>
internal sealed class SqliteUsage(string folder)
{
    public static readonly IReadOnlyList<string> Tables = ["key_use_hours", "key_networks", "key_late_uses"];

    public string FilePath { get; } = Path.Combine(folder, "usage.db");

    public string ConnectionString => new SqliteConnectionStringBuilder { DataSource = FilePath, DefaultTimeout = 5 }.ToString();

    /// <summary>Makes the file (0600) where it is missing, and brings its schema up to date.</summary>
    /// <param name="main">A connection to <c>pakhouse.db</c> whose schema is up to date. This file is attached to it.</param>
    /// <returns>False: it was missing although <c>pakhouse.db</c> was in use.</returns>
    /// <exception cref="StartupException">It cannot be used.</exception>
    public bool Prepare(SqliteConnection main, bool isMainNew)
    {
        var isThere = File.Exists(FilePath);
        var isInMain = IsInMain(main);
        try
        {
            DataFolder.Open(FilePath, FileMode.OpenOrCreate).Dispose();
            using (var own = new SqliteConnection(new SqliteConnectionStringBuilder(ConnectionString) { Pooling = false }.ToString()))
            {
                own.Open();
                own.Execute("PRAGMA journal_mode=WAL");
                Migrations.Run(own, Schema.SqliteUsage);
            }

        }
        catch (SqliteException e) when (e.SqliteErrorCode is 11 or 26) // CORRUPT, NOTADB
        {
            throw new StartupException(
                $"The database {FilePath} cannot be used: {e.Message}. It holds nothing but the history of key use. " +
                "Move usage.db, usage.db-wal and usage.db-shm away, and the server makes a new one.", e);
        }

        main.Execute("ATTACH @FilePath AS usage", new { FilePath });
        if (isInMain) MoveOut(main);
        return isThere || isInMain || isMainNew;
    }

    /// <summary>Before, the tables were in <c>pakhouse.db</c>.</summary>
    private static bool IsInMain(SqliteConnection main) =>
        main.ExecuteScalar<long>("SELECT COUNT(*) FROM main.sqlite_master WHERE name = @table", new { table = Tables[0] }) > 0;

    /// <summary>Copies first: of two files, a crash can leave one commit without the other, and then it begins again.</summary>
    private static void MoveOut(SqliteConnection main)
    {
        using (var copy = main.BeginTransaction(IsolationLevel.Serializable))
        {
            foreach (var table in Tables)
                main.Execute($"INSERT OR IGNORE INTO usage.{table} SELECT * FROM main.{table}", transaction: copy, commandTimeout: 0);
            copy.Commit();
        }

        using var drop = main.BeginTransaction(IsolationLevel.Serializable);
        foreach (var table in Tables) main.Execute($"DROP TABLE main.{table}", transaction: drop, commandTimeout: 0);
        drop.Commit();
    }
}
