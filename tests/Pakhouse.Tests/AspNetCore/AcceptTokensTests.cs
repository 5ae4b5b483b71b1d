using System.Net;
using Microsoft.Extensions.Options;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;
using Pakhouse.AspNetCore;
using PublicApiGenerator;

namespace Pakhouse.Tests;

/// <summary>Pakhouse.AspNetCore in an API of its own, over HTTP.</summary>
public static partial class AcceptTokensTests
{
    public class On200
    {
        [Fact]
        public async Task The_caller_is_who_the_token_says()
        {
            await using var server = await TestServer.StartAsync();
            await using var api = await VerifyingApi.StartAsync(server);
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            Assert.Equal(
                $"{acme.Root} {acme.Root} {acme.Owner} {TestServer.IdOf(key)} False",
                (await api.AskAsync((await server.ExchangeAsync(key)).Token)).Body
            );
            Assert.Equal(
                $"{acme.Sub} {acme.Root} {acme.Owner} {TestServer.IdOf(key)} True",
                (await api.AskAsync((await server.ExchangeAsync(key, acme.Sub)).Token)).Body
            );
        }

        [Fact]
        public async Task One_list_serves_many_requests()
        {
            await using var server = await TestServer.StartAsync();
            await using var api = await VerifyingApi.StartAsync(server);
            var token = await NewTokenAsync(server);
            for (var i = 0; i < 20; i++)
                Assert.Equal(HttpStatusCode.OK, await api.StatusAsync(token));
            Assert.Equal(1, api.Network.Fetches);
        }

        [Fact]
        public async Task The_list_is_renewed_in_the_background_before_its_ttl_has_passed()
        {
            await using var server = await TestServer.StartAsync();
            await using var api = await VerifyingApi.StartAsync(server);
            var token = await NewTokenAsync(server);
            await api.AskAsync(token);
            server.Clock.Advance(TimeSpan.FromSeconds(2.5));
            // Nobody asks the API. Each turn of the clock is a tick of its renewal, which may not have begun when the first comes.
            for (var turn = 0; api.Network.Fetches < 2 && turn < 1000; turn++)
            {
                server.Clock.Advance(TimeSpan.FromMilliseconds(turn < 10 ? 1 : 500));
                for (var i = 0; i < 100; i++)
                    await Task.Yield();
            }

            Assert.True(api.Network.Fetches >= 2);
            Assert.Equal(HttpStatusCode.OK, await api.StatusAsync(token));
        }

        [Fact]
        public async Task A_suspended_key_is_refused_and_works_again_when_it_is_revived()
        {
            await using var server = await TestServer.StartAsync();
            await using var api = await VerifyingApi.StartAsync(server);
            var acme = await server.AddAcmeAsync();
            var token = (await server.ExchangeAsync(await server.AddKeyAsync(acme.Owner, acme.Root))).Token;
            foreach (
                var (disabled, expected) in ((bool, HttpStatusCode)[])
                    [(false, HttpStatusCode.OK), (true, HttpStatusCode.Unauthorized), (false, HttpStatusCode.OK)]
            )
            {
                await server.Users.SetDisabledAsync(Actor.Operator, acme.Owner, disabled);
                server.Clock.Advance(TimeSpan.FromSeconds(5));
                Assert.Equal(expected, await api.StatusAsync(token));
            }
        }
    }

    public class On401
    {
        [Fact]
        public async Task Three_apis_refuse_a_deleted_keys_token_once_they_have_the_list_also_when_the_server_is_gone()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var (key, kept) = (await server.AddKeyAsync(acme.Owner, acme.Root), await server.AddKeyAsync(acme.Owner, acme.Root));
            var (token, good) = ((await server.ExchangeAsync(key)).Token, (await server.ExchangeAsync(kept)).Token);
            VerifyingApi[] apis =
            [
                await VerifyingApi.StartAsync(server),
                await VerifyingApi.StartAsync(server),
                await VerifyingApi.StartAsync(server),
            ];
            foreach (var api in apis)
                Assert.Equal(HttpStatusCode.OK, await api.StatusAsync(token));

