using System.Data.Common;
using System.Net;
using Dapper;

namespace Pakhouse.Server;

/// <summary>A key that replaces another key.</summary>
/// <param name="Key">The new key with its secret, which is shown once.</param>
/// <param name="OldEndsAt">The time until which the replaced key works.</param>
public sealed record Rotated(PersonalAccessKey Key, string Name, DateTimeOffset? ExpiresAt, string OldId, DateTimeOffset OldEndsAt)
    : IDisposable
{
    public void Dispose() => Key.Dispose();

    public override string ToString() => $"key {Key.Id} for {OldId}";
}

/// <summary>
/// Replaces a key without an outage: the successor has the same name, scopes and lifetime, and the replaced key keeps working for the
/// overlap. A caller that uses the replaced key after the overlap has either an unknown copy of it or is a forgotten program. The family is
/// then frozen and its holder notified.
/// <para>Invariant: at most two keys of a family work at the same time, and a successor can do nothing that its predecessor could
/// not.</para>
/// </summary>
public sealed class KeyRotation(Database database, PakhouseOptions options, KeyUsage use, KeyLifecycle lifecycle, TimeProvider clock)
{
    public static readonly TimeSpan OverlapDefault = TimeSpan.FromDays(1),
        OverlapMax = TimeSpan.FromDays(30);

    private static readonly Refusal badOverlap = Refusal.At(
        "overlap",
        RefusalCode.InvalidRequest,
        "choose 0 seconds to 30 days.",
        "overlap out of bounds"
    );
    private static readonly Refusal rotatedBefore = new(
        RefusalCode.Conflict,
        "This key was already rotated. Rotate the key that replaced it.",
        "rotated before"
    );
    private static readonly Refusal hasExpired = new(
        RefusalCode.Conflict,
        "This key has expired: generate a new one.",
        "rotation of an expired key"
    );
    private static readonly Refusal isSuspended = new(
        RefusalCode.Conflict,
        "This key is frozen or suspended. An owner of the organization can resume it. You can also delete it and generate a new one.",
        "rotation of a suspended key"
    );
    private static readonly Refusal oneAtATime = new(
        RefusalCode.Conflict,
        "The key that this key replaced still works. Finish that rotation first.",
        "two overlaps at once"
    );
    private static readonly Refusal notByItself = new(
        RefusalCode.AccessDenied,
        "The organization's policy does not allow a key to rotate itself. Rotate it on the dashboard, or ask an owner.",
        "policy: self-rotation"
    );
    private static readonly Refusal notRotating = new(
        RefusalCode.Conflict,
        "This key is not in an overlap; there is nothing to finish.",
        "no overlap to finish"
    );

    /// <summary>Replaces one of the caller's own keys (R7: only a person can). Only this response contains the new secret.</summary>
    /// <param name="newId">The id that was generated when the form was shown, so that sending the form twice cannot create two
    /// keys.</param>
    /// <param name="overlap">How long the replaced key keeps working, but never beyond its own expiry; zero: it ends at once.</param>
    /// <returns><see cref="Keys.DuplicateId"/> when the id was used before.</returns>
    public Task<Outcome<Rotated>> RotateAsync(Actor actor, Guid organizationId, string keyId, string newId, TimeSpan overlap) =>
        database.ChangeAsync<Rotated>(async transaction =>
        {
            var access = await Guard.AuthorizeAsync(transaction, actor, Permission.RotateOwnKey, organizationId);
            if (access.Refusal is { } refused)
                return refused;
            return await ReplaceAsync(transaction, actor, access.Value, keyId, newId, overlap);
        });

