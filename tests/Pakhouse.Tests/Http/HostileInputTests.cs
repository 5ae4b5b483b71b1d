using System.Net;
using System.Net.Http.Headers;
using System.Text;
using Microsoft.AspNetCore.Mvc.RazorPages;
using Microsoft.AspNetCore.Routing;

namespace Pakhouse.Tests;

/// <summary>
/// Whatever a caller sends, it is the caller's fault: no route answers 5xx. Routes and pages are taken from the running server, so a new
/// one is tried without anybody thinking of it. Runs on both databases: PostgreSQL refuses texts that SQLite takes.
/// </summary>
public sealed partial class HostileInputTests : IAsyncLifetime
{
    private const string Nul = "a%00b",
        Surrogate = "%ED%A0%80",
        Overlong = "%C0%AF",
        Huge = "99999999999999999999999999",
        Half = "%FF%FE";

    private static readonly string[] contentTypes =
    [
        "application/json; charset=bogus",
        "application/json; charset=utf-16",
        "application/json; charset=\"",
        "application/json;",
        "application/x-www-form-urlencoded; charset=utf-7",
        "application/x-www-form-urlencoded; charset=bogus",
        "application/x-www-form-urlencoded; charset=utf-16",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=x; charset=utf-7",
        "text/plain",
        ";;;",
        "application/cbor",
    ];

    private static readonly byte[][] bodies =
    [
        [],
        [0],
        [0xFF, 0xFE, 0x00],
        [0xC0, 0xAF],
        "null"u8.ToArray(),
        "[]"u8.ToArray(),
        "\"\""u8.ToArray(),
        "1e999"u8.ToArray(),
        "{"u8.ToArray(),
        "{}"u8.ToArray(),
        Encoding.ASCII.GetBytes(new string('[', 50_000)),
        Encoding.ASCII.GetBytes(string.Concat(Enumerable.Repeat("{\"name\":", 5000))),
        "=&=&%&%zz&%C0%AF=%ED%A0%80&a=%00"u8.ToArray(),
        "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n"u8.ToArray(),
        Encoding.ASCII.GetBytes(string.Join('&', Enumerable.Range(0, 5000).Select(i => $"f{i}=1"))),
        new byte[70_000],
    ];

    /// <summary>Of members that the API knows, so that they get past the reader and as far as they can.</summary>
    private static readonly string[] values =
    [
        "\"a\\u0000b\"",
        "\"\\ud800\"",
        "\"\\udfff\\ud800\"",
        "99999999999999999999999999",
        "-9223372036854775809",
        "1e400",
        "null",
        "[]",
        "{}",
        "[null]",
        "[\"a\\u0000\"]",
        "true",
        "\"9999-12-31T23:59:59.9999999-14:00\"",
        "\"0001-01-01T00:00:00+14:00\"",
        "\"" + "\u202E\uFEFF" + "\"",
        "\"'; DROP TABLE users; --\"",
        "\"%\"",
        $"\"{new string('%', 5000)}\"",
    ];

    private static readonly string[] members =
    [
        "name",
        "url",
        "events",
        "enabled",
        "action",
        "keyIds",
        "userEmail",
        "organizationsAndRoles",
        "roles",
        "expiryDate",
        "expiresAt",
        "scopes",
        "policy",
        "enforcedFrom",
        "warn",
        "version",
        "overlapSeconds",
        "email",
        "organizationId",
        "organizations",
        "lifetimeDays",
        "keys",
        "type",
        "token",
    ];

    private static readonly string[] queryNames =
    [
        "action",
        "after",
        "before",
        "filter",
        "search",
        "limit",
        "first",
        "from",
        "to",
        "organization",
        "person",
        "kind",
        "all",
        "address",
        "scope",
        "overlapSeconds",
        "userId",
        "userEmail",
        "organizationId",
        "page",
        "part",
        "handler",
        "done",
        "code",
        "v",
        "confirm",
        "show",
        "q",
        "at",
        "user",
        "key",
    ];

