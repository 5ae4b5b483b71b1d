using System.Buffers.Text;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.WebUtilities;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Time.Testing;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;

namespace Pakhouse.Tests;

public static class ProviderTests
{
    private const string Email = "person1@acme.example";

    private static Task<TestServer> StartAsync(Provider provider, params string[] settings) =>
        TestServer.StartOnAsync(
            null,
            provider.Clock,
            [
                "--Pakhouse:FailuresPerMinuteMax=1000",
                $"--Pakhouse:OidcAuthority={provider.Address}",
                $"--Pakhouse:OidcClientId={Provider.ClientId}",
                $"--Pakhouse:OidcClientSecret={Provider.ClientSecret}",
                "--Pakhouse:OidcName=Acme ID",
                .. settings,
            ]
        );

    private static async Task<(Visitor Visitor, Answer Answer)> SignInAsync(TestServer server, string query = "?from=%2Faccount")
    {
        var visitor = new Visitor(server);
        return (visitor, await GoAsync(server, visitor, query));
    }

    /// <summary>To the provider, which knows the person already, and back.</summary>
    private static async Task<Answer> GoAsync(TestServer server, Visitor visitor, string query)
    {
        var away = await visitor.GetAsync($"/sign-in/provider{query}");
        Assert.Equal(HttpStatusCode.Redirect, away.Status);
        using var there = await server.Http.GetAsync(away.Header("Location"));
        return await visitor.GetAsync(there.Headers.Location!.PathAndQuery);
    }

    private static async Task AssertRefusedAsync(TestServer server, (Visitor Visitor, Answer Answer) tried, string? words = null)
    {
        Assert.Equal(HttpStatusCode.Forbidden, tried.Answer.Status);
        if (words is not null) Assert.Contains(words, tried.Answer.Body);
        Assert.False(tried.Visitor.Cookies.ContainsKey("pakhouse"));
        Assert.Equal(0, await server.ScalarAsync<long>("SELECT COUNT(*) FROM sessions"));
    }

    public class SignIn
    {
        [Fact]
        public async Task By_verified_address_the_first_time_and_by_subject_from_then_on()
        {
            await using var provider = await Provider.StartAsync();
            await using var server = await StartAsync(provider);
            await server.AddAcmeAsync();
            var (visitor, answer) = await SignInAsync(server);
            Assert.Equal((HttpStatusCode.Redirect, "/account"), (answer.Status, answer.Header("Location")));
            Assert.Contains("provider", (await visitor.GetAsync("/account")).Body);
            Assert.Equal(1, await server.ScalarAsync<long>("SELECT COUNT(*) FROM activity WHERE action = 'Login' AND detail = 'provider'"));

            (provider.Email, provider.IsEmailVerified) = ("elsewhere@acme.example", false);
            Assert.Equal(HttpStatusCode.Redirect, (await SignInAsync(server)).Answer.Status);
            Assert.Equal(2, await server.ScalarAsync<long>("SELECT COUNT(*) FROM sessions"));
        }

        [Fact]
        public async Task Who_was_deleted_and_is_made_again_comes_as_somebody_new()
        {
            await using var provider = await Provider.StartAsync();
            await using var server = await StartAsync(provider);
            var user = await server.AddUserAsync();
            await SignInAsync(server);
            Assert.False((await server.Users.DeleteAsync(Actor.Operator, user)).IsRefused);
            foreach (var table in (string[])["sessions", "provider_subjects"])
                Assert.Equal(0, await server.ScalarAsync<long>($"SELECT COUNT(*) FROM {table}"));
            Assert.False((await server.Users.CreateAsync(Actor.Operator, Email, "Ada again", TestServer.Password)).IsRefused);
            Assert.Equal(HttpStatusCode.Redirect, (await SignInAsync(server)).Answer.Status);
        }

        [Fact]
        public async Task The_address_may_come_from_userinfo_alone()
        {
            await using var provider = await Provider.StartAsync();
            await using var server = await StartAsync(provider);
            await server.AddAcmeAsync();
            provider.IsEmailInToken = false;
            Assert.Equal(HttpStatusCode.Redirect, (await SignInAsync(server)).Answer.Status);
        }

