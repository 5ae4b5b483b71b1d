using System.Net;
using Microsoft.Extensions.Options;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;
using Pakhouse.AspNetCore;
using PublicApiGenerator;

namespace Pakhouse.Tests;

public static partial class AcceptTokensTests
{
    /// <summary>The verifier fails closed.</summary>
    public class On503
    {
        [Fact]
        public async Task A_list_older_than_its_ttl_is_not_believed()
        {
            await using var server = await TestServer.StartAsync();
            await using var api = await VerifyingApi.StartAsync(server);
            await using var patient = await VerifyingApi.StartAsync(server, options => options.StatusGrace = TimeSpan.FromSeconds(60));
            var token = await NewTokenAsync(server);
            foreach (var verifier in (VerifyingApi[])[api, patient]) Assert.Equal(HttpStatusCode.OK, await verifier.StatusAsync(token));
            await server.StopAsync();

            server.Clock.Advance(TimeSpan.FromSeconds(4.9));
            Assert.Equal(HttpStatusCode.OK, await api.StatusAsync(token));
            server.Clock.Advance(TimeSpan.FromSeconds(0.1));
            var answer = await api.AskAsync(token);
            Assert.Equal((HttpStatusCode.ServiceUnavailable, "1"), (answer.Status, answer.Header("Retry-After")));
            Assert.Equal(HttpStatusCode.OK, await patient.StatusAsync(token)); // as its grace says
            server.Clock.Advance(TimeSpan.FromSeconds(60));
            Assert.Equal(HttpStatusCode.ServiceUnavailable, await patient.StatusAsync(token));
        }

        [Fact]
        public async Task Before_the_first_list_nothing_is_accepted()
        {
            await using var server = await TestServer.StartAsync();
            await using var api = await VerifyingApi.StartAsync(server);
            var token = await NewTokenAsync(server);
            api.Network.List = () => throw new HttpRequestException("cut");
            Assert.Equal(HttpStatusCode.ServiceUnavailable, await api.StatusAsync(token));
            api.Network.List = null;
            server.Clock.Advance(TimeSpan.FromSeconds(1)); // the pause after a failure
            Assert.Equal(HttpStatusCode.OK, await api.StatusAsync(token));
        }

        [Fact]
        public async Task A_list_that_was_rolled_back_is_not_believed()
        {
            await using var server = await TestServer.StartAsync();
            await using var api = await VerifyingApi.StartAsync(server);
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            var token = (await server.ExchangeAsync(key)).Token;
            var before = await server.Http.GetStringAsync("/status-lists/0");
            await server.Keys.DeleteByOperatorAsync(Actor.Operator, TestServer.IdOf(key));
            Assert.Equal(HttpStatusCode.Unauthorized, await api.StatusAsync(token));

            api.Network.List = () => before; // signed by the issuer, named rightly, not expired
            server.Clock.Advance(TimeSpan.FromSeconds(5));
            Assert.Equal(HttpStatusCode.ServiceUnavailable, await api.StatusAsync(token));

            // Control: where nothing newer was seen, the same list is believed, until it expires.
            await using var fresh = await VerifyingApi.StartAsync(server);
            fresh.Network.List = () => before;
            Assert.Equal(HttpStatusCode.OK, await fresh.StatusAsync(token));
            server.Clock.Advance(TimeSpan.FromSeconds(45)); // 20 seconds and 30 of clock skew in all
            Assert.Equal(HttpStatusCode.ServiceUnavailable, await fresh.StatusAsync(token));
        }

