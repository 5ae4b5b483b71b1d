using System.Collections.Concurrent;
using System.Data.Common;
using System.Net;

namespace Pakhouse.Server;

/// <summary>
/// When, from where and how often keys are used. Counted in memory, written in batches: an exchange writes nothing before it
/// answers. A crash loses at most the last <see cref="PakhouseOptions.UseFlush"/>; an orderly stop loses nothing.
/// </summary>
public sealed partial class KeyUse(Database database, PakhouseOptions options, TimeProvider clock, ILogger<KeyUse> log) : BackgroundService
{
    /// <summary>Entries (one a key and hour) kept while the database is out of reach; further uses are then not counted.</summary>
    private const int PendingMax = 1_000_000;

    /// <summary>Rows in one transaction: a deletion never waits behind a longer one.</summary>
    private const int BatchRows = 2_000;

    private const int UserAgentLengthMax = 200;

    private readonly ConcurrentDictionary<(string KeyId, long Hour), Use> pending = new();
    private int pendingCount; // the dictionary's own Count takes all its locks

    private sealed record Use(long Count, DateTimeOffset At, IPAddress? Address, string? UserAgent, string OrganizationId);

    /// <summary>Counts one exchange. No I/O, no lock that an exchange could wait for.</summary>
    public void Record(string keyId, string organizationId, DateTimeOffset at, IPAddress? address, string? userAgent)
    {
        if (Volatile.Read(ref pendingCount) >= PendingMax) return;
        var added = pending.AddOrUpdate((keyId, at.ToUnixTimeSeconds() / 3600),
            static (_, use) => use,
            static (_, before, use) => use with { Count = before.Count + 1 },
            new Use(1, at, address, userAgent, organizationId));
        if (added.Count == 1) Interlocked.Increment(ref pendingCount);
    }

    /// <summary>Writes what was counted. What could not be written stays for the next time.</summary>
    public async Task FlushAsync()
    {
        // In the order of the tables: rows that are neighbours there share pages, and a page is written once in a batch.
        foreach (var batch in pending.Keys.OrderBy(key => key.KeyId, StringComparer.Ordinal).Chunk(BatchRows))
        {
            var taken = new List<KeyValuePair<(string KeyId, long Hour), Use>>(batch.Length);
            foreach (var key in batch)
                if (pending.TryRemove(key, out var use)) taken.Add(new(key, use)); // atomic: a use that arrives now starts a new entry
            Interlocked.Add(ref pendingCount, -taken.Count);
            try
            {
                await database.WriteAsync(async transaction => await WriteAsync(transaction, taken));
            }
            catch
            {
                foreach (var (key, use) in taken)
                {
                    var kept = pending.AddOrUpdate(key, static (_, mine) => mine, static (_, newer, mine) => newer with { Count = newer.Count + mine.Count }, use);
                    if (ReferenceEquals(kept, use)) Interlocked.Increment(ref pendingCount);
                }

                throw;
            }
        }
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(options.UseFlush, clock);
        try
        {
            while (await timer.WaitForNextTickAsync(stoppingToken)) await TryFlushAsync();
        }
        catch (OperationCanceledException)
        {
            // Stopping; StopAsync writes the rest.
        }
    }

    public override async Task StopAsync(CancellationToken cancellationToken)
    {
        await base.StopAsync(cancellationToken);
        await TryFlushAsync();
    }

    private async Task TryFlushAsync()
    {
        try
        {
            // A thread of its own: SQLite blocks while it writes, and on one core the pool has one thread, which serves the exchanges.
            await Task.Factory.StartNew(FlushAsync, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default).Unwrap();
        }
        catch (Exception e) when (Database.IsOutOfReach(e))
        {
            LogNotWritten(e, pendingCount);
        }
    }

    private static async Task<int> WriteAsync(DbTransaction transaction, List<KeyValuePair<(string KeyId, long Hour), Use>> uses)
    {
        // At the turn of an hour a key is there twice; the later use is the last.
        var last = uses.GroupBy(use => use.Key.KeyId, StringComparer.Ordinal).Select(group => group.MaxBy(use => use.Value.At)).ToList();
        await WriteAsync(transaction, last, 5,
            "INSERT INTO key_use (key_id, last_used_at, address, user_agent, organization_id) VALUES",
            """
            ON CONFLICT (key_id) DO UPDATE SET last_used_at = excluded.last_used_at, address = excluded.address,
                user_agent = excluded.user_agent, organization_id = excluded.organization_id
            WHERE excluded.last_used_at >= key_use.last_used_at
            """,
            use => [use.Key.KeyId, use.Value.At.ToUnixTimeMilliseconds(), use.Value.Address?.ToString() ?? "", UserAgent(use.Value.UserAgent), use.Value.OrganizationId]);
        await WriteAsync(transaction, uses, 3,
            "INSERT INTO key_use_hours (key_id, hour, count) VALUES",
            "ON CONFLICT (key_id, hour) DO UPDATE SET count = key_use_hours.count + excluded.count",
            use => [use.Key.KeyId, use.Key.Hour, use.Value.Count]);
        return uses.Count;
    }

    /// <summary>Rows of one statement: each is a trip to the server where there is one.</summary>
    private const int StatementRows = 20;

    private static async Task WriteAsync<T>(DbTransaction transaction, List<T> rows, int columns, string insert, string conflict, Func<T, object[]> values)
    {
        DbCommand? kept = null; // for all the full statements; the mapper would build each anew
        try
        {
            foreach (var chunk in rows.Chunk(StatementRows))
            {
                var command = kept?.Parameters.Count == chunk.Length * columns ? kept : Command(transaction, chunk.Length, columns, insert, conflict);
                if (command != kept)
                {
                    if (kept is not null) await kept.DisposeAsync();
                    kept = command;
                }

                var parameter = 0;
                foreach (var row in chunk)
                    foreach (var value in values(row)) command.Parameters[parameter++].Value = value;
                await command.ExecuteNonQueryAsync();
            }
        }
        finally
        {
            if (kept is not null) await kept.DisposeAsync();
        }
    }

    private static DbCommand Command(DbTransaction transaction, int rows, int columns, string insert, string conflict)
    {
        var command = transaction.Connection!.CreateCommand();
        command.Transaction = transaction;
        var tuples = new List<string>(rows);
        for (var row = 0; row < rows; row++)
        {
            var names = new List<string>(columns);
            for (var column = 0; column < columns; column++)
            {
                var parameter = command.CreateParameter();
                parameter.ParameterName = $"@p{command.Parameters.Count}";
                command.Parameters.Add(parameter);
                names.Add(parameter.ParameterName);
            }

            tuples.Add($"({string.Join(", ", names)})");
        }

        command.CommandText = $"{insert} {string.Join(", ", tuples)} {conflict}";
        return command;
    }

    /// <summary>The caller's own words: cut, without control characters, and never a key that was put in the wrong header.</summary>
    private static string UserAgent(string? text)
    {
        if (string.IsNullOrEmpty(text)) return "";
        if (text.Contains($"_{KeyFormat.Kind}_", StringComparison.Ordinal)) return "(withheld: it held a key)";
        var cut = text.Length <= UserAgentLengthMax ? text : text[..UserAgentLengthMax];
        return new string([.. cut.Where(c => !char.IsControl(c) && !char.IsSurrogate(c))]);
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "Counts of key use could not be written; {Entries} entries wait for the next try")]
    private partial void LogNotWritten(Exception exception, int entries);
}
