using System.Data.Common;
using System.Net;
using Dapper;

namespace Pakhouse.Server;

/// <summary>A key that takes the place of another.</summary>
/// <param name="Key">Its secret, once.</param>
/// <param name="OldEndsAt">Until when the other works.</param>
public sealed record Rotated(PersonalAccessKey Key, string Name, DateTimeOffset? ExpiresAt, string OldId, DateTimeOffset OldEndsAt) : IDisposable
{
    public void Dispose() => Key.Dispose();

    public override string ToString() => $"key {Key.Id} for {OldId}";
}

/// <summary>
/// A key is replaced without an outage: its successor has the same name, scopes and lifetime, and the old key works on for the overlap.
/// Who uses the old key afterwards holds a copy that nobody knew of, or is a program that was forgotten: the family is frozen and its holder told.
/// <para>Invariant: of one family two keys work at most, and a successor can do nothing that its predecessor could not.</para>
/// </summary>
public sealed class KeyRotation(Database database, PakhouseOptions options, KeyUse use, Mails mails, PublicAddress address, TimeProvider clock)
{
    public static readonly TimeSpan OverlapDefault = TimeSpan.FromDays(1), OverlapMax = TimeSpan.FromDays(30);

    private static readonly Refusal badOverlap = new(RefusalCode.InvalidRequest, "overlap: choose 0 seconds to 30 days.", "overlap out of bounds");
    private static readonly Refusal rotatedBefore = new(RefusalCode.Conflict, "This key was rotated already: rotate the one that replaced it.", "rotated before");
    private static readonly Refusal hasExpired = new(RefusalCode.Conflict, "This key has expired: generate a new one.", "rotation of an expired key");
    private static readonly Refusal isSuspended = new(RefusalCode.Conflict, "This key is frozen or suspended: an owner of the organization can resume it, or delete it and generate a new one.", "rotation of a suspended key");
    private static readonly Refusal oneAtATime = new(RefusalCode.Conflict, "The key that this one replaced still works: finish that rotation first.", "two overlaps at once");
    private static readonly Refusal notByItself = new(RefusalCode.AccessDenied, "The organization's policy does not let a key rotate itself: rotate it on the dashboard, or ask an owner.", "policy: self-rotation");
    private static readonly Refusal notRotating = new(RefusalCode.Conflict, "This key is not in an overlap; there is nothing to finish.", "no overlap to finish");

    /// <summary>Replaces one of the caller's own keys (R7: only a person can). The only answer that carries the new secret.</summary>
    /// <param name="newId">Drawn when the form was shown: sending the form twice cannot make two keys.</param>
    /// <param name="overlap">For so long the old key works on, and never beyond its own expiry; zero: not at all.</param>
    /// <returns><see cref="Keys.UsedBefore"/> when the id was used before.</returns>
    public Task<Outcome<Rotated>> RotateAsync(Actor actor, Guid organizationId, string keyId, string newId, TimeSpan overlap) => database.ChangeAsync<Rotated>(async transaction =>
    {
        var standpoint = await Guard.DemandAsync(transaction, actor, Permission.RotateOwnKey, organizationId);
        if (standpoint.Refusal is { } refused) return refused;
        return await ReplaceAsync(transaction, actor, standpoint.Value, keyId, newId, overlap);
    });

    /// <summary>A key makes its own successor, where the policy allows it. That expires when the old key would have: a key cannot prolong itself.</summary>
    /// <param name="actor">Who proved the key itself; a token got with it is not enough.</param>
    public Task<Outcome<Rotated>> RotateSelfAsync(Actor actor, Guid organizationId, string newId, TimeSpan overlap) => database.ChangeAsync<Rotated>(async transaction =>
    {
        var standpoint = await Guard.DemandAsync(transaction, actor, Permission.RotateItself, organizationId);
        if (standpoint.Refusal is { } refused) return refused;
        if ((await Policies.OfAsync(transaction.Connection!, transaction, organizationId)).At(clock.GetUtcNow()).SelfRotation != true) return notByItself;
        return await ReplaceAsync(transaction, actor, standpoint.Value, actor.KeyId!, newId, overlap);
    });

    /// <summary>Ends the overlap of a replaced key now. When this has returned, no exchange of it that begins afterwards succeeds.</summary>
    public Task<Outcome<bool>> FinishAsync(Actor actor, Guid organizationId, string keyId) => database.ChangeAsync<bool>(async transaction =>
    {
        var standpoint = await Guard.DemandAsync(transaction, actor, Permission.RotateOwnKey, organizationId);
        if (standpoint.Refusal is { } refused) return refused;
        if (await FindAsync(transaction, standpoint.Value, keyId) is not { } old) return Keys.NoSuchKey;
        var now = clock.GetUtcNow();
        if (old.OverlapEndsAt is null || old.OverlapEndsAt <= now) return notRotating;

        await transaction.Connection!.ExecuteAsync("UPDATE access_keys SET overlap_ends_at = @now WHERE id = @keyId", new { now, keyId }, transaction);
        await KeyStatus.OfKeyAsync(transaction, clock, keyId);
        await ActivityLog.WriteAsync(transaction, clock, actor, Did.KeyRotate, organizationId, keyId, detail: "overlap ended");
        return true;
    });

