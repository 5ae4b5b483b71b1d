using System.Net;
using System.Text;

namespace Pakhouse.Tests;

/// <summary>API keys of organizations: one mechanism with the keys of people, and what differs.</summary>
public static class ApiKeysTests
{
    private const string Address = "/auth/v1/api-key/token";

    private static NewApiKey Wanted(
        string name = "Deploy",
        DateTimeOffset? expiresAt = null,
        params (Guid Organization, string[] Roles)[] roles
    ) =>
        new(
            KeyFormat.NewId(),
            name,
            expiresAt,
            NameSet.All,
            [.. roles.Select(one => new ApiKeyRoles(one.Organization, NameSet.Of(one.Roles)))]
        );

    private static async Task<string> AddAsync(TestServer server, Guid maker, Guid organization, NewApiKey wanted)
    {
        var made = await server.Get<ApiKeys>().CreateAsync(Actor.Session(maker), organization, wanted);
        Assert.Null(made.Refusal);
        using var key = made.Value;
        return key.Reveal();
    }

    private static Task<Answer> ExchangeAsync(TestServer server, string secret, string name = "Deploy", string? organizationId = null) =>
        server.PostAsync(
            Address,
            [
                ("name", name),
                ("secret", secret),
                .. organizationId is null ? Array.Empty<(string, string)>() : [("organizationId", organizationId)],
            ]
        );

    public class On200
    {
        [Fact]
        public async Task Name_and_secret_get_a_token_of_the_keys_own_organization()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var secret = await AddAsync(server, acme.Owner, acme.Root, Wanted(roles: (acme.Root, ["builder"])));
            Assert.StartsWith("ph_oak1_", secret, StringComparison.Ordinal);

            var answer = await ExchangeAsync(server, secret);
            Assert.Equal(HttpStatusCode.OK, answer.Status);
            Assert.Equal("no-store", answer.Header("Cache-Control"));
            Assert.Equal(acme.Root.ToString(), answer.Claims.GetProperty("currentOrganizationId").GetString());
            Assert.Equal("api-key", answer.Claims.GetProperty("client_id").GetString());
            Assert.Equal(TestServer.IdOf(secret), answer.Claims.GetProperty("key_id").GetString());
            Assert.Equal("Deploy", answer.Claims.GetProperty("name").GetString());
            Assert.Equal(["builder"], answer.Roles);
        }

        [Fact]
        public async Task The_organization_asked_for_is_the_tokens_and_its_roles_are_those_named_for_it_and_the_roots()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var secret = await AddAsync(server, acme.Owner, acme.Root, Wanted(roles: [(acme.Root, ["viewer"]), (acme.Sub, ["builder"])]));
            foreach (var id in (string[])[acme.Sub.ToString(), $"{{{acme.Sub}}}"])
            {
                var answer = await ExchangeAsync(server, secret, organizationId: id);
                Assert.Equal(acme.Sub.ToString(), answer.Claims.GetProperty("currentOrganizationId").GetString());
                Assert.Equal(["builder", "viewer"], answer.Roles.Order());
            }

