using System.Data.Common;
using System.Text.Encodings.Web;
using System.Text.Json;
using Dapper;

namespace Pakhouse.Server;

/// <summary>The types of events, as receivers know them: never renamed.</summary>
public static class EventTypes
{
    public const string KeyCreated = "key.created",
        KeyUsedFirstFromNetwork = "key.used_first_from_network",
        KeyExpiring = "key.expiring",
        KeyExpired = "key.expired";
    public const string KeyRotated = "key.rotated",
        KeyDeleted = "key.deleted",
        KeySuspended = "key.suspended",
        KeyResumed = "key.resumed",
        KeyLeaked = "key.leaked";
    public const string PolicyChanged = "policy.changed";

    /// <summary>A key invited, added or removed somebody or changed roles, or an invitation that it sent was accepted.</summary>
    public const string MembershipChangedByKey = "membership.changed_by_key";

    /// <summary>Sent only where an owner asks for it, to see whether a webhook works.</summary>
    public const string Test = "webhook.test";

    /// <summary>What a webhook can be limited to.</summary>
    public static readonly IReadOnlyList<string> All =
    [
        KeyCreated,
        KeyUsedFirstFromNetwork,
        KeyExpiring,
        KeyExpired,
        KeyRotated,
        KeyDeleted,
        KeySuspended,
        KeyResumed,
        KeyLeaked,
        PolicyChanged,
        MembershipChangedByKey,
    ];
}

/// <summary>
/// What organizations' webhooks are told. A change that somebody may want to hear of writes it here, in its own transaction: there is no
/// message without the change, and no change whose message is lost. <see cref="WebhookSender"/> sends it afterwards, at least once. A
/// message holds ids and names, never a secret. A webhook of a root hears of its sub-organizations too. What happens while a webhook is off
/// is written too, and not sent: its owners find it in the list of deliveries. Where nobody listens nothing is written.
/// </summary>
public static class Events
{
    // The default escapes ' and + for HTML; this is JSON.
    private static readonly JsonSerializerOptions json = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>Messages of one INSERT.</summary>
    private const int InsertRows = 40;

    /// <summary>Keys read at once.</summary>
    private const int BatchKeys = 10 * InsertRows;

    /// <summary>Something happened to a key: the message says which, of what kind, whose, in which organization.</summary>
    /// <param name="more">What else the message says: ids, names, times, numbers.</param>
    public static Task OfKeyAsync(
        DbTransaction transaction,
        TimeProvider clock,
        string type,
        string keyId,
        params (string Name, object? Value)[] more
    ) => OfKeysAsync(transaction, clock, type, KeySet.Of(keyId), _ => more);

    /// <summary>As <see cref="OfKeyAsync"/> of each of many, with a few statements for hundreds of them.</summary>
    internal static async Task OfKeysAsync(
        DbTransaction transaction,
        TimeProvider clock,
        string type,
        KeySet keys,
        Func<string, IReadOnlyList<(string Name, object? Value)>> more
    )
    {
        if (!await HasSubscribersAsync(transaction.Connection!, transaction))
            return;
        for (var after = -1L; ;)
        {
            var read = (
                await transaction.Connection!.QueryAsync<Key>(
                    $"""
                    SELECT w.id AS webhook_id, w.disabled_at, k.id, k.status_index, k.name, k.kind, k.expires_at,
                           u.id AS user_id, u.kind AS user_kind, u.name AS user_name, o.id AS organization_id, o.name AS organization_name
                    FROM (
                        SELECT k.id, k.membership_id, k.status_index, k.name, k.kind, k.expires_at FROM access_keys k
                        WHERE {keys.Where} AND k.status_index > @after ORDER BY k.status_index LIMIT {BatchKeys}) AS k
                    JOIN memberships m ON m.id = k.membership_id
                    JOIN users u ON u.id = m.user_id
                    JOIN organizations o ON o.id = m.organization_id
                    LEFT JOIN webhooks w ON w.organization_id IN (o.id, o.root_id) AND {Listens}
                    ORDER BY k.status_index
                    """,
                    keys.With(
                        new
                        {
                            after,
                            pattern = Pattern(type),
                            missedSince = clock.GetUtcNow() - WebhookSender.Kept,
                        }
                    ),
                    transaction
                )
            ).AsList();
            if (read.Count == 0)
                return;
            after = read[^1].StatusIndex;
            var messages = read.Where(key => key.WebhookId is not null)
                .GroupBy(key => key.Id, StringComparer.Ordinal)
                .SelectMany(key =>
                {
                    var (id, body) = (NewId(clock), Body(type, clock.GetUtcNow(), Data(key.First(), more(key.Key))));
                    return key.Select(one => (WebhookId: one.WebhookId!.Value, id, body, IsOff: one.DisabledAt is not null));
                });
            foreach (var batch in messages.Chunk(InsertRows))
                await InsertAsync(transaction, clock, type, batch);
        }
    }

