using System.Net;
using System.Net.Http.Headers;

namespace Pakhouse.Tests;

/// <summary>The life of a key over HTTP.</summary>
public class KeyLifeEndpointsTests
{
    private const string Self = "/identity/v1/personal-access-keys/self/rotate";

    [Fact]
    public async Task Usage_answers_hours_networks_and_the_last_use()
    {
        await using var server = await TestServer.StartAsync();
        var acme = await server.AddAcmeAsync();
        var key = await server.AddKeyAsync(acme.Owner, acme.Root);
        var token = (await server.ExchangeAsync(key)).Token;
        await server.Get<KeyUsage>().FlushAsync();
        var answer = await SendAsync(
            server,
            HttpMethod.Get,
            $"/identity/v1/organizations/{acme.Root}/personal-access-keys/{TestServer.IdOf(key)}/usage",
            token
        );
        Assert.Equal(HttpStatusCode.OK, answer.Status);
        Assert.Equal(1, answer.Json.GetProperty("hours")[0].GetProperty("count").GetInt64());
        Assert.Equal("127.0.0.0/24", answer.Json.GetProperty("networks")[0].GetProperty("network").GetString());
        Assert.Equal("127.0.0.1", answer.Json.GetProperty("lastUsedAddress").GetString());
        Assert.Equal(acme.Root.ToString(), answer.Json.GetProperty("lastUsedOrganizationId").GetString());
        Assert.Equal(
            HttpStatusCode.NotFound,
            (
                await SendAsync(
                    server,
                    HttpMethod.Get,
                    $"/identity/v1/organizations/{acme.Root}/personal-access-keys/{KeyFormat.NewId()}/usage",
                    token
                )
            ).Status
        );
    }

    [Theory, InlineData("rotate"), InlineData("finish-rotation")]
    public async Task A_token_got_with_a_key_rotates_nothing(string call)
    {
        await using var server = await TestServer.StartAsync();
        var acme = await server.AddAcmeAsync();
        var key = await server.AddKeyAsync(acme.Owner, acme.Root);
        var token = (await server.ExchangeAsync(key)).Token;
        Assert.Equal(
            HttpStatusCode.Forbidden,
            (
                await SendAsync(
                    server,
                    HttpMethod.Post,
                    $"/identity/v1/organizations/{acme.Root}/personal-access-keys/{TestServer.IdOf(key)}/{call}",
                    token
                )
            ).Status
        );
        Assert.Equal(1, await server.ScalarAsync<long>("SELECT COUNT(*) FROM access_keys"));
    }

    [Fact]
    public async Task A_key_rotates_itself_only_where_the_policy_allows_it_and_gains_no_time_by_it()
    {
        await using var server = await TestServer.StartAsync();
        var acme = await server.AddAcmeAsync();
        var old = await server.AddKeyAsync(acme.Owner, acme.Root, TimeSpan.FromDays(10), "openid");
        Assert.Equal(HttpStatusCode.Forbidden, (await server.PostAsync(Self, ("personalAccessKey", old))).Status);

        await server.ExecuteAsync(
            $"UPDATE organizations SET policy = '{new PolicyPlan(new Policy { SelfRotation = true })}' WHERE id = '{acme.Root}'"
        );
        server.Clock.Advance(TimeSpan.FromDays(5));
        var answer = await server.PostAsync(Self, ("personalAccessKey", old), ("overlapSeconds", "60"));
        Assert.Equal(HttpStatusCode.OK, answer.Status);
        Assert.Equal("no-store", answer.Header("Cache-Control"));
        var key = answer.Json.GetProperty("personalAccessKey").GetString()!;
        Assert.Equal(server.Clock.GetUtcNow().AddDays(5), answer.Json.GetProperty("expiryDate").GetDateTimeOffset());
        Assert.Equal("openid", (await server.ExchangeAsync(key)).Json.GetProperty("scope").GetString());
        server.Clock.Advance(TimeSpan.FromMinutes(1));

        // Stolen and rotated by the thief: the holder's own next use freezes what the thief has.
        Assert.Equal(HttpStatusCode.Unauthorized, (await server.PostAsync(Self, ("personalAccessKey", old))).Status);
        Assert.Equal(HttpStatusCode.Unauthorized, (await server.ExchangeAsync(key)).Status);
    }

    [Fact]
    public async Task Neither_a_token_nor_a_guess_rotates_and_guesses_are_limited()
    {
        await using var server = await TestServer.StartAsync("--Pakhouse:FailuresPerMinuteMax=3");
        var acme = await server.AddAcmeAsync();
        await server.ExecuteAsync($"UPDATE organizations SET policy = '{new PolicyPlan(new Policy { SelfRotation = true })}'");
        var key = await server.AddKeyAsync(acme.Owner, acme.Root);
        var token = (await server.ExchangeAsync(key)).Token;
        Assert.Equal(HttpStatusCode.Unauthorized, (await server.PostAsync(Self, ("personalAccessKey", token))).Status);
        for (var i = 0; i < 2; i++)
            Assert.Equal(
                HttpStatusCode.Unauthorized,
                (await server.PostAsync(Self, ("personalAccessKey", KeyHistoryTests.ForgedOf(key)))).Status
            );
        Assert.Equal(
            HttpStatusCode.TooManyRequests,
            (await server.PostAsync(Self, ("personalAccessKey", KeyHistoryTests.ForgedOf(key)))).Status
        );
        Assert.Equal(HttpStatusCode.BadRequest, (await server.PostAsync(Self)).Status);
        Assert.Equal(
            HttpStatusCode.BadRequest,
            (await server.PostAsync(Self, ("personalAccessKey", key), ("overlapSeconds", "1e3"))).Status
        );
        Assert.Equal(
            HttpStatusCode.BadRequest,
            (await server.PostAsync(Self, ("personalAccessKey", key), ("overlapSeconds", "9223372036854775807"))).Status
        );
        Assert.Equal(1, await server.ScalarAsync<long>("SELECT COUNT(*) FROM access_keys"));
        Assert.Equal(HttpStatusCode.OK, (await server.PostAsync(Self, ("personalAccessKey", key))).Status); // a real key is never limited
    }

    private static async Task<Answer> SendAsync(TestServer server, HttpMethod method, string path, string token)
    {
        using var request = new HttpRequestMessage(method, new Uri(server.Address + path));
        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token);
        return await Answer.OfAsync(await server.Http.SendAsync(request));
    }
}
