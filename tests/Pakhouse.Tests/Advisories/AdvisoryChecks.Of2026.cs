using System.Net;

namespace Pakhouse.Tests;

internal static partial class AdvisoryChecks
{
    public static async Task ARestartRevivesNothing()
    {
        var place = await TestDatabase.CreateAsync();
        var first = await TestServer.StartOnAsync(place, null);
        var acme = await first.AddAcmeAsync();
        var (deleted, kept) = (await first.AddKeyAsync(acme.Owner, acme.Root), await first.AddKeyAsync(acme.Owner, acme.Root));
        var token = (await first.ExchangeAsync(deleted)).Token;
        await first.Keys.DeleteAsync(Actor.Session(acme.Owner), acme.Root, TestServer.IdOf(deleted));
        await first.StopAsync();
        await using var second = await TestServer.StartOnAsync(place, first.Clock);
        Assert.Equal(HttpStatusCode.Unauthorized, (await second.ExchangeAsync(deleted)).Status);
        Assert.Equal(HttpStatusCode.Unauthorized, (await ApiClient.WithToken(second, token).GetAsync("/userinfo")).Status);
        Assert.Equal(HttpStatusCode.OK, (await second.ExchangeAsync(kept)).Status);
    }

    public static async Task APolicyReadAndWrittenBackIsUnchanged()
    {
        await using var server = await TestServer.StartAsync();
        var acme = await server.AddAcmeAsync();
        var owner = await ApiClient.SignInAsync(server, acme.Owner);
        var path = $"/identity/v1/organizations/{acme.Root}/policy";
        Assert.True(NetworkSet.TryParse(["127.0.0.0/8", "2001:db8::/32"], out var networks));
        foreach (var policy in (Policy[])[Policy.None,
            new() { LifetimeMaxDays = 30, Holders = NameSet.Of("viewer", "owner"), Networks = networks, SelfRotation = true },
                new() { Holders = NameSet.Empty }])
        {
            await PoliciesTests.SetAsync(server, acme.Owner, acme.Root, policy);
            var read = await owner.GetAsync(path);
            var own = read.Json.GetProperty("own").GetProperty("policy").GetRawText();
            var written = await owner.SendAsync("PUT", path,
                $$"""{"policy":{{own}},"version":{{read.Json.GetProperty("version").GetRawText()}}}""");
            Assert.True(written.Status == HttpStatusCode.OK, written.Body);
            var again = (await owner.GetAsync(path)).Json;
            foreach (var member in (string[])["inForce", "own", "announced",
                "origins"]) Assert.Equal(read.Json.GetProperty(member).GetRawText(), again.GetProperty(member).GetRawText());
        }
    }

    public static async Task AKeyOfAnyLifetimeEnds()
    {
        await using var server = await TestServer.StartAsync();
        var acme = await server.AddAcmeAsync();
        foreach (var lifetime in (TimeSpan?[])[null, TimeSpan.FromMinutes(5), TimeSpan.FromDays(365), TimeSpan.FromDays(36_500)])
        {
            var made = await server.Keys.GenerateAsync(Actor.Session(acme.Owner), acme.Root,
                new NewKey(KeyFormat.NewId(), $"Key {lifetime}", server.Clock.GetUtcNow() + lifetime, NameSet.Empty));
            if (made.IsRefused) continue; // longer than a key can be made for
            using var generated = made.Value;
            var key = generated.Reveal();
            var token = (await server.ExchangeAsync(key)).Token;
            Assert.Equal(HttpStatusCode.OK, (await server.PostAsync("/oauth/revoke", ("token", key))).Status);
            Assert.Equal(HttpStatusCode.Unauthorized, (await server.ExchangeAsync(key)).Status);
            Assert.Equal(HttpStatusCode.Unauthorized, (await ApiClient.WithToken(server, token).GetAsync("/userinfo")).Status);
        }
    }

    public static async Task NoAudienceIsLeftOut()
    {
        await Assert.ThrowsAsync<StartupException>(() => TestServer.StartAsync("--Pakhouse:OidcAuthority=https://id.example.com"));
        Assert.Equal("", new AspNetCore.PakhouseBearerOptions { Issuer = "https://keys.example.com" }.Audience); // then it is the issuer:
        await using var server = await TestServer.StartAsync("--Pakhouse:Audience=https://elsewhere.example");
        await using var api = await VerifyingApi.StartAsync(server);
        var acme = await server.AddAcmeAsync();
        var token = (await server.ExchangeAsync(await server.AddKeyAsync(acme.Owner, acme.Root))).Token;
        Assert.Equal(HttpStatusCode.Unauthorized, await api.StatusAsync(token));
        await using var right = await VerifyingApi.StartAsync(server, options => options.Audience = "https://elsewhere.example");
        Assert.Equal(HttpStatusCode.OK, await right.StatusAsync(token));
    }

