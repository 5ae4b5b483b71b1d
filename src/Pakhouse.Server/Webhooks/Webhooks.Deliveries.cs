using System.Data.Common;
using Dapper;
using Microsoft.AspNetCore.DataProtection;

namespace Pakhouse.Server;

/// <summary>The deliveries of a webhook: the list, a test message, and sending a message again.</summary>
public sealed partial class Webhooks
{
    /// <summary>Sends a test message to this webhook only, whatever its events.</summary>
    public Task<Outcome<string>> TestAsync(Actor actor, Guid organizationId, Guid id) =>
        ChangeAsync<string>(
            actor,
            Permission.ManageWebhooks,
            organizationId,
            async transaction =>
            {
                var (now, message) = (clock.GetUtcNow(), Events.NewId(clock));
                var inserted = await transaction.Connection!.ExecuteAsync(
                    """
                    INSERT INTO webhook_messages (webhook_id, id, type, body, created_at, due_at, attempts)
                    SELECT id, @message, @type, @body, @now, @now, 0 FROM webhooks WHERE id = @id AND organization_id = @organizationId
                        AND disabled_at IS NULL
                    """,
                    new
                    {
                        id,
                        organizationId,
                        message,
                        type = EventTypes.Test,
                        body = Events.Body(EventTypes.Test, now, [("webhookId", id), ("organizationId", organizationId)]),
                        now,
                    },
                    transaction
                );
                if (inserted == 1)
                    return message;
                return await CountAsync(transaction, organizationId, id) == 0
                    ? noSuchWebhook
                    : new Refusal(RefusalCode.Conflict, "This webhook is disabled. Enable it first.", "test of a disabled webhook");
            }
        );

    /// <summary>Sends a delivered or given-up message again, at once, with the retries of a new message.</summary>
    public Task<Outcome<bool>> ResendAsync(Actor actor, Guid organizationId, Guid id, string message) =>
        ChangeAsync<bool>(
            actor,
            Permission.ManageWebhooks,
            organizationId,
            async transaction =>
                await transaction.Connection!.ExecuteAsync(
                    """
                    UPDATE webhook_messages SET due_at = @now WHERE webhook_id = @id AND id = @message AND due_at IS NULL
                        AND EXISTS (SELECT 1 FROM webhooks w WHERE w.id = @id AND w.organization_id = @organizationId
                            AND w.disabled_at IS NULL)
                    """,
                    new
                    {
                        id,
                        organizationId,
                        message,
                        now = clock.GetUtcNow(),
                    },
                    transaction
                ) == 1
                    ? true
                    : new Refusal(
                        RefusalCode.Conflict,
                        "This message cannot be sent again: it is still waiting, or the webhook is disabled or deleted.",
                        "not to be sent again"
                    )
        );

    /// <summary>Newest first.</summary>
    /// <returns>A page of the log, and the number of all its messages.</returns>
    public Task<Outcome<(IReadOnlyList<WebhookDelivery> Part, long Total)>> DeliveriesAsync(
        Actor actor,
        Guid organizationId,
        Guid id,
        int first,
        int count
    ) =>
        database.ReadAsync<Outcome<(IReadOnlyList<WebhookDelivery>, long)>>(async connection =>
        {
            var access = await Guard.AuthorizeAsync(connection, null, actor, Permission.ManageWebhooks, organizationId);
            if (access.Refusal is { } refused)
                return refused;
            if (
                await connection.ExecuteScalarAsync<long>(
                    "SELECT COUNT(*) FROM webhooks WHERE id = @id AND organization_id = @organizationId",
                    new { id, organizationId }
                ) == 0
            )
                return noSuchWebhook;
            var part = await connection.QueryAsync<WebhookDelivery>(
                """
                SELECT m.id, m.type, m.body, m.created_at,
                    CASE WHEN m.due_at < w.paused_until THEN w.paused_until ELSE m.due_at END AS due_at,
                       m.attempts, a.at AS attempted_at, a.milliseconds, a.status, a.error
                FROM webhook_messages m JOIN webhooks w ON w.id = m.webhook_id
                LEFT JOIN webhook_attempts a ON a.webhook_id = m.webhook_id AND a.message_id = m.id
                    AND a.number = (SELECT MAX(number) FROM webhook_attempts WHERE webhook_id = m.webhook_id AND message_id = m.id)
                WHERE m.webhook_id = @id ORDER BY m.id DESC LIMIT @count OFFSET @first
                """,
                new
                {
                    id,
                    first,
                    count,
                }
            );
            return (
                part.AsList(),
                await connection.ExecuteScalarAsync<long>("SELECT COUNT(*) FROM webhook_messages WHERE webhook_id = @id", new { id })
            );
        });
}
