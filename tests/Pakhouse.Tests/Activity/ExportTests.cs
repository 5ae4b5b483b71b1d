using System.Net;
using System.Net.Http.Headers;
using System.Text;

namespace Pakhouse.Tests;

/// <summary>Downloads for spreadsheets: whole, or seen to be broken; and no cell is a formula to any program.</summary>
public static class ExportTests
{
    public sealed class Downloads : IAsyncLifetime
    {
        private const int Rows = 52_000,
            WideRows = 12_000;

        /// <summary>So much with each row that the whole fits into no buffer on the way.</summary>
        private static readonly string wide = new('x', 1500);

        private TestServer server = null!;
        private Acme acme = null!;
        private string token = "";

        public async ValueTask InitializeAsync()
        {
            server = await TestServer.StartAsync();
            acme = await server.AddAcmeAsync();
            token = (await server.ExchangeAsync(await server.AddKeyAsync(acme.Owner, acme.Root))).Token;
        }

        public ValueTask DisposeAsync() => server.DisposeAsync();

        /// <summary>In pieces: a server that is busy with other tests ends one long statement.</summary>
        private async Task FillAsync(int rows, string insert)
        {
            for (var done = 0; done < rows; done += 4_000)
                await server.ExecuteAsync(
                    $"WITH RECURSIVE n(i) AS (SELECT {done + 1} UNION ALL SELECT i + 1 FROM n WHERE i < {done + 4_000}) {insert}"
                );
        }

        private Task FillActivityAsync(int rows, string detail) =>
            FillAsync(
                rows,
                $"""
                INSERT INTO activity (id, at, organization_id, action, target, detail)
                SELECT CAST(10000000 + i AS TEXT) || '-0000-7000-8000-000000000000', 0, '{acme.Root}', '{AuditAction.WebhookUpdate}',
                    'W' || i, '{detail}' FROM n
                """
            );

        private string ActivityCsv =>
            $"/identity/v1/organizations/{acme.Root}/activity.csv?action={Uri.EscapeDataString(AuditAction.WebhookUpdate)}";

        private Task<HttpResponseMessage> BeginAsync(string path, HttpMethod? method = null)
        {
            var request = new HttpRequestMessage(method ?? HttpMethod.Get, path)
            {
                Headers = { Authorization = new AuthenticationHeaderValue("Bearer", token) },
            };
            return server.Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
        }

        [Fact]
        public async Task Activity_is_exported_to_its_last_row_each_once_and_newest_first()
        {
            await FillActivityAsync(Rows, "");
            using var answer = await BeginAsync(ActivityCsv);
            Assert.Equal("no", answer.Headers.GetValues("X-Accel-Buffering").Single());
            Assert.Equal("no-store", answer.Headers.CacheControl!.ToString());
            var bytes = await answer.Content.ReadAsByteArrayAsync();
            Assert.Equal([0xEF, 0xBB, 0xBF, (byte)'"'], bytes[..4]);
            var rows = Sheet.Read(Encoding.UTF8.GetString(bytes, 3, bytes.Length - 3), ',');
            Assert.All(rows, row => Assert.Equal(15, row.Count));
            Assert.Equal(Enumerable.Range(1, Rows).Reverse().Select(i => $"W{i}"), rows.Skip(1).Select(row => row[9]));
        }

        [Fact]
        public async Task Inventory_is_exported_to_its_last_row_each_once()
        {
            var blob = TestDatabase.IsPostgres ? @"'\x00'::bytea" : "x'00'";
            await FillAsync(
                Rows,
                $"""
                INSERT INTO access_keys (id, kind, membership_id, name, hash, scopes, created_at, status, status_index, status_version)
                SELECT 'AAAAAAAA' || CAST(10000000 + i AS TEXT), 'pak', (SELECT id FROM memberships WHERE organization_id = '{acme.Root}'),
                    'K' || i, {blob}, '',
                       i / 3, 0, 1000000 + i, 0
                FROM n
                """
            );
            using var answer = await BeginAsync($"/identity/v1/organizations/{acme.Root}/keys.csv?search=k");
            Assert.Equal("no", answer.Headers.GetValues("X-Accel-Buffering").Single());
            var bytes = await answer.Content.ReadAsByteArrayAsync();
            Assert.Equal([0xEF, 0xBB, 0xBF, (byte)'"'], bytes[..4]);
            var names = Sheet.Read(Encoding.UTF8.GetString(bytes), ',').Skip(1).Select(row => row[1]).ToList();
            Assert.Equal(Rows + 1, names.Count); // and the key of the caller
            Assert.Equal(Rows + 1, names.Distinct(StringComparer.Ordinal).Count());
        }

