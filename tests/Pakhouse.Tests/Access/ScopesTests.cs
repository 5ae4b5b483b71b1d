using System.Buffers;
using System.Text;

namespace Pakhouse.Tests;

/// <summary>
/// R11: what scopes do to a token and to this server's own API. The caller is always an owner, so that a scope alone is what refuses: no
/// role, whoever holds it, makes up for a scope (CVE-2026-72833).
/// </summary>
public static class ScopesTests
{
    public class Granted
    {
        [Theory]
        [InlineData("", null, "openid profile email organization:read organization:write orders:read")]
        // the public sample
        [InlineData("", "openid,profile,email", "openid profile email organization:read organization:write orders:read")]
        [InlineData("", "openid", "openid organization:read organization:write orders:read")]
        [InlineData("", "orders:read", "orders:read")]
        [InlineData("", "openid organization:read", "openid organization:read")]
        [InlineData("orders:read", null, "orders:read")]
        [InlineData("openid", null, "openid")]
        [InlineData("openid", "openid", "openid")]
        [InlineData("openid email orders:read", "openid", "openid orders:read")]
        [InlineData("openid email orders:read", "orders:read", "orders:read")]
        public async Task An_identity_scope_narrows_claims_and_an_api_scope_narrows_apis(string ofKey, string? asked, string granted)
        {
            await using var server = await StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root, null, [.. NameSet.Parse(ofKey)]);
            var answer = await server.ExchangeAsync(key, scope: asked);
            Assert.Equal(granted, answer.Json.GetProperty("scope").GetString());
            Assert.Equal(granted, answer.Claims.GetProperty("scope").GetString());
            Assert.Equal(NameSet.Parse(granted).Contains("email"), answer.Claims.TryGetProperty("email", out _));
        }

        [Fact]
        public void No_request_for_scopes_asks_for_none()
        {
            // CVE-2026-28699: what was not set is not everything
            Assert.Equal(NameSet.Empty, default(ScopeRequest).Grant(TestServer.EveryScope));
            Assert.Equal(NameSet.Empty, ScopeRequest.Exactly(NameSet.Empty).Grant(TestServer.EveryScope));
            // the field was absent or empty
            Assert.Equal(TestServer.EveryScope, ScopeRequest.Of(NameSet.Empty).Grant(TestServer.EveryScope));
        }

