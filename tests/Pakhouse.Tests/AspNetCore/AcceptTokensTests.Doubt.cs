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

            await using var behindCache = await VerifyingApi.StartAsync(server);
            behindCache.Network.Age = 5;
            Assert.Equal(HttpStatusCode.ServiceUnavailable, await behindCache.StatusAsync(token));
        }
    }
}
