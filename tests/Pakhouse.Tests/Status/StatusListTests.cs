using System.Buffers.Text;
using System.IO.Compression;
using System.Net;
using System.Text;
using System.Text.Json;
using Dapper;

namespace Pakhouse.Tests;

/// <summary>The status lists over HTTP, read by this file's own code.</summary>
public static partial class StatusListTests
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
            var (one, again, other) = (
                EntryOf(await server.ExchangeAsync(first)),
                EntryOf(await server.ExchangeAsync(first)),
                EntryOf(await server.ExchangeAsync(second, acme.Sub))
            );
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
            foreach (var _ in statuses)
                await server.AddKeyAsync(acme.Owner, acme.Root);
            for (var i = 0; i < statuses.Length; i++)
                await server.ExecuteAsync(
                    $"UPDATE access_keys SET status = {statuses[i]}, status_version = {i + 1} WHERE status_index = {i}"
                );
            await server.ExecuteAsync("INSERT INTO counters (name, value) VALUES ('access_keys.status_version', 12)");
            Assert.Equal([0xC9, 0x44, 0xF9], Entries(Part((await FetchAsync(server)).Body, 1))[..3]);
        }

        [Fact]
        public async Task It_travels_smaller_to_who_takes_gzip()
        {
            await using var server = await ServerWithKeyAsync();
            var plain = await FetchAsync(server);
            using var request = new HttpRequestMessage(HttpMethod.Get, "/status-lists/0")
            {
                Headers = { { "Accept-Encoding", "gzip, br" } },
            };
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

            // the next list begins
            await server.ExecuteAsync($"UPDATE counters SET value = {StatusLists.EntriesPerList} WHERE name = 'access_keys.status_index'");
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
            using var key = System.Security.Cryptography.ECDsa.Create(
                new System.Security.Cryptography.ECParameters
                {
                    Curve = System.Security.Cryptography.ECCurve.NamedCurves.nistP256,
                    Q = { X = Number("x"), Y = Number("y") },
                }
            );
            bool Verify(string signed) =>
                key.VerifyData(
                    Encoding.ASCII.GetBytes(signed),
                    Base64Url.DecodeFromChars(list[2]),
                    System.Security.Cryptography.HashAlgorithmName.SHA256
                );
            Assert.True(Verify($"{list[0]}.{list[1]}"));
            Assert.False(Verify($"{list[0]}.{list[1]}x"));
        }

        [
            Theory,
            InlineData(null),
            InlineData("*/*"),
            InlineData("application/statuslist+jwt"),
            InlineData("text/html, application/*;q=0.8")
        ]
        public async Task Every_Accept_that_takes_it_gets_it(string? accept)
        {
            await using var server = await ServerWithKeyAsync();
            Assert.Equal(HttpStatusCode.OK, (await FetchAsync(server, accept: accept)).Status);
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
            await using var outside = server.Place.Connect(); // without the table the server itself changes nothing
            await outside.OpenAsync(TestContext.Current.CancellationToken);
            await outside.ExecuteAsync("ALTER TABLE counters RENAME TO counters_away");
            Assert.True((int)(await FetchAsync(server)).Status >= 500);
            await outside.ExecuteAsync("ALTER TABLE counters_away RENAME TO counters");
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

    internal static long Version(Answer list) => Part(list.Body, 1).GetProperty("version").GetInt64();

    internal static async Task<Answer> FetchAsync(
        TestServer server,
        string? tag = null,
        string? accept = MediaType,
        string path = "/status-lists/0"
    )
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, path);
        if (accept is not null)
            request.Headers.TryAddWithoutValidation("Accept", accept);
        if (tag is not null)
            request.Headers.TryAddWithoutValidation("If-None-Match", tag);
        return await Answer.OfAsync(await server.Http.SendAsync(request));
    }

    private static JsonElement Part(string jwt, int part) =>
        JsonDocument.Parse(Base64Url.DecodeFromChars(jwt.Split('.')[part])).RootElement;

    private static byte[] Entries(JsonElement claims)
    {
        using var zlib = new ZLibStream(
            new MemoryStream(Base64Url.DecodeFromChars(claims.GetProperty("status_list").GetProperty("lst").GetString())),
            CompressionMode.Decompress
        );
        using var entries = new MemoryStream();
        zlib.CopyTo(entries);
        return entries.ToArray();
    }
}
