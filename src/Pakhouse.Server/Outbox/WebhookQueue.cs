using System.Data.Common;
using Dapper;

namespace Pakhouse.Server;

/// <summary>Finds and claims the messages that wait for webhooks. <see cref="WebhookSender"/> sends them.</summary>
internal static class WebhookQueue
{
    /// <summary>Longer than a delivery and its record can take.</summary>
    private static readonly TimeSpan lease = TimeSpan.FromMinutes(2);

    /// <summary>The webhooks with due messages, and how many they have.</summary>
    /// <param name="only">Null: of all webhooks.</param>
    public static async Task<IReadOnlyList<DueWebhook>> DueAsync(DbConnection connection, DateTimeOffset now, Guid? only)
    {
        if (only is null)
        {
            // Most rounds end here.
            const string any = "SELECT 1 FROM webhook_messages WHERE due_at <= @now LIMIT 1";
            if (await connection.ExecuteScalarAsync<long?>(any, new { now }) is null)
                return [];
        }

        // From webhook to webhook by the index, however many messages one has.
        var ids = only is null
            ? """
                WITH RECURSIVE waiting (id) AS (
                    SELECT MIN(webhook_id) FROM webhook_messages WHERE due_at IS NOT NULL
                    UNION ALL
                    SELECT (SELECT MIN(m.webhook_id) FROM webhook_messages m WHERE m.due_at IS NOT NULL AND m.webhook_id > waiting.id)
                    FROM waiting WHERE waiting.id IS NOT NULL)
                """
            : "WITH waiting (id) AS (SELECT id FROM webhooks WHERE id = @only)";
        return (
            await connection.QueryAsync<DueWebhook>(
                $"""
                {ids}
                SELECT w.id, w.organization_id, w.url, w.failing_since, due.due_at,
                       (SELECT COUNT(*) FROM (
                           SELECT 1 FROM webhook_messages m WHERE m.webhook_id = w.id AND m.due_at <= @now
                               LIMIT {WebhookSlots.PerWebhookMax}) AS few)
                           AS messages
                FROM (SELECT id, (SELECT MIN(m.due_at) FROM webhook_messages m WHERE m.webhook_id = waiting.id
                    AND m.due_at IS NOT NULL) AS due_at
                      FROM waiting WHERE id IS NOT NULL) AS due
                JOIN webhooks w ON w.id = due.id
                WHERE due.due_at <= @now {(only is null ? "AND COALESCE(w.paused_until, 0) <= @now" : "")}
                """,
                new { now, only }
            )
        ).AsList();
    }

    /// <summary>Claims messages for a while: until then no other process sends them.</summary>
    public static async Task<IEnumerable<ClaimedMessage>> ClaimAsync(
        DbTransaction transaction,
        TimeProvider clock,
        Guid webhookId,
        int count
    )
    {
        var (now, leaseId) = (clock.GetUtcNow(), Ids.New(clock).ToString());
        var claimed = (
            await transaction.Connection!.QueryAsync<ClaimedMessage>(
                """
                UPDATE webhook_messages SET due_at = @until, lease = @leaseId
                WHERE webhook_id = @webhookId AND id IN (
                    SELECT m.id FROM webhook_messages m WHERE m.webhook_id = @webhookId AND m.due_at <= @now ORDER BY m.due_at, m.id
                        LIMIT @count)
                RETURNING webhook_id, id, body, attempts, lease
                """,
                new
                {
                    webhookId,
                    count,
                    now,
                    until = now + lease,
                    leaseId,
                },
                transaction
            )
        ).AsList();
        if (claimed.Count == 0)
            return [];
        var webhook = await transaction.Connection!.QuerySingleAsync<SendingWebhook>(
            "SELECT organization_id, url, secret, old_secret, old_secret_until FROM webhooks WHERE id = @webhookId",
            new { webhookId },
            transaction
        );
        return claimed.Select(message => message with { Webhook = webhook });
    }
}
