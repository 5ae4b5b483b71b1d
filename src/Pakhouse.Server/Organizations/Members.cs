using System.Data.Common;
using Dapper;

namespace Pakhouse.Server;

/// <summary>
/// Memberships: who belongs to which organization, with which roles. It creates no users, and interprets no role except <c>owner</c>.
/// <para>Invariant: a membership that ended is never opened again, and its keys ended in the same transaction (R5). A root always has an
/// owner who can sign in (R8); that owner is also an owner of its sub-organizations (R1).</para>
/// </summary>
public sealed partial class Members(
    Database database,
    PakhouseOptions options,
    KeyLifecycle lifecycle,
    KeyNotices notices,
    WebhookMakers makers,
    Mails mails,
    PublicAddress address,
    TimeProvider clock
)
{
    public const int PageSize = 50;
    public const int SearchLengthMax = 254;

    /// <summary>
    /// Makes a person of the root or, seen from a root, of one of its sub-organizations a direct member. Other people must be invited. <see
    /// cref="NameSet.Empty"/> is "None": only the inherited roles (R1).
    /// </summary>
    /// <returns>The id of the membership.</returns>
    public Task<Outcome<Guid>> AddAsync(Actor actor, Guid organizationId, Guid userId, NameSet roles) =>
        database.ChangeAsync<Guid>(async transaction =>
        {
            var access = await Guard.AuthorizeAsync(transaction, actor, Permission.AddMember, organizationId);
            if (access.Refusal is { } refused)
                return refused;
            if (options.Roles.Check(roles, NameSet.Empty) is { } refusal)
                return refusal;
            if (
                await Grants.ToNewAsync(transaction.Connection!, transaction, actor, access.Value, roles, clock.GetUtcNow()) is
                { } notTheirs
            )
                return notTheirs;
            // Nobody becomes a member without being asked, and a caller cannot use ids to find out who has an account.
            if (
                await MemberRows.FindAsync(
                    transaction.Connection!,
                    transaction,
                    access.Value,
                    userId,
                    anybody: actor.Credential == Credential.Operator
                )
                is not { } found
            )
                return new Refusal(
                    RefusalCode.NotFound,
                    "This person is not in any of these organizations. Send an invitation.",
                    "nobody, or somebody from elsewhere"
                );
            if (found.MembershipId is not null)
                return new Refusal(
                    RefusalCode.Conflict,
                    "This person is already a member of the organization. Change the roles instead.",
                    "already a direct member"
                );

            await NotifyAsync(transaction, actor, access.Value, KeyChange.Added, userId, NameSet.Empty, roles);
            return await InsertAsync(transaction, clock, actor, organizationId, userId, roles);
        });

    /// <summary>Ends a direct membership and all its keys for good.</summary>
    public Task<Outcome<bool>> RemoveAsync(Actor actor, Guid organizationId, Guid userId) =>
        database.ChangeAsync<bool>(async transaction =>
        {
            var access = await Guard.AuthorizeAsync(transaction, actor, Permission.RemoveMember, organizationId);
            if (access.Refusal is { } refused)
                return refused;
            if (await CurrentAsync(transaction, organizationId, userId) is not { } current)
                return notAMember;
            if (
                await Grants.ToRemoveAsync(
                    transaction,
                    actor,
                    access.Value,
                    current.Roles,
                    current.RootRoles ?? NameSet.Empty,
                    clock.GetUtcNow()
                ) is
                { } notTheirs
            )
                return notTheirs;
            await NotifyAsync(transaction, actor, access.Value, KeyChange.Removed, userId, current.Roles, NameSet.Empty, current.Id);
            return await EndAsync(transaction, actor, current) is { } refusal ? refusal : true;
        });

    /// <summary>Ends the caller's own direct membership and all its keys for good.</summary>
    public Task<Outcome<bool>> LeaveAsync(Actor actor, Guid organizationId) =>
        database.ChangeAsync<bool>(async transaction =>
        {
            var access = await Guard.AuthorizeAsync(transaction, actor, Permission.Leave, organizationId);
            if (access.Refusal is { } refused)
                return refused;
            var current = (await CurrentAsync(transaction, organizationId, actor.UserId!.Value))!;
            return await EndAsync(transaction, actor, current, AuditAction.MemberLeave) is { } refusal ? refusal : true;
        });

    /// <summary>Replaces the roles of a direct member in this organization.</summary>
    public Task<Outcome<bool>> SetRolesAsync(Actor actor, Guid organizationId, Guid userId, NameSet roles) =>
        database.ChangeAsync<bool>(async transaction =>
        {
            var access = await Guard.AuthorizeAsync(transaction, actor, Permission.ChangeRoles, organizationId);
            if (access.Refusal is { } refused)
                return refused;
            if (await CurrentAsync(transaction, organizationId, userId) is not { } current)
                return notAMember;
            if (options.Roles.Check(roles, current.Roles) is { } refusal)
                return refusal;
            if (await Grants.ToChangeAsync(transaction, actor, access.Value, current.Roles, roles, clock.GetUtcNow()) is { } notTheirs)
                return notTheirs;
            if (!roles.Contains(BuiltInRoles.Owner) && await IsLastOwnerAsync(transaction, current))
                return lastOwner;

            await transaction.Connection!.ExecuteAsync(
                "UPDATE memberships SET roles = @roles WHERE id = @Id",
                new { roles, current.Id },
                transaction
            );
            await ActivityLog.WriteAsync(
                transaction,
                clock,
                actor,
                AuditAction.MemberRoleUpdate,
                organizationId,
                userId.ToString(),
                userId,
                $"{current.Roles.Text} → {roles.Text}"
            );
            if (!roles.Equals(current.Roles))
                await NotifyAsync(transaction, actor, access.Value, KeyChange.RolesChanged, userId, current.Roles, roles);
            return true;
        });

    internal static async Task<Guid> InsertAsync(
        DbTransaction transaction,
        TimeProvider clock,
        Actor actor,
        Guid organizationId,
        Guid userId,
        NameSet roles
    )
    {
        var id = await Memberships.InsertAsync(transaction, clock, organizationId, userId, roles);
        await ActivityLog.WriteAsync(
            transaction,
            clock,
            actor,
            AuditAction.MemberAssign,
            organizationId,
            userId.ToString(),
            userId,
            roles.Text
        );
        return id;
    }

    /// <summary>Ends one membership with its keys, unless it is the last owner's.</summary>
    internal async Task<Refusal?> EndAsync(
        DbTransaction transaction,
        Actor actor,
        Membership membership,
        string did = AuditAction.MemberRemove,
        KeyCause cause = KeyCause.MembershipEnded
    )
    {
        if (await IsLastOwnerAsync(transaction, membership))
            return lastOwner;
        await lifecycle.EndAsync(transaction, actor, cause, KeySet.OfMembership(membership.Id));
        await transaction.Connection!.ExecuteAsync(
            "UPDATE memberships SET ended_at = @at WHERE id = @Id",
            new { membership.Id, at = clock.GetUtcNow() },
            transaction
        );
        await ActivityLog.WriteAsync(
            transaction,
            clock,
            actor,
            did,
            membership.OrganizationId,
            membership.UserId.ToString(),
            membership.UserId,
            membership.Roles.Text
        );
        await makers.NotifyAsync(transaction, actor, membership.UserId, membership.OrganizationId);
        return null;
    }

    internal sealed record Membership
    {
        public Guid Id { get; init; }
        public Guid OrganizationId { get; init; }
        public Guid UserId { get; init; }
        public NameSet Roles { get; init; } = NameSet.Empty;

        /// <summary>The roles in the root; null if the organization is a root or the person is not a member of the root.</summary>
        public NameSet? RootRoles { get; init; }
    }

    private static readonly Refusal lastOwner = new(
        RefusalCode.Conflict,
        "This is the organization's last owner. Make somebody else an owner first.",
        "last owner (R8)"
    );
    private static readonly Refusal notAMember = new(
        RefusalCode.NotFound,
        "This person is not a direct member of the organization.",
        "no current membership"
    );

    /// <summary>Owners are notified of what a key did; members of what somebody else did to them.</summary>
    /// <param name="ending">The membership that is about to end, with its keys.</param>
    private async Task NotifyAsync(
        DbTransaction transaction,
        Actor actor,
        OrganizationAccess organization,
        string change,
        Guid userId,
        NameSet before,
        NameSet after,
        Guid? ending = null
    )
    {
        var id = organization.OrganizationId;
        var (name, email) = await transaction.Connection!.QuerySingleAsync<(string, string)>(
            "SELECT name, CASE WHEN disabled_at IS NULL AND deleted_at IS NULL THEN email ELSE '' END FROM users WHERE id = @userId",
            new { userId },
            transaction
        );
        if (actor.KeyId is not null)
            await notices.WriteAsync(transaction, actor.KeyId, new KeyChange(id, change, name, userId, null, before, after));
        if (email.Length == 0 || (userId == actor.UserId && actor.KeyId is null))
            return;
        var (by, now) = (await Doer.NameAsync(transaction, actor), clock.GetUtcNow());
        var keys = ending is { } membership ? await MailedKey.SelectAsync(transaction, KeySet.OfMembership(membership)) : [];
        var content = change switch
        {
            KeyChange.Removed => MemberMails.Removed(by, organization.OrganizationName, now, keys.FindAll(key => key.IsMissed(now))),
            KeyChange.RolesChanged => MemberMails.RolesChanged(
                by,
                organization.OrganizationName,
                before,
                after,
                now,
                MailText.Link(address, Links.Security(id))
            ),
            _ => null,
        };
        if (content is not null)
            await mails.EnqueueAsync(transaction, email, content);
    }

    private static Task<Membership?> CurrentAsync(DbTransaction transaction, Guid organizationId, Guid userId) =>
        transaction.Connection!.QuerySingleOrDefaultAsync<Membership>(
            """
            SELECT m.id, m.organization_id, m.user_id, m.roles, rm.roles AS root_roles FROM memberships m
            JOIN users u ON u.id = m.user_id AND u.kind = 'person'
            JOIN organizations o ON o.id = m.organization_id
            LEFT JOIN memberships rm ON rm.organization_id = o.root_id AND rm.user_id = m.user_id AND rm.ended_at IS NULL
            WHERE m.organization_id = @organizationId AND m.user_id = @userId AND m.ended_at IS NULL
            """,
            new { organizationId, userId },
            transaction
        );

    /// <summary>Checked for a root only: a sub-organization has the owners of its root. A disabled owner cannot act and does not
    /// count.</summary>
    private static async Task<bool> IsLastOwnerAsync(DbTransaction transaction, Membership membership) =>
        membership.Roles.Contains(BuiltInRoles.Owner)
        && await transaction.Connection!.ExecuteScalarAsync<long>(
            """
            SELECT COUNT(*) FROM organizations o
            WHERE o.id = @OrganizationId AND o.root_id IS NULL AND NOT EXISTS (
                SELECT 1 FROM memberships m JOIN users u ON u.id = m.user_id
                WHERE m.organization_id = o.id AND m.ended_at IS NULL AND m.user_id <> @UserId
                  AND u.kind = 'person' AND u.disabled_at IS NULL AND u.deleted_at IS NULL
                      AND (' ' || m.roles || ' ') <> REPLACE(' ' || m.roles || ' ', @owner, ''))
            """,
            new
            {
                membership.OrganizationId,
                membership.UserId,
                owner = $" {BuiltInRoles.Owner} ",
            },
            transaction
        ) > 0;
}
