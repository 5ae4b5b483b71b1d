using System.Net;
using System.Text;
using System.Text.Json;
using Dapper;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;

namespace Pakhouse.Tests;

/// <summary>Rotation, publication and storage of signing keys; the tokens are verified as a stranger would, from the JWKS alone.</summary>
public class SigningKeysTests
{
    [Theory, InlineData("ES256"), InlineData("RS256")]
    public async Task A_token_is_verified_with_nothing_but_the_published_keys(string algorithm)
    {
        await using var server = await TestServer.StartAsync($"--Pakhouse:SigningAlgorithm={algorithm}");
        var token = await TokenAsync(server);
        Assert.True(await IsAcceptedAsync(server, token));

        // The same token with one bit changed, in each of its parts.
        for (var part = 0; part < 3; part++)
        {
            var parts = token.Split('.');
            var bytes = System.Buffers.Text.Base64Url.DecodeFromChars(parts[part]);
            bytes[bytes.Length / 2] ^= 1;
            parts[part] = System.Buffers.Text.Base64Url.EncodeToString(bytes);
            Assert.False(await IsAcceptedAsync(server, string.Join('.', parts)));
        }
    }

    [Fact]
    public async Task The_jwks_holds_public_members_only()
    {
        await using var server = await TestServer.StartAsync();
        var key = (await server.GetAsync("/.well-known/jwks.json")).Json.GetProperty("keys").EnumerateArray().Single();
        Assert.Equal(["kty", "use", "alg", "kid", "crv", "x", "y"], key.EnumerateObject().Select(member => member.Name));
        await using var rsa = await TestServer.StartAsync("--Pakhouse:SigningAlgorithm=RS256");
        key = (await rsa.GetAsync("/.well-known/jwks.json")).Json.GetProperty("keys").EnumerateArray().Single();
        Assert.Equal(["kty", "use", "alg", "kid", "n", "e"], key.EnumerateObject().Select(member => member.Name));
    }

    [Theory, InlineData("/.well-known/openid-configuration"), InlineData("/.well-known/oauth-authorization-server")]
    public async Task Discovery_names_the_issuer_and_addresses_that_answer(string path)
    {
        await using var server = await TestServer.StartAsync();
        var document = (await server.GetAsync(path)).Json;
        Assert.Equal(server.Address, document.GetProperty("issuer").GetString());
        Assert.Equal($"{server.Address}/auth/v3/token", document.GetProperty("token_endpoint").GetString());
        using var keys = await server.Http.GetAsync(new Uri(document.GetProperty("jwks_uri").GetString()!));
        Assert.Equal(HttpStatusCode.OK, keys.StatusCode);
        Assert.Equal("application/jwk-set+json", keys.Content.Headers.ContentType?.MediaType);
        Assert.Equal(
            ["ES256"],
            document.GetProperty("id_token_signing_alg_values_supported").EnumerateArray().Select(value => value.GetString())
        );
    }

    [Fact]
    public async Task A_new_key_is_published_before_it_signs_and_the_old_one_until_its_last_token_is_dead()
    {
        await using var server = await TestServer.StartAsync();
        var keys = server.Get<SigningKeys>();
        var old = Kid(await TokenAsync(server));
        var successor = (await keys.RotateAsync(Actor.Operator)).Value.Public.Id;

        Assert.Equal([old, successor], await PublishedAsync(server));
        Assert.Equal(old, Kid(await TokenAsync(server)));
        server.Clock.Advance(TimeSpan.FromMinutes(60) - TimeSpan.FromSeconds(1));
        var last = await TokenAsync(server);
        Assert.Equal(old, Kid(last));
        server.Clock.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal(successor, Kid(await TokenAsync(server)));

        server.Clock.Advance(TimeSpan.FromHours(1) - TimeSpan.FromSeconds(2));
        Assert.True(await IsAcceptedAsync(server, last)); // to its last second
        await keys.RefreshAsync();
        Assert.Equal([old, successor], await PublishedAsync(server));

        server.Clock.Advance(TimeSpan.FromHours(24) + TimeSpan.FromMinutes(6));
        await keys.RefreshAsync();
        Assert.Equal([successor], await PublishedAsync(server));
        var rows = await server.Get<Database>().ReadAsync(connection => connection.QueryAsync<string>("SELECT id FROM signing_keys"));
        Assert.Equal([successor], rows); // and its private key is destroyed
    }

