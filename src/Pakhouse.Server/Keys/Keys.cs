using System.Data.Common;
using System.Net;
using System.Security.Cryptography;
using Dapper;

namespace Pakhouse.Server;

/// <summary>
/// Operations on people's keys, with their SQL. This class never sees an <c>HttpContext</c>. Only <see cref="GenerateAsync"/> returns a
/// secret, and no secret is ever stored.
/// <para>Invariant: a key belongs to one membership, not to a user and an organization. So it cannot outlive that membership, and the next
/// membership cannot revive it (R5).</para>
/// </summary>
public sealed class Keys(Database database, PakhouseOptions options, KeyLifecycle lifecycle, TimeProvider clock)
{
    public const int NameLengthMax = 100;

    /// <summary>How long an expired or replaced key stays in the list after its end.</summary>
    public static readonly TimeSpan ListedAfterEnd = TimeSpan.FromDays(90);

    /// <summary>The latest expiry, counted from now; "never" is a separate choice.</summary>
    public static readonly TimeSpan LifetimeMax = TimeSpan.FromDays(3653);

    /// <summary>The same form was sent again; no second key was created.</summary>
    internal static readonly Refusal DuplicateId = new(
        RefusalCode.Conflict,
        "This key was already generated, and a key is shown only once. Generate another one.",
        "key id used before"
    );

    internal static readonly Refusal NoSuchKey = new(
        RefusalCode.NotFound,
        "You have no such key in this organization; it may have been deleted already.",
        "no such key of the caller"
    );

    /// <summary>
    /// Generates a key for the caller's own membership (R2, R7). Only this response ever contains the secret.
    /// </summary>
    /// <returns>The key; <see cref="RefusalCode.Conflict"/> when the id was used before, because the same form was sent again.</returns>
    public Task<Outcome<PersonalAccessKey>> GenerateAsync(Actor actor, Guid organizationId, NewKey wanted) =>
        database.ChangeAsync<PersonalAccessKey>(async transaction =>
        {
            var access = await Guard.AuthorizeAsync(transaction, actor, Permission.GenerateOwnKey, organizationId);
            if (access.Refusal is { } refused)
                return refused;

            var now = clock.GetUtcNow();
            if (Checks.Name(wanted.Name, "name", NameLengthMax, out var name) is { } refusal)
                return refusal;
            if (!KeyFormat.IsId(wanted.Id))
                return Refusal.At("id", RefusalCode.InvalidRequest, "16 characters of base62 were expected.", "key id out of grammar");
            if (wanted.ExpiresAt <= now || wanted.ExpiresAt > now + LifetimeMax)
                return Refusal.At(
                    "expiry",
                    RefusalCode.InvalidRequest,
                    "choose a time in the future, at most ten years ahead, or no expiry.",
                    "expiry out of bounds"
                );
            if (wanted.Scopes is { IsAll: false, Count: 0 })
                return KeyEndpoints.NoScopes;
            if (!wanted.Scopes.IsAll && !wanted.Scopes.IsSubsetOf(options.Scopes))
                return Refusal.At("scopes", RefusalCode.InvalidScope, $"choose from {options.Scopes}.", "scope not in the catalogue");
            var policy = (await StoredPolicy.TimelineAsync(transaction.Connection!, transaction, organizationId)).Strictest(now);
            if (policy.Forbids(wanted.ExpiresAt, wanted.Scopes, now, access.Value.Roles) is { } forbidden)
                return forbidden;

            var connection = transaction.Connection!;
            var membershipId = access.Value.MembershipId!.Value;
            var key = PersonalAccessKey.Generate(options.Brand, wanted.Id);
            var row = new NewKeyRow(key.Id, KeyKind.Personal, membershipId, name, key.Hash(), wanted.Scopes, wanted.ExpiresAt);
            if (!await lifecycle.CreateAsync(transaction, actor, row))
            {
                key.Dispose();
                return DuplicateId;
            }

            // The new key is counted too: when the form of the last allowed key is sent again, the response is "already generated" and not
            // "too many".
            if (
                await connection.ExecuteScalarAsync<long>(
                    "SELECT COUNT(*) FROM access_keys WHERE membership_id = @membershipId AND deleted_at IS NULL AND successor_id IS NULL "
                        + "AND (expires_at IS NULL OR expires_at > @now)",
                    new { membershipId, now },
                    transaction
                ) > policy.KeysOf(options)
            )
            {
                key.Dispose();
                return new Refusal(
                    RefusalCode.Conflict,
                    $"You hold {TimeText.Count(policy.KeysOf(options), "key")} in this organization, which is the limit. Delete one that "
                        + $"is no longer used.",
                    "KeysPerMemberMax"
                );
            }

            return key;
        });

