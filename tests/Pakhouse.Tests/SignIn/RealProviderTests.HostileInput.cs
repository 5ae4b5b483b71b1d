using System.Net;
using System.Net.Http.Headers;
using System.Text;

namespace Pakhouse.Tests;

public static partial class RealProviderTests
{
    /// <summary>
    /// What HostileInputTests does with every route, with those that only a server with a provider has: to the callback, which is no route,
    /// and to the back channel with tokens that the provider really signed. The provider answers, so no 503 hides a fault.
    /// </summary>
    public sealed class HostileInput : IAsyncLifetime
    {
        private const string Callback = "/sign-in/provider/callback";

        private static readonly string[] paths =
        [
            "/sign-in/provider",
            Callback,
            "/sign-in/provider/jwks.json",
            "/sign-in/provider/sign-out",
            "/sign-in/provider/signed-out",
            LogoutPath,
            "/sign-in/connect",
        ];

        private static readonly string[] values =
        [
            "",
            "a",
            "a%00b",
            "%ED%A0%80",
            "%C0%AF",
            "%FF%FE",
            "%",
            "%zz",
            "%0d%0aSet-Cookie:%20a=b",
            "%E2%80%AE",
            "99999999999999999999999999",
            "-1",
            "[]",
            "{}",
            "true",
            "CfDJ8",
            new string('A', 7000),
            string.Concat(Enumerable.Repeat("%25", 2000)),
        ];

        private static readonly string[] names =
        [
            "state",
            "code",
            "error",
            "error_description",
            "error_uri",
            "iss",
            "session_state",
            "id_token",
            "access_token",
            "response",
            "from",
            "confirm",
            "connect",
            "handler",
        ];

        private readonly List<string> faults = [];
        private NodeProvider provider = null!;
        private TestServer server = null!;

        public async ValueTask InitializeAsync()
        {
            provider = await NodeProvider.StartAsync();
            server = await StartAsync(provider);
        }

        public async ValueTask DisposeAsync()
        {
            await server.DisposeAsync();
            await provider.DisposeAsync();
        }

        /// <summary>Where a browser that was sent to the provider comes back: its cookies, and a state that is good.</summary>
        private async Task<(Visitor Visitor, Uri Back)> BackAsync()
        {
            var visitor = new Visitor(server);
            var away = await visitor.GetAsync("/sign-in/provider?from=%2Faccount");
            return (visitor, await provider.FollowAsync(away.Header("Location")!));
        }

        private async Task SendAsync(
            string method,
            string path,
            string? type = null,
            byte[]? body = null,
            IDictionary<string, string>? cookies = null
        )
        {
            using var request = new HttpRequestMessage(new HttpMethod(method), new Uri(path, UriKind.Relative));
            if (body is not null)
                request.Content = new ByteArrayContent(body);
            if (type is not null)
                request.Content!.Headers.TryAddWithoutValidation("Content-Type", type);
            if (cookies is not null)
                request.Headers.TryAddWithoutValidation(
                    "Cookie",
                    string.Join("; ", cookies.Select(cookie => $"{cookie.Key}={cookie.Value}"))
                );
            try
            {
                using var answer = await server.Http.SendAsync(request);
                if (
                    (int)answer.StatusCode >= 500
                    || answer.Headers.Contains("Set-Cookie") && answer.Headers.GetValues("Set-Cookie").Any(Opens)
                )
                    faults.Add(
                        $"{method} {path[..Math.Min(path.Length, 60)]}…{path[^Math.Min(path.Length, 60)..]} {type} {body?.Length}: "
                            + $"{(int)answer.StatusCode}"
                    );
            }
            catch (HttpRequestException e) when (e.InnerException is IOException)
            {
                // The server closed the connection before the client had sent all: 413.
            }
        }

        private static bool Opens(string cookie) =>
            cookie.StartsWith("pakhouse=", StringComparison.Ordinal) && !cookie.StartsWith("pakhouse=;", StringComparison.Ordinal);

