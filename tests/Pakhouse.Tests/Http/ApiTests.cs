using System.Net;
using System.Text;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;

namespace Pakhouse.Tests;

/// <summary>Who is let in at the API, and what of a request is believed.</summary>
public static class ApiTests
{
    private const string Organizations = "/identity/v1/organizations";

    public static class On200
    {
        [Fact]
        public static async Task A_token_counts_with_and_without_the_word_Bearer()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var token = (await server.ExchangeAsync(await server.AddKeyAsync(acme.Owner, acme.Root))).Token;
            foreach (var header in (string[])[$"Bearer {token}", $"bearer {token}", token])
                Assert.Equal(HttpStatusCode.OK, (await new ApiClient(server) { Authorization = header }.GetAsync(Organizations)).Status);
        }

        [Fact]
        public static async Task A_person_with_a_session_generates_a_key_which_works_and_stands_in_no_later_answer()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var owner = await ApiClient.SignInAsync(server, acme.Owner);
            var made = await owner.SendAsync(
                "POST",
                $"{Organizations}/{acme.Root}/personal-access-keys",
                """{"name":" Build ","scopes":["openid"],"unknown":1}"""
            );
            Assert.Equal((HttpStatusCode.OK, "no-store"), (made.Status, made.Header("Cache-Control")));
            var key = made.Json.GetProperty("personalAccessKey").GetString()!;
            Assert.Equal("openid", (await server.ExchangeAsync(key)).Json.GetProperty("scope").GetString());

