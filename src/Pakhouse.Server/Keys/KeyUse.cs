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
                // Alone: a busy key is in the batch of every process, and serializable transactions on its row would send each other back.
                await database.WriteAloneAsync(async transaction => await WriteAsync(transaction, taken));
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
        catch (Exception e) when (e is not OperationCanceledException)
        {
            // Whatever it is: a count is no reason to stop the server.
            LogNotWritten(e, pendingCount);
        }
    }

    /// <summary>Rows of one statement: each is a trip to the server where there is one.</summary>
    private const int StatementRows = 20;

    private const int Columns = 7;

    private static async Task<int> WriteAsync(DbTransaction transaction, List<KeyValuePair<(string KeyId, long Hour), Use>> uses)
    {
        DbCommand? kept = null; // for all the full statements; the mapper would build each anew
        try
        {
            foreach (var chunk in uses.Chunk(StatementRows))
            {
                if (kept?.Parameters.Count != chunk.Length * Columns)
                {
                    if (kept is not null) await kept.DisposeAsync();
                    kept = Command(transaction, chunk.Length);
                }

                var parameter = 0;
                foreach (var ((keyId, hour), use) in chunk)
                    foreach (var value in (ReadOnlySpan<object>)[keyId, hour, use.Count, use.At.ToUnixTimeMilliseconds(), use.Address?.ToString() ?? "", UserAgent(use.UserAgent), use.OrganizationId])
                        kept.Parameters[parameter++].Value = value;
                await kept.ExecuteNonQueryAsync();
            }
        }
        finally
        {
            if (kept is not null) await kept.DisposeAsync();
        }

        return uses.Count;
    }

    private static DbCommand Command(DbTransaction transaction, int rows)
    {
        var command = transaction.Connection!.CreateCommand();
        command.Transaction = transaction;
        for (var i = 0; i < rows * Columns; i++)
        {
            var parameter = command.CreateParameter();
            parameter.ParameterName = $"@p{i}";
            command.Parameters.Add(parameter);
        }

        var tuples = command.Parameters.Cast<DbParameter>().Select(parameter => parameter.ParameterName).Chunk(Columns).Select(names => $"({string.Join(", ", names)})");
        command.CommandText =
            $"""
            INSERT INTO key_use_hours (key_id, hour, count, last_used_at, address, user_agent, organization_id) VALUES {string.Join(", ", tuples)}
            ON CONFLICT (key_id, hour) DO UPDATE SET count = key_use_hours.count + excluded.count, last_used_at = excluded.last_used_at,
                address = excluded.address, user_agent = excluded.user_agent, organization_id = excluded.organization_id
            """; // of two processes the one that writes last has the word on the last use; they are a flush apart at most
        return command;
    }

    /// <summary>The caller's own words: cut, without control characters, and never a key that was put in the wrong header.</summary>
    internal static string UserAgent(string? text)
    {
        if (string.IsNullOrEmpty(text)) return "";
        if (KeyFormat.MayHoldKey(text)) return "(withheld: it held a key)";
        var cut = text.Length <= UserAgentLengthMax ? text : text[..UserAgentLengthMax];
        return new string([.. cut.Where(c => !char.IsControl(c) && !char.IsSurrogate(c))]);
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "Counts of key use could not be written; {Entries} entries wait for the next try")]
    private partial void LogNotWritten(Exception exception, int entries);
}
