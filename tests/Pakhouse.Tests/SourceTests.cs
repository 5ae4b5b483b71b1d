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
        ["bench"] = 45,
        ["bench/Pakhouse.Bench"] = 30,
        ["docs"] = 329,
        ["docs/decisions"] = 158,
        ["samples/OrdersApi"] = 1,
        ["src/Pakhouse.AspNetCore"] = 54,
        ["src/Pakhouse.Server/Activity"] = 31,
        ["src/Pakhouse.Server/Audit"] = 15,
        ["src/Pakhouse.Server/Authorization"] = 36,
        ["src/Pakhouse.Server/Backups"] = 53,
        ["src/Pakhouse.Server/Dashboard"] = 313,
        ["src/Pakhouse.Server/Exchange"] = 46,
        ["src/Pakhouse.Server/Foundation"] = 51,
        ["src/Pakhouse.Server/Host"] = 137,
        ["src/Pakhouse.Server/Http"] = 66,
        ["src/Pakhouse.Server/Keys"] = 237,
        ["src/Pakhouse.Server/Leaks"] = 40,
        ["src/Pakhouse.Server/Organizations"] = 196,
        ["src/Pakhouse.Server/Outbox"] = 90,
        ["src/Pakhouse.Server/Policies"] = 60,
        ["src/Pakhouse.Server/Settings"] = 55,
        ["src/Pakhouse.Server/SignIn"] = 210,
        ["src/Pakhouse.Server/Signing"] = 15,
        ["src/Pakhouse.Server/Status"] = 25,
        ["src/Pakhouse.Server/Storage"] = 99,
        ["src/Pakhouse.Server/Tokens"] = 65,
        ["src/Pakhouse.Server/Webhooks"] = 42,
        ["src/Shared"] = 4,
        ["tests/Pakhouse.SystemTests"] = 160,
        ["tests/Pakhouse.Tests"] = 54,
        ["tests/Pakhouse.Tests/Access"] = 271,
        ["tests/Pakhouse.Tests/Activity"] = 33,
        ["tests/Pakhouse.Tests/Advisories"] = 12,
        ["tests/Pakhouse.Tests/AspNetCore"] = 31,
        ["tests/Pakhouse.Tests/Backups"] = 16,
        ["tests/Pakhouse.Tests/Http"] = 146,
        ["tests/Pakhouse.Tests/Keys"] = 125,
        ["tests/Pakhouse.Tests/Leaks"] = 38,
        ["tests/Pakhouse.Tests/Mail"] = 50,
        ["tests/Pakhouse.Tests/Members"] = 58,
        ["tests/Pakhouse.Tests/Organizations"] = 12,
        ["tests/Pakhouse.Tests/SignIn"] = 147,
        ["tests/Pakhouse.Tests/Signing"] = 14,
        ["tests/Pakhouse.Tests/Status"] = 17,
        ["tests/Pakhouse.Tests/Storage"] = 31,
        ["tests/Pakhouse.Tests/Tokens"] = 98,
        ["tests/Pakhouse.Tests/Webhooks"] = 40,
    };

    /// <summary>Files under src that are longer and give no reason, by folder.</summary>
    private static readonly Dictionary<string, int> longFiles = new()
    {
        ["src/Pakhouse.Server/Settings"] = 1,
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

    private static int WideLines(string text) => text.Split('\n').Count(line => line.TrimEnd('\r').Length > WidthMax);

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
