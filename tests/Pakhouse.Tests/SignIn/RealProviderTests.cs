using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Microsoft.Extensions.Time.Testing;

namespace Pakhouse.Tests;

/// <summary>Sign-in through a provider that nobody here wrote, as it is: its id tokens have no <c>nbf</c>.</summary>
public static partial class RealProviderTests
{
    private static async Task<TestServer> StartAsync(NodeProvider provider, params string[] settings)
    {
        var server = await StartAsync(provider.Address, provider.Clock, settings);
        await server.AddAcmeAsync();
        await RegisterAsync(server, provider, new());
        return server;
    }

    private static Task<TestServer> StartAsync(string authority, FakeTimeProvider? clock, params string[] settings) =>
        TestServer.StartOnAsync(
            null,
            clock,
            [
                "--Pakhouse:FailuresPerMinuteMax=1000",
                $"--Pakhouse:OidcAuthority={authority}",
                $"--Pakhouse:OidcClientId={NodeProvider.ClientId}",
                $"--Pakhouse:OidcClientSecret={NodeProvider.ClientSecret}",
                .. settings,
            ]
        );

    private static Task<string[]> RegisterAsync(TestServer server, NodeProvider provider, Dictionary<string, object> changes)
    {
        changes["client"] = new
        {
            redirect_uris = new[] { $"{server.Address}/sign-in/provider/callback" },
            post_logout_redirect_uris = new[] { $"{server.Address}/sign-in/provider/signed-out" },
            backchannel_logout_uri = $"{server.Address}/sign-in/provider/backchannel-logout",
            backchannel_logout_session_required = true,
        };
        return provider.SetAsync(changes);
    }

    private static async Task<(Visitor Visitor, Answer Answer)> SignInAsync(
        TestServer server,
        NodeProvider provider,
        IDictionary<string, string>? cookies = null
    )
    {
        var visitor = new Visitor(server);
        var away = await visitor.GetAsync("/sign-in/provider?from=%2Faccount");
        if (away.Status != HttpStatusCode.Redirect)
            return (visitor, away);
        var back = await provider.FollowAsync(away.Header("Location")!, cookies);
        return (visitor, await visitor.GetAsync(back.PathAndQuery));
    }

    private static async Task AssertSignsInAsync(TestServer server, NodeProvider provider)
    {
        var (visitor, answer) = await SignInAsync(server, provider);
        Assert.True(answer.Status == HttpStatusCode.Redirect, $"{answer.Status}: {answer.Body}");
        Assert.Equal("/account", answer.Header("Location"));
        Assert.Equal(HttpStatusCode.OK, (await visitor.GetAsync("/account")).Status);
    }

    public class Keys
    {
        [Theory, InlineData("RS256"), InlineData("PS256"), InlineData("ES256")]
        public async Task The_first_sign_in_after_the_provider_changed_its_signing_key_goes_through(string algorithm)
        {
            await using var provider = await NodeProvider.StartAsync();
            await provider.SetAsync(new { alg = algorithm, rotateKey = true });
            await using var server = await StartAsync(provider);
            await AssertSignsInAsync(server, provider);

            provider.Clock.Advance(TimeSpan.FromSeconds(30)); // the least between two readings of the keys
            await provider.SetAsync(new { kid = "key-2", rotateKey = true });
            await AssertSignsInAsync(server, provider);

            // Known by now: no sign-in asks for the keys again.
            await provider.SetAsync(new { });
            await AssertSignsInAsync(server, provider);
            Assert.DoesNotContain("/jwks", await provider.SetAsync(new { }));
        }

        [Fact]
        public async Task A_new_key_under_the_id_of_the_old_one_is_found_too()
        {
            await using var provider = await NodeProvider.StartAsync();
            await using var server = await StartAsync(provider);
            await AssertSignsInAsync(server, provider);
            provider.Clock.Advance(TimeSpan.FromSeconds(30));
            await provider.SetAsync(new { rotateKey = true });
            await AssertSignsInAsync(server, provider);
        }
    }

    public class Away
    {
        [Fact]
        public async Task A_provider_that_is_down_at_a_cold_start_gives_a_page_with_the_reason_and_comes_back_by_itself()
        {
            await using var provider = await NodeProvider.StartAsync();
            var free = new TcpListener(IPAddress.Loopback, 0);
            free.Start();
            var port = ((IPEndPoint)free.LocalEndpoint).Port;
            free.Stop();
            await using (var server = await StartAsync($"http://127.0.0.1:{port}", provider.Clock))
                await AssertAwayAsync(server);

            await using var hanging = await StartAsync(provider);
            await RegisterAsync(hanging, provider, new() { ["hang"] = "/.well-known" });
            await AssertAwayAsync(hanging);
            provider.Clock.Advance(TimeSpan.FromSeconds(3));
            await RegisterAsync(hanging, provider, new() { ["hang"] = "" });
            await AssertSignsInAsync(hanging, provider);
        }

