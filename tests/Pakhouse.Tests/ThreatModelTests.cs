using System.Text.RegularExpressions;

namespace Pakhouse.Tests;

/// <summary>docs/threat-model.md promises tests by their names: each is there, and no threat stands there twice.</summary>
public partial class ThreatModelTests
{
    private static readonly string[] lines = File.ReadAllLines(Path.Combine(Repository.Root, "docs", "threat-model.md"));

    [Fact]
    public void No_threat_stands_there_twice()
    {
        var threats = lines
            .Where(line => line.StartsWith("| ", StringComparison.Ordinal))
            .Select(line => string.Join('|', line.Split('|')[1..3]));
        Assert.Empty(
            threats.GroupBy(threat => threat, StringComparer.Ordinal).Where(group => group.Count() > 1).Select(group => group.Key)
        );
    }

    [Fact]
    public void Every_test_that_it_names_exists()
    {
        var sources = string.Concat(
            Directory.EnumerateFiles(Path.Combine(Repository.Root, "tests"), "*.cs", SearchOption.AllDirectories).Select(File.ReadAllText)
        );
        var names = lines.SelectMany(line => TestName().Matches(line)).Select(match => match.Groups["name"].Value).ToList();
        Assert.True(names.Count > 40);
        Assert.DoesNotContain(names, name => !Exists(sources, name));

        // The control: a name that no test has is found, though the text of this file holds it.
        var planted = Assert.Single(TestName().Matches("| who | what | *No_test_has_this_name_at_all* |")).Groups["name"].Value;
        Assert.False(Exists(sources, planted));
    }

    private static bool Exists(string sources, string name) => sources.Contains($" {name}(", StringComparison.Ordinal);

    [GeneratedRegex(@"\*(?<name>[A-Z][A-Za-z0-9]*(_[A-Za-z0-9]+){2,})\*", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex TestName();
}