            Assert.Equal(HttpStatusCode.OK, (await server.PostAsync("/oauth/revoke", ("token", key))).Status);
            server.Clock.Advance(TimeSpan.FromSeconds(5)); // the ttl
            foreach (var api in apis)
                Assert.Equal(HttpStatusCode.OK, await api.StatusAsync(good)); // each has the list
            await server.StopAsync();
            foreach (var api in apis)
            {
                var answer = await api.AskAsync(token);
                Assert.Equal(HttpStatusCode.Unauthorized, answer.Status);
                Assert.StartsWith("Bearer error=\"invalid_token\"", answer.Header("WWW-Authenticate"));
                Assert.Equal(HttpStatusCode.OK, await api.StatusAsync(good)); // control: the verifier works, and it is the key that ended
                await api.DisposeAsync();
            }
        }

        [Fact]
        public async Task Forged_and_foreign_tokens_are_refused()
        {
            await using var server = await TestServer.StartAsync();
            await using var api = await VerifyingApi.StartAsync(server);
            var token = await NewTokenAsync(server);
            var parts = token.Split('.');
            // says that it is the same issuer
            await using var stranger = await TestServer.StartAsync($"--Pakhouse:PublicAddress={server.Address}");
            var list = await server.Http.GetStringAsync("/status-lists/0");
            foreach (
                var (what, forged) in new Dictionary<string, string?>(StringComparer.Ordinal)
                {
                    ["none"] = null,
                    ["no token"] = "x",
                    ["no signature"] = $"{parts[0]}.{parts[1]}.",
                    ["alg none"] = $"{Base64UrlEncoder.Encode("""{"alg":"none","typ":"at+jwt"}""")}.{parts[1]}.",
                    ["signed by another"] = await NewTokenAsync(stranger),
                    ["a status list in place of a token"] = list,
                    ["another type"] = Signed(server, type: "JWT"),
                    ["another audience"] = Signed(server, audience: "https://elsewhere.example"),
                    ["another issuer"] = Signed(server, issuer: "https://elsewhere.example"),
                    ["expired"] = Signed(server, expiresIn: TimeSpan.FromSeconds(-31)),
                    ["no status"] = Signed(server, status: null),
                    ["a status elsewhere"] = Signed(server, status: Reference("http://169.254.169.254/status-lists/0", 0)),
                    ["a status outside the lists"] = Signed(server, status: Reference($"{server.Address}/status-lists/../secret", 0)),
                    ["an entry beyond the list"] = Signed(
                        server,
                        status: Reference($"{server.Address}/status-lists/0", StatusLists.EntriesPerList)
                    ),
                    ["a negative entry"] = Signed(server, status: Reference($"{server.Address}/status-lists/0", -1)),
                    ["an entry that is no number"] = Signed(server, status: Reference($"{server.Address}/status-lists/0", "0")),
                    ["an address that is no text"] = Signed(server, status: Reference(null!, 0)),
                    ["a status that is no object"] = Signed(server, status: "valid"),
                }
            )
            {
                var status = await api.StatusAsync(forged);
                Assert.True(status == HttpStatusCode.Unauthorized, $"{what}: {status}");
            }

            Assert.Equal(HttpStatusCode.OK, await api.StatusAsync(token));
            Assert.Equal(
                HttpStatusCode.OK,
                await api.StatusAsync(Signed(server, status: Reference($"{server.Address}/status-lists/0", 0)))
            ); // control: signed here, and good
        }
    }

    public class On403
    {
        [Fact]
        public async Task Roles_and_scopes_that_the_token_lacks_are_refused()
        {
            await using var server = await TestServer.StartAsync();
            await using var api = await VerifyingApi.StartAsync(server);
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(await server.AddMemberAsync(acme.Root, "builder"), acme.Root);
            var viewers = await server.AddKeyAsync(await server.AddMemberAsync(acme.Root, "viewer"), acme.Root);
            Assert.Equal(HttpStatusCode.OK, await api.StatusAsync((await server.ExchangeAsync(key)).Token, "/build"));
            Assert.Equal(HttpStatusCode.Forbidden, await api.StatusAsync((await server.ExchangeAsync(viewers)).Token, "/build"));
            Assert.Equal(HttpStatusCode.OK, await api.StatusAsync((await server.ExchangeAsync(key, scope: "openid email")).Token, "/mail"));
            Assert.Equal(
                HttpStatusCode.Forbidden,
                await api.StatusAsync((await server.ExchangeAsync(key, scope: "openid")).Token, "/mail")
            );
            Assert.Equal(HttpStatusCode.Unauthorized, await api.StatusAsync(null, "/mail"));
        }
    }

    public class Using_the_package
    {
        [Theory]
        [InlineData("", 30, "Issuer must be")]
        [InlineData("http://keys.example.com", 30, "Issuer must be")]
        [InlineData("https://keys.example.com/", 30, "without a trailing slash")]
        [InlineData("https://keys.example.com", 301, "ClockSkew must be")]
        public async Task Options_out_of_bounds_stop_the_start(string issuer, int skew, string expected)
        {
            await using var server = await TestServer.StartAsync();
            var e = await Assert.ThrowsAsync<OptionsValidationException>(() =>
                VerifyingApi.StartAsync(server, options => (options.Issuer, options.ClockSkew) = (issuer, TimeSpan.FromSeconds(skew)))
            );
            Assert.Contains(expected, e.Message, StringComparison.Ordinal);
        }

        [Fact]
        public async Task A_handler_that_follows_redirects_stops_the_start()
        {
            await using var server = await TestServer.StartAsync();
            foreach (
                var handler in (HttpMessageHandler[])
                    [new HttpClientHandler(), new SocketsHttpHandler(), new VerifyingApi.Wire(new SocketsHttpHandler())]
            )
            {
                var e = await Assert.ThrowsAsync<OptionsValidationException>(() =>
                    VerifyingApi.StartAsync(server, options => options.BackchannelHttpHandler = handler)
                );
                Assert.Contains("AllowAutoRedirect", e.Message, StringComparison.Ordinal);
            }
        }

        [Fact]
        public void Its_public_surface_is_the_approved_one()
        {
            var approved = File.ReadAllText(Path.Combine(Repository.Root, "src", "Pakhouse.AspNetCore", "PublicApi.txt"));
            var actual = typeof(PakhouseExtensions).Assembly.GeneratePublicApi(
                new ApiGeneratorOptions { IncludeAssemblyAttributes = false }
            );
            var received = Path.Combine(AppContext.BaseDirectory, "PublicApi.txt");
            File.WriteAllText(received, actual + Environment.NewLine);
            Assert.True(
                approved.ReplaceLineEndings().Trim() == actual.ReplaceLineEndings().Trim(),
                $"The public surface has changed. If that is meant, copy {received} to src/Pakhouse.AspNetCore."
            );
        }
    }

    private static async Task<string> NewTokenAsync(TestServer server)
    {
        var acme = await server.AddAcmeAsync();
        return (await server.ExchangeAsync(await server.AddKeyAsync(acme.Owner, acme.Root))).Token;
    }

    private static Dictionary<string, object> Reference(string uri, object entry) =>
        new(StringComparer.Ordinal)
        {
            ["status_list"] = new Dictionary<string, object>(StringComparer.Ordinal) { ["idx"] = entry, ["uri"] = uri },
        };

    /// <summary>The list with another audience, signed by the server's own key.</summary>
    private static string Relisted(TestServer server, string list, string? aud)
    {
        var claims = System.Text.Json.Nodes.JsonNode.Parse(Base64UrlEncoder.Decode(list.Split('.')[1]))!.AsObject();
        claims.Remove("aud");
        if (aud is not null)
            claims["aud"] = aud;
        return new JsonWebTokenHandler().CreateToken(
            claims.ToJsonString(),
            server.Get<SigningKeys>().Current(server.Clock.GetUtcNow()).Credentials,
            new Dictionary<string, object>(StringComparer.Ordinal) { ["typ"] = "statuslist+jwt" }
        );
    }

    /// <summary>A token that the server's own key has signed, and that the server would not.</summary>
    private static string Signed(
        TestServer server,
        string type = "at+jwt",
        string? audience = null,
        string? issuer = null,
        TimeSpan? expiresIn = null,
        object? status = null
    )
    {
        var now = server.Clock.GetUtcNow();
        var claims = new Dictionary<string, object>(StringComparer.Ordinal)
        {
            ["sub"] = Guid.Empty.ToString(),
            ["org_id"] = Guid.Empty.ToString(),
            ["root_org_id"] = Guid.Empty.ToString(),
            ["key_id"] = "x",
            ["membership"] = "member",
        };
        if (status is not null)
            claims["status"] = status;
        return new JsonWebTokenHandler { SetDefaultTimesOnTokenCreation = false }.CreateToken(
            new SecurityTokenDescriptor
            {
                TokenType = type,
                Issuer = issuer ?? server.Address,
                Audience = audience ?? server.Address,
                IssuedAt = now.UtcDateTime,
                Expires = (now + (expiresIn ?? TimeSpan.FromMinutes(5))).UtcDateTime,
                Claims = claims,
                SigningCredentials = server.Get<SigningKeys>().Current(now).Credentials,
            }
        );
    }
}