        /// <summary>Nor does anybody's text reach the operator's log: as an error of ours it would be believed.</summary>
        private void AssertNone()
        {
            Assert.True(faults.Count == 0, string.Join(Environment.NewLine, faults.Take(40)));
            Assert.DoesNotContain(
                server.Log.Lines,
                line => line.StartsWith("Error", StringComparison.Ordinal) || line.Contains("script", StringComparison.Ordinal)
            );
        }

        [Fact]
        public async Task No_method_and_no_query_of_a_door_of_the_provider_makes_a_fault()
        {
            foreach (var path in paths)
            {
                foreach (var method in (string[])["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "PATCH", "PROPFIND", "POST"])
                    await SendAsync(method, path);
                foreach (var value in values)
                    await SendAsync(
                        "GET",
                        $"{path}?{string.Join('&', names.Where(_ => value.Length < 100).Select(name => $"{name}={value}"))}"
                    );
                foreach (var name in names)
                    foreach (var value in values)
                        await SendAsync("GET", $"{path}?{name}={value}");
                await SendAsync("GET", $"{path}?{string.Join('&', names.Select(name => $"{name}=1&{name}=2&{name}"))}");
                await SendAsync("GET", $"{path}?{string.Join('&', Enumerable.Range(0, 1500).Select(i => $"f{i}"))}");
            }

            AssertNone();
        }

        [Fact]
        public async Task No_answer_to_a_state_that_is_good_makes_a_fault_or_opens_a_session_unless_it_is_the_provider_s()
        {
            var (visitor, back) = await BackAsync();
            var query = back.Query[1..]
                .Split('&')
                .Select(pair => pair.Split('=', 2))
                .ToDictionary(pair => pair[0], pair => pair[1], StringComparer.Ordinal);
            string Query(IEnumerable<KeyValuePair<string, string>> pairs) =>
                string.Join('&', pairs.Select(pair => $"{pair.Key}={pair.Value}"));
            // Each member of the answer replaced, missing, doubled; a cookie of the way replaced, missing. One state is good once: each
            // needs its own.
            var changes = new List<Func<Dictionary<string, string>, string>>();
            foreach (var name in query.Keys)
            {
                foreach (var value in values.Where(value => value.Length < 3000))
                    changes.Add(pairs => Query(pairs.Select(pair => pair.Key == name ? KeyValuePair.Create(name, value) : pair)));
                changes.Add(pairs => Query(pairs.Where(pair => pair.Key != name)));
                if (name != "iss") // said twice, it is still the same
                    changes.Add(pairs => $"{name}=other&{Query(pairs)}");
            }

            foreach (var error in values)
                changes.Add(pairs =>
                    $"state={pairs["state"]}&error={error[..Math.Min(error.Length, 900)]}&error_description=%3Cscript%3E"
                );
            foreach (var change in changes)
            {
                var (browser, answer) = await BackAsync();
                var own = answer
                    .Query[1..]
                    .Split('&')
                    .Select(pair => pair.Split('=', 2))
                    .ToDictionary(pair => pair[0], pair => pair[1], StringComparer.Ordinal);
                if (change(own) is var changed && changed != Query(own))
                    await SendAsync("GET", $"{Callback}?{changed}", cookies: browser.Cookies);
            }

            (string?, string)[] odd = [("same", ""), ("same", "x"), ("same", "NN"), ("same", new string('C', 4000)), ("same", "\"")];
            // What is bound to the browser stands in the names of its cookies, and of one in its value.
            foreach (var kind in (string[])["pakhouse-provider", "pakhouse-provider-nonce"])
                foreach (
                    var (name, value) in (IEnumerable<(string?, string)>)
                        [
                            (null, ""),
                        ("", "N"),
                        ("x", "N"),
                        ("CfDJ8AAAA", "N"),
                        (new string('C', 4000), "N"),
                        .. kind == "pakhouse-provider" ? odd : [],
                        ]
                )
                {
                    var (browser, answer) = await BackAsync();
                    var own = browser.Cookies.Keys.Single(cookie => cookie.StartsWith($"{kind}.", StringComparison.Ordinal));
                    browser.Cookies.Remove(own);
                    if (name is not null)
                        browser.Cookies[name == "same" ? own : $"{kind}.{name}"] = value;
                    await SendAsync("GET", answer.PathAndQuery, cookies: browser.Cookies);
                }

            AssertNone();
            Assert.Equal(HttpStatusCode.Redirect, (await visitor.GetAsync(back.PathAndQuery)).Status); // the control: as it came, it opens
        }

        [Fact]
        public async Task No_form_and_no_body_to_a_door_of_the_provider_makes_a_fault()
        {
            var (visitor, back) = await BackAsync();
            var state = back.Query[1..].Split('&').First(pair => pair.StartsWith("state=", StringComparison.Ordinal));
            byte[][] bodies =
            [
                [],
                [0],
                [0xFF, 0xFE],
                "{}"u8.ToArray(),
                "a=%00&logout_token=%00&state=%00"u8.ToArray(),
                "logout_token=a&logout_token=b&state=a&state=b&code=a&code=b"u8.ToArray(),
                Encoding.ASCII.GetBytes($"{state}&code=a"),
                Encoding.ASCII.GetBytes($"logout_token={new string('A', 9000)}"),
                Encoding.ASCII.GetBytes($"logout_token={string.Concat(Enumerable.Repeat("%41.", 3000))}"),
                Encoding.ASCII.GetBytes(string.Join('&', Enumerable.Range(0, 5000).Select(i => $"f{i}=1"))),
                Encoding.ASCII.GetBytes($"{new string('k', 5000)}=1&state={new string('v', 30_000)}"),
                "--x\r\nContent-Disposition: form-data; name=\"state\"\r\n\r\na\r\n--x--\r\n"u8.ToArray(),
                new byte[70_000],
            ];
            string[] types =
            [
                "application/x-www-form-urlencoded",
                "application/x-www-form-urlencoded; charset=utf-7",
                "application/x-www-form-urlencoded; charset=bogus",
                "multipart/form-data; boundary=x",
                "multipart/form-data",
                "application/json",
                ";;;",
            ];
            foreach (var path in paths)
                foreach (var type in types)
                    foreach (var body in bodies)
                        await SendAsync("POST", path, type, body, visitor.Cookies);
            foreach (var path in paths)
                foreach (var size in (string[])["80000000", "FFFFFFFFFFFFFFFF", "-1", "0x5", "5;\n"])
                {
                    var answer = await RawConnection.SendAsync(
                        server,
                        $"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n"
                            + "Transfer-Encoding: chunked\r\n"
                            + $"Connection: close\r\n\r\n{size}\r\nhello\r\n0\r\n\r\n",
                        answersMin: 0
                    );
                    if (RawConnection.Statuses(answer).Any(status => status >= 500))
                        faults.Add($"{path}: {answer[..12]}");
                }

            AssertNone();
        }

        [Fact]
        public async Task No_token_to_the_back_channel_makes_a_fault_whatever_the_provider_signed()
        {
            var (visitor, _) = await SignInAsync(server, provider);
            object?[] odd =
            [
                null,
                true,
                0,
                -1,
                1.5,
                1e300,
                long.MaxValue,
                "",
                "1",
                "a\0b",
                "\u202E",
                new string('x', 3000),
                Array.Empty<int>(),
                new object[] { 1, "a", null! },
                new { },
                new { a = new { b = new { } } },
            ];
            var tokens = new List<string>();
            foreach (var name in (string[])["iss", "aud", "iat", "exp", "nbf", "jti", "sub", "sid", "events", "nonce", "typ"])
                foreach (var value in odd)
                    tokens.Add(await provider.SignTextAsync(Json(Claims(provider, claims => claims[name] = value))));
            foreach (var name in (string[])["typ", "cty", "kid", "x5c", "x5t", "jku", "jwk", "zip", "iv", "enc", "apu"])
                foreach (var value in odd.Where(value => value is not null))
                    tokens.Add(await provider.SignTextAsync(Json(Claims(provider)), new Dictionary<string, object?> { [name] = value }));
            var good = Json(Claims(provider));
            var lone = good.Replace("subject-1", "\\ud800", StringComparison.Ordinal);
            foreach (
                var payload in (string[])
                    [
                        "",
                        "null",
                        "[]",
                        "\"text\"",
                        "1e999",
                        "{",
                        new string('[', 2000),
                        $"{{\"a\":{new string('[', 500)}{new string(']', 500)}}}",
                        good.Replace("\"jti\":", "\"jti\":\"first\",\"jti\":", StringComparison.Ordinal),
                        good.Replace("\"exp\":", "\"exp\":1e400,\"x\":", StringComparison.Ordinal),
                        good.Replace("\"exp\":", "\"exp\":99999999999999999999999999,\"x\":", StringComparison.Ordinal),
                        good.Replace("\"iat\":", "\"iat\":-99999999999999999999999999,\"x\":", StringComparison.Ordinal),
                        lone,
                        good.Replace("{", "{\"\\ud800\":1,", StringComparison.Ordinal),
                        good.Replace("\"jti\":\"", "\"jti\":\"\\u0000", StringComparison.Ordinal),
                        "\uFEFF" + good,
                    ]
            )
                tokens.Add(await provider.SignTextAsync(payload));

            var parts = (await provider.SignTextAsync(good)).Split('.');
            var encrypted = Base64( /*lang=json,strict*/
                """{"alg":"RSA-OAEP","enc":"A256GCM","zip":"DEF"}"""
            );
            tokens.AddRange([
                $"{encrypted}.{new string('A', 300)}.AAAA.{new string('A', 2000)}.AAAA",
                $"{Base64("""{"alg":"dir","enc":"A128CBC-HS256","zip":"DEF"}""")}..AAAA.{parts[1]}.AAAA",
                $"{Base64("""{"alg":"none"}""")}.{parts[1]}.",
                $"{Base64("""{"alg":"HS256"}""")}.{parts[1]}.{parts[2]}",
                $"{Base64("""{"alg":["RS256"]}""")}.{parts[1]}.{parts[2]}",
                $"{Base64("[]")}.{parts[1]}.{parts[2]}",
                $"{Base64("not json")}.{parts[1]}.{parts[2]}",
                $"{parts[0]}.{parts[1]}",
                $"{parts[0]}.{parts[1]}.",
                $"{parts[0]}..{parts[2]}",
                $".{parts[1]}.{parts[2]}",
                $"{parts[0]}.{parts[1]}.{parts[2]}=",
                $"{parts[0]}.{parts[1]}.%%%",
                $"{parts[0]}.{parts[1]}.{parts[2]}.",
                $"{parts[0]}.{parts[1]}.{new string('A', 6000)}",
                "..",
                "....",
                ".",
                "a b c",
                "\0",
                "é.é.é",
            ]);
            foreach (var token in tokens)
            {
                var answer = await NotifyAsync(server, token);
                if ((int)answer.Status >= 500)
                    faults.Add($"{(int)answer.Status}: {token[..Math.Min(token.Length, 60)]}");
                // Some of what is odd is lawful, and ends the session: then another begins.
                if (answer.Status == HttpStatusCode.OK && !await IsSignedInAsync(visitor))
                    visitor = (await SignInAsync(server, provider)).Visitor;
            }

            AssertNone();
            // the control
            Assert.Equal(HttpStatusCode.OK, (await NotifyAsync(server, await provider.SignTextAsync(Json(Claims(provider))))).Status);
        }

        private static string Json(object value) => System.Text.Json.JsonSerializer.Serialize(value);

        private static string Base64(string text) => System.Buffers.Text.Base64Url.EncodeToString(Encoding.UTF8.GetBytes(text));
    }
}