    private TestServer server = null!;
    private Acme acme;
    private ApiClient session = null!,
        token = null!;
    private string keyId = "";

    public async ValueTask InitializeAsync()
    {
        server = await TestServer.StartAsync();
        acme = await server.AddAcmeAsync();
        keyId = TestServer.IdOf(await server.AddKeyAsync(acme.Owner, acme.Root));
        session = await ApiClient.SignInAsync(server, acme.Owner);
        token = await ApiClient.WithKeyAsync(server, acme.Owner, acme.Root);
    }

    public ValueTask DisposeAsync() => server.DisposeAsync();

    [Fact]
    public async Task No_method_on_any_route_or_page_makes_a_fault_and_pages_without_a_handler_are_405()
    {
        var faults = new List<string>();
        foreach (var endpoint in Endpoints())
        {
            await RenewAsync();
            var isPage = endpoint.Metadata.GetMetadata<PageActionDescriptor>() is not null;
            foreach (
                var method in (string[])["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "PATCH", "PROPFIND", "QUERY", "PAGE", "POST"]
            )
            {
                var answer = await SendAsync(faults, isPage ? session : token, method, Path(endpoint));
                if (
                    isPage
                    && method is not ("GET" or "HEAD" or "POST")
                    && answer is not null
                    && (answer.Status != HttpStatusCode.MethodNotAllowed || answer.Response.Content.Headers.Allow.Count == 0)
                )
                    faults.Add($"{method} {Path(endpoint)}: {(int)answer.Status}, and no 405 with Allow");
            }
        }

        Assert.True(faults.Count == 0, string.Join(Environment.NewLine, faults.Take(40)));
    }

    /// <summary>The same way of asking finds a route that fails: one whose table is gone.</summary>
    [Fact]
    public async Task Control_a_route_that_fails_is_found()
    {
        await server.ExecuteAsync("ALTER TABLE webhooks RENAME TO webhooks_gone");
        var faults = new List<string>();
        foreach (
            var endpoint in Endpoints()
                .Where(endpoint => Path(endpoint).EndsWith("/webhooks", StringComparison.Ordinal) && Methods(endpoint).Contains("GET"))
        )
            await SendAsync(faults, session, "GET", Path(endpoint));
        Assert.Equal(2, faults.Count); // of the API and of the dashboard
    }

    [Fact]
    public async Task No_query_makes_a_fault()
    {
        var faults = new List<string>();
        foreach (var endpoint in Endpoints().Where(endpoint => Methods(endpoint).Contains("GET")))
        {
            var client = endpoint.Metadata.GetMetadata<PageActionDescriptor>() is null ? token : session;
            foreach (
                var value in (string[])
                    [
                        Nul,
                        Surrogate,
                        Overlong,
                        Huge,
                        Half,
                        "-1",
                        "%",
                        "%25%5C_",
                        $"{Huge}-{keyId}",
                        $"9223372036854775807-{keyId}",
                        "2031-13-99",
                        "9999-12-31",
                        Uri.EscapeDataString(new string('%', 500)),
                    ]
            )
                await SendAsync(
                    faults,
                    client,
                    "GET",
                    $"{Path(endpoint)}?{string.Join('&', queryNames.Select(name => $"{name}={value}"))}"
                );
            foreach (var name in queryNames) // one by one: the first that is refused hides the others
                foreach (var value in (string[])[Nul, Huge])
                    await SendAsync(faults, client, "GET", $"{Path(endpoint)}?{name}={value}");
            // each twice
            await SendAsync(faults, client, "GET", $"{Path(endpoint)}?{string.Join('&', queryNames.Select(name => $"{name}=1&{name}=2"))}");
        }

        Assert.True(faults.Count == 0, string.Join(Environment.NewLine, faults.Take(40)));
    }

    [Fact]
    public async Task No_body_makes_a_fault()
    {
        var faults = new List<string>();
        foreach (var endpoint in Endpoints())
        {
            await RenewAsync();
            var isPage = endpoint.Metadata.GetMetadata<PageActionDescriptor>() is not null;
            foreach (var method in Methods(endpoint).Where(method => method is "POST" or "PUT" or "PATCH" or "DELETE"))
            {
                var (client, path) = (isPage ? session : token, Path(endpoint));
                foreach (var type in contentTypes)
                    await SendAsync(faults, client, method, path, type, "{\"name\":\"a\"}&a=b"u8.ToArray());
                foreach (var body in bodies)
                    foreach (var type in (string[])["application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
                        await SendAsync(faults, client, method, path, type, body);
                if (isPage)
                    continue;
                foreach (var caller in (ApiClient[])[token, session]) // a session may do what a key may not, and so gets further
                    foreach (var value in values)
                        await SendAsync(
                            faults,
                            caller,
                            method,
                            path,
                            "application/json",
                            Encoding.UTF8.GetBytes($"{{{string.Join(',', members.Select(name => $"\"{name}\":{value}"))}}}")
                        );
            }
        }

