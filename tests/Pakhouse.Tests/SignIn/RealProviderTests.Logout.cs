using System.Net;
using Microsoft.AspNetCore.WebUtilities;

namespace Pakhouse.Tests;

public static partial class RealProviderTests
{
    private const string LogoutPath = "/sign-in/provider/backchannel-logout";

    private static readonly object events = new Dictionary<string, object>
    {
        ["http://schemas.openid.net/event/backchannel-logout"] = new { },
    };

    private static Task<Answer> NotifyAsync(TestServer server, string token) => server.PostAsync(LogoutPath, ("logout_token", token));

    private static async Task<bool> IsSignedInAsync(Visitor visitor) =>
        (await visitor.Copy().GetAsync("/account")).Status == HttpStatusCode.OK;

    /// <summary>A logout token as the specification wants it, but for what <paramref name="change"/> does to it.</summary>
    private static Dictionary<string, object?> Claims(NodeProvider provider, Action<Dictionary<string, object?>>? change = null)
    {
        var now = provider.Clock.GetUtcNow().ToUnixTimeSeconds();
        var claims = new Dictionary<string, object?>
        {
            ["iss"] = provider.Address,
            ["aud"] = NodeProvider.ClientId,
            ["iat"] = now,
            ["exp"] = now + 120,
            ["jti"] = KeyFormat.NewId(),
            ["sub"] = "subject-1",
            ["events"] = events,
        };
        change?.Invoke(claims);
        return claims;
    }

    public class Logout
    {
        [Fact]
        public async Task Who_signs_out_is_led_to_sign_out_at_the_provider_too_and_comes_back()
        {
            await using var provider = await NodeProvider.StartAsync();
            await using var server = await StartAsync(provider);
            var cookies = new Dictionary<string, string>();
            var (visitor, _) = await SignInAsync(server, provider, cookies);
            var other = await SignInAsync(server, provider, cookies); // another browser of ours at the same session there

            var signedOut = await visitor.SubmitToAsync("/account", "/sign-out");
            Assert.Equal((HttpStatusCode.SeeOther, "/sign-in?out=here"), (signedOut.Status, signedOut.Header("Location")));
            Assert.Contains("href=\"/sign-in/provider/sign-out\"", (await visitor.GetAsync("/sign-in?out=here")).Body);
            Assert.True(await IsSignedInAsync(other.Visitor));

            var away = await visitor.GetAsync("/sign-in/provider/sign-out");
            Assert.Equal(HttpStatusCode.Redirect, away.Status);
            var asked = QueryHelpers.ParseQuery(new Uri(away.Header("Location")!).Query);
            // and nothing about the person
            Assert.Equal(["client_id", "post_logout_redirect_uri", "state"], asked.Keys.Order(StringComparer.Ordinal));
            var back = await provider.SignOutAsync(away.Header("Location")!, cookies);
            Assert.Equal("/sign-in/provider/signed-out", back.AbsolutePath);
            Assert.Equal("/sign-in?out=provider", (await visitor.GetAsync(back.PathAndQuery)).Header("Location"));
            Assert.Equal("/sign-in", (await visitor.GetAsync("/sign-in/provider/signed-out?state=x")).Header("Location"));
            Assert.Equal("/sign-in", (await visitor.GetAsync("/sign-in/provider/signed-out")).Header("Location"));

            // The provider told this server of it, by the back channel: what began at that session has ended.
            Assert.False(await IsSignedInAsync(other.Visitor));
        }

        [Fact]
        public async Task A_session_that_ends_at_the_provider_ends_here_in_every_process_and_others_go_on()
        {
            await using var provider = await NodeProvider.StartAsync();
            await using var server = await StartAsync(provider);
            await using var second = await TestServer.StartOnAsync(
                server.Place,
                provider.Clock,
                $"--Pakhouse:PublicAddress={server.Address}"
            );
            var (one, two) = (new Dictionary<string, string>(), new Dictionary<string, string>());
            var first = (await SignInAsync(server, provider, one)).Visitor;
            var elsewhere = (await SignInAsync(server, provider, two)).Visitor; // the same person, at another session of the provider
            var byPassword = await Visitor.SignInAsync(server, "person1@acme.example");
            var inSecond = new Visitor(second) { Cookies = new Dictionary<string, string>(first.Cookies) };
            Assert.True(await IsSignedInAsync(inSecond));

            var end =
                $"{provider.Address}/session/end?client_id={NodeProvider.ClientId}&post_logout_redirect_uri={Uri.EscapeDataString($"{server.Address}/sign-in/provider/signed-out")}";
            await provider.SignOutAsync(end, one);
            var told = await provider.SetAsync(new { });
            Assert.False(await IsSignedInAsync(first), string.Join("; ", told));
            Assert.False(await IsSignedInAsync(inSecond));
            Assert.True(await IsSignedInAsync(elsewhere));
            Assert.True(await IsSignedInAsync(byPassword));
            Assert.Equal(
                1,
                await server.ScalarAsync<long>("SELECT COUNT(*) FROM activity WHERE action = 'Session End' AND detail = 'provider'")
            );
        }

