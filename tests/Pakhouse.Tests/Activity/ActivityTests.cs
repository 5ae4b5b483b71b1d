using System.Net;
using System.Net.Http.Headers;
using System.Text.Json;

namespace Pakhouse.Tests;

/// <summary>The record as it is read: who sees which rows, the filters, the pages, the CSV file.</summary>
public sealed class ActivityTests : IAsyncLifetime
{
    private TestServer server = null!;
    private Acme acme = null!;

    public async ValueTask InitializeAsync()
    {
        server = await TestServer.StartAsync();
        acme = await server.AddAcmeAsync();
    }

    public ValueTask DisposeAsync() => server.DisposeAsync();

    /// <summary>Rows of one millisecond have no order among them.</summary>
    private void Tick() => server.Clock.Advance(TimeSpan.FromMilliseconds(1));

    private ActivityFeed Feed => server.Get<ActivityFeed>();

    private async Task<IReadOnlyList<ActivityEntry>> SeenByAsync(Guid user, Guid organization, ActivityFilter? filter = null) =>
        (await Feed.PageAsync(Actor.Session(user), organization, filter ?? new())).Value.Entries;

    /// <summary>As the sign-in writes it.</summary>
    private Task<bool> SignInAsync(Guid user, string action = AuditAction.Login, Guid? organization = null) =>
        server
            .Get<Database>()
            .WriteAsync(async transaction =>
            {
                await ActivityLog.WriteAsync(
                    transaction,
                    server.Clock,
                    Actor.Session(user, IPAddress.Parse("192.0.2.7")),
                    action,
                    organization,
                    user.ToString()
                );
                return true;
            });

    public sealed class Readers : IAsyncLifetime
    {
        private readonly ActivityTests given = new();

        public ValueTask InitializeAsync() => given.InitializeAsync();

        public ValueTask DisposeAsync() => given.DisposeAsync();

        [Fact]
        public async Task Owner_of_a_root_sees_what_happened_in_its_sub_organizations_too_even_in_deleted_ones()
        {
            Assert.False(
                (await given.server.Organizations.RenameAsync(Actor.Session(given.acme.Owner), given.acme.Sub, "Renamed")).IsRefused
            );
            await given.server.ExecuteAsync($"UPDATE organizations SET deleted_at = 1 WHERE id = '{given.acme.Sub}'");

            var seen = await given.SeenByAsync(given.acme.Owner, given.acme.Root);
            Assert.Contains(
                seen,
                row =>
                    row.Action == AuditAction.OrganizationUpdate
                    && row.OrganizationId == given.acme.Sub
                    && row.OrganizationName == "Renamed"
            );
            Assert.Contains(seen, row => row.Action == AuditAction.OrganizationCreate && row.OrganizationId == given.acme.Root);
            var only = await given.SeenByAsync(given.acme.Owner, given.acme.Root, new() { OrganizationId = given.acme.Root });
            Assert.All(only, row => Assert.Equal(given.acme.Root, row.OrganizationId));
            Assert.NotEmpty(only);
        }

        [Fact]
        public async Task Reader_of_a_sub_organization_sees_nothing_of_its_root_or_siblings()
        {
            var sibling = (
                await given.server.Organizations.CreateSubAsync(Actor.Session(given.acme.Owner), given.acme.Root, "Sibling")
            ).Value;
            var viewer = await given.server.AddMemberAsync(given.acme.Sub, BuiltInRoles.Viewer);
            Assert.All(await given.SeenByAsync(viewer, given.acme.Sub), row => Assert.Equal(given.acme.Sub, row.OrganizationId));
            Assert.Empty(await given.SeenByAsync(viewer, given.acme.Sub, new() { OrganizationId = sibling }));
            Assert.Empty(await given.SeenByAsync(viewer, given.acme.Sub, new() { OrganizationId = given.acme.Root }));
        }

