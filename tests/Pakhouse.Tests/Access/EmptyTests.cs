using System.Net;

namespace Pakhouse.Tests;

/// <summary>Empty is not everything: CVE-2026-72826 (Grav), where an empty list of scopes made a key without limits; CVE-2026-107623 (Keycloak), where an answer sent back changed a setting.</summary>
public class EmptyTests
{
    [Theory]
    [InlineData("personal-access-keys", """{"name":"Key","scopes":SET}""", "[\"openid\"]", "access_keys")]
    [InlineData("api-keys", """{"name":"Service","expiresAt":"2027-01-01T00:00:00Z","scopes":SET,"organizationsAndRoles":[{"organizationId":"ROOT","roles":["viewer"]}]}""", "[\"openid\"]", "access_keys")]
    [InlineData("webhooks", """{"url":"https://hooks.example.com/","events":SET}""", "[\"key.created\"]", "webhooks")]
    public async Task An_empty_set_is_refused_and_makes_nothing(string path, string body, string some, string table)
    {
        await using var server = await TestServer.StartAsync();
        var acme = await server.AddAcmeAsync();
        var owner = await ApiClient.SignInAsync(server, acme.Owner);
        async Task<Answer> PostAsync(string set) =>
            await owner.SendAsync("POST", $"/identity/v1/organizations/{acme.Root}/{path}", body.Replace("SET", set, StringComparison.Ordinal).Replace("ROOT", $"{acme.Root}", StringComparison.Ordinal));
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
            var id = (await owner.SendAsync("POST", path, $$"""{"url":"https://hooks.example.com/"{{events}}}""")).Json.GetProperty("id").GetString();
            var read = await owner.GetAsync($"{path}/{id}");
            var (url, set, enabled) = (read.Json.GetProperty("url").GetRawText(), read.Json.TryGetProperty("events", out var list) ? list.GetRawText() : "null", read.Json.GetProperty("enabled").GetRawText());
            var written = await owner.SendAsync("PUT", $"{path}/{id}", $$"""{"url":{{url}},"events":{{set}},"enabled":{{enabled}}}""");
            Assert.Equal(HttpStatusCode.NoContent, written.Status);
            Assert.Equal(read.Body, (await owner.GetAsync($"{path}/{id}")).Body);
        }
    }
}