            var listed = await owner.GetAsync($"{Organizations}/{acme.Root}/personal-access-keys");
            Assert.Equal("Build", listed.Json.GetProperty("data")[0].GetProperty("name").GetString());
            Assert.DoesNotContain(key.Split('_')[3], listed.Body, StringComparison.Ordinal);
            Assert.DoesNotContain(server.Log.Lines, line => line.Contains(key.Split('_')[3], StringComparison.Ordinal));
            Assert.Equal(
                HttpStatusCode.NoContent,
                (await owner.SendAsync("DELETE", $"{Organizations}/{acme.Root}/personal-access-keys/{TestServer.IdOf(key)}")).Status
            );
            Assert.Equal(HttpStatusCode.Unauthorized, (await server.ExchangeAsync(key)).Status);
        }

        [Fact]
        public static async Task A_manager_sees_the_keys_of_members_page_by_page_and_ends_one()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var (manager, member) = (
                await server.AddMemberAsync(acme.Root, "organization-manager"),
                await server.AddMemberAsync(acme.Root)
            );
            var keys = new[]
            {
                await server.AddKeyAsync(member, acme.Root),
                await server.AddKeyAsync(acme.Owner, acme.Root),
                await server.AddKeyAsync(member, acme.Root),
            };
            await server.AddKeyAsync(await server.AddMemberAsync(acme.Sub), acme.Sub);
            var client = await ApiClient.SignInAsync(server, manager);

            var found = new List<string>();
            for (var after = ""; ;)
            {
                var page = (await client.GetAsync($"{Organizations}/{acme.Root}/personal-access-keys?all=true&limit=2&after={after}")).Json;
                found.AddRange(page.GetProperty("data").EnumerateArray().Select(key => key.GetProperty("id").GetString()!));
                if (!page.TryGetProperty("next", out var next)) break;
                after = next.GetString()!;
            }

            Assert.Equal(keys.Select(TestServer.IdOf).Order(StringComparer.Ordinal), found);
            Assert.Equal(
                HttpStatusCode.NoContent,
                (await client.SendAsync("DELETE", $"{Organizations}/{acme.Root}/personal-access-keys/{TestServer.IdOf(keys[0])}")).Status
            );
            Assert.Equal(HttpStatusCode.Unauthorized, (await server.ExchangeAsync(keys[0])).Status);
            Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(keys[1])).Status);
        }

        [Fact]
        public static async Task Ids_come_with_and_without_braces()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var owner = await ApiClient.WithKeyAsync(server, acme.Owner, acme.Root);
            Assert.Equal(HttpStatusCode.OK, (await owner.GetAsync($"{Organizations}/{acme.Root:B}")).Status);
            Assert.Equal(
                HttpStatusCode.Forbidden,
                (await owner.SendAsync("DELETE", $"{Organizations}/{acme.Root}?action=remove&userId={acme.Owner:B}")).Status
            ); // an owner, by a key
        }

        [Fact]
        public static async Task Userinfo_says_only_what_was_granted()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            async Task<string> NamesAsync(string scope) =>
                string.Join(
                    ' ',
                    (await ApiClient.WithToken(server, (await server.ExchangeAsync(key, scope: scope)).Token).GetAsync("/userinfo"))
                        .Json.EnumerateObject()
                        .Select(member => member.Name)
                );
            Assert.Equal("sub currentOrganizationId", await NamesAsync("openid"));
            Assert.Equal("sub name currentOrganizationId", await NamesAsync("openid profile"));
            Assert.Equal("sub email currentOrganizationId", await NamesAsync("openid email"));
            Assert.Equal("sub name email preferred_username currentOrganizationId", await NamesAsync("openid profile email"));
        }
    }

    public static class On400
    {
        [Fact]
        public static async Task What_is_out_of_form_is_named_and_never_repeated()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var owner = await ApiClient.SignInAsync(server, acme.Owner);
            foreach (var (method, path, body, named) in ((string Method, string Path, string? Body, string Named)[])
            [
                ("POST", "/sub-organizations", """{"name":7}""", "name"),
                ("POST", "/sub-organizations", """{"name":"a","name":"SENT"}""", "name"),
                ("POST", "/sub-organizations", """["SENT"]""", "The body"),
                ("POST", "/sub-organizations", """{"SENT":tru}""", "The body"),
                ("POST", "/sub-organizations", "null", "The body"),
                ("POST", "/sub-organizations", """{"name":"a\u0000SENT"}""", "name"),
                ("POST", "/sub-organizations", """{"name":"\ud800SENT"}""", ""),
                ("PATCH", "", """{"disabled":"SENT"}""", "disabled"),
                ("PATCH", "", "{}", "name"),
                ("POST", "/users", """{"userId":"SENT","roles":[]}""", "userId"),
                ("POST", "/users", """{"userId":"0190f3a2-7c11-7d3e-9b52-3f1c8a6d4e70","roles":["SENT owner"]}""", "roles"),
                ("POST", "/users", """{"userId":"0190f3a2-7c11-7d3e-9b52-3f1c8a6d4e70","roles":[null]}""", "roles"),
                ("DELETE", "/invitations", """{"userEmail":"SENT\u0000@a.example"}""", ""),
                ("DELETE", "?action=SENT", null, "action"),
                ("GET", "/personal-access-keys?all=true&after=%00SENT", null, "after"),
                ("GET", "/personal-access-keys?all=true&limit=0", null, "limit"),
                ("DELETE", "/personal-access-keys/SENT", null, "key"),
                ("GET", "/personal-access-keys?all=SENT", null, ""),
            ])
            {
                var answer = await owner.SendAsync(method, $"{Organizations}/{acme.Root}{path}", body);
                Assert.True((int)answer.Status is >= 400 and <= 404, $"{method} {path} {body}: {answer.Status}");
                Assert.DoesNotContain("SENT", answer.Body, StringComparison.Ordinal);
                Assert.Contains(named, answer.Json.GetProperty("message").GetString(), StringComparison.Ordinal);
                Assert.Equal(
                    ["detail", "error", "message", "status", "title", "type"],
                    answer.Json.EnumerateObject().Select(member => member.Name).Order(StringComparer.Ordinal)
                ); // the tool prints every one
            }
        }

        [Fact]
        public static async Task A_body_beyond_64_KB_is_not_read()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var owner = await ApiClient.WithKeyAsync(server, acme.Owner, acme.Root);
            var answer = await owner.SendAsync(
                "POST",
                $"{Organizations}/{acme.Root}/sub-organizations",
                $$"""{"name":"{{new string('a', 70_000)}}"}"""
            );
            Assert.InRange((int)answer.Status, 400, 413);
        }

        [Fact]
        public static async Task A_change_with_a_session_needs_the_header_that_no_other_site_can_send()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var owner = await ApiClient.SignInAsync(server, acme.Owner);
            var stranger = await ApiClient.SignInAsync(server, await server.AddUserAsync());
            var (own, path) = (owner.Antiforgery, $"{Organizations}/{acme.Root}/sub-organizations");
            foreach (var header in (string?[])[null, "", "forged", stranger.Antiforgery])
            {
                owner.Antiforgery = header;
                Assert.Equal(HttpStatusCode.BadRequest, (await owner.SendAsync("POST", path, """{"name":"Web"}""")).Status);
            }

            owner.Antiforgery = own;
            Assert.Equal(HttpStatusCode.OK, (await owner.SendAsync("POST", path, """{"name":"Web"}""")).Status);
        }
    }

    public static class On401
    {
        [Fact]
        public static async Task What_is_no_token_of_ours_lets_nobody_in_even_beside_a_session()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            var token = (await server.ExchangeAsync(key)).Token;
            var claims = token.Split('.')[1];
            var none = Base64UrlEncoder.Encode("""{"alg":"none","typ":"at+jwt"}""");
            using var foreign = System.Security.Cryptography.ECDsa.Create(System.Security.Cryptography.ECCurve.NamedCurves.nistP256);
            var session = await ApiClient.SignInAsync(server, acme.Owner);
            var publicKey = (await server.GetAsync("/.well-known/jwks.json")).Json.GetProperty("keys")[0].GetRawText();

            string[] forged =
            [
                "Bearer ",
                "Bearer",
                "Bearer  ",
                "Basic YTpi",
                key,
                $"Bearer {key}",
                $"Bearer {token}, Bearer {token}",
                $"Bearer {none}.{claims}.",
                $"Bearer {none}.{claims}.{token.Split('.')[2]}",
                $"Bearer {token[..^4]}AAAA",
                $"Bearer {token.Split('.')[0]}.{Base64UrlEncoder.Encode(Base64UrlEncoder.Decode(claims).Replace(acme.Root.ToString(), acme.Sub.ToString(), StringComparison.Ordinal))}.{token.Split('.')[2]}",
                "Bearer " + Sign(claims, new SigningCredentials(new ECDsaSecurityKey(foreign), SecurityAlgorithms.EcdsaSha256)),
                "Bearer "
                    + Sign(
                        claims,
                        new SigningCredentials(new SymmetricSecurityKey(Encoding.UTF8.GetBytes(publicKey)), SecurityAlgorithms.HmacSha256)
                    ), // the public key as a secret
                "Bearer " + new string('a', 9000),
            ];
            foreach (var header in forged)
            {
                // Not the session's either: what is sent is what counts.
                var client = new ApiClient(server) { Authorization = header };
                var answer = await client.GetAsync(Organizations);
                Assert.True(answer.Status == HttpStatusCode.Unauthorized, $"{header[..Math.Min(60, header.Length)]}: {answer.Status}");
                Assert.StartsWith("Bearer", answer.Header("WWW-Authenticate"), StringComparison.Ordinal);
                Assert.DoesNotContain(key.Split('_')[3], answer.Body, StringComparison.Ordinal);
            }

            // RFC 6750 §3.1: no error where nothing was sent
            Assert.Equal("Bearer", (await new ApiClient(server).GetAsync(Organizations)).Header("WWW-Authenticate"));
            Assert.Equal(HttpStatusCode.OK, (await session.GetAsync(Organizations)).Status);

            static string Sign(string claims, SigningCredentials credentials) =>
                new JsonWebTokenHandler().CreateToken(
                    Base64UrlEncoder.Decode(claims),
                    credentials,
                    new Dictionary<string, object>(StringComparer.Ordinal) { ["typ"] = "at+jwt" }
                );
        }

        [Theory]
        [InlineData("--Pakhouse:PublicAddress=https://other.example")]
        [InlineData("--Pakhouse:Audience=other")]
        public static async Task A_token_of_another_issuer_or_for_another_audience_is_refused_though_the_signature_is_right(string setting)
        {
            var first = await TestServer.StartAsync("--Pakhouse:PublicAddress=https://one.example");
            var acme = await first.AddAcmeAsync();
            var token = (await first.ExchangeAsync(await first.AddKeyAsync(acme.Owner, acme.Root))).Token;
            Assert.Equal(HttpStatusCode.OK, (await ApiClient.WithToken(first, token).GetAsync(Organizations)).Status);
            await first.StopAsync();
            await using var second = await TestServer.StartOnAsync(
                first.Place,
                first.Clock,
                [
                    .. setting.Contains("Audience", StringComparison.Ordinal)
                        ? (string[])["--Pakhouse:PublicAddress=https://one.example"]
                        : [],
                    setting,
                ]
            );
            Assert.Equal(HttpStatusCode.Unauthorized, (await ApiClient.WithToken(second, token).GetAsync(Organizations)).Status);
        }

        [Fact]
        public static async Task A_token_is_refused_once_it_expired_or_its_key_or_user_ended()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var (first, second) = (await server.AddMemberAsync(acme.Root), await server.AddMemberAsync(acme.Root));
            var key = await server.AddKeyAsync(first, acme.Root);
            var client = ApiClient.WithToken(server, (await server.ExchangeAsync(key)).Token);
            var (removed, expiring) = (
                await ApiClient.WithKeyAsync(server, second, acme.Root),
                await ApiClient.WithKeyAsync(server, acme.Owner, acme.Root)
            );

            Assert.Equal(HttpStatusCode.OK, (await client.GetAsync(Organizations)).Status);
            await server.Keys.DeleteAsync(Actor.Session(first), acme.Root, TestServer.IdOf(key));
            Assert.Equal(HttpStatusCode.Unauthorized, (await client.GetAsync(Organizations)).Status);
            await server.Members.RemoveAsync(Actor.Session(acme.Owner), acme.Root, second);
            Assert.Equal(HttpStatusCode.Unauthorized, (await removed.GetAsync(Organizations)).Status);
            server.Clock.Advance(TimeSpan.FromHours(1));
            Assert.Equal(HttpStatusCode.Unauthorized, (await expiring.GetAsync(Organizations)).Status);
        }
    }

    public static class On403
    {
        [Fact]
        public static async Task Userinfo_needs_the_scope_openid_and_says_so()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var answer = await ApiClient
                .WithToken(server, (await server.ExchangeAsync(await server.AddKeyAsync(acme.Owner, acme.Root), scope: "email")).Token)
                .GetAsync("/userinfo");
            Assert.Equal((HttpStatusCode.Forbidden, "insufficient_scope"), (answer.Status, answer.Error));
            Assert.Contains("insufficient_scope", answer.Header("WWW-Authenticate"), StringComparison.Ordinal);
        }

        [Fact]
        public static async Task With_a_key_nobody_makes_a_key_nor_a_root_organization()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var owner = await ApiClient.WithKeyAsync(server, acme.Owner, acme.Root);
            Assert.Equal(
                HttpStatusCode.Forbidden,
                (await owner.SendAsync("POST", $"{Organizations}/{acme.Root}/personal-access-keys", """{"name":"Key"}""")).Status
            );
            Assert.Equal(HttpStatusCode.Forbidden, (await owner.SendAsync("POST", Organizations, """{"name":"Mine"}""")).Status);
            Assert.Equal(
                HttpStatusCode.OK,
                (await (await ApiClient.SignInAsync(server, acme.Owner)).SendAsync("POST", Organizations, """{"name":"Mine"}""")).Status
            );
        }
    }

    public static class On404
    {
        [Fact]
        public static async Task A_member_who_may_not_end_the_keys_of_others_is_not_told_whether_there_is_one()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            var member = await ApiClient.SignInAsync(server, await server.AddMemberAsync(acme.Root, "organization-viewer"));
            var others = await member.SendAsync("DELETE", $"{Organizations}/{acme.Root}/personal-access-keys/{TestServer.IdOf(key)}");
            var none = await member.SendAsync("DELETE", $"{Organizations}/{acme.Root}/personal-access-keys/0000000000000000");
            Assert.Equal((HttpStatusCode.NotFound, none.Body), (others.Status, others.Body));
            Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(key)).Status);
        }
    }
}