        Assert.True(faults.Count == 0, string.Join(Environment.NewLine, faults.Take(40)));
    }

    [Fact]
    public async Task No_single_member_of_a_body_makes_a_fault()
    {
        var faults = new List<string>();
        foreach (var endpoint in Endpoints().Where(endpoint => endpoint.Metadata.GetMetadata<PageActionDescriptor>() is null))
        {
            await RenewAsync();
            foreach (var method in Methods(endpoint).Where(method => method is "POST" or "PUT" or "PATCH"))
                foreach (var name in members)
                    foreach (var value in (string[])["\"\\ud800\"", "99999999999999999999999999", "[null]"])
                        await SendAsync(
                            faults,
                            session,
                            method,
                            Path(endpoint),
                            "application/json",
                            Encoding.UTF8.GetBytes($"{{\"{name}\":{value}}}")
                        );
        }

        Assert.True(faults.Count == 0, string.Join(Environment.NewLine, faults.Take(40)));
    }

    [Fact]
    public async Task No_form_of_a_page_makes_a_fault()
    {
        var faults = new List<string>();
        var email = await server.ScalarAsync<string>($"SELECT email FROM users WHERE id = '{acme.Owner}'");
        var visitor = await Visitor.SignInAsync(server, email!);
        foreach (var endpoint in Endpoints().Where(endpoint => endpoint.Metadata.GetMetadata<PageActionDescriptor>() is not null))
        {
            var page = await visitor.GetAsync(Path(endpoint));
            var fields = Field()
                .Matches(page.Body)
                .Select(field => field.Groups["name"].Value)
                .Where(name => name != "__RequestVerificationToken")
                .Distinct(StringComparer.Ordinal)
                .ToList();
            var proof = Proof().Match(page.Body).Groups["value"].Value;
            if (proof.Length == 0)
                continue; // no form
            foreach (
                var value in (string[])["a\0b", "\uFFFD", "99999999999999999999999999", "", "\u202E", "9999-12-31", new string('%', 3000)]
            )
            {
                var answer = await visitor.PostAsync(
                    Path(endpoint),
                    [("__RequestVerificationToken", proof), .. fields.Select(name => (name, value))]
                );
                if ((int)answer.Status >= 500)
                    faults.Add(
                        $"POST {Path(endpoint)} {string.Join(',', fields)} = {Uri.EscapeDataString(value)[..Math.Min(20, value.Length)]}: "
                            + $"{(int)answer.Status}"
                    );
            }
        }

        Assert.True(faults.Count == 0, string.Join(Environment.NewLine, faults.Take(40)));
    }

    [Theory]
    [InlineData("80000000")]
    [InlineData("100000000")]
    [InlineData("FFFFFFFFFFFFFFFF")]
    [InlineData("-1")]
    [InlineData("0x5")]
    [InlineData("")]
    [InlineData("5;\n")]
    public async Task No_size_of_a_chunk_makes_a_fault(string size)
    {
        var faults = new List<string>();
        foreach (var endpoint in Endpoints())
        {
            foreach (var method in Methods(endpoint).Where(method => method is "POST" or "PUT" or "PATCH" or "DELETE").Take(1))
            {
                foreach (var type in (string[])["application/json", "application/x-www-form-urlencoded"])
                {
                    var answer = await RawConnection.SendAsync(
                        server,
                        $"{method} {Path(endpoint)} HTTP/1.1\r\nHost: a\r\nAuthorization: {token.Authorization}\r\nContent-Type: "
                            + $"{type}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n{size}\r\nhello\r\n0\r\n\r\n",
                        answersMin: 0
                    );
                    if (RawConnection.Statuses(answer).Any(status => status >= 500))
                        faults.Add($"{method} {Path(endpoint)} {type}: {answer[..12]}");
                }
            }
        }

        Assert.True(faults.Count == 0, string.Join(Environment.NewLine, faults.Take(40)));
    }

    [Fact]
    public async Task Every_reader_of_json_refuses_the_same_in_the_same_words()
    {
        var paths = Endpoints()
            .Where(endpoint =>
                endpoint.Metadata.GetMetadata<Microsoft.AspNetCore.Http.Metadata.IAcceptsMetadata>() is not null
                || (
                    endpoint.Metadata.GetMetadata<PageActionDescriptor>() is null
                    && Path(endpoint).EndsWith("/policy", StringComparison.Ordinal)
                )
            )
            .SelectMany(endpoint =>
                Methods(endpoint).Where(method => method is "POST" or "PUT" or "PATCH").Select(method => (method, path: Path(endpoint)))
            )
            // a session is for no organization, and is told so before
            .Where(route => !route.path.Contains("/current/", StringComparison.Ordinal))
            .Where(route =>
                !route.path.StartsWith("/auth", StringComparison.Ordinal)
                && !route.path.StartsWith("/leaks", StringComparison.Ordinal)
                && !route.path.StartsWith("/oauth", StringComparison.Ordinal)
                && !route.path.EndsWith("/self/rotate", StringComparison.Ordinal)
            )
            .ToList();
        Assert.Contains(paths, route => route.path.EndsWith("/webhooks", StringComparison.Ordinal));
        Assert.Contains(paths, route => route.path.EndsWith("/keys/actions", StringComparison.Ordinal));
        foreach (var (method, path) in paths)
        {
            foreach (
                var (type, body, status, words) in ((string, string, int, string)[])
                    [
                        ("application/json; charset=bogus", "{}", 415, "Content-Type: "),
                        ("text/plain", "{}", 415, "Content-Type: "),
                        ("application/json", $"{{\"name\":\"{new string('a', 70_000)}\"}}", 413, "longer than 64 KB"),
                    ]
            )
            {
                using var content = new ByteArrayContent(Encoding.UTF8.GetBytes(body));
                content.Headers.TryAddWithoutValidation("Content-Type", type);
                var answer = await session.SendAsync(HttpMethod.Parse(method), path, content);
                Assert.True(
                    (int)answer.Status == status && answer.Body.Contains(words, StringComparison.Ordinal),
                    $"{method} {path} {type}: {(int)answer.Status} {answer.Body}"
                );
            }
        }
    }

    [Fact]
    public async Task A_text_with_an_escaped_backslash_before_u0000_is_not_nul()
    {
        var answer = await session.SendAsync(
            "POST",
            $"/identity/v1/organizations/{acme.Root}/sub-organizations",
            """{"name":"a\\u0000"}"""
        );
        Assert.DoesNotContain("NUL", answer.Body, StringComparison.Ordinal); // control of the rule
        answer = await session.SendAsync("POST", $"/identity/v1/organizations/{acme.Root}/sub-organizations", """{"name":"a\\\u0000"}""");
        Assert.True(
            answer.Body.Contains("name: ", StringComparison.Ordinal) && answer.Body.Contains("NUL", StringComparison.Ordinal),
            answer.Body
        );
    }

    /// <summary>Null: the answer was a stream, or the client of the test itself refused to send it.</summary>
    private static async Task<Answer?> SendAsync(
        List<string> faults,
        ApiClient client,
        string method,
        string path,
        string? type = null,
        byte[]? body = null
    )
    {
        using var content = body is null ? null : new ByteArrayContent(body);
        if (type is not null)
            content!.Headers.TryAddWithoutValidation("Content-Type", type);
        try
        {
            var answer = await client.SendAsync(new HttpMethod(method), path, content);
            if (
                (int)answer.Status >= 500
                && !(answer.Status == HttpStatusCode.NotImplemented && path.Contains("time=", StringComparison.Ordinal))
            )
                faults.Add(
                    $"{method} {path} {type} {(body is null ? "" : Encoding.Latin1.GetString(body)[..Math.Min(60, body.Length)])}: "
                        + $"{(int)answer.Status}"
                );
            return answer;
        }
        catch (HttpRequestException e) when (e.InnerException is IOException)
        {
            return null; // the server closed the connection before the client had sent all: 413
        }
    }

    /// <summary>Signing out and deleting keys are routes too; the next one is to be tried by a caller who may.</summary>
    private async Task RenewAsync()
    {
        server.Clock.Advance(TimeSpan.FromMinutes(1)); // no limit of an address is to hide what comes behind it
        if ((await session.GetAsync("/identity/v1/session")).Status != HttpStatusCode.OK)
            session = await ApiClient.SignInAsync(server, acme.Owner);
        if ((await token.GetAsync("/userinfo")).Status != HttpStatusCode.OK)
            token = await ApiClient.WithKeyAsync(server, acme.Owner, acme.Root);
    }

    private IEnumerable<RouteEndpoint> Endpoints() => server.Get<EndpointDataSource>().Endpoints.OfType<RouteEndpoint>();

    private static IReadOnlyList<string> Methods(RouteEndpoint endpoint) =>
        endpoint.Metadata.GetMetadata<PageActionDescriptor>() is not null
            ? ["GET", "POST"]
            : endpoint.Metadata.GetMetadata<HttpMethodMetadata>()?.HttpMethods ?? ["GET", "POST"];

    /// <summary>With what exists, so that the handler gets as far as it can.</summary>
    private string Path(RouteEndpoint endpoint) =>
        "/"
        + Parameter()
            .Replace(
                endpoint.RoutePattern.RawText!,
                parameter =>
                    parameter.Groups["name"].Value.ToUpperInvariant() switch
                    {
                        "ORGANIZATIONID" => acme.Root.ToString(),
                        "USERID" => acme.Owner.ToString(),
                        "KEYID" => keyId,
                        "NUMBER" => "0",
                        "ID" => Guid.Empty.ToString(),
                        var other => endpoint.RoutePattern.RawText!.Contains(
                            $"{{{parameter.Groups["name"].Value}:guid",
                            StringComparison.Ordinal
                        )
                            ? Guid.Empty.ToString()
                            : other,
                    }
            )
            .Trim('/');

    [System.Text.RegularExpressions.GeneratedRegex(
        @"\{\*{0,2}(?<name>[A-Za-z]+)[^}]*(\([^)]*\))?\}",
        System.Text.RegularExpressions.RegexOptions.ExplicitCapture,
        1000
    )]
    private static partial System.Text.RegularExpressions.Regex Parameter();

    [System.Text.RegularExpressions.GeneratedRegex(
        "<(input|select|textarea|button) [^>]*name=\"(?<name>[^\"]+)\"",
        System.Text.RegularExpressions.RegexOptions.ExplicitCapture,
        1000
    )]
    private static partial System.Text.RegularExpressions.Regex Field();

    [System.Text.RegularExpressions.GeneratedRegex(
        "name=\"__RequestVerificationToken\" type=\"hidden\" value=\"(?<value>[^\"]+)\"",
        System.Text.RegularExpressions.RegexOptions.ExplicitCapture,
        1000
    )]
    private static partial System.Text.RegularExpressions.Regex Proof();
}
