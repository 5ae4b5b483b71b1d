namespace Pakhouse.Server;

/// <summary>One line of the organization switcher.</summary>
/// <param name="IsIndented">A sub-organization below its root; without a visible root it is not indented.</param>
public sealed record SwitcherLine(Organization Organization, bool IsIndented, bool IsCurrent);

/// <summary>
/// The list at the bottom of the menu. It stays short: if there are many organizations, it shows the current one, its root and its
/// neighbours, and links to the page that lists all.
/// </summary>
public sealed record Switcher(IReadOnlyList<SwitcherLine> Lines, int LeftOut)
{
    public const int LinesMax = 40;

    /// <param name="visible">Each root followed by its sub-organizations.</param>
    public static Switcher Of(IReadOnlyList<Organization> visible, Guid current)
    {
        var lines = LinesOf(visible, current);
        if (lines.Count <= LinesMax) return new(lines, 0);

        // A window around the current one, below its root.
        var at = visible.TakeWhile(one => one.Id != current).Count();
        var window = lines.Skip(Math.Clamp(at - LinesMax / 2, 0, lines.Count - LinesMax)).Take(LinesMax).ToList();
        var root = lines.FirstOrDefault(line => line.Organization.Id == visible[at].RootId);
        if (root is not null && !window.Contains(root)) window[0] = root;
        return new(window, lines.Count - window.Count);
    }

    public static IReadOnlyList<SwitcherLine> LinesOf(IReadOnlyList<Organization> visible, Guid current)
    {
        var roots = visible.Where(one => one.RootId is null).Select(one => one.Id).ToHashSet();
        return [.. visible.Select(one => new SwitcherLine(one, one.RootId is { } rootId && roots.Contains(rootId), one.Id == current))];
    }
}
