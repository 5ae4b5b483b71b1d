using System.Data.Common;
using Dapper;

namespace Pakhouse.Server;

/// <summary>A person as seen from one organization.</summary>
public sealed record Member
{
    public Guid UserId { get; init; }
    public string Name { get; init; } = "";
    public string Email { get; init; } = "";

    /// <summary>Null: an inherited member, seen from a sub-organization.</summary>
    public Guid? MembershipId { get; init; }

    /// <summary>Held in this organization itself.</summary>
    public NameSet Roles { get; init; } = NameSet.Empty;

    /// <summary>Held in the root, seen from a sub-organization.</summary>
    public NameSet InheritedRoles { get; init; } = NameSet.Empty;

    public bool IsInherited => MembershipId is null;

    /// <summary>R1.</summary>
    public NameSet EffectiveRoles => Roles.Union(InheritedRoles);
}

/// <summary>
/// Memberships: who belongs where, with which roles. Users are not made here, and roles are not interpreted, but for <c>owner</c>.
/// <para>Invariant: a membership that ended is never opened again, and its keys ended in the same transaction (R5). A root
/// always has an owner who can sign in (R8); its sub-organizations have that owner too (R1).</para>
/// </summary>
public sealed class Members(Database database, PakhouseOptions options, TimeProvider clock)
{
    public const int RolesMax = 32;

    /// <summary>Makes a user a direct member. <see cref="NameSet.Empty"/> is "None": just the inherited roles (R1).</summary>
    /// <returns>The id of the membership.</returns>
    public Task<Outcome<Guid>> AddAsync(Actor actor, Guid organizationId, Guid userId, NameSet roles) => database.ChangeAsync<Guid>(async transaction =>
    {
        var standpoint = await Guard.DemandAsync(transaction, actor, Permission.AddMember, organizationId);
        if (standpoint.Refusal is { } refused) return refused;
        if (CheckRoles(roles, NameSet.Empty) is { } refusal) return refusal;
        if (roles.Contains(Permissions.Owner) && !Permissions.MayGrantOwner(standpoint.Value)) return ownerOnly;
        if (await CurrentAsync(transaction, organizationId, userId) is not null)
            return new Refusal(RefusalCode.Conflict, "This person is a member of the organization already: change the roles instead.", "already a direct member");

        return await InsertAsync(transaction, clock, actor, organizationId, userId, roles);
    });

    /// <summary>Ends a direct membership, and every key under it, for good.</summary>
    public Task<Outcome<bool>> RemoveAsync(Actor actor, Guid organizationId, Guid userId) => database.ChangeAsync<bool>(async transaction =>
    {
        var standpoint = await Guard.DemandAsync(transaction, actor, Permission.RemoveMember, organizationId);
        if (standpoint.Refusal is { } refused) return refused;
        if (await CurrentAsync(transaction, organizationId, userId) is not { } current) return notAMember;
        if (current.Roles.Contains(Permissions.Owner) && !Permissions.MayGrantOwner(standpoint.Value)) return ownerOnly;
        return await EndAsync(transaction, clock, actor, current) is { } refusal ? refusal : true;
    });

    /// <summary>Replaces the roles that a direct member holds in this organization.</summary>
    public Task<Outcome<bool>> SetRolesAsync(Actor actor, Guid organizationId, Guid userId, NameSet roles) => database.ChangeAsync<bool>(async transaction =>
    {
        var standpoint = await Guard.DemandAsync(transaction, actor, Permission.ChangeRoles, organizationId);
        if (standpoint.Refusal is { } refused) return refused;
        if (await CurrentAsync(transaction, organizationId, userId) is not { } current) return notAMember;
        if (CheckRoles(roles, current.Roles) is { } refusal) return refusal;
        if (roles.Contains(Permissions.Owner) != current.Roles.Contains(Permissions.Owner) && !Permissions.MayGrantOwner(standpoint.Value)) return ownerOnly;
        if (!roles.Contains(Permissions.Owner) && await IsLastOwnerAsync(transaction, current)) return lastOwner;

        await transaction.Connection!.ExecuteAsync("UPDATE memberships SET roles = @roles WHERE id = @Id", new { roles, current.Id }, transaction);
        await ActivityLog.WriteAsync(transaction, clock, actor, Did.MemberRoleUpdate, organizationId, userId.ToString());
        return true;
    });

    /// <summary>Everybody who is effectively a member: direct members, and in a sub-organization those of its root. By name.</summary>
    public Task<Outcome<IReadOnlyList<Member>>> ListAsync(Actor actor, Guid organizationId) => database.ReadAsync<Outcome<IReadOnlyList<Member>>>(async connection =>
    {
        var standpoint = await Guard.DemandAsync(connection, null, actor, Permission.SeeMembers, organizationId);
        if (standpoint.Refusal is { } refused) return refused;
        return (await connection.QueryAsync<Member>(
            """
            SELECT u.id AS user_id, u.name, u.email, m.id AS membership_id, COALESCE(m.roles, '') AS roles, COALESCE(rm.roles, '') AS inherited_roles
            FROM (SELECT DISTINCT user_id FROM memberships WHERE organization_id IN (@organizationId, @rootId) AND ended_at IS NULL) AS effective
            JOIN users u ON u.id = effective.user_id AND u.kind = 'person'
            LEFT JOIN memberships m ON m.user_id = u.id AND m.organization_id = @organizationId AND m.ended_at IS NULL
            LEFT JOIN memberships rm ON rm.user_id = u.id AND rm.organization_id = @rootId AND rm.ended_at IS NULL
            ORDER BY u.name, u.id
            """, new { organizationId, rootId = standpoint.Value.RootId })).AsList();
    });

