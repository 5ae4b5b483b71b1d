using System.Buffers.Text;
using System.IO.Compression;
using System.Net;
using System.Text;
using System.Text.Json;

namespace Pakhouse.Tests;

public static partial class StatusListTests
{
    /// <summary>R5: everything that ends, suspends or revives a key, seen by a list that is fetched after the acknowledgement.</summary>
    public class After_the_acknowledgement
    {
        [Theory]
        [InlineData("the key is deleted by its holder", 1)]
        [InlineData("the key is deleted by the operator", 1)]
        [InlineData("the key is revoked with the key itself", 1)]
        [InlineData("the membership ends", 1)]
        [InlineData("the user is deleted", 1)]
        [InlineData("the user is disabled", 2)]
        [InlineData("the user is disabled and enabled", 0)]
        [InlineData("the organization is disabled", 2)]
        [InlineData("the organization is disabled and enabled", 0)]
        [InlineData("the root is disabled", 2)]
        [InlineData("the organization is deleted", 1)]
        [InlineData("the root is deleted", 1)]
        [InlineData("the user is disabled, the key is deleted, the user is enabled", 1)]
        [InlineData("the key of a colleague is deleted", 0)]
        public async Task The_list_says_so_in_this_process_and_in_every_other(string what, int expected)
        {
            await using var server = await TestServer.StartAsync();
            var other = await TestServer.StartOnAsync(server.Place, server.Clock, $"--Pakhouse:PublicAddress={server.Address}");
            var acme = await server.AddAcmeAsync();
            var user = await server.AddMemberAsync(acme.Sub, "viewer");
            var colleague = await server.AddMemberAsync(acme.Sub, "viewer");
            var key = await server.AddKeyAsync(user, acme.Sub);
            var colleagues = await server.AddKeyAsync(colleague, acme.Sub);
            var entry = EntryOf(await server.ExchangeAsync(key));
            foreach (var process in (TestServer[])[server, other])
                Assert.Equal(0, await StatusAsync(process, entry));

            var id = TestServer.IdOf(key);
            foreach (var step in what.Split(", "))
            {
                Assert.False(
                    step switch
                    {
                        "the key is deleted by its holder" or "the key is deleted" => (
                            await server.Keys.DeleteAsync(Actor.Session(user), acme.Sub, id)
                        ).IsRefused && (await server.Keys.DeleteByOperatorAsync(Actor.Operator, id)).IsRefused,
                        "the key is deleted by the operator" => (await server.Keys.DeleteByOperatorAsync(Actor.Operator, id)).IsRefused,
                        "the key is revoked with the key itself" => (await server.PostAsync("/oauth/revoke", ("token", key))).Status
                            != HttpStatusCode.OK,
                        "the membership ends" => (await server.Members.RemoveAsync(Actor.Operator, acme.Sub, user)).IsRefused,
                        "the user is deleted" => (await server.Users.DeleteAsync(Actor.Operator, user)).IsRefused,
                        "the user is disabled" or "the user is disabled and enabled" => (
                            await server.Users.SetDisabledAsync(Actor.Operator, user, true)
                        ).IsRefused,
                        "the user is enabled" => (await server.Users.SetDisabledAsync(Actor.Operator, user, false)).IsRefused,
                        "the organization is disabled" or "the organization is disabled and enabled" => (
                            await server.Organizations.SetDisabledAsync(Actor.Operator, acme.Sub, true)
                        ).IsRefused,
                        "the root is disabled" => (await server.Organizations.SetDisabledAsync(Actor.Operator, acme.Root, true)).IsRefused,
                        "the organization is deleted" => (
                            await server.Organizations.DeleteAsync(Actor.Operator, acme.Sub, "Mobile")
                        ).IsRefused,
                        "the root is deleted" => (await server.Organizations.DeleteAsync(Actor.Operator, acme.Root, "Acme")).IsRefused,
                        "the key of a colleague is deleted" => (
                            await server.Keys.DeleteAsync(Actor.Session(colleague), acme.Sub, TestServer.IdOf(colleagues))
                        ).IsRefused,
                        _ => true,
                    },
                    step
                );
                if (step == "the user is disabled and enabled")
                    await server.Users.SetDisabledAsync(Actor.Operator, user, false);
                if (step == "the organization is disabled and enabled")
                    await server.Organizations.SetDisabledAsync(Actor.Operator, acme.Sub, false);
            }

            foreach (var process in (TestServer[])[server, other])
                Assert.Equal(expected, await StatusAsync(process, entry));
            await other.StopAsync();
            // And in one that starts only now: it reads all that ever changed.
            var late = await TestServer.StartOnAsync(server.Place, server.Clock, $"--Pakhouse:PublicAddress={server.Address}");
            Assert.Equal(expected, await StatusAsync(late, entry));
            await late.StopAsync();
        }

