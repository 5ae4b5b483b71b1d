using System.Net;
using System.Text;
using Microsoft.AspNetCore.Mvc.RazorPages;
using Microsoft.AspNetCore.Routing;

namespace Pakhouse.Tests;

/// <summary>HEAD, CORS, challenges and framing: what every route has in common.</summary>
public sealed class WireTests : IAsyncLifetime
{
    private static readonly string[] open =
    [
        "/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server",
        "/.well-known/jwks.json",
        "/status-lists",
        "/status-lists/0",
        "/roles.json",
        "/scopes.json",
        "/userinfo",
        "/auth/realms/any/protocol/openid-connect/userinfo",
    ];

    private TestServer server = null!;
    private Acme acme;
    private string key = "",
        token = "";

    public async ValueTask InitializeAsync()
    {
        server = await TestServer.StartAsync();
        acme = await server.AddAcmeAsync();
        key = await server.AddKeyAsync(acme.Owner, acme.Root);
        token = (await server.ExchangeAsync(key)).Token;
    }

    public ValueTask DisposeAsync() => server.DisposeAsync();

    [Fact]
    public async Task Head_answers_wherever_get_does_with_the_same_status_and_headers_and_no_body()
    {
        var client = ApiClient.WithToken(server, token);
        var seen = 0;
        foreach (var endpoint in server.Get<EndpointDataSource>().Endpoints.OfType<RouteEndpoint>())
        {
            var methods = endpoint.Metadata.GetMetadata<HttpMethodMetadata>()?.HttpMethods ?? ["GET"];
            if (!methods.Contains("GET") || endpoint.Metadata.GetMetadata<PageActionDescriptor>() is not null)
                continue;
            var path = endpoint
                .RoutePattern.RawText!.Replace("{organizationId:guid}", $"{acme.Root}", StringComparison.Ordinal)
                .Replace("{number:int:min(0)}", "0", StringComparison.Ordinal)
                .Replace("{userId:guid}", $"{acme.Owner}", StringComparison.Ordinal)
                .Replace("{keyId}", TestServer.IdOf(key), StringComparison.Ordinal)
                .Replace("{realm}", "any", StringComparison.Ordinal);
            foreach (var accept in (string[])["application/json", "*/*"])
            {
                var (get, head) = (
                    await client.SendAsync(HttpMethod.Get, path, accept: accept),
                    await client.SendAsync(HttpMethod.Head, path, accept: accept)
                );
                Assert.True(
                    get.Status == head.Status && head.Body.Length == 0 && get.Header("Content-Type") == head.Header("Content-Type"),
                    $"HEAD {path}: {(int)head.Status}, GET {(int)get.Status}"
                );
            }

            seen++;
        }

        Assert.True(seen > 20);
        // an exchange has no GET
        Assert.Equal(HttpStatusCode.MethodNotAllowed, (await client.SendAsync(HttpMethod.Head, "/auth/v3/token")).Status);
        using var stream = new HttpRequestMessage(HttpMethod.Head, "/status-lists/0") { Headers = { { "Accept", "text/event-stream" } } };
        using var answer = await server.Http.SendAsync(stream); // and does not wait for events
        Assert.Equal(
            ("text/event-stream", "no"),
            (answer.Content.Headers.ContentType!.MediaType, answer.Headers.GetValues("X-Accel-Buffering").Single())
        );
    }