        [Fact]
        public async Task Member_without_the_permission_sees_what_they_did_and_what_was_done_to_them_and_not_from_where_others_did_it()
        {
            var member = await given.server.AddMemberAsync(given.acme.Root);
            await given.server.AddMemberAsync(given.acme.Root);
            given.Tick();
            await given.server.AddKeyAsync(member, given.acme.Root);
            await given.server.AddKeyAsync(given.acme.Owner, given.acme.Root);
            given.Tick();
            var owner = Actor.Session(given.acme.Owner, IPAddress.Parse("192.0.2.9"));
            Assert.False((await given.server.Members.SetRolesAsync(owner, given.acme.Root, member, NameSet.Of("tester"))).IsRefused);

            var page = (await given.Feed.PageAsync(Actor.Session(member), given.acme.Root, new())).Value;
            Assert.True(page.IsOwnOnly);
            Assert.Equal(
                [AuditAction.MemberRoleUpdate, AuditAction.KeyCreate, AuditAction.MemberAssign],
                page.Entries.Select(row => row.Action)
            );
            Assert.Null(page.Entries[0].Address);
            Assert.Equal("192.0.2.9", (await given.SeenByAsync(given.acme.Owner, given.acme.Root))[0].Address);
        }

        [Fact]
        public async Task Stranger_and_an_id_never_given_out_are_answered_alike()
        {
            var stranger = await given.server.AddUserAsync();
            var unknown = (await given.Feed.PageAsync(Actor.Session(stranger), Ids.New(given.server.Clock), new())).Refusal!;
            var foreign = (await given.Feed.PageAsync(Actor.Session(stranger), given.acme.Root, new())).Refusal!;
            Assert.Equal((RefusalCode.NotFound, unknown.Description), (foreign.Code, foreign.Description));
        }

        [Fact]
        public async Task Sign_ins_are_told_to_an_organization_only_of_the_time_of_the_membership_and_switches_only_to_its_own()
        {
            var member = await given.server.AddUserAsync();
            var elsewhere = (await given.server.Organizations.CreateRootAsync(Actor.Operator, "Elsewhere", member)).Value;
            await given.SignInAsync(member); // before
            given.server.Clock.Advance(TimeSpan.FromMinutes(1));
            Assert.False((await given.server.Members.AddAsync(Actor.Operator, given.acme.Root, member, NameSet.Empty)).IsRefused);
            given.server.Clock.Advance(TimeSpan.FromMinutes(1));
            await given.SignInAsync(member, AuditAction.Logout);
            await given.SignInAsync(member, AuditAction.SwitchOrganization, elsewhere);
            await given.SignInAsync(member, AuditAction.SwitchOrganization, given.acme.Sub);
            given.server.Clock.Advance(TimeSpan.FromMinutes(1));
            Assert.False((await given.server.Members.RemoveAsync(Actor.Operator, given.acme.Root, member)).IsRefused);
            given.server.Clock.Advance(TimeSpan.FromMinutes(1));
            await given.SignInAsync(member); // after

            var seen = await given.SeenByAsync(given.acme.Owner, given.acme.Root, new() { IsAuth = true });
            Assert.Equal(
                [AuditAction.Logout, AuditAction.SwitchOrganization],
                seen.Where(row => row.ActorId == member).Select(row => row.Action).Order(StringComparer.Ordinal)
            );
            Assert.All(seen, row => Assert.NotEqual(elsewhere, row.OrganizationId));
            Assert.DoesNotContain(
                await given.SeenByAsync(given.acme.Owner, given.acme.Root),
                row => row.Action is AuditAction.Login or AuditAction.SwitchOrganization
            );
        }
    }

    public sealed class Filters : IAsyncLifetime
    {
        private readonly ActivityTests given = new();

        public ValueTask InitializeAsync() => given.InitializeAsync();

        public ValueTask DisposeAsync() => given.DisposeAsync();

        private async Task<IReadOnlyList<ActivityEntry>> ReadAsync(
            string from = "",
            string to = "",
            string action = "",
            string person = ""
        ) =>
            await given.SeenByAsync(
                given.acme.Owner,
                given.acme.Root,
                ActivityFilter.Read(false, from, to, null, action, person, null).Value
            );

