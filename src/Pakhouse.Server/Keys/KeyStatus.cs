using System.Data.Common;
using Dapper;

namespace Pakhouse.Server;

/// <summary>
/// The entry of each key in the status lists (IETF Token Status List): set in the transaction of whatever ends, suspends or revives
/// the key (R5), by the one statement below. Expiry sets no entry: a token never outlives its key. The end of an overlap does: a token
/// got before the key was rotated can.
/// <see cref="StatusLists"/> reads the entries and publishes them.
/// </summary>
internal static class KeyStatus
{
    /// <summary>Of the draft's values: 0x00 valid, 0x01 invalid (for good), 0x02 suspended.</summary>
    public const int Valid = 0, Invalid = 1, Suspended = 2;

    public static Task OfKeyAsync(DbTransaction transaction, TimeProvider clock, string keyId) =>
        SetAsync(transaction, clock, "k.id = @id", keyId);

    public static Task OfMembershipAsync(DbTransaction transaction, TimeProvider clock, Guid membershipId) =>
        SetAndTellAsync(transaction, clock, "m.id = @id", membershipId.ToString(), "membership");

    /// <summary>Of every secret of an API key; its operations tell webhooks themselves.</summary>
    public static Task OfServiceAsync(DbTransaction transaction, TimeProvider clock, Guid userId) =>
        SetAsync(transaction, clock, "u.id = @id", userId.ToString());

    /// <summary>As <see cref="OfServiceAsync"/>, by the membership that holds the secrets.</summary>
    public static Task OfSecretsAsync(DbTransaction transaction, TimeProvider clock, Guid membershipId) =>
        SetAsync(transaction, clock, "m.id = @id", membershipId.ToString());

    public static Task OfUserAsync(DbTransaction transaction, TimeProvider clock, Guid userId) =>
        SetAndTellAsync(transaction, clock, "u.id = @id", userId.ToString(), "user");

    /// <summary>With its sub-organizations.</summary>
    public static Task OfOrganizationAsync(DbTransaction transaction, TimeProvider clock, Guid organizationId) =>
        SetAndTellAsync(transaction, clock, "o.id IN (SELECT id FROM organizations WHERE id = @id UNION ALL SELECT id FROM organizations WHERE root_id = @id)", organizationId.ToString(), "organization");

    /// <summary>The next free entry.</summary>
    public static Task<long> TakeIndexAsync(DbTransaction transaction) => transaction.Connection!.ExecuteScalarAsync<long>(
        """
        INSERT INTO counters (name, value) VALUES ('access_keys.status_index', 0)
        ON CONFLICT (name) DO UPDATE SET value = counters.value + 1 RETURNING value
        """, transaction: transaction);

    /// <summary>And tells webhooks of each key, which its own operations do themselves.</summary>
    private static async Task SetAndTellAsync(DbTransaction transaction, TimeProvider clock, string which, string id, string reason)
    {
        var changed = await SetAsync(transaction, clock, which, id);
        if (changed.Count == 0 || !await Events.AreHeardAsync(transaction)) return;
        foreach (var (keyId, status) in changed)
            await Events.OfKeyAsync(transaction, clock, status switch { Valid => EventTypes.KeyResumed, Suspended => EventTypes.KeySuspended, _ => EventTypes.KeyDeleted }, keyId, ("reason", reason));
    }

    /// <returns>The keys whose entry changed, and to what.</returns>
    private static async Task<List<(string KeyId, long Status)>> SetAsync(DbTransaction transaction, TimeProvider clock, string which, string id)
    {
        var now = clock.GetUtcNow();
        // The counter's row stays locked until the commit, so numbers become visible in their order: who has seen one has seen all before it. No
        // smaller than the time, so that a database restored from a back-up numbers its next change above all that was seen before.
        var version = await transaction.Connection!.ExecuteScalarAsync<long>(
            """
            INSERT INTO counters (name, value) VALUES ('access_keys.status_version', @now)
            ON CONFLICT (name) DO UPDATE SET value = CASE WHEN counters.value < @now THEN @now ELSE counters.value + 1 END RETURNING value
            """, new { now }, transaction);
        return (await transaction.Connection!.QueryAsync<(string, long)>(
            $"""
            UPDATE access_keys SET status = actual.status, status_version = @version
            FROM (
                SELECT k.id, CASE
                    WHEN COALESCE(k.deleted_at, m.ended_at, u.deleted_at, o.deleted_at, r.deleted_at) IS NOT NULL OR k.overlap_ends_at <= @now THEN {Invalid}
                    WHEN COALESCE(k.suspended_at, u.disabled_at, o.disabled_at, r.disabled_at) IS NOT NULL THEN {Suspended}
                    ELSE {Valid} END AS status
                FROM access_keys k
                JOIN memberships m ON m.id = k.membership_id
                JOIN users u ON u.id = m.user_id
                JOIN organizations o ON o.id = m.organization_id
                LEFT JOIN organizations r ON r.id = o.root_id
                WHERE {which}) AS actual
            WHERE actual.id = access_keys.id AND actual.status <> access_keys.status
            RETURNING access_keys.id, access_keys.status
            """, new { id, version, now }, transaction)).AsList();
    }
}