        [Fact]
        public async Task A_database_that_fails_in_the_middle_breaks_the_download_off()
        {
            await FillActivityAsync(WideRows, wide);
            using var answer = await BeginAsync(ActivityCsv);
            Assert.Equal(HttpStatusCode.OK, answer.StatusCode);
            await server.ExecuteAsync("ALTER TABLE activity RENAME TO gone"); // what was read fits into no buffer, so there is more to read
            var read = await Record.ExceptionAsync(() => answer.Content.ReadAsByteArrayAsync());
            Assert.True(read is HttpRequestException or IOException, $"The transfer ended well: {read}");
            await server.ExecuteAsync("ALTER TABLE gone RENAME TO activity");
        }

        [Fact]
        public async Task A_reader_who_loses_the_right_in_the_middle_gets_no_file_that_looks_whole()
        {
            await FillActivityAsync(WideRows, wide);
            using var answer = await BeginAsync(ActivityCsv);
            await server.ExecuteAsync($"UPDATE organizations SET deleted_at = 1 WHERE id = '{acme.Root}'");
            var read = await Record.ExceptionAsync(() => answer.Content.ReadAsByteArrayAsync());
            Assert.True(read is HttpRequestException or IOException, $"The transfer ended well: {read}");
        }

        [Fact]
        public async Task Control_the_same_download_undisturbed_ends_well()
        {
            await FillActivityAsync(WideRows, wide);
            using var answer = await BeginAsync(ActivityCsv);
            Assert.True((await answer.Content.ReadAsByteArrayAsync()).Length > WideRows * wide.Length);
        }

        [Theory]
        [InlineData("activity.csv")]
        [InlineData("keys.csv")]
        public async Task Head_has_the_headers_alone(string name)
        {
            using var answer = await BeginAsync($"/identity/v1/organizations/{acme.Root}/{name}", HttpMethod.Head);
            Assert.Equal(
                (HttpStatusCode.OK, "text/csv; charset=utf-8"),
                (answer.StatusCode, answer.Content.Headers.ContentType!.ToString())
            );
            Assert.Empty(await answer.Content.ReadAsByteArrayAsync());
        }

        [Fact]
        public async Task A_database_that_is_away_at_the_first_page_is_a_refusal_and_no_file()
        {
            await server.ExecuteAsync("ALTER TABLE activity RENAME TO gone");
            using var answer = await BeginAsync(ActivityCsv);
            Assert.NotEqual(HttpStatusCode.OK, answer.StatusCode);
            Assert.NotEqual("text/csv", answer.Content.Headers.ContentType?.MediaType);
            await server.ExecuteAsync("ALTER TABLE gone RENAME TO activity");
        }
    }

    public static class Cells
    {
        private static readonly string[] signs = ["=", "+", "-", "@", "＝", "＋", "－", "＠", "﹦", "﹢", "﹣", "﹫", "⁺", "−"];
        private static readonly string[] skipped =
        [
            "",
            " ",
            "\t",
            "\u00A0",
            "\u3000",
            "\u200B",
            "\u200E",
            "\u202E",
            "\u2066",
            "\uFEFF",
            "\u00AD",
            "\u034F",
            "\uFE0F",
            "\u180E",
            "\u3164",
            "\u2800",
            "\U000E0001",
            "\0",
            "\u0001",
            "\u001B",
            "\u007F",
            "\u0085",
            " \u200B\t",
        ];
        private static readonly string[] before =
        [
            "",
            "a;",
            "a,",
            "a\t",
            "a\r\n",
            "a\n",
            "a|",
            "\"",
            "a\";",
            "\"\"",
            "a\";\"",
            ";;",
            "\u2028",
            "a\v",
        ];

