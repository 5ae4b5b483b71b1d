using System.Text.RegularExpressions;
using Microsoft.Extensions.Configuration;

namespace Pakhouse.Tests;

/// <summary>The documentation is checked against the code and the files that it names.</summary>
public partial class DocsTests
{
    /// <summary>Defaults that depend on the machine or on other settings.</summary>
    private static readonly HashSet<string> withoutFixedDefault = new(StringComparer.Ordinal) { "DataFolder" };

    private static readonly List<SettingRow> settings =
    [
        .. Rows()
            .Matches(File.ReadAllText(Path.Combine(Repository.Root, "docs", "settings.md")))
            .Select(match => new SettingRow(match.Groups["name"].Value, match.Groups["default"].Value, match.Groups["range"].Value)),
    ];

    [Fact]
    public void The_settings_page_lists_each_setting_once_with_its_default()
    {
        var expected = PakhouseOptions.Defaults().Select(pair => (pair.Key, withoutFixedDefault.Contains(pair.Key) ? "" : pair.Value));
        Assert.Equal(expected.Order(), settings.Select(row => (row.Name, row.Default)).Order());
    }

    /// <summary>The bounds themselves are accepted, and the numbers just outside them are refused.</summary>
    [Fact]
    public void The_settings_page_states_the_range_of_each_number()
    {
        var numbers = PakhouseOptions
            .Defaults()
            .Where(pair => int.TryParse(pair.Value, out _))
            .Select(pair => pair.Key)
            .ToHashSet(StringComparer.Ordinal);
        Assert.True(numbers.Count > 15);
        foreach (var row in settings.Where(row => numbers.Contains(row.Name)))
        {
            var range = Range().Match(row.Range);
            Assert.True(range.Success, $"docs/settings.md: {row.Name} states no range");
            var (min, max) = (int.Parse(range.Groups["min"].Value), int.Parse(range.Groups["max"].Value));
            Assert.True(Accepts(row.Name, min) && Accepts(row.Name, max), $"docs/settings.md: {row.Name} does not accept {row.Range}");
            Assert.False(
                Accepts(row.Name, min - 1) || Accepts(row.Name, max + 1),
                $"docs/settings.md: {row.Name} accepts more than {row.Range}"
            );
        }
    }

    [Fact]
    public void Every_relative_link_leads_to_a_file_and_a_heading()
    {
        var links = Pages().SelectMany(page => Links(page, File.ReadAllText(page))).ToList();
        Assert.True(links.Count > 40);
        Assert.Empty(
            links
                .Where(link => !Leads(link.Page, link.Target))
                .Select(link => $"{Path.GetRelativePath(Repository.Root, link.Page)}: {link.Target}")
        );

        // The control: links that lead nowhere are found.
        var readme = Path.Combine(Repository.Root, "README.md");
        Assert.False(Leads(readme, "docs/no-such-page.md"));
        Assert.False(Leads(readme, "docs/protocol.md#no-such-heading"));
        Assert.Equal(
            ["docs/no-such-page.md"],
            Links(readme, "See [a](https://example.com) and [b](docs/no-such-page.md).").Select(link => link.Target)
        );
    }

    [Fact]
    public void The_operations_page_names_the_schema_of_this_version() =>
        Assert.Contains(
            $" This version has schema `{Schema.Steps.Last(step => char.IsAsciiDigit(step[0]))}`. ",
            File.ReadAllText(Path.Combine(Repository.Root, "docs", "operations.md")),
            StringComparison.Ordinal
        );

    [Fact]
    public void The_activity_section_lists_each_action_once()
    {
        var text = File.ReadAllText(Path.Combine(Repository.Root, "docs", "protocol.md"));
        text = text[text.IndexOf("\nThe actions:\n", StringComparison.Ordinal)..];
        text = text[..text.IndexOf("\n- ", StringComparison.Ordinal)];
        var listed = Action().Matches(text).Select(match => match.Groups["action"].Value);
        var actions = typeof(AuditAction)
            .GetFields()
            .Where(field => field.IsLiteral)
            .Select(field => (string)field.GetRawConstantValue()!)
            .ToList();
        Assert.True(actions.Count > 50);
        Assert.Equal(actions.Order(StringComparer.Ordinal), listed.Order(StringComparer.Ordinal));
    }

