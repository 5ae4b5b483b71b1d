using System.Data.Common;
using System.Security.Cryptography;
using Dapper;

namespace Pakhouse.Server;

/// <summary>
/// Writes what follows from a change of keys (<see cref="KeyDuties"/>) in the transaction of the change: the audit record, the webhook
/// messages, the mails. Only <see cref="KeyLifecycle"/> calls it.
/// </summary>
internal sealed class KeyAnnouncements(Mails mails, PublicAddress address, TimeProvider clock)
{
    /// <param name="keys">Exactly the keys that changed.</param>
    public async Task WriteAsync(DbTransaction transaction, Actor actor, KeyCause cause, KeySet keys, KeyRow facts)
    {
        var duties = KeyDuties.Of(cause);
        await RecordAsync(transaction, actor, duties, keys, facts);
        await Events.OfKeysAsync(transaction, clock, duties.Event, keys, keyId =>
        [
            ("reason", duties.Reason), ("reporter", facts.Reporter), ("foundAt", facts.FoundAt.GetValueOrDefault(keyId)), .. facts.Data,
        ]);
        if (duties.Mail != KeyMail.None) await MailAsync(transaction, actor, cause, duties.Mail, keys, facts);
    }

    /// <summary>Writes a row for each key, in one statement. Ids sort by time: each is a new id whose last digits are counted up.</summary>
    private async Task RecordAsync(DbTransaction transaction, Actor actor, KeyDuties duties, KeySet keys, KeyRow facts)
    {
        var rows = await transaction.Connection!.QueryAsync<(string Target, string Action, Guid OrganizationId)>(
        $"""
        INSERT INTO activity (id, at, organization_id, actor_user_id, actor_key_id, address, action, target, subject_user_id, detail)
        SELECT @idStart || CAST(@idNumber + ROW_NUMBER() OVER (ORDER BY k.id) AS TEXT), @now,
               m.organization_id, @actorUserId, @actorKeyId, @address,
               CASE k.kind WHEN 'oak' THEN @ApiKeyAction ELSE @Action END, k.id,
               CASE WHEN k.kind = 'pak' AND m.user_id <> @by THEN m.user_id END, @detail
        FROM access_keys k JOIN memberships m ON m.id = k.membership_id
        WHERE {keys.Where}
        RETURNING target, action, organization_id
        """,
        keys.With(new
        {
            idStart = Ids.New(clock).ToString()[..24], // leaves as many digits as the number has
            idNumber = 1_000_000L * RandomNumberGenerator.GetInt32(100_000, 900_000),
            now = clock.GetUtcNow(),
            actorUserId = actor.UserId?.ToString(),
            actorKeyId = actor.KeyId,
            address = actor.Address?.ToString(),
            duties.ApiKeyAction,
            duties.Action,
            by = actor.UserId?.ToString() ?? "",
            detail = facts.Detail ?? duties.Detail,
        }), transaction);
        foreach (var (target, action, organizationId) in rows) ActivityLog.Note(transaction, actor, action, organizationId, target);
    }

    private async Task MailAsync(DbTransaction transaction, Actor actor, KeyCause cause, KeyMail whom, KeySet keys, KeyRow facts)
    {
        var changed = await MailedKey.SelectAsync(transaction, keys);
        var mail = new KeyMails(cause, facts, await Doer.NameAsync(transaction, actor), clock.GetUtcNow(), address);
        // A person who changed an own key knows it. A caller that proved a secret need not be its holder.
        bool IsKnown(MailedKey key) => key.UserId == actor.UserId && actor.KeyId is null;
        var personal = changed.Where(key => key.IsPersonal && key.Email.Length > 0 && !IsKnown(key));
        foreach (var holder in personal.GroupBy(key => key.Email, StringComparer.Ordinal))
            if (mail.ToHolder([.. holder]) is { } content)
                await mails.EnqueueAsync(transaction, holder.Key, content);

        if (whom != KeyMail.HolderOrOwners) return;
        foreach (var own in changed.Where(key => !key.IsPersonal).GroupBy(key => key.OrganizationId))
            if (mail.ToOwners([.. own]) is { } content)
                foreach (var owner in await Owners.EmailsAsync(transaction, own.Key))
                    await mails.EnqueueAsync(transaction, owner, content);
    }
}

/// <summary>A key as mails describe it.</summary>
internal sealed record MailedKey
{
    public string Id { get; init; } = "";
    public string Name { get; init; } = "";
    public string Kind { get; init; } = "";
    public DateTimeOffset CreatedAt { get; init; }
    public DateTimeOffset? DeletedAt { get; init; }
    public DateTimeOffset? ExpiresAt { get; init; }
    public DateTimeOffset? OverlapEndsAt { get; init; }
    public Guid UserId { get; init; }
    public string UserName { get; init; } = "";

    /// <summary>Empty: there is no recipient.</summary>
    public string Email { get; init; } = "";

    public Guid OrganizationId { get; init; }
    public string OrganizationName { get; init; } = "";
    public DateTimeOffset? LastUsedAt { get; init; }
    public string? LastUsedAddress { get; init; }

    public bool IsPersonal => Kind == "pak";

    /// <summary>Keys that had stopped by themselves are missed by nobody.</summary>
    public bool IsMissed(DateTimeOffset now) => DeletedAt is null && !(ExpiresAt <= now) && !(OverlapEndsAt <= now);

    public static async Task<List<MailedKey>> SelectAsync(DbTransaction transaction, KeySet keys) =>
        (
            await transaction.Connection!.QueryAsync<MailedKey>(
                $"""
                SELECT k.id, k.name, k.kind, k.created_at, k.deleted_at, k.expires_at, k.overlap_ends_at,
                       u.id AS user_id, u.name AS user_name,
                       CASE WHEN u.disabled_at IS NULL AND u.deleted_at IS NULL THEN u.email ELSE '' END AS email,
                       o.id AS organization_id, o.name AS organization_name, s.last_used_at, s.address AS last_used_address
                FROM access_keys k
                JOIN memberships m ON m.id = k.membership_id
                JOIN users u ON u.id = m.user_id
                JOIN organizations o ON o.id = m.organization_id
                LEFT JOIN key_use_hours s ON s.key_id = k.id AND s.hour = (SELECT MAX(hour) FROM key_use_hours WHERE key_id = k.id)
                WHERE {keys.Where}
                ORDER BY k.created_at DESC, k.id
                """,
                keys.With(new { }),
                transaction
            )
        ).AsList();
}