    /// <summary>
    /// Lets a key create its own successor, where the policy allows it. The successor expires when the old key would have, so a key cannot
    /// extend its own life.
    /// </summary>
    /// <param name="actor">The caller that proved the key itself; a token obtained with the key is not enough.</param>
    public Task<Outcome<Rotated>> RotateSelfAsync(Actor actor, Guid organizationId, string newId, TimeSpan overlap) =>
        database.ChangeAsync<Rotated>(async transaction =>
        {
            var access = await Guard.AuthorizeAsync(transaction, actor, Permission.RotateItself, organizationId);
            if (access.Refusal is { } refused)
                return refused;
            if (
                (await StoredPolicy.TimelineAsync(transaction.Connection!, transaction, organizationId)).At(clock.GetUtcNow()).SelfRotation
                != true
            )
                return notByItself;
            return await ReplaceAsync(transaction, actor, access.Value, actor.KeyId!, newId, overlap);
        });

    /// <summary>
    /// Ends the overlap of a replaced key now. After this has returned, every new exchange of that key is refused.
    /// </summary>
    public Task<Outcome<bool>> FinishAsync(Actor actor, Guid organizationId, string keyId) =>
        database.ChangeAsync<bool>(async transaction =>
        {
            var access = await Guard.AuthorizeAsync(transaction, actor, Permission.RotateOwnKey, organizationId);
            if (access.Refusal is { } refused)
                return refused;
            if (await FindAsync(transaction, access.Value, keyId) is not { } old)
                return Keys.NoSuchKey;
            var now = clock.GetUtcNow();
            if (old.OverlapEndsAt is null || old.OverlapEndsAt <= now)
                return notRotating;

            await lifecycle.EndAsync(transaction, actor, KeyCause.OverlapEnded, KeySet.Of(keyId));
            return true;
        });

    /// <summary>
    /// Records a refused exchange of a key whose secret was proved: the use of an ended key is counted, and the use of a replaced key
    /// freezes the family before the response is sent. It is called for refused exchanges only.
    /// </summary>
    /// <param name="key">ASCII bytes of the key that <see cref="KeyExchange.ExchangeAsync"/> refused.</param>
    public async ValueTask RecordUseAfterEndAsync(Refusal refusal, ReadOnlyMemory<byte> key, IPAddress? address, string? userAgent)
    {
        if (refusal.Late == UseAfterEnd.No || !KeyFormat.TryParse(key.Span, out _, out var keyId))
            return;
        use.RecordLate(keyId, clock.GetUtcNow(), address, userAgent);
        if (refusal.Late == UseAfterEnd.OfReplaced)
            await FreezeAsync(keyId, address);
    }

    private Task<bool> FreezeAsync(string keyId, IPAddress? from) =>
        database.WriteAsync(async transaction =>
        {
            var now = clock.GetUtcNow();
            var connection = transaction.Connection!;
            // Read again: since the exchange's read, another use may have frozen them, or the holder may have deleted the key.
            var found = await connection.QuerySingleOrDefaultAsync<(string FamilyId, Guid UserId)?>(
                """
                SELECT k.family_id, m.user_id FROM access_keys k JOIN memberships m ON m.id = k.membership_id
                WHERE k.id = @keyId AND k.kind = 'pak' AND k.family_id IS NOT NULL AND k.deleted_at IS NULL AND k.suspended_at IS NULL
                    AND k.overlap_ends_at <= @now
                """,
                new { keyId, now },
                transaction
            );
            if (found is not { } key)
                return false;
            var actor = Actor.Key(key.UserId, keyId, NameSet.Empty, address: from);
            await lifecycle.SuspendAsync(
                transaction,
                actor,
                KeyCause.Frozen,
                KeySet.OfFamily(key.FamilyId),
                new()
                {
                    UsedKeyId = keyId,
                    Detail = $"{keyId} was used after its overlap",
                    Data = [("usedKeyId", keyId), ("address", from?.ToString())],
                }
            );
            return true;
        });