            Assert.Equal(
                acme.Root.ToString(),
                (await ExchangeAsync(server, secret, organizationId: "")).Claims.GetProperty("currentOrganizationId").GetString()
            ); // scripts pass empty variables
        }

        [Fact]
        public async Task After_a_rotation_both_secrets_work_until_the_overlap_ends_and_the_new_one_goes_on()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var first = await AddAsync(server, acme.Owner, acme.Root, Wanted());
            var rotated = await server
                .Get<ApiKeys>()
                .RotateAsync(Actor.Session(acme.Owner), acme.Root, TestServer.IdOf(first), KeyFormat.NewId(), TimeSpan.FromHours(24));
            var second = rotated.Value.Reveal();

            Assert.Equal(HttpStatusCode.OK, (await ExchangeAsync(server, first)).Status);
            Assert.Equal(HttpStatusCode.OK, (await ExchangeAsync(server, second)).Status);
            server.Clock.Advance(TimeSpan.FromHours(23.9));
            // no token outlives its key
            Assert.InRange((await ExchangeAsync(server, first)).Json.GetProperty("expires_in").GetInt32(), 1, 360);
            server.Clock.Advance(TimeSpan.FromHours(0.2));
            var refused = await ExchangeAsync(server, first);
            Assert.Equal(HttpStatusCode.Unauthorized, refused.Status);
            Assert.Contains("rotated", refused.Description, StringComparison.Ordinal);
            Assert.Equal(HttpStatusCode.OK, (await ExchangeAsync(server, second)).Status);

            var entry = Assert.Single((await server.Get<ApiKeys>().ListAsync(Actor.Session(acme.Owner), acme.Root)).Value);
            Assert.Equal(TestServer.IdOf(second), entry.Id);
            Assert.Equal(183, (entry.ExpiresAt - entry.CreatedAt).TotalDays);
        }
    }

    public class On400
    {
        [Theory, InlineData("x"), InlineData("0190f3a2"), InlineData("current")]
        public async Task An_organization_that_is_no_uuid_is_answered_in_the_words_that_clients_read(string id)
        {
            await using var server = await TestServer.StartAsync();
            var answer = await server.PostAsync(Address, ("name", "Deploy"), ("secret", "x"), ("organizationId", id));
            Assert.Equal(HttpStatusCode.BadRequest, answer.Status);
            Assert.Equal("organizationId must be a valid GUID", answer.Error);
            Assert.StartsWith("organizationId: ", answer.Description, StringComparison.Ordinal);
        }

        [Theory, InlineData("name", "secret=x"), InlineData("secret", "name=x"), InlineData("secret", "name=x&secret=")]
        public async Task A_field_that_is_missing_is_named(string field, string body)
        {
            await using var server = await TestServer.StartAsync();
            var answer = await server.PostBodyAsync(Address, body);
            Assert.Equal((HttpStatusCode.BadRequest, "invalid_request"), (answer.Status, answer.Error));
            Assert.StartsWith($"{field}: ", answer.Description, StringComparison.Ordinal);
        }

        [Fact]
        public async Task A_secret_in_the_address_is_refused_though_it_is_right()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var secret = await AddAsync(server, acme.Owner, acme.Root, Wanted());
            Assert.Equal(
                HttpStatusCode.BadRequest,
                (await server.PostAsync($"{Address}?secret={secret}", ("name", "Deploy"), ("secret", secret))).Status
            );
        }
    }

    public class On401
    {
        [Fact]
        public async Task What_proves_nothing_is_one_and_the_same_answer_and_counts_towards_the_limit()
        {
            await using var server = await TestServer.StartAsync("--Pakhouse:FailuresPerMinuteMax=4");
            var acme = await server.AddAcmeAsync();
            var secret = await AddAsync(server, acme.Owner, acme.Root, Wanted());
            var personal = await server.AddKeyAsync(acme.Owner, acme.Root);
            string Guess(string id) => Encoding.ASCII.GetString(KeyFormat.Create("ph", id, KeyKind.Organization));

            var answers = new List<string>();
            foreach (
                var (name, wrong) in ((string, string)[])
                    [
                        ("Deploy", personal),
                        ("deploy", secret),
                        ("Deploy", Guess(TestServer.IdOf(secret))),
                        ("Deploy", Guess(KeyFormat.NewId())),
                    ]
            )
            {
                var answer = await ExchangeAsync(server, wrong, name);
                Assert.Equal((HttpStatusCode.Unauthorized, "invalid_grant"), (answer.Status, answer.Error));
                answers.Add(answer.Body);
            }

            Assert.Single(answers.Distinct(StringComparer.Ordinal));
            Assert.StartsWith(
                "secret: ",
                System.Text.Json.JsonDocument.Parse(answers[0]).RootElement.GetProperty("message").GetString(),
                StringComparison.Ordinal
            );
            Assert.Equal(HttpStatusCode.TooManyRequests, (await ExchangeAsync(server, secret, "wrong")).Status);
            Assert.Equal(HttpStatusCode.OK, (await ExchangeAsync(server, secret)).Status); // a real key is never limited
        }

        [Fact]
        public async Task An_api_key_is_no_personal_access_key()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var secret = await AddAsync(server, acme.Owner, acme.Root, Wanted());
            Assert.Equal("invalid_grant", (await server.ExchangeAsync(secret)).Error);
        }

        [Fact]
        public async Task A_deleted_key_is_refused_from_the_instant_its_deletion_is_acknowledged_and_so_is_one_of_a_deleted_organization()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var deleted = await AddAsync(server, acme.Owner, acme.Root, Wanted());
            Assert.False(
                (await server.Get<ApiKeys>().DeleteAsync(Actor.Session(acme.Owner), acme.Root, TestServer.IdOf(deleted))).IsRefused
            );
            Assert.Contains("deleted", (await ExchangeAsync(server, deleted)).Description, StringComparison.Ordinal);

            var other = await AddAsync(server, acme.Owner, acme.Root, Wanted("Other"));
            await server.Organizations.SetDisabledAsync(Actor.Operator, acme.Root, disabled: true);
            Assert.Equal(HttpStatusCode.Unauthorized, (await ExchangeAsync(server, other, "Other")).Status);
            await server.Organizations.SetDisabledAsync(Actor.Operator, acme.Root, disabled: false);
            Assert.Equal(HttpStatusCode.OK, (await ExchangeAsync(server, other, "Other")).Status);
            await server.ExecuteAsync($"UPDATE organizations SET deleted_at = 1 WHERE id = '{acme.Root}'");
            Assert.Equal(HttpStatusCode.Unauthorized, (await ExchangeAsync(server, other, "Other")).Status);
        }

        [Fact]
        public async Task An_expired_key_says_so()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var secret = await AddAsync(server, acme.Owner, acme.Root, Wanted(expiresAt: server.Clock.GetUtcNow().AddDays(1)));
            server.Clock.Advance(TimeSpan.FromDays(1));
            Assert.Contains("expired", (await ExchangeAsync(server, secret)).Description, StringComparison.Ordinal);
        }
    }

    public class On403
    {
        [Fact]
        public async Task An_organization_that_the_roles_do_not_name_is_refused_like_one_that_does_not_exist()
        {
            await using var server = await TestServer.StartAsync();
            var (acme, elsewhere) = (await server.AddAcmeAsync(), await server.AddAcmeAsync());
            var ofRoot = await AddAsync(server, acme.Owner, acme.Root, Wanted(roles: (acme.Root, ["owner"])));
            var ofSub = await AddAsync(server, acme.Owner, acme.Sub, Wanted(roles: (acme.Sub, ["builder"])));
            var bodies = new List<string>();
            foreach (
                var (secret, id) in ((string, Guid)[])
                    [
                        (ofRoot, acme.Sub),
                        (ofRoot, elsewhere.Root),
                        (ofRoot, elsewhere.Sub),
                        (ofRoot, Ids.New(server.Clock)),
                        (ofSub, acme.Root),
                    ]
            )
            {
                var answer = await ExchangeAsync(server, secret, organizationId: id.ToString());
                Assert.Equal((HttpStatusCode.Forbidden, "access_denied"), (answer.Status, answer.Error));
                bodies.Add(answer.Body);
            }

            Assert.Single(bodies.Distinct(StringComparer.Ordinal));
        }
    }

    public class Making
    {
        [Fact]
        public async Task Only_a_person_with_a_session_and_the_role_makes_changes_or_rotates_one()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var (manager, member) = (
                await server.AddMemberAsync(acme.Root, "organization-manager"),
                await server.AddMemberAsync(acme.Root, "viewer")
            );
            var keys = server.Get<ApiKeys>();
            var made = await AddAsync(server, manager, acme.Root, Wanted());
            var id = TestServer.IdOf(made);
            var service = Guid.Parse((await ExchangeAsync(server, made)).Claims.GetProperty("sub").GetString()!);

            foreach (
                var actor in (Actor[])
                    [
                        Actor.Session(member),
                        Actor.Key(acme.Owner, "0000000000000000", TestServer.EveryScope),
                        Actor.ApiKey(service, id, TestServer.EveryScope),
                        Actor.Session(service),
                        Actor.Operator,
                    ]
            )
            {
                Assert.True((await keys.CreateAsync(actor, acme.Root, Wanted("Another"))).IsRefused);
                Assert.True((await keys.ChangeAsync(actor, acme.Root, id, "Renamed", null)).IsRefused);
                Assert.True((await keys.RotateAsync(actor, acme.Root, id, KeyFormat.NewId(), TimeSpan.Zero)).IsRefused);
            }

            Assert.Equal(
                RefusalCode.NotFound,
                (await keys.CreateAsync(Actor.Session((await server.AddAcmeAsync()).Owner), acme.Root, Wanted("Another"))).Refusal!.Code
            ); // R9
        }

        [Fact]
        public async Task A_manager_gives_no_key_the_role_owner_and_rotates_none_that_has_it()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var manager = await server.AddMemberAsync(acme.Root, "organization-manager");
            var keys = server.Get<ApiKeys>();
            Assert.Equal(
                RefusalCode.AccessDenied,
                (await keys.CreateAsync(Actor.Session(manager), acme.Root, Wanted(roles: (acme.Root, ["owner"])))).Refusal!.Code
            );
            var owners = TestServer.IdOf(await AddAsync(server, acme.Owner, acme.Root, Wanted(roles: (acme.Root, ["owner"]))));
            Assert.Equal(
                RefusalCode.AccessDenied,
                (await keys.RotateAsync(Actor.Session(manager), acme.Root, owners, KeyFormat.NewId(), TimeSpan.Zero)).Refusal!.Code
            );
            var ours = TestServer.IdOf(await AddAsync(server, manager, acme.Root, Wanted("Ours")));
            Assert.Equal(
                RefusalCode.AccessDenied,
                (await keys.ChangeAsync(Actor.Session(manager), acme.Root, ours, null, [new(acme.Root, NameSet.Of("owner"))])).Refusal!.Code
            );
        }

        [Fact]
        public async Task An_api_key_with_the_role_owner_is_no_owner_that_keeps_an_organization_alive()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            await AddAsync(server, acme.Owner, acme.Root, Wanted(roles: (acme.Root, ["owner"])));
            Assert.Equal(
                RefusalCode.Conflict,
                (await server.Members.RemoveAsync(Actor.Session(acme.Owner), acme.Root, acme.Owner)).Refusal!.Code
            );
            Assert.Single((await server.Members.ListAsync(Actor.Session(acme.Owner), acme.Root)).Value); // nor a member that people see
        }

        [Fact]
        public async Task A_name_is_unique_in_its_organization_and_free_again_after_a_deletion()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var keys = server.Get<ApiKeys>();
            var first = TestServer.IdOf(await AddAsync(server, acme.Owner, acme.Root, Wanted()));
            Assert.Equal(
                RefusalCode.Conflict,
                (await keys.CreateAsync(Actor.Session(acme.Owner), acme.Root, Wanted(" Deploy "))).Refusal!.Code
            );
            await AddAsync(server, acme.Owner, acme.Sub, Wanted());
            await keys.DeleteAsync(Actor.Session(acme.Owner), acme.Root, first);
            await AddAsync(server, acme.Owner, acme.Root, Wanted());
        }

        [Fact]
        public async Task It_ends_after_six_months_by_default_and_after_a_year_at_most()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var keys = server.Get<ApiKeys>();
            var now = server.Clock.GetUtcNow();
            Assert.True((await keys.CreateAsync(Actor.Session(acme.Owner), acme.Root, Wanted(expiresAt: now.AddDays(367)))).IsRefused);
            Assert.True((await keys.CreateAsync(Actor.Session(acme.Owner), acme.Root, Wanted(expiresAt: now))).IsRefused);
            await AddAsync(server, acme.Owner, acme.Root, Wanted(expiresAt: now.AddDays(366)));
            await AddAsync(server, acme.Owner, acme.Root, Wanted("Default"));
            Assert.Contains(
                (await keys.ListAsync(Actor.Session(acme.Owner), acme.Root)).Value,
                key => key.ExpiresAt == now + ApiKeys.LifetimeDefault
            );
        }

        [Fact]
        public async Task Roles_outside_the_organization_and_its_sub_organizations_are_refused_as_are_unknown_ones()
        {
            await using var server = await TestServer.StartAsync();
            var (acme, elsewhere) = (await server.AddAcmeAsync(), await server.AddAcmeAsync());
            var keys = server.Get<ApiKeys>();
            foreach (
                var (home, roles) in ((Guid, (Guid, string[])[])[])
                    [
                        (acme.Root, [(elsewhere.Root, ["viewer"])]),
                        (acme.Root, [(elsewhere.Sub, ["viewer"])]),
                        (acme.Sub, [(acme.Root, ["viewer"])]),
                        (acme.Root, [(acme.Root, ["invented"])]),
                        (acme.Root, [(acme.Sub, []), (acme.Sub, [])]),
                    ]
            )
                Assert.Equal(
                    RefusalCode.InvalidRequest,
                    (await keys.CreateAsync(Actor.Session(acme.Owner), home, Wanted(roles: roles))).Refusal!.Code
                );
            Assert.Equal(0, await server.ScalarAsync<long>("SELECT COUNT(*) FROM users WHERE kind = 'service'"));
        }

        [Fact]
        public async Task The_same_form_sent_again_makes_no_second_key()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var wanted = Wanted();
            await AddAsync(server, acme.Owner, acme.Root, wanted);
            Assert.Equal(
                Keys.DuplicateId,
                (await server.Get<ApiKeys>().CreateAsync(Actor.Session(acme.Owner), acme.Root, wanted with { Name = "Other" })).Refusal
            );
        }

        [Fact]
        public async Task Changed_roles_are_in_the_next_token_and_an_organization_no_longer_named_is_out_of_reach()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var secret = await AddAsync(server, acme.Owner, acme.Root, Wanted(roles: [(acme.Root, ["viewer"]), (acme.Sub, ["builder"])]));
            Assert.False(
                (
                    await server
                        .Get<ApiKeys>()
                        .ChangeAsync(
                            Actor.Session(acme.Owner),
                            acme.Root,
                            TestServer.IdOf(secret),
                            "Renamed",
                            [new(acme.Root, NameSet.Of("tester"))]
                        )
                ).IsRefused
            );
            Assert.Equal(["tester"], (await ExchangeAsync(server, secret, "Renamed")).Roles);
            Assert.Equal(HttpStatusCode.Forbidden, (await ExchangeAsync(server, secret, "Renamed", acme.Sub.ToString())).Status);
            Assert.Equal(HttpStatusCode.Unauthorized, (await ExchangeAsync(server, secret)).Status); // the earlier name
        }

        [Fact]
        public async Task The_pages_make_show_once_and_delete_an_api_key()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var visitor = await Visitor.SignInAsync(server, "person1@acme.example");
            var security = $"/organizations/{acme.Root}/security";
            Assert.Contains($"{security}/api-keys/new", (await visitor.GetAsync(security)).Body, StringComparison.Ordinal);

            var made = await visitor.SubmitToAsync(
                $"{security}/api-keys/new",
                $"{security}/api-keys/new#new-key",
                ("Name", "Deploy"),
                ("ExpiresInDays", "30"),
                ("roles.test", "builder")
            );
            Assert.Equal(HttpStatusCode.OK, made.Status);
            var secret = System
                .Text.RegularExpressions.Regex.Match(
                    made.Body,
                    "ph_oak1_[0-9A-Za-z]{16}_[0-9A-Za-z]{49}",
                    System.Text.RegularExpressions.RegexOptions.None,
                    TimeSpan.FromSeconds(1)
                )
                .Value;
            Assert.Equal(["builder"], (await ExchangeAsync(server, secret)).Roles);

            var page = $"{security}/api-keys/{TestServer.IdOf(secret)}";
            Assert.DoesNotContain(
                secret,
                (await visitor.GetAsync(security)).Body + (await visitor.GetAsync(page)).Body,
                StringComparison.Ordinal
            );
            Assert.Equal(HttpStatusCode.SeeOther, (await visitor.SubmitToAsync(page, $"{page}?handler=Delete")).Status);
            Assert.Equal(HttpStatusCode.Unauthorized, (await ExchangeAsync(server, secret)).Status);
        }

        [Fact]
        public async Task Owners_are_told_once_a_week_before_the_end()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            await server.AddMemberAsync(acme.Root, "organization-manager");
            await AddAsync(server, acme.Owner, acme.Sub, Wanted(expiresAt: server.Clock.GetUtcNow().AddDays(20)));
            var notices = server.Get<ApiKeyNotices>();
            await notices.RunAsync();
            Assert.Equal(0, await server.ScalarAsync<long>("SELECT COUNT(*) FROM mails"));
            await server.ExecuteAsync(
                $"UPDATE access_keys SET expires_at = {server.Clock.GetUtcNow().AddDays(7).ToUnixTimeMilliseconds()}"
            );
            for (var i = 0; i < 2; i++)
                await notices.RunAsync();
            Assert.Equal(1, await server.ScalarAsync<long>("SELECT COUNT(*) FROM mails")); // the root's owner is the sub-organization's too
        }
    }
}
