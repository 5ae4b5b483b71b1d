using System.Buffers.Text;
using System.IO.Compression;
using System.Net;
using System.Text;
using System.Text.Json;

namespace Pakhouse.Tests;

/// <summary>The status lists over HTTP, read by this file's own code.</summary>
public static class StatusListTests
{
    private const string MediaType = "application/statuslist+jwt";

    public class On200
    {
        [Fact]
        public async Task A_token_names_the_entry_of_its_key_and_the_list_says_valid()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var (first, second) = (await server.AddKeyAsync(acme.Owner, acme.Root), await server.AddKeyAsync(acme.Owner, acme.Root));
            var (one, again, other) = (EntryOf(await server.ExchangeAsync(first)), EntryOf(await server.ExchangeAsync(first)), EntryOf(await server.ExchangeAsync(second, acme.Sub)));
            Assert.Equal(one, again); // one entry for each key, not for each token
            Assert.NotEqual(one.Index, other.Index);
            Assert.Equal($"{server.Address}/status-lists/0", one.Uri);
            Assert.Equal(0, await StatusAsync(server, one));
            Assert.Equal(0, await StatusAsync(server, other));
        }

        [Fact]
        public async Task The_list_is_what_the_draft_says()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            await server.ExchangeAsync(await server.AddKeyAsync(acme.Owner, acme.Root));
            var answer = await FetchAsync(server);
            Assert.Equal(MediaType, answer.Header("Content-Type"));
            Assert.Equal("public, max-age=5", answer.Header("Cache-Control"));
            Assert.Equal("*", answer.Header("Access-Control-Allow-Origin"));