        [Fact]
        public async Task The_request_has_state_nonce_and_a_challenge_and_the_code_comes_back_with_its_verifier()
        {
            await using var provider = await Provider.StartAsync();
            await using var server = await StartAsync(provider);
            await server.AddAcmeAsync();
            await SignInAsync(server);
            foreach (var name in (string[])["state", "nonce", "code_challenge"])
                Assert.True(provider.Asked[name].Length >= 43, name);
            Assert.Equal(
                ("code", "S256", "openid profile email", $"{server.Address}/sign-in/provider/callback"),
                (
                    provider.Asked["response_type"],
                    provider.Asked["code_challenge_method"],
                    provider.Asked["scope"],
                    provider.Asked["redirect_uri"]
                )
            );
        }

        [
            Theory,
            InlineData("https://evil.example"),
            InlineData("//evil.example"),
            InlineData("/\\evil.example"),
            InlineData("/\t/evil.example"),
            InlineData("javascript:alert(1)")
        ]
        public async Task It_leads_nowhere_else(string from)
        {
            await using var provider = await Provider.StartAsync();
            await using var server = await StartAsync(provider);
            await server.AddAcmeAsync();
            Assert.Equal("/", (await SignInAsync(server, $"?from={Uri.EscapeDataString(from)}")).Answer.Header("Location"));
        }
    }

    public class Attacks
    {
        [
            Theory,
            InlineData("unverified"),
            InlineData("not said to be verified"),
            InlineData("nonce"),
            InlineData("issuer"),
            InlineData("audience"),
            InlineData("signature"),
            InlineData("expired"),
            InlineData("no signature"),
            InlineData("userinfo of another")
        ]
        public async Task A_forged_or_unproved_answer_opens_nothing(string fault)
        {
            await using var provider = await Provider.StartAsync();
            await using var server = await StartAsync(provider);
            await server.AddAcmeAsync();
            provider.Fault = fault;
            if (fault == "unverified") provider.IsEmailVerified = false;
            if (fault == "not said to be verified") provider.IsEmailVerified = null;
            await AssertRefusedAsync(server, await SignInAsync(server));
            Assert.Equal(0, await server.ScalarAsync<long>("SELECT COUNT(*) FROM provider_subjects"));

            // Control: without the fault it opens.
            (provider.Fault, provider.IsEmailVerified) = ("", true);
            Assert.Equal(HttpStatusCode.Redirect, (await SignInAsync(server)).Answer.Status);
        }

        /// <summary>Of two places that name the address, the word that it is verified counts only beside the address itself.</summary>
        [Fact]
        public async Task An_address_of_the_token_is_not_verified_by_userinfo()
        {
            await using var provider = await Provider.StartAsync();
            await using var server = await StartAsync(provider);
            await server.AddAcmeAsync();
            provider.IsEmailVerified = null; // in the token
            provider.UserInfo = new() { ["sub"] = provider.Subject, ["email"] = "own@acme.example", ["email_verified"] = true };
            await AssertRefusedAsync(server, await SignInAsync(server), "does not say");
        }

        [Fact]
        public async Task The_answer_to_another_browser_opens_nothing()
        {
            await using var provider = await Provider.StartAsync();
            await using var server = await StartAsync(provider);
            await server.AddAcmeAsync();
            var away = await new Visitor(server).GetAsync("/sign-in/provider");
            using var there = await server.Http.GetAsync(away.Header("Location"));
            var victim = new Visitor(server);
            await AssertRefusedAsync(server, (victim, await victim.GetAsync(there.Headers.Location!.PathAndQuery)));
        }

        [Theory, InlineData(null, true, true), InlineData(null, false, false), InlineData(false, true, false)]
        public async Task An_issuer_that_is_believed_needs_not_say_that_an_address_is_verified_and_its_no_is_a_no(
            bool? isVerified,
            bool isBelieved,
            bool isOpen
        )
        {
            await using var provider = await Provider.StartAsync();
            await using var server = await StartAsync(
                provider,
                $"--Pakhouse:OidcEmailIssuers={(isBelieved ? provider.Address : "https://login.example/tenant/v2.0")}"
            );
            await server.AddAcmeAsync();
            provider.IsEmailVerified = isVerified;
            var tried = await SignInAsync(server);
            if (isOpen)
                Assert.Equal(HttpStatusCode.Redirect, tried.Answer.Status);
            else
                await AssertRefusedAsync(server, tried, isVerified is null ? "does not say" : "has not verified");
        }