    [Fact]
    public async Task A_second_rotation_while_one_waits_is_refused_and_says_why()
    {
        await using var server = await TestServer.StartAsync();
        var keys = server.Get<SigningKeys>();
        await keys.RotateAsync(Actor.Operator);
        var refusal = (await keys.RotateAsync(Actor.Operator)).Refusal!;
        Assert.Equal(RefusalCode.Conflict, refusal.Code);
        Assert.Contains("will sign from", refusal.Description, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_leaked_key_is_replaced_at_once_in_every_process_and_nothing_it_signed_is_accepted()
    {
        var first = await TestServer.StartAsync();
        await using var second = await TestServer.StartOnAsync(first.Place, first.Clock, $"--Pakhouse:PublicAddress={first.Address}");
        var leaked = await TokenAsync(first);
        await first.Get<SigningKeys>().RotateAsync(Actor.Operator); // one that waits goes too
        var list = (await first.GetAsync("/status-lists/0")).Body;
        Assert.Equal(Kid(leaked), Kid(list));

        var now = (await second.Get<SigningKeys>().RotateNowAsync(Actor.Operator)).Value.Public.Id;
        Assert.Equal([now], await PublishedAsync(second));
        first.Clock.Advance(SigningKeys.RefreshInterval);
        await Eventually.TrueAsync(async () => (await PublishedAsync(first)) is [var only] && only == now);
        foreach (var server in (TestServer[])[first, second])
        {
            Assert.False(await IsAcceptedAsync(server, leaked));
            Assert.Equal(now, Kid((await server.GetAsync("/status-lists/0")).Body)); // the lists are not signed by it either
        }

        var key = await first.ScalarAsync<long>("SELECT COUNT(*) FROM signing_keys");
        Assert.Equal(1, key);
        Assert.Equal(2, await first.ScalarAsync<long>("SELECT COUNT(*) FROM activity WHERE action = 'Signing Key Delete'"));
        await first.StopAsync();
    }

    [Fact]
    public async Task A_key_that_waits_can_be_abandoned_and_no_other()
    {
        await using var server = await TestServer.StartAsync();
        var keys = server.Get<SigningKeys>();
        var signs = (await PublishedAsync(server)).Single();
        // As a process whose clock is 400 days ahead left it: rotation is blocked until then.
        var waits = (await keys.RotateAsync(Actor.Operator)).Value.Public.Id;
        await server.ExecuteAsync($"UPDATE signing_keys SET activates_at = activates_at + 34560000000 WHERE id = '{waits}'");
        Assert.Contains(
            $"signing-keys abandon {waits}",
            (await keys.RotateAsync(Actor.Operator)).Refusal!.Description,
            StringComparison.Ordinal
        );
        Assert.Equal(RefusalCode.Conflict, (await keys.AbandonAsync(Actor.Operator, signs)).Refusal!.Code);
        Assert.Equal(RefusalCode.NotFound, (await keys.AbandonAsync(Actor.Operator, "x")).Refusal!.Code);
        Assert.Equal(RefusalCode.AccessDenied, (await keys.AbandonAsync(Actor.Session(Guid.Empty), waits)).Refusal!.Code);
        Assert.Equal(RefusalCode.AccessDenied, (await keys.RotateNowAsync(Actor.Session(Guid.Empty))).Refusal!.Code);
        Assert.False((await keys.AbandonAsync(Actor.Operator, waits)).IsRefused);
        await keys.RefreshAsync();
        Assert.Equal([signs], await PublishedAsync(server));
        Assert.False((await keys.RotateAsync(Actor.Operator)).IsRefused);
    }

    [Fact]
    public async Task A_key_is_replaced_by_itself_at_the_age_of_the_setting()
    {
        await using var server = await TestServer.StartAsync("--Pakhouse:SigningKeyRotationDays=2", "--Pakhouse:UsageFlushSeconds=60");
        var keys = server.Get<SigningKeys>();
        server.Clock.Advance(TimeSpan.FromDays(2) - TimeSpan.FromSeconds(1));
        await keys.RefreshAsync();
        Assert.Single(await PublishedAsync(server));
        server.Clock.Advance(TimeSpan.FromSeconds(1));
        await Eventually.TrueAsync(async () =>
        {
            server.Clock.Advance(SigningKeys.RefreshInterval); // by the timer, without anybody's call
            return (await PublishedAsync(server)).Count == 2;
        });
    }

    [Fact]
    public async Task Another_algorithm_in_the_settings_is_a_rotation_like_any_other()
    {
        var first = await TestServer.StartAsync();
        await first.StopAsync();
        await using var second = await TestServer.StartOnAsync(first.Place, first.Clock, "--Pakhouse:SigningAlgorithm=RS256");
        Assert.Equal(2, (await PublishedAsync(second)).Count);
        var token = await TokenAsync(second);
        Assert.Equal("ES256", new JsonWebToken(token).Alg);
        second.Clock.Advance(TimeSpan.FromHours(1));
        token = await TokenAsync(second);
        Assert.Equal("RS256", new JsonWebToken(token).Alg);
        Assert.True(await IsAcceptedAsync(second, token));
    }

    [Fact]
    public async Task Two_processes_with_different_algorithms_do_not_outbid_each_other()
    {
        var first = await TestServer.StartAsync();
        await using var second = await TestServer.StartOnAsync(first.Place, first.Clock, "--Pakhouse:SigningAlgorithm=RS256");
        for (var i = 0; i < 5; i++)
        {
            await first.Get<SigningKeys>().RefreshAsync();
            await second.Get<SigningKeys>().RefreshAsync();
        }

        Assert.Equal(2, (await PublishedAsync(second)).Count);
        await first.StopAsync();
    }

    [Fact]
    public async Task A_rotation_made_by_another_process_is_published_with_the_next_look()
    {
        var first = await TestServer.StartAsync();
        await using var second = await TestServer.StartOnAsync(first.Place, first.Clock);
        var successor = (await second.Get<SigningKeys>().RotateAsync(Actor.Operator)).Value.Public.Id;
        await first.Get<SigningKeys>().RefreshAsync();
        Assert.Contains(successor, await PublishedAsync(first));
        Assert.Equal(Kid(await TokenAsync(second)), (await PublishedAsync(first))[0]);
        await first.StopAsync();
    }

    [Fact]
    public async Task Two_processes_that_start_together_make_one_key()
    {
        var place = await TestDatabase.CreateAsync();
        var servers = await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => Task.Run(() => TestServer.StartOnAsync(place, null))));
        var published = await Task.WhenAll(servers.Select(PublishedAsync));
        Assert.Single(published.SelectMany(kids => kids).Distinct());
        foreach (var server in servers) await server.StopAsync();
        await place.DeleteAsync();
    }

