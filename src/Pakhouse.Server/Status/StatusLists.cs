using System.Buffers.Text;
using System.IO.Compression;
using System.Text;
using Dapper;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;

namespace Pakhouse.Server;

/// <summary>One key's entry after a change.</summary>
/// <param name="Version">Grows with every change, across all lists.</param>
/// <param name="Status">A value of <see cref="KeyStatus"/>.</param>
public readonly record struct StatusChange(long Version, long Index, int Status)
{
    public int List => (int)(Index / StatusLists.EntriesPerList);

    public int Entry => (int)(Index % StatusLists.EntriesPerList);
}

/// <summary>A list as it is sent.</summary>
/// <param name="Jwt">ASCII of the Status List Token.</param>
/// <param name="Gzipped">The same, compressed: base64 inside base64 can still be reduced by a third.</param>
/// <param name="ETag">The same in every process that has read the same changes.</param>
public sealed record SignedStatusList(byte[] Jwt, byte[] Gzipped, string ETag);

/// <summary>
/// The status lists (IETF Token Status List, draft 21): one entry of two bits for each key, in memory, compressed and signed. It publishes
/// what <see cref="KeyStatus"/> wrote and decides nothing. The contract is docs/protocol.md, "Status lists".
/// <para>Invariant: what <see cref="GetAsync"/> returns includes every change, by any process, that was acknowledged before the
/// call.</para>
/// </summary>
public sealed class StatusLists(
    Database database,
    SigningKeys signingKeys,
    PakhouseOptions options,
    PublicAddress publicAddress,
    TimeProvider clock
)
{
    /// <summary>256 KB in memory. Ten million keys need ten lists; a verifier fetches only the lists of its callers' keys.</summary>
    public const int EntriesPerList = 1 << 20;

    private const int Bits = 2;
    private const int EntriesPerByte = 8 / Bits;

    /// <summary>
    /// A signed list expires after this multiple of its ttl. It must outlive the ttl for verifiers whose clocks are slightly ahead.
    /// </summary>
    private const int LifetimeInTtls = 4;

    private readonly JsonWebTokenHandler handler = new() { SetDefaultTimesOnTokenCreation = false };
    private readonly Lock gate = new();
    private readonly List<StatusList> lists = [];
    private Task? running,
        waiting;
    private long version; // the newest change that was read
    private long floor; // the least number of a list: after a restore, above all that verifiers have seen
    private bool isLoaded;

    // Two rows by primary key: the cost of a poll without changes.
    private readonly PreparedRead counters = database.PrepareRead(
        """
        SELECT COALESCE((SELECT value FROM counters WHERE name = 'access_keys.status_version'), 0),
               COALESCE((SELECT value FROM counters WHERE name = 'access_keys.status_index'), -1)
        """,
        keptMax: 1
    ); // one poll at a time serves all callers

    /// <summary>The entries of keys that a restored database does not know.</summary>
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

    /// <summary>The number of lists: every key ever created has its entry in one of them.</summary>
    public int Count
    {
        get
        {
            lock (gate)
                return lists.Count;
        }
    }

    /// <summary>The version of the newest change that was read.</summary>
    public long Version => Volatile.Read(ref version);

    /// <summary>
    /// Receives the changes of each poll in order, from the one running poll. The first poll is not reported, because it reads all changes
    /// ever made.
    /// </summary>
    public Action<IReadOnlyList<StatusChange>>? OnChanged { get; set; }

    /// <summary>Called when there are too many changes to report each of them.</summary>
    public Action? OnReplaced { get; set; }

    /// <summary>The URL of a list, which is also its <c>sub</c>.</summary>
    public static string Address(string issuer, int number) => $"{issuer}/status-lists/{number}";

    /// <summary>The current list of this number; null: there is none.</summary>
    public async ValueTask<SignedStatusList?> GetAsync(int number)
    {
        await RefreshAsync();
        lock (gate)
        {
            if (number < 0 || number >= lists.Count)
                return null;
            var list = lists[number];
            // Signed again when it has changed, and once in each ttl, at the same moments in every process, so that the ETag of one process
            // is valid in another.
            var now = clock.GetUtcNow();
            var window = now.ToUnixTimeSeconds() / (long)options.StatusTtl.TotalSeconds;
            var key = signingKeys.Current(now);
            if (list.Signed is null || list.SignedWindow != window || list.SignedBy != key.Public.Id)
                (list.Signed, list.SignedWindow, list.SignedBy) = (Sign(list, number, key, now, window), window, key.Public.Id);
            return list.Signed;
        }
    }

    /// <summary>
    /// Updates the memory from the database. One poll runs at a time, and a call joins the next poll that has not started. However many
    /// verifiers call at once, two polls serve them all, and no call gets a poll that started before it.
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
            (running, waiting) = (waiting, null); // this poll has now started: later callers use the next one
            look = PollAsync();
        }

        await look;
    }

    private async Task PollAsync()
    {
        await Task.Yield(); // releases the lock of the caller
        var (newest, lastIndex) = await counters.SingleAsync(row => (row.GetInt64(0), row.GetInt64(1)));
        // R12: an older state of the database must not be published. StateGuard stops the process.
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
            version = changes.Count > 0 ? Math.Max(newest, changes[^1].Version) : newest; // a number may have no change
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

    /// <summary>Whether the database was restored since then, so that no list of changes is complete.</summary>
    public async Task<bool> IsReplacedSinceAsync(long since) => (await ReadGapsAsync(since)).Count > 0;

    /// <summary>In the order of the changes, from one covering index.</summary>
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

    /// <summary>Every list gets a new number, whether or not it has unknown entries, because verifiers saw each with another
    /// number.</summary>
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
                // Verifiers of access tokens that accept a missing aud would otherwise accept a list as a token.
                Audience = Address(issuer, number),
                IssuedAt = now.UtcDateTime,
                Expires = (now + options.StatusTtl * LifetimeInTtls).UtcDateTime,
                Claims = new Dictionary<string, object>(StringComparer.Ordinal)
                {
                    ["sub"] = Address(issuer, number),
                    ["ttl"] = (long)options.StatusTtl.TotalSeconds,
                    ["version"] = list.Version, // our own member: orders lists when clocks cannot
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
        // Not Fastest, which saves only a fiftieth here: the savings are in the lengths of the codes.
        using (var gzip = new GZipStream(gzipped, CompressionLevel.Optimal, leaveOpen: true))
            gzip.Write(jwt);
        return gzipped.ToArray();
    }
}
