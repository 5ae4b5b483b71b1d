namespace Pakhouse.Server;

/// <summary>The roles that the permission table names. Every role catalogue has them; a platform adds its own.</summary>
public static class BuiltInRoles
{
    public const string Owner = "owner";
    public const string Manager = "organization-manager";
    public const string Viewer = "organization-viewer";

    public static readonly string[] All = [Owner, Manager, Viewer];
}