        [Fact]
        public async Task A_list_wrongly_signed_or_named_or_kept_for_too_long_is_not_believed()
        {
            await using var server = await TestServer.StartAsync();
            var token = await NewTokenAsync(server);
            await server.ExecuteAsync($"UPDATE counters SET value = {StatusLists.EntriesPerList} WHERE name = 'access_keys.status_index'");
            await using var stranger = await TestServer.StartAsync($"--Pakhouse:PublicAddress={server.Address}");
            await NewTokenAsync(stranger);
            var list = await server.Http.GetStringAsync("/status-lists/0");
            var parts = list.Split('.');
            foreach (var (what, wrong) in new Dictionary<string, string>(StringComparer.Ordinal)
            {
                ["signed by another"] = await stranger.Http.GetStringAsync("/status-lists/0"),
                ["no signature"] = $"{parts[0]}.{parts[1]}.",
                ["alg none"] = $"{Base64UrlEncoder.Encode("""{"alg":"none","typ":"statuslist+jwt"}""")}.{parts[1]}.",
                ["changed"] = $"{parts[0]}.{parts[1][..^2]}AA.{parts[2]}",
                ["another audience"] = Relisted(server, list, aud: $"{server.Address}/status-lists/1"),
                ["no audience"] = Relisted(server, list, aud: null),
                ["another list"] = await server.Http.GetStringAsync("/status-lists/1"),
                ["a token in place of a list"] = token,
                ["no list"] = "<html>",
                ["nothing"] = "",
            })
            {
                await using var api = await VerifyingApi.StartAsync(server);
                api.Network.List = () => wrong;
                Assert.True(await api.StatusAsync(token) == HttpStatusCode.ServiceUnavailable, what);
                api.Network.List = () => list; // control: the right one, by the same way
                server.Clock.Advance(TimeSpan.FromSeconds(1));
                Assert.Equal(HttpStatusCode.OK, await api.StatusAsync(token));
            }

            await using var resigned = await VerifyingApi.StartAsync(server); // control: signed here as those above, and right
            resigned.Network.List = () => Relisted(server, list, aud: $"{server.Address}/status-lists/0");
            Assert.Equal(HttpStatusCode.OK, await resigned.StatusAsync(token));

            await using var behindCache = await VerifyingApi.StartAsync(server);
            behindCache.Network.Age = 5;
            Assert.Equal(HttpStatusCode.ServiceUnavailable, await behindCache.StatusAsync(token));
        }

        [Fact]
        public async Task A_proxy_that_answers_304_to_everything_gains_the_time_to_the_lists_own_exp_and_no_more()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            var token = (await server.ExchangeAsync(key)).Token;
            await using var api = await VerifyingApi.StartAsync(server);
            Assert.Equal(HttpStatusCode.OK, await api.StatusAsync(token));
            await server.Keys.DeleteByOperatorAsync(Actor.Operator, TestServer.IdOf(key));
            api.Network.Interceptor = request =>
                request.RequestUri!.AbsolutePath.StartsWith("/status-lists", StringComparison.Ordinal)
                    ? new HttpResponseMessage(HttpStatusCode.NotModified)
                    : null;

            var believed = TimeSpan.Zero;
            for (; await api.StatusAsync(token) == HttpStatusCode.OK; believed += TimeSpan.FromSeconds(1))
            {
                Assert.True(believed < TimeSpan.FromMinutes(5), "The ended key's token goes on being accepted.");
                server.Clock.Advance(TimeSpan.FromSeconds(1));
            }

            // longer than the ttl: the 304 counted while a tag was sent; 20 seconds to exp and 30 of clock skew
            Assert.InRange(believed.TotalSeconds, 6, 50);
            Assert.Equal(HttpStatusCode.ServiceUnavailable, await api.StatusAsync(token));
            api.Network.Interceptor = null; // control: by an honest way the end of the key is seen
            server.Clock.Advance(TimeSpan.FromSeconds(1));
            Assert.Equal(HttpStatusCode.Unauthorized, await api.StatusAsync(token));
        }

        [Fact]
        public async Task A_304_counts_only_for_the_tag_that_was_sent()
        {
            await using var server = await TestServer.StartAsync();
            var token = await NewTokenAsync(server);
            await using var api = await VerifyingApi.StartAsync(server);
            HttpResponseMessage? NotModified(HttpRequestMessage request, string tag)
            {
                if (!request.RequestUri!.AbsolutePath.StartsWith("/status-lists", StringComparison.Ordinal)) return null;
                var answer = new HttpResponseMessage(HttpStatusCode.NotModified);
                answer.Headers.TryAddWithoutValidation("ETag", tag);
                return answer;
            }

            api.Network.Interceptor = request => NotModified(request, "\"x\"");
            Assert.Equal(HttpStatusCode.ServiceUnavailable, await api.StatusAsync(token)); // nothing was known, so no tag was sent
            api.Network.Interceptor = null;
            server.Clock.Advance(TimeSpan.FromSeconds(1));
            Assert.Equal(HttpStatusCode.OK, await api.StatusAsync(token));
            api.Network.Interceptor = request => NotModified(request, "\"another\"");
            server.Clock.Advance(TimeSpan.FromSeconds(5));
            Assert.Equal(HttpStatusCode.ServiceUnavailable, await api.StatusAsync(token));
            // control: the tag that was sent
            api.Network.Interceptor = request => NotModified(request, request.Headers.IfNoneMatch.Single().ToString());
            server.Clock.Advance(TimeSpan.FromSeconds(1));
            Assert.Equal(HttpStatusCode.OK, await api.StatusAsync(token));
        }

        [Fact]
        public async Task No_grace_reaches_beyond_the_lists_exp()
        {
            await using var server = await TestServer.StartAsync();
            await using var api = await VerifyingApi.StartAsync(
                server,
                options => (options.StatusGrace, options.ClockSkew) = (TimeSpan.FromDays(1), TimeSpan.Zero)
            );
            var token = await NewTokenAsync(server);
            Assert.Equal(HttpStatusCode.OK, await api.StatusAsync(token));
            await server.StopAsync();
            server.Clock.Advance(TimeSpan.FromSeconds(19));
            Assert.Equal(HttpStatusCode.OK, await api.StatusAsync(token)); // control: the grace has its effect
            server.Clock.Advance(TimeSpan.FromSeconds(1));
            Assert.Equal(HttpStatusCode.ServiceUnavailable, await api.StatusAsync(token));
        }

        [Theory]
        [InlineData("/.well-known/openid-configuration")]
        [InlineData("/.well-known/jwks.json")]
        [InlineData("/status-lists/0")]
        public async Task Nothing_is_fetched_by_a_redirect(string path)
        {
            await using var server = await TestServer.StartAsync();
            var token = await NewTokenAsync(server);
            await using var elsewhere = await VerifyingApi.WatchedAddress.StartAsync(server);
            await using var front = await VerifyingApi.Front.StartAsync(server, path, elsewhere.Address);
            await using var api = await VerifyingApi.StartAsync(
                server,
                options => options.BackchannelHttpHandler = front.Handler(follows: false)
            );
            Assert.Equal(HttpStatusCode.ServiceUnavailable, await api.StatusAsync(token));
            Assert.Equal(0, elsewhere.Requests);

            // Control: one who follows gets there. Not even what such a handler brings is believed.
            await using var follower = await VerifyingApi.StartAsync(
                server,
                options => options.BackchannelHttpHandler = new VerifyingApi.Opaque(front.Handler(follows: true))
            );
            Assert.Equal(HttpStatusCode.ServiceUnavailable, await follower.StatusAsync(token));
            Assert.True(elsewhere.Requests > 0);
        }

        [Theory]
        [InlineData("jwks_uri", "http://127.0.0.1:{port}/.well-known/jwks.json")]
        [InlineData("jwks_uri", "http://127.0.0.1@localhost:{port}/jwks.json")]
        [InlineData("jwks_uri", "file:///etc/hostname")]
        [InlineData("jwks_uri", "")]
        [InlineData("issuer", "https://elsewhere.example")]
        public async Task Keys_come_from_the_issuers_origin_and_metadata_names_the_issuer(string member, string value)
        {
            await using var server = await TestServer.StartAsync();
            var token = await NewTokenAsync(server);
            await using var elsewhere = await VerifyingApi.WatchedAddress.StartAsync(server);
            value = value.Replace("{port}", $"{new Uri(elsewhere.Address).Port}", StringComparison.Ordinal);
            var metadata = System.Text.Json.Nodes.JsonNode.Parse(await server.Http.GetStringAsync("/.well-known/openid-configuration"))!;
            await using var api = await VerifyingApi.StartAsync(server);
            HttpResponseMessage? Metadata(HttpRequestMessage request) =>
                request.RequestUri!.AbsolutePath == "/.well-known/openid-configuration"
                    ? new HttpResponseMessage(HttpStatusCode.OK) { Content = new StringContent(metadata.ToJsonString()) }
                    : null;
            var right = (string)metadata[member]!;
            metadata[member] = value;
            api.Network.Interceptor = Metadata;
            Assert.Equal(HttpStatusCode.ServiceUnavailable, await api.StatusAsync(token));
            Assert.Equal(0, elsewhere.Requests);

            metadata[member] = right; // control: the same way, with the right value
            await using var other = await VerifyingApi.StartAsync(server);
            other.Network.Interceptor = Metadata;
            Assert.Equal(HttpStatusCode.OK, await other.StatusAsync(token));
        }
    }
}
