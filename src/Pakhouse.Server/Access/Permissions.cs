namespace Pakhouse.Server;

/// <summary>Everything that somebody can do to an organization and what is in it.</summary>
public enum Permission
{
    SeeOrganization,
    CreateSubOrganization,
    RenameOrganization,
    DisableOrganization,
    DeleteOrganization,
    AddMember,
    RemoveMember,
    ChangeRoles,
    GenerateOwnKey,
    ListOwnKeys,
    DeleteOwnKey,
}

/// <summary>Who is enough.</summary>
public enum Standing
{
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

    private static readonly Credential[] personAndKey = [Credential.Session, Credential.Key];
    private static readonly Credential[] personOnly = [Credential.Session];

    /// <summary>One line of the table.</summary>
    public sealed record Row(Standing Standing, string[] Roles, Credential[] With, bool Operator);

    /// <remarks>R7 is the column <c>With</c>: what creates, widens or prolongs a key is for a person only.</remarks>
    public static Row Of(Permission permission) => permission switch
    {
        //                                       standing               roles             with          operator
        Permission.SeeOrganization       => new(Standing.Member,       [],               personAndKey, true),
        Permission.CreateSubOrganization => new(Standing.Role,         [Owner, Manager], personAndKey, true),
        Permission.RenameOrganization    => new(Standing.Role,         [Owner, Manager], personAndKey, true),
        Permission.DisableOrganization   => new(Standing.Role,         [Owner],          personOnly,   true),
        Permission.DeleteOrganization    => new(Standing.Role,         [Owner],          personOnly,   true),
        Permission.AddMember             => new(Standing.Role,         [Owner, Manager], personAndKey, true),
        Permission.RemoveMember          => new(Standing.Role,         [Owner, Manager], personAndKey, true),
        Permission.ChangeRoles           => new(Standing.Role,         [Owner, Manager], personAndKey, true),
        Permission.GenerateOwnKey        => new(Standing.DirectMember, [],               personOnly,   false),
        Permission.ListOwnKeys           => new(Standing.Member,       [],               personAndKey, false),
        Permission.DeleteOwnKey          => new(Standing.Member,       [],               personAndKey, false),
    };

    /// <summary>R8: an owner alone grants or removes <c>owner</c>.</summary>
    public static bool MayGrantOwner(Standpoint standpoint) => standpoint.IsOperator || standpoint.Roles.Contains(Owner);
}