    private async Task<Outcome<Rotated>> ReplaceAsync(
        DbTransaction transaction,
        Actor actor,
        OrganizationAccess access,
        string keyId,
        string newId,
        TimeSpan overlap
    )
    {
        if (overlap < TimeSpan.Zero || overlap > OverlapMax)
            return badOverlap;
        if (!KeyFormat.IsId(newId))
            return Refusal.At("id", RefusalCode.InvalidRequest, "16 characters of base62 were expected.", "key id out of grammar");
        var connection = transaction.Connection!;
        if (await connection.ExecuteScalarAsync<long>("SELECT COUNT(*) FROM access_keys WHERE id = @newId", new { newId }, transaction) > 0)
            return Keys.DuplicateId;

        var now = clock.GetUtcNow();
        if (await FindAsync(transaction, access, keyId) is not { } old)
            return Keys.NoSuchKey;
        if (old.SuccessorId is not null)
            return rotatedBefore;
        if (old.ExpiresAt <= now)
            return hasExpired;
        if (old.SuspendedAt is not null)
            return isSuspended;
        if (
            await connection.ExecuteScalarAsync<long>(
                "SELECT COUNT(*) FROM access_keys WHERE family_id = @FamilyId AND successor_id = @keyId AND overlap_ends_at > @now AND "
                    + "deleted_at IS NULL",
                new
                {
                    FamilyId = old.FamilyId ?? "",
                    keyId,
                    now,
                },
                transaction
            ) > 0
        )
            return oneAtATime;

        var policy = (await StoredPolicy.TimelineAsync(connection, transaction, access.OrganizationId)).Strictest(now);
        var expiresAt = Expiry(old, policy, now, isByItself: actor.Credential == Credential.Key);
        if (policy.Forbids(expiresAt, Allowed(old.Scopes, policy), now, access.Roles) is { } forbidden)
            return forbidden;

        var key = PersonalAccessKey.Generate(options.Brand, newId);
        var rotated = new Rotated(
            key,
            old.Name,
            expiresAt,
            keyId,
            now + overlap < old.ExpiresAt || old.ExpiresAt is null ? now + overlap : old.ExpiresAt.Value
        );
        var membershipId = access.MembershipId!.Value;
        var successor = new NewKeyRow(newId, KeyKind.Personal, membershipId, old.Name, key.Hash(), old.Scopes, rotated.ExpiresAt)
        {
            FamilyId = old.FamilyId ?? keyId,
        };
        await lifecycle.ReplaceAsync(transaction, actor, keyId, successor, rotated.OldEndsAt);
        return rotated;
    }

    /// <summary>
    /// A person gives the successor the lifetime of the old key, or the longest that the policy allows. A key cannot extend its own life.
    /// </summary>
    private static DateTimeOffset? Expiry(Old old, Policy policy, DateTimeOffset now, bool isByItself)
    {
        var expiresAt =
            isByItself ? old.ExpiresAt
            : old.ExpiresAt is { } end ? now + TimeSpan.FromTicks(Math.Min((end - old.CreatedAt).Ticks, Keys.LifetimeMax.Ticks))
            : null;
        return now + policy.LifetimeMax is { } longest && !(expiresAt <= longest) ? longest : expiresAt;
    }

    /// <summary>
    /// The policy narrows the scopes of every key at each exchange, so a policy that allows fewer scopes than the key has does not prevent
    /// its rotation.
    /// </summary>
    private static NameSet Allowed(NameSet scopes, Policy policy) =>
        policy.Scopes is { } allowed ? NameSet.Of(scopes.Where(allowed.Contains)) : scopes;

    private static Task<Old?> FindAsync(DbTransaction transaction, OrganizationAccess access, string keyId) =>
        transaction.Connection!.QuerySingleOrDefaultAsync<Old>(
            """
            SELECT name, scopes, created_at, expires_at, suspended_at, successor_id, family_id, overlap_ends_at
            FROM access_keys WHERE id = @keyId AND membership_id = @MembershipId AND kind = 'pak' AND deleted_at IS NULL
            """,
            new { keyId, access.MembershipId },
            transaction
        );

    private sealed record Old
    {
        public string Name { get; init; } = "";
        public NameSet Scopes { get; init; } = NameSet.Empty;
        public DateTimeOffset CreatedAt { get; init; }
        public DateTimeOffset? ExpiresAt { get; init; }
        public DateTimeOffset? SuspendedAt { get; init; }
        public string? SuccessorId { get; init; }
        public string? FamilyId { get; init; }
        public DateTimeOffset? OverlapEndsAt { get; init; }
    }
}