    [Fact]
    public async Task Scripts_of_every_site_may_read_the_public_documents_and_userinfo_and_nothing_else_and_never_with_credentials()
    {
        var session = await ApiClient.SignInAsync(server, acme.Owner);
        foreach (
            var endpoint in server
                .Get<EndpointDataSource>()
                .Endpoints.OfType<RouteEndpoint>()
                .DistinctBy(endpoint => endpoint.RoutePattern.RawText)
        )
        {
            var path =
                "/"
                + endpoint
                    .RoutePattern.RawText!.Replace("{organizationId:guid}", $"{acme.Root}", StringComparison.Ordinal)
                    .Replace("{number:int:min(0)}", "0", StringComparison.Ordinal)
                    .Replace("{realm}", "any", StringComparison.Ordinal)
                    .Trim('/');
            var isOpen = open.Contains(path, StringComparer.Ordinal);
            foreach (var origin in (string[])["https://evil.example", "null", server.Address])
            {
                foreach (var wanted in (string[])["GET", "POST", "DELETE"])
                {
                    var preflight = await SendAsync(
                        HttpMethod.Options,
                        path,
                        origin,
                        null,
                        ("Access-Control-Request-Method", wanted),
                        ("Access-Control-Request-Headers", "authorization")
                    );
                    var allowed =
                        preflight.Header("Access-Control-Allow-Origin") == "*"
                        && preflight.Header("Access-Control-Allow-Methods")?.Contains(wanted, StringComparison.Ordinal) == true;
                    Assert.True(
                        allowed
                            == (isOpen && (wanted == "GET" || (wanted == "POST" && path.EndsWith("/userinfo", StringComparison.Ordinal)))),
                        $"preflight of {wanted} {path}: {(int)preflight.Status}"
                    );
                    if (isOpen)
                        Assert.Contains("Authorization", preflight.Header("Access-Control-Allow-Headers"), StringComparison.Ordinal);
                    Assert.Null(preflight.Header("Access-Control-Allow-Credentials"));
                }

                var read = await SendAsync(HttpMethod.Get, path, origin, token);
                Assert.True((read.Header("Access-Control-Allow-Origin") == "*") == isOpen, $"GET {path}: {(int)read.Status}");
                Assert.Null(read.Header("Access-Control-Allow-Credentials"));
                if (isOpen)
                    Assert.All(
                        (string[])["ETag", "Age"],
                        name => Assert.Contains(name, read.Header("Access-Control-Expose-Headers"), StringComparison.Ordinal)
                    );
            }
        }

        // A refusal is to be read too; and a cookie opens nothing there.
        var refused = await SendAsync(HttpMethod.Get, "/userinfo", "https://evil.example", null);
        Assert.Equal((HttpStatusCode.Unauthorized, "*"), (refused.Status, refused.Header("Access-Control-Allow-Origin")));
        Assert.Equal(HttpStatusCode.Unauthorized, (await session.GetAsync("/userinfo")).Status);
        Assert.Equal(
            HttpStatusCode.MethodNotAllowed,
            (await SendAsync(HttpMethod.Options, "/auth/v3/token", "https://evil.example", null)).Status
        );
    }

    [Fact]
    public async Task Every_401_has_a_challenge_with_its_reason()
    {
        var wrong = await server.PostAsync("/auth/v3/token", ("personalAccessKey", "x"));
        Assert.Equal(HttpStatusCode.Unauthorized, wrong.Status);
        Assert.StartsWith("Bearer error=\"invalid_grant\", error_description=\"", wrong.Header("WWW-Authenticate"));
        await server.Keys.DeleteByOperatorAsync(Actor.Operator, TestServer.IdOf(key));
        Assert.Contains("deleted", (await server.ExchangeAsync(key)).Header("WWW-Authenticate"), StringComparison.Ordinal);
        Assert.StartsWith(
            "Bearer error=\"invalid_token\", error_description=\"",
            (await SendAsync(HttpMethod.Get, "/identity/v1/organizations", null, "x")).Header("WWW-Authenticate")
        );
        Assert.Equal("Bearer", (await SendAsync(HttpMethod.Get, "/identity/v1/organizations", null, null)).Header("WWW-Authenticate"));
        Assert.StartsWith("Basic ", (await server.PostAsync("/oauth/introspect", ("token", "x"))).Header("WWW-Authenticate"));
        foreach (var character in (char[])['"', '\\', '\n', 'ä', '\u2028'])
            Assert.Matches(
                "^Bearer error=\"[a-z_]+\", error_description=\"[ !#-\\[\\]-~]*\"$",
                OAuthErrors.Challenge(new Refusal(RefusalCode.InvalidGrant, $"a{character}b", ""))
            );
    }

    [Fact]
    public async Task Discovery_names_userinfo_and_lists_nothing_empty()
    {
        var metadata = (await ApiClient.WithToken(server, token).GetAsync("/.well-known/openid-configuration")).Json;
        Assert.Equal($"{server.Address}/userinfo", metadata.GetProperty("userinfo_endpoint").GetString());
        foreach (var member in metadata.EnumerateObject())
            // RFC 8414 §3.2
            Assert.False(member.Value.ValueKind == System.Text.Json.JsonValueKind.Array && member.Value.GetArrayLength() == 0, member.Name);
    }