    /// <summary>
    /// What a refused exchange tells of a key whose secret was proved: its use after its end is counted, and that of a replaced key freezes
    /// the family before the answer is given. For the paths of refusals only.
    /// </summary>
    /// <param name="key">ASCII bytes of the key; the refusal came from <see cref="KeyExchange.ExchangeAsync"/> for it.</param>
    public async ValueTask NoteLateUseAsync(Refusal refusal, ReadOnlyMemory<byte> key, IPAddress? address, string? userAgent)
    {
        if (refusal.Late == LateUse.No || !KeyFormat.TryParse(key.Span, out _, out var keyId)) return;
        use.RecordLate(keyId, clock.GetUtcNow(), address, userAgent);
        if (refusal.Late == LateUse.OfReplaced) await FreezeAsync(keyId, address);
    }

    private Task<bool> FreezeAsync(string keyId, IPAddress? from) => database.WriteAsync(async transaction =>
    {
        var now = clock.GetUtcNow();
        var connection = transaction.Connection!;
        // Asked again: between the exchange's read and this, another use has frozen them, or the holder has deleted the key.
        var found = await connection.QuerySingleOrDefaultAsync<Frozen>(
            """
            SELECT k.family_id, k.name, k.overlap_ends_at, u.id AS user_id, u.email, u.name AS user_name, o.id AS organization_id, o.name AS organization_name
            FROM access_keys k JOIN memberships m ON m.id = k.membership_id JOIN users u ON u.id = m.user_id JOIN organizations o ON o.id = m.organization_id
            WHERE k.id = @keyId AND k.kind = 'pak' AND k.family_id IS NOT NULL AND k.deleted_at IS NULL AND k.suspended_at IS NULL AND k.overlap_ends_at <= @now
            """, new { keyId, now }, transaction);
        if (found is null) return false;

        var actor = Actor.Key(found.UserId, keyId, address: from);
        foreach (var id in await connection.QueryAsync<string>(
            "UPDATE access_keys SET suspended_at = @now, frozen_at = @now WHERE family_id = @FamilyId AND deleted_at IS NULL AND suspended_at IS NULL RETURNING id", new { now, found.FamilyId }, transaction))
        {
            await KeyStatus.OfKeyAsync(transaction, clock, id);
            await ActivityLog.WriteAsync(transaction, clock, actor, Did.KeySuspend, found.OrganizationId, id, found.UserId, $"{keyId} was used after its overlap");
            await Events.OfKeyAsync(transaction, clock, EventTypes.KeySuspended, id, ("reason", "used_after_overlap"), ("usedKeyId", keyId), ("address", from?.ToString()));
        }

        await mails.EnqueueAsync(transaction, found.Email, FrozenMail(found, keyId, from, now));
        return true;
    });

    private async Task<Outcome<Rotated>> ReplaceAsync(DbTransaction transaction, Actor actor, Standpoint standpoint, string keyId, string newId, TimeSpan overlap)
    {
        if (overlap < TimeSpan.Zero || overlap > OverlapMax) return badOverlap;
        if (!KeyFormat.IsId(newId)) return new Refusal(RefusalCode.InvalidRequest, "id: 16 characters of base62 were expected.", "key id out of grammar");
        var connection = transaction.Connection!;
        if (await connection.ExecuteScalarAsync<long>("SELECT COUNT(*) FROM access_keys WHERE id = @newId", new { newId }, transaction) > 0) return Keys.UsedBefore;

        var now = clock.GetUtcNow();
        if (await FindAsync(transaction, standpoint, keyId) is not { } old) return Keys.NoSuchKey;
        if (old.SuccessorId is not null) return rotatedBefore;
        if (old.ExpiresAt <= now) return hasExpired;
        if (old.SuspendedAt is not null) return isSuspended;
        if (await connection.ExecuteScalarAsync<long>(
            "SELECT COUNT(*) FROM access_keys WHERE family_id = @FamilyId AND successor_id = @keyId AND overlap_ends_at > @now AND deleted_at IS NULL", new { FamilyId = old.FamilyId ?? "", keyId, now }, transaction) > 0) return oneAtATime;

        var policy = (await Policies.OfAsync(connection, transaction, standpoint.OrganizationId)).Strictest(now);
        var expiresAt = Expiry(old, policy, now, isByItself: actor.Credential == Credential.Key);
        if (policy.Forbids(expiresAt, Allowed(old.Scopes, policy), now, standpoint.Roles) is { } forbidden) return forbidden;

        var key = PersonalAccessKey.Generate(options.Brand, newId);
        var rotated = new Rotated(key, old.Name, expiresAt, keyId, now + overlap < old.ExpiresAt || old.ExpiresAt is null ? now + overlap : old.ExpiresAt.Value);
        await connection.ExecuteAsync(
            """
            INSERT INTO access_keys (id, membership_id, name, hash, scopes, created_at, expires_at, status_index, family_id)
            VALUES (@newId, @MembershipId, @Name, @hash, @Scopes, @now, @ExpiresAt, @statusIndex, @family);
            UPDATE access_keys SET successor_id = @newId, family_id = @family, overlap_ends_at = @OldEndsAt WHERE id = @keyId;
            """,
            new
            {
                newId, standpoint.MembershipId, old.Name, hash = key.Hash(), old.Scopes, now, rotated.ExpiresAt, statusIndex = await KeyStatus.TakeIndexAsync(transaction),
                family = old.FamilyId ?? keyId, rotated.OldEndsAt, keyId,
            }, transaction);
        await KeyStatus.OfKeyAsync(transaction, clock, keyId);
        await ActivityLog.WriteAsync(transaction, clock, actor, Did.KeyRotate, standpoint.OrganizationId, keyId, detail: newId);
        await Events.OfKeyAsync(transaction, clock, EventTypes.KeyRotated, keyId, ("successorId", newId), ("overlapEndsAt", rotated.OldEndsAt));
        return rotated;
    }

