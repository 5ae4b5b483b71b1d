using System.Net;
using Dapper;

namespace Pakhouse.Tests;

public static class InventoryTests
{
    private static async Task<IReadOnlyList<string>> IdsAsync(
        TestServer server,
        Guid user,
        Guid organization,
        KeyFilter filter = KeyFilter.All,
        string search = ""
    ) =>
        [
            .. (await server.Get<Inventory>().ListAsync(Actor.Session(user), organization, new(filter, search), 1_000)).Value.Select(row =>
                row.Key.Id
            ),
        ];

    public class Listing
    {
        [Fact]
        public async Task Keys_of_the_organization_and_its_sub_organizations_are_there_and_nobody_elses()
        {
            await using var server = await TestServer.StartAsync();
            var (acme, other) = (await server.AddAcmeAsync(), await server.AddAcmeAsync());
            var developer = await server.AddMemberAsync(acme.Sub);
            await server.AddKeyAsync(other.Owner, other.Root);
            var root = TestServer.IdOf(await server.AddKeyAsync(acme.Owner, acme.Root));
            server.Clock.Advance(TimeSpan.FromSeconds(1));
            var sub = TestServer.IdOf(await server.AddKeyAsync(developer, acme.Sub));
            Assert.Equal([sub, root], await IdsAsync(server, acme.Owner, acme.Root)); // newest first
            Assert.Equal([sub], await IdsAsync(server, acme.Owner, acme.Sub));
            Assert.Equal(
                RefusalCode.AccessDenied,
                (await server.Get<Inventory>().ListAsync(Actor.Session(developer), acme.Sub, new(), 10)).Refusal!.Code
            );
            Assert.Equal(
                RefusalCode.NotFound,
                (await server.Get<Inventory>().ListAsync(Actor.Session(other.Owner), acme.Root, new(), 10)).Refusal!.Code
            );
            var manager = await server.AddMemberAsync(acme.Sub, "organization-manager");
            Assert.Equal([sub], await IdsAsync(server, manager, acme.Sub));
            Assert.Equal(
                RefusalCode.NotFound,
                (await server.Get<Inventory>().ListAsync(Actor.Session(manager), acme.Root, new(), 10)).Refusal!.Code
            );
        }

        [Fact]
        public async Task Each_filter_finds_what_it_says_and_nothing_else()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var member = await server.AddMemberAsync(acme.Root, "viewer");
            var gone = await server.AddMemberAsync(acme.Root, "viewer");
            async Task<string> AddAsync(Guid user, int? days) =>
                TestServer.IdOf(await server.AddKeyAsync(user, acme.Root, days is { } number ? TimeSpan.FromDays(number) : null));
            var (endless, expired, expiring) = (await AddAsync(member, null), await AddAsync(member, 1), await AddAsync(member, 120));
            var inactive = await AddAsync(gone, 200);
            var usedKey = await server.AddKeyAsync(acme.Owner, acme.Root, TimeSpan.FromDays(365));
            var used = TestServer.IdOf(usedKey);
            server.Clock.Advance(TimeSpan.FromDays(100));
            await server.ExchangeAsync(usedKey);
            await server.Get<KeyUsage>().FlushAsync();
            await server.Users.SetDisabledAsync(Actor.Operator, gone, true);
            await server.Get<Inventory>().ActAsync(Actor.Session(acme.Owner), acme.Root, KeyAction.Suspend, [endless]);
            await PoliciesTests.SetAsync(server, acme.Owner, acme.Root, new() { Holders = NameSet.Of("owner") });

            foreach (
                var (filter, ids) in new (KeyFilter, string[])[]
                {
                    (KeyFilter.All, [endless, expired, expiring, inactive, used]),
                    (KeyFilter.NeverUsed, [endless, expired, expiring, inactive]),
                    (KeyFilter.Unused, [endless, expired, expiring, inactive]),
                    (KeyFilter.Expired, [expired]),
                    (KeyFilter.Expiring, [expiring]),
                    (KeyFilter.NoExpiry, [endless]),
                    (KeyFilter.HolderInactive, [inactive]),
                    (KeyFilter.Suspended, [endless]),
                    (KeyFilter.BeyondPolicy, [expiring]), // the others do not work for another reason
                    (KeyFilter.ApiKeys, []),
                }
            )
                Assert.Equal(
                    (filter, string.Join(' ', ids.Order())),
                    (filter, string.Join(' ', (await IdsAsync(server, acme.Owner, acme.Root, filter)).Order()))
                );
        }

