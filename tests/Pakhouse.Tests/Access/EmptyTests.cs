using System.Net;

namespace Pakhouse.Tests;

/// <summary>
/// Empty is not everything: CVE-2026-72826 (Grav), where an empty list of scopes made a key without limits; CVE-2026-107623 (Keycloak),
/// where an answer sent back changed a setting.
/// </summary>
public class EmptyTests
{
    [Theory]
    [InlineData("personal-access-keys", """{"name":"Key","scopes":SET}""", "[\"openid\"]", "access_keys")]
    [InlineData(
        "api-keys",
        """{"name":"Service","expiresAt":"2027-01-01T00:00:00Z","scopes":SET,"organizationsAndRoles":[{"organizationId":"ROOT","roles":["viewer"]}]}""",
        "[\"openid\"]",
        "access_keys"
    )]
    [InlineData("webhooks", """{"url":"https://hooks.example.com/","events":SET}""", "[\"key.created\"]", "webhooks")]
    public async Task An_empty_set_is_refused_and_makes_nothing(string path, string body, string some, string table)
    {
        await using var server = await TestServer.StartAsync();
        var acme = await server.AddAcmeAsync();
        var owner = await ApiClient.SignInAsync(server, acme.Owner);
        async Task<Answer> PostAsync(string set) =>
            await owner.SendAsync(
                "POST",
                $"/identity/v1/organizations/{acme.Root}/{path}",
                body.Replace("SET", set, StringComparison.Ordinal).Replace("ROOT", $"{acme.Root}", StringComparison.Ordinal)
            );
        var refused = await PostAsync("[]");
        Assert.Equal(HttpStatusCode.BadRequest, refused.Status);
        Assert.Contains("the list is empty", refused.Json.GetProperty("message").GetString(), StringComparison.Ordinal);
        Assert.Equal(0, await server.ScalarAsync<long>($"SELECT COUNT(*) FROM {table}"));

        // The control: one name is taken.
        var made = await PostAsync(some);
        Assert.True(made.Response.IsSuccessStatusCode, made.Body);
        Assert.Equal(1, await server.ScalarAsync<long>($"SELECT COUNT(*) FROM {table}"));
    }

    [Fact]
    public async Task A_webhook_that_is_read_and_written_back_is_unchanged()
    {
        await using var server = await TestServer.StartAsync();
        var acme = await server.AddAcmeAsync();
        var owner = await ApiClient.SignInAsync(server, acme.Owner);
        var path = $"/identity/v1/organizations/{acme.Root}/webhooks";
        foreach (var events in (string[])["", ",\"events\":[\"key.created\"]"])
        {
            var id = (await owner.SendAsync("POST", path, $$"""{"url":"https://hooks.example.com/"{{events}}}"""))
                .Json.GetProperty("id")
                .GetString();
            var read = await owner.GetAsync($"{path}/{id}");
            var (url, set, enabled) = (
                read.Json.GetProperty("url").GetRawText(),
                read.Json.TryGetProperty("events", out var list) ? list.GetRawText() : "null",
                read.Json.GetProperty("enabled").GetRawText()
            );
            var written = await owner.SendAsync("PUT", $"{path}/{id}", $$"""{"url":{{url}},"events":{{set}},"enabled":{{enabled}}}""");
            Assert.Equal(HttpStatusCode.NoContent, written.Status);
            Assert.Equal(read.Body, (await owner.GetAsync($"{path}/{id}")).Body);
        }
    }

