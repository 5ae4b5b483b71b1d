using System.Data.Common;
using System.Security.Cryptography;
using System.Text;
using Dapper;
using Microsoft.AspNetCore.Identity;

namespace Pakhouse.Server;

/// <summary>One invitation in its transaction.</summary>
public sealed partial class Invitations
{
    /// <summary>The parts that can be seen from this organization.</summary>
    private async Task<Outcome<Invitation>> FindAsync(DbTransaction transaction, Actor actor, Guid organizationId, string email)
    {
        var access = await Guard.AuthorizeAsync(transaction, actor, Permission.InviteMember, organizationId);
        if (access.Refusal is { } refused)
            return refused;
        var found = await InvitationRows.SelectAsync(
            transaction.Connection!,
            transaction,
            $"i.email_normalized = @normalized AND i.root_id = @rootId AND {Seen(access.Value)}",
            new
            {
                normalized = normalizer.NormalizeEmail(email.Trim().Replace((char)0, (char)0xFFFD)),
                rootId = access.Value.RootId ?? organizationId,
                organizationId,
            }
        ); // PostgreSQL cannot store NUL, so no address contains it
        return found is [var invitation, ..]
            ? invitation
            : Refusal.At("userEmail", RefusalCode.NotFound, "there is no invitation to this address here.", "no such invitation");
    }

    private static async Task<Invitation> ReadAsync(DbTransaction transaction, OrganizationAccess access, Guid id) =>
        (
            await InvitationRows.SelectAsync(
                transaction.Connection!,
                transaction,
                $"i.id = @id AND {Seen(access)}",
                new { id, organizationId = access.OrganizationId }
            )
        ).Single();

    private static string Seen(OrganizationAccess access) => access.RootId is null ? "1 = 1" : "p.organization_id = @organizationId";

    private async Task WriteAsync(
        DbTransaction transaction,
        Actor actor,
        Guid invitation,
        string email,
        IReadOnlyList<OrganizationRoles> parts,
        string did
    )
    {
        foreach (var (id, roles) in parts)
        {
            await transaction.Connection!.ExecuteAsync(
                """
                INSERT INTO invitation_parts (invitation_id, organization_id, roles, invited_by, key_id, expires_at)
                VALUES (@invitation, @id, @roles, @UserId, @KeyId, @expiresAt)
                ON CONFLICT (invitation_id, organization_id)
                DO UPDATE SET roles = excluded.roles, invited_by = excluded.invited_by, key_id = excluded.key_id,
                    expires_at = excluded.expires_at
                """,
                new
                {
                    invitation,
                    id,
                    roles,
                    actor.UserId,
                    actor.KeyId,
                    expiresAt = clock.GetUtcNow() + options.InvitationLifetime,
                },
                transaction
            );
            await ActivityLog.WriteAsync(transaction, clock, actor, did, id, invitation.ToString(), null, roles.Text);
        }

        await notices.WriteAsync(
            transaction,
            actor.KeyId,
            [
                .. parts.Select(part => new KeyChange(
                    part.OrganizationId,
                    KeyChange.Invited,
                    email,
                    null,
                    invitation,
                    NameSet.Empty,
                    part.Roles
                )),
            ]
        );
    }
}
