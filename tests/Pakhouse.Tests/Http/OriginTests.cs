using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Pakhouse.Tests;

/// <summary>
/// Scheme and host of every address that leaves the server come from the settings, whatever the request says about itself.
/// </summary>
public class OriginTests
{
    private const string Evil = "evil.example";

    /// <summary>As it stands on the wire: no client library tidies it.</summary>
    private static async Task<string> SendAsync(TestServer server, string path, params string[] headers)
    {
        var address = new Uri(server.Address);
        using var client = new TcpClient();
        await client.ConnectAsync(address.Host, address.Port);
        await using var stream = client.GetStream();
        await stream.WriteAsync(
            Encoding.ASCII.GetBytes(
                $"GET {path} HTTP/1.1\r\n{string.Join("\r\n", headers)}\r\nAccept: text/html\r\nConnection: close\r\n\r\n"
            )
        );
        using var reader = new StreamReader(stream, Encoding.UTF8);
        return await reader.ReadToEndAsync();
    }

    private static string? Location(string answer) =>
        answer.Split("\r\n").FirstOrDefault(line => line.StartsWith("Location: ", StringComparison.Ordinal))?["Location: ".Length..];

    [Theory]
    [InlineData("Host: evil.example")]
    [InlineData("Host: evil.example:8443")]
    [InlineData("Host: 127.0.0.1", "X-Forwarded-Host: evil.example", "X-Forwarded-Proto: ftp", "X-Forwarded-Prefix: /evil.example")]
    [InlineData("Host: 127.0.0.1", "Forwarded: host=evil.example;proto=http")]
    [InlineData("Host: 127.0.0.1", "X-Original-Host: evil.example", "X-Host: evil.example")]
    public async Task No_header_moves_an_address(params string[] headers)
    {
        await using var server = await TestServer.StartAsync(
            "--Pakhouse:PublicAddress=https://keys.example.com:8443",
            "--Pakhouse:TrustedProxies=127.0.0.1"
        );
        foreach (var path in (string[])["/", "/account", "/keys/new", "/sign-out"])
        {
            var answer = await SendAsync(server, path, headers);
            Assert.DoesNotContain(Evil, answer);
            if (Location(answer) is { } location && !location.StartsWith('/'))
                Assert.StartsWith("https://keys.example.com:8443/", location);
        }

        Assert.StartsWith("https://keys.example.com:8443/sign-in?", Location(await SendAsync(server, "/account", headers)));
        foreach (var path in (string[])["/sign-in", "/.well-known/openid-configuration", "/forgot-password", "/nothing-here"])
            Assert.DoesNotContain(Evil, await SendAsync(server, path, headers));
        // Only this host gets the cookies, whatever it calls itself.
        Assert.DoesNotContain("domain=", await SendAsync(server, "/sign-in", headers), StringComparison.OrdinalIgnoreCase);
    }

    [Fact]
    public async Task Without_the_setting_it_is_the_address_listened_on()
    {
        await using var server = await TestServer.StartAsync();
        Assert.StartsWith($"{server.Address}/sign-in?", Location(await SendAsync(server, "/account", $"Host: {Evil}")));
    }

    [Theory]
    [InlineData("127.0.0.1")] // absent, and no header of the client's own stands in for it: the proxy's address
    [InlineData("198.51.100.7", "X-Forwarded-For: 198.51.100.7")]
    // two lines are one list, and its end is the proxy's
    [InlineData("198.51.100.7", "X-Forwarded-For: 203.0.113.1", "X-Forwarded-For: 198.51.100.7")]
    // only the proxy strips by that, and it has spoken last
    [InlineData("198.51.100.7", "Connection: X-Forwarded-For", "X-Forwarded-For: 198.51.100.7")]
    [InlineData("127.0.0.1", "X-Forwarded-For: not an address")]
    [InlineData("127.0.0.1", "X-Real-IP: 198.51.100.7", "Forwarded: for=198.51.100.7")]
    public async Task The_callers_address_is_what_the_nearest_trusted_proxy_wrote(string expected, params string[] headers)
    {
        await using var server = await TestServer.StartAsync("--Pakhouse:TrustedProxies=127.0.0.1");
        const string body = "Email=nobody%40acme.example&Password=wrong";
        var visitor = new Visitor(server);
        var hidden = Visitor.Hidden(await visitor.GetAsync("/sign-in"), "/sign-in");
        using var request = new HttpRequestMessage(HttpMethod.Post, $"{server.Address}/sign-in")
        {
            Content = new StringContent(
                $"{body}&{string.Join('&', hidden.Select(field => $"{field.Name}={Uri.EscapeDataString(field.Value)}"))}",
                Encoding.ASCII,
                "application/x-www-form-urlencoded"
            ),
        };
        request.Headers.Add("Cookie", string.Join("; ", visitor.Cookies.Select(cookie => $"{cookie.Key}={cookie.Value}")));
        foreach (var header in headers.Select(header => header.Split(": ", 2)))
            request.Headers.TryAddWithoutValidation(header[0], header[1]);
        using var answer = await server.Http.SendAsync(request);
        Assert.Equal(HttpStatusCode.BadRequest, answer.StatusCode);
        Assert.Equal(expected, await server.ScalarAsync<string>("SELECT address FROM activity WHERE action = 'Login Failed'"));
    }
}
