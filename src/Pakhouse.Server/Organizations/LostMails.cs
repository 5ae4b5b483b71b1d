using System.Data.Common;
using Dapper;
using Microsoft.AspNetCore.Identity;

namespace Pakhouse.Server;

/// <summary>
/// Records a message that could not be delivered. For an invitation: an audit row in each organization, a mark on the invitation, and a
/// mail to its sender (to the owners if no person sent it). For every other message to a person: an audit row that the organizations of
/// that person see.
/// </summary>
public sealed class LostMails(Mails mails, PublicAddress address, ILookupNormalizer normalizer, TimeProvider clock) : IMailLoss
{
    public async Task NotifyAsync(DbTransaction transaction, LostMail lost)
    {
        if (lost.InvitationId is { } id)
        {
            await OfInvitationAsync(transaction, lost, id);
            return;
        }

        var user = await transaction.Connection!.ExecuteScalarAsync<string>(
            "SELECT id FROM users WHERE email_normalized = @normalized AND kind = 'person' AND deleted_at IS NULL",
            new { normalized = normalizer.NormalizeEmail(lost.Recipient) },
            transaction
        );
        if (user is null)
            return;
        await ActivityLog.WriteAsync(
            transaction,
            clock,
            Actor.Operator,
            AuditAction.MailUndelivered,
            null,
            user,
            Guid.Parse(user),
            lost.Why
        );
    }

    private async Task OfInvitationAsync(DbTransaction transaction, LostMail lost, Guid id)
    {
        // The invitation was withdrawn, accepted or sent again since, so nobody waits for this message.
        var found = await InvitationRows.SelectAsync(transaction.Connection!, transaction, "i.id = @id", new { id });
        if (found is not [var invitation, ..] || invitation.SentAt > lost.SentAt)
            return;
        await transaction.Connection!.ExecuteAsync(
            "UPDATE invitations SET undelivered_at = @now WHERE id = @id",
            new { id, now = clock.GetUtcNow() },
            transaction
        );
        var told = new HashSet<string>(StringComparer.Ordinal);
        foreach (var part in invitation.OrganizationsAndRoles)
        {
            await ActivityLog.WriteAsync(
                transaction,
                clock,
                Actor.Operator,
                AuditAction.InviteUndelivered,
                part.OrganizationId,
                id.ToString(),
                null,
                lost.Why
            );
            var sender = await transaction.Connection!.ExecuteScalarAsync<string>(
                "SELECT email FROM users WHERE id = @InvitedBy AND kind = 'person' AND disabled_at IS NULL AND deleted_at IS NULL",
                new { part.InvitedBy },
                transaction
            );
            foreach (var reader in sender is null ? await Owners.EmailsAsync(transaction, part.OrganizationId) : [sender])
                if (told.Add(reader))
                    await mails.EnqueueAsync(transaction, reader, Mail(invitation, part, lost));
        }
    }

    private MailContent Mail(Invitation invitation, OrganizationRoles part, LostMail lost) =>
        new(
            $"An invitation to {part.OrganizationName} was not delivered",
            $"""
            The invitation of {invitation.Email} to {part.OrganizationName}, sent on {invitation.SentAt}, did not arrive: {lost.Why}.

            Look whether the address is right. Withdraw the invitation and invite the right address, or send it again:
            {MailText.Link(address, $"/organizations/{part.OrganizationId}/team")}
            """
        );
}
