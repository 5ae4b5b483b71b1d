namespace Pakhouse.Server;

/// <summary>An entry of the menu of an organization.</summary>
/// <param name="Path">The last part of the URL of its page; pages below it belong to it.</param>
/// <param name="Icon">Path data of an outline on a grid of 20.</param>
public sealed record Section(string Path, string Title, string Icon)
{
    /// <summary>In the order of the menu. Each new page of a section has a line here; <see cref="At"/> finds it by its URL.</summary>
    public static IReadOnlyList<Section> All { get; } =
    [
        new(
            "team",
            "Profile and Team",
            "M7.5 9.5a3 3 0 1 0 0-6 3 3 0 0 0 0 6Zm-5 7c0-2.8 2.2-4.5 5-4.5s5 1.7 5 4.5M13 3.8a3 3 0 0 1 0 5.4m1.5 3.2c1.8.5 3 2 3 4.1"
        ),
        new("security", "Security", "M10 2.5 4 4.8v4.4c0 3.9 2.5 6.8 6 8.3 3.5-1.5 6-4.4 6-8.3V4.8L10 2.5Zm-2.4 7.4 1.8 1.8 3.2-3.4"),
        new("activity", "Organization Activity", "M4 5.5h12M4 10h12M4 14.5h7"),
        new("auth-activity", "Auth Activity", "M9 4H5.5A1.5 1.5 0 0 0 4 5.5v9A1.5 1.5 0 0 0 5.5 16H9m3-9 3 3-3 3m3-3H8"),
    ];

    public string Url(Guid organizationId) => $"/organizations/{organizationId}/{Path}";

    /// <summary>The entry of a URL <c>/organizations/{id}/…</c>; null: none.</summary>
    public static Section? At(PathString path)
    {
        var parts = (path.Value ?? "").Split('/', StringSplitOptions.RemoveEmptyEntries);
        return parts.Length < 3
            ? null
            : All.FirstOrDefault(section => string.Equals(section.Path, parts[2], StringComparison.OrdinalIgnoreCase));
    }

    /// <summary>Whether a URL is the entry's own page and not one below it.</summary>
    public bool IsPage(PathString path) => (path.Value ?? "").EndsWith($"/{Path}", StringComparison.OrdinalIgnoreCase);
}
