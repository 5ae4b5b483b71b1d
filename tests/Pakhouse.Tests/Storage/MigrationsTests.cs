using System.Data.Common;
using System.Globalization;
using System.Net;
using System.Text.RegularExpressions;
using Dapper;

namespace Pakhouse.Tests;

/// <summary>
/// Databases of before the first release, when the schema was eighteen steps: each of their states goes on, with its rows, and is then as
/// a new database is. The steps of that time are in the folder <c>unreleased</c>.
/// </summary>
public sealed class MigrationsTests
{
    private static readonly string[] states = ["010", "012", "013", "014", "015", "016", "020", "022", "023"];

    private static readonly string folder = Path.Combine(Repository.Root, "tests", "Pakhouse.Tests", "Storage", "unreleased");

    private static string Kind => TestDatabase.IsPostgres ? "postgres" : "sqlite";

    public static TheoryData<string> States => new(states);

    [Theory, MemberData(nameof(States))]
    public async Task A_database_of_before_the_first_release_goes_on_with_its_rows_and_the_schema_of_a_new_one(string state)
    {
        var (place, key) = await CreateOldAsync(state);
        var before = await RowsAsync(place, state);
        Assert.All(before, table => Assert.NotEmpty(table.Rows));

        await using (var database = Database.Of(place.Options)) database.Prepare();

        Assert.Equal(await SchemaAsync(await TestDatabase.CreateAsync()), await SchemaAsync(place));
        foreach (var (table, columns, rows) in before)
        {
            var expected = rows.Select(row => AsConverted(table, columns, row)).Order(StringComparer.Ordinal);
            Assert.Equal(expected, await RowsAsync(place, table, columns));
        }

        await using (var connection = place.Connect())
        {
            Assert.Equal(["AAAAAAAAAAAAAAAA", null], await ColumnAsync("SELECT key_id FROM invitation_parts ORDER BY organization_id"));
            Assert.Equal(["0190f3a2-0000-7000-8000-000000000001", null], await ColumnAsync("SELECT maker_id FROM webhooks ORDER BY id"));
            Assert.Equal(Schema.Steps, await ColumnAsync(TestDatabase.IsPostgres
                ? "SELECT scriptname FROM schemaversions ORDER BY scriptname"
                : "SELECT scriptname FROM schemaversions UNION ALL SELECT scriptname FROM usage.schemaversions ORDER BY scriptname"));
            if (!TestDatabase.IsPostgres)
                Assert.Equal([], (await ColumnAsync("SELECT name FROM main.sqlite_master")).Intersect(SqliteUsage.Tables));
            async Task<IEnumerable<string?>> ColumnAsync(string sql) => await connection.QueryAsync<string?>(sql);
            await connection.ExecuteAsync("DELETE FROM signing_keys"); // this one was never encrypted
        }

        var server = await TestServer.StartOnAsync(place, null);
        Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(key)).Status);
        await server.StopAsync();
        await place.DeleteAsync();
    }

    [Fact]
    public async Task A_database_of_an_earlier_state_is_refused_and_left_as_it_was()
    {
        var (place, _) = await CreateOldAsync("009");
        var before = await SchemaAsync(place);
        await using (var database = Database.Of(place.Options))
        {
            var e = Assert.Throws<StartupException>(database.Prepare);
            Assert.Contains("it has schema 009, and this program goes on from 010", e.Message, StringComparison.Ordinal);
        }

        Assert.Equal(before, await SchemaAsync(place));
        await place.DeleteAsync();
    }

    [Fact]
    public async Task Control_the_comparison_finds_an_index_a_column_and_a_trigger_that_differ()
    {
        var place = await TestDatabase.CreateAsync();
        var before = await SchemaAsync(place);
        foreach (var change in (string[])["CREATE INDEX one_more ON users (name)", "ALTER TABLE users ADD COLUMN one_more BIGINT NULL",
            TestDatabase.IsPostgres ? "DROP TRIGGER activity_is_not_changed ON activity" : "DROP TRIGGER activity_is_not_changed"])
        {
            await using var connection = place.Connect();
            await connection.ExecuteAsync(change);
            var after = await SchemaAsync(place);
            Assert.NotEqual(before, after);
            before = after;
        }

        await place.DeleteAsync();
    }

    /// <summary>The steps up to a state, rows before the later ones, and the list of steps as it was kept then.</summary>
    private static async Task<(TestDatabase Place, string Key)> CreateOldAsync(string state)
    {
        var place = await TestDatabase.CreateEmptyAsync();
        Directory.CreateDirectory(place.Folder);
        using var generated = PersonalAccessKey.Generate("ph", "AAAAAAAAAAAAAAAA");
        await using var connection = place.Connect();
        await connection.ExecuteAsync(TestDatabase.IsPostgres
            ? """
              CREATE TABLE schemaversions (schemaversionsid serial NOT NULL, scriptname varchar(255) NOT NULL, applied timestamp NOT NULL,
                  CONSTRAINT "PK_schemaversions_Id" PRIMARY KEY (schemaversionsid))
              """
            : """
              CREATE TABLE [SchemaVersions] (SchemaVersionID INTEGER CONSTRAINT [PK_SchemaVersions_Id] PRIMARY KEY AUTOINCREMENT NOT NULL,
                  ScriptName TEXT NOT NULL, Applied DATETIME NOT NULL)
              """);
        foreach (var step in Directory.GetFiles(Path.Combine(folder, Kind)).Order(StringComparer.Ordinal))
        {
            var number = Path.GetFileNameWithoutExtension(step);
            if (string.CompareOrdinal(number, state) > 0) break;
            await connection.ExecuteAsync(await File.ReadAllTextAsync(step));
            await connection.ExecuteAsync("INSERT INTO schemaversions (scriptname, applied) VALUES (@name, @now)",
                new { name = $"Pakhouse.Server.Storage.{Kind}.{number}.sql", now = new DateTime(2026, 11, 1) });
            var rows = Path.Combine(folder, $"rows-of-{number}.sql");
            if (!File.Exists(rows)) continue;
            var hash = Convert.ToHexString(generated.Hash());
            var sql = (await File.ReadAllTextAsync(rows)).Replace("{hash}", hash, StringComparison.Ordinal);
            await connection.ExecuteAsync(TestDatabase.IsPostgres ? sql.Replace("X'", "'\\x", StringComparison.Ordinal) : sql);
        }

        return (place, generated.Reveal());
    }

    /// <summary>What step 020 does to rows of before: everything is stored as itself.</summary>
    private static string AsConverted(string table, string[] columns, string row)
    {
        var column = (table, columns) switch { ("access_keys", _) => "scopes", ("webhooks", _) => "events", _ => null };
        if (column is null) return row;
        var values = row.Split('|');
        var index = Array.IndexOf(columns, column);
        if (values[index].Length == 0) values[index] = "*";
        return string.Join('|', values);
    }

    private static async Task<List<(string Table, string[] Columns, List<string> Rows)>> RowsAsync(TestDatabase place, string state)
    {
        await using var connection = place.Connect();
        var tables = await connection.QueryAsync<(string Table, string Columns)>(TestDatabase.IsPostgres
            ? """
              SELECT table_name, string_agg(column_name, ',' ORDER BY ordinal_position) FROM information_schema.columns
              WHERE table_schema = 'public' AND table_name NOT IN ('schemaversions', 'data_protection_keys') GROUP BY table_name
              """
            : """
              SELECT m.name, group_concat(c.name, ',' ORDER BY c.cid) FROM sqlite_master m JOIN pragma_table_info(m.name) c
              WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name <> 'SchemaVersions' GROUP BY m.name
              """);
        var rows = new List<(string, string[], List<string>)>();
        foreach (var (table, columns) in tables)
            if (state == "023" || table is not ("sign_in_failures" or "deployment" or "status_gaps")) // the fixture of 010 has none
                rows.Add((table, columns.Split(','), await RowsAsync(place, table, columns.Split(','))));
        return rows;
    }

    private static async Task<List<string>> RowsAsync(TestDatabase place, string table, string[] columns)
    {
        await using var connection = place.Connect();
        await using var reader = await connection.ExecuteReaderAsync($"SELECT {string.Join(", ", columns)} FROM {table}");
        var rows = new List<string>();
        while (await reader.ReadAsync())
        {
            rows.Add(string.Join('|', Enumerable.Range(0, reader.FieldCount).Select(i => reader.GetValue(i) switch
            {
                DBNull => "NULL",
                byte[] bytes => Convert.ToHexString(bytes),
                var value => Convert.ToString(value, CultureInfo.InvariantCulture),
            })));
        }

        return [.. rows.Order(StringComparer.Ordinal)];
    }

    /// <summary>Tables, columns in their order, keys, indexes, triggers and functions, each as one line.</summary>
    private static async Task<List<string>> SchemaAsync(TestDatabase place)
    {
        await using var connection = place.Connect();
        await connection.OpenAsync();
        return TestDatabase.IsPostgres ? await PostgresSchemaAsync(connection) : await SqliteSchemaAsync(connection);
    }

    private static async Task<List<string>> SqliteSchemaAsync(DbConnection connection)
    {
        var lines = await connection.QueryAsync<string>(
            """
            SELECT 'column ' || t.name || ' ' || c.cid || ' ' || c.name || ' ' || c.type || ' ' || c."notnull"
                    || ' ' || COALESCE(c.dflt_value, '') || ' ' || c.pk
                FROM pragma_table_list t JOIN pragma_table_info(t.name) c WHERE t.name NOT LIKE 'sqlite_%'
            UNION ALL SELECT 'table ' || name || ' ' || wr FROM pragma_table_list WHERE name NOT LIKE 'sqlite_%'
            UNION ALL SELECT 'reference ' || t.name || ' ' || f."from" || ' ' || f."table" || ' ' || COALESCE(f."to", '')
                FROM pragma_table_list t JOIN pragma_foreign_key_list(t.name) f
            """);
        foreach (var file in await connection.QueryAsync<string>("SELECT name FROM pragma_database_list"))
        {
            lines = lines.Concat(await connection.QueryAsync<string>(
                $"SELECT type || ' ' || name || ' ' || sql FROM {file}.sqlite_master WHERE type <> 'table' AND sql IS NOT NULL"));
        }

        return [.. lines.Select(line => Normalized(line.Replace("\"", "", StringComparison.Ordinal))).Order(StringComparer.Ordinal)];
    }

    private static async Task<List<string>> PostgresSchemaAsync(DbConnection connection)
    {
        var lines = await connection.QueryAsync<string>(
            """
            SELECT 'column ' || table_name || ' ' || ROW_NUMBER() OVER (PARTITION BY table_name ORDER BY ordinal_position)
                || ' ' || column_name || ' ' || data_type
                || ' ' || COALESCE(collation_name, '') || ' ' || is_nullable || ' ' || COALESCE(column_default, '')
                FROM information_schema.columns WHERE table_schema = 'public'
            UNION ALL SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname = 'public'
            UNION ALL SELECT 'constraint ' || conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid)
                FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'n'
            UNION ALL SELECT 'trigger ' || pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
            UNION ALL SELECT 'function ' || pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
            UNION ALL SELECT 'sequence ' || relname FROM pg_class WHERE relkind = 'S' AND relnamespace = 'public'::regnamespace
            """);
        return [.. lines.Select(Normalized).Order(StringComparer.Ordinal)];
    }

    private static string Normalized(string line) => Regex.Replace(line, @"\s+", " ", RegexOptions.None, TimeSpan.FromSeconds(1));
}