        [Fact]
        public async Task A_token_that_comes_back_is_never_wider_than_it_was_made()
        {
            await using var server = await StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root, null, "openid");
            var token = (await server.ExchangeAsync(key)).Token;
            await server.ExecuteAsync($"UPDATE access_keys SET scopes = '*' WHERE id = '{TestServer.IdOf(key)}'");
            var answer = await ApiClient.WithToken(server, token).GetAsync("/identity/v1/organizations");
            Assert.Equal("insufficient_scope", answer.Error);
            Assert.Contains(
                "organization:read",
                (await server.ExchangeAsync(key, scope: "openid")).Json.GetProperty("scope").GetString(),
                StringComparison.Ordinal
            );
        }
    }

    /// <summary>
    /// Each scope × each route, for keys and API keys, limited by the key and by the request (CVE-2025-68941, CVE-2026-24791,
    /// GHSA-hm2h-wwwh-g49x).
    /// </summary>
    public class Routes
    {
        [Fact]
        public async Task Every_route_takes_the_scope_of_its_row_and_no_other()
        {
            await using var server = await StartAsync("--Pakhouse:FailuresPerMinuteMax=100000");
            var acme = await server.AddAcmeAsync();
            var faults = new List<string>();
            foreach (
                var scopes in (string[])
                    [
                        "openid",
                        "profile",
                        "email",
                        "orders:read",
                        "organization:read",
                        "organization:write",
                        "openid email orders:read",
                        "openid organization:read",
                    ]
            )
            {
                var limited = await server.AddKeyAsync(acme.Owner, acme.Root, null, [.. NameSet.Parse(scopes)]);
                await CheckAsync(
                    server,
                    acme,
                    MatrixRows.All,
                    "limited key",
                    Credential.Key,
                    scopes,
                    (await server.ExchangeAsync(limited)).Token,
                    faults
                );
                var token = await ApiKeyTokenAsync(server, acme, scopes);
                await CheckAsync(server, acme, MatrixRows.All, "limited API key", Credential.ApiKey, scopes, token, faults);
                if (NameSet.Parse(scopes).All(ScopeCatalogue.IsIdentity))
                    continue;
                var free = await server.AddKeyAsync(acme.Owner, acme.Root);
                await CheckAsync(
                    server,
                    acme,
                    MatrixRows.All,
                    "limited request",
                    Credential.Key,
                    scopes,
                    (await server.ExchangeAsync(free, scope: scopes)).Token,
                    faults
                );
            }

            Assert.True(faults.Count == 0, string.Join(Environment.NewLine, faults.Take(40)));
        }

        /// <summary>The control: a route that asks for another scope than its row, or for none, is found.</summary>
        [Fact]
        public async Task A_route_that_does_not_ask_for_the_scope_of_its_row_is_found()
        {
            await using var server = await StartAsync();
            var acme = await server.AddAcmeAsync();
            var token = (await server.ExchangeAsync(await server.AddKeyAsync(acme.Owner, acme.Root), scope: "organization:read")).Token;
            var row = MatrixRows.All.First(row => row.Path.EndsWith("/users", StringComparison.Ordinal) && row.Method == "GET");
            foreach (
                var (wrong, found) in new[]
                {
                    (row, false),
                    (row with { Permissions = [Permission.AddMember] }, true),
                    (row with { Permissions = [Permission.GenerateOwnKey] }, true),
                }
            )
            {
                var faults = new List<string>();
                await CheckAsync(server, acme, [wrong], "key", Credential.Key, "organization:read", token, faults);
                Assert.Equal(found, faults.Count > 0);
            }
        }

        [Fact]
        public async Task Every_route_notices_that_the_keys_scopes_were_changed_where_they_are_stored() // CVE-2026-62667
        {
            await using var server = await StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            var client = ApiClient.WithToken(server, (await server.ExchangeAsync(key)).Token);
            Assert.Equal(200, (int)(await client.GetAsync("/identity/v1/organizations")).Status);
            await server.ExecuteAsync($"UPDATE access_keys SET scopes = 'orders:read' WHERE id = '{TestServer.IdOf(key)}'");
            foreach (var row in Api(MatrixRows.All))
                Assert.Equal(401, (int)(await SendAsync(client, row, acme)).Status);
        }

        [Fact]
        public async Task A_token_without_scopes_opens_no_route()
        {
            await using var server = await StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = Encoding.ASCII.GetBytes(await server.AddKeyAsync(acme.Owner, acme.Root));
            var grant = (await server.Get<KeyExchange>().ExchangeAsync(new ExchangeRequest(key, null, ScopeRequest.Everything))).Value;
            var token = new ArrayBufferWriter<byte>();
            server.Get<AccessToken>().Write(grant with { Scopes = NameSet.Empty }, server.Clock.GetUtcNow(), token);
            var client = ApiClient.WithToken(server, Encoding.ASCII.GetString(token.WrittenSpan));
            foreach (var row in Api(MatrixRows.All))
                Assert.Equal(401, (int)(await SendAsync(client, row, acme)).Status);
        }

        [Fact]
        public async Task A_narrow_token_learns_nothing_of_what_is_there()
        {
            await using var server = await StartAsync();
            var acme = await server.AddAcmeAsync();
            var client = ApiClient.WithToken(
                server,
                (await server.ExchangeAsync(await server.AddKeyAsync(acme.Owner, acme.Root, null, "orders:read"))).Token
            );
            foreach (var row in Api(MatrixRows.All).Where(row => row.Path.Contains("{organizationId}", StringComparison.Ordinal)))
            {
                var there = await SendAsync(client, row, acme);
                var nowhere = await SendAsync(client, row, acme with { Root = Ids.New(server.Clock) });
                Assert.Equal((there.Status, there.Body), (nowhere.Status, nowhere.Body));
            }
        }

        [Fact]
        public async Task Sessions_are_not_narrowed()
        {
            await using var server = await StartAsync();
            var acme = await server.AddAcmeAsync();
            var client = await ApiClient.SignInAsync(server, acme.Owner);
            foreach (var row in Api(MatrixRows.All).Where(row => row.Method == "GET" && !row.IsForTokens))
                Assert.NotEqual(403, (int)(await SendAsync(client, row, acme)).Status);
        }
    }

    /// <summary>
    /// The addresses of people, and who the bearer is, only with the scopes for them (CVE-2025-55190, GHSA-mg4f-x9v4-6h2p).
    /// </summary>
    public class Addresses
    {
        [Fact]
        public async Task No_route_shows_an_address_to_a_token_without_email()
        {
            await using var server = await StartAsync();
            var acme = await server.AddAcmeAsync();
            var member = await server.AddMemberAsync(acme.Root, "builder");
            await server.AddKeyAsync(member, acme.Root);
            var invited = await server
                .Get<Invitations>()
                .InviteAsync(
                    Actor.Session(acme.Owner),
                    acme.Root,
                    "invited@acme.example",
                    [new OrganizationRoles(acme.Root, NameSet.Of("builder"))]
                );
            Assert.False(invited.IsRefused);

            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            var with = ApiClient.WithToken(
                server,
                (await server.ExchangeAsync(key, scope: "openid profile email organization:read organization:write")).Token
            );
            var without = ApiClient.WithToken(
                server,
                (await server.ExchangeAsync(key, scope: "openid profile organization:read organization:write")).Token
            );
            var shown = 0;
            foreach (var row in Api(MatrixRows.All).Where(row => row.Method == "GET"))
            {
                if ((await SendAsync(with, row, acme)).Body.Contains("@acme.example", StringComparison.Ordinal))
                    shown++;
                Assert.DoesNotContain("@acme.example", (await SendAsync(without, row, acme)).Body, StringComparison.Ordinal);
            }

            Assert.True(shown >= 6, $"{shown}"); // the control: userinfo, users, invitations, keys of all, the inventory as JSON and CSV
            var again = await without.SendAsync(
                "PATCH",
                $"/identity/v1/organizations/{acme.Root}/invitations?action=re-invite",
                """{"userEmail":"invited@acme.example"}"""
            );
            Assert.Equal(200, (int)again.Status);
            Assert.DoesNotContain("@acme.example", again.Body, StringComparison.Ordinal);
        }

        [Fact]
        public async Task Nor_can_it_be_found_out_by_searching()
        {
            await using var server = await StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            var email = await server.ScalarAsync<string>($"SELECT email FROM users WHERE id = '{acme.Owner}'");
            foreach (var (scope, found) in new[] { ("organization:read email", true), ("organization:read", false) })
            {
                var client = ApiClient.WithToken(server, (await server.ExchangeAsync(key, scope: scope)).Token);
                var inventory = await client.GetAsync($"/identity/v1/organizations/{acme.Root}/keys?search={email}");
                Assert.Equal(found ? 1 : 0, inventory.Json.GetProperty("data").GetArrayLength());
                var activity = await client.GetAsync($"/identity/v1/organizations/{acme.Root}/activity?person={email}");
                Assert.Equal(found ? 200 : 403, (int)activity.Status);
                Assert.Equal(found ? null : "Bearer error=\"insufficient_scope\", scope=\"email\"", activity.Header("WWW-Authenticate"));
                Assert.Equal(
                    200,
                    (int)(await client.GetAsync($"/identity/v1/organizations/{acme.Root}/activity?person={acme.Owner}")).Status
                );
            }
        }

        [Fact]
        public async Task Introspection_and_userinfo_say_what_the_tokens_scopes_allow()
        {
            var (secret, hash) = ResourceServers.NewSecret();
            await using var server = await StartAsync($"--Pakhouse:ResourceServers:orders:SecretHash={hash}");
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root, null, "openid", "orders:read");
            var token = (await server.ExchangeAsync(key)).Token;
            foreach (var credential in (string[])[key, token])
            {
                var seen = await server.PostAsync(
                    "/oauth/introspect",
                    ("token", credential),
                    ("client_id", "orders"),
                    ("client_secret", secret)
                );
                Assert.Equal("openid orders:read", seen.Json.GetProperty("scope").GetString());
                Assert.False(seen.Json.TryGetProperty("username", out _));
            }

            var info = await ApiClient.WithToken(server, token).GetAsync("/userinfo");
            Assert.Equal(["sub", "currentOrganizationId"], info.Json.EnumerateObject().Select(member => member.Name));
            var narrow = ApiClient.WithToken(server, (await server.ExchangeAsync(key, scope: "orders:read")).Token);
            Assert.Equal(
                "Bearer error=\"insufficient_scope\", scope=\"openid\"",
                (await narrow.GetAsync("/userinfo")).Header("WWW-Authenticate")
            );
        }
    }

    /// <summary>
    /// What a key does to itself asks for no scope: its successor is as narrow as it is, and whoever holds it may end it.
    /// </summary>
    public class Itself
    {
        [Fact]
        public async Task A_narrow_key_rotates_itself_and_its_successor_is_as_narrow()
        {
            await using var server = await StartAsync();
            var acme = await server.AddAcmeAsync();
            await server.ExecuteAsync(
                $"UPDATE organizations SET policy = '{new PolicyPlan(new Policy { SelfRotation = true })}' WHERE id = '{acme.Root}'"
            );
            var key = await server.AddKeyAsync(acme.Owner, acme.Root, TimeSpan.FromDays(1), "orders:read");
            var rotated = await server.PostAsync("/identity/v1/personal-access-keys/self/rotate", ("personalAccessKey", key));
            var successor = rotated.Json.GetProperty("personalAccessKey").GetString()!;
            Assert.Equal("orders:read", (await server.ExchangeAsync(successor)).Json.GetProperty("scope").GetString());
            Assert.Equal(200, (int)(await server.PostAsync("/oauth/revoke", ("token", successor))).Status);
            Assert.Equal("invalid_grant", (await server.ExchangeAsync(successor)).Error);
        }
    }

    private static Task<TestServer> StartAsync(params string[] settings) =>
        TestServer.StartAsync([.. settings, "--Pakhouse:Scopes=orders:read"]);

    private static IEnumerable<MatrixRow> Api(IEnumerable<MatrixRow> rows) => rows.Where(row => !row.IsPage && !row.IsPublic);

    private static Task<Answer> SendAsync(ApiClient client, MatrixRow row, Acme acme)
    {
        string Fill(string text) =>
            text.Replace("{organizationId}", acme.Root.ToString(), StringComparison.Ordinal)
                .Replace("{userId}", acme.Owner.ToString(), StringComparison.Ordinal)
                .Replace("{keyId}", "0000000000000000", StringComparison.Ordinal)
                .Replace("{realm}", "acme", StringComparison.Ordinal)
                .Replace("{id}", Guid.Empty.ToString(), StringComparison.Ordinal)
                .Replace("{message}", "none", StringComparison.Ordinal);
        return client.SendAsync(row.Method, Fill(row.Path + row.Query), row.Body is null ? null : Fill(row.Body));
    }

    private static async Task CheckAsync(
        TestServer server,
        Acme acme,
        IEnumerable<MatrixRow> rows,
        string kind,
        Credential credential,
        string scopes,
        string token,
        List<string> faults
    )
    {
        var granted = NameSet.Parse(scopes);
        foreach (var row in Api(rows))
        {
            var lines = row.Permissions.Select(Permissions.Of).Where(line => line.With.Contains(credential)).ToList();
            var needed = lines.Select(line => Permissions.NameOf(line.Scope)!).Distinct(StringComparer.Ordinal).ToList();
            // With the word in front and without: one and the same answer (CVE-2026-28744).
            foreach (var client in (ApiClient[])[ApiClient.WithToken(server, token), new(server) { Authorization = token }])
            {
                var answer = await SendAsync(client, row, acme);
                var expected =
                    lines.Count == 0 ? "403 access_denied"
                    : needed.Exists(granted.Contains) ? "yes"
                    : $"403 insufficient_scope {needed[0]}";
                var error = answer.Body.Contains("\"error\"", StringComparison.Ordinal) ? answer.Error : null;
                var actual = error switch
                {
                    "access_denied" => "403 access_denied",
                    "insufficient_scope" => $"403 insufficient_scope {answer.Header("WWW-Authenticate")?.Split('"')[3]}",
                    _ => (int)answer.Status is 401 or >= 500 ? $"{(int)answer.Status}" : "yes",
                };
                if (actual != expected)
                    faults.Add($"{row} with {kind} of {scopes}: {expected} was expected, and it is {actual}");
            }
        }
    }

    private static async Task<string> ApiKeyTokenAsync(TestServer server, Acme acme, string scopes)
    {
        var name = KeyFormat.NewId();
        var wanted = new NewApiKey(
            KeyFormat.NewId(),
            name,
            null,
            NameSet.Parse(scopes),
            [new ApiKeyRoles(acme.Root, NameSet.Of(BuiltInRoles.Owner))]
        );
        using var made = (await server.Get<ApiKeys>().CreateAsync(Actor.Session(acme.Owner), acme.Root, wanted)).Value;
        return (await server.PostAsync("/auth/v1/api-key/token", ("name", name), ("secret", made.Reveal()))).Token;
    }
}
