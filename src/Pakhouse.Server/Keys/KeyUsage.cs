using System.Collections.Concurrent;
using System.Data.Common;
using System.Net;
using System.Runtime.InteropServices;
using Dapper;

namespace Pakhouse.Server;

/// <summary>
/// Records when, from where and how often keys are used, also after their end. It counts in memory and writes in batches, so an exchange
/// writes nothing before it answers. A crash loses at most the last <see cref="PakhouseOptions.UsageFlush"/>; an orderly stop loses
/// nothing.
/// <para>A flush writes one row for each key (two when the hour changes), and one more when a network is new for the key or is seen for the
/// first time that day.</para>
/// </summary>
public sealed partial class KeyUsage(Database database, PakhouseOptions options, TimeProvider clock, ILogger<KeyUsage> log)
    : BackgroundService
{
    /// <summary>
    /// The most uses kept until the next flush. While flushes fail, one use is kept for each key, hour and network; uses beyond this bound
    /// are not counted.
    /// </summary>
    private const int PendingMax = 1_000_000;

    /// <summary>The most ended keys that one flush reports. Normally there are few; an attacker could try to make many.</summary>
    private const int LateMax = 10_000;

    /// <summary>Entries in one transaction. It is small, so that a deletion never waits behind a long transaction.</summary>
    private const int BatchEntries = 2_000;

    /// <summary>The most new networks that wait to be announced, while that is not possible.</summary>
    private const int NewsMax = 10_000;

    /// <summary>The most networks remembered for a key. For a key that changes networks more often, a new one is not news.</summary>
    public const int NetworksMax = 100;

    private const int UserAgentLengthMax = 200;

    // A queue, merged by the flush: dictionary entries cost more garbage collection.
    private readonly ConcurrentQueue<Use> pending = new();
    private readonly Dictionary<(string KeyId, long Hour, KeyNetwork Network), Use> merged = []; // used only by the running flush
    private readonly ConcurrentDictionary<string, AfterEnd> late = new(StringComparer.Ordinal);
    private readonly SemaphoreSlim gate = new(1); // for flushes only; an exchange never waits for it
    private readonly HashSet<(string KeyId, KeyNetwork Network)> seen = []; // today, and already written or being written
    private readonly List<Sighting> news = []; // written, but not announced yet
    private DateTime seenOn;
    private int pendingCount;

    private readonly record struct Use(
        string KeyId,
        string OrganizationId,
        long Count,
        DateTimeOffset FirstAt,
        DateTimeOffset At,
        IPAddress? Address,
        string? UserAgent
    )
    {
        public long Hour => At.ToUnixTimeSeconds() / 3600;

        /// <summary>Merges two entries, whatever their order: the later one decides the last use.</summary>
        public Use With(Use other) =>
            (other.At >= At ? other : this) with
            {
                Count = Count + other.Count,
                FirstAt = other.FirstAt < FirstAt ? other.FirstAt : FirstAt,
            };
    }

    private sealed record AfterEnd(long Count, DateTimeOffset FirstAt, DateTimeOffset At, IPAddress? Address, string? UserAgent);

    /// <summary>Counts one exchange, without I/O and without a lock that an exchange could wait for.</summary>
    public void Record(string keyId, string organizationId, DateTimeOffset at, IPAddress? address, string? userAgent)
    {
        if (Volatile.Read(ref pendingCount) < PendingMax)
            Enqueue(new(keyId, organizationId, 1, at, at, address, Bounded(userAgent)));
    }

    private void Enqueue(Use use)
    {
        Interlocked.Increment(ref pendingCount);
        pending.Enqueue(use);
    }

    /// <summary>Counts a use of a key after its end, by a caller that proved its secret.</summary>
    public void RecordLate(string keyId, DateTimeOffset at, IPAddress? address, string? userAgent)
    {
        if (late.Count >= LateMax)
            return; // Count takes all locks of the dictionary; only refused exchanges get here
        late.AddOrUpdate(
            keyId,
            static (_, use) => use,
            static (_, before, use) => use with { Count = before.Count + 1, FirstAt = before.FirstAt },
            new AfterEnd(1, at, at, address, Bounded(userAgent))
        );
    }

    /// <summary>Bounds the user agent until it is written. One header can be as long as all headers together, and must not fill the
    /// memory.</summary>
    private static string? Bounded(string? userAgent) => userAgent?.Length > UserAgentLengthMax ? UserAgent(userAgent) : userAgent;

    /// <summary>Writes what was counted. What cannot be written is kept for the next flush.</summary>
    public async Task FlushAsync()
    {
        await gate.WaitAsync();
        try
        {
            while (merged.Count < PendingMax && pending.TryDequeue(out var use))
            {
                Interlocked.Decrement(ref pendingCount);
                ref var kept = ref CollectionsMarshal.GetValueRefOrAddDefault(
                    merged,
                    (use.KeyId, use.Hour, KeyNetwork.Of(use.Address)),
                    out var isThere
                );
                kept = isThere ? kept.With(use) : use;
            }

            // The order of the tables: rows that are neighbours share pages, so each page is written once per batch.
            var uses = merged.Values.ToArray();
            merged.Clear();
            Array.Sort(
                uses,
                static (a, b) => string.CompareOrdinal(a.KeyId, b.KeyId) is var order and not 0 ? order : a.Hour.CompareTo(b.Hour)
            );
            var written = 0;
            try
            {
                while (written < uses.Length)
                {
                    var batch = uses.AsMemory(written, Math.Min(BatchEntries, uses.Length - written));
                    await WriteAsync(batch);
                    written += batch.Length;
                    await AnnounceAsync();
                }
            }
            catch
            {
                foreach (var use in uses.AsSpan(written))
                    Enqueue(use);
                throw;
            }

            await AnnounceAsync();
            foreach (var batch in late.Keys.Order(StringComparer.Ordinal).Chunk(BatchEntries))
                await FlushLateAsync(batch);
        }
        finally
        {
            gate.Release();
        }
    }

    private async Task WriteAsync(ReadOnlyMemory<Use> uses)
    {
        var today = clock.GetUtcNow().Date;
        if (seenOn != today || seen.Count > PendingMax)
            seen.Clear();
        seenOn = today;
        var (hours, unseen) = Rows(uses.Span);
        try
        {
            // Exclusive: every process has a busy key in its batch, and serializable transactions on its row would make each other retry.
            var found = await database.WriteUsageAsync(async transaction =>
            {
                await hoursUpsert.WriteAsync(database, transaction, hours);
                return await WriteNetworksAsync(transaction, unseen);
            });
            news.AddRange(found.Take(NewsMax - news.Count));
        }
        catch
        {
            foreach (var one in unseen)
                seen.Remove((one.KeyId, one.Network));
            throw;
        }
    }

    /// <summary>Prepares one row for each key and hour, and one for each network that was not seen today.</summary>
    private (List<object[]> Hours, List<Sighting> Unseen) Rows(ReadOnlySpan<Use> uses)
    {
        var (hours, unseen) = (new List<object[]>(uses.Length), new List<Sighting>());
        for (var next = 0; next < uses.Length;)
        {
            // The entries of one hour for several networks are adjacent.
            var all = uses[next];
            NoteNetwork(uses[next++]);
            for (; next < uses.Length && uses[next].KeyId == all.KeyId && uses[next].Hour == all.Hour; next++)
            {
                NoteNetwork(uses[next]);
                all = all.With(uses[next]);
            }

            hours.Add([
                all.KeyId,
                all.Hour,
                all.Count,
                all.At.ToUnixTimeMilliseconds(),
                all.Address?.ToString() ?? "",
                UserAgent(all.UserAgent),
                all.OrganizationId,
            ]);
        }

        return (hours, unseen);

        void NoteNetwork(Use use)
        {
            var network = KeyNetwork.Of(use.Address);
            if (network.IsKnown && seen.Add((use.KeyId, network)))
                unseen.Add(new(use.KeyId, network, use.FirstAt, use.At));
        }
    }

    private async Task FlushLateAsync(string[] batch)
    {
        var taken = new Dictionary<string, AfterEnd>(StringComparer.Ordinal);
        foreach (var keyId in batch)
            if (late.TryRemove(keyId, out var use))
                taken.Add(keyId, use);
        try
        {
            await database.WriteUsageAsync(transaction =>
                transaction.Connection!.ExecuteAsync(
                    """
                    INSERT INTO key_late_uses (key_id, count, first_at, last_at, address, user_agent)
                        VALUES (@KeyId, @Count, @FirstAt, @At, @Address, @UserAgent)
                    ON CONFLICT (key_id) DO UPDATE SET count = key_late_uses.count + excluded.count, last_at = excluded.last_at,
                        address = excluded.address, user_agent = excluded.user_agent
                    """,
                    taken.Select(entry => new
                    {
                        KeyId = entry.Key,
                        entry.Value.Count,
                        entry.Value.FirstAt,
                        entry.Value.At,
                        Address = entry.Value.Address?.ToString() ?? "",
                        UserAgent = UserAgent(entry.Value.UserAgent),
                    }),
                    transaction
                )
            );
        }
        catch
        {
            foreach (var (keyId, use) in taken)
                late.AddOrUpdate(
                    keyId,
                    static (_, mine) => mine,
                    static (_, newer, mine) => newer with { Count = newer.Count + mine.Count, FirstAt = mine.FirstAt },
                    use
                );
            throw;
        }
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        if (database.IsUsageLost)
            LogLost();
        try
        {
            while (true)
            {
                await Task.Delay(options.UsageFlush, clock, stoppingToken);
                await TryFlushAsync();
            }
        }
        catch (OperationCanceledException)
        {
            // The server is stopping; StopAsync writes the rest.
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
            // A thread of its own: SQLite blocks while it writes. On one core the pool has one thread, and that thread serves the
            // exchanges.
            await Task
                .Factory.StartNew(FlushAsync, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default)
                .Unwrap();
        }
        catch (UnfitException)
        {
            // The entries wait until the process is healthy again.
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            // Any failure: usage counts are no reason to stop the server.
            if (!OutageLog.IsTold(e))
                LogNotWritten(e, pendingCount);
        }
    }

    // Of two processes, the one that writes last decides the last use. The two differ by one flush at most.
    private static readonly BatchUpsert hoursUpsert = new(
        "key_use_hours",
        ["key_id", "hour", "count", "last_used_at", "address", "user_agent", "organization_id"],
        "(key_id, hour) DO UPDATE SET count = key_use_hours.count + excluded.count, last_used_at = excluded.last_used_at, address = "
            + "excluded.address, user_agent = excluded.user_agent, organization_id = excluded.organization_id"
    );

    private static readonly BatchUpsert networksUpsert = new(
        "key_networks",
        ["key_id", "network", "first_used_at", "last_used_at"],
        "(key_id, network) DO UPDATE SET last_used_at = excluded.last_used_at"
    );

    private sealed record Sighting(string KeyId, KeyNetwork Network, DateTimeOffset FirstAt, DateTimeOffset LastAt);

    /// <returns>The networks that are new for their key. A known network is written once a day.</returns>
    private async Task<List<Sighting>> WriteNetworksAsync(DbTransaction transaction, List<Sighting> sightings)
    {
        var connection = transaction.Connection!;
        var found = new List<Sighting>();
        var rows = new List<object[]>(sightings.Count);
        foreach (var chunk in sightings.Chunk(20))
        {
            var known = chunk
                .Select(one => one.KeyId)
                .Distinct()
                .ToDictionary(keyId => keyId, _ => new HashSet<string>(StringComparer.Ordinal), StringComparer.Ordinal);
            // One parameter for each key: the mapper would pass a list to PostgreSQL as an array, which SQLite does not support.
            var ids = new DynamicParameters(known.Keys.Select((keyId, i) => KeyValuePair.Create($"p{i}", (object)keyId)));
            var written = await connection.QueryAsync<(string KeyId, string Network)>(
                $"SELECT key_id, network FROM key_networks WHERE key_id IN "
                    + $"({string.Join(", ", Enumerable.Range(0, known.Count).Select(i => $"@p{i}"))})",
                ids,
                transaction
            );
            foreach (var (keyId, network) in written)
                known[keyId].Add(network);
            foreach (var one in chunk)
            {
                var (networks, network) = (known[one.KeyId], one.Network.ToString());
                var isNews = !networks.Contains(network);
                if (isNews && networks.Count == NetworksMax)
                    continue;
                networks.Add(network);
                rows.Add([one.KeyId, network, one.FirstAt.ToUnixTimeMilliseconds(), one.LastAt.ToUnixTimeMilliseconds()]);
                if (isNews)
                    found.Add(one);
            }
        }

        await networksUpsert.WriteAsync(database, transaction, rows);
        return found;
    }

    /// <summary>
    /// Notifies of networks that are new to a key, after they were written: on SQLite, the two are in different files. What could not be
    /// written stays for the next time.
    /// </summary>
    private async Task AnnounceAsync()
    {
        if (news.Count == 0)
            return;
        // Of a million keys used for the first time, not one by one.
        if (await database.ReadAsync(connection => Events.HasSubscribersAsync(connection, null)))
        {
            await database.WriteExclusiveAsync(async transaction =>
            {
                foreach (var one in news)
                {
                    await Events.OfKeyAsync(
                        transaction,
                        clock,
                        EventTypes.KeyUsedFirstFromNetwork,
                        one.KeyId,
                        ("network", one.Network.ToString()),
                        ("firstUsedAt", one.FirstAt)
                    );
                }

                return true;
            });
        }

        news.Clear();
    }

    /// <summary>The caller's user agent, cut and without control characters. A key that was sent in the wrong header is never
    /// stored.</summary>
    internal static string UserAgent(string? text)
    {
        if (string.IsNullOrEmpty(text))
            return "";
        if (Checks.MightContainSecret(text))
            return "(withheld because it contained a key)";
        var cut = text.Length <= UserAgentLengthMax ? text : text[..UserAgentLengthMax];
        return cut.AsSpan().ContainsAnyExceptInRange(' ', '~')
            ? new string([.. cut.Where(c => !char.IsControl(c) && !char.IsSurrogate(c))])
            : cut;
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "Counts of key use could not be written; {Entries} entries are kept for later")]
    private partial void LogNotWritten(Exception exception, int entries);

    [LoggerMessage(
        Level = LogLevel.Warning,
        Message = "The file usage.db was missing. A new one was made: the history of key use begins now"
    )]
    private partial void LogLost();
}