    [Fact]
    public void Every_fenced_block_names_its_language()
    {
        foreach (var page in Pages())
        {
            var fences = File.ReadLines(page).Where(line => line.StartsWith("```", StringComparison.Ordinal)).Chunk(2).ToList();
            Assert.All(
                fences,
                fence => Assert.True(fence is [{ Length: > 3 }, "```"], $"{Path.GetRelativePath(Repository.Root, page)}: {fence[0]}")
            );
        }
    }

    [Fact]
    public void Decisions_are_numbered_without_gaps_and_the_index_lists_each()
    {
        var folder = Path.Combine(Repository.Root, "docs", "decisions");
        var pages = Directory
            .EnumerateFiles(folder, "0*.md")
            .Select(page => Path.GetFileName(page)!)
            .Order(StringComparer.Ordinal)
            .ToList();
        Assert.Equal(Enumerable.Range(1, pages.Count), pages.Select(page => int.Parse(page[..4])));
        Assert.All(
            pages,
            page => Assert.StartsWith($"# {int.Parse(page[..4])}. ", File.ReadAllText(Path.Combine(folder, page)), StringComparison.Ordinal)
        );

        var index = File.ReadAllLines(Path.Combine(folder, "README.md"))
            .Where(line => line.StartsWith("| [", StringComparison.Ordinal))
            .Select(line => line.Split(" | ")[0]);
        Assert.Equal(pages.Select(page => $"| [{int.Parse(page[..4])}]({page})"), index);
    }

    private static bool Accepts(string name, int value)
    {
        try
        {
            var pair = KeyValuePair.Create($"Pakhouse:{name}", (string?)value.ToString());
            PakhouseOptions.Read(new ConfigurationBuilder().AddInMemoryCollection([pair]).Build());
            return true;
        }
        catch (StartupException)
        {
            return false;
        }
    }

    private static IEnumerable<string> Pages() =>
        Directory
            .EnumerateFiles(Repository.Root, "*.md", SearchOption.AllDirectories)
            .Where(page =>
                !Path.GetRelativePath(Repository.Root, page)
                    .Split(Path.DirectorySeparatorChar)
                    .Any(part => part is "bin" or "obj" or "node_modules" or ".git")
            );

    private static IEnumerable<Link> Links(string page, string text) =>
        Targets()
            .Matches(text)
            .Select(match => new Link(page, match.Groups["target"].Value))
            .Where(link => !link.Target.Contains("://", StringComparison.Ordinal));

    private static bool Leads(string page, string target)
    {
        var (path, heading) = target.Split('#') is [var file, var anchor] ? (file, anchor) : (target, null);
        var full = path.Length == 0 ? page : Path.Combine(Path.GetDirectoryName(page)!, path);
        return heading is null ? Path.Exists(full) : File.Exists(full) && Headings(full).Contains(heading, StringComparer.Ordinal);
    }

    /// <summary>Headings as the sites that show Markdown name them: small letters, hyphens for spaces, no other signs.</summary>
    private static IEnumerable<string> Headings(string page) =>
        File.ReadLines(page)
            .Where(line => line.StartsWith('#'))
            .Select(line =>
                new string([
                    .. line.TrimStart('#', ' ').ToLowerInvariant().Where(c => char.IsLetterOrDigit(c) || c is ' ' or '-' or '_'),
                ]).Replace(' ', '-')
            );

    private sealed record SettingRow(string Name, string Default, string Range);

    private sealed record Link(string Page, string Target);

    [GeneratedRegex(
        @"^\| `(?<name>[A-Z]\w+)` \| (`(?<default>[^`]*)` )?\| (?<range>[^|]*)\|",
        RegexOptions.ExplicitCapture | RegexOptions.Multiline,
        1000
    )]
    private static partial Regex Rows();

    [GeneratedRegex(@"`(?<action>[A-Z][A-Za-z -]+)`", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex Action();

    [GeneratedRegex(@"(?<min>\d+) to (?<max>\d+)", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex Range();

    [GeneratedRegex(@"\]\((?<target>[^)\s]+)\)", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex Targets();
}
