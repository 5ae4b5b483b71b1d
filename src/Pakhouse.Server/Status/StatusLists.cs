using System.Buffers.Text;
using System.IO.Compression;
using System.Text;
using Dapper;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;

namespace Pakhouse.Server;

/// <summary>One key's entry after a change.</summary>
/// <param name="Version">Grows with every change, over all lists.</param>
/// <param name="Status">Of <see cref="KeyStatus"/>.</param>
public readonly record struct StatusChange(long Version, long Index, int Status)
{
    public int List => (int)(Index / StatusLists.EntriesPerList);

    public int Entry => (int)(Index % StatusLists.EntriesPerList);
}

/// <summary>A list as it goes over the wire.</summary>
/// <param name="Jwt">ASCII of the Status List Token.</param>
/// <param name="Gzipped">The same, smaller: base64 in base64 leaves a third to gain.</param>
/// <param name="ETag">The same in every process that has seen the same changes.</param>
public sealed record SignedStatusList(byte[] Jwt, byte[] Gzipped, string ETag);

/// <summary>
/// The status lists (IETF Token Status List, draft 21): one entry of two bits for each key, in memory, compressed and signed. It publishes
/// what <see cref="KeyStatus"/> wrote and decides nothing. docs/protocol.md, "Status lists", is its contract.
/// <para>Invariant: what <see cref="GetAsync"/> returns shows every change that was acknowledged, by whatever process, before it was
/// called.</para>
/// </summary>
public sealed class StatusLists(
    Database database,
    SigningKeys signingKeys,
    PakhouseOptions options,
    PublicAddress publicAddress,
    TimeProvider clock
)
{
    /// <summary>256 KB in memory. Of ten million keys ten lists; a verifier fetches only those that its callers' keys stand in.</summary>
    public const int EntriesPerList = 1 << 20;

    private const int Bits = 2;
    private const int EntriesPerByte = 8 / Bits;

    /// <summary>
    /// A signed list expires after so many times its ttl. It must outlive the ttl for verifiers whose clocks are a little ahead.
    /// </summary>
    private const int LifetimeInTtls = 4;

    private readonly JsonWebTokenHandler handler = new() { SetDefaultTimesOnTokenCreation = false };
    private readonly Lock gate = new();
    private readonly List<StatusList> lists = [];
    private Task? running,
        waiting;
    private long version; // of the newest change read
    private long floor; // no list says less: a restored database numbers every list above all that verifiers have seen
    private bool isLoaded;

    // Two rows by primary key: what a look costs when nothing has changed.
    private readonly PreparedRead counters = database.PrepareRead(
        """
        SELECT COALESCE((SELECT value FROM counters WHERE name = 'access_keys.status_version'), 0),
               COALESCE((SELECT value FROM counters WHERE name = 'access_keys.status_index'), -1)
        """,
        keptMax: 1
    ); // one look at a time serves all who ask

    /// <summary>Entries of keys that a restored database does not know.</summary>
    private readonly record struct Gap(long First, long Last, long Version);

    private sealed class StatusList
    {
        public byte[] Entries { get; } = new byte[EntriesPerList / EntriesPerByte];
        public long Version { get; set; }
        public string? Compressed { get; set; }
        public SignedStatusList? Signed { get; set; }
        public string? SignedBy { get; set; }
        public long SignedWindow { get; set; }
    }

    /// <summary>How many lists there are: every key ever made has its entry in one of them.</summary>
    public int Count
    {
        get
        {
            lock (gate)
                return lists.Count;
        }
    }

    /// <summary>Of the newest change that was read.</summary>
    public long Version => Volatile.Read(ref version);

    /// <summary>
    /// Told the changes of each look, in order, by the one look that is running; not those of the first, which are all there ever were.
    /// </summary>
    public Action<IReadOnlyList<StatusChange>>? OnChanged { get; set; }

    /// <summary>Told that more has changed than is told one by one.</summary>
    public Action? OnReplaced { get; set; }

    /// <summary>The address of a list, which is also its <c>sub</c>.</summary>
    public static string Address(string issuer, int number) => $"{issuer}/status-lists/{number}";

    /// <summary>The list of this number as it is now; null where there is none.</summary>
    public async ValueTask<SignedStatusList?> GetAsync(int number)
    {
        await RefreshAsync();
        lock (gate)
        {
            if (number < 0 || number >= lists.Count)
                return null;
            var list = lists[number];
            // Signed anew when it has changed, and once in a ttl, at the same moments in every process: so one process knows another's
            // ETag.
            var now = clock.GetUtcNow();
            var window = now.ToUnixTimeSeconds() / (long)options.StatusTtl.TotalSeconds;
            var key = signingKeys.Current(now);
            if (list.Signed is null || list.SignedWindow != window || list.SignedBy != key.Public.Id)
                (list.Signed, list.SignedWindow, list.SignedBy) = (Sign(list, number, key, now, window), window, key.Public.Id);
            return list.Signed;
        }
    }

    /// <summary>
    /// Brings the memory up to date with the database. One look runs at a time, and a call joins the one that has not begun: however many
    /// verifiers ask at once, two looks answer them all, and none is answered by a look that began before it asked.
    /// </summary>
    public Task RefreshAsync()
    {
        lock (gate)
        {
            if (waiting is not null)
                return waiting;
            if (running is null or { IsCompleted: true })
                return running = PollAsync();
            return waiting = LookAfterAsync(running);
        }
    }

    private async Task LookAfterAsync(Task before)
    {
        await before.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing | ConfigureAwaitOptions.ForceYielding);
        Task look;
        lock (gate)
        {
            (running, waiting) = (waiting, null); // from here on this look has begun: who comes now takes the next
            look = PollAsync();
        }

        await look;
    }

    private async Task PollAsync()
    {
        await Task.Yield(); // not under the lock of the caller
        var (newest, lastIndex) = await counters.SingleAsync(row => (row.GetInt64(0), row.GetInt64(1)));
        // R12: an older state of the database is nothing to publish. StateGuard ends the process.
        if (newest < version)
            throw new UnfitException("The database is older than the status lists that were signed for it.");
        var changes = newest == version ? [] : await ReadChangesAsync(version);
        var gaps = newest == version ? [] : await ReadGapsAsync(version);
        lock (gate)
        {
            foreach (var gap in gaps)
                floor = Math.Max(floor, gap.Version);
            AddLists(lastIndex);
            foreach (var gap in gaps)
                Apply(gap);
            foreach (var change in changes)
                Apply(change);
            version = changes.Count > 0 ? Math.Max(newest, changes[^1].Version) : newest; // a number can be taken for no change
        }

        if (changes.Count > 0 && isLoaded)
            OnChanged?.Invoke(changes);
        if (gaps.Count > 0 && isLoaded)
            OnReplaced?.Invoke();
        isLoaded = true;
    }

    private Task<IReadOnlyList<Gap>> ReadGapsAsync(long since) =>
        database.ReadAsync<IReadOnlyList<Gap>>(async connection =>
            (
                await connection.QueryAsync<(long First, long Last, long Version)>(
                    "SELECT first_index, last_index, status_version FROM status_gaps WHERE status_version > @since ORDER BY first_index",
                    new { since }
                )
            )
                .Select(row => new Gap(row.First, row.Last, row.Version))
                .ToList()
        );

    /// <summary>Whether the database was restored since: then no list of changes is whole.</summary>
    public async Task<bool> IsReplacedSinceAsync(long since) => (await ReadGapsAsync(since)).Count > 0;

    /// <summary>In the order in which they were made, from one index that holds them whole.</summary>
    public Task<IReadOnlyList<StatusChange>> ReadChangesAsync(long since, int max = int.MaxValue) =>
        database.ReadAsync<IReadOnlyList<StatusChange>>(async connection =>
        {
            var changes = new List<StatusChange>();
            await using var reader = await connection.ExecuteReaderAsync(
                "SELECT status_version, status_index, status FROM access_keys WHERE status_version > 0 AND status_version > @since ORDER "
                    + "BY status_version, status_index LIMIT @max",
                new { since, max }
            );
            while (await reader.ReadAsync())
                changes.Add(new StatusChange(reader.GetInt64(0), reader.GetInt64(1), (int)reader.GetInt64(2)));
            return changes;
        });

    private void AddLists(long lastIndex)
    {
        while (lastIndex >= 0 && lists.Count <= lastIndex / EntriesPerList)
            lists.Add(new StatusList { Version = floor });
    }

    /// <summary>Every list is numbered anew, whether it has entries of the gap or not: each was seen with another number.</summary>
    private void Apply(Gap gap)
    {
        AddLists(gap.Last);
        for (var index = gap.First; index <= gap.Last; index++)
            Apply(new StatusChange(gap.Version, index, KeyStatus.Invalid));
        foreach (var list in lists)
            (list.Version, list.Signed) = (Math.Max(list.Version, gap.Version), null);
    }

    private void Apply(StatusChange change)
    {
        AddLists(change.Index);
        var list = lists[change.List];
        var shift = change.Entry % EntriesPerByte * Bits; // §4.1: the first entry in the lowest bits
        ref var entries = ref list.Entries[change.Entry / EntriesPerByte];
        entries = (byte)(entries & ~(0b11 << shift) | change.Status << shift);
        (list.Version, list.Compressed, list.Signed) = (Math.Max(list.Version, change.Version), null, null);
    }

    private SignedStatusList Sign(StatusList list, int number, SigningKey key, DateTimeOffset now, long window)
    {
        var issuer = publicAddress.Value;
        list.Compressed ??= Compress(list.Entries);
        var token = handler.CreateToken(
            new SecurityTokenDescriptor
            {
                TokenType = "statuslist+jwt",
                Issuer = issuer,
                // verifiers of access tokens that take a missing aud for their own would take a list for a token
                Audience = Address(issuer, number),
                IssuedAt = now.UtcDateTime,
                Expires = (now + options.StatusTtl * LifetimeInTtls).UtcDateTime,
                Claims = new Dictionary<string, object>(StringComparer.Ordinal)
                {
                    ["sub"] = Address(issuer, number),
                    ["ttl"] = (long)options.StatusTtl.TotalSeconds,
                    ["version"] = list.Version, // ours: tells an older list from a newer one where clocks cannot
                    ["status_list"] = new Dictionary<string, object>(StringComparer.Ordinal)
                    {
                        ["bits"] = Bits,
                        ["lst"] = list.Compressed,
                        ["aggregation_uri"] = $"{issuer}/status-lists",
                    },
                },
                SigningCredentials = key.Credentials,
            }
        );
        var jwt = Encoding.ASCII.GetBytes(token);
        return new SignedStatusList(jwt, Gzip(jwt), $"W/\"{list.Version:x}.{window:x}\"");
    }

    private static string Compress(byte[] entries)
    {
        using var compressed = new MemoryStream();
        using (var zlib = new ZLibStream(compressed, CompressionLevel.Optimal, leaveOpen: true))
            zlib.Write(entries);
        return Base64Url.EncodeToString(compressed.GetBuffer().AsSpan(0, (int)compressed.Length));
    }

    private static byte[] Gzip(byte[] jwt)
    {
        using var gzipped = new MemoryStream();
        // Not Fastest, which gains a fiftieth here: what there is to gain is in the lengths of the codes.
        using (var gzip = new GZipStream(gzipped, CompressionLevel.Optimal, leaveOpen: true))
            gzip.Write(jwt);
        return gzipped.ToArray();
    }
}
