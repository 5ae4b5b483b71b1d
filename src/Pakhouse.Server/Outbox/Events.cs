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

    /// <summary>A key invited, added or removed a person or changed roles, or an invitation that it sent was accepted.</summary>
    public const string MembershipChangedByKey = "membership.changed_by_key";

    /// <summary>Sent only when an owner requests it, to test a webhook.</summary>
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
/// The events for organizations' webhooks. A change writes its event here in its own transaction, so there is no message without the
/// change, and no change without its message. <see cref="WebhookSender"/> sends it afterwards, at least once. A message contains ids and
/// names, never a secret. A webhook of a root also gets the events of its sub-organizations. Events while a webhook is disabled are stored
/// but not sent; its owners find them in the list of deliveries. Without subscribers nothing is stored.
/// </summary>
public static class Events
{
    // The default escapes ' and + for HTML; this is JSON.
    private static readonly JsonSerializerOptions json = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>Messages of one INSERT.</summary>
    private const int InsertRows = 40;

    /// <summary>Keys read at once.</summary>
    private const int BatchKeys = 10 * InsertRows;

    /// <summary>An event of a key: the message names the key, its kind, its holder and its organization.</summary>
    /// <param name="more">Further content of the message: ids, names, times, numbers.</param>
    public static Task OfKeyAsync(
        DbTransaction transaction,
        TimeProvider clock,
        string type,
        string keyId,
        params (string Name, object? Value)[] more
    ) => OfKeysAsync(transaction, clock, type, KeySet.Of(keyId), _ => more);

    /// <summary>Like <see cref="OfKeyAsync"/> for many keys, with a few statements for hundreds of them.</summary>
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
            // The service user of an API key is not a person.
            .. key.UserKind == "person" ? ((string, object?)[])[("userId", key.UserId), ("userName", key.UserName)] : [],
            ("organizationId", key.OrganizationId),
            ("organizationName", key.OrganizationName),
            .. more,
        ];

    /// <summary>
    /// A webhook <c>w</c> that subscribes to the type in <c>@pattern</c>. One that was disabled before the list of deliveries begins does
    /// not count.
    /// </summary>
    private const string Listens =
        "(w.disabled_at IS NULL OR w.disabled_at > @missedSince) AND (w.events = '*' OR ' ' || w.events || ' ' LIKE @pattern)";

    private static string Pattern(string type) => $"% {type} %";

    /// <summary>Whether there is any subscriber; changes of many keys check this first.</summary>
    public static async Task<bool> HasSubscribersAsync(DbConnection connection, DbTransaction? transaction) =>
        await connection.ExecuteScalarAsync<long?>("SELECT 1 FROM webhooks LIMIT 1", transaction: transaction) is not null;

    /// <summary>Any other event in an organization.</summary>
    /// <param name="data">Ids, names, times, numbers; null values are omitted.</param>
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

    /// <summary>Standard Webhooks: the same for every attempt and receiver, so that receivers can detect duplicates.</summary>
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
