using System.Data.Common;
using Dapper;

namespace Pakhouse.Server;

/// <summary>Exchanges in one hour.</summary>
/// <param name="At">The start of the hour.</param>
public sealed record UseHour(DateTimeOffset At, long Count);

/// <summary>A network from which a key was used: an IPv4 /24 or an IPv6 /48.</summary>
/// <param name="LastUsedAt">Exact to the day.</param>
public sealed record UseNetwork(string Network, DateTimeOffset FirstUsedAt, DateTimeOffset LastUsedAt);

/// <summary>The use of a key after its end, by a caller that proved its secret.</summary>
public sealed record UseAfterEndRow(long Count, DateTimeOffset FirstAt, DateTimeOffset LastAt, string Address, string UserAgent);

/// <summary>One key with everything known about its use.</summary>
public sealed record KeyRecord
{
    public required KeyEntry Key { get; init; }

    public required Guid HolderId { get; init; }
    public required string HolderName { get; init; }

    /// <summary>The caller holds it.</summary>
    public required bool IsOwn { get; init; }

    public DateTimeOffset? DeletedAt { get; init; }

    /// <summary>The organization for which it was last exchanged.</summary>
    public Guid? LastUsedFor { get; init; }

    public string? LastUsedForName { get; init; }

    /// <summary>The hours of the last <see cref="KeyHistory.Kept"/> in which the key was used, oldest first.</summary>
    public required IReadOnlyList<UseHour> Hours { get; init; }

    /// <summary>Newest first.</summary>
    public required IReadOnlyList<UseNetwork> Networks { get; init; }

    public required UseAfterEndRow? AfterEnd { get; init; }

    /// <summary>
    /// This key and the keys that came before and after it by rotation, newest first. A key that was never rotated is the only entry.
    /// </summary>
    public required IReadOnlyList<KeyEntry> Family { get; init; }

    public KeyEntry? Predecessor => Family.FirstOrDefault(one => one.SuccessorId == Key.Id);

    public KeyEntry? Successor => Family.FirstOrDefault(one => one.Id == Key.SuccessorId);

    /// <summary>The key was replaced and has not been used since the first use of its successor, so it can be ended safely.</summary>
    public bool IsSilent => Successor?.FirstNetworkAt is { } since && !(Key.LastUsedAt >= since);
}

/// <summary>The usage of one key, for its holder and for those who manage the organization's keys.</summary>
public sealed class KeyHistory(Database database, TimeProvider clock)
{
    /// <summary>How long hours of use and networks are kept; the last use is kept as long as the key.</summary>
    public static readonly TimeSpan Kept = TimeSpan.FromDays(90);

    /// <summary>Returns the usage of a key of the organization, also of a deleted one.</summary>
    public Task<Outcome<KeyRecord>> ReadAsync(Actor actor, Guid organizationId, string keyId) =>
        database.ReadAsync<Outcome<KeyRecord>>(async connection =>
        {
            var own = await Guard.AuthorizeAsync(connection, null, actor, Permission.ListOwnKeys, organizationId);
            var lead = await Guard.AuthorizeAsync(connection, null, actor, Permission.ListMemberKeys, organizationId);
            // An API key has no keys of its own. If only its scope is missing, the response names the scope.
            if (own.Refusal is { } refused && lead.Refusal is { } notLead)
                return notLead.Code == RefusalCode.InsufficientScope ? notLead : refused;

            var found = await connection.QuerySingleOrDefaultAsync<Found>(
                """
                SELECT k.membership_id, k.family_id, k.deleted_at, u.id AS holder_id, u.name AS holder_name,
                    s.organization_id AS last_used_for, o.name AS last_used_for_name
                FROM access_keys k JOIN memberships m ON m.id = k.membership_id JOIN users u ON u.id = m.user_id
                LEFT JOIN key_use_hours s ON s.key_id = k.id AND s.hour = (SELECT MAX(hour) FROM key_use_hours WHERE key_id = k.id)
                LEFT JOIN organizations o ON o.id = s.organization_id
                WHERE k.id = @keyId AND k.kind = 'pak' AND m.organization_id = @organizationId
                """,
                new { keyId, organizationId }
            );
            // Another person's key and an unknown key get the same response, except for callers that may see all keys.
            var isOwn = found is not null && !own.IsRefused && found.MembershipId == own.Value.MembershipId;
            if (found is null || (!isOwn && lead.IsRefused))
                return Keys.NoSuchKey;

            var family = (
                await connection.QueryAsync<KeyEntry>(
                    $"{Keys.EntrySql} WHERE k.id = @keyId OR (k.family_id = @FamilyId AND k.deleted_at IS NULL) ORDER BY k.created_at "
                        + $"DESC, k.id",
                    new { keyId, FamilyId = found.FamilyId ?? "" }
                )
            ).AsList();
            var since = (clock.GetUtcNow() - Kept).ToUnixTimeSeconds() / 3600;
            return new KeyRecord
            {
                Key = family.Single(one => one.Id == keyId),
                HolderId = found.HolderId,
                HolderName = found.HolderName,
                IsOwn = isOwn,
                DeletedAt = found.DeletedAt,
                LastUsedFor = found.LastUsedFor,
                LastUsedForName = found.LastUsedForName,
                Family = family,
                Hours =
                [
                    .. (
                        await connection.QueryAsync<(long Hour, long Count)>(
                            "SELECT hour, count FROM key_use_hours WHERE key_id = @keyId AND hour > @since ORDER BY hour",
                            new { keyId, since }
                        )
                    ).Select(row => new UseHour(DateTimeOffset.FromUnixTimeSeconds(row.Hour * 3600), row.Count)),
                ],
                Networks = (
                    await connection.QueryAsync<UseNetwork>(
                        "SELECT network, first_used_at, last_used_at FROM key_networks WHERE key_id = @keyId ORDER BY first_used_at DESC, "
                            + "network",
                        new { keyId }
                    )
                ).AsList(),
                AfterEnd = await connection.QuerySingleOrDefaultAsync<UseAfterEndRow>(
                    "SELECT count, first_at, last_at, address, user_agent FROM key_late_uses WHERE key_id = @keyId",
                    new { keyId }
                ),
            };
        });

