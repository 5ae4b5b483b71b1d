using System.Data.Common;
using Dapper;

namespace Pakhouse.Server;

/// <summary>
/// Handles webhooks whose creator has left. The webhook keeps working, because it belongs to the organization. Its owners are notified,
/// because that person may still have its URL and its secret.
/// </summary>
public sealed class WebhookMakers(Mails mails, PublicAddress address, TimeProvider clock)
{
    /// <summary>Call it in the transaction in which a person was disabled or a membership ended, after that change.</summary>
    /// <param name="left">The organization of the membership; null: the person can no longer sign in at all.</param>
    public async Task NotifyAsync(DbTransaction transaction, Actor actor, Guid userId, Guid? left = null)
    {
        var made = await transaction.Connection!.QueryAsync<Made>(
            $"""
            SELECT w.id, o.id AS organization_id, o.name FROM webhooks w JOIN organizations o ON o.id = w.organization_id
            WHERE w.maker_id = @userId AND o.deleted_at IS NULL {(left is null ? "" : "AND (o.id = @left OR o.root_id = @left)")}
              AND NOT EXISTS (
                SELECT 1 FROM memberships m JOIN users u ON u.id = m.user_id
                WHERE m.user_id = @userId AND m.ended_at IS NULL AND m.organization_id IN (o.id, o.root_id)
                  AND u.disabled_at IS NULL AND u.deleted_at IS NULL)
            ORDER BY w.id
            """,
            new { userId, left },
            transaction
        );
        foreach (var webhook in made)
        {
            await ActivityLog.WriteAsync(
                transaction,
                clock,
                actor,
                AuditAction.WebhookMakerLeft,
                webhook.OrganizationId,
                webhook.Id.ToString(),
                userId
            );
            foreach (var owner in await Owners.EmailsAsync(transaction, webhook.OrganizationId))
                await mails.EnqueueAsync(transaction, owner, Mail(webhook));
        }
    }

    private MailContent Mail(Made webhook) => new(
        $"The creator of a webhook of {webhook.Name} has left",
        $"""
        The person who made a webhook of {webhook.Name} is no longer a member, or can no longer sign in. The webhook works on.

        That person may still know where it sends to, and its secret. Look at its address, and give it a new secret or delete it:

        {MailText.Link(address, $"/organizations/{webhook.OrganizationId}/webhooks/{webhook.Id}")}
        """);

    private sealed record Made
    {
        public Guid Id { get; init; }
        public Guid OrganizationId { get; init; }
        public string Name { get; init; } = "";
    }
}
