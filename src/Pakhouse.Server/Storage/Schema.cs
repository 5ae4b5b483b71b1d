using System.Reflection;

namespace Pakhouse.Server;

/// <summary>
/// The schema files, one text for both databases, as one of them reads it. A step is a file <c>NNN.sql</c>, and beside it
/// <c>NNN.sqlite.sql</c> or <c>NNN.postgres.sql</c> where a part of it cannot be one text.
/// </summary>
/// <param name="Name">As in the names of files.</param>
/// <param name="Has">Whether a step is of this database. On SQLite, the counts of use are in a file of their own.</param>
/// <param name="TableExists">Counts the tables that are called <c>@table</c>.</param>
/// <param name="Words">The words of the text that this database spells differently.</param>
internal sealed record Schema(string Name, Func<string, bool> Has, string TableExists, params (string Word, string Own)[] Words)
{
    private const string Folder = "schema/";

    private const string SqliteTable = "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = @table COLLATE NOCASE";

    public static readonly Schema Sqlite = new("sqlite", step => !IsOfUsage(step), SqliteTable);

    public static readonly Schema SqliteUsage = new("sqlite", IsOfUsage, SqliteTable);

    // COLLATE "C": bytes, as on SQLite; the same order on both, and the cheapest comparison.
    public static readonly Schema Postgres = new("postgres", _ => true,
        "SELECT COUNT(*) FROM pg_class WHERE oid = to_regclass(@table)",
        (" TEXT ", " TEXT COLLATE \"C\" "), (" BLOB ", " BYTEA "), (" WITHOUT ROWID", ""));

    /// <summary>The steps in their order: <c>001</c>, … and <c>usage-001</c>, …</summary>
    public static IReadOnlyList<string> Steps { get; } = [.. Names("").Where(name => !name.Contains('/', StringComparison.Ordinal))];

    /// <summary>
    /// The steps by which a database of before the first release becomes one of <c>001</c>; see <see cref="Migrations"/>.
    /// </summary>
    public static IReadOnlyList<string> UnreleasedSteps { get; } = [.. Names("unreleased/")];

    private static bool IsOfUsage(string step) => step.StartsWith("usage-", StringComparison.Ordinal);

    /// <summary>The statements of a step.</summary>
    public string Read(string step)
    {
        var text = Words.Aggregate(Text($"{step}.sql")!, (text, word) => text.Replace(word.Word, word.Own, StringComparison.Ordinal));
        return text + Text($"{step}.{Name}.sql");
    }

    /// <summary>A file whose name has no dot but the last begins a step.</summary>
    private static IEnumerable<string> Names(string folder) => Assembly.GetExecutingAssembly().GetManifestResourceNames()
        .Where(name => name.StartsWith(Folder + folder, StringComparison.Ordinal))
        .Select(name => name[Folder.Length..^".sql".Length])
        .Where(name => !name.Contains('.', StringComparison.Ordinal))
        .Order(StringComparer.Ordinal);

    private static string? Text(string file)
    {
        using var stream = Assembly.GetExecutingAssembly().GetManifestResourceStream(Folder + file);
        return stream is null ? null : new StreamReader(stream).ReadToEnd();
    }
}
