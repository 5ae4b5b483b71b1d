using System.Text;

namespace Pakhouse.Tests;

/// <summary>
/// Lines are at most 140 characters wide (max_line_length in .editorconfig), and files of the source at most 15,000 bytes long.
/// What exceeds that today is counted by folder, so that a renamed file changes nothing. The counts may only shrink.
/// </summary>
public sealed class SourceTests
{
    private const int WidthMax = 140;
    private const int BytesMax = 15_000;

    /// <summary>A file that must be longer says so, and why, in its first ten lines.</summary>
    private const string LengthReason = "Longer than 15,000 bytes because";

    private static readonly string[] trees = ["bench", "docs", "samples", "src", "tests"];
    private static readonly string[] generatedFolders = ["bin", "obj", "node_modules"];

    /// <summary>Lines that are wider, by folder.</summary>
    private static readonly Dictionary<string, int> wideLines = new()
    {
        ["bench"] = 10,
        ["docs"] = 6,
        ["src/Pakhouse.Server/Dashboard"] = 40,
        ["src/Pakhouse.Server/Keys"] = 5,
        ["src/Pakhouse.Server/Organizations"] = 1,
        ["src/Pakhouse.Server/Outbox"] = 1,
        ["src/Pakhouse.Server/Policies"] = 1,
        ["tests/Pakhouse.SystemTests"] = 1,
        ["tests/Pakhouse.Tests/Access"] = 6,
        ["tests/Pakhouse.Tests/Advisories"] = 6,
        ["tests/Pakhouse.Tests/Http"] = 5,
        ["tests/Pakhouse.Tests/Keys"] = 1,
        ["tests/Pakhouse.Tests/Leaks"] = 3,
        ["tests/Pakhouse.Tests/Mail"] = 1,
        ["tests/Pakhouse.Tests/SignIn"] = 2,
        ["tests/Pakhouse.Tests/Storage"] = 1,
        ["tests/Pakhouse.Tests/Tokens"] = 6,
    };

    /// <summary>Files under src that are longer and give no reason, by folder.</summary>
    private static readonly Dictionary<string, int> longFiles = new()
    {
        ["src/Pakhouse.Server/Keys"] = 1,
    };

    [Fact, SqliteOnly("it reads source files")]
    public void No_folder_gets_more_lines_wider_than_140_characters() => Assert.Equal([], MoreThan(wideLines, Sources(), WideLines));

    [Fact, SqliteOnly("it reads source files")]
    public void No_folder_of_src_gets_more_files_over_15_000_bytes_without_a_reason() =>
        Assert.Equal([], MoreThan(longFiles, Sources().Where(file => file.Path.StartsWith("src/", StringComparison.Ordinal)), LongFiles));

    [Fact, SqliteOnly("it reads no database")]
    public void Control_a_wide_line_and_a_long_file_are_found()
    {
        (string Path, string Text)[] planted =
        [
            ("docs/wide.md", $"{new string('a', WidthMax)}\n{new string('b', WidthMax + 1)}\r\n"),
            ("src/Planted/Long.cs", new string('é', (BytesMax / 2) + 1)),
            ("src/Planted/Reasoned.cs", $"// {LengthReason} it is one table.\n{new string('\n', BytesMax)}"),
            ("src/Planted/Late.cs", $"{new string('\n', BytesMax)}// {LengthReason} nobody reads it here."),
        ];
        Assert.Equal(["docs: 1 instead of 0 (wide.md 1)", "src/Planted: 1 instead of 0 (Long.cs 1)"], MoreThan([], planted, WideLines));
        Assert.Equal(["src/Planted: 2 instead of 1 (Late.cs 1, Long.cs 1)"], MoreThan(new() { ["src/Planted"] = 1 }, planted, LongFiles));
    }

    /// <summary>A row of a table in Markdown cannot be broken.</summary>
    private static int WideLines(string text) =>
        text.Split('\n').Count(line => line.TrimEnd('\r').Length > WidthMax && !line.StartsWith("| ", StringComparison.Ordinal));

    private static int LongFiles(string text) =>
        Encoding.UTF8.GetByteCount(text) > BytesMax && !text.Split('\n').Take(10).Any(line => line.Contains(LengthReason)) ? 1 : 0;

    private static List<string> MoreThan(
        Dictionary<string, int> allowed, IEnumerable<(string Path, string Text)> files, Func<string, int> count) =>
    [
        .. files.Select(file => (file.Path, Found: count(file.Text))).Where(file => file.Found > 0)
            .GroupBy(file => FolderOf(file.Path))
            .Select(folder => (
                Path: folder.Key,
                Found: folder.Sum(file => file.Found),
                Allowed: allowed.GetValueOrDefault(folder.Key),
                Files: folder.Select(file => $"{Path.GetFileName(file.Path)} {file.Found}").Order(StringComparer.Ordinal)))
            .Where(folder => folder.Found > folder.Allowed)
            .Select(folder => $"{folder.Path}: {folder.Found} instead of {folder.Allowed} ({string.Join(", ", folder.Files)})")
            .Order(StringComparer.Ordinal),
    ];

    /// <summary>At most three names deep: src/Pakhouse.Server/Keys.</summary>
    private static string FolderOf(string path) => string.Join('/', path.Split('/').SkipLast(1).Take(3));

    private static IEnumerable<(string Path, string Text)> Sources() =>
        trees.SelectMany(tree => Directory.EnumerateFiles(Path.Combine(Repository.Root, tree), "*", SearchOption.AllDirectories))
            .Select(file => Path.GetRelativePath(Repository.Root, file).Replace('\\', '/'))
            .Where(path => Path.GetExtension(path) is ".cs" or ".cshtml" or ".md" or ".sh" or ".sql")
            .Where(path => !path.Split('/').Intersect(generatedFolders).Any())
            .Select(path => (path, File.ReadAllText(Path.Combine(Repository.Root, path))));
}