        [Fact]
        public async Task A_token_without_a_session_ends_every_session_of_the_person_that_began_there()
        {
            await using var provider = await NodeProvider.StartAsync();
            await using var server = await StartAsync(provider);
            var visitors = new[] { (await SignInAsync(server, provider)).Visitor, (await SignInAsync(server, provider)).Visitor };
            var byPassword = await Visitor.SignInAsync(server, "person1@acme.example");
            var answer = await NotifyAsync(server, await provider.SignAsync(Claims(provider)));
            Assert.Equal(HttpStatusCode.OK, answer.Status);
            Assert.Equal("no-store", answer.Header("Cache-Control"));
            foreach (var visitor in visitors)
                Assert.False(await IsSignedInAsync(visitor));
            Assert.True(await IsSignedInAsync(byPassword));
        }

        [Fact]
        public async Task A_session_that_ended_at_the_provider_while_its_sign_in_was_on_the_way_begins_none_here()
        {
            await using var provider = await NodeProvider.StartAsync();
            await using var server = await StartAsync(provider);
            var cookies = new Dictionary<string, string>();
            await SignInAsync(server, provider, cookies);
            var late = new Visitor(server);
            var back = await provider.FollowAsync((await late.GetAsync("/sign-in/provider")).Header("Location")!, cookies);
            var sid = await server.ScalarAsync<long>("SELECT COUNT(*) FROM sessions WHERE provider_session IS NOT NULL");
            Assert.Equal(1, sid);
            // As the provider would tell it, of the very session.
            await server.ExecuteAsync(
                "INSERT INTO provider_logouts (hash, provider_session, kept_until) SELECT provider_session, provider_session, "
                    + "4000000000000 FROM sessions WHERE provider_session IS NOT NULL"
            );
            var answer = await late.GetAsync(back.PathAndQuery);
            Assert.Equal(HttpStatusCode.Forbidden, answer.Status);
            Assert.Contains("signed out at your identity provider in the meantime", answer.Body);
            Assert.False(await IsSignedInAsync(late));
        }
    }

