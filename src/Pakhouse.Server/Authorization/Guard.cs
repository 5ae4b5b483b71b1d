using System.Data.Common;
using Dapper;

namespace Pakhouse.Server;

/// <summary>What a caller is in an organization at this moment.</summary>
public sealed record OrganizationAccess
{
    public required bool IsOperator { get; init; }

    public Guid OrganizationId { get; init; }

    public string OrganizationName { get; init; } = "";

    /// <summary>Null: the organization is a root.</summary>
    public Guid? RootId { get; init; }

    public string? RootName { get; init; }

    /// <summary>The caller's own membership in this organization; null for inherited members and the operator.</summary>
    public Guid? MembershipId { get; init; }

    /// <summary>Effective roles (R1).</summary>
    public NameSet Roles { get; init; } = NameSet.Empty;

    public bool IsInherited => !IsOperator && MembershipId is null;
}

/// <summary>
/// The only place that says yes. It reads the caller's roles from the database, and asks <see cref="Permissions"/> whether they are enough.
/// It keeps nothing between two checks; a change is checked inside its own transaction.
/// <para>Invariant: for a caller that is not an effective member an organization does not exist (R9), so the refusal is the same as for an
/// id that was never assigned.</para>
/// </summary>
public static class Guard
{
    internal static readonly Refusal NotFound = new(
        RefusalCode.NotFound,
        "There is no such organization, or you are not a member of it.",
        "unknown organization, or the caller is not a member"
    );

    public static Task<Outcome<OrganizationAccess>> AuthorizeAsync(
        DbTransaction transaction,
        Actor actor,
        Permission permission,
        Guid organizationId
    ) => AuthorizeAsync(transaction.Connection!, transaction, actor, permission, organizationId);

    public static async Task<Outcome<OrganizationAccess>> AuthorizeAsync(
        DbConnection connection,
        DbTransaction? transaction,
        Actor actor,
        Permission permission,
        Guid organizationId
    )
    {
        var row = Permissions.Of(permission);
        if (CheckScope(row, actor, permission) is { } narrow)
            return narrow;
        var found = await connection.QuerySingleOrDefaultAsync<Found>(
            """
            SELECT o.name, o.root_id, r.name AS root_name, u.kind AS user_kind,
                   m.id AS membership_id, m.roles, rm.id AS root_membership_id, rm.roles AS root_roles
            FROM organizations o
            LEFT JOIN organizations r ON r.id = o.root_id
            LEFT JOIN users u ON u.id = @UserId AND u.disabled_at IS NULL AND u.deleted_at IS NULL
            LEFT JOIN memberships m ON m.organization_id = o.id AND m.user_id = u.id AND m.ended_at IS NULL
            LEFT JOIN memberships rm ON rm.organization_id = o.root_id AND rm.user_id = u.id AND rm.ended_at IS NULL
            WHERE o.id = @organizationId AND o.deleted_at IS NULL AND r.deleted_at IS NULL
            """,
            new { actor.UserId, organizationId },
            transaction
        );

        if (found is null)
            return NotFound;
        var isOperator = actor.Credential == Credential.Operator;
        if (!isOperator && found.MembershipId is null && found.RootMembershipId is null)
            return NotFound;
        // A token is for one organization; a token of a root also opens its sub-organizations. An API key reaches only the organizations
        // that its roles name.
        if (actor.BoundTo is { } bound && bound != organizationId && bound != found.RootId)
            return NotFound;
        if (actor.Credential == Credential.ApiKey && found.MembershipId is null)
            return NotFound;
        // A service user has no session, and a person has no API key.
        if (!isOperator && (actor.Credential == Credential.ApiKey) != (found.UserKind == "service"))
            return NotFound;

        var access = new OrganizationAccess
        {
            IsOperator = isOperator,
            OrganizationId = organizationId,
            OrganizationName = found.Name,
            RootId = found.RootId,
            RootName = found.RootName,
            MembershipId = found.MembershipId,
            Roles = (found.Roles ?? NameSet.Empty).Union(found.RootRoles ?? NameSet.Empty), // R1
        };

        if (CheckCredential(row, actor, permission) is { } refusal)
            return refusal;
        if (isOperator)
            return access;

        Outcome<OrganizationAccess> stands = row.Requirement switch
        {
            Requirement.Self or Requirement.Person or Requirement.Member => access,
            Requirement.DirectMember when access.MembershipId is not null => access,
            Requirement.DirectMember => new Refusal(
                RefusalCode.AccessDenied,
                InheritedMember(access),
                $"{permission} by an inherited member (R2)"
            ),
            Requirement.Role when row.Roles.Any(access.Roles.Contains) => access,
            Requirement.Role => new Refusal(
                RefusalCode.AccessDenied,
                $"This needs the role {string.Join(" or ", row.Roles)} in this organization. Ask one of its owners.",
                $"{permission} without the role"
            ),
        };
        // Checked last: a caller without the permission is not sent to sign in again.
        return stands.Refusal is null && CheckFreshness(row, actor, permission) is { } stale ? stale : stands;
    }

