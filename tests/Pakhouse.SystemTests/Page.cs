namespace Pakhouse.SystemTests;

/// <summary>A page of the documentation, whose blocks of commands and settings the tests run as they stand there.</summary>
internal static class Page
{
    public static string Root { get; } = Find(new DirectoryInfo(AppContext.BaseDirectory));

    /// <summary>The content of the one fenced block of docs/operations.md that begins with <c>```kind name</c>.</summary>
    public static string Block(string kind, string name)
    {
        var page = File.ReadAllText(Path.Combine(Root, "docs", "operations.md"));
        var parts = page.Split($"```{kind} {name}\n");
        Assert.True(parts.Length == 2, $"docs/operations.md has {parts.Length - 1} blocks ```{kind} {name}");
        return parts[1][..parts[1].IndexOf("```", StringComparison.Ordinal)];
    }

    /// <summary>
    /// Runs a block of commands as it stands on the page, where the program lies; environment variables say what differs.
    /// </summary>
    public static async Task<Ended> RunAsync(string name, IReadOnlyDictionary<string, string> environment)
    {
        var variables = environment.Select(pair => $"{pair.Key}={pair.Value}");
        var ended = await Tool.RunAsync(
            "/usr/bin/env",
            ["-C", AppContext.BaseDirectory, .. variables, Tool.Bash, "-euc", Block("sh", name)]
        );
        Assert.True(ended.ExitCode == 0, $"{name}: {ended.All}");
        return ended;
    }

    private static string Find(DirectoryInfo folder) =>
        File.Exists(Path.Combine(folder.FullName, "Pakhouse.slnx"))
            ? folder.FullName
            : Find(folder.Parent ?? throw new DirectoryNotFoundException("Pakhouse.slnx"));
}
