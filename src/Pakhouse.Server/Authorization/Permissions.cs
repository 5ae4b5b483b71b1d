namespace Pakhouse.Server;

/// <summary>Every action: on an organization and its contents, on the caller's own account, and as the operator.</summary>
public enum Permission
{
    ListOrganizations,
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
    /// <summary>Sending a member the link that lets them connect their account with the identity provider.</summary>
    ConnectMember,
    Leave,
    SeeActivity,
    SeePolicy,
    ChangePolicy,
    ManageWebhooks,
    MakeWebhookSecret,
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
    RevokeItself,
    ReadUserInfo,
    ReadSession,
    EndSession,
    EndOtherSessions,
    EndSessionsOfProvider,
    ChangePassword,
    AddPasskey,
    RemovePasskey,
    AddSecondFactor,
    RemoveSecondFactor,
    RenewRecoveryCodes,
    DisconnectProvider,
    CreateUser,
    DisableUser,
    DeleteUser,
    BindProviderSubject,
    CreateOrganizationForOther,
    DeleteAnyKey,
    /// <summary>Also immediately, and cancelling a waiting one.</summary>
    RotateSigningKeys,
}

/// <summary>What the caller must be.</summary>
public enum Requirement
{
    /// <summary>Any caller with an accepted credential: the action concerns only the caller or the server.</summary>
    Self,

    /// <summary>Anybody who can sign in, because there is no organization yet.</summary>
    Person,

    /// <summary>A role of the caller in the organization, including effective ones (R1).</summary>
    Role,

    /// <summary>Any effective member, whatever the roles (R9).</summary>
    Member,

    /// <summary>A direct member of this organization (R2).</summary>
    DirectMember,
}

/// <summary>The scope that a token must have been granted (R11). Sessions and the operator need no scope.</summary>
public enum RequiredScope
{
    /// <summary>For actions that only show something: lists and details.</summary>
    OrganizationRead,

    /// <summary>For every action that changes something.</summary>
    OrganizationWrite,

    /// <summary>For the identity of the bearer.</summary>
    OpenId,

    /// <summary>
    /// For what a key does to itself: its successor is exactly as limited as it is, and its holder may always end it.
    /// </summary>
    None,
}

/// <summary>
/// The table: who may do what, with which credential, and with which scope. <see cref="Guard"/> reads it and is the only place that says
/// yes. A permission without a row is a build error; a role or a credential that is not named has no access. The operator at the machine
/// may do everything except what belongs to a person alone.
/// </summary>
public static class Permissions
{
    private static readonly Credential[] everything = [Credential.Session, Credential.Key, Credential.ApiKey];
    private static readonly Credential[] personAndKey = [Credential.Session, Credential.Key];
    private static readonly Credential[] personOnly = [Credential.Session];
    private static readonly Credential[] keyOnly = [Credential.Key];
    private static readonly Credential[] anyKey = [Credential.Key, Credential.ApiKey];
    private static readonly Credential[] nobody = []; // except the operator

    private const Freshness any = Freshness.Any,
        recent = Freshness.Recent,
        now = Freshness.JustNow;
    private const RequiredScope read = RequiredScope.OrganizationRead;
    private const RequiredScope write = RequiredScope.OrganizationWrite;
    private const RequiredScope openId = RequiredScope.OpenId;
    private const RequiredScope none = RequiredScope.None;

    private static readonly string[] owners = [BuiltInRoles.Owner];
    private static readonly string[] leaders = [BuiltInRoles.Owner, BuiltInRoles.Manager];
    private static readonly string[] watchers = BuiltInRoles.All;

    /// <summary>One row of the table.</summary>
    /// <param name="Freshness">Required of sessions. An action that returns a secret requires <see cref="Freshness.Recent"/> at
    /// least.</param>
    public sealed record Row(
        Requirement Requirement,
        string[] Roles,
        Credential[] With,
        RequiredScope Scope,
        bool Operator,
        Freshness Freshness
    );

