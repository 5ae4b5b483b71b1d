using System.Collections.Concurrent;
using System.Data.Common;
using System.Net;
using Dapper;

namespace Pakhouse.Server;

/// <summary>
/// When, from where and how often keys are used, also after their end. Counted in memory, written in batches: an exchange writes nothing
/// before it answers. A crash loses at most the last <see cref="PakhouseOptions.UseFlush"/>; an orderly stop loses nothing.
/// <para>Of each key a flush writes one row (two at the turn of an hour), and one more where a network is new to it, or is seen for the first time in a day.</para>
/// </summary>
public sealed partial class KeyUse(Database database, PakhouseOptions options, TimeProvider clock, ILogger<KeyUse> log) : BackgroundService
{
    /// <summary>Entries (one a key, hour and network) kept while the database is out of reach; further uses are then not counted.</summary>
    private const int PendingMax = 1_000_000;

    /// <summary>Keys used after their end that one flush tells of. Their holders are few, or one who wants them to be many.</summary>
    private const int LateMax = 10_000;

    /// <summary>Entries in one transaction: a deletion never waits behind a longer one.</summary>
    private const int BatchEntries = 2_000;

    /// <summary>Networks remembered of one key: who changes more often has none that would be news.</summary>
    public const int NetworksMax = 100;

    private const int UserAgentLengthMax = 200;

    private readonly ConcurrentDictionary<(string KeyId, long Hour, KeyNetwork Network), Use> pending = new();
    private readonly ConcurrentDictionary<string, AfterEnd> late = new(StringComparer.Ordinal);
    private readonly SemaphoreSlim turn = new(1); // of flushes; an exchange never waits for it
    private readonly HashSet<(string KeyId, KeyNetwork Network)> seen = []; // on this day, and written
    private DateTime seenOn;
    private int pendingCount; // the dictionary's own Count takes all its locks

    private sealed record Use(long Count, DateTimeOffset FirstAt, DateTimeOffset At, IPAddress? Address, string? UserAgent, string OrganizationId);

    private sealed record AfterEnd(long Count, DateTimeOffset FirstAt, DateTimeOffset At, IPAddress? Address, string? UserAgent);

    /// <summary>Counts one exchange. No I/O, no lock that an exchange could wait for.</summary>
    public void Record(string keyId, string organizationId, DateTimeOffset at, IPAddress? address, string? userAgent)
    {
        if (Volatile.Read(ref pendingCount) >= PendingMax) return;
        var added = pending.AddOrUpdate((keyId, at.ToUnixTimeSeconds() / 3600, KeyNetwork.Of(address)),
            static (_, use) => use,
            static (_, before, use) => use with { Count = before.Count + 1, FirstAt = before.FirstAt },
            new Use(1, at, at, address, userAgent, organizationId));
        if (added.Count == 1) Interlocked.Increment(ref pendingCount);
    }

    /// <summary>Counts a use of a key after its end, by somebody who proved its secret.</summary>
    public void RecordLate(string keyId, DateTimeOffset at, IPAddress? address, string? userAgent)
    {
        if (late.Count >= LateMax) return; // it takes the dictionary's locks; only refused exchanges come here
        late.AddOrUpdate(keyId, static (_, use) => use, static (_, before, use) => use with { Count = before.Count + 1, FirstAt = before.FirstAt }, new AfterEnd(1, at, at, address, userAgent));
    }

    /// <summary>Writes what was counted. What could not be written stays for the next time.</summary>
    public async Task FlushAsync()
    {
        await turn.WaitAsync();
        try
        {
            // In the order of the tables: rows that are neighbours there share pages, and a page is written once in a batch.
            foreach (var batch in pending.Keys.OrderBy(key => key.KeyId, StringComparer.Ordinal).ThenBy(key => key.Hour).Chunk(BatchEntries)) await FlushAsync(batch);
            foreach (var batch in late.Keys.Order(StringComparer.Ordinal).Chunk(BatchEntries)) await FlushLateAsync(batch);
        }
        finally
        {
            turn.Release();
        }
    }

    private async Task FlushAsync((string KeyId, long Hour, KeyNetwork Network)[] batch)
    {
        var taken = new List<KeyValuePair<(string KeyId, long Hour, KeyNetwork Network), Use>>(batch.Length);
        foreach (var key in batch)
            if (pending.TryRemove(key, out var use)) taken.Add(new(key, use)); // atomic: a use that arrives now starts a new entry
        Interlocked.Add(ref pendingCount, -taken.Count);

        var today = clock.GetUtcNow().Date;
        if (seenOn != today || seen.Count > PendingMax) seen.Clear();
        seenOn = today;
        var unseen = taken.Where(entry => entry.Key.Network.IsKnown && !seen.Contains((entry.Key.KeyId, entry.Key.Network)))
            .GroupBy(entry => (entry.Key.KeyId, entry.Key.Network), entry => entry.Value)
            .Select(uses => new Sighting(uses.Key.KeyId, uses.Key.Network.ToString(), uses.Min(use => use.FirstAt), uses.Max(use => use.At))).ToList();
        var hours = taken.GroupBy(entry => (entry.Key.KeyId, entry.Key.Hour), entry => entry.Value).Select(uses =>
        {
            var last = uses.MaxBy(use => use.At)!;
            return new object[] { uses.Key.KeyId, uses.Key.Hour, uses.Sum(use => use.Count), last.At.ToUnixTimeMilliseconds(), last.Address?.ToString() ?? "", UserAgent(last.UserAgent), last.OrganizationId };
        }).ToList();
        try
        {
            // Alone: a busy key is in the batch of every process, and serializable transactions on its row would send each other back.
            await database.WriteAloneAsync(async transaction =>
            {
                await WriteAsync(transaction, hours);
                return await WriteNetworksAsync(transaction, clock, unseen);
            });
            foreach (var (key, _) in taken) seen.Add((key.KeyId, key.Network));
        }
        catch
        {
            foreach (var (key, use) in taken)
            {
                var kept = pending.AddOrUpdate(key, static (_, mine) => mine, static (_, newer, mine) => newer with { Count = newer.Count + mine.Count, FirstAt = mine.FirstAt }, use);
                if (ReferenceEquals(kept, use)) Interlocked.Increment(ref pendingCount);
            }

            throw;
        }
    }