            var (header, claims) = (Part(answer.Body, 0), Part(answer.Body, 1));
            Assert.Equal("statuslist+jwt", header.GetProperty("typ").GetString());
            Assert.Equal("ES256", header.GetProperty("alg").GetString());
            Assert.Equal(server.Address, claims.GetProperty("iss").GetString());
            Assert.Equal($"{server.Address}/status-lists/0", claims.GetProperty("sub").GetString());
            Assert.Equal(5, claims.GetProperty("ttl").GetInt64());
            Assert.Equal(server.Clock.GetUtcNow().ToUnixTimeSeconds(), claims.GetProperty("iat").GetInt64());
            Assert.Equal(20, claims.GetProperty("exp").GetInt64() - claims.GetProperty("iat").GetInt64());
            Assert.Equal(2, claims.GetProperty("status_list").GetProperty("bits").GetInt32());
            Assert.Equal((1 << 20) / 4, Entries(claims).Length); // every list is as long, so its length tells nothing
        }

        [Fact]
        public async Task Entries_are_packed_as_the_example_of_the_draft_packs_them()
        {
            // Appendix of the draft, two bits: twelve entries and the three bytes that they make.
            int[] statuses = [1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3];
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            foreach (var _ in statuses) await server.AddKeyAsync(acme.Owner, acme.Root);
            for (var i = 0; i < statuses.Length; i++) await server.ExecuteAsync($"UPDATE access_keys SET status = {statuses[i]}, status_version = {i + 1} WHERE status_index = {i}");
            await server.ExecuteAsync("INSERT INTO counters (name, value) VALUES ('access_keys.status_version', 12)");
            Assert.Equal([0xC9, 0x44, 0xF9], Entries(Part((await FetchAsync(server)).Body, 1))[..3]);
        }

        [Fact]
        public async Task It_travels_smaller_to_who_takes_gzip()
        {
            await using var server = await ServerWithKeyAsync();
            var plain = await FetchAsync(server);
            using var request = new HttpRequestMessage(HttpMethod.Get, "/status-lists/0") { Headers = { { "Accept-Encoding", "gzip, br" } } };
            using var answer = await server.Http.SendAsync(request);
            Assert.Equal("gzip", Assert.Single(answer.Content.Headers.ContentEncoding));
            using var unzipped = new StreamReader(new GZipStream(await answer.Content.ReadAsStreamAsync(), CompressionMode.Decompress));
            Assert.Equal(plain.Body, await unzipped.ReadToEndAsync());
            Assert.True(answer.Content.Headers.ContentLength < plain.Body.Length);
        }

        [Fact]
        public async Task The_aggregation_and_discovery_name_the_lists()
        {
            await using var server = await ServerWithKeyAsync();
            var metadata = (await server.GetAsync("/.well-known/oauth-authorization-server")).Json;
            Assert.Equal($"{server.Address}/status-lists", metadata.GetProperty("status_list_aggregation_endpoint").GetString());
            Assert.Equal($"{server.Address}/oauth/introspect", metadata.GetProperty("introspection_endpoint").GetString());
            Assert.Equal($"{server.Address}/oauth/revoke", metadata.GetProperty("revocation_endpoint").GetString());
            Assert.Equal($$"""{"status_lists":["{{server.Address}}/status-lists/0"]}""", (await server.GetAsync("/status-lists")).Body);

            await server.ExecuteAsync($"UPDATE counters SET value = {StatusLists.EntriesPerList} WHERE name = 'access_keys.status_index'"); // the next list begins
            Assert.Equal(2, (await server.GetAsync("/status-lists")).Json.GetProperty("status_lists").GetArrayLength());
            Assert.Equal(HttpStatusCode.OK, (await server.GetAsync("/status-lists/1")).Status);
        }

        [Fact]
        public async Task It_is_signed_by_the_key_that_signs_tokens_and_verifies_by_the_jwks()
        {
            await using var server = await ServerWithKeyAsync();
            var list = (await FetchAsync(server)).Body.Split('.');
            var jwk = (await server.GetAsync("/.well-known/jwks.json")).Json.GetProperty("keys")[0];
            byte[] Number(string name) => Base64Url.DecodeFromChars(jwk.GetProperty(name).GetString());
            using var key = System.Security.Cryptography.ECDsa.Create(new System.Security.Cryptography.ECParameters
            {
                Curve = System.Security.Cryptography.ECCurve.NamedCurves.nistP256, Q = { X = Number("x"), Y = Number("y") },
            });
            bool Verify(string signed) => key.VerifyData(Encoding.ASCII.GetBytes(signed), Base64Url.DecodeFromChars(list[2]), System.Security.Cryptography.HashAlgorithmName.SHA256);
            Assert.True(Verify($"{list[0]}.{list[1]}"));
            Assert.False(Verify($"{list[0]}.{list[1]}x"));
        }

        [Theory, InlineData(null), InlineData("*/*"), InlineData("application/statuslist+jwt"), InlineData("text/html, application/*;q=0.8")]
        public async Task Every_Accept_that_takes_it_gets_it(string? accept)
        {
            await using var server = await ServerWithKeyAsync();
            Assert.Equal(HttpStatusCode.OK, (await FetchAsync(server, accept: accept)).Status);
        }
    }

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
            foreach (var process in (TestServer[])[server, other]) Assert.Equal(0, await StatusAsync(process, entry));

            var id = TestServer.IdOf(key);
            foreach (var step in what.Split(", "))
            {
                Assert.False(step switch
                {
                    "the key is deleted by its holder" or "the key is deleted" => (await server.Keys.DeleteAsync(Actor.Session(user), acme.Sub, id)).IsRefused && (await server.Keys.DeleteByOperatorAsync(Actor.Operator, id)).IsRefused,
                    "the key is deleted by the operator" => (await server.Keys.DeleteByOperatorAsync(Actor.Operator, id)).IsRefused,
                    "the key is revoked with the key itself" => (await server.PostAsync("/oauth/revoke", ("token", key))).Status != HttpStatusCode.OK,
                    "the membership ends" => (await server.Members.RemoveAsync(Actor.Operator, acme.Sub, user)).IsRefused,
                    "the user is deleted" => (await server.Users.DeleteAsync(Actor.Operator, user)).IsRefused,
                    "the user is disabled" or "the user is disabled and enabled" => (await server.Users.SetDisabledAsync(Actor.Operator, user, true)).IsRefused,
                    "the user is enabled" => (await server.Users.SetDisabledAsync(Actor.Operator, user, false)).IsRefused,
                    "the organization is disabled" or "the organization is disabled and enabled" => (await server.Organizations.SetDisabledAsync(Actor.Operator, acme.Sub, true)).IsRefused,
                    "the root is disabled" => (await server.Organizations.SetDisabledAsync(Actor.Operator, acme.Root, true)).IsRefused,
                    "the organization is deleted" => (await server.Organizations.DeleteAsync(Actor.Operator, acme.Sub, "Mobile")).IsRefused,
                    "the root is deleted" => (await server.Organizations.DeleteAsync(Actor.Operator, acme.Root, "Acme")).IsRefused,
                    "the key of a colleague is deleted" => (await server.Keys.DeleteAsync(Actor.Session(colleague), acme.Sub, TestServer.IdOf(colleagues))).IsRefused,
                    _ => true,
                }, step);
                if (step == "the user is disabled and enabled") await server.Users.SetDisabledAsync(Actor.Operator, user, false);
                if (step == "the organization is disabled and enabled") await server.Organizations.SetDisabledAsync(Actor.Operator, acme.Sub, false);
            }

            foreach (var process in (TestServer[])[server, other]) Assert.Equal(expected, await StatusAsync(process, entry));
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
        public async Task Versions_grow_with_every_change_and_start_above_the_past_after_a_back_up_was_restored()
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
            // The restored database: it knows less than verifiers have seen. The first change in it is numbered above all of that.
            await server.ExecuteAsync("UPDATE counters SET value = 5 WHERE name = 'access_keys.status_version'");
            await server.ExecuteAsync("UPDATE access_keys SET status = 0, status_version = 5");
            Assert.Equal(5, Version(await FetchAsync(server)));
            server.Clock.Advance(TimeSpan.FromSeconds(1));
            await server.Users.SetDisabledAsync(Actor.Operator, acme.Owner, true);
            Assert.True(Version(await FetchAsync(server)) > seen[^1]);
        }
    }

    public class On304
    {
        [Fact]
        public async Task The_list_one_has_is_not_sent_again_within_a_ttl_also_when_another_process_is_asked()
        {
            await using var server = await ServerWithKeyAsync();
            var other = await TestServer.StartOnAsync(server.Place, server.Clock, $"--Pakhouse:PublicAddress={server.Address}");
            var tag = (await FetchAsync(server)).Header("ETag");
            foreach (var process in (TestServer[])[server, other])
            {
                var again = await FetchAsync(process, tag);
                Assert.Equal(HttpStatusCode.NotModified, again.Status);
                Assert.Empty(again.Body);
                Assert.Equal(tag, again.Header("ETag"));
            }

            await other.StopAsync();
            server.Clock.Advance(TimeSpan.FromSeconds(5)); // signed anew, so that it never comes near its expiry
            Assert.Equal(HttpStatusCode.OK, (await FetchAsync(server, tag)).Status);
        }

        [Fact]
        public async Task A_change_is_sent_whatever_the_ETag()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            var tag = (await FetchAsync(server)).Header("ETag");
            await server.Keys.DeleteByOperatorAsync(Actor.Operator, TestServer.IdOf(key));
            Assert.Equal(HttpStatusCode.OK, (await FetchAsync(server, tag)).Status);
        }
    }

    public class On4xx
    {
        [Theory]
        [InlineData("/status-lists/1", null, HttpStatusCode.NotFound)]
        [InlineData("/status-lists/-1", null, HttpStatusCode.NotFound)]
        [InlineData("/status-lists/99999999999999", null, HttpStatusCode.NotFound)]
        [InlineData("/status-lists/2147483647", null, HttpStatusCode.NotFound)]
        [InlineData("/status-lists/0", "application/statuslist+cwt", HttpStatusCode.NotAcceptable)]
        [InlineData("/status-lists/0?time=1686925000", null, HttpStatusCode.NotImplemented)]
        [InlineData("/status-lists/7", "text/event-stream", HttpStatusCode.NotFound)]
        public async Task What_there_is_not_is_refused(string path, string? accept, HttpStatusCode expected)
        {
            await using var server = await ServerWithKeyAsync();
            Assert.Equal(expected, (await FetchAsync(server, accept: accept, path: path)).Status);
        }
    }

    public class On503
    {
        [Fact]
        public async Task Without_the_database_there_is_no_list_rather_than_an_old_one()
        {
            await using var server = await ServerWithKeyAsync();
            await FetchAsync(server);
            await server.ExecuteAsync("ALTER TABLE counters RENAME TO counters_away");
            Assert.True((int)(await FetchAsync(server)).Status >= 500);
            await server.ExecuteAsync("ALTER TABLE counters_away RENAME TO counters");
            Assert.Equal(HttpStatusCode.OK, (await FetchAsync(server)).Status);
        }
    }

    private static async Task<TestServer> ServerWithKeyAsync()
    {
        var server = await TestServer.StartAsync();
        var acme = await server.AddAcmeAsync();
        await server.AddKeyAsync(acme.Owner, acme.Root);
        return server;
    }

    internal static (string Uri, long Index) EntryOf(Answer exchange)
    {
        var entry = exchange.Claims.GetProperty("status").GetProperty("status_list");
        return (entry.GetProperty("uri").GetString()!, entry.GetProperty("idx").GetInt64());
    }

    internal static async Task<int> StatusAsync(TestServer server, (string Uri, long Index) entry)
    {
        var answer = await FetchAsync(server, path: new Uri(entry.Uri).AbsolutePath);
        Assert.Equal(HttpStatusCode.OK, answer.Status);
        return StatusIn(answer.Body, entry.Index);
    }

    private static int StatusIn(string jwt, long index) => Entries(Part(jwt, 1))[index / 4] >> (int)(index % 4 * 2) & 0b11;

    private static long Version(Answer list) => Part(list.Body, 1).GetProperty("version").GetInt64();

    private static async Task<Answer> FetchAsync(TestServer server, string? tag = null, string? accept = MediaType, string path = "/status-lists/0")
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, path);
        if (accept is not null) request.Headers.TryAddWithoutValidation("Accept", accept);
        if (tag is not null) request.Headers.TryAddWithoutValidation("If-None-Match", tag);
        return await Answer.OfAsync(await server.Http.SendAsync(request));
    }

    private static JsonElement Part(string jwt, int part) => JsonDocument.Parse(Base64Url.DecodeFromChars(jwt.Split('.')[part])).RootElement;

    private static byte[] Entries(JsonElement claims)
    {
        using var zlib = new ZLibStream(new MemoryStream(Base64Url.DecodeFromChars(claims.GetProperty("status_list").GetProperty("lst").GetString())), CompressionMode.Decompress);
        using var entries = new MemoryStream();
        zlib.CopyTo(entries);
        return entries.ToArray();
    }
}