        [Fact]
        public async Task Days_are_whole_days_and_both_included()
        {
            given.server.Clock.SetUtcNow(new DateTimeOffset(2026, 12, 1, 0, 0, 0, TimeSpan.Zero));
            await given.server.AddKeyAsync(given.acme.Owner, given.acme.Root);
            given.server.Clock.SetUtcNow(new DateTimeOffset(2026, 12, 1, 23, 59, 59, 999, TimeSpan.Zero));
            await given.server.AddKeyAsync(given.acme.Owner, given.acme.Root);
            given.server.Clock.SetUtcNow(new DateTimeOffset(2026, 12, 2, 0, 0, 0, TimeSpan.Zero));
            await given.server.AddKeyAsync(given.acme.Owner, given.acme.Root);

            Assert.Equal(2, (await ReadAsync("2026-12-01", "2026-12-01")).Count);
            Assert.Single(await ReadAsync("2026-12-02"));
            Assert.Empty(await ReadAsync("2026-12-03"));
            Assert.DoesNotContain(await ReadAsync(to: "2026-11-30"), row => row.Action == AuditAction.KeyCreate);
        }

        [Fact]
        public async Task Person_is_found_by_address_or_id_as_actor_and_as_subject_and_action_by_its_name()
        {
            var member = await given.server.AddMemberAsync(given.acme.Root);
            given.Tick();
            await given.server.AddKeyAsync(member, given.acme.Root);
            await given.server.AddKeyAsync(given.acme.Owner, given.acme.Root);
            var email = (await given.server.Users.FindAsync(member))!.Email.ToUpperInvariant();

            Assert.Equal([AuditAction.KeyCreate, AuditAction.MemberAssign], (await ReadAsync(person: email)).Select(row => row.Action));
            Assert.Equal(
                [AuditAction.KeyCreate, AuditAction.MemberAssign],
                (await ReadAsync(person: member.ToString())).Select(row => row.Action)
            );
            Assert.Single(await ReadAsync(person: email, action: AuditAction.KeyCreate));
            Assert.Equal(2, (await ReadAsync(action: AuditAction.KeyCreate)).Count);
            Assert.Empty(await ReadAsync(person: "nobody@acme.example"));
        }

        [Fact]
        public async Task Pages_hold_every_row_once_newest_first()
        {
            await given.server.AddMemberAsync(given.acme.Root);
            for (var i = 0; i < 7; i++)
                await given.server.AddKeyAsync(given.acme.Owner, given.acme.Root);
            var all = (await given.SeenByAsync(given.acme.Owner, given.acme.Root)).Select(row => row.Id).ToList();

            var paged = new List<Guid>();
            for (Guid? before = null; ;)
            {
                var page = (
                    await given.Feed.PageAsync(Actor.Session(given.acme.Owner), given.acme.Root, new() { Before = before }, size: 3)
                ).Value;
                paged.AddRange(page.Entries.Select(row => row.Id));
                if (page.Next is not { } next)
                    break;
                before = next;
            }

            Assert.Equal(all, paged);
            Assert.Equal(all.OrderByDescending(id => id.ToString(), StringComparer.Ordinal), all);
        }

        [Fact]
        public async Task Deleted_person_is_shown_by_id()
        {
            var member = await given.server.AddMemberAsync(given.acme.Root);
            await given.server.AddKeyAsync(member, given.acme.Root);
            Assert.False((await given.server.Users.DeleteAsync(Actor.Operator, member)).IsRefused);
            Assert.All((await ReadAsync(person: member.ToString())).Where(row => row.ActorId == member), row => Assert.Null(row.ActorName));
            Assert.NotEmpty(await ReadAsync(person: member.ToString()));
        }
    }

    public sealed class OverHttp : IAsyncLifetime
    {
        private readonly ActivityTests given = new();

        public ValueTask InitializeAsync() => given.InitializeAsync();

        public ValueTask DisposeAsync() => given.DisposeAsync();

        private string Address(string query = "", string kind = "") =>
            $"/identity/v1/organizations/{given.acme.Root}/activity{kind}{query}";