        [Fact, SqliteOnly("it needs no database")]
        public static void No_cell_begins_like_a_formula_whatever_the_separator()
        {
            foreach (var start in before)
            {
                foreach (var hidden in skipped)
                {
                    foreach (var sign in signs)
                    {
                        var text = new StringBuilder();
                        Csv.AppendRow(text, "first", $"{start}{hidden}{sign}cmd|' /C calc'!A0", "last");
                        foreach (var separator in ",;\t|")
                            foreach (var cell in Sheet.Read(text.ToString(), separator).SelectMany(row => row))
                                Assert.False(
                                    Sheet.IsFormula(cell),
                                    $"{Shown(cell)} of {Shown(text.ToString())} read by {Shown($"{separator}")}"
                                );
                    }
                }
            }

            static string Shown(string text) => string.Concat(text.Select(c => c is > ' ' and < '\u007F' ? $"{c}" : $"\\u{(int)c:X4}"));
        }

        [Fact, SqliteOnly("it needs no database")]
        public static void Control_the_spreadsheet_of_these_tests_sees_a_formula_behind_each_separator()
        {
            foreach (var separator in ",;\t|")
                Assert.Contains(Sheet.Read($"\"a\"{separator}b{separator} \u200B＝1\r\n", separator)[0], Sheet.IsFormula);
            Assert.Contains(Sheet.Read("\"2031\",\"a;=1\"\r\n", ';')[0], Sheet.IsFormula);
        }

        [Theory, SqliteOnly("it needs no database")]
        [InlineData("Ada Lovelace")]
        [InlineData("a-b, c+d; e@f.example \"quoted\"\nlines")]
        [InlineData("none → owner")]
        public static void Harmless_text_is_read_as_it_was_written(string cell)
        {
            var text = new StringBuilder();
            Csv.AppendRow(text, cell, null, "");
            Assert.Equal([cell, "", ""], Sheet.Read(text.ToString(), ',').Single());
            Assert.StartsWith("\"", text.ToString(), StringComparison.Ordinal);
            Assert.EndsWith("\",\"\",\"\"\r\n", text.ToString(), StringComparison.Ordinal);
        }
    }

    /// <summary>
    /// As spreadsheets read: a quote counts at the beginning of a cell; what follows a quoted part is text, up to the separator or the end
    /// of the line.
    /// </summary>
    private static class Sheet
    {
        public static List<List<string>> Read(string text, char separator)
        {
            var rows = new List<List<string>>();
            var row = new List<string>();
            var cell = new StringBuilder();
            for (var (i, isQuoted, isStart) = (0, false, true); i < text.Length; i++)
            {
                var c = text[i];
                if (isQuoted && c == '"' && i + 1 < text.Length && text[i + 1] == '"') cell.Append(text[i++]);
                else if (isQuoted && c == '"') isQuoted = false;
                else if (isQuoted) cell.Append(c);
                else if (c == '"' && isStart) (isQuoted, isStart) = (true, false);
                else if (c == separator) Cell();
                else if (c is '\r' or '\n') Row();
                else (_, isStart) = (cell.Append(c), false);

                void Cell()
                {
                    row.Add(cell.ToString());
                    cell.Clear();
                    isStart = true;
                }

                void Row()
                {
                    if (row.Count > 0 || cell.Length > 0)
                    {
                        Cell();
                        rows.Add(row);
                        row = [];
                    }

                    isStart = true;
                }
            }

            return rows;
        }

        /// <summary>Quotes that are left in a cell count for nothing: another program may drop them.</summary>
        public static bool IsFormula(string cell)
        {
            foreach (var rune in cell.EnumerateRunes())
            {
                if (rune.Value == '"' || Rune.IsWhiteSpace(rune) || Rune.IsControl(rune) || !Checks.IsVisible(rune)) continue;
                return "=+-@＝＋－＠﹦﹢﹣﹫⁺−".Contains(rune.ToString(), StringComparison.Ordinal);
            }

            return false;
        }
    }
}
