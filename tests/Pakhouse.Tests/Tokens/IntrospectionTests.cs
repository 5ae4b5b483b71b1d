using System.Net;
using System.Net.Http.Headers;
using System.Text;

namespace Pakhouse.Tests;

public static class IntrospectionTests
{
    private static readonly (string Secret, string Hash) gateway = ResourceServers.NewSecret();

    public class On200
    {
        [Fact]
        public async Task A_token_is_told_with_the_members_of_the_rfc_and_ours()
        {
            await using var server = await StartAsync();
            var acme = await server.AddAcmeAsync();
            var exchange = await server.ExchangeAsync(await server.AddKeyAsync(acme.Owner, acme.Root), acme.Sub, "openid");
            var answer = await IntrospectAsync(server, exchange.Token);
            Assert.Equal("no-store", answer.Header("Cache-Control"));
            var (told, claims) = (answer.Json, exchange.Claims);
            Assert.True(told.GetProperty("active").GetBoolean());
            Assert.Equal("Bearer", told.GetProperty("token_type").GetString());
            foreach (
                var member in (string[])
                    ["iss", "aud", "sub", "client_id", "scope", "jti", "exp", "iat", "org_id", "root_org_id", "membership", "key_id"]
            )
                Assert.Equal(claims.GetProperty(member).ToString(), told.GetProperty(member).ToString());
            Assert.Equal(exchange.Roles, told.GetProperty("roles").EnumerateArray().Select(role => role.GetString()));
            Assert.False(told.TryGetProperty("username", out _)); // email was not asked for
        }

        [Fact]
        public async Task A_raw_key_is_told_as_a_token_of_its_own_organization_would_be()
        {
            await using var server = await StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root, TimeSpan.FromDays(7));
            var told = (await IntrospectAsync(server, key)).Json;
            Assert.True(told.GetProperty("active").GetBoolean());
            Assert.Equal("personal_access_key", told.GetProperty("token_type").GetString());
            Assert.Equal(acme.Root.ToString(), told.GetProperty("org_id").GetString());
            Assert.Equal(acme.Owner.ToString(), told.GetProperty("sub").GetString());
            Assert.Equal("owner", told.GetProperty("roles")[0].GetString());
            Assert.Equal(TestServer.IdOf(key), told.GetProperty("key_id").GetString());
            Assert.Equal((server.Clock.GetUtcNow() + TimeSpan.FromDays(7)).ToUnixTimeSeconds(), told.GetProperty("exp").GetInt64());
            Assert.Equal("person1@acme.example", told.GetProperty("username").GetString());
        }

        [Fact]
        public async Task A_raw_key_that_was_introspected_was_used_and_its_owner_sees_it()
        {
            await using var server = await StartAsync();
            var acme = await server.AddAcmeAsync();
            await PostAsync(
                server,
                Basic("gateway", gateway.Secret),
                ("token", await server.AddKeyAsync(acme.Owner, acme.Root)),
                ("client_address", "203.0.113.7")
            );
            await server.Get<KeyUsage>().FlushAsync();
            var key = Assert.Single((await server.Keys.ListAsync(Actor.Session(acme.Owner), acme.Root)).Value);
            Assert.Equal(("introspection by gateway", "203.0.113.7"), (key.LastUsedUserAgent, key.LastUsedAddress));
        }

        [Fact]
        public async Task A_replaced_key_that_is_introspected_after_its_overlap_freezes_its_family_as_an_exchange_does()
        {
            await using var server = await StartAsync();
            var acme = await server.AddAcmeAsync();
            var old = await server.AddKeyAsync(acme.Owner, acme.Root);
            var key = await KeyRotationTests.RotateAsync(server, acme, old, TimeSpan.Zero);
            Assert.True((await IntrospectAsync(server, key)).Json.GetProperty("active").GetBoolean());
            Assert.Equal("{\"active\":false}", (await IntrospectAsync(server, old)).Body);
            Assert.Equal("{\"active\":false}", (await IntrospectAsync(server, key)).Body);
        }