    [Fact, SqliteOnly("reads the files of the data folder")]
    public async Task The_private_key_does_not_stand_in_the_database_in_clear()
    {
        await using var server = await TestServer.StartAsync();
        var credentials = (ECDsaSecurityKey)server.Get<SigningKeys>().Published[0].Credentials.Key;
        var secret = credentials.ECDsa.ExportParameters(includePrivateParameters: true).D!;
        var files = Directory.GetFiles(server.DataFolder, "*", SearchOption.AllDirectories).Select(ReadShared).ToList();
        Assert.DoesNotContain(files, content => content.AsSpan().IndexOf(secret) >= 0);
        // the search finds what is there
        Assert.Contains(files, content => content.AsSpan().IndexOf(Encoding.ASCII.GetBytes(credentials.KeyId)) >= 0);
    }

    [Fact, SqliteOnly("the keys stand in a folder on SQLite only")]
    public async Task Without_the_keys_that_encrypted_it_the_server_does_not_start_and_says_what_to_restore()
    {
        var first = await TestServer.StartAsync();
        await first.StopAsync();
        Directory.Delete(Path.Combine(first.DataFolder, "data-protection"), recursive: true);
        var e = await Assert.ThrowsAsync<StartupException>(() => TestServer.StartOnAsync(first.Place, first.Clock));
        Assert.Contains("data-protection", e.Message, StringComparison.Ordinal);
        Assert.Contains("Restore", e.Message, StringComparison.Ordinal);
        await first.Place.DeleteAsync();
    }

