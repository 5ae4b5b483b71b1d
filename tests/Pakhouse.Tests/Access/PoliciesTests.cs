using System.Net;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Dapper;

namespace Pakhouse.Tests;

/// <summary>
/// Policies in a server: what they do to exchanges and to the making of keys, who changes them, and what a preview says before.
/// </summary>
public static class PoliciesTests
{
    internal static async Task SetAsync(
        TestServer server,
        Guid owner,
        Guid organization,
        Policy policy,
        DateTimeOffset? from = null,
        bool warn = false
    )
    {
        var version = (await server.Get<Policies>().ViewAsync(Actor.Session(owner), organization)).Value.Version;
        var changed = await server.Get<Policies>().ChangeAsync(Actor.Session(owner), organization, new(policy, from, warn, version));
        Assert.Null(changed.Refusal);
    }

    private static NetworkSet Networks(params string[] texts) =>
        NetworkSet.TryParse(texts, out var set) ? set : throw new ArgumentException("networks", nameof(texts));

    public class Exchanging
    {
        [Fact]
        public async Task Only_who_has_one_of_the_roles_at_that_moment_gets_a_token()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var member = await server.AddMemberAsync(acme.Root, "viewer");
            var key = await server.AddKeyAsync(member, acme.Root);
            await SetAsync(server, acme.Owner, acme.Root, new() { Holders = NameSet.Of("viewer") });
            Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(key)).Status);
            await server.Members.SetRolesAsync(Actor.Session(acme.Owner), acme.Root, member, NameSet.Empty);
            var refused = await server.ExchangeAsync(key);
            Assert.Equal((HttpStatusCode.Forbidden, "access_denied"), (refused.Status, refused.Error));
            await SetAsync(server, acme.Owner, acme.Root, new() { Holders = NameSet.Empty });
            Assert.Equal(HttpStatusCode.Forbidden, (await server.ExchangeAsync(key)).Status);
            await SetAsync(server, acme.Owner, acme.Root, Policy.None);
            Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(key)).Status); // a policy ends no key for good
        }

        [Fact]
        public async Task A_key_stops_at_the_longest_lifetime_and_no_token_outlives_it()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            await SetAsync(server, acme.Owner, acme.Root, new() { LifetimeMaxDays = 90 });
            server.Clock.Advance(TimeSpan.FromDays(90) - TimeSpan.FromMinutes(10));
            var last = await server.ExchangeAsync(key);
            Assert.InRange(last.Json.GetProperty("expires_in").GetInt32(), 1, 600);
            Assert.NotNull(last.Header("Personal-Access-Key-Expires"));
            server.Clock.Advance(TimeSpan.FromMinutes(10));
            Assert.Equal(HttpStatusCode.Unauthorized, (await server.ExchangeAsync(key)).Status);
        }

        [Theory, InlineData(true), InlineData(false)]
        public async Task Root_keys_get_no_token_of_a_sub_organization_where_either_forbids_it(bool isSaidByRoot)
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            await SetAsync(server, acme.Owner, isSaidByRoot ? acme.Root : acme.Sub, new() { RootKeys = false });
            Assert.Equal(HttpStatusCode.Forbidden, (await server.ExchangeAsync(key, acme.Sub)).Status);
            Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(key)).Status);
        }

        [Fact]
        public async Task A_key_of_the_root_obeys_the_policy_of_the_sub_organization_that_its_token_is_for()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            await SetAsync(server, acme.Owner, acme.Sub, new() { Networks = Networks("10.0.0.0/8"), TokenLifetimeSeconds = 60 });
            Assert.Equal(HttpStatusCode.Forbidden, (await server.ExchangeAsync(key, acme.Sub)).Status);
            Assert.Equal(3600, (await server.ExchangeAsync(key)).Json.GetProperty("expires_in").GetInt32());
        }

        [Fact]
        public async Task Scopes_are_narrowed_and_where_none_is_left_there_is_no_token()
        {
            await using var server = await TestServer.StartAsync("--Pakhouse:Scopes=orders");
            var acme = await server.AddAcmeAsync();
            var (all, one) = (
                await server.AddKeyAsync(acme.Owner, acme.Root),
                await server.AddKeyAsync(acme.Owner, acme.Root, null, "orders")
            );
            await SetAsync(server, acme.Owner, acme.Root, new() { Scopes = NameSet.Of("openid") });
            Assert.Equal("openid", (await server.ExchangeAsync(all)).Json.GetProperty("scope").GetString());
            Assert.Equal("invalid_scope", (await server.ExchangeAsync(all, scope: "orders")).Error);
            Assert.Equal("invalid_scope", (await server.ExchangeAsync(one)).Error); // none left is not "no limit"
        }

        [Fact]
        public async Task Only_requests_from_an_allowed_network_get_a_token_and_only_there_it_opens_the_api()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            var token = (await server.ExchangeAsync(key)).Token;
            await SetAsync(server, acme.Owner, acme.Root, new() { Networks = Networks("127.0.0.0/8") });
            Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(key)).Status);
            Assert.Equal(HttpStatusCode.OK, await GetPolicyAsync(server, acme.Root, token));
            await SetAsync(server, acme.Owner, acme.Root, new() { Networks = Networks("10.0.0.0/8", "::1") });
            Assert.Equal(HttpStatusCode.Forbidden, (await server.ExchangeAsync(key)).Status);
            Assert.Equal(HttpStatusCode.Unauthorized, await GetPolicyAsync(server, acme.Root, token));
        }

        [Fact]
        public async Task Nobody_says_by_a_header_where_a_request_comes_from_but_a_trusted_proxy()
        {
            await using var open = await TestServer.StartAsync();
            Assert.Equal(HttpStatusCode.Forbidden, await ExchangeAsync(open, "10.1.2.3"));
            await using var behind = await TestServer.StartAsync("--Pakhouse:TrustedProxies=127.0.0.1");
            Assert.Equal(HttpStatusCode.OK, await ExchangeAsync(behind, "10.1.2.3"));
            Assert.Equal(HttpStatusCode.OK, await ExchangeAsync(behind, "::ffff:10.1.2.3"));
            // the caller wrote the first, the proxy the second
            Assert.Equal(HttpStatusCode.Forbidden, await ExchangeAsync(behind, "10.1.2.3, 192.0.2.1"));
            Assert.Equal(HttpStatusCode.Forbidden, await ExchangeAsync(behind, "10.1.2.3, nonsense"));
            Assert.Equal(HttpStatusCode.Forbidden, await ExchangeAsync(behind, null));

            static async Task<HttpStatusCode> ExchangeAsync(TestServer server, string? forwardedFor)
            {
                var acme = await server.AddAcmeAsync();
                await SetAsync(server, acme.Owner, acme.Root, new() { Networks = Networks("10.0.0.0/8") });
                using var request = new HttpRequestMessage(HttpMethod.Post, "/auth/v3/token")
                {
                    Content = new FormUrlEncodedContent([new("personalAccessKey", await server.AddKeyAsync(acme.Owner, acme.Root))]),
                };
                if (forwardedFor is not null)
                    request.Headers.Add("X-Forwarded-For", forwardedFor);
                return (await server.Http.SendAsync(request)).StatusCode;
            }
        }

        [Fact]
        public async Task An_announced_change_holds_from_its_date_and_ends_the_tokens_of_those_alone_whom_it_refuses()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var manager = await server.AddMemberAsync(acme.Root, "organization-manager");
            var (owners, managers) = (await server.AddKeyAsync(acme.Owner, acme.Root), await server.AddKeyAsync(manager, acme.Root));
            var date = server.Clock.GetUtcNow().AddDays(3);
            await SetAsync(server, acme.Owner, acme.Root, new() { Holders = NameSet.Of("owner") }, date);

            server.Clock.Advance(TimeSpan.FromDays(3) - TimeSpan.FromMinutes(1));
            Assert.Equal(60, (await server.ExchangeAsync(managers)).Json.GetProperty("expires_in").GetInt32());
            Assert.Equal(3600, (await server.ExchangeAsync(owners)).Json.GetProperty("expires_in").GetInt32());
            server.Clock.Advance(TimeSpan.FromMinutes(1));
            Assert.Equal(HttpStatusCode.Forbidden, (await server.ExchangeAsync(managers)).Status);
            Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(owners)).Status);
        }
    }

    public class Generating
    {
        [Fact]
        public async Task What_the_policy_forbids_or_will_forbid_is_not_made()
        {
            await using var server = await TestServer.StartAsync("--Pakhouse:Scopes=orders");
            var acme = await server.AddAcmeAsync();
            var now = server.Clock.GetUtcNow();
            await SetAsync(
                server,
                acme.Owner,
                acme.Root,
                new()
                {
                    LifetimeMaxDays = 30,
                    Scopes = NameSet.Of("openid"),
                    KeysPerMember = 1,
                }
            );
            Assert.StartsWith("expiry:", (await AddAsync(null))!.Description);
            Assert.StartsWith("expiry:", (await AddAsync(now.AddDays(31)))!.Description);
            Assert.StartsWith("scopes:", (await AddAsync(now.AddDays(30), "orders"))!.Description);
            Assert.Null(await AddAsync(now.AddDays(30), "openid"));
            Assert.Equal(RefusalCode.Conflict, (await AddAsync(now.AddDays(30)))!.Code);

            await SetAsync(server, acme.Owner, acme.Root, new() { Holders = NameSet.Of("viewer") }, now.AddDays(7));
            Assert.Equal(RefusalCode.AccessDenied, (await AddAsync(now.AddDays(1)))!.Code);

            async Task<Refusal?> AddAsync(DateTimeOffset? expiresAt, params string[] scopes) =>
                (
                    await server.Keys.GenerateAsync(
                        Actor.Session(acme.Owner),
                        acme.Root,
                        new NewKey(KeyFormat.NewId(), "Key", expiresAt, scopes.Length == 0 ? NameSet.All : NameSet.Of(scopes))
                    )
                ).Refusal;
        }

        [Fact]
        public async Task An_owner_of_a_sub_organization_cannot_loosen_what_its_root_asks()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var owner = await server.AddMemberAsync(acme.Sub, "owner");
            await SetAsync(server, acme.Owner, acme.Root, new() { LifetimeMaxDays = 30, SelfRotation = false });
            await SetAsync(server, owner, acme.Sub, new() { LifetimeMaxDays = 365, SelfRotation = true });
            Assert.Equal(
                RefusalCode.NotFound,
                (await server.Get<Policies>().ChangeAsync(Actor.Session(owner), acme.Root, new(Policy.None, null, false, ""))).Refusal!.Code
            );
            var held = (await server.Get<Policies>().ViewAsync(Actor.Session(owner), acme.Sub)).Value;
            Assert.Equal((30, false), (held.InForce.LifetimeMaxDays, held.InForce.SelfRotation));
            Assert.Equal([acme.Root], held.OriginsOf("lifetimeMaxDays"));
            var wanted = new NewKey(KeyFormat.NewId(), "Key", server.Clock.GetUtcNow().AddDays(31), NameSet.All);
            Assert.StartsWith("expiry:", (await server.Keys.GenerateAsync(Actor.Session(owner), acme.Sub, wanted)).Refusal!.Description);
        }
    }

    public class ApiKeysToo
    {
        [Fact]
        public async Task They_keep_to_the_policy_but_are_not_asked_who_may_hold_keys_and_end_whole_from_the_inventory()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            await SetAsync(server, acme.Owner, acme.Root, new() { Holders = NameSet.Empty, LifetimeMaxDays = 30 });
            var now = server.Clock.GetUtcNow();
            NewApiKey Wanted(DateTimeOffset? expiresAt) =>
                new(KeyFormat.NewId(), "Builds", expiresAt, NameSet.All, [new(acme.Root, NameSet.Of("viewer"))]);
            Assert.StartsWith(
                "expiry:",
                (await server.Get<ApiKeys>().CreateAsync(Actor.Session(acme.Owner), acme.Root, Wanted(now.AddDays(31))))
                    .Refusal!
                    .Description
            );
            using var key = (await server.Get<ApiKeys>().CreateAsync(Actor.Session(acme.Owner), acme.Root, Wanted(null))).Value;
            Assert.Equal(
                now.AddDays(30),
                Assert.Single((await server.Get<ApiKeys>().ListAsync(Actor.Session(acme.Owner), acme.Root)).Value).ExpiresAt
            );
            var row = Assert.Single(
                (await server.Get<Inventory>().ListAsync(Actor.Session(acme.Owner), acme.Root, new(KeyFilter.ApiKeys), 10)).Value
            );
            Assert.Null(row.BeyondPolicy);
            await server.Get<Inventory>().ActAsync(Actor.Session(acme.Owner), acme.Root, KeyAction.Delete, [key.Id]);
            Assert.Equal(0, await server.ScalarAsync<long>("SELECT COUNT(*) FROM users WHERE kind = 'service' AND deleted_at IS NULL"));
            Assert.Equal(0, await server.ScalarAsync<long>("SELECT COUNT(*) FROM mails")); // a service reads none
        }
    }

    public class Changing
    {
        [Fact]
        public async Task Owners_alone_change_it_and_nobody_with_a_key()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var manager = await server.AddMemberAsync(acme.Root, "organization-manager");
            var change = new PolicyChange(
                new() { RootKeys = false },
                null,
                false,
                (await server.Get<Policies>().ViewAsync(Actor.Session(manager), acme.Root)).Value.Version
            );
            Assert.Equal(
                RefusalCode.AccessDenied,
                (await server.Get<Policies>().ChangeAsync(Actor.Session(manager), acme.Root, change)).Refusal!.Code
            );
            Assert.Equal(
                RefusalCode.AccessDenied,
                (await server.Get<Policies>().PreviewAsync(Actor.Session(manager), acme.Root, change, 10)).Refusal!.Code
            );

            var token = (await server.ExchangeAsync(await server.AddKeyAsync(acme.Owner, acme.Root))).Token;
            Assert.Equal(
                HttpStatusCode.Forbidden,
                (
                    await SendAsync(server, HttpMethod.Put, $"/identity/v1/organizations/{acme.Root}/policy", token, """{"policy":{}}""")
                ).Status
            );
            Assert.Equal(HttpStatusCode.OK, await GetPolicyAsync(server, acme.Root, token));
            Assert.False((await server.Get<Policies>().ChangeAsync(Actor.Session(acme.Owner), acme.Root, change)).IsRefused);
        }

        [Fact]
        public async Task Two_who_change_it_at_once_do_not_undo_each_other()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var version = (await server.Get<Policies>().ViewAsync(Actor.Session(acme.Owner), acme.Root)).Value.Version;
            await SetAsync(server, acme.Owner, acme.Root, new() { LifetimeMaxDays = 30 });
            Assert.Equal(
                RefusalCode.Conflict,
                (await server.Get<Policies>().ChangeAsync(Actor.Session(acme.Owner), acme.Root, new(Policy.None, null, false, version)))
                    .Refusal!
                    .Code
            );
        }

        [Fact]
        public async Task What_changed_stands_in_the_activity_log_and_holders_are_told_once_each()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var member = await server.AddMemberAsync(acme.Sub, "viewer");
            for (var i = 0; i < 3; i++)
                await server.AddKeyAsync(member, acme.Sub);
            await SetAsync(server, acme.Owner, acme.Root, new() { LifetimeMaxDays = 30 }, server.Clock.GetUtcNow().AddDays(7), warn: true);

            var detail = await server.ScalarAsync<string>($"SELECT detail FROM activity WHERE action = '{AuditAction.PolicyUpdate}'");
            Assert.Equal("lifetimeMaxDays: - → 30 days; enforced from 2026-11-09T09:00:30Z", detail);
            Assert.Equal(1, await server.ScalarAsync<long>("SELECT COUNT(*) FROM mails"));
            var content = server
                .Get<Mails>()
                .Open(
                    await server.Get<Database>().ReadAsync(connection => connection.QuerySingleAsync<byte[]>("SELECT content FROM mails"))
                );
            Assert.Contains("3 keys", content.Subject, StringComparison.Ordinal);
            Assert.Contains("ends earlier, on 2 Dec 2026", content.Text, StringComparison.Ordinal);
        }

        [Theory]
        [InlineData("""{"policy":{"network":["10.0.0.0/8"]}}""", "policy")] // a typing error would have left every network open
        [InlineData("""{"policy":{"networks":["SECRET"]}}""", "networks")]
        [InlineData("""{"policy":{"networks":"10.0.0.0/8"}}""", "networks")]
        [InlineData("""{"policy":{"holders":["SECRET SECRET"]}}""", "holders")]
        [InlineData("""{"policy":{"holders":["unknown-role"]}}""", "holders")]
        [InlineData("""{"policy":{"lifetimeMaxDays":0}}""", "lifetimeMaxDays")]
        [InlineData("""{"policy":{"lifetimeMaxDays":"90"}}""", "lifetimeMaxDays")]
        [InlineData("""{"policy":{"lifetimeMaxDays":1e999}}""", "lifetimeMaxDays")]
        [InlineData("""{"policy":{"lifetimeMaxDays":30,"lifetimeDefaultDays":31}}""", "lifetimeDefaultDays")]
        [InlineData("""{"policy":{"scopes":["SECRET"]}}""", "scopes")]
        [InlineData("""{"policy":{"scopes":[]}}""", "scopes")]
        [InlineData("""{"policy":{"tokenLifetimeSeconds":59}}""", "tokenLifetimeSeconds")]
        [InlineData("""{"policy":{"keysPerMember":0}}""", "keysPerMember")]
        [InlineData("""{"policy":{"rootKeys":true,"rootKeys":false}}""", "rootKeys")]
        [InlineData("""{"policy":{},"enforcedFrom":"2020-01-01T00:00:00Z"}""", "enforcedFrom")]
        [InlineData("""{"policy":{},"enforcedFrom":"2999-01-01T00:00:00Z"}""", "enforcedFrom")]
        [InlineData("""{"policy":null}""", "policy")]
        [InlineData("null", "policy")]
        [InlineData("[]", "policy")]
        [InlineData("{", "policy")]
        public void What_is_out_of_bounds_is_refused_by_the_name_of_the_member(string body, string member)
        {
            var read = PolicyEndpoints.Read(Encoding.UTF8.GetBytes(body));
            var refusal =
                read.Refusal
                ?? Server.Policies.Check(
                    read.Value,
                    PakhouseOptions.Read(new Microsoft.Extensions.Configuration.ConfigurationBuilder().Build()),
                    new DateTimeOffset(2026, 11, 2, 9, 0, 0, TimeSpan.Zero)
                );
            Assert.StartsWith($"{member}:", refusal!.Description);
            Assert.DoesNotContain("SECRET", refusal.Description, StringComparison.Ordinal);
        }

        [Fact]
        public void Lists_are_bounded()
        {
            var networks = string.Join(',', Enumerable.Range(0, 65).Select(i => $"\"10.{i}.0.0/16\""));
            Assert.StartsWith(
                "networks:",
                PolicyEndpoints.Read(Encoding.UTF8.GetBytes("{\"policy\":{\"networks\":[" + networks + "]}}")).Refusal!.Description
            );
        }
    }

    public class Previewing
    {
        [Fact]
        public async Task Of_10000_keys_and_a_cap_of_90_days_the_preview_names_exactly_those_that_stop()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            server.Clock.Advance(TimeSpan.FromDays(400));
            var now = server.Clock.GetUtcNow();
            var keys = await AddKeysAsync(server, acme, 10_000, i => now.AddDays(-400 * ((i * 7919 % 10_000) / 10_000.0)));
            var from = now.AddDays(14);
            var change = new PolicyChange(
                new() { LifetimeMaxDays = 90 },
                from,
                false,
                (await server.Get<Policies>().ViewAsync(Actor.Session(acme.Owner), acme.Root)).Value.Version
            );

            var preview = (await server.Get<Policies>().PreviewAsync(Actor.Session(acme.Owner), acme.Root, change, int.MaxValue)).Value;
            Assert.Equal(10_000, preview.Checked);
            var named = preview.Keys.Where(key => key.Effect == PolicyEffect.Stops).Select(key => key.Key.Id).ToHashSet();
            Assert.Equal(named.Count, preview.Counts.Single(count => count.Effect == PolicyEffect.Stops).Keys);

            Assert.False((await server.Get<Policies>().ChangeAsync(Actor.Session(acme.Owner), acme.Root, change)).IsRefused);
            Assert.Empty(await RefusedAsync()); // announced, and not in force
            server.Clock.Advance(from - now);
            var stopped = await RefusedAsync();
            Assert.Equal(named.Order(), stopped.Order());
            // The control: what was made a day later is told apart, so the two sets are not equal by being everything or nothing.
            Assert.InRange(stopped.Count, 1_000, 9_000);
            server.Clock.Advance(TimeSpan.FromDays(1));
            Assert.NotEqual(named.Count, (await RefusedAsync()).Count);

            // And those that end earlier do so when the preview said.
            foreach (var key in preview.Keys.Where(key => key.Effect == PolicyEffect.EndsEarlier))
                Assert.Equal(key.Key.Facts.CreatedAt.AddDays(90), key.EndsAt);

            async Task<HashSet<string>> RefusedAsync()
            {
                var refused = new HashSet<string>();
                foreach (var (id, text) in keys)
                    if (
                        (
                            await server
                                .Get<KeyExchange>()
                                .ExchangeAsync(new ExchangeRequest(text, null, ScopeRequest.Everything) { Address = IPAddress.Loopback })
                        ).IsRefused
                    )
                        refused.Add(id);
                return refused;
            }
        }

        [Fact]
        public async Task Keys_that_are_dead_already_are_not_counted_and_use_is()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var member = await server.AddMemberAsync(acme.Root, "viewer");
            var used = await server.AddKeyAsync(member, acme.Root);
            await server.AddKeyAsync(member, acme.Root, TimeSpan.FromDays(1));
            await server.Keys.DeleteAsync(Actor.Session(member), acme.Root, TestServer.IdOf(await server.AddKeyAsync(member, acme.Root)));
            await server.AddKeyAsync(acme.Owner, acme.Root);
            server.Clock.Advance(TimeSpan.FromDays(2));
            await server.ExchangeAsync(used);
            await server.Get<KeyUsage>().FlushAsync();

            var change = new PolicyChange(new() { Holders = NameSet.Of("owner") }, null, false, "");
            var preview = (await server.Get<Policies>().PreviewAsync(Actor.Session(acme.Owner), acme.Root, change, 10)).Value;
            Assert.Equal(new PolicyCount(PolicyRule.Holders, PolicyEffect.Stops, 1, 1, 1), Assert.Single(preview.Counts));
            Assert.Equal(TestServer.IdOf(used), Assert.Single(preview.Keys).Key.Id);
        }

        [Fact]
        public async Task Networks_are_judged_by_the_address_of_the_last_use_and_root_keys_by_its_organization()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var used = await server.AddKeyAsync(acme.Owner, acme.Root);
            await server.AddKeyAsync(acme.Owner, acme.Root); // never used: nobody knows from where it will be
            await server.ExchangeAsync(used, acme.Sub);
            await server.Get<KeyUsage>().FlushAsync();
            foreach (
                var (organization, policy, rule) in new (Guid, Policy, PolicyRule)[]
                {
                    (acme.Root, new() { Networks = Networks("10.0.0.0/8") }, PolicyRule.Networks),
                    (acme.Sub, new() { Networks = Networks("10.0.0.0/8") }, PolicyRule.Networks),
                    (acme.Root, new() { RootKeys = false }, PolicyRule.RootKeys),
                    (acme.Sub, new() { RootKeys = false }, PolicyRule.RootKeys),
                }
            )
            {
                var preview = (
                    await server.Get<Policies>().PreviewAsync(Actor.Session(acme.Owner), organization, new(policy, null, false, ""), 10)
                ).Value;
                Assert.Equal((TestServer.IdOf(used), rule), (Assert.Single(preview.Keys).Key.Id, preview.Keys[0].Rule));
            }
        }
    }

    private static async Task<HttpStatusCode> GetPolicyAsync(TestServer server, Guid organization, string token) =>
        (await SendAsync(server, HttpMethod.Get, $"/identity/v1/organizations/{organization}/policy", token)).Status;

    internal static async Task<Answer> SendAsync(TestServer server, HttpMethod method, string path, string token, string? body = null)
    {
        using var request = new HttpRequestMessage(method, path)
        {
            Content = body is null ? null : new StringContent(body, Encoding.UTF8, "application/json"),
        };
        request.Headers.Authorization = new("Bearer", token);
        return await Answer.OfAsync(await server.Http.SendAsync(request));
    }

    /// <summary>Keys of 200 members of the root, made at the times given; straight into the tables, with their text.</summary>
    internal static async Task<List<(string Id, byte[] Text)>> AddKeysAsync(
        TestServer server,
        Acme acme,
        int count,
        Func<int, DateTimeOffset> createdAt
    )
    {
        var keys = new List<(string, byte[])>(count);
        await server
            .Get<Database>()
            .WriteAsync(async transaction =>
            {
                var memberships = new List<string>();
                for (var i = 0; i < 200; i++)
                {
                    var (user, membership) = (Ids.New(server.Clock).ToString(), Ids.New(server.Clock).ToString());
                    await transaction.Connection!.ExecuteAsync(
                        """
                        INSERT INTO users (id, email, email_normalized, name, security_stamp, created_at)
                            VALUES (@user, @email, @email, @name, '', 0);
                        INSERT INTO memberships (id, organization_id, user_id, roles, created_at)
                            VALUES (@membership, @Root, @user, 'viewer', 0);
                        """,
                        new
                        {
                            user,
                            membership,
                            email = $"seeded{i}@acme.example",
                            name = $"Seeded {i}",
                            acme.Root,
                        },
                        transaction
                    );
                    memberships.Add(membership);
                }

                foreach (var chunk in Enumerable.Range(0, count).Chunk(500))
                {
                    var parameters = new DynamicParameters();
                    var rows = new List<string>();
                    foreach (var i in chunk)
                    {
                        using var key = PersonalAccessKey.Generate("ph", KeyFormat.NewId());
                        var text = Encoding.ASCII.GetBytes(key.Reveal());
                        keys.Add((key.Id, text));
                        rows.Add(
                            $"('{key.Id}', '{memberships[i % memberships.Count]}', 'Key {i}', @h{i}, '*', "
                                + $"{createdAt(i).ToUnixTimeMilliseconds()}, {1_000_000 + i})"
                        );
                        parameters.Add($"h{i}", SHA256.HashData(text));
                    }

                    await transaction.Connection!.ExecuteAsync(
                        $"INSERT INTO access_keys (id, membership_id, name, hash, scopes, created_at, status_index) VALUES "
                            + $"{string.Join(',', rows)}",
                        parameters,
                        transaction
                    );
                }

                return 0;
            });
        return keys;
    }
}
