using System.Data.Common;
using Dapper;

namespace Pakhouse.Tests;

/// <summary>
/// No statement reads a large table from end to end: not a change, not a page, not a job. The statements are those that the server sends
/// when every route, every change of a key and every job is run, and all that stand as a whole in the program besides. A text that is only
/// part of a statement, or has gaps, must have been part of one that was sent: so a new statement cannot escape.
/// </summary>
public sealed class PlansTests
{
    /// <summary>Statements that may read a whole table, by a part of their text, and why.</summary>
    private static readonly (string Part, string Why)[] lawful =
    [
        ("SELECT 1 FROM webhooks LIMIT 1", "ends at the first row"),
        ("(SELECT 1 FROM users LIMIT 1)", "ends at the first row"),
        ("NOT EXISTS (SELECT 1 FROM users)", "ends at the first row"),
        ("(SELECT at FROM activity ORDER BY id DESC LIMIT 1)", "reads one row, by the primary key"),
        ("UPDATE authenticators SET last_step = @step WHERE last_step < @step", "the command restore, while nothing is served"),
        ("SELECT COUNT(*) FROM access_keys WHERE deleted_at IS NULL AND status = 0", "the command restore, while nothing is served"),
        ("DELETE FROM sessions WHERE id > ''", "the command protection-keys renew, while nothing is served"),
        ("SELECT id, old_secret AS content FROM webhooks", "the command protection-keys renew, while nothing is served"),
        ("DELETE FROM mails WHERE recipient = ''", "reads the index mails_to_nobody, which holds only such rows: one, and none afterwards"),
    ];

    /// <summary>Parts of statements that the walk does not send, and why.</summary>
    private static readonly (string Part, string Why)[] unsent =
    [
        ("SELECT * FROM ", "storage copy reads every table whole: that is its work, and servers are stopped"),
        ("(scriptname, applied)", "the steps of the schema, at the start: a row for each"),
        ("SELECT scriptname FROM", "the steps of the schema, at the start: a row for each"),
        ("A SELECT of ids", "a comment, which the program carries for its API document"),
        ("SELECT COUNT(*) FROM access_keys k WHERE", "the command restore, while nothing is served"),
        (
            "WHERE k.deleted_at IS NULL AND k.status = 0 ORDER BY k.created_at DESC, k.id LIMIT",
            "the command restore, while nothing is served"
        ),
        .. TestDatabase.IsPostgres
            ? ((string, string)[])[("pragma_foreign_key_check", "SQLite alone"), ("sqlite_master", "SQLite alone")]
            :
            [
                ("pg_", "PostgreSQL alone"),
                ("clock_timestamp()", "PostgreSQL alone"),
                ("has_function_privilege", "PostgreSQL alone"),
                ("data_protection_keys", "PostgreSQL alone"),
                ("to_regclass", "PostgreSQL alone"),
            ],
    ];

    /// <summary>Triggers and their functions that only refuse.</summary>
    private static readonly string[] refusals = ["activity_is_not_changed", "activity_is_append_only"];