        [Fact]
        public async Task A_raw_API_key_is_told_as_the_service_it_is()
        {
            await using var server = await StartAsync();
            var acme = await server.AddAcmeAsync();
            using var made = (
                await server
                    .Get<ApiKeys>()
                    .CreateAsync(
                        Actor.Session(acme.Owner),
                        acme.Root,
                        new NewApiKey(KeyFormat.NewId(), "Deploy", null, NameSet.All, [new(acme.Root, NameSet.Of("viewer"))])
                    )
            ).Value;
            var told = (await IntrospectAsync(server, made.Reveal())).Json;
            Assert.True(told.GetProperty("active").GetBoolean());
            Assert.Equal("api_key", told.GetProperty("token_type").GetString());
            Assert.Equal(acme.Root.ToString(), told.GetProperty("org_id").GetString());
            Assert.False(told.TryGetProperty("username", out _));
        }

        [Theory, InlineData("10.1.2.3", true), InlineData("203.0.113.7", false), InlineData("", false)]
        public async Task A_key_that_is_allowed_in_some_networks_is_good_for_a_caller_who_is_said_to_come_from_them(
            string from,
            bool isActive
        )
        {
            await using var server = await StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            await PoliciesTests.SetAsync(
                server,
                acme.Owner,
                acme.Root,
                new() { Networks = NetworkSet.TryParse(["10.0.0.0/8"], out var networks) ? networks : null }
            );
            var answer = await PostAsync(server, Basic("gateway", gateway.Secret), ("token", key), ("client_address", from));
            Assert.Equal(isActive, answer.Json.GetProperty("active").GetBoolean());
        }

        [Fact]
        public async Task Roles_are_those_that_the_token_has_and_the_user_still_has()
        {
            await using var server = await StartAsync();
            var acme = await server.AddAcmeAsync();
            var user = await server.AddMemberAsync(acme.Root, "builder", "viewer");
            var token = (await server.ExchangeAsync(await server.AddKeyAsync(user, acme.Root))).Token;
            await server.Members.SetRolesAsync(Actor.Operator, acme.Root, user, NameSet.Of("viewer", "owner"));
            Assert.Equal(
                ["viewer"],
                (await IntrospectAsync(server, token)).Json.GetProperty("roles").EnumerateArray().Select(role => role.GetString())
            );
        }

        [Theory]
        [InlineData("nothing like a token")]
        [InlineData("a.b.c")]
        [InlineData("ünïcode")]
        [InlineData("ph_pak1_0000000000000000_00000000000000000000000000000000000000000002m9doX")]
        [InlineData("deleted key")]
        [InlineData("token of a deleted key")]
        [InlineData("expired key")]
        [InlineData("expired token")]
        [InlineData("key of a disabled user")]
        [InlineData("token of a disabled user")]
        [InlineData("changed token")]
        [InlineData("token without signature")]
        [InlineData("token of another server")]
        public async Task What_is_not_good_is_inactive_and_nothing_else(string what)
        {
            await using var server = await StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root, TimeSpan.FromDays(1));
            var token = (await server.ExchangeAsync(key)).Token;
            var parts = token.Split('.');
            if (what.Contains("deleted", StringComparison.Ordinal))
                await server.Keys.DeleteByOperatorAsync(Actor.Operator, TestServer.IdOf(key));
            if (what.Contains("disabled", StringComparison.Ordinal))
                await server.Users.SetDisabledAsync(Actor.Operator, acme.Owner, true);
            if (what == "expired key")
                server.Clock.Advance(TimeSpan.FromDays(1));
            if (what == "expired token")
                server.Clock.Advance(TimeSpan.FromHours(1));
            await using var stranger = what == "token of another server" ? await StartAsync() : null;
            if (stranger is not null)
            {
                var elsewhere = await stranger.AddAcmeAsync();
                token = (await stranger.ExchangeAsync(await stranger.AddKeyAsync(elsewhere.Owner, elsewhere.Root))).Token;
            }