    /// <summary>A person gives the successor the lifetime of the old key, or what the policy leaves of it. A key cannot prolong itself.</summary>
    private static DateTimeOffset? Expiry(Old old, Policy policy, DateTimeOffset now, bool isByItself)
    {
        var expiresAt = isByItself ? old.ExpiresAt : old.ExpiresAt is { } end ? now + TimeSpan.FromTicks(Math.Min((end - old.CreatedAt).Ticks, Keys.LifetimeMax.Ticks)) : null;
        return now + policy.LifetimeMax is { } longest && !(expiresAt <= longest) ? longest : expiresAt;
    }

    /// <summary>The policy narrows the scopes of every key at each exchange; that it allows fewer than the key has is no reason to keep the old one.</summary>
    private static NameSet Allowed(NameSet scopes, Policy policy) => policy.Scopes is { } allowed ? NameSet.Of(scopes.Where(allowed.Contains)) : scopes;

    private static Task<Old?> FindAsync(DbTransaction transaction, Standpoint standpoint, string keyId) => transaction.Connection!.QuerySingleOrDefaultAsync<Old>(
        """
        SELECT name, scopes, created_at, expires_at, suspended_at, successor_id, family_id, overlap_ends_at
        FROM access_keys WHERE id = @keyId AND membership_id = @MembershipId AND kind = 'pak' AND deleted_at IS NULL
        """, new { keyId, standpoint.MembershipId }, transaction);

    // Not the user agent: it is the words of somebody unknown, and could be a link.
    private MailContent FrozenMail(Frozen key, string keyId, IPAddress? from, DateTimeOffset at) => new(
        $"Your key “{key.Name}” is frozen: an old copy of it was used",
        $"""
        Hello {key.UserName},

        your key “{key.Name}” ({keyId}) in {key.OrganizationName} was rotated, and stopped on {When.Exact(key.OverlapEndsAt)}. It was used after that, with its secret: on {When.Exact(at)}, from {from?.ToString() ?? "an unknown address"}.

        That is a program that still has the old key, or somebody who should not have it. Until you know which, the key and the one that replaced it are frozen: they get no tokens, and tokens got with them are revoked.

        If you know the program: give it the new key. An owner or organization manager of {key.OrganizationName} can then resume it.
        If you do not: delete both keys, generate a new one, and look at what the old one was used for:

        {address.Value}{OrganizationPage.KeyUrl(key.OrganizationId, keyId)}
        """);

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

    private sealed record Frozen
    {
        public string FamilyId { get; init; } = "";
        public string Name { get; init; } = "";
        public DateTimeOffset OverlapEndsAt { get; init; }
        public Guid UserId { get; init; }
        public string Email { get; init; } = "";
        public string UserName { get; init; } = "";
        public Guid OrganizationId { get; init; }
        public string OrganizationName { get; init; } = "";
    }
}

/// <summary>
/// Sets the entries of keys whose overlap has ended by itself: a token got before its key was rotated can outlive the overlap, and who
/// verifies it offline sees nothing but the entry.
/// </summary>
public sealed class OverlapEnds(Database database, TimeProvider clock, ILogger<OverlapEnds> log) : Recurring(TimeSpan.FromSeconds(5), clock, log)
{
    public override async Task RunAsync()
    {
        foreach (var keyId in await database.ReadAsync(connection => connection.QueryAsync<string>(
            "SELECT id FROM access_keys WHERE overlap_ends_at <= @now AND status <> 1 LIMIT 1000", new { now = Clock.GetUtcNow() })))
            await database.WriteAsync(async transaction =>
            {
                await KeyStatus.OfKeyAsync(transaction, Clock, keyId);
                return true;
            });
    }
}