    [Fact]
    public async Task No_statement_scans_a_large_table()
    {
        var sent = await SqlWalk.RunAsync();
        var place = await TestDatabase.CreateAsync();
        await using var connection = place.Connect();
        await connection.OpenAsync();
        await LargeDatabase.FillAsync(connection, SqlWalk.End);
        var plans = new SqlPlans(connection);

        // The control: the same reader of plans finds the scans that are there.
        Assert.Equal(["access_keys"], await plans.ScansAsync(new("SELECT id FROM access_keys WHERE name = @name", [])));
        Assert.Equal(["activity"], await plans.ScansAsync(new("DELETE FROM activity WHERE address = @address", [])));
        const string inside =
            "UPDATE memberships SET ended_at = 1 WHERE id = 'm1' AND EXISTS (SELECT 1 FROM users AS z WHERE z.name = memberships.roles)";
        Assert.Equal(["users"], await plans.ScansAsync(new(inside, [])));
        Assert.Empty(await plans.ScansAsync(new("SELECT name FROM access_keys WHERE id = @id", [])));

        var faults = new List<string>();
        var known = sent.ToDictionary(sql => SqlText.Squeeze(sql.Text), StringComparer.Ordinal);
        foreach (var sql in known.Values.Where(sql => !sql.Text.StartsWith("PRAGMA", StringComparison.Ordinal)))
            Evaluate(sql, await plans.ScansAsync(sql));

        var texts = SqlText.OfServer();
        Assert.True(texts.Count(text => text.IsComposed) > 50);
        foreach (var text in texts)
        {
            if (known.Keys.Any(text.IsIn))
                continue;
            if (unsent.Any(one => text.Text.Contains(one.Part, StringComparison.Ordinal)))
                continue;
            try
            {
                if (text.IsComposed)
                    throw new InvalidOperationException("it has gaps");
                var whole = new SentSql(text.Whole, []);
                Evaluate(whole, await plans.ScansAsync(whole));
            }
            catch (Exception e) when (e is DbException or InvalidOperationException)
            {
                faults.Add(
                    $"{text.Place}: never sent by the walk, and no statement of its own, so its plan is unknown: {text.Text} ({e.Message})"
                );
            }
        }

        // The control: a text with gaps whose parts were sent, but never together, is found.
        var hidden = Assert.Single(SqlText.Of("""var sql = $"DELETE FROM activity WHERE {which} ORDER BY k.created_at DESC";""", "x.cs"));
        Assert.True(hidden.IsComposed);
        Assert.DoesNotContain(known.Keys, hidden.IsIn);
        Assert.Contains(known.Keys, text => text.Contains("DELETE FROM activity WHERE", StringComparison.Ordinal));
        Assert.Contains(known.Keys, text => text.Contains("ORDER BY k.created_at DESC", StringComparison.Ordinal));

        await connection.CloseAsync();
        await place.DeleteAsync();
        Assert.True(faults.Count == 0, string.Join("\n\n", faults));

        void Evaluate(SentSql sql, IReadOnlyList<string> scans)
        {
            var text = SqlText.Squeeze(sql.Text);
            if (scans.Count > 0 && !lawful.Any(one => text.Contains(one.Part, StringComparison.Ordinal)))
                faults.Add($"scans {string.Join(", ", scans)}: {text}");
        }
    }

    [Fact]
    public async Task No_statement_within_a_trigger_scans_a_large_table()
    {
        var place = await TestDatabase.CreateAsync();
        await using var connection = place.Connect();
        await connection.OpenAsync();
        await LargeDatabase.FillAsync(connection, SqlWalk.End);
        await SqlTriggers.AddScanAsync(connection);
        var plans = new SqlPlans(connection);
        var scans = new List<string>();
        foreach (var (name, statements) in await SqlTriggers.ReadAsync(connection))
        {
            Assert.True(statements.Count > 0 || refusals.Contains(name), $"{name}: no statement was found in it");
            foreach (var statement in statements)
                scans.AddRange((await plans.ScansAsync(new(statement, []))).Select(table => $"{name}: {table}"));
        }

        Assert.Equal(["control: activity", "control: users"], scans.Order(StringComparer.Ordinal)); // the control, and nothing else
        await connection.CloseAsync();
        await place.DeleteAsync();
    }

    [Fact]
    public async Task Every_table_is_filled_or_said_to_stay_small()
    {
        var place = await TestDatabase.CreateAsync();
        await using (var connection = place.Connect())
        {
            var tables = await connection.QueryAsync<string>(TestDatabase.IsPostgres
                ? "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
                : "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'");
            Assert.Empty(tables.Except([.. LargeDatabase.Large, .. LargeDatabase.Small.Keys], StringComparer.OrdinalIgnoreCase));
        }

        await place.DeleteAsync();
    }
}