    private async Task FlushLateAsync(string[] batch)
    {
        var taken = new Dictionary<string, AfterEnd>(StringComparer.Ordinal);
        foreach (var keyId in batch)
            if (late.TryRemove(keyId, out var use)) taken.Add(keyId, use);
        try
        {
            await database.WriteAloneAsync(transaction => transaction.Connection!.ExecuteAsync(
                """
                INSERT INTO key_late_uses (key_id, count, first_at, last_at, address, user_agent) VALUES (@KeyId, @Count, @FirstAt, @At, @Address, @UserAgent)
                ON CONFLICT (key_id) DO UPDATE SET count = key_late_uses.count + excluded.count, last_at = excluded.last_at, address = excluded.address, user_agent = excluded.user_agent
                """, taken.Select(entry => new { KeyId = entry.Key, entry.Value.Count, entry.Value.FirstAt, entry.Value.At, Address = entry.Value.Address?.ToString() ?? "", UserAgent = UserAgent(entry.Value.UserAgent) }), transaction));
        }
        catch
        {
            foreach (var (keyId, use) in taken)
                late.AddOrUpdate(keyId, static (_, mine) => mine, static (_, newer, mine) => newer with { Count = newer.Count + mine.Count, FirstAt = mine.FirstAt }, use);
            throw;
        }
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        try
        {
            while (true)
            {
                await Task.Delay(options.UseFlush, clock, stoppingToken);
                await TryFlushAsync();
            }
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

    private static async Task WriteAsync(DbTransaction transaction, List<object[]> hours)
    {
        DbCommand? kept = null; // for all the full statements; the mapper would build each anew
        try
        {
            foreach (var chunk in hours.Chunk(StatementRows))
            {
                if (kept?.Parameters.Count != chunk.Length * Columns)
                {
                    if (kept is not null) await kept.DisposeAsync();
                    kept = Command(transaction, chunk.Length);
                }

                var parameter = 0;
                foreach (var row in chunk)
                    foreach (var value in row) kept.Parameters[parameter++].Value = value;
                await kept.ExecuteNonQueryAsync();
            }
        }
        finally
        {
            if (kept is not null) await kept.DisposeAsync();
        }
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

    private sealed record Sighting(string KeyId, string Network, DateTimeOffset FirstAt, DateTimeOffset LastAt);

    /// <summary>A network that a key was not used from before is written down and told; one that was, is written once a day.</summary>
    private static async Task<int> WriteNetworksAsync(DbTransaction transaction, TimeProvider clock, List<Sighting> sightings)
    {
        var connection = transaction.Connection!;
        var isHeard = sightings.Count > 0 && await Events.AreHeardAsync(transaction); // of a million keys used for the first time, not one by one
        foreach (var chunk in sightings.Chunk(200))
        {
            // One parameter a key: the mapper would pass a list to PostgreSQL as an array, which SQLite does not know.
            var ids = new DynamicParameters();
            foreach (var keyId in chunk.Select(one => one.KeyId).Distinct()) ids.Add($"@p{ids.ParameterNames.Count()}", keyId);
            var rows = await connection.QueryAsync<(string KeyId, string Network)>(
                $"SELECT key_id, network FROM key_networks WHERE key_id IN ({string.Join(", ", ids.ParameterNames.Select(name => $"@{name}"))})", ids, transaction);
            var known = chunk.Select(one => one.KeyId).Distinct().ToDictionary(keyId => keyId, _ => new HashSet<string>(StringComparer.Ordinal), StringComparer.Ordinal);
            foreach (var (keyId, network) in rows) known[keyId].Add(network);
            foreach (var one in chunk)
            {
                var networks = known[one.KeyId];
                if (networks.Contains(one.Network))
                    await connection.ExecuteAsync("UPDATE key_networks SET last_used_at = @LastAt WHERE key_id = @KeyId AND network = @Network", one, transaction);
                else if (networks.Count < NetworksMax && networks.Add(one.Network))
                {
                    await connection.ExecuteAsync("INSERT INTO key_networks (key_id, network, first_used_at, last_used_at) VALUES (@KeyId, @Network, @FirstAt, @LastAt)", one, transaction);
                    if (isHeard) await Events.OfKeyAsync(transaction, clock, EventTypes.KeyUsedFirstFromNetwork, one.KeyId, ("network", one.Network), ("firstUsedAt", one.FirstAt));
                }
            }
        }

        return sightings.Count;
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