    /// <summary>Each holds a second request inside the first, which a proxy in front would not have seen as one.</summary>
    [Theory]
    [InlineData("CL and TE", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")]
    [InlineData("two lengths", "Content-Length: 0\r\nContent-Length: 60\r\n", "")]
    [InlineData("a list of lengths", "Content-Length: 0, 60\r\n", "")]
    [InlineData("a length in hexadecimal", "Content-Length: 0x0\r\n", "")]
    [InlineData("TE in disguise", "Transfer-Encoding: xchunked\r\n", "0\r\n\r\n")]
    [InlineData("TE twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n")]
    [InlineData("a blank before the colon", "Transfer-Encoding : chunked\r\n", "0\r\n\r\n")]
    [InlineData("a folded header", "X: 1\r\n Transfer-Encoding: chunked\r\n", "0\r\n\r\n")]
    [InlineData("CVE-2025-55315: a bare LF in a chunk extension", "Transfer-Encoding: chunked\r\n", "1;a\nb\r\nx\r\n0\r\n\r\n")]
    [InlineData("CVE-2025-55315: a bare CR in a chunk extension", "Transfer-Encoding: chunked\r\n", "1;a\rb\r\nx\r\n0\r\n\r\n")]
    [InlineData("CVE-2025-55315: an extension that ends in LF", "Transfer-Encoding: chunked\r\n", "1;\n\r\nx\r\n0\r\n\r\n")]
    [InlineData("a chunk that ends in LF", "Transfer-Encoding: chunked\r\n", "1\nx\n0\n\n")]
    [InlineData("a chunk of 2^32 and one", "Transfer-Encoding: chunked\r\n", "100000001\r\nx\r\n0\r\n\r\n")]
    [InlineData("a chunk of 2^31", "Transfer-Encoding: chunked\r\n", "80000000\r\nx\r\n0\r\n\r\n")]
    [InlineData("a chunk longer than it says", "Transfer-Encoding: chunked\r\n", "1\r\nxyz\r\n0\r\n\r\n")]
    public async Task No_request_is_smuggled_inside_another(string what, string headers, string body)
    {
        Assert.NotEmpty(what);
        var inner = "GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        var answers = await RawConnection.SendAsync(
            server,
            $"POST /auth/v3/token HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n{headers}\r\n{body}{inner}",
            answersMin: 0
        );
        Assert.DoesNotContain(RawConnection.Statuses(answers), status => status is 200 or >= 500);

        // Control: the same, well framed, is two requests.
        var framed = await RawConnection.SendAsync(
            server,
            $"POST /auth/v3/token HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: "
                + $"chunked\r\n\r\n1;a=b\r\nx\r\n0\r\n\r\n{inner}"
        );
        Assert.Equal([400, 200], RawConnection.Statuses(framed));
    }

    [Theory]
    [InlineData("OPTIONS * HTTP/1.1")]
    [InlineData("CONNECT a:443 HTTP/1.1")]
    [InlineData("GET http://other.example/roles.json HTTP/1.1")]
    [InlineData("GET /%00 HTTP/1.1")]
    [InlineData("GET /%C0%AF HTTP/1.1")]
    [InlineData("GET //////////////// HTTP/1.1")]
    [InlineData("GET /../../etc/passwd HTTP/1.1")]
    [InlineData("GET /organizations/%ED%A0%80 HTTP/1.1")]
    [InlineData("GET / HTTP/1.0")]
    [InlineData("G\0T / HTTP/1.1")]
    [InlineData("GET / HTTP/9.9")]
    public async Task No_line_of_a_request_makes_a_fault(string line) =>
        Assert.DoesNotContain(
            RawConnection.Statuses(await RawConnection.SendAsync(server, $"{line}\r\nHost: a\r\nConnection: close\r\n\r\n", answersMin: 0)),
            status => status >= 500 && status != 505
        );

    private async Task<Answer> SendAsync(
        HttpMethod method,
        string path,
        string? origin,
        string? bearer,
        params (string Name, string Value)[] headers
    )
    {
        using var request = new HttpRequestMessage(method, path);
        if (origin is not null)
            request.Headers.Add("Origin", origin);
        if (bearer is not null)
            request.Headers.TryAddWithoutValidation("Authorization", $"Bearer {bearer}");
        foreach (var (name, value) in headers)
            request.Headers.Add(name, value);
        return await Answer.OfAsync(await server.Http.SendAsync(request));
    }
}
