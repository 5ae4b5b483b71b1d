using System.Data.Common;
using Dapper;

namespace Pakhouse.Server;

/// <summary>Invitations that were sent with a key; they end with the key.</summary>
internal static class SentInvitations
{
    /// <summary>
    /// Ends the invitations that were sent with keys that have ended. Nobody could accept them any more (<c>Senders</c>), so nobody should
    /// wait for them.
    /// </summary>
    /// <param name="keys">Those that ended in this transaction.</param>
    public static async Task WithdrawAsync(DbTransaction transaction, TimeProvider clock, Actor actor, KeySet keys)
    {
        var ended = (
            await transaction.Connection!.QueryAsync<Part>(
                $"""
                DELETE FROM invitation_parts WHERE key_id IN (SELECT k.id FROM access_keys k WHERE {keys.Where}
                    AND k.status = {KeyStatus.Invalid})
                RETURNING invitation_id AS id, organization_id, roles, key_id
                """,
                keys.With(new { }),
                transaction
            )
        ).AsList();
        foreach (var part in ended)
        {
            await transaction.Connection!.ExecuteAsync(
                "DELETE FROM invitations WHERE id = @Id AND NOT EXISTS (SELECT 1 FROM invitation_parts WHERE invitation_id = @Id)",
                new { part.Id },
                transaction
            );
            await ActivityLog.WriteAsync(
                transaction,
                clock,
                actor,
                AuditAction.InviteDelete,
                part.OrganizationId,
                part.Id.ToString(),
                null,
                $"{part.Roles.Text}; key {part.KeyId} ended"
            );
        }
    }

    private sealed record Part
    {
        public Guid Id { get; init; }
        public Guid OrganizationId { get; init; }
        public string? KeyId { get; init; }
        public NameSet Roles { get; init; } = NameSet.Empty;
    }
}
