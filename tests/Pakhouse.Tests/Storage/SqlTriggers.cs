using System.Data.Common;
using System.Text.RegularExpressions;
using Dapper;

namespace Pakhouse.Tests;

/// <summary>The statements that the database itself sends: those within triggers, as the schema on it has them.</summary>
internal static partial class SqlTriggers
{
    /// <summary>A trigger that reads a large table from end to end, to see that it is found.</summary>
    public static Task AddScanAsync(DbConnection connection) =>
        connection.ExecuteAsync(
            TestDatabase.IsPostgres
                ? """
                CREATE FUNCTION control() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                    IF NEW.value > 1 THEN NEW.value := (SELECT COUNT(*) FROM activity WHERE address = NEW.name); END IF;
                    UPDATE users SET security_stamp = '' WHERE name = NEW.name;
                    RETURN NEW;
                END $$;
                CREATE TRIGGER control BEFORE INSERT ON counters FOR EACH ROW EXECUTE FUNCTION control();
                """
                : """
                CREATE TRIGGER control AFTER INSERT ON counters 
                WHEN NEW.value > (SELECT COUNT(*) FROM activity WHERE address = NEW.name) BEGIN
                    UPDATE users SET security_stamp = '' WHERE name = NEW.name;
                END;
                """
        );

    public static async Task<IReadOnlyList<(string Name, IReadOnlyList<string> Statements)>> ReadAsync(DbConnection connection)
    {
        var triggers = await connection.QueryAsync<(string Name, string Text)>(
            TestDatabase.IsPostgres
                ? """
                SELECT p.proname,
                    string_agg(p.prosrc || ';' || COALESCE(substring(pg_get_triggerdef(t.oid) FROM 'WHEN (.*) EXECUTE'), ''), ';')
                FROM pg_proc p JOIN pg_trigger t ON t.tgfoid = p.oid WHERE NOT t.tgisinternal GROUP BY p.proname
                """
                : "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
        );
        return [.. triggers.Select(trigger => (trigger.Name, Statements(trigger.Text)))];
    }

    private static List<string> Statements(string text)
    {
        text = Row().Replace(text, "@${row}_${column}");
        text = Into().Replace(text, "");
        var statements = new List<string>();
        foreach (var part in text.Replace("BEGIN", "; BEGIN", StringComparison.Ordinal).Split(';'))
        {
            // A statement of its own, or what stands in brackets in an assignment or a condition.
            var whole = Whole().Match(part);
            if (whole.Success)
                statements.Add(whole.Groups["statement"].Value);
            else
                statements.AddRange(InBrackets(part));
        }

        return [.. statements.Where(statement => !statement.StartsWith("SELECT RAISE", StringComparison.Ordinal)).Select(SqlText.Squeeze)];
    }

    private static IEnumerable<string> InBrackets(string text)
    {
        for (var at = text.IndexOf("(SELECT ", StringComparison.Ordinal); at >= 0;)
        {
            var (end, depth) = (at, 0);
            do depth += text[end++] switch
            {
                '(' => 1,
                ')' => -1,
                _ => 0,
            };
            while (depth > 0 && end < text.Length);
            yield return text[(at + 1)..(end - 1)];
            at = text.IndexOf("(SELECT ", end, StringComparison.Ordinal);
        }
    }

    [GeneratedRegex(@"\b(?<row>NEW|OLD)\.(?<column>\w+)", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex Row();

    /// <summary>Where plpgsql puts the result of a SELECT.</summary>
    [GeneratedRegex(@"\bINTO\s+(@\w+\s*,\s*)*@\w+", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex Into();

    [GeneratedRegex(
        @"^(.*\b(BEGIN|THEN|ELSE)\b)?\s*(?<statement>(UPDATE|INSERT|DELETE|SELECT)\b.*)$",
        RegexOptions.ExplicitCapture | RegexOptions.Singleline,
        1000
    )]
    private static partial Regex Whole();
}