    /// <remarks>
    /// R7 is the column <c>With</c>: what creates, widens or extends a key, or could do so in two steps, is for a person only. R11 is the
    /// column <c>Scope</c>. A row for persons only has a scope too, in case its column <c>With</c> changes.
    /// </remarks>
    public static Row Of(Permission permission) =>
        permission switch
        {
            //                                           requirement               roles     with          scope   oper.  fresh
            Permission.ListOrganizations          => new(Requirement.Self,         [],       everything,   read,   true,  any),
            Permission.CreateOrganization         => new(Requirement.Person,       [],       personOnly,   write,  true,  any),
            Permission.AcceptInvitation           => new(Requirement.Person,       [],       personOnly,   write,  false, any),
            Permission.SeeOrganization            => new(Requirement.Member,       [],       everything,   read,   true,  any),
            Permission.CreateSubOrganization      => new(Requirement.Role,         leaders,  everything,   write,  true,  any),
            Permission.RenameOrganization         => new(Requirement.Role,         leaders,  everything,   write,  true,  any),
            Permission.DisableOrganization        => new(Requirement.Role,         owners,   personOnly,   write,  true,  any),
            Permission.DeleteOrganization         => new(Requirement.Role,         owners,   personOnly,   write,  true,  any),
            Permission.SeeMembers                 => new(Requirement.Member,       [],       everything,   read,   true,  any),
            Permission.AddMember                  => new(Requirement.Role,         leaders,  everything,   write,  true,  any),
            Permission.InviteMember               => new(Requirement.Role,         leaders,  everything,   write,  true,  any),
            Permission.SeeInvitations             => new(Requirement.Role,         watchers, everything,   read,   true,  any),
            Permission.RemoveMember               => new(Requirement.Role,         leaders,  everything,   write,  true,  any),
            Permission.ChangeRoles                => new(Requirement.Role,         leaders,  everything,   write,  true,  any),
            Permission.ConnectMember              => new(Requirement.Role,         owners,   personOnly,   write,  true,  now),
            Permission.Leave                      => new(Requirement.DirectMember, [],       personOnly,   write,  false, any),
            Permission.SeeActivity                => new(Requirement.Role,         watchers, everything,   read,   true,  any),
            Permission.SeePolicy                  => new(Requirement.Member,       [],       everything,   read,   true,  any),
            Permission.ChangePolicy               => new(Requirement.Role,         owners,   personOnly,   write,  true,  any),
            Permission.ManageWebhooks             => new(Requirement.Role,         owners,   personOnly,   write,  true,  any),
            Permission.MakeWebhookSecret          => new(Requirement.Role,         owners,   personOnly,   write,  true,  recent),
            Permission.GenerateOwnKey             => new(Requirement.DirectMember, [],       personOnly,   write,  false, recent),
            Permission.ListOwnKeys                => new(Requirement.Member,       [],       personAndKey, read,   false, any),
            Permission.DeleteOwnKey               => new(Requirement.Member,       [],       personAndKey, write,  false, any),
            Permission.RotateOwnKey               => new(Requirement.DirectMember, [],       personOnly,   write,  false, recent),
            // Only if the policy allows it too.
            Permission.RotateItself               => new(Requirement.DirectMember, [],       keyOnly,      none,   false, any),
            Permission.ExplainOwnKey              => new(Requirement.Member,       [],       personOnly,   read,   false, any),
            Permission.ListMemberKeys             => new(Requirement.Role,         leaders,  everything,   read,   true,  any),
            Permission.DeleteMemberKey            => new(Requirement.Role,         leaders,  everything,   write,  true,  any),
            Permission.SuspendMemberKey           => new(Requirement.Role,         leaders,  personOnly,   write,  true,  any),
            Permission.ListApiKeys                => new(Requirement.Role,         leaders,  everything,   read,   true,  any),
            Permission.CreateApiKey               => new(Requirement.Role,         leaders,  personOnly,   write,  false, recent),
            Permission.ChangeApiKey               => new(Requirement.Role,         leaders,  personOnly,   write,  false, any),
            Permission.RotateApiKey               => new(Requirement.Role,         leaders,  personOnly,   write,  false, recent),
            Permission.DeleteApiKey               => new(Requirement.Role,         leaders,  everything,   write,  true,  any),
            Permission.RevokeItself               => new(Requirement.Self,         [],       anyKey,       none,   false, any),
            Permission.ReadUserInfo               => new(Requirement.Self,         [],       anyKey,       openId, false, any),
            Permission.ReadSession                => new(Requirement.Self,         [],       personOnly,   read,   false, any),
            Permission.EndSession                 => new(Requirement.Self,         [],       personOnly,   write,  false, any),
            Permission.EndOtherSessions           => new(Requirement.Self,         [],       personOnly,   write,  false, any),
            // Any caller that presents the provider's logout token.
            Permission.EndSessionsOfProvider      => new(Requirement.Self,         [],       nobody,       write,  true,  any),
            Permission.ChangePassword             => new(Requirement.Self,         [],       personOnly,   write,  false, any),
            Permission.AddPasskey                 => new(Requirement.Self,         [],       personOnly,   write,  false, now),
            Permission.RemovePasskey              => new(Requirement.Self,         [],       personOnly,   write,  false, now),
            Permission.AddSecondFactor            => new(Requirement.Self,         [],       personOnly,   write,  false, now),
            Permission.RemoveSecondFactor         => new(Requirement.Self,         [],       personOnly,   write,  false, now),
            Permission.RenewRecoveryCodes         => new(Requirement.Self,         [],       personOnly,   write,  false, now),
            Permission.DisconnectProvider         => new(Requirement.Self,         [],       personOnly,   write,  false, now),
            Permission.CreateUser                 => new(Requirement.Self,         [],       nobody,       write,  true,  any),
            Permission.DisableUser                => new(Requirement.Self,         [],       nobody,       write,  true,  any),
            Permission.DeleteUser                 => new(Requirement.Self,         [],       nobody,       write,  true,  any),
            Permission.BindProviderSubject        => new(Requirement.Self,         [],       nobody,       write,  true,  any),
            Permission.CreateOrganizationForOther => new(Requirement.Self,         [],       nobody,       write,  true,  any),
            Permission.DeleteAnyKey               => new(Requirement.Self,         [],       nobody,       write,  true,  any),
            Permission.RotateSigningKeys          => new(Requirement.Self,         [],       nobody,       write,  true,  any),
        };

