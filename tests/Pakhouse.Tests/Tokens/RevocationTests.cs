using System.Net;

namespace Pakhouse.Tests;

public static class RevocationTests
{
    public class On200
    {
        [Fact]
        public async Task Whoever_holds_a_key_ends_it_with_the_key_itself()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var (key, other) = (await server.AddKeyAsync(acme.Owner, acme.Root), await server.AddKeyAsync(acme.Owner, acme.Root));
            var answer = await server.PostAsync("/oauth/revoke", ("token", key), ("token_type_hint", "anything"));
            Assert.Equal((HttpStatusCode.OK, ""), (answer.Status, answer.Body));
            Assert.Equal("no-store", answer.Header("Cache-Control"));
            Assert.Contains("was deleted", (await server.ExchangeAsync(key)).Description, StringComparison.Ordinal);
            Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(other)).Status);
            Assert.Equal(
                1,
                await server.ScalarAsync<long>(
                    $"SELECT COUNT(*) FROM activity WHERE action = 'PAT Revoke' AND target = '{TestServer.IdOf(key)}' AND actor_key_id = "
                        + $"target AND actor_user_id = '{acme.Owner}' AND organization_id = '{acme.Root}'"
                )
            );
        }

        [Fact]
        public async Task The_holder_of_a_suspended_key_may_end_it_too()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            await server.Users.SetDisabledAsync(Actor.Operator, acme.Owner, true);
            await server.PostAsync("/oauth/revoke", ("token", key));
            await server.Users.SetDisabledAsync(Actor.Operator, acme.Owner, false);
            Assert.Equal(HttpStatusCode.Unauthorized, (await server.ExchangeAsync(key)).Status);
        }

        [Fact]
        public async Task Good_ended_wrong_and_invented_keys_get_one_answer_and_only_the_good_one_ends()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var (key, kept) = (await server.AddKeyAsync(acme.Owner, acme.Root), await server.AddKeyAsync(acme.Owner, acme.Root));
            // the id of a real key, another secret, right check digits
            var forged = System.Text.Encoding.ASCII.GetString(KeyFormat.Create("ph", TestServer.IdOf(kept)));
            var answers = new List<Answer>();
            foreach (
                var token in (string[])
                    [key, key, forged, "ph_pak1_0000000000000000_00000000000000000000000000000000000000000002m9doX", "no key at all"]
            )
                answers.Add(await server.PostAsync("/oauth/revoke", ("token", token)));
            Assert.All(answers, answer => Assert.Equal((HttpStatusCode.OK, ""), (answer.Status, answer.Body)));
            Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(kept)).Status);
            Assert.Equal(1, await server.ScalarAsync<long>("SELECT COUNT(*) FROM activity WHERE action = 'PAT Revoke'"));
        }
    }

    public class On400
    {
        [Fact]
        public async Task A_token_is_refused_rather_than_said_to_be_revoked()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            var real = await server.PostAsync("/oauth/revoke", ("token", (await server.ExchangeAsync(key)).Token));
            Assert.Equal((HttpStatusCode.BadRequest, "unsupported_token_type"), (real.Status, real.Error)); // RFC 7009 §2.2.1
            // and tells nothing of any one token
            Assert.Equal(real.Body, (await server.PostAsync("/oauth/revoke", ("token", "a.b.c"))).Body);
            Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(key)).Status);
        }

        [Fact]
        public async Task Without_a_token_the_request_is_refused()
        {
            await using var server = await TestServer.StartAsync();
            Assert.Equal("invalid_request", (await server.PostAsync("/oauth/revoke", ("token", ""))).Error);
            Assert.Equal(HttpStatusCode.MethodNotAllowed, (await server.GetAsync("/oauth/revoke?token=x")).Status);
        }
    }

    public class On429
    {
        [Fact]
        public async Task Guesses_are_limited_and_a_real_key_is_not()
        {
            await using var server = await TestServer.StartAsync("--Pakhouse:FailuresPerMinuteMax=3");
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            for (var i = 0; i < 3; i++)
                Assert.Equal(HttpStatusCode.OK, (await server.PostAsync("/oauth/revoke", ("token", $"guess {i}"))).Status);
            Assert.Equal(HttpStatusCode.TooManyRequests, (await server.PostAsync("/oauth/revoke", ("token", "guess"))).Status);
            Assert.Equal(HttpStatusCode.OK, (await server.PostAsync("/oauth/revoke", ("token", key))).Status);
            Assert.Equal(HttpStatusCode.Unauthorized, (await server.ExchangeAsync(key)).Status);
        }
    }
}