        private async Task<Answer> GetAsync(string path, string? token)
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, path);
            if (token is not null)
                request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token);
            return await Answer.OfAsync(await given.server.Http.SendAsync(request));
        }

        private async Task<string> TokenAsync(Guid user) =>
            (await given.server.ExchangeAsync(await given.server.AddKeyAsync(user, given.acme.Root))).Token;

        [Fact]
        public async Task Answer_holds_rows_and_the_id_that_leads_on()
        {
            var token = await TokenAsync(given.acme.Owner);
            var answer = await GetAsync(
                Address($"?action={Uri.EscapeDataString(AuditAction.KeyCreate)}&person={given.acme.Owner}&organization={given.acme.Root}"),
                token
            );
            Assert.Equal(HttpStatusCode.OK, answer.Status);
            Assert.Equal("no-store", answer.Header("Cache-Control"));
            var row = Assert.Single(answer.Json.GetProperty("data").EnumerateArray().ToList());
            Assert.Equal(
                (AuditAction.KeyCreate, given.acme.Owner.ToString(), "Acme"),
                (
                    row.GetProperty("action").GetString(),
                    row.GetProperty("actor").GetProperty("id").GetString(),
                    row.GetProperty("organization").GetProperty("name").GetString()
                )
            );
            Assert.Equal(JsonValueKind.Null, answer.Json.GetProperty("next").ValueKind);
        }

        [Theory]
        [InlineData("?from=yesterday", "from")]
        [InlineData("?to=2026-13-01", "to")]
        [InlineData("?to=9999-12-31", "to")]
        [InlineData("?organization=mine", "organization")]
        [InlineData("?action=Everything", "action")]
        [InlineData("?before=newest", "before")]
        [InlineData("?kind=all", "kind")]
        public async Task Faulty_filter_is_refused_by_its_name_and_its_value_is_not_repeated(string query, string field)
        {
            var answer = await GetAsync(Address(query), await TokenAsync(given.acme.Owner));
            Assert.Equal((HttpStatusCode.BadRequest, "invalid_request"), (answer.Status, answer.Error));
            Assert.StartsWith($"{field}: ", answer.Json.GetProperty("message").GetString(), StringComparison.Ordinal);
            Assert.DoesNotContain(query.Split('=')[1] + "\"", answer.Body, StringComparison.Ordinal);
        }

        [Fact]
        public async Task Nobody_known_gets_401_and_a_stranger_404()
        {
            Assert.Equal(HttpStatusCode.Unauthorized, (await GetAsync(Address(), null)).Status);
            Assert.Equal(HttpStatusCode.Unauthorized, (await GetAsync(Address(kind: ".csv"), null)).Status);
            var stranger = await given.server.AddUserAsync();
            var other = (await given.server.Organizations.CreateRootAsync(Actor.Operator, "Umbra", stranger)).Value;
            var token = (await given.server.ExchangeAsync(await given.server.AddKeyAsync(stranger, other))).Token;
            Assert.Equal(HttpStatusCode.NotFound, (await GetAsync(Address(), token)).Status);
            Assert.Equal(HttpStatusCode.NotFound, (await GetAsync(Address(kind: ".csv"), token)).Status);
        }

        [Fact]
        public async Task Csv_holds_the_filtered_rows_and_no_cell_is_a_formula()
        {
            var evil = (
                await given.server.Users.CreateAsync(
                    Actor.Operator,
                    "evil@acme.example",
                    "=HYPERLINK(\"http://evil.example\")",
                    TestServer.Password
                )
            ).Value;
            Assert.False((await given.server.Members.AddAsync(Actor.Operator, given.acme.Root, evil, NameSet.Empty)).IsRefused);
            const int rows = 20;
            await given
                .server.Get<Database>()
                .WriteAsync(async transaction =>
                {
                    for (var i = 0; i < rows; i++)
                        await ActivityLog.WriteAsync(
                            transaction,
                            given.server.Clock,
                            Actor.Session(evil),
                            AuditAction.WebhookUpdate,
                            given.acme.Root,
                            "",
                            detail: "-1+1"
                        );
                    return true;
                });

            var answer = await GetAsync(
                Address($"?action={Uri.EscapeDataString(AuditAction.WebhookUpdate)}", ".csv"),
                await TokenAsync(given.acme.Owner)
            );
            Assert.Equal("text/csv; charset=utf-8", answer.Header("Content-Type"));
            Assert.Contains("attachment", answer.Header("Content-Disposition"), StringComparison.Ordinal);
            var lines = answer.Body.Split("\r\n", StringSplitOptions.RemoveEmptyEntries);
            Assert.Equal(rows + 1, lines.Length);
            Assert.Contains("\"'=HYPERLINK(\"\"http://evil.example\"\")\"", lines[1], StringComparison.Ordinal);
            Assert.Contains(",\"'-1+1\",", lines[1], StringComparison.Ordinal);
            Assert.All(lines, line => Assert.DoesNotMatch("(^|,)\"?[=+@-]", line));
        }
    }
}
