using System.Net;
using System.Net.Http.Headers;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;

namespace Pakhouse.Tests;

/// <summary>What <see cref="Advisories"/> tries itself, on a server of its own each.</summary>
internal static partial class AdvisoryChecks
{
    public static async Task NobodyMakesAKeyByNamingAPerson()
    {
        await using var server = await TestServer.StartAsync();
        var acme = await server.AddAcmeAsync();
        var fields = ((string[])["userId", "user_id", "user", "sub", "id", "ownerId", "memberId", "username", "actor",
            "impersonate"]).ToDictionary(name => name, _ => $"{acme.Owner}");
        var body = new JsonObject(fields.Select(one =>
            KeyValuePair.Create(one.Key, (JsonNode?)one.Value)).Append(KeyValuePair.Create("name", (JsonNode?)"Key 1"))).ToJsonString();
        var query = string.Join('&', fields.Select(one => $"{one.Key}={one.Value}"));
        foreach (var path in (string[])["personal-access-keys", "api-keys", $"personal-access-keys/{KeyFormat.NewId()}/rotate"])
        {
            using var request = new HttpRequestMessage(HttpMethod.Post,
                $"/identity/v1/organizations/{acme.Root}/{path}?{query}")
            {
                Content = new StringContent(body,
                    new MediaTypeHeaderValue("application/json"))
            };
            foreach (var (name, value) in fields) request.Headers.TryAddWithoutValidation($"X-{name}", value);
            request.Headers.TryAddWithoutValidation("Cookie", string.Join("; ", fields.Select(one => $"{one.Key}={one.Value}")));
            Assert.Equal(HttpStatusCode.Unauthorized, (await server.Http.SendAsync(request)).StatusCode);
        }

        Assert.Equal(0, await server.ScalarAsync<long>("SELECT COUNT(*) FROM access_keys"));
    }

    public static async Task AScopeNarrowsByEveryTransport()
    {
        await using var server = await TestServer.StartAsync();
        var acme = await server.AddAcmeAsync();
        var (narrow, wide) = (await server.AddKeyAsync(acme.Owner, acme.Root, null, "organization:read"),
            await server.AddKeyAsync(acme.Owner, acme.Root));
        var path = $"/identity/v1/organizations/{acme.Root}/sub-organizations";
        foreach (var (key, expected) in ((string, HttpStatusCode)[])[(narrow, HttpStatusCode.Forbidden), (wide, HttpStatusCode.BadRequest)])
        {
            var token = (await server.ExchangeAsync(key)).Token;
            foreach (var authorization in (string[])[$"Bearer {token}", $"bearer {token}", $"BEARER  {token}", token])
                Assert.Equal(expected,
                    (await new ApiClient(server) { Authorization = authorization }.SendAsync("POST", path, """{"name":""}""")).Status);
            foreach (var other in (string[])[$"?access_token={token}", $"?token={token}", $"?authorization=Bearer%20{token}"])
                Assert.Contains((int)(await new ApiClient(server).SendAsync("POST", path + other, """{"name":""}""")).Status,
                    (int[])[400, 401]);
            var basic = Convert.ToBase64String(System.Text.Encoding.ASCII.GetBytes($"x:{token}"));
            Assert.Equal(HttpStatusCode.Unauthorized,
                (await new ApiClient(server) { Authorization = $"Basic {basic}" }.SendAsync("POST", path, """{"name":""}""")).Status);
        }
    }

    public static async Task ThereIsNoKeyOfNobody()
    {
        await using var server = await TestServer.StartAsync();
        var acme = await server.AddAcmeAsync();
        var key = TestServer.IdOf(await server.AddKeyAsync(acme.Owner, acme.Root));
        var hash = TestDatabase.IsPostgres ? "decode('00', 'hex')" : "X'00'";
        foreach (var membership in (string[])["NULL", "''", "'0'", $"'{Guid.Empty}'"])
        {
            await Assert.ThrowsAnyAsync<Exception>(() =>
                server.ExecuteAsync($"UPDATE access_keys SET membership_id = {membership} WHERE id = '{key}'")
            );
            await Assert.ThrowsAnyAsync<Exception>(() =>
                server.ExecuteAsync(
                    $"INSERT INTO access_keys (id, membership_id, name, hash, scopes, created_at, status_index) VALUES "
                        + $"('{KeyFormat.NewId()}', {membership}, 'x', {hash}, '', 1, 99)"
                )
            );
        }

        // nor does one become nobody's
        await Assert.ThrowsAnyAsync<Exception>(() => server.ExecuteAsync($"DELETE FROM memberships WHERE user_id = '{acme.Owner}'"));
        Assert.Equal(1, await server.ScalarAsync<long>("SELECT COUNT(*) FROM access_keys k JOIN memberships m ON m.id = k.membership_id"));
    }