    private static Task<int> InsertAsync(
        DbTransaction transaction,
        TimeProvider clock,
        string type,
        (Guid WebhookId, string Id, string Body, bool IsOff)[] messages
    )
    {
        var parameters = new DynamicParameters(new { type, now = clock.GetUtcNow() });
        for (var i = 0; i < messages.Length; i++)
        {
            parameters.Add($"@w{i}", messages[i].WebhookId);
            parameters.Add($"@i{i}", messages[i].Id);
            parameters.Add($"@b{i}", messages[i].Body);
        }

        return transaction.Connection!.ExecuteAsync(
            $"""
            INSERT INTO webhook_messages (webhook_id, id, type, body, created_at, due_at, attempts)
            VALUES {string.Join(
                ", ",
                messages.Select((message, i) => $"(@w{i}, @i{i}, @type, @b{i}, @now, {(message.IsOff ? "NULL" : "@now")}, 0)")
            )}
            """,
            parameters,
            transaction
        );
    }

    private static IEnumerable<(string Name, object? Value)> Data(Key key, IReadOnlyList<(string Name, object? Value)> more) =>
        [
            ("keyId", key.Id),
            ("keyName", key.Name),
            ("keyKind", key.Kind),
            ("expiresAt", key.ExpiresAt),
            // The service user of an API key is nobody.
            .. key.UserKind == "person" ? ((string, object?)[])[("userId", key.UserId), ("userName", key.UserName)] : [],
            ("organizationId", key.OrganizationId),
            ("organizationName", key.OrganizationName),
            .. more,
        ];

    /// <summary>
    /// A webhook <c>w</c> that wants to be told of the type in <c>@pattern</c>. One that is off for longer than the list goes back is not.
    /// </summary>
    private const string Listens =
        "(w.disabled_at IS NULL OR w.disabled_at > @missedSince) AND (w.events = '*' OR ' ' || w.events || ' ' LIKE @pattern)";

    private static string Pattern(string type) => $"% {type} %";

    /// <summary>Whether anybody listens anywhere: what happens to many keys at once asks first.</summary>
    public static async Task<bool> HasSubscribersAsync(DbConnection connection, DbTransaction? transaction) =>
        await connection.ExecuteScalarAsync<long?>("SELECT 1 FROM webhooks LIMIT 1", transaction: transaction) is not null;

    /// <summary>Something else happened in an organization.</summary>
    /// <param name="data">Ids, names, times, numbers; what is null is left out.</param>
    public static Task WriteAsync(
        DbTransaction transaction,
        TimeProvider clock,
        string type,
        Guid organizationId,
        params (string Name, object? Value)[] data
    )
    {
        var now = clock.GetUtcNow();
        return transaction.Connection!.ExecuteAsync(
            $"""
            INSERT INTO webhook_messages (webhook_id, id, type, body, created_at, due_at, attempts)
            SELECT w.id, @id, @type, @body, @now, CASE WHEN w.disabled_at IS NULL THEN @now END, 0
            FROM organizations o JOIN webhooks w ON w.organization_id IN (o.id, o.root_id)
            WHERE o.id = @organizationId AND {Listens}
            """,
            new
            {
                id = NewId(clock),
                type,
                body = Body(type, now, data),
                now,
                organizationId,
                pattern = Pattern(type),
                missedSince = now - WebhookSender.Kept,
            },
            transaction
        );
    }

    /// <summary>Standard Webhooks: the same for every attempt and every receiver, so that these can tell what they have had.</summary>
    internal static string NewId(TimeProvider clock) => $"msg_{Ids.New(clock):N}";

    internal static string Body(string type, DateTimeOffset at, IEnumerable<(string Name, object? Value)> data) =>
        JsonSerializer.Serialize(
            new
            {
                type,
                timestamp = at.UtcDateTime,
                data = data.Where(item => item.Value is not null)
                    .ToDictionary(
                        item => item.Name,
                        item => item.Value is DateTimeOffset time ? time.UtcDateTime : item.Value,
                        StringComparer.Ordinal
                    ),
            },
            json
        );

    private sealed record Key
    {
        public Guid? WebhookId { get; init; }
        public DateTimeOffset? DisabledAt { get; init; }
        public string Id { get; init; } = "";
        public long StatusIndex { get; init; }
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
