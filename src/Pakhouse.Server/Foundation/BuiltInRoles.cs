namespace Pakhouse.Server;

/// <summary>The roles of the permission table. Every role catalogue contains them; a platform adds its own.</summary>
public static class BuiltInRoles
{
    public const string Owner = "owner";
    public const string Manager = "organization-manager";
    public const string Viewer = "organization-viewer";

    public static readonly string[] All = [Owner, Manager, Viewer];
}