    [Fact]
    public async Task All_is_stored_as_itself_and_an_empty_text_is_nothing()
    {
        await using var server = await TestServer.StartAsync();
        var acme = await server.AddAcmeAsync();
        var key = await server.AddKeyAsync(acme.Owner, acme.Root);
        Assert.False(
            (
                await server
                    .Get<Server.Webhooks>()
                    .CreateAsync(Actor.Session(acme.Owner), acme.Root, "https://hooks.example.com/", NameSet.All)
            ).IsRefused
        );
        Assert.Equal("*", await server.ScalarAsync<string>("SELECT scopes FROM access_keys"));
        Assert.Equal("*", await server.ScalarAsync<string>("SELECT events FROM webhooks"));
        Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(key)).Status);

        // What is lost in the database opens nothing.
        await server.ExecuteAsync("UPDATE access_keys SET scopes = ''");
        Assert.Equal(HttpStatusCode.BadRequest, (await server.ExchangeAsync(key)).Status);
        Assert.Equal(
            RefusalCode.InvalidRequest,
            (
                await server.Keys.GenerateAsync(
                    Actor.Session(acme.Owner),
                    acme.Root,
                    new NewKey(KeyFormat.NewId(), "Key", null, NameSet.Empty)
                )
            )
                .Refusal
                ?.Code
        );
        Assert.Equal(
            RefusalCode.InvalidRequest,
            (
                await server
                    .Get<Server.Webhooks>()
                    .CreateAsync(Actor.Session(acme.Owner), acme.Root, "https://hooks.example.com/", NameSet.Empty)
            )
                .Refusal
                ?.Code
        );
    }

    /// <summary>The word that is stored for all is no name that a caller can send.</summary>
    [Fact]
    public async Task The_word_for_all_is_refused_from_a_caller()
    {
        await using var server = await TestServer.StartAsync();
        var acme = await server.AddAcmeAsync();
        var owner = await ApiClient.SignInAsync(server, acme.Owner);
        Assert.Equal(
            "invalid_scope",
            (await server.ExchangeAsync(await server.AddKeyAsync(acme.Owner, acme.Root, null, "openid"), scope: "*")).Error
        );
        foreach (
            var (path, body) in new[]
            {
                ("personal-access-keys", """{"name":"Key","scopes":["*"]}"""),
                ("webhooks", """{"url":"https://hooks.example.com/","events":["*"]}"""),
            }
        )
            Assert.Equal(
                HttpStatusCode.BadRequest,
                (await owner.SendAsync("POST", $"/identity/v1/organizations/{acme.Root}/{path}", body)).Status
            );
    }

    [Theory, InlineData("webhook"), InlineData("API key"), InlineData("policy"), InlineData("announced policy")]
    public async Task What_is_read_and_written_back_changes_nothing_and_tells_nobody(string what)
    {
        await using var server = await TestServer.StartAsync();
        var acme = await server.AddAcmeAsync();
        var owner = await ApiClient.SignInAsync(server, acme.Owner);
        var root = $"/identity/v1/organizations/{acme.Root}";
        await owner.SendAsync("POST", $"{root}/webhooks", """{"url":"https://hooks.example.com/"}""");
        string read,
            write;
        switch (what)
        {
            case "webhook":
                read = write = $"{root}/webhooks/{await server.ScalarAsync<string>("SELECT id FROM webhooks")}";
                break;
            case "API key":
                var body =
                    $$"""{"name":"Service","expiresAt":"2027-01-01T00:00:00Z","organizationsAndRoles":[{"organizationId":"{{acme.Root}}","roles":["viewer"]}]}""";
                write = $"{root}/api-keys/{(await owner.SendAsync("POST", $"{root}/api-keys", body)).Json.GetProperty("id").GetString()}";
                read = $"{root}/api-keys";
                break;
            default:
                read = write = $"{root}/policy";
                var version = (await owner.GetAsync(read)).Json.GetProperty("version").GetString();
                var from = what == "policy" ? "" : ",\"enforcedFrom\":\"2027-01-01T00:00:00Z\"";
                var made = await owner.SendAsync("PUT", write, $$"""{"policy":{"lifetimeMaxDays":30},"version":"{{version}}"{{from}}}""");
                Assert.True(made.Response.IsSuccessStatusCode, made.Body);
                break;
        }

        var (before, rows) = (await owner.GetAsync(read), await RowsAsync());
        var json =
            what == "API key"
                ? (before.Json.ValueKind == System.Text.Json.JsonValueKind.Array ? before.Json : before.Json.GetProperty("data"))[0]
                    .GetRawText()
                : before.Body;
        if (before.Json.ValueKind == System.Text.Json.JsonValueKind.Object && before.Json.TryGetProperty("own", out var own))
        {
            var policy = own.TryGetProperty("next", out var next) ? next : own.GetProperty("policy");
            var date = own.TryGetProperty("enforcedFrom", out var at) ? $",\"enforcedFrom\":{at.GetRawText()}" : "";
            json = $"{{\"policy\":{policy.GetRawText()},\"version\":{before.Json.GetProperty("version").GetRawText()}{date}}}";
        }

        var written = await owner.SendAsync(what == "API key" ? "PATCH" : "PUT", write, json);
        Assert.True(written.Response.IsSuccessStatusCode, $"{json}: {written.Body}");
        Assert.Equal(before.Body, (await owner.GetAsync(read)).Body);
        Assert.Equal(rows, await RowsAsync());

        async Task<string> RowsAsync()
        {
            var counts = new List<long>();
            foreach (var table in (string[])["activity", "mails", "webhook_messages"])
                counts.Add(await server.ScalarAsync<long>($"SELECT COUNT(*) FROM {table}"));
            return string.Join(' ', counts);
        }
    }
}