        [Theory]
        [InlineData("PERSON 2", 1)]
        [InlineData("person2@acme", 1)]
        [InlineData("%", 0)] // no wildcard of a caller's own
        [InlineData("_erson", 0)]
        [InlineData("' OR 1=1 --", 0)]
        [InlineData("Key 1", 2)]
        public async Task A_search_finds_parts_of_names_addresses_and_ids(string search, int found)
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            await server.AddKeyAsync(acme.Owner, acme.Root);
            await server.AddKeyAsync(await server.AddMemberAsync(acme.Root), acme.Root);
            Assert.Equal(found, (await IdsAsync(server, acme.Owner, acme.Root, search: search)).Count);
        }

        [Fact]
        public async Task Pages_hold_every_key_once_also_those_made_at_one_moment()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var keys = await PoliciesTests.AddKeysAsync(server, acme, 230, i => server.Clock.GetUtcNow().AddDays(-(i / 100)));
            var (seen, after) = (new List<string>(), "");
            while (true)
            {
                var page = (await server.Get<Inventory>().ListAsync(Actor.Session(acme.Owner), acme.Root, new(After: after), 50)).Value;
                seen.AddRange(page.Select(row => row.Key.Id));
                if (page.Count < 50) break;
                after = page[^1].Cursor;
            }

            Assert.Equal(keys.Select(key => key.Id).Order(), seen.Order());
            foreach (var cursor in (string[])["x", "1-x", "-1-0000000000000000", "9999999999999999999999-0000000000000000"])
                Assert.StartsWith(
                    "after:",
                    (await server.Get<Inventory>().ListAsync(Actor.Session(acme.Owner), acme.Root, new(After: cursor), 50))
                        .Refusal!
                        .Description
                );
        }

        /// <summary>
        /// By the work of the database itself, not by time: in SQLite steps of its machine, in PostgreSQL blocks of its cache.
        /// </summary>
        [Fact]
        public async Task A_page_costs_the_same_wherever_it_stands_and_an_export_reads_each_row_once()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            await PoliciesTests.AddKeysAsync(server, acme, 4_000, i => server.Clock.GetUtcNow().AddMinutes(-i));
            if (TestDatabase.IsPostgres)
                await server.ExecuteAsync("ANALYZE;");
            var (pages, after) = (new List<SentSql>(), "");
            while (true)
            {
                using var recorder = SqlRecorder.Record(server.Get<Database>());
                var page = (await server.Get<Inventory>().ListAsync(Actor.Session(acme.Owner), acme.Root, new(After: after), 50)).Value;
                pages.Add(recorder.Sent.Single(one => one.Text.Contains("AS page", StringComparison.Ordinal)));
                if (page.Count < 50)
                    break;
                after = page[^1].Cursor;
            }

            Assert.Equal(81, pages.Count);
            foreach (var column in (string[])["k.root_id = ", "k.organization_id = "]) // with sub-organizations, and without
            {
                var costs = new List<long>();
                foreach (var page in pages.Where((_, i) => i % 8 == 0).SkipLast(1))
                    costs.Add(
                        await SqlCost.OfAsync(
                            server.Get<Database>(),
                            page with
                            {
                                Text = page.Text.Replace("k.root_id = ", column, StringComparison.Ordinal),
                            }
                        )
                    );
                Assert.True(costs.Count == 10 && costs.Max() < 1.5 * costs.Min(), string.Join(' ', costs));
            }

            // The control: the same page, sorted instead of read from the index, is found.
            var whole = pages[0];
            var sorted = whole with
            {
                Text = whole.Text.Replace(
                    "k.created_at DESC, k.id DESC LIMIT",
                    "k.created_at + 0 DESC, k.id DESC LIMIT",
                    StringComparison.Ordinal
                ),
            };
            Assert.NotEqual(whole.Text, sorted.Text);
            Assert.True(await SqlCost.OfAsync(server.Get<Database>(), sorted) > 2 * await SqlCost.OfAsync(server.Get<Database>(), whole));
        }
    }

    public class Acting
    {
        [Fact]
        public async Task Keys_are_suspended_resumed_and_deleted_at_once_and_their_holder_is_told_once()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var holder = await server.AddMemberAsync(acme.Sub);
            var keys = new[] { await server.AddKeyAsync(holder, acme.Sub), await server.AddKeyAsync(holder, acme.Sub) };
            string[] ids = [.. keys.Select(TestServer.IdOf)];

            foreach (
                var (action, status, did) in new[]
                {
                    (KeyAction.Suspend, HttpStatusCode.Unauthorized, AuditAction.KeySuspend),
                    (KeyAction.Resume, HttpStatusCode.OK, AuditAction.KeyResume),
                    (KeyAction.Delete, HttpStatusCode.Unauthorized, AuditAction.KeyRevoke),
                }
            )
            {
                Assert.Equal(ids, (await server.Get<Inventory>().ActAsync(Actor.Session(acme.Owner), acme.Root, action, ids)).Value);
                // done already
                Assert.Empty((await server.Get<Inventory>().ActAsync(Actor.Session(acme.Owner), acme.Root, action, ids)).Value);
                foreach (var key in keys)
                    Assert.Equal(status, (await server.ExchangeAsync(key)).Status);
                Assert.Equal(
                    2,
                    await server.ScalarAsync<long>($"SELECT COUNT(*) FROM activity WHERE action = '{did}' AND subject_user_id = '{holder}'")
                );
                Assert.Equal(
                    2,
                    await server.ScalarAsync<long>(
                        $"SELECT COUNT(*) FROM access_keys WHERE status = "
                            + $"{action switch { KeyAction.Suspend => 2, KeyAction.Resume => 0, KeyAction.Delete => 1 }}"
                    )
                );
            }

            Assert.Equal(3, await server.ScalarAsync<long>("SELECT COUNT(*) FROM mails"));
            foreach (
                var content in await server
                    .Get<Database>()
                    .ReadAsync(connection => connection.QueryAsync<byte[]>("SELECT content FROM mails"))
            )
                Assert.All(
                    keys,
                    key => Assert.DoesNotContain(key[^49..], server.Get<Mails>().Open(content).Text, StringComparison.Ordinal)
                );
        }

        [Fact]
        public async Task Nobody_reaches_keys_of_another_organization_by_their_ids()
        {
            await using var server = await TestServer.StartAsync();
            var (acme, other) = (await server.AddAcmeAsync(), await server.AddAcmeAsync());
            var theirs = await server.AddKeyAsync(other.Owner, other.Root);
            var manager = await server.AddMemberAsync(acme.Sub, "organization-manager");
            var roots = await server.AddKeyAsync(acme.Owner, acme.Root);
            foreach (var action in Enum.GetValues<KeyAction>())
            {
                Assert.Empty(
                    (await server.Get<Inventory>().ActAsync(Actor.Session(acme.Owner), acme.Root, action, [TestServer.IdOf(theirs)])).Value
                );
                Assert.Empty(
                    (await server.Get<Inventory>().ActAsync(Actor.Session(manager), acme.Sub, action, [TestServer.IdOf(roots)])).Value
                );
            }

            Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(theirs)).Status);
            Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(roots)).Status);
        }

        [Fact]
        public async Task With_a_key_keys_are_listed_and_deleted_and_never_suspended_or_resumed()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var member = await server.AddMemberAsync(acme.Root);
            var (mine, theirs) = (
                await server.AddKeyAsync(acme.Owner, acme.Root),
                TestServer.IdOf(await server.AddKeyAsync(member, acme.Root))
            );
            var token = (await server.ExchangeAsync(mine)).Token;
            var path = $"/identity/v1/organizations/{acme.Root}/keys";
            Assert.Equal(2, (await PoliciesTests.SendAsync(server, HttpMethod.Get, path, token)).Json.GetProperty("data").GetArrayLength());
            foreach (
                var (action, status) in new[]
                {
                    ("suspend", HttpStatusCode.Forbidden),
                    ("resume", HttpStatusCode.Forbidden),
                    ("explode", HttpStatusCode.BadRequest),
                    ("delete", HttpStatusCode.OK),
                }
            )
                Assert.Equal(
                    status,
                    (
                        await PoliciesTests.SendAsync(
                            server,
                            HttpMethod.Post,
                            $"{path}/actions",
                            token,
                            $$"""{"action":"{{action}}","keyIds":["{{theirs}}"]}"""
                        )
                    ).Status
                );
            foreach (
                var body in (string[])
                    [
                        "{}",
                        "null",
                        "[]",
                        "{",
                        """{"action":"delete","keyIds":[]}""",
                        """{"action":"delete","keyIds":["x"]}""",
                        """{"action":"delete","keyIds":7}""",
                    ]
            )
                Assert.Equal(
                    HttpStatusCode.BadRequest,
                    (await PoliciesTests.SendAsync(server, HttpMethod.Post, $"{path}/actions", token, body)).Status
                );
        }
    }

    public class Exporting
    {
        [Fact]
        public async Task No_cell_is_a_formula_whatever_a_holder_is_called()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            foreach (var name in (string[])["=HYPERLINK(\"http://evil.example\")", "+1", "-1", "@SUM(A1)", "  =1"])
            {
                var user = await server.AddUserAsync(name);
                await server.Members.AddAsync(Actor.Operator, acme.Root, user, NameSet.Empty);
                await server.AddKeyAsync(user, acme.Root);
            }

            var answer = await PoliciesTests.SendAsync(
                server,
                HttpMethod.Get,
                $"/identity/v1/organizations/{acme.Root}/keys.csv",
                (await server.ExchangeAsync(await server.AddKeyAsync(acme.Owner, acme.Root))).Token
            );
            Assert.Equal("text/csv; charset=utf-8", answer.Header("Content-Type"));
            var lines = answer.Body.Split("\r\n", StringSplitOptions.RemoveEmptyEntries);
            Assert.Equal(7, lines.Length);
            Assert.All(lines, line => Assert.DoesNotMatch("(^|,)\"?\\s*[=+@-]", line));
            Assert.Contains("\"'=HYPERLINK(\"\"http://evil.example\"\")\"", answer.Body, StringComparison.Ordinal);
        }
    }
}