    private sealed record Found
    {
        public Guid MembershipId { get; init; }
        public string? FamilyId { get; init; }
        public DateTimeOffset? DeletedAt { get; init; }
        public Guid HolderId { get; init; }
        public string HolderName { get; init; } = "";
        public Guid? LastUsedFor { get; init; }
        public string? LastUsedForName { get; init; }
    }
}

/// <summary>
/// Deletes what is older than <see cref="KeyHistory.Kept"/>, in small batches. The newest hour of each key stays, because it holds the last
/// use.
/// </summary>
public sealed class KeyHistoryJob(Database database, TimeProvider clock, ILogger<KeyHistoryJob> log)
    : PeriodicJob(TimeSpan.FromHours(1), clock, log)
{
    /// <summary>Rows read in one transaction.</summary>
    private const int BatchRows = 2_000;

    private const string Done = "key_use_hours.deleted_to";

    public override async Task RunAsync()
    {
        var old = Clock.GetUtcNow() - KeyHistory.Kept;
        // Each hour is read once only; otherwise the rows that stay as the newest of their key would be read again and again.
        while (await NextHourAsync(old.ToUnixTimeSeconds() / 3600) is { } hour)
        {
            var after = "";
            while (after is not null)
                after = await DeleteHourAsync(hour, after);
        }

        old -= TimeSpan.FromDays(1); // the last use of a network is exact to the day
        foreach (var table in (string[])["key_networks.last_used_at", "key_expiry_notices.told_at"])
        {
            var (name, column) = (table.Split('.')[0], table.Split('.')[1]);
            while (
                await database.WriteExclusiveAsync(transaction =>
                    transaction.Connection!.ExecuteAsync(
                        $"DELETE FROM {name} WHERE {column} < @old AND {column} <= (SELECT MAX({column}) FROM (SELECT {column} FROM "
                            + $"{name} WHERE {column} < @old ORDER BY {column} LIMIT {BatchRows}) AS batch)",
                        new { old },
                        transaction
                    )
                ) > 0
            ) { }
        }
    }

    private Task<long?> NextHourAsync(long before) =>
        database.ReadAsync(connection =>
            connection.ExecuteScalarAsync<long?>(
                $"SELECT MIN(hour) FROM key_use_hours WHERE hour < @before AND hour > COALESCE((SELECT value FROM counters WHERE name = "
                    + $"'{Done}'), -1)",
                new { before }
            )
        );

    /// <summary>The key after which to continue; null: the hour is finished.</summary>
    private Task<string?> DeleteHourAsync(long hour, string after) =>
        database.WriteExclusiveAsync(async transaction =>
        {
            var connection = transaction.Connection!;
            var last = await connection.ExecuteScalarAsync<string?>(
                $"SELECT MAX(key_id) FROM (SELECT key_id FROM key_use_hours WHERE hour = @hour AND key_id > @after ORDER BY key_id LIMIT "
                    + $"{BatchRows}) AS batch",
                new { hour, after },
                transaction
            );
            if (last is null)
            {
                await connection.ExecuteAsync(
                    $"INSERT INTO counters (name, value) VALUES ('{Done}', @hour) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                    new { hour },
                    transaction
                );
                return null;
            }

            await connection.ExecuteAsync(
                """
                DELETE FROM key_use_hours WHERE hour = @hour AND key_id > @after AND key_id <= @last
                    AND EXISTS (SELECT 1 FROM key_use_hours AS newer WHERE newer.key_id = key_use_hours.key_id
                        AND newer.hour > key_use_hours.hour)
                """,
                new
                {
                    hour,
                    after,
                    last,
                },
                transaction
            );
            return last;
        });
}
