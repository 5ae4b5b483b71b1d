using System.Data.Common;
using System.Text.Encodings.Web;
using System.Text.Json;
using Dapper;

namespace Pakhouse.Server;

/// <summary>The types of events, as receivers know them: never renamed.</summary>
public static class EventTypes
{
    public const string KeyCreated = "key.created", KeyUsedFirstFromNetwork = "key.used_first_from_network", KeyExpiring = "key.expiring", KeyExpired = "key.expired";
    public const string KeyRotated = "key.rotated", KeyDeleted = "key.deleted", KeySuspended = "key.suspended", KeyResumed = "key.resumed", KeyLeaked = "key.leaked";
    public const string PolicyChanged = "policy.changed";

    /// <summary>Sent only where an owner asks for it, to see whether a webhook works.</summary>
    public const string Test = "webhook.test";

    /// <summary>What a webhook can be limited to.</summary>
    public static readonly IReadOnlyList<string> All =
        [KeyCreated, KeyUsedFirstFromNetwork, KeyExpiring, KeyExpired, KeyRotated, KeyDeleted, KeySuspended, KeyResumed, KeyLeaked, PolicyChanged];
}

/// <summary>
/// What organizations' webhooks are told. A change that somebody may want to hear of writes it here, in its own transaction: there is no message
/// without the change, and no change whose message is lost. <see cref="WebhookSender"/> sends it afterwards, at least once. A message holds ids and names,
/// never a secret. A webhook of a root hears of its sub-organizations too. Where nobody listens nothing is written.
/// </summary>
public static class Events
{
    // The default escapes ' and + for HTML; this is JSON.
    private static readonly JsonSerializerOptions json = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>Something happened to a key: the message says which, of what kind, whose, in which organization.</summary>
    /// <param name="more">What else the message says: ids, names, times, numbers.</param>
    public static async Task OfKeyAsync(DbTransaction transaction, TimeProvider clock, string type, string keyId, params (string Name, object? Value)[] more)
    {
        var key = await transaction.Connection!.QuerySingleOrDefaultAsync<Key>(
            """
            SELECT k.name, k.kind, k.expires_at, u.id AS user_id, u.kind AS user_kind, u.name AS user_name, o.id AS organization_id, o.name AS organization_name
            FROM access_keys k
            JOIN memberships m ON m.id = k.membership_id
            JOIN users u ON u.id = m.user_id
            JOIN organizations o ON o.id = m.organization_id
            WHERE k.id = @keyId AND EXISTS (SELECT 1 FROM webhooks w WHERE w.organization_id IN (o.id, o.root_id) AND w.disabled_at IS NULL)
            """, new { keyId }, transaction);
        if (key is null) return; // nobody listens

        (string, object?)[] data =
        [
            ("keyId", keyId), ("keyName", key.Name), ("keyKind", key.Kind), ("expiresAt", key.ExpiresAt),
            // The service user of an API key is nobody.
            .. key.UserKind == "person" ? ((string, object?)[])[("userId", key.UserId), ("userName", key.UserName)] : [],
            ("organizationId", key.OrganizationId), ("organizationName", key.OrganizationName), .. more,
        ];
        await WriteAsync(transaction, clock, type, key.OrganizationId, data);
    }

    /// <summary>Whether anybody listens anywhere: what happens to many keys at once asks first.</summary>
    public static async Task<bool> AreHeardAsync(DbTransaction transaction) =>
        await transaction.Connection!.ExecuteScalarAsync<long?>("SELECT 1 FROM webhooks WHERE disabled_at IS NULL LIMIT 1", transaction: transaction) is not null;

    /// <summary>Something else happened in an organization.</summary>
    /// <param name="data">Ids, names, times, numbers; what is null is left out.</param>
    public static Task WriteAsync(DbTransaction transaction, TimeProvider clock, string type, Guid organizationId, params (string Name, object? Value)[] data)
    {
        var now = clock.GetUtcNow();
        return transaction.Connection!.ExecuteAsync(
            """
            INSERT INTO webhook_messages (webhook_id, id, type, body, created_at, due_at, attempts)
            SELECT w.id, @id, @type, @body, @now, @now, 0
            FROM organizations o JOIN webhooks w ON w.organization_id IN (o.id, o.root_id)
            WHERE o.id = @organizationId AND w.disabled_at IS NULL AND (w.events = '' OR ' ' || w.events || ' ' LIKE @pattern)
            """, new { id = NewId(clock), type, body = Body(type, now, data), now, organizationId, pattern = $"% {type} %" }, transaction);
    }

    /// <summary>Standard Webhooks: the same for every attempt and every receiver, so that these can tell what they have had.</summary>
    internal static string NewId(TimeProvider clock) => $"msg_{Ids.New(clock):N}";

    internal static string Body(string type, DateTimeOffset at, IEnumerable<(string Name, object? Value)> data) => JsonSerializer.Serialize(new
    {
        type,
        timestamp = at.UtcDateTime,
        data = data.Where(item => item.Value is not null).ToDictionary(item => item.Name, item => item.Value is DateTimeOffset time ? time.UtcDateTime : item.Value, StringComparer.Ordinal),
    }, json);

    private sealed record Key
    {
        public string Name { get; init; } = "";
        public string Kind { get; init; } = "";
        public DateTimeOffset? ExpiresAt { get; init; }
        public Guid UserId { get; init; }
        public string UserKind { get; init; } = "";
        public string UserName { get; init; } = "";
        public Guid OrganizationId { get; init; }
        public string OrganizationName { get; init; } = "";
    }
}