    [Fact, SqliteOnly("reads the files of the data folder; PostgreSQL has a test of its own")]
    public async Task With_a_certificate_the_data_protection_keys_are_encrypted_too()
    {
        using var rsa = System.Security.Cryptography.RSA.Create(2048);
        var request = new System.Security.Cryptography.X509Certificates.CertificateRequest(
            "CN=pakhouse",
            rsa,
            System.Security.Cryptography.HashAlgorithmName.SHA256,
            System.Security.Cryptography.RSASignaturePadding.Pkcs1
        );
        using var certificate = request.CreateSelfSigned(DateTimeOffset.UnixEpoch, DateTimeOffset.UnixEpoch.AddYears(100));
        var file = Path.Combine(Directory.CreateTempSubdirectory("pakhouse-test-").FullName, "dp.pfx");
        await File.WriteAllBytesAsync(
            file,
            certificate.Export(System.Security.Cryptography.X509Certificates.X509ContentType.Pkcs12, "p4ss")
        );
        string[] settings = [$"--Pakhouse:DataProtectionCertificateFile={file}", "--Pakhouse:DataProtectionCertificatePassword=p4ss"];

        var first = await TestServer.StartAsync(settings);
        var protectedKeys = Directory.GetFiles(Path.Combine(first.DataFolder, "data-protection")).Select(File.ReadAllText).ToList();
        Assert.NotEmpty(protectedKeys);
        Assert.All(protectedKeys, xml => Assert.Contains("EncryptedData", xml, StringComparison.Ordinal));
        await first.StopAsync();
        await using var second = await TestServer.StartOnAsync(first.Place, first.Clock, settings);
        Assert.True(await IsAcceptedAsync(second, await TokenAsync(second)));
    }

    private static async Task<string> TokenAsync(TestServer server)
    {
        var acme = await server.AddAcmeAsync();
        return (await server.ExchangeAsync(await server.AddKeyAsync(acme.Owner, acme.Root))).Token;
    }

    private static string Kid(string token) => new JsonWebToken(token).Kid;

    private static async Task<IReadOnlyList<string>> PublishedAsync(TestServer server) =>
        [
            .. (await server.GetAsync("/.well-known/jwks.json"))
                .Json.GetProperty("keys")
                .EnumerateArray()
                .Select(key => key.GetProperty("kid").GetString()!),
        ];

    private static async Task<bool> IsAcceptedAsync(TestServer server, string token)
    {
        var keys = new JsonWebKeySet((await server.GetAsync("/.well-known/jwks.json")).Body);
        var result = await new JsonWebTokenHandler().ValidateTokenAsync(token, new TokenValidationParameters
        {
            IssuerSigningKeys = keys.GetSigningKeys(),
            ValidIssuer = server.Address,
            ValidAudience = server.Address,
            ValidTypes = ["at+jwt"],
            LifetimeValidator = (_, expires, _, _) => expires > server.Clock.GetUtcNow().UtcDateTime,
        });
        return result.IsValid;
    }

    private static byte[] ReadShared(string file)
    {
        using var stream = new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        var content = new byte[stream.Length];
        stream.ReadExactly(content);
        return content;
    }
}