    /// <summary>
    /// For actions outside an organization. Null: allowed, because the caller is a person who can sign in and has the credential that the
    /// table requires.
    /// </summary>
    public static async Task<Refusal?> AuthorizeAsync(DbTransaction transaction, Actor actor, Permission permission)
    {
        var row = Permissions.Of(permission);
        if (row.Requirement != Requirement.Person)
            throw new ArgumentException("This permission is one in an organization.", nameof(permission));
        if (
            (CheckScope(row, actor, permission) ?? CheckCredential(row, actor, permission) ?? CheckFreshness(row, actor, permission)) is
            { } refusal
        )
            return refusal;
        return
            actor.Credential == Credential.Operator
            || await transaction.Connection!.ExecuteScalarAsync<long>(
                "SELECT COUNT(*) FROM users WHERE id = @UserId AND kind = 'person' AND disabled_at IS NULL AND deleted_at IS NULL",
                new { actor.UserId },
                transaction
            ) > 0
            ? null
            : new Refusal(RefusalCode.AccessDenied, "This needs a person who can sign in.", $"{permission} by nobody who can sign in");
    }

    /// <summary>For actions that concern only the caller or the server: only the credential decides. Null: allowed.</summary>
    public static Refusal? Demand(Actor actor, Permission permission)
    {
        var row = Permissions.Of(permission);
        if (row.Requirement != Requirement.Self)
            throw new ArgumentException("This permission requires more than the caller's credential.", nameof(permission));
        return CheckScope(row, actor, permission) ?? CheckCredential(row, actor, permission) ?? CheckFreshness(row, actor, permission);
    }

    /// <summary>
    /// R11, checked before anything is looked up: a call without the scope learns nothing about what it names. If no scope would help, the
    /// refusal says so.
    /// </summary>
    private static Refusal? CheckScope(Permissions.Row row, Actor actor, Permission permission)
    {
        if (actor.Credential is Credential.Session or Credential.Operator)
            return null;
        if (Permissions.NameOf(row.Scope) is not { } scope || actor.Scopes.Contains(scope))
            return null;
        return CheckCredential(row, actor, permission) ?? Narrow(scope, permission.ToString());
    }

    /// <summary>The refusal of RFC 6750 §3.1.</summary>
    internal static Refusal Narrow(string scope, string what) =>
        Refusal.At(
            "scope",
            RefusalCode.InsufficientScope,
            $"this needs the scope {scope}. Exchange the key again without the field scope, or with {scope} in it; a key that is "
                + $"limited to other scopes cannot do this.",
            $"{what} without {scope} (R11)"
        ) with
        {
            Scope = scope,
        };

    /// <summary>The refusal of RFC 9470 §3, for a session instead of a token.</summary>
    private static Refusal? CheckFreshness(Permissions.Row row, Actor actor, Permission permission) =>
        actor.Credential != Credential.Session || actor.Freshness >= row.Freshness
            ? null
            : new Refusal(
                RefusalCode.SignInNotFresh,
                "This needs a fresh sign-in: open /account/confirm in the browser of this session, confirm that it is you, and send the "
                    + "request again.",
                $"{permission} with a sign-in that is too old"
            );

    private static Refusal? CheckCredential(Permissions.Row row, Actor actor, Permission permission)
    {
        if (actor.Credential == Credential.Operator)
            return row.Operator
                ? null
                : new Refusal(
                    RefusalCode.AccessDenied,
                    "Only the person can do this. Sign in as that person.",
                    $"{permission} is not for the operator"
                );
        if (row.With.Contains(actor.Credential))
            return null;
        if (row.With.Length == 0)
            return new Refusal(RefusalCode.AccessDenied, "Only the operator of this server can do this.", $"{permission} by no operator");
        if (actor.Credential == Credential.Session)
            return Refusal.At(
                "Authorization",
                RefusalCode.InvalidToken,
                "send a token as \"Bearer TOKEN\"; a session is not enough here.",
                $"{permission} with a session"
            );
        return new Refusal(
            RefusalCode.AccessDenied,
            "A key cannot do this. Sign in to the dashboard.",
            $"{permission} with {actor.Credential} (R7)"
        );
    }

    /// <summary>R2: the reason and both solutions.</summary>
    public static string InheritedMember(OrganizationAccess access) =>
        $"You are an inherited member of {access.OrganizationName}: your membership is in {access.RootName}. Ask an owner to add you to "
        + $"{access.OrganizationName} as a member, "
        + $"or generate the key in {access.RootName} and exchange it with subOrganization={access.OrganizationId}.";

    private sealed record Found
    {
        public string Name { get; init; } = "";
        public Guid? RootId { get; init; }
        public string? RootName { get; init; }
        public string? UserKind { get; init; }
        public Guid? MembershipId { get; init; }
        public NameSet? Roles { get; init; }
        public Guid? RootMembershipId { get; init; }
        public NameSet? RootRoles { get; init; }
    }
}