        [Fact]
        public async Task Changing_the_address_at_the_provider_takes_nobody_over()
        {
            await using var provider = await Provider.StartAsync();
            await using var server = await StartAsync(provider);
            var acme = await server.AddAcmeAsync();
            var eve = await server.AddMemberAsync(acme.Root);
            await SignInAsync(server); // the owner, as subject-1

            (provider.Subject, provider.Email) = ("subject-eve", "person2@acme.example");
            await SignInAsync(server);
            provider.Email = Email; // Eve's, from now on
            await SignInAsync(server);
            Assert.Equal(2, await server.ScalarAsync<long>($"SELECT COUNT(*) FROM sessions WHERE user_id = '{eve}'"));

            provider.Subject = "subject-eve-2"; // a second account of hers, with the owner's address
            var (visitor, answer) = await SignInAsync(server);
            Assert.Equal(HttpStatusCode.Forbidden, answer.Status);
            Assert.False(visitor.Cookies.ContainsKey("pakhouse"));
            Assert.Equal(1, await server.ScalarAsync<long>($"SELECT COUNT(*) FROM sessions WHERE user_id = '{acme.Owner}'"));
        }

        [Fact]
        public async Task Who_is_unknown_is_told_to_be_invited_and_nobody_is_made()
        {
            await using var provider = await Provider.StartAsync();
            await using var server = await StartAsync(provider);
            await server.AddAcmeAsync();
            provider.Email = "nobody@acme.example";
            await AssertRefusedAsync(server, await SignInAsync(server), "invite");
            Assert.Equal(1, await server.ScalarAsync<long>("SELECT COUNT(*) FROM users"));
        }

        [Fact]
        public async Task Who_is_disabled_stays_out_known_by_address_or_by_subject()
        {
            await using var provider = await Provider.StartAsync();
            await using var server = await StartAsync(provider);
            var acme = await server.AddAcmeAsync();
            await server.Users.SetDisabledAsync(Actor.Operator, acme.Owner, disabled: true);
            await AssertRefusedAsync(server, await SignInAsync(server), "suspended");
            await server.ExecuteAsync(
                $"INSERT INTO provider_subjects (issuer, subject, user_id, created_at) VALUES ('{provider.Address}', "
                    + $"'{provider.Subject}', '{acme.Owner}', 0)"
            );
            await AssertRefusedAsync(server, await SignInAsync(server), "suspended");
        }
    }

    public class Settings
    {
        [Fact]
        public async Task As_the_only_way_it_turns_off_every_other_one()
        {
            await using var provider = await Provider.StartAsync();
            await using var server = await StartAsync(provider, "--Pakhouse:OidcOnly=true");
            await server.AddAcmeAsync();
            var page = await new Visitor(server).GetAsync("/sign-in");
            Assert.Contains("Sign in with Acme ID", page.Body);
            Assert.DoesNotContain("type=\"password\"", page.Body);
            Assert.Equal(
                RefusalCode.NotFound,
                (await server.Get<PasswordSignIn>().SignInAsync(Email, TestServer.Password, null)).Refusal!.Code
            );
            Assert.Equal(RefusalCode.NotFound, (await server.Get<Passwords>().RequestResetAsync(Email, null)).Refusal!.Code);
            Assert.Equal(RefusalCode.NotFound, (await server.Get<Passwords>().ResetAsync("code", TestServer.Password, null)).Refusal!.Code);
            Assert.False(server.Get<Passkeys>().IsOn);
            Assert.Equal(HttpStatusCode.NotFound, (await new Visitor(server).GetAsync("/forgot-password")).Status);

            var (visitor, _) = await SignInAsync(server);
            foreach (var path in (string[])["/account/password", "/account/second-factor", "/account/passkeys/add"])
                Assert.Equal(HttpStatusCode.NotFound, (await visitor.GetAsync(path)).Status);
            Assert.Equal(HttpStatusCode.OK, (await visitor.GetAsync("/account")).Status);
        }

