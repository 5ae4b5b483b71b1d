namespace Pakhouse.Server;

/// <summary>Everything that somebody can do to an organization and what is in it.</summary>
public enum Permission
{
    CreateOrganization,
    AcceptInvitation,
    SeeOrganization,
    CreateSubOrganization,
    RenameOrganization,
    DisableOrganization,
    DeleteOrganization,
    SeeMembers,
    AddMember,
    InviteMember,
    SeeInvitations,
    RemoveMember,
    ChangeRoles,
    Leave,
    SeeActivity,
    SeePolicy,
    ChangePolicy,
    ManageWebhooks,
    GenerateOwnKey,
    ListOwnKeys,
    DeleteOwnKey,
    RotateOwnKey,
    RotateItself,
    ExplainOwnKey,
    ListMemberKeys,
    DeleteMemberKey,
    SuspendMemberKey,
    ListApiKeys,
    CreateApiKey,
    ChangeApiKey,
    RotateApiKey,
    DeleteApiKey,
}

/// <summary>Who is enough.</summary>
public enum Standing
{
    /// <summary>Anybody who can sign in: there is no organization yet to be a member of.</summary>
    Person,

    /// <summary>A role of the caller in the organization, effective ones included (R1).</summary>
    Role,

    /// <summary>Any effective member, whatever the roles (R9).</summary>
    Member,

    /// <summary>A member with a membership in just this organization (R2).</summary>
    DirectMember,
}

/// <summary>
/// The table: who may do what, and what they must have come with. <see cref="Guard"/> reads it and is the only place that says
/// yes. A permission without a row is a build error; a role or a credential that is not named has no access.
/// The operator at the machine may do everything but what belongs to a person alone.
/// </summary>
public static class Permissions
{
    public const string Owner = "owner";
    public const string Manager = "organization-manager";
    public const string Viewer = "organization-viewer";

    /// <summary>The roles that this table knows; every catalogue has them.</summary>
    public static readonly string[] Own = [Owner, Manager, Viewer];

    private static readonly Credential[] everything = [Credential.Session, Credential.Key, Credential.ApiKey];
    private static readonly Credential[] personAndKey = [Credential.Session, Credential.Key];
    private static readonly Credential[] personOnly = [Credential.Session];
    private static readonly Credential[] keyOnly = [Credential.Key];

    private static readonly string[] leaders = [Owner, Manager];
    private static readonly string[] watchers = [Owner, Manager, Viewer];

    /// <summary>One line of the table.</summary>
    public sealed record Row(Standing Standing, string[] Roles, Credential[] With, bool Operator);

    /// <remarks>R7 is the column <c>With</c>: what creates, widens or prolongs a key, or could do so in two steps, is for a person only.</remarks>
    public static Row Of(Permission permission) => permission switch
    {
        //                                       standing               roles     with          operator
        Permission.CreateOrganization    => new(Standing.Person,       [],       personOnly,   true),
        Permission.AcceptInvitation      => new(Standing.Person,       [],       personOnly,   false),
        Permission.SeeOrganization       => new(Standing.Member,       [],       everything,   true),
        Permission.CreateSubOrganization => new(Standing.Role,         leaders,  everything,   true),
        Permission.RenameOrganization    => new(Standing.Role,         leaders,  everything,   true),
        Permission.DisableOrganization   => new(Standing.Role,         [Owner],  personOnly,   true),
        Permission.DeleteOrganization    => new(Standing.Role,         [Owner],  personOnly,   true),
        Permission.SeeMembers            => new(Standing.Member,       [],       everything,   true),
        Permission.AddMember             => new(Standing.Role,         leaders,  everything,   true),
        Permission.InviteMember          => new(Standing.Role,         leaders,  everything,   true),
        Permission.SeeInvitations        => new(Standing.Role,         watchers, everything,   true),
        Permission.RemoveMember          => new(Standing.Role,         leaders,  everything,   true),
        Permission.ChangeRoles           => new(Standing.Role,         leaders,  everything,   true),
        Permission.Leave                 => new(Standing.DirectMember, [],       personOnly,   false),
        Permission.SeeActivity           => new(Standing.Role,         watchers, everything,   true),
        Permission.SeePolicy             => new(Standing.Member,       [],       everything,   true),
        Permission.ChangePolicy          => new(Standing.Role,         [Owner],  personOnly,   true),
        Permission.ManageWebhooks        => new(Standing.Role,         [Owner],  personOnly,   true),
        Permission.GenerateOwnKey        => new(Standing.DirectMember, [],       personOnly,   false),
        Permission.ListOwnKeys           => new(Standing.Member,       [],       personAndKey, false),
        Permission.DeleteOwnKey          => new(Standing.Member,       [],       personAndKey, false),
        Permission.RotateOwnKey          => new(Standing.DirectMember, [],       personOnly,   false),
        Permission.RotateItself          => new(Standing.DirectMember, [],       keyOnly,      false), // and only where the policy allows it
        Permission.ExplainOwnKey         => new(Standing.Member,       [],       personOnly,   false),
        Permission.ListMemberKeys        => new(Standing.Role,         leaders,  everything,   true),
        Permission.DeleteMemberKey       => new(Standing.Role,         leaders,  everything,   true),
        Permission.SuspendMemberKey      => new(Standing.Role,         leaders,  personOnly,   true),
        Permission.ListApiKeys           => new(Standing.Role,         leaders,  everything,   true),
        Permission.CreateApiKey          => new(Standing.Role,         leaders,  personOnly,   false),
        Permission.ChangeApiKey          => new(Standing.Role,         leaders,  personOnly,   false),
        Permission.RotateApiKey          => new(Standing.Role,         leaders,  personOnly,   false),
        Permission.DeleteApiKey          => new(Standing.Role,         leaders,  everything,   true),
    };

    /// <summary>Whether this table gives the role anything: such a role is authority here, and the others are the platform's own (R7).</summary>
    public static bool IsAuthority(string role) => authority.Contains(role);

    // From the rows, so that a role that enters the table is authority from then on.
    private static readonly HashSet<string> authority =
        new(Enum.GetValues<Permission>().SelectMany(permission => Of(permission).Roles).Concat(Own), StringComparer.Ordinal);

    /// <summary>R8: an owner alone grants or removes <c>owner</c>.</summary>
    public static bool MayGrantOwner(Standpoint standpoint) => standpoint.IsOperator || standpoint.Roles.Contains(Owner);
}