    internal static async Task<Guid> InsertAsync(DbTransaction transaction, TimeProvider clock, Actor actor, Guid organizationId, Guid userId, NameSet roles)
    {
        var id = Ids.New(clock);
        await transaction.Connection!.ExecuteAsync(
            "INSERT INTO memberships (id, organization_id, user_id, roles, created_at) VALUES (@id, @organizationId, @userId, @roles, @at)",
            new { id, organizationId, userId, roles, at = clock.GetUtcNow() }, transaction);
        await ActivityLog.WriteAsync(transaction, clock, actor, Did.MemberAssign, organizationId, userId.ToString());
        return id;
    }

    /// <summary>Ends one membership with its keys, unless it is the last owner's.</summary>
    internal static async Task<Refusal?> EndAsync(DbTransaction transaction, TimeProvider clock, Actor actor, Membership membership)
    {
        if (await IsLastOwnerAsync(transaction, membership)) return lastOwner;
        await transaction.Connection!.ExecuteAsync(
            """
            UPDATE access_keys SET deleted_at = @at WHERE membership_id = @Id AND deleted_at IS NULL;
            UPDATE memberships SET ended_at = @at WHERE id = @Id;
            """, new { membership.Id, at = clock.GetUtcNow() }, transaction);
        await KeyStatus.OfMembershipAsync(transaction, clock, membership.Id);
        await ActivityLog.WriteAsync(transaction, clock, actor, Did.MemberRemove, membership.OrganizationId, membership.UserId.ToString());
        return null;
    }

    internal sealed record Membership
    {
        public Guid Id { get; init; }
        public Guid OrganizationId { get; init; }
        public Guid UserId { get; init; }
        public NameSet Roles { get; init; } = NameSet.Empty;
    }

    private static readonly Refusal ownerOnly = new(RefusalCode.AccessDenied, "Only an owner can grant or remove the role owner: ask one of the organization's owners.", "owner granted or removed by no owner (R8)");
    private static readonly Refusal lastOwner = new(RefusalCode.Conflict, "This is the organization's last owner: make somebody else an owner first.", "last owner (R8)");
    private static readonly Refusal notAMember = new(RefusalCode.NotFound, "This person is not a direct member of the organization.", "no current membership");

    /// <param name="held">What the member holds already: a role that has left the catalogue may stay, and not come anew.</param>
    internal Refusal? CheckRoles(NameSet roles, NameSet held)
    {
        if (roles.Count > RolesMax) return new Refusal(RefusalCode.InvalidRequest, $"roles: give at most {RolesMax}.", "too many roles");
        if (!roles.All(role => options.Roles.Contains(role) || held.Contains(role)))
            return new Refusal(RefusalCode.InvalidRequest, "roles: one of them is not in the catalogue; GET /roles.json lists those that are.", "unknown role");
        return options.Roles.Modules.FirstOrDefault(module => module.Multi == false && module.Roles.Count(role => roles.Contains(role.Key)) > 1) is { } module
            ? new Refusal(RefusalCode.InvalidRequest, $"roles: of {module.Title}, give one role at most.", "two roles of a module that allows one")
            : null;
    }

    private static Task<Membership?> CurrentAsync(DbTransaction transaction, Guid organizationId, Guid userId) =>
        transaction.Connection!.QuerySingleOrDefaultAsync<Membership>(
            "SELECT id, organization_id, user_id, roles FROM memberships WHERE organization_id = @organizationId AND user_id = @userId AND ended_at IS NULL",
            new { organizationId, userId }, transaction);

    /// <summary>Of a root only: a sub-organization has the owners of its root. A disabled owner cannot act, and does not count.</summary>
    private static async Task<bool> IsLastOwnerAsync(DbTransaction transaction, Membership membership) =>
        membership.Roles.Contains(Permissions.Owner) && await transaction.Connection!.ExecuteScalarAsync<long>(
            """
            SELECT COUNT(*) FROM organizations o
            WHERE o.id = @OrganizationId AND o.root_id IS NULL AND NOT EXISTS (
                SELECT 1 FROM memberships m JOIN users u ON u.id = m.user_id
                WHERE m.organization_id = o.id AND m.ended_at IS NULL AND m.user_id <> @UserId
                  AND u.kind = 'person' AND u.disabled_at IS NULL AND u.deleted_at IS NULL AND (' ' || m.roles || ' ') <> REPLACE(' ' || m.roles || ' ', @owner, ''))
            """, new { membership.OrganizationId, membership.UserId, owner = $" {Permissions.Owner} " }, transaction) > 0;
}