        [Fact]
        public async Task No_list_fetched_after_an_acknowledgement_misses_it_however_many_fetch_and_delete_at_once()
        {
            await using var server = await TestServer.StartAsync();
            var other = await TestServer.StartOnAsync(server.Place, server.Clock, $"--Pakhouse:PublicAddress={server.Address}");
            var acme = await server.AddAcmeAsync();
            var keys = new List<string>();
            for (var i = 0; i < 24; i++) keys.Add(await server.AddKeyAsync(acme.Owner, acme.Root));
            var entries = new Dictionary<string, (string Uri, long Index)>(StringComparer.Ordinal);
            foreach (var key in keys) entries[key] = EntryOf(await server.ExchangeAsync(key));

            // Meanwhile others fetch all the time, so that a fetch meets looks that have begun.
            using var stop = new CancellationTokenSource();
            var crowd = Enumerable.Range(0, 6).Select(i => Task.Run(async () =>
            {
                while (!stop.IsCancellationRequested) await FetchAsync(i % 2 == 0 ? server : other);
            })).ToArray();
            await Parallel.ForEachAsync(keys, new ParallelOptions { MaxDegreeOfParallelism = 6 }, async (key, _) =>
            {
                Assert.Equal(HttpStatusCode.OK, (await server.PostAsync("/oauth/revoke", ("token", key))).Status);
                Assert.Equal(1, await StatusAsync(server, entries[key]));
                Assert.Equal(1, await StatusAsync(other, entries[key]));
            });
            await stop.CancelAsync();
            await Task.WhenAll(crowd);
            await other.StopAsync();
        }

        [Fact]
        public async Task Control_a_process_that_did_not_look_again_would_show_the_old_list()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var entry = EntryOf(await server.ExchangeAsync(await server.AddKeyAsync(acme.Owner, acme.Root)));
            var before = await FetchAsync(server);
            await server.Organizations.DeleteAsync(Actor.Operator, acme.Root, "Acme");
            Assert.Equal(0, StatusIn(before.Body, entry.Index));
            Assert.Equal(1, await StatusAsync(server, entry));
        }

        [Fact]
        public async Task A_change_that_cannot_be_recorded_does_not_happen_and_shows_nowhere()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            var entry = EntryOf(await server.ExchangeAsync(key));
            await server.BreakInsertsAsync("activity");
            Assert.Equal(HttpStatusCode.InternalServerError, (await server.PostAsync("/oauth/revoke", ("token", key))).Status);
            Assert.Equal(0, await StatusAsync(server, entry));
            Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(key)).Status);
        }

        [Fact]
        public async Task Versions_grow_with_every_change_and_are_no_smaller_than_the_time()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            await server.AddKeyAsync(acme.Owner, acme.Root);
            var seen = new List<long> { Version(await FetchAsync(server)) };
            foreach (var disabled in (bool[])[true, false, true])
            {
                await server.Users.SetDisabledAsync(Actor.Operator, acme.Owner, disabled);
                seen.Add(Version(await FetchAsync(server)));
            }

            Assert.Equal(seen.Distinct().Order(), seen);
            Assert.True(seen[^1] >= server.Clock.GetUtcNow().ToUnixTimeMilliseconds());
        }
    }
}
