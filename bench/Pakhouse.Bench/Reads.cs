using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Microsoft.Data.Sqlite;

namespace Pakhouse.Bench;

/// <summary>
/// The read of an exchange by itself, on SQLite: processor time of its thread, so that others on the machine disturb it little.
/// Connections with other settings are read in turns, with a commit of counts before each turn: in the same file, or in one of its own.
/// </summary>
internal static class Reads
{
    private const int Slice = 500, Slices = 40, FlushRows = 500;

    private static readonly (string Name, string Sql, string Pragmas)[] readers =
    [
        ("by primary key", "SELECT hash, deleted_at FROM access_keys WHERE id = @id", ""),
        ("exchange", ExchangeRead.Sql, ""),
        ("exchange, cache of 64 MB", ExchangeRead.Sql, "PRAGMA cache_size=-65536"),
        ("exchange, mapped file", ExchangeRead.Sql, "PRAGMA mmap_size=4294967296"),
    ];

    public static void Run(string folder)
    {
        var ids = File.ReadLines(Path.Combine(folder, Seed.SampleFile)).Select(key => key.Split('_')[2]).ToArray();
        Console.WriteLine($"| µs a read, {ids.Length} keys of {folder} | {string.Join(" | ", readers.Select(reader => reader.Name))} |");
        Console.WriteLine($"|---|{string.Concat(readers.Select(_ => "---:|"))}");
        (string, string?)[] flushes = [("no flush", null), ("flushes in usage.db", "usage.db"), ("flushes in pakhouse.db", "pakhouse.db")];
        foreach (var (name, file) in flushes)
            Console.WriteLine($"| {name} | {string.Join(" | ", Measure(folder, ids, file).Select(time => $"{time:0.0}"))} |");
    }

    private static double[] Measure(string folder, string[] ids, string? flushed)
    {
        var commands = readers.Select(reader => Prepare(Path.Combine(folder, "pakhouse.db"), reader.Sql, reader.Pragmas)).ToArray();
        using var flush = flushed is null ? null : OpenFlush(Path.Combine(folder, flushed));
        var times = readers.Select(_ => new List<double>()).ToArray();
        for (var slice = 0; slice < Slices; slice++)
        {
            for (var i = 0; i < commands.Length; i++)
            {
                if (flush is not null)
                    Flush(flush);
                var drawn = RandomNumberGenerator.GetItems<string>(ids, Slice);
                var start = ThreadTime();
                foreach (var id in drawn)
                {
                    commands[i].Parameters[0].Value = id;
                    using var row = commands[i].ExecuteReader();
                    if (!row.Read())
                        throw new InvalidOperationException("A key of the sample is missing.");
                    if (i == 0)
                        _ = (row.GetFieldValue<byte[]>(0), row.IsDBNull(1));
                    else
                        ExchangeRead.ReadRow(row);
                }

                times[i].Add((ThreadTime() - start) / Slice);
            }
        }

        foreach (var command in commands)
            command.Connection!.Dispose();
        return [.. times.Select(list => list.Skip(Slices / 4).Order().ElementAt(list.Count * 3 / 8))];
    }

    private static SqliteCommand Prepare(string file, string sql, string pragmas)
    {
        var connection = new SqliteConnection(new SqliteConnectionStringBuilder { DataSource = file, Pooling = false }.ToString());
        connection.Open();
        var command = connection.CreateCommand();
        command.CommandText = pragmas;
        if (pragmas.Length > 0)
            command.ExecuteNonQuery();
        command.CommandText = sql;
        command.Parameters.Add(new SqliteParameter("@id", SqliteType.Text));
        if (sql == ExchangeRead.Sql)
            command.Parameters.Add(new SqliteParameter("@target", SqliteType.Text) { Value = DBNull.Value });
        command.Prepare();
        return command;
    }

    private static SqliteConnection OpenFlush(string file)
    {
        var connection = new SqliteConnection(new SqliteConnectionStringBuilder { DataSource = file, Pooling = false }.ToString());
        connection.Open();
        using var command = connection.CreateCommand();
        command.CommandText =
            """
            PRAGMA journal_mode=WAL;
            CREATE TABLE IF NOT EXISTS bench_flush (id TEXT NOT NULL PRIMARY KEY, n BIGINT NOT NULL) WITHOUT ROWID
            """;
        command.ExecuteNonQuery();
        return connection;
    }

    private static void Flush(SqliteConnection connection)
    {
        using var transaction = connection.BeginTransaction();
        using var command = connection.CreateCommand();
        command.Transaction = transaction;
        command.CommandText = "INSERT INTO bench_flush (id, n) VALUES (@id, 1) ON CONFLICT (id) DO UPDATE SET n = n + 1";
        command.Parameters.Add(new SqliteParameter("@id", SqliteType.Text));
        for (var row = 0; row < FlushRows; row++)
        {
            command.Parameters[0].Value = $"k{RandomNumberGenerator.GetInt32(100_000)}";
            command.ExecuteNonQuery();
        }

        transaction.Commit();
    }

    /// <summary>In microseconds.</summary>
    private static double ThreadTime()
    {
        const int threadCpuTime = 3; // CLOCK_THREAD_CPUTIME_ID of Linux
        return clock_gettime(threadCpuTime, out var time) == 0
            ? (time.Seconds * 1e6) + (time.Nanoseconds / 1e3)
            : throw new PlatformNotSupportedException();
    }

    private struct Time
    {
        public long Seconds, Nanoseconds;
    }

    [DllImport("libc"), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int clock_gettime(int clock, out Time time);
}