        [Theory, InlineData("/jwks"), InlineData("/request")]
        public async Task A_provider_that_hangs_before_the_redirect_gives_a_page_with_the_reason_within_seconds(string path)
        {
            await using var provider = await NodeProvider.StartAsync();
            await using var server = await StartAsync(provider);
            await RegisterAsync(server, provider, new() { ["par"] = path == "/request", ["hang"] = path });
            await AssertAwayAsync(server);
        }

        [Theory, InlineData("/token"), InlineData("/me")]
        public async Task A_provider_that_hangs_after_the_redirect_gives_a_page_with_the_reason_within_seconds(string path)
        {
            await using var provider = await NodeProvider.StartAsync();
            await using var server = await StartAsync(provider);
            await RegisterAsync(server, provider, new() { ["hang"] = path });
            var before = Stopwatch.GetTimestamp();
            var (_, answer) = await SignInAsync(server, provider);
            AssertAway(answer, Stopwatch.GetElapsedTime(before));
        }

        private static async Task AssertAwayAsync(TestServer server)
        {
            var before = Stopwatch.GetTimestamp();
            var answers = await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => new Visitor(server).GetAsync("/sign-in/provider")));
            Assert.All(answers, answer => AssertAway(answer, Stopwatch.GetElapsedTime(before)));
        }

        private static void AssertAway(Answer answer, TimeSpan taken)
        {
            Assert.Equal(HttpStatusCode.ServiceUnavailable, answer.Status);
            Assert.Contains("cannot reach your identity provider", answer.Body);
            Assert.True(taken < TimeSpan.FromSeconds(30), $"{taken}"); // eight one after another would take forty
        }
    }

    public class Requests
    {
        [Fact]
        public async Task Where_the_provider_wants_it_the_request_is_pushed()
        {
            await using var provider = await NodeProvider.StartAsync();
            await using var server = await StartAsync(provider);
            await RegisterAsync(server, provider, new() { ["par"] = true });
            await AssertSignsInAsync(server, provider);
            Assert.Contains("/request", await provider.SetAsync(new { }));
        }

        [Fact]
        public async Task An_algorithm_that_the_library_cannot_verify_opens_nothing()
        {
            await using var provider = await NodeProvider.StartAsync();
            await provider.SetAsync(new { alg = "EdDSA", rotateKey = true });
            await using var server = await StartAsync(provider);
            var (visitor, answer) = await SignInAsync(server, provider);
            Assert.Equal(HttpStatusCode.Forbidden, answer.Status);
            Assert.False(visitor.Cookies.ContainsKey("pakhouse"));
        }
    }
}

public class ProviderTimesTests
{
    private static readonly DateTime now = new(2026, 11, 2, 9, 0, 30, DateTimeKind.Utc);

    [Theory]
    [InlineData(null, 60, 0, true)] // no nbf
    [InlineData(null, null, 0, false)] // no end
    [InlineData(0, 60, null, true)]
    [InlineData(299, 60, 0, true)]
    [InlineData(301, 60, 0, false)]
    [InlineData(null, -299, 0, true)]
    [InlineData(null, -300, 0, false)]
    [InlineData(null, 60, 299, true)]
    [InlineData(null, 60, 301, false)] // made in the future
    public void A_token_is_good_from_nbf_to_exp_with_five_minutes_between_clocks(
        int? notBefore,
        int? expires,
        int? issuedAt,
        bool isGood
    ) => Assert.Equal(isGood, ProviderSignIn.IsInTime(At(notBefore), At(expires), At(issuedAt), now));

    [Fact]
    public void The_ends_of_the_calendar_are_no_faults()
    {
        Assert.True(ProviderSignIn.IsInTime(DateTime.MinValue, DateTime.MaxValue, DateTime.MinValue, now));
        Assert.False(ProviderSignIn.IsInTime(DateTime.MaxValue, DateTime.MaxValue, now, now));
        Assert.False(ProviderSignIn.IsInTime(null, DateTime.MinValue, now, now));
        Assert.False(ProviderSignIn.IsInTime(null, DateTime.MaxValue, DateTime.MaxValue, now));
    }

    private static DateTime? At(int? seconds) => seconds is { } s ? now.AddSeconds(s) : null;
}
