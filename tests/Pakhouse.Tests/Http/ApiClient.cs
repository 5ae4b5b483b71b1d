using System.Net.Http.Headers;
using System.Text.RegularExpressions;

namespace Pakhouse.Tests;

/// <summary>A caller of the API with what it came with: a session in a browser, a token, or nothing.</summary>
public sealed partial class ApiClient(TestServer server)
{
    private readonly Dictionary<string, string> cookies = new(StringComparer.Ordinal);

    /// <summary>What stands in the header Authorization; null: no such header.</summary>
    public string? Authorization { get; init; }

    /// <summary>What a change with this session carries; null: none.</summary>
    public string? Antiforgery { get; set; }

    public static ApiClient WithToken(TestServer server, string token) => new(server) { Authorization = $"Bearer {token}" };

    public static async Task<ApiClient> WithKeyAsync(TestServer server, Guid user, Guid organization, Guid? subOrganization = null) =>
        WithToken(server, (await server.ExchangeAsync(await server.AddKeyAsync(user, organization), subOrganization)).Token);

    /// <summary>By the page, as a person does.</summary>
    public static async Task<ApiClient> SignInAsync(TestServer server, Guid user)
    {
        var client = new ApiClient(server);
        var page = await client.SendAsync(HttpMethod.Get, "/sign-in");
        var email = await server.ScalarAsync<string>($"SELECT email FROM users WHERE id = '{user}'");
        using var form = new FormUrlEncodedContent(
            HiddenField()
                .Matches(page.Body)
                .Select(field => KeyValuePair.Create(field.Groups["name"].Value, field.Groups["value"].Value))
                .Concat([KeyValuePair.Create("Email", email!), KeyValuePair.Create("Password", TestServer.Password)])
        );
        Assert.Equal(303, (int)(await client.SendAsync(HttpMethod.Post, "/sign-in", form)).Status);
        client.Antiforgery = (await client.GetAsync("/identity/v1/session")).Json.GetProperty("requestVerificationToken").GetString();
        return client;
    }

    public Task<Answer> GetAsync(string path) => SendAsync(HttpMethod.Get, path);

    public Task<Answer> SendAsync(string method, string path, string? json = null) =>
        SendAsync(
            HttpMethod.Parse(method),
            path,
            json is null ? null : new StringContent(json, new MediaTypeHeaderValue("application/json"))
        );

    public async Task<Answer> SendAsync(HttpMethod method, string path, HttpContent? content = null, string accept = "application/json")
    {
        using var request = new HttpRequestMessage(method, path) { Content = content };
        request.Headers.Add("Accept", accept);
        if (content?.Headers.ContentLength > 64 * 1024)
            request.Headers.ExpectContinue = true; // refused before it is sent: the connection stays in order
        if (Authorization is not null)
            request.Headers.TryAddWithoutValidation("Authorization", Authorization);
        if (Antiforgery is not null)
            request.Headers.Add("RequestVerificationToken", Antiforgery);
        if (cookies.Count > 0)
            request.Headers.Add("Cookie", string.Join("; ", cookies.Select(cookie => $"{cookie.Key}={cookie.Value}")));
        var answer = await Answer.OfAsync(await server.Http.SendAsync(request));
        if (!answer.Response.Headers.TryGetValues("Set-Cookie", out var set))
            return answer;
        lock (cookies)
            foreach (var cookie in set.Select(one => one.Split(';')[0].Split('=', 2)))
                cookies[cookie[0]] = cookie[1];
        return answer;
    }

    [GeneratedRegex(
        """<input (?=[^>]*type="hidden")[^>]*name="(?<name>[^"]*)"[^>]*value="(?<value>[^"]*)""",
        RegexOptions.ExplicitCapture,
        1000
    )]
    private static partial Regex HiddenField();
}