    /// <summary>The scope's name; null: no scope is required.</summary>
    public static string? NameOf(RequiredScope scope) =>
        scope switch
        {
            RequiredScope.OrganizationRead => ScopeCatalogue.OrganizationRead,
            RequiredScope.OrganizationWrite => ScopeCatalogue.OrganizationWrite,
            RequiredScope.OpenId => ScopeCatalogue.OpenId,
            RequiredScope.None => null,
        };

    /// <summary>Whether this caller, who may see the people themselves, also sees their e-mail addresses (R11).</summary>
    public static bool ShowsAddresses(this Actor actor) =>
        actor.Credential is Credential.Session or Credential.Operator || actor.Scopes.Contains(ScopeCatalogue.Email);

    /// <summary>A person's e-mail address as this caller sees it; null: hidden.</summary>
    public static string? Shown(this Actor actor, string email) => actor.ShowsAddresses() ? email : null;

    /// <summary>
    /// Whether this table grants the role anything. Such a role is authority here; all others are the platform's own (R7).
    /// </summary>
    public static bool IsAuthority(string role) => authority.Contains(role);

    // Derived from the rows, so that a role added to the table is authority from then on.
    private static readonly HashSet<string> authority = new(
        Enum.GetValues<Permission>().SelectMany(permission => Of(permission).Roles).Concat(BuiltInRoles.All),
        StringComparer.Ordinal
    );

    /// <summary>R8: only an owner grants or removes <c>owner</c>.</summary>
    public static bool MayGrantOwner(OrganizationAccess access) => access.IsOperator || access.Roles.Contains(BuiltInRoles.Owner);
}