    /// <summary>
    /// Returns the caller's own keys in an organization, newest first. Keys that expired or were replaced stay for <see
    /// cref="ListedAfterEnd"/>.
    /// </summary>
    public Task<Outcome<IReadOnlyList<KeyEntry>>> ListAsync(Actor actor, Guid organizationId) =>
        database.ReadAsync<Outcome<IReadOnlyList<KeyEntry>>>(async connection =>
        {
            var access = await Guard.AuthorizeAsync(connection, null, actor, Permission.ListOwnKeys, organizationId);
            if (access.Refusal is { } refused)
                return refused;
            return (
                await connection.QueryAsync<KeyEntry>(
                    $"""
                    {EntrySql}
                    WHERE k.membership_id = @MembershipId AND k.deleted_at IS NULL
                      AND (k.expires_at IS NULL OR k.expires_at > @listedFrom)
                      AND (k.overlap_ends_at IS NULL OR k.overlap_ends_at > @listedFrom)
                    ORDER BY k.created_at DESC, k.id
                    """,
                    new { access.Value.MembershipId, listedFrom = clock.GetUtcNow() - ListedAfterEnd }
                )
            ).AsList();
        });

    /// <summary>Columns of <see cref="KeyEntry"/>; <c>k</c> is the key.</summary>
    internal const string EntrySql = """
        SELECT k.id, k.name, k.scopes, k.created_at, k.expires_at, k.suspended_at, k.frozen_at, k.successor_id, k.overlap_ends_at,
               s.last_used_at, s.address AS last_used_address, s.user_agent AS last_used_user_agent, l.last_at AS used_late_at,
               (SELECT MIN(first_used_at) FROM key_networks WHERE key_id = k.id) AS first_network_at,
               (SELECT MAX(first_used_at) FROM key_networks WHERE key_id = k.id) AS newest_network_at
        FROM access_keys k
        LEFT JOIN key_use_hours s ON s.key_id = k.id AND s.hour = (SELECT MAX(hour) FROM key_use_hours WHERE key_id = k.id)
        LEFT JOIN key_late_uses l ON l.key_id = k.id
        """;

    /// <summary>Ends one of the caller's own keys. After this has returned, every new exchange is refused (R5).</summary>
    public Task<Outcome<bool>> DeleteAsync(Actor actor, Guid organizationId, string keyId) =>
        database.ChangeAsync<bool>(async transaction =>
        {
            var access = await Guard.AuthorizeAsync(transaction, actor, Permission.DeleteOwnKey, organizationId);
            if (access.Refusal is { } refused)
                return refused;

            // Another person's key and an unknown key get the same response, so a caller cannot learn the ids of others.
            if (access.Value.MembershipId is not { } membershipId)
                return NoSuchKey; // inherited members hold no keys here (R2)
            var own = KeySet.OfMembership(keyId, membershipId);
            return await lifecycle.EndAsync(transaction, actor, KeyCause.DeletedByHolder, own) == 0 ? NoSuchKey : true;
        });

    /// <summary>Ends a key of any holder: for an owner who cannot sign in, and after a restored back-up.</summary>
    public Task<Outcome<bool>> DeleteByOperatorAsync(Actor actor, string keyId) =>
        database.ChangeAsync<bool>(async transaction =>
        {
            if (Guard.Demand(actor, Permission.DeleteAnyKey) is { } refused)
                return refused;
            return await lifecycle.EndAsync(transaction, actor, KeyCause.DeletedByOperator, KeySet.Of(keyId)) == 0
                ? new Refusal(RefusalCode.NotFound, "There is no such key; it may have been deleted already.", "no such key")
                : true;
        });

    /// <summary>
    /// Ends a key of either kind for a caller that proves its secret. No permission is required, so the holder of a suspended key can end
    /// it too.
    /// </summary>
    /// <returns>False: no valid secret was given, or the key had already ended.</returns>
    public async Task<bool> RevokeByHolderAsync(string keyId, ReadOnlyMemory<byte> key, IPAddress? address)
    {
        var hash = SHA256.HashData(key.Span);
        return await database.WriteAsync(async transaction =>
        {
            var found = await transaction.Connection!.QuerySingleOrDefaultAsync<RevocationRow>(
                """
                SELECT k.hash, k.kind, k.deleted_at, m.user_id FROM access_keys k JOIN memberships m ON m.id = k.membership_id
                WHERE k.id = @keyId
                """,
                new { keyId },
                transaction
            );
            var isVerified = CryptographicOperations.FixedTimeEquals(hash, found?.Hash ?? noHash);
            if (found is null || !isVerified || found.DeletedAt is not null)
                return false;

            var actor = new Actor(
                found.Kind == "oak" ? Credential.ApiKey : Credential.Key,
                found.UserId,
                NameSet.Empty,
                keyId,
                Address: address
            );
            if (Guard.Demand(actor, Permission.RevokeItself) is not null)
                return false;
            await lifecycle.EndAsync(transaction, actor, KeyCause.RevokedWithSecret, KeySet.Of(keyId));
            return true;
        });
    }

    // The hash to compare with when there is no such key.
    private static readonly byte[] noHash = RandomNumberGenerator.GetBytes(SHA256.HashSizeInBytes);

    private sealed record RevocationRow
    {
        public byte[] Hash { get; init; } = [];
        public string Kind { get; init; } = "";
        public DateTimeOffset? DeletedAt { get; init; }
        public Guid UserId { get; init; }
    }

    /// <summary>Suggests a name for the next key: the first "Key N" that is not in the list.</summary>
    public static string SuggestName(IReadOnlyList<KeyEntry> keys)
    {
        var number = 1;
        while (keys.Any(key => key.Name == $"Key {number}"))
            number++;
        return $"Key {number}";
    }
}
