using System.Data.Common;
using System.Security.Cryptography;
using System.Text;
using Dapper;
using Microsoft.AspNetCore.Identity;

namespace Pakhouse.Server;

/// <summary>
/// Invitations from the sender's side: an e-mail address that may become a member of one root and its sub-organizations, with roles chosen
/// in advance. <see cref="InvitationAnswers"/> handles what the invited person does.
/// <para>Invariant: no response reveals whether an address has an account. The sender of a part of an invitation may grant its roles (R8),
/// and sending never extends another part.</para>
/// </summary>
public sealed partial class Invitations(
    Database database,
    KeyNotices notices,
    InvitationMessages messages,
    ILookupNormalizer normalizer,
    PakhouseOptions options,
    TimeProvider clock
)
{
    /// <summary>The most organizations in one invitation.</summary>
    public const int OrganizationsMax = 100;

    /// <summary>An expired invitation is shown for this long; the next new invitation then deletes it.</summary>
    private static readonly TimeSpan kept = TimeSpan.FromDays(30);

    /// <summary>
    /// Invites an address. If it is already invited, it gets a new message, and the given roles replace those for the same organizations.
    /// </summary>
    /// <param name="organizationId">The organization of the caller: a root, for itself and its sub-organizations, or a sub-organization for
    /// itself.</param>
    public Task<Outcome<Invitation>> InviteAsync(
        Actor actor,
        Guid organizationId,
        string email,
        IReadOnlyList<OrganizationRoles> organizationsAndRoles
    ) =>
        database.ChangeAsync<Invitation>(async transaction =>
        {
            var demanded = await AuthorizeAsync(transaction, actor, organizationId, organizationsAndRoles);
            if (demanded.Refusal is { } refused)
                return refused;
            if (!EmailAddress.TryParse(email, out email))
                return Refusal.At(
                    "userEmail",
                    RefusalCode.InvalidRequest,
                    "enter an address such as ada@example.com.",
                    "no e-mail address"
                );

            // The caller can see the members of these organizations anyway; nothing else about the address is read.
            var (rootId, normalized, now) = (demanded.Value.RootId ?? organizationId, normalizer.NormalizeEmail(email), clock.GetUtcNow());
            foreach (var (id, _) in organizationsAndRoles)
            {
                if (
                    await transaction.Connection!.ExecuteScalarAsync<long>(
                        """
                        SELECT COUNT(*) FROM users u JOIN memberships m ON m.user_id = u.id AND m.organization_id = @id
                            AND m.ended_at IS NULL
                        WHERE u.email_normalized = @normalized AND u.kind = 'person' AND u.deleted_at IS NULL
                        """,
                        new { normalized, id },
                        transaction
                    ) > 0
                )
                    return Refusal.At(
                        "userEmail",
                        RefusalCode.Conflict,
                        "this person is already a member. Change the roles instead.",
                        "already a direct member"
                    );
            }

            await transaction.Connection!.ExecuteAsync(
                """
                DELETE FROM invitation_parts WHERE expires_at < @since
                    AND invitation_id IN (SELECT id FROM invitations WHERE root_id = @rootId);
                DELETE FROM invitations WHERE root_id = @rootId
                    AND NOT EXISTS (SELECT 1 FROM invitation_parts p WHERE p.invitation_id = invitations.id);
                """,
                new { rootId, since = now - kept },
                transaction
            );

            var invitation = await transaction.Connection!.QuerySingleAsync<Guid>(
                """
                INSERT INTO invitations (id, root_id, email, email_normalized, code_hash, created_at, sent_at)
                    VALUES (@id, @rootId, @email, @normalized, @hash, @now, @now)
                ON CONFLICT (root_id, email_normalized) DO UPDATE SET sent_at = excluded.sent_at RETURNING id
                """,
                new
                {
                    id = Ids.New(clock),
                    rootId,
                    email,
                    normalized,
                    hash = RandomNumberGenerator.GetBytes(32),
                    now,
                },
                transaction
            );
            await WriteAsync(transaction, actor, invitation, email, organizationsAndRoles, AuditAction.InviteCreate);
            return await messages.SendAsync(transaction, actor, rootId, invitation) is { } refusal
                ? refusal
                : await ReadAsync(transaction, demanded.Value, invitation);
        });

    /// <summary>The pending and expired invitations, for a root also those of its sub-organizations, by address.</summary>
    public Task<Outcome<IReadOnlyList<Invitation>>> ListAsync(Actor actor, Guid organizationId) =>
        database.ReadAsync<Outcome<IReadOnlyList<Invitation>>>(async connection =>
        {
            var access = await Guard.AuthorizeAsync(connection, null, actor, Permission.SeeInvitations, organizationId);
            if (access.Refusal is { } refused)
                return refused;
            return (
                await InvitationRows.SelectAsync(
                    connection,
                    null,
                    access.Value.RootId is null ? "i.root_id = @organizationId" : "p.organization_id = @organizationId",
                    new { organizationId }
                )
            ).AsList();
        });

    /// <summary>Sends a new message. The previous link stops working, and the lifetime starts again.</summary>
    public Task<Outcome<Invitation>> SendAgainAsync(Actor actor, Guid organizationId, string email) =>
        database.ChangeAsync<Invitation>(async transaction =>
        {
            var found = await FindAsync(transaction, actor, organizationId, email);
            if (found.Refusal is { } refused)
                return refused;
            var demanded = await AuthorizeAsync(transaction, actor, organizationId, found.Value.OrganizationsAndRoles);
            if (demanded.Refusal is { } refusal)
                return refusal;
            await WriteAsync(
                transaction,
                actor,
                found.Value.Id,
                found.Value.Email,
                found.Value.OrganizationsAndRoles,
                AuditAction.InviteAgain
            );
            return await messages.SendAsync(transaction, actor, found.Value.RootId, found.Value.Id) is { } tooMany
                ? tooMany
                : await ReadAsync(transaction, demanded.Value, found.Value.Id);
        });

    /// <summary>
    /// Replaces the roles of the invitation for the given organizations. No message is sent, and the lifetime does not start again.
    /// </summary>
    public Task<Outcome<Invitation>> SetRolesAsync(
        Actor actor,
        Guid organizationId,
        string email,
        IReadOnlyList<OrganizationRoles> organizationsAndRoles
    ) =>
        database.ChangeAsync<Invitation>(async transaction =>
        {
            var found = await FindAsync(transaction, actor, organizationId, email);
            if (found.Refusal is { } refused)
                return refused;
            var demanded = await AuthorizeAsync(transaction, actor, organizationId, organizationsAndRoles);
            if (demanded.Refusal is { } refusal)
                return refusal;
            foreach (var (id, roles) in organizationsAndRoles)
            {
                if (found.Value.OrganizationsAndRoles.FirstOrDefault(one => one.OrganizationId == id) is not { } before)
                    return Refusal.At(
                        "organizationsAndRoles",
                        RefusalCode.NotFound,
                        "the invitation is not for one of these organizations; invite the address there.",
                        "a part that is not there"
                    );
                await transaction.Connection!.ExecuteAsync(
                    "UPDATE invitation_parts SET roles = @roles, invited_by = @UserId, key_id = @KeyId WHERE invitation_id = @invitation "
                        + "AND organization_id = @id",
                    new
                    {
                        invitation = found.Value.Id,
                        id,
                        roles,
                        actor.UserId,
                        actor.KeyId,
                    },
                    transaction
                );
                await notices.WriteAsync(
                    transaction,
                    actor.KeyId,
                    new KeyChange(id, KeyChange.InvitationChanged, found.Value.Email, null, found.Value.Id, before.Roles, roles)
                );
                await ActivityLog.WriteAsync(
                    transaction,
                    clock,
                    actor,
                    AuditAction.InviteUpdate,
                    id,
                    found.Value.Id.ToString(),
                    null,
                    $"{before.Roles.Text} → {roles.Text}"
                );
            }

            return await ReadAsync(transaction, demanded.Value, found.Value.Id);
        });

    /// <summary>Ends the invitation: from a root completely, from a sub-organization only the part for it.</summary>
    public Task<Outcome<bool>> WithdrawAsync(Actor actor, Guid organizationId, string email) =>
        database.ChangeAsync<bool>(async transaction =>
        {
            var found = await FindAsync(transaction, actor, organizationId, email);
            if (found.Refusal is { } refused)
                return refused;
            foreach (var (id, roles) in found.Value.OrganizationsAndRoles)
            {
                await InvitationRows.EndAsync(transaction, found.Value.Id, id);
                await notices.WriteAsync(
                    transaction,
                    actor.KeyId,
                    new KeyChange(id, KeyChange.InvitationWithdrawn, found.Value.Email, null, found.Value.Id, roles, NameSet.Empty)
                );
                await ActivityLog.WriteAsync(
                    transaction,
                    clock,
                    actor,
                    AuditAction.InviteDelete,
                    id,
                    found.Value.Id.ToString(),
                    null,
                    roles.Text
                );
            }

            return true;
        });

    /// <summary>
    /// Whether the caller may grant these roles in each of these organizations. All of them must be the named one or a sub-organization of
    /// it.
    /// </summary>
    private async Task<Outcome<OrganizationAccess>> AuthorizeAsync(
        DbTransaction transaction,
        Actor actor,
        Guid organizationId,
        IReadOnlyList<OrganizationRoles> organizationsAndRoles
    )
    {
        var here = await Guard.AuthorizeAsync(transaction, actor, Permission.InviteMember, organizationId);
        if (here.IsRefused)
            return here;
        if (
            organizationsAndRoles.Count is 0 or > OrganizationsMax
            || organizationsAndRoles.DistinctBy(one => one.OrganizationId).Count() < organizationsAndRoles.Count
        )
            return Refusal.At(
                "organizationsAndRoles",
                RefusalCode.InvalidRequest,
                $"give 1 to {OrganizationsMax} organizations, each once.",
                "no organization, too many, or one twice"
            );

        foreach (var (id, roles) in organizationsAndRoles)
        {
            var there = await Guard.AuthorizeAsync(transaction, actor, Permission.InviteMember, id);
            if (there.IsRefused)
                return there;
            if (id != organizationId && there.Value.RootId != organizationId)
                return Guard.NotFound;
            if (options.Roles.Check(roles, NameSet.Empty) is { } refusal)
                return refusal;
            if (
                await Grants.ToNewAsync(transaction.Connection!, transaction, actor, there.Value, roles, clock.GetUtcNow()) is { } notTheirs
            )
                return notTheirs;
        }

        return here;
    }
}