    public static async Task ACursorIsHostileInput()
    {
        await using var server = await TestServer.StartAsync();
        var acme = await server.AddAcmeAsync();
        for (var i = 0; i < 3; i++) await server.AddKeyAsync(acme.Owner, acme.Root);
        var owner = await ApiClient.SignInAsync(server, acme.Owner);
        foreach (var path in (string[])["keys?limit=1&after=", "personal-access-keys?all=true&limit=1&after=", "activity?limit=1&before=",
            "activity?limit=1&after="])
        {
            var address = $"/identity/v1/organizations/{acme.Root}/{path}";
            var first = await owner.GetAsync(address);
            Assert.Equal(HttpStatusCode.OK, first.Status);
            var real = first.Json.TryGetProperty("next", out var next) && next.ToString().Length > 0 ? next.ToString()
                : "1730000000000-0123456789abcdef";
            foreach (var tampered in (string[])
                [
                    .. Enumerable.Range(0, real.Length).Select(at => string.Concat(real.AsSpan(0, at), "'", real.AsSpan(at + 1))), real
                        + "'", real + " OR 1=1", "' OR 1=1 --", real + real, "-", "0-", "-0", "1-1-1",
                    $"99999999999999999999-{real}", "-9223372036854775808-0123456789abcdef", "9223372036854775807-0123456789abcdef",
                        "1e9-0123456789abcdef", "\0", "%", new string('9', 4000), real[..^1],
                ])
            {
                var answer = await owner.GetAsync(address + Uri.EscapeDataString(tampered));
                Assert.True((int)answer.Status is 200 or 400, $"{path}{tampered}: {(int)answer.Status}");
                Assert.DoesNotContain("syntax", answer.Body, StringComparison.OrdinalIgnoreCase);
            }
        }

        Assert.DoesNotContain(server.Log.Lines, line => line.Contains("SqliteException", StringComparison.Ordinal)
            || line.Contains("PostgresException", StringComparison.Ordinal));
    }

    public static async Task NoWildcardInASearch()
    {
        await using var server = await TestServer.StartAsync();
        var acme = await server.AddAcmeAsync();
        await server.AddKeyAsync(acme.Owner, acme.Root);
        var owner = await ApiClient.SignInAsync(server, acme.Owner);
        var path = $"/identity/v1/organizations/{acme.Root}";
        foreach (var search in (string[])["%", "_", "%%%", "K_y", "k%1", "\\", "\\%", "[a-z]", "*"])
            Assert.Equal(0,
                (await owner.GetAsync($"{path}/keys?search={Uri.EscapeDataString(search)}")).Json.GetProperty("data").GetArrayLength());
        Assert.Equal(1, (await owner.GetAsync($"{path}/keys?search=key")).Json.GetProperty("data").GetArrayLength());
        foreach (var character in "%_\\")
            Assert.Equal(HttpStatusCode.BadRequest,
                (await owner.GetAsync($"{path}/keys?search={Uri.EscapeDataString(new string(character, 2000))}")).Status);
    }

    public static async Task PublishedKeysSayWhatTheyAreFor()
    {
        foreach (var algorithm in (string[])["ES256", "RS256"])
        {
            await using var server = await TestServer.StartAsync($"--Pakhouse:SigningAlgorithm={algorithm}");
            var keys = (await server.GetAsync("/.well-known/jwks.json")).Json.GetProperty("keys");
            Assert.NotEqual(0, keys.GetArrayLength());
            foreach (var key in keys.EnumerateArray())
            {
                Assert.Equal((algorithm, "sig"), (key.GetProperty("alg").GetString(), key.GetProperty("use").GetString()));
                Assert.NotEqual("oct", key.GetProperty("kty").GetString());
                Assert.False(key.TryGetProperty("d", out _) || key.TryGetProperty("k", out _));
            }
        }
    }

    public static async Task NoIdIsACredential()
    {
        await using var server = await TestServer.StartAsync("--Pakhouse:FailuresPerMinuteMax=100000");
        var acme = await server.AddAcmeAsync();
        var key = await server.AddKeyAsync(acme.Owner, acme.Root);
        var session = await server.ScalarAsync<string>("SELECT id FROM memberships LIMIT 1");
        var kid = (await server.GetAsync("/.well-known/jwks.json")).Json.GetProperty("keys")[0].GetProperty("kid").GetString();
        var email = await server.ScalarAsync<string>("SELECT email FROM users LIMIT 1");
        foreach (var id in (string?[])[$"{acme.Owner}", $"{acme.Root}", TestServer.IdOf(key), key[..^49], session, kid, email,
            $"{Guid.Empty}", "admin", "null", "undefined"])
        {
            foreach (var word in (string[])["Bearer ", ""])
                foreach (var path in (string[])["/userinfo", "/identity/v1/organizations", $"/identity/v1/organizations/{acme.Root}/keys"])
                    Assert.Equal(HttpStatusCode.Unauthorized,
                        (await new ApiClient(server) { Authorization = word + id }.GetAsync(path)).Status);
            Assert.Equal(HttpStatusCode.Unauthorized, (await server.ExchangeAsync(id!)).Status);
            Assert.Equal(HttpStatusCode.Unauthorized,
                (await server.PostAsync("/oauth/introspect", ("token", key), ("client_id", id!), ("client_secret", id!))).Status);
        }
    }
}