        [Fact]
        public async Task As_the_only_way_an_invitation_makes_an_account_that_only_it_opens()
        {
            await using var provider = await Provider.StartAsync();
            await using var server = await StartAsync(provider, "--Pakhouse:OidcOnly=true");
            var acme = await server.AddAcmeAsync();
            const string nora = "nora@acme.example";
            await server.Invitations.InviteAsync(Actor.Session(acme.Owner), acme.Root, nora, [new(acme.Root, NameSet.Empty)]);
            var mail = (await server.MailsToAsync(nora)).Single().TextBody!;
            var link = new Uri(
                mail.Split('\n').Single(line => line.Contains("/invitations/", StringComparison.Ordinal)).Trim()
            ).AbsolutePath;

            var visitor = new Visitor(server);
            Assert.DoesNotContain("type=\"password\"", (await visitor.GetAsync(link)).Body);
            Assert.Equal(HttpStatusCode.SeeOther, (await visitor.SubmitAsync(link, ("UserName", "Nora"))).Status);
            Assert.Equal(HttpStatusCode.Redirect, (await visitor.GetAsync("/account")).Status); // made, and not signed in

            provider.Email = nora;
            provider.Subject = "subject-nora";
            var (signedIn, _) = await SignInAsync(server);
            Assert.Contains(nora, (await signedIn.GetAsync("/account")).Body);
        }

        [Fact]
        public async Task Without_the_setting_there_is_no_such_way()
        {
            await using var server = await TestServer.StartAsync();
            Assert.Equal(HttpStatusCode.NotFound, (await new Visitor(server).GetAsync("/sign-in/provider")).Status);
            Assert.Equal(HttpStatusCode.NotFound, (await new Visitor(server).GetAsync("/sign-in/provider/callback?code=x")).Status);
        }

        [
            Theory,
            InlineData("auth_time now", true),
            InlineData("auth_time long ago", false),
            InlineData("no auth_time", false),
            InlineData("another person", false)
        ]
        public async Task It_confirms_who_one_is_by_a_fresh_sign_in_of_the_same_person(string answer, bool isConfirmed)
        {
            await using var provider = await Provider.StartAsync();
            await using var server = await StartAsync(provider);
            var acme = await server.AddAcmeAsync();
            await server.AddMemberAsync(acme.Root);
            var (visitor, _) = await SignInAsync(server);
            server.Clock.Advance(TimeSpan.FromMinutes(20));
            Assert.Equal(HttpStatusCode.SeeOther, (await visitor.GetAsync("/account/second-factor")).Status);
            provider.AuthTime = answer switch
            {
                "auth_time now" => server.Clock.GetUtcNow(),
                "no auth_time" => null,
                "another person" => server.Clock.GetUtcNow(),
                _ => server.Clock.GetUtcNow().AddMinutes(-20),
            };
            if (answer == "another person")
                (provider.Subject, provider.Email) = ("subject-2", "person2@acme.example");
            var back = await GoAsync(server, visitor, "?confirm=true&from=%2Faccount%2Fsecond-factor");
            Assert.Equal(("login", "0"), (provider.Asked["prompt"], provider.Asked["max_age"]));
            Assert.Equal(isConfirmed ? HttpStatusCode.Redirect : HttpStatusCode.Forbidden, back.Status);
            Assert.Equal(
                isConfirmed ? HttpStatusCode.OK : HttpStatusCode.SeeOther,
                (await visitor.GetAsync("/account/second-factor")).Status
            );
        }
    }

    /// <summary>
    /// A small OpenID Connect provider: real endpoints, real tokens, and faults on demand. Whoever comes is signed in there already.
    /// </summary>
    private sealed class Provider : IAsyncDisposable
    {
        public const string ClientId = "pakhouse",
            ClientSecret = "a secret of both";

        private readonly WebApplication app;
        private readonly RsaSecurityKey key = new(RSA.Create(2048)) { KeyId = "key-1" },
            foreign = new(RSA.Create(2048)) { KeyId = "key-1" };
        private readonly Dictionary<string, Dictionary<string, string>> codes = new(StringComparer.Ordinal);

