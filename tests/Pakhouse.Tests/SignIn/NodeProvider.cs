using System.Diagnostics;
using System.Net.Http.Json;
using System.Text.Json;
using Microsoft.Extensions.Time.Testing;

namespace Pakhouse.Tests;

/// <summary>node-oidc-provider, a certified OpenID provider, in a process of its own: <c>tests/node/provider.mjs</c>.</summary>
public sealed class NodeProvider : IAsyncDisposable
{
    public const string ClientId = "pakhouse",
        ClientSecret = "a secret of both";

    private readonly Process process;
    private readonly HttpClient http = new(new SocketsHttpHandler { UseCookies = false, AllowAutoRedirect = false });

    private NodeProvider(Process process, string address) => (this.process, Address) = (process, address);

    public string Address { get; }

    /// <summary>Its own clock is the machine's.</summary>
    public FakeTimeProvider Clock { get; } = new(TimeProvider.System.GetUtcNow());

    public static async Task<NodeProvider> StartAsync()
    {
        var start = new ProcessStartInfo("node", "provider.mjs")
        {
            WorkingDirectory = Path.Combine(Repository.Root, "tests", "node"),
            UseShellExecute = false,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        var started = Process.Start(start)!;
        var errors = started.StandardError.ReadToEndAsync();
        var address = await started.StandardOutput.ReadLineAsync();
        Assert.True(
            address is not null,
            address is null ? $"tests/node/provider.mjs did not start (npm ci there first): {await errors}" : null
        );
        return new NodeProvider(started, address!);
    }

    /// <summary>Changes what the provider is, and returns the paths that it was asked since the last change.</summary>
    public async Task<string[]> SetAsync(object changes)
    {
        using var answer = await http.PostAsJsonAsync($"{Address}/control", changes);
        answer.EnsureSuccessStatusCode();
        var seen = await answer.Content.ReadFromJsonAsync<JsonElement>();
        return [.. seen.GetProperty("seen").EnumerateArray().Select(path => path.GetString()!)];
    }

    /// <summary>Has the provider sign what it would not make itself.</summary>
    public async Task<string> SignAsync(object claims, object? header = null, string? alg = null, bool foreign = false)
    {
        using var answer = await http.PostAsJsonAsync(
            $"{Address}/control",
            new
            {
                sign = new
                {
                    claims,
                    header,
                    alg,
                    foreign,
                },
            }
        );
        return (await answer.Content.ReadFromJsonAsync<JsonElement>()).GetProperty("signed").GetString()!;
    }

    /// <summary>The same of any text as payload.</summary>
    public async Task<string> SignTextAsync(string payload, object? header = null)
    {
        using var answer = await http.PostAsJsonAsync($"{Address}/control", new { sign = new { payload, header } });
        return (await answer.Content.ReadFromJsonAsync<JsonElement>()).GetProperty("signed").GetString()!;
    }

    /// <summary>Signs out at the provider, as a browser with these cookies that says yes there, and returns where it is sent.</summary>
    public async Task<Uri> SignOutAsync(string location, IDictionary<string, string> cookies)
    {
        using var ask = new HttpRequestMessage(HttpMethod.Get, location);
        ask.Headers.Add("Cookie", string.Join("; ", cookies.Select(cookie => $"{cookie.Key}={cookie.Value}")));
        using var asked = await http.SendAsync(ask);
        var page = await asked.Content.ReadAsStringAsync();
        Assert.True(asked.IsSuccessStatusCode, page);
        string Of(string pattern) =>
            System
                .Text.RegularExpressions.Regex.Match(
                    page,
                    pattern,
                    System.Text.RegularExpressions.RegexOptions.None,
                    TimeSpan.FromSeconds(1)
                )
                .Groups[1]
                .Value;
        using var yes = new HttpRequestMessage(HttpMethod.Post, Of("action=\"([^\"]+)\""))
        {
            Content = new FormUrlEncodedContent(
                new Dictionary<string, string> { ["xsrf"] = Of("name=\"xsrf\" value=\"([^\"]+)\""), ["logout"] = "yes" }
            ),
        };
        yes.Headers.Add("Cookie", string.Join("; ", cookies.Select(cookie => $"{cookie.Key}={cookie.Value}")));
        using var done = await http.SendAsync(yes);
        return new Uri(new Uri(Address), done.Headers.Location!);
    }

    /// <summary>
    /// From the address that our server redirects to, through the provider with the cookies it sets, back to an address of ours.
    /// </summary>
    public async Task<Uri> FollowAsync(string location, IDictionary<string, string>? cookies = null)
    {
        cookies ??= new Dictionary<string, string>(StringComparer.Ordinal);
        var next = new Uri(location);
        for (var step = 0; step < 10; step++)
        {
            if (next.GetLeftPart(UriPartial.Authority) != Address)
                return next;
            using var request = new HttpRequestMessage(HttpMethod.Get, next);
            if (cookies.Count > 0)
                request.Headers.Add("Cookie", string.Join("; ", cookies.Select(cookie => $"{cookie.Key}={cookie.Value}")));
            using var answer = await http.SendAsync(request);
            foreach (var cookie in answer.Headers.TryGetValues("Set-Cookie", out var set) ? set : [])
            {
                var (name, value) = cookie.Split(';')[0].Split('=', 2) is [var n, var v] ? (n, v) : throw new FormatException("cookie");
                if (value.Length == 0)
                    cookies.Remove(name);
                else
                    cookies[name] = value;
            }

            Assert.True(answer.Headers.Location is not null, $"{(int)answer.StatusCode}: {await answer.Content.ReadAsStringAsync()}");
            next = new Uri(next, answer.Headers.Location);
        }

        throw new InvalidOperationException("The provider redirects in a circle.");
    }

    public async ValueTask DisposeAsync()
    {
        http.Dispose();
        process.StandardInput.Close(); // it ends with its input
        try
        {
            using var late = new CancellationTokenSource(TimeSpan.FromSeconds(10));
            await process.WaitForExitAsync(late.Token);
        }
        catch (OperationCanceledException)
        {
            process.Kill();
        }

        process.Dispose();
    }
}