    public static async Task NoEndIsNoNever()
    {
        await using var server = await TestServer.StartAsync();
        var acme = await server.AddAcmeAsync();
        var owner = await ApiClient.SignInAsync(server, acme.Owner);
        await PoliciesTests.SetAsync(server, acme.Owner, acme.Root, new() { LifetimeMaxDays = 1 });
        var now = server.Clock.GetUtcNow();
        foreach (var (expiry, isTaken) in ((string, bool)[])
            [
                ("null", false), ($"\"{now:O}\"", false), ("\"1970-01-01T00:00:00Z\"", false), ("\"0001-01-01T00:00:00Z\"", false),
                    ("\"9999-12-31T23:59:59Z\"", false),
                ($"\"{now.AddDays(1).AddMilliseconds(1):O}\"", false), ($"\"{now.AddDays(1):O}\"", true),
                    ($"\"{now.AddDays(1).AddMilliseconds(-1):O}\"", true),
            ])
        {
            var made = await owner.SendAsync("POST", $"/identity/v1/organizations/{acme.Root}/personal-access-keys",
                $$"""{"name":"Key","expiryDate":{{expiry}}}""");
            Assert.True(made.Response.IsSuccessStatusCode == isTaken && (int)made.Status < 500,
                $"{expiry}: {(int)made.Status} {made.Body}");
        }

        Assert.Equal(0, await server.ScalarAsync<long>("SELECT COUNT(*) FROM access_keys WHERE expires_at IS NULL"));
    }

    public static async Task NoSqlInAKey()
    {
        await using var server = await TestServer.StartAsync("--Pakhouse:FailuresPerMinuteMax=100000");
        var acme = await server.AddAcmeAsync();
        var key = await server.AddKeyAsync(acme.Owner, acme.Root);
        var tables = await server.ScalarAsync<long>("SELECT COUNT(*) FROM access_keys");
        foreach (var sql in (string[])["'", "' OR '1'='1", "'; DROP TABLE access_keys; --", "' UNION SELECT * FROM users --", "\\'",
            "%27", "$$", "\"; --", "x' AND (SELECT 1 FROM pg_sleep(5))='1"])
            foreach (var text in (string[])[sql, key[..8] + sql, $"ph_pak1_{sql}_", key + sql,
                key.Replace(TestServer.IdOf(key), sql, StringComparison.Ordinal)])
            {
                foreach (var (path, field) in ((string, string)[])
                    [("/auth/v3/token", "personalAccessKey"), ("/auth/v1/token", "pat"), ("/oauth/revoke", "token"),
                        ("/identity/v1/personal-access-keys/self/rotate", "personalAccessKey")])
                    Assert.InRange((int)(await server.PostAsync(path, (field, text))).Status, 200, 499);
                Assert.Equal(HttpStatusCode.Unauthorized, (await server.PostAsync("/auth/v3/token", ("personalAccessKey", text))).Status);
                Assert.InRange((int)(await server.PostAsync("/auth/v1/api-key/token", ("name", text), ("secret", text))).Status, 400, 403);
                Assert.Equal(HttpStatusCode.Unauthorized,
                    (await new ApiClient(server) { Authorization = $"Bearer {text}" }.GetAsync("/userinfo")).Status);
            }

        Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(key)).Status);
        Assert.Equal(tables, await server.ScalarAsync<long>("SELECT COUNT(*) FROM access_keys WHERE deleted_at IS NULL"));
    }

    public static async Task HealthSaysOneWord()
    {
        await using var server = await TestServer.StartAsync();
        foreach (var path in (string[])["/health/live", "/health/ready", "/health/ready?full=true"])
            foreach (var accept in (string[])["application/json", "text/html", "*/*"])
                Assert.Matches("^[A-Z][a-z]+$", (await new ApiClient(server).SendAsync(HttpMethod.Get, path, accept: accept)).Body);
    }

    public static Task NoLogTakesAnObjectApart()
    {
        var files = Directory.EnumerateFiles(Path.Combine(Repository.Root, "src"), "*.cs", SearchOption.AllDirectories)
            .Where(file =>
                !file.Contains($"{Path.DirectorySeparatorChar}obj{Path.DirectorySeparatorChar}", StringComparison.Ordinal)).ToList();
        Assert.True(files.Count > 50);
        Assert.DoesNotContain(files, file => Destructuring().IsMatch(File.ReadAllText(file)));
        Assert.Matches(Destructuring(), "log.LogInformation(\"Order {@Order}\", order)"); // the control
        return Task.CompletedTask;
    }

    [GeneratedRegex(@"\{@[A-Za-z]", RegexOptions.None, 5000)]
    private static partial Regex Destructuring();
}