    public class LogoutAttacks
    {
        [Fact]
        public async Task What_is_no_logout_token_of_this_provider_for_this_client_ends_nothing()
        {
            await using var provider = await NodeProvider.StartAsync();
            await using var server = await StartAsync(provider);
            var (visitor, _) = await SignInAsync(server, provider);
            var now = provider.Clock.GetUtcNow().ToUnixTimeSeconds();
            Dictionary<string, object?> With(string name, object? value) => Claims(provider, claims => claims[name] = value);
            Dictionary<string, object?> Without(string name) => Claims(provider, claims => claims.Remove(name));
            var good = await provider.SignAsync(Claims(provider));
            var parts = good.Split('.');
            var tokens = new Dictionary<string, string>
            {
                ["alg none"] = await provider.SignAsync(Claims(provider), alg: "none"),
                ["alg none with a signature"] = (await provider.SignAsync(Claims(provider), alg: "none")) + parts[2],
                ["another key under the same kid"] = await provider.SignAsync(Claims(provider), foreign: true),
                ["no signature"] = $"{parts[0]}.{parts[1]}.",
                ["a changed payload"] = $"{parts[0]}.{(await provider.SignAsync(Claims(provider))).Split('.')[1]}.{parts[2]}",
                ["another issuer"] = await provider.SignAsync(With("iss", "https://idp.example")),
                ["no issuer"] = await provider.SignAsync(Without("iss")),
                ["another client"] = await provider.SignAsync(With("aud", "another")),
                ["no audience"] = await provider.SignAsync(Without("aud")),
                ["no iat"] = await provider.SignAsync(Without("iat")),
                ["no exp"] = await provider.SignAsync(Without("exp")),
                ["exp as text"] = await provider.SignAsync(With("exp", $"{now + 60}")),
                ["over"] = await provider.SignAsync(With("exp", now - 301)),
                ["good for years"] = await provider.SignAsync(With("exp", now + 100_000_000)),
                ["made in the future"] = await provider.SignAsync(With("iat", now + 301)),
                ["no jti"] = await provider.SignAsync(Without("jti")),
                ["an empty jti"] = await provider.SignAsync(With("jti", "")),
                ["neither sub nor sid"] = await provider.SignAsync(Without("sub")),
                ["sub as a number"] = await provider.SignAsync(With("sub", 1)),
                ["no events"] = await provider.SignAsync(Without("events")),
                ["another event"] = await provider.SignAsync(
                    With("events", new Dictionary<string, object> { ["http://schemas.openid.net/event/other"] = new { } })
                ),
                ["the event as text"] = await provider.SignAsync(With("events", "http://schemas.openid.net/event/backchannel-logout")),
                ["the event is no object"] = await provider.SignAsync(
                    With("events", new Dictionary<string, object> { ["http://schemas.openid.net/event/backchannel-logout"] = true })
                ),
                ["an id token"] = await provider.SignAsync(
                    Claims(
                        provider,
                        claims =>
                        {
                            claims.Remove("events");
                            claims["nonce"] = "n";
                        }
                    )
                ),
                ["a nonce"] = await provider.SignAsync(With("nonce", "n")),
                ["a nonce that is null"] = await provider.SignAsync(With("nonce", null)),
                ["an access token"] = await provider.SignAsync(Claims(provider), new { typ = "at+jwt" }),
                ["a token of ours"] = (
                    await server.ExchangeAsync(
                        await server.AddKeyAsync(
                            Guid.Parse((await server.ScalarAsync<string>("SELECT user_id FROM memberships LIMIT 1"))!),
                            Guid.Parse((await server.ScalarAsync<string>("SELECT organization_id FROM memberships LIMIT 1"))!)
                        )
                    )
                ).Token,
                ["nothing"] = "",
                ["no token"] = "a.b",
                ["noise"] = "a.b.c",
                ["too long"] = new string('a', 9000),
            };
            foreach (var (name, token) in tokens)
            {
                var answer = await NotifyAsync(server, token);
                Assert.True(answer.Status == HttpStatusCode.BadRequest, $"{name}: {answer.Status} {answer.Body}");
                Assert.Equal("invalid_request", answer.Error);
                Assert.True(await IsSignedInAsync(visitor), name);
            }

            // The control: of all of them the good one ends it, with each typ that providers send.
            Assert.Equal(HttpStatusCode.OK, (await NotifyAsync(server, good)).Status);
            Assert.False(await IsSignedInAsync(visitor));
            foreach (var type in (string[])["logout+jwt", "application/logout+jwt", "JWT"])
                Assert.Equal(
                    HttpStatusCode.OK,
                    (await NotifyAsync(server, await provider.SignAsync(Claims(provider), new { typ = type }))).Status
                );
        }

        [Fact]
        public async Task A_token_counts_once_however_many_come_at_once()
        {
            await using var provider = await NodeProvider.StartAsync();
            await using var server = await StartAsync(provider);
            var token = await provider.SignAsync(Claims(provider));
            var answers = await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => NotifyAsync(server, token)));
            Assert.Single(answers, answer => answer.Status == HttpStatusCode.OK);
            var (visitor, _) = await SignInAsync(server, provider); // who signs in again is not thrown out by an old token
            Assert.Equal(HttpStatusCode.BadRequest, (await NotifyAsync(server, token)).Status);
            Assert.True(await IsSignedInAsync(visitor));

            provider.Clock.Advance(TimeSpan.FromHours(30));
            Assert.Equal(HttpStatusCode.BadRequest, (await NotifyAsync(server, token)).Status); // out of date by then
        }

        [Fact]
        public async Task Forged_ones_are_limited_by_address_before_a_signature_is_computed()
        {
            await using var provider = await NodeProvider.StartAsync();
            await using var server = await StartAsync(provider, "--Pakhouse:FailuresPerMinuteMax=3");
            for (var i = 0; i < 3; i++)
                Assert.Equal(HttpStatusCode.BadRequest, (await NotifyAsync(server, "a.b.c")).Status);
            Assert.Equal(HttpStatusCode.TooManyRequests, (await NotifyAsync(server, "a.b.c")).Status);
        }

        [Fact]
        public async Task The_first_logout_token_after_the_provider_changed_its_key_counts()
        {
            await using var provider = await NodeProvider.StartAsync();
            await using var server = await StartAsync(provider);
            var (visitor, _) = await SignInAsync(server, provider);
            provider.Clock.Advance(TimeSpan.FromSeconds(30));
            await provider.SetAsync(new { kid = "key-2", rotateKey = true });
            Assert.Equal(HttpStatusCode.OK, (await NotifyAsync(server, await provider.SignAsync(Claims(provider)))).Status);
            Assert.False(await IsSignedInAsync(visitor));
        }
    }
}