        private Provider()
        {
            var builder = WebApplication.CreateSlimBuilder();
            builder.Logging.ClearProviders();
            app = builder.Build();
            app.Urls.Add("http://127.0.0.1:0");
            app.MapGet(
                "/.well-known/openid-configuration",
                () =>
                    new Dictionary<string, object>
                    {
                        ["issuer"] = Address,
                        ["authorization_endpoint"] = $"{Address}/authorize",
                        ["token_endpoint"] = $"{Address}/token",
                        ["userinfo_endpoint"] = $"{Address}/userinfo",
                        ["jwks_uri"] = $"{Address}/jwks",
                    }
            );
            app.MapGet(
                "/jwks",
                () =>
                {
                    var parameters = key.Rsa.ExportParameters(false);
                    return new
                    {
                        keys = new[]
                        {
                            new
                            {
                                kty = "RSA",
                                use = "sig",
                                alg = "RS256",
                                kid = key.KeyId,
                                n = Base64Url.EncodeToString(parameters.Modulus),
                                e = Base64Url.EncodeToString(parameters.Exponent),
                            },
                        },
                    };
                }
            );
            app.MapGet(
                "/authorize",
                (HttpContext context) =>
                {
                    Asked = context.Request.Query.ToDictionary(pair => pair.Key, pair => pair.Value.ToString(), StringComparer.Ordinal);
                    var code = KeyFormat.NewId();
                    codes[code] = Asked;
                    return Results.Redirect(
                        QueryHelpers.AddQueryString(
                            Asked["redirect_uri"],
                            new Dictionary<string, string?> { ["code"] = code, ["state"] = Asked["state"] }
                        )
                    );
                }
            );
            app.MapPost(
                "/token",
                async (HttpContext context) =>
                {
#pragma warning disable RS0030 // the provider of the tests holds no secret of ours
                    var form = await context.Request.ReadFormAsync();
#pragma warning restore RS0030
                    var asked = codes[form["code"]!];
                    if (
                        !codes.Remove(form["code"]!)
                        || form["client_id"] != ClientId
                        || form["client_secret"] != ClientSecret
                        || form["redirect_uri"] != asked["redirect_uri"]
                        || Base64Url.EncodeToString(SHA256.HashData(Encoding.ASCII.GetBytes(form["code_verifier"]!)))
                            != asked["code_challenge"]
                    )
                        return Results.BadRequest();
                    return Results.Json(
                        new
                        {
                            id_token = Token(asked["nonce"]),
                            access_token = "access",
                            token_type = "Bearer",
                            expires_in = 60,
                        }
                    );
                }
            );
            app.MapGet(
                "/userinfo",
                () =>
                    UserInfo
                    ?? new Dictionary<string, object>
                    {
                        ["sub"] = Fault == "userinfo of another" ? "somebody" : Subject,
                        ["email"] = Email,
                        ["email_verified"] = IsEmailVerified == true,
                    }
            );
        }

        public FakeTimeProvider Clock { get; } = new(new DateTimeOffset(2026, 11, 2, 9, 0, 30, TimeSpan.Zero));

        public string Address => app.Urls.Single();

        public string Subject { get; set; } = "subject-1";

        public string Email { get; set; } = ProviderTests.Email;

        public bool? IsEmailVerified { get; set; } = true;

        public bool IsEmailInToken { get; set; } = true;

        public DateTimeOffset? AuthTime { get; set; }

        public string Fault { get; set; } = "";

        public Dictionary<string, object>? UserInfo { get; set; }

        public Dictionary<string, string> Asked { get; private set; } = [];

        public static async Task<Provider> StartAsync()
        {
            var provider = new Provider();
            await provider.app.StartAsync();
            return provider;
        }

        public ValueTask DisposeAsync() => app.DisposeAsync();

        private string Token(string nonce)
        {
            var now = Clock.GetUtcNow().UtcDateTime.AddHours(Fault == "expired" ? -2 : 0);
            var claims = new Dictionary<string, object> { ["sub"] = Subject, ["nonce"] = Fault == "nonce" ? nonce + "x" : nonce };
            if (IsEmailInToken)
                claims["email"] = Email;
            if (IsEmailInToken && IsEmailVerified is { } verified)
                claims["email_verified"] = verified;
            if (AuthTime is { } at)
                claims["auth_time"] = at.ToUnixTimeSeconds();
            return new JsonWebTokenHandler { SetDefaultTimesOnTokenCreation = false }.CreateToken(
                new SecurityTokenDescriptor
                {
                    Issuer = Fault == "issuer" ? "https://evil.example" : Address,
                    Audience = Fault == "audience" ? "another-client" : ClientId,
                    Claims = claims,
                    IssuedAt = now, // no nbf, as real providers have it
                    Expires = now.AddHours(1),
                    SigningCredentials =
                        Fault == "no signature"
                            ? null
                            : new SigningCredentials(Fault == "signature" ? foreign : key, SecurityAlgorithms.RsaSha256),
                }
            );
        }
    }
}