            var answer = await IntrospectAsync(
                server,
                what switch
                {
                    "changed token" => $"{parts[0]}.{parts[1][..^4]}AAAA.{parts[2]}",
                    "token without signature" => $"{parts[0]}.{parts[1]}.",
                    _ when what.Contains("token", StringComparison.Ordinal) && !what.Contains("nothing", StringComparison.Ordinal) => token,
                    _ when what.Contains("key", StringComparison.Ordinal) => key,
                    _ => what,
                }
            );
            Assert.Equal(HttpStatusCode.OK, answer.Status);
            Assert.Equal("""{"active":false}""", answer.Body);
        }

        [Fact]
        public async Task Both_ways_of_authentication_work_and_a_second_secret_while_one_is_replaced()
        {
            var next = ResourceServers.NewSecret();
            await using var server = await TestServer.StartAsync(
                $"--Pakhouse:ResourceServers:gateway:SecretHash={gateway.Hash} {next.Hash}"
            );
            foreach (var secret in (string[])[gateway.Secret, next.Secret])
            {
                Assert.Equal(HttpStatusCode.OK, (await IntrospectAsync(server, "x", Basic("gateway", secret))).Status);
                Assert.Equal(
                    HttpStatusCode.OK,
                    (
                        await server.PostAsync("/oauth/introspect", ("token", "x"), ("client_id", "gateway"), ("client_secret", secret))
                    ).Status
                );
            }
        }
    }

    public class Authentication
    {
        [Fact]
        public async Task Name_and_secret_may_be_form_encoded_each_character_of_them()
        {
            await using var server = await StartAsync();
            static string Encode(string text) => string.Concat(System.Text.Encoding.ASCII.GetBytes(text).Select(b => $"%{b:X2}"));
            foreach (
                var (name, secret) in ((string, string)[])
                    [
                        ("gateway", gateway.Secret),
                        (
                            "gateway",
                            gateway.Secret.Replace("-", "%2D", StringComparison.Ordinal).Replace("_", "%5f", StringComparison.Ordinal)
                        ),
                        (Encode("gateway"), Encode(gateway.Secret)), // RFC 6749 §2.3.1
                    ]
            )
                Assert.Equal(HttpStatusCode.OK, (await IntrospectAsync(server, "x", Basic(name, secret))).Status);
            foreach (
                var secret in (string[])
                    [gateway.Secret + "%", gateway.Secret + "%2", gateway.Secret + "%00", "%" + gateway.Secret, gateway.Secret + "+"]
            )
                Assert.Equal(HttpStatusCode.Unauthorized, (await IntrospectAsync(server, "x", Basic("gateway", secret))).Status);
        }
    }

    public class On400
    {
        [Fact]
        public async Task Without_a_token_or_with_two_ways_of_authentication_the_request_is_refused()
        {
            await using var server = await StartAsync();
            Assert.Equal("invalid_request", (await IntrospectAsync(server, "")).Error);
            Assert.StartsWith(
                "client_address:",
                (await PostAsync(server, Basic("gateway", gateway.Secret), ("token", "x"), ("client_address", "nowhere"))).Description
            );
            var both = await PostAsync(server, Basic("gateway", gateway.Secret), ("token", "x"), ("client_secret", gateway.Secret));
            Assert.Equal((HttpStatusCode.BadRequest, "invalid_request"), (both.Status, both.Error));
        }
    }

    public class On401
    {
        [Theory]
        [InlineData("gateway", "wrong")]
        [InlineData("gateway", "")]
        [InlineData("stranger", "right")]
        [InlineData("", "right")]
        [InlineData("Gateway", "right")]
        [InlineData(null, null)]
        public async Task Who_is_not_a_resource_server_gets_one_answer_and_no_look_up(string? name, string? secret)
        {
            await using var server = await StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            secret = secret == "right" ? gateway.Secret : secret;
            var answers = new List<Answer> { await PostAsync(server, name is null ? null : Basic(name, secret!), ("token", key)) };
            if (name is not null)
                answers.Add(await server.PostAsync("/oauth/introspect", ("token", key), ("client_id", name), ("client_secret", secret!)));
            foreach (var answer in answers)
            {
                Assert.Equal((HttpStatusCode.Unauthorized, "invalid_client"), (answer.Status, answer.Error));
                Assert.Equal("Basic realm=\"introspection\"", answer.Header("WWW-Authenticate"));
                Assert.Equal(answers[0].Body, answer.Body);
            }
        }

        [
            Theory,
            InlineData("Basic"),
            InlineData("Basic !!!"),
            InlineData("Basic Z2F0ZXdheQ=="),
            InlineData("Bearer abc"),
            InlineData("Basic OnNlY3JldA==")
        ]
        public async Task A_header_that_is_no_pair_of_name_and_secret_is_refused(string header)
        {
            await using var server = await StartAsync();
            Assert.Equal(HttpStatusCode.Unauthorized, (await PostAsync(server, header, ("token", "x"))).Status);
        }

        [Fact]
        public async Task Without_resource_servers_in_the_settings_nobody_introspects_and_a_key_is_no_credential()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            Assert.Equal(HttpStatusCode.Unauthorized, (await IntrospectAsync(server, key)).Status);
            Assert.Equal(
                HttpStatusCode.Unauthorized,
                (await PostAsync(server, $"Bearer {(await server.ExchangeAsync(key)).Token}", ("token", key))).Status
            );
        }
    }

    public class On429
    {
        [Fact]
        public async Task Guessed_secrets_are_limited_and_the_right_one_is_not()
        {
            await using var server = await TestServer.StartAsync(
                $"--Pakhouse:ResourceServers:gateway:SecretHash={gateway.Hash}",
                "--Pakhouse:FailuresPerMinuteMax=3"
            );
            for (var i = 0; i < 3; i++)
                Assert.Equal(HttpStatusCode.Unauthorized, (await IntrospectAsync(server, "x", Basic("gateway", $"guess {i}"))).Status);
            var limited = await IntrospectAsync(server, "x", Basic("gateway", "guess"));
            Assert.Equal(HttpStatusCode.TooManyRequests, limited.Status);
            Assert.NotNull(limited.Header("Retry-After"));
            for (var i = 0; i < 9; i++)
                Assert.Equal(
                    HttpStatusCode.OK,
                    (await IntrospectAsync(server, "ph_pak1_0000000000000000_00000000000000000000000000000000000000000002m9doX")).Status
                );
        }
    }

    public class On503
    {
        [Fact]
        public async Task Nothing_secret_is_logged_whatever_happens()
        {
            await using var server = await StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            var token = (await server.ExchangeAsync(key)).Token;
            foreach (var asked in (string[])[key, token])
                await IntrospectAsync(server, asked);
            await server.PostAsync("/oauth/introspect", ("token", key), ("client_id", "gateway"), ("client_secret", gateway.Secret + "x"));
            await server.ExecuteAsync("ALTER TABLE access_keys RENAME TO access_keys_away");
            Assert.True((int)(await IntrospectAsync(server, key)).Status >= 500); // and never a cached yes
            foreach (var secret in (string[])[key[^49..], token.Split('.')[2], gateway.Secret])
                Assert.DoesNotContain(server.Log.Lines, line => line.Contains(secret, StringComparison.Ordinal));
        }
    }

    private static Task<TestServer> StartAsync() => TestServer.StartAsync($"--Pakhouse:ResourceServers:gateway:SecretHash={gateway.Hash}");

    private static string Basic(string name, string secret) =>
        $"Basic {Convert.ToBase64String(Encoding.UTF8.GetBytes($"{name}:{secret}"))}";

    private static Task<Answer> IntrospectAsync(TestServer server, string token, string? authorization = null) =>
        PostAsync(server, authorization ?? Basic("gateway", gateway.Secret), ("token", token));

    private static async Task<Answer> PostAsync(TestServer server, string? authorization, params (string Name, string Value)[] fields)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, "/oauth/introspect")
        {
            Content = new FormUrlEncodedContent(fields.Select(field => KeyValuePair.Create(field.Name, field.Value))),
        };
        if (authorization is not null)
            request.Headers.TryAddWithoutValidation("Authorization", authorization);
        return await Answer.OfAsync(await server.Http.SendAsync(request));
    }
}
