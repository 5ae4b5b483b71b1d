using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using Dapper;

namespace Pakhouse.Tests;

/// <summary>The wire of the exchange, over HTTP, row by row of docs/protocol.md.</summary>
public static class TokenEndpointTests
{
    public static TheoryData<string> Addresses => ["/auth/v3/token", "/auth/v2/token", "/auth/v1/token"];

    public class On200
    {
        [Theory, MemberData(nameof(Addresses), MemberType = typeof(TokenEndpointTests))]
        public async Task Every_address_takes_every_name_of_the_key(string address)
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);

            foreach (var name in (string[])["personalAccessKey", "personal-access-key", "pat"])
                Assert.Equal(HttpStatusCode.OK, (await server.PostAsync(address, (name, key))).Status);
        }

        [Fact]
        public async Task The_answer_holds_what_the_contract_lists_and_nothing_else()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var answer = await server.ExchangeAsync(await server.AddKeyAsync(acme.Owner, acme.Root));

            Assert.Equal(
                ["access_token", "token_type", "expires_in", "scope", "organization_id"],
                answer.Json.EnumerateObject().Select(member => member.Name)
            );
            Assert.Equal("Bearer", answer.Json.GetProperty("token_type").GetString());
            Assert.Equal(3600, answer.Json.GetProperty("expires_in").GetInt32());
            Assert.Equal(TestServer.EveryScope.ToString(), answer.Json.GetProperty("scope").GetString());
            Assert.Equal(acme.Root.ToString(), answer.Json.GetProperty("organization_id").GetString());
            Assert.Equal("no-store", answer.Header("Cache-Control"));
            Assert.Equal("application/json", answer.Header("Content-Type"));
            Assert.Null(answer.Header("Personal-Access-Key-Expires"));
            Assert.Null(answer.Header("Deprecation"));
            Assert.Null(answer.Header("Server"));
        }

        [Theory, InlineData("/auth/v2/token"), InlineData("/auth/v1/token")]
        public async Task Old_addresses_say_that_they_are_old_and_where_to_go(string address)
        {
            await using var server = await TestServer.StartAsync();
            var answer = await server.PostAsync(address, ("pat", "x"));
            Assert.Matches("^@[0-9]+$", answer.Header("Deprecation"));
            Assert.Equal("</auth/v3/token>; rel=\"successor-version\"", answer.Header("Link"));
        }

        [Fact]
        public async Task A_key_with_an_expiry_says_when()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var answer = await server.ExchangeAsync(await server.AddKeyAsync(acme.Owner, acme.Root, TimeSpan.FromDays(30)));
            var expected = server.Clock.GetUtcNow().AddDays(30).ToString("R", CultureInfo.InvariantCulture);
            Assert.Equal(expected, answer.Header("Personal-Access-Key-Expires"));
        }

        [Fact]
        public async Task The_token_carries_the_claims_of_the_contract()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            var (first, second) = (await server.ExchangeAsync(key), await server.ExchangeAsync(key));
            var claims = first.Claims;
            var now = server.Clock.GetUtcNow().ToUnixTimeSeconds();

            Assert.Equal(server.Address, claims.GetProperty("iss").GetString());
            Assert.Equal(server.Address, claims.GetProperty("aud").GetString());
            Assert.Equal(acme.Owner.ToString(), claims.GetProperty("sub").GetString());
            Assert.Equal("personal-access-key", claims.GetProperty("client_id").GetString());
            Assert.Equal(now, claims.GetProperty("iat").GetInt64());
            Assert.Equal(now + 3600, claims.GetProperty("exp").GetInt64());
            Assert.Equal(TestServer.EveryScope.ToString(), claims.GetProperty("scope").GetString());
            Assert.Equal(acme.Root.ToString(), claims.GetProperty("org_id").GetString());
            Assert.Equal(acme.Root.ToString(), claims.GetProperty("root_org_id").GetString());
            Assert.Equal(acme.Root.ToString(), claims.GetProperty("currentOrganizationId").GetString());
            Assert.Equal("member", claims.GetProperty("membership").GetString());
            Assert.Equal(["owner"], first.Roles);
            Assert.Equal(TestServer.IdOf(key), claims.GetProperty("key_id").GetString());
            Assert.Equal("Person 1", claims.GetProperty("name").GetString());
            Assert.Equal("person1@acme.example", claims.GetProperty("email").GetString());
            Assert.NotEqual(claims.GetProperty("jti").GetString(), second.Claims.GetProperty("jti").GetString());

            using var header = JsonDocument.Parse(System.Buffers.Text.Base64Url.DecodeFromChars(first.Token.Split('.')[0]));
            Assert.Equal("at+jwt", header.RootElement.GetProperty("typ").GetString());
            Assert.Equal("ES256", header.RootElement.GetProperty("alg").GetString());
        }

        [Theory, InlineData("openid,email"), InlineData("openid email"), InlineData(" openid , email "), InlineData("email,,openid,email")]
        public async Task Scopes_are_separated_by_spaces_or_commas(string scope)
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var answer = await server.ExchangeAsync(await server.AddKeyAsync(acme.Owner, acme.Root), scope: scope);
            Assert.Equal(
                ["email", "openid", "organization:read", "organization:write"],
                answer.Json.GetProperty("scope").GetString()!.Split(' ').Order()
            );
            Assert.True(answer.Claims.TryGetProperty("email", out _));
            Assert.False(answer.Claims.TryGetProperty("name", out _)); // profile was not asked for
        }

        [Fact]
        public async Task No_scope_asked_for_is_all_that_the_key_allows()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root, null, "openid");
            foreach (var scope in (string?[])[null, "", "  "])
            {
                var answer = await server.ExchangeAsync(key, scope: scope);
                Assert.Equal("openid", answer.Json.GetProperty("scope").GetString());
                Assert.False(answer.Claims.TryGetProperty("email", out _));
            }
        }

        [
            Theory,
            InlineData("subOrganization", "{0}"),
            InlineData("subOrganizationId", "{0}"),
            InlineData("subOrganization", "{{{0}}}"),
            InlineData("subOrganizationId", "{{{0}}}")
        ]
        public async Task The_sub_organization_goes_by_two_names_with_or_without_braces_in_either_case(string name, string format)
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            foreach (var id in (string[])[acme.Sub.ToString(), acme.Sub.ToString().ToUpperInvariant()])
            {
                var answer = await server.PostAsync(
                    "/auth/v3/token",
                    ("personalAccessKey", key),
                    (name, string.Format(CultureInfo.InvariantCulture, format, id))
                );
                Assert.Equal(acme.Sub.ToString(), answer.Json.GetProperty("organization_id").GetString());
                Assert.Equal(acme.Root.ToString(), answer.Claims.GetProperty("root_org_id").GetString());
                Assert.Equal(acme.Sub.ToString(), answer.Claims.GetProperty("currentOrganizationId").GetString());
            }
        }

        [Fact]
        public async Task An_empty_sub_organization_counts_as_absent()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            var answer = await server.PostAsync("/auth/v2/token", ("pat", key), ("subOrganizationId", ""));
            Assert.Equal(acme.Root.ToString(), answer.Json.GetProperty("organization_id").GetString());
        }

        [Fact]
        public async Task Two_names_with_the_same_value_are_one()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            Assert.Equal(HttpStatusCode.OK, (await server.PostAsync("/auth/v3/token", ("personalAccessKey", key), ("pat", key))).Status);
            Assert.Equal(HttpStatusCode.OK, (await server.PostAsync("/auth/v3/token", ("personalAccessKey", key), ("pat", ""))).Status);
        }

        [Theory, InlineData("//auth/v1/token"), InlineData("///auth//v1///token"), InlineData("/auth/v3//token")]
        public async Task Repeated_slashes_are_one(string address)
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            Assert.Equal(
                HttpStatusCode.OK,
                (await server.PostAsync(address, ("pat", await server.AddKeyAsync(acme.Owner, acme.Root)))).Status
            );
        }

        /// <summary>What the clients of the field put on the wire, byte for byte but for key and host.</summary>
        [Theory]
        [InlineData("POST /auth/v1/token", "Accept: */*|Content-Type: application/x-www-form-urlencoded", "pat=KEY")]
        [InlineData("POST /auth/v1/token", "Content-Type: application/x-www-form-urlencoded;charset=utf-8", "personal-access-key=KEY")]
        [InlineData("POST /auth/v2/token", "Content-Type: application/x-www-form-urlencoded; charset=UTF-8", "pat=KEY")]
        [InlineData(
            "POST /auth/v2/token",
            "Content-Type: application/x-www-form-urlencoded|User-Agent: Ruby",
            "pat=KEY&subOrganizationId="
        )]
        [InlineData("POST /auth/v2/token", "Content-Type: application/x-www-form-urlencoded", "pat=KEY&subOrganizationId=SUB")]
        [InlineData(
            "POST /auth/v3/token",
            "Content-Type: application/x-www-form-urlencoded|Accept: application/json",
            "personalAccessKey=KEY"
        )]
        [InlineData(
            "POST /auth/v3/token",
            "Content-Type: application/x-www-form-urlencoded",
            "personalAccessKey=KEY&scope=openid,profile,email&subOrganization=SUB"
        )]
        [InlineData(
            "POST /auth/v3/token",
            "Content-Type: application/x-www-form-urlencoded",
            "personalAccessKey=KEY&scope=openid%2Cprofile%2Cemail"
        )]
        [InlineData("POST //auth/v1/token", "Content-Type: application/x-www-form-urlencoded", "pat=KEY\n")]
        [InlineData("POST /auth/v1/token", "Content-Type: APPLICATION/X-WWW-FORM-URLENCODED", "&pat=KEY&&unknown=1&")]
        public async Task Requests_of_the_clients_in_the_field_are_answered(string line, string headers, string body)
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            body = body.Replace("KEY", await server.AddKeyAsync(acme.Owner, acme.Root), StringComparison.Ordinal)
                .Replace("SUB", acme.Sub.ToString(), StringComparison.Ordinal);

            var answer = await RawAsync(
                server,
                $"{line} HTTP/1.1\r\nHost: localhost\r\nConnection: "
                    + $"close\r\n{headers.Replace("|", "\r\n", StringComparison.Ordinal)}\r\nContent-Length: {body.Length}\r\n\r\n{body}"
            );
            Assert.StartsWith("HTTP/1.1 200 OK", answer);
            Assert.Contains("\"access_token\":\"ey", answer, StringComparison.Ordinal);
        }

        [Fact]
        public async Task A_body_in_chunks_and_pieces_is_read_whole()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var body = $"personalAccessKey={await server.AddKeyAsync(acme.Owner, acme.Root)}";
            var chunks = string.Concat(body.Chunk(7).Select(chunk => $"{chunk.Length:x}\r\n{new string(chunk)}\r\n"));
            var answer = await RawAsync(
                server,
                $"POST /auth/v3/token HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: "
                    + $"application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"
            );
            Assert.StartsWith("HTTP/1.1 200 OK", answer);
        }

        [Fact]
        public async Task Wiping_the_buffer_of_one_request_leaves_the_next_on_the_same_connection_whole()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var body = $"personalAccessKey={await server.AddKeyAsync(acme.Owner, acme.Root)}";
            var request =
                $"POST /auth/v3/token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: "
                    + $"{body.Length}\r\n\r\n{body}";
            var last = request.Replace("Host: localhost", "Host: localhost\r\nConnection: close", StringComparison.Ordinal);
            // pipelined: all in the same receive buffer
            var answer = await RawAsync(server, string.Concat(Enumerable.Repeat(request, 20)) + last);
            Assert.Equal(21, answer.Split("HTTP/1.1 200 OK").Length - 1);
        }

        [Fact]
        public async Task The_issuer_and_the_audience_can_be_set()
        {
            await using var server = await TestServer.StartAsync(
                "--Pakhouse:PublicAddress=https://keys.example.com",
                "--Pakhouse:Audience=orders-api",
                "--Pakhouse:TokenLifetimeSeconds=60"
            );
            var acme = await server.AddAcmeAsync();
            var answer = await server.ExchangeAsync(await server.AddKeyAsync(acme.Owner, acme.Root));
            Assert.Equal("https://keys.example.com", answer.Claims.GetProperty("iss").GetString());
            Assert.Equal("orders-api", answer.Claims.GetProperty("aud").GetString());
            Assert.Equal(60, answer.Claims.GetProperty("exp").GetInt64() - answer.Claims.GetProperty("iat").GetInt64());
        }
    }

    public class On400
    {
        [Theory]
        [InlineData("", "personalAccessKey")]
        [InlineData("personalAccessKey=", "personalAccessKey")]
        [InlineData("key=KEY", "personalAccessKey")]
        [InlineData("PersonalAccessKey=KEY", "personalAccessKey")]
        [InlineData("personalAccessKey=KEY&personalAccessKey=KEY", "personalAccessKey: the field is repeated")]
        [InlineData("pat=KEY&pat=KEY", "pat: the field is repeated")]
        [InlineData("pat=KEY&pa%74=KEY", "pat: the field is repeated")]
        [InlineData("pat=KEY&scope=openid&scope=openid", "scope: the field is repeated")]
        [InlineData("pat=KEY&other=1&other=2", "A field: the field is repeated")]
        [InlineData("pat=KEY&personalAccessKey=KEYx", "personalAccessKey")]
        [InlineData("pat=KEY&subOrganization=SUB&subOrganizationId=ROOT", "subOrganization")]
        [InlineData("pat=KEY&subOrganization=acme", "subOrganization")]
        [InlineData("pat=KEY&subOrganization={SUB", "subOrganization")]
        [InlineData("pat=KEY&subOrganization=SUB}", "subOrganization")]
        [InlineData("pat=KEY&subOrganization=SUBx", "subOrganization")]
        [InlineData("pat=KEY%2", "%")]
        [InlineData("pat=KEY%zz", "%")]
        [InlineData("pat=LONG", "pat: the value is too long")]
        [InlineData("a=&b=&c=&d=&e=&f=&g=&h=&i=&j=&k=&l=&m=&n=&o=&p=&pat=KEY", "too many fields")]
        public async Task A_form_at_fault_is_an_invalid_request_that_names_the_field(string body, string expected)
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            body = body.Replace("KEY", key, StringComparison.Ordinal)
                .Replace("SUB", acme.Sub.ToString(), StringComparison.Ordinal)
                .Replace("ROOT", acme.Root.ToString(), StringComparison.Ordinal)
                .Replace("LONG", new string('x', 2049), StringComparison.Ordinal);

            var answer = await server.PostBodyAsync("/auth/v3/token", body);
            AssertOAuthError(answer, HttpStatusCode.BadRequest, "invalid_request", expected);
            Assert.DoesNotContain(key[^20..], answer.Body, StringComparison.Ordinal);
        }

        [
            Theory,
            InlineData("application/json"),
            InlineData("text/plain"),
            InlineData("multipart/form-data; boundary=x"),
            InlineData("application/x-www-form-urlencodedx"),
            InlineData(null)
        ]
        public async Task Another_content_type_is_refused(string? contentType)
        {
            await using var server = await TestServer.StartAsync();
            AssertOAuthError(
                await server.PostBodyAsync("/auth/v3/token", "pat=x", contentType),
                HttpStatusCode.BadRequest,
                "invalid_request",
                "Content-Type"
            );
        }

        [Theory, InlineData(false), InlineData(true)]
        public async Task A_body_over_sixteen_kilobytes_is_refused_announced_or_not(bool isChunked)
        {
            await using var server = await TestServer.StartAsync();
            using var content = new ByteArrayContent(
                Encoding.ASCII.GetBytes("pat=x&" + string.Join('&', Enumerable.Range(0, 9).Select(i => $"f{i}={new string('y', 2000)}")))
            );
            content.Headers.ContentType = new("application/x-www-form-urlencoded");
            using var request = new HttpRequestMessage(HttpMethod.Post, new Uri($"{server.Address}/auth/v3/token")) { Content = content };
            request.Headers.TransferEncodingChunked = isChunked;
            AssertOAuthError(
                await Answer.OfAsync(await server.Http.SendAsync(request)),
                HttpStatusCode.BadRequest,
                "invalid_request",
                "16384"
            );
        }

        [
            Theory,
            InlineData("?personalAccessKey=KEY"),
            InlineData("?pat=x"),
            InlineData("?a=1&PAT=x"),
            InlineData("?p%61t=x"),
            InlineData("?personal-access-key"),
            InlineData("?anything=KEY")
        ]
        public async Task A_key_in_the_query_string_is_refused_even_when_the_body_is_right(string query)
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            var answer = await server.PostAsync(
                "/auth/v3/token" + query.Replace("KEY", key, StringComparison.Ordinal),
                ("personalAccessKey", key)
            );
            AssertOAuthError(answer, HttpStatusCode.BadRequest, "invalid_request", "URL");
        }

        [Theory, InlineData("admin"), InlineData("openid admin"), InlineData("OPENID"), InlineData("öffnen")]
        public async Task An_unknown_scope_is_an_invalid_scope(string scope)
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var answer = await server.ExchangeAsync(await server.AddKeyAsync(acme.Owner, acme.Root), scope: scope);
            AssertOAuthError(answer, HttpStatusCode.BadRequest, "invalid_scope", "scope");
        }

        [Fact]
        public async Task A_scope_beyond_the_keys_is_an_invalid_scope()
        {
            await using var server = await TestServer.StartAsync("--Pakhouse:Scopes=orders:read orders:write");
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root, null, "openid", "orders:read");
            AssertOAuthError(
                await server.ExchangeAsync(key, scope: "orders:read orders:write"),
                HttpStatusCode.BadRequest,
                "invalid_scope",
                "scope"
            );
            Assert.Equal("orders:read", (await server.ExchangeAsync(key, scope: "orders:read")).Json.GetProperty("scope").GetString());
        }
    }

    public class On401
    {
        [Fact]
        public async Task All_that_prove_nothing_get_one_and_the_same_answer()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            var answers = new List<Answer>();
            foreach (
                var wrong in (string[])
                    [
                        "x",
                        key[..^1],
                        Encoding.ASCII.GetString(KeyFormat.Create("ph", KeyFormat.NewId())),
                        Encoding.ASCII.GetString(KeyFormat.Create("ph", TestServer.IdOf(key))),
                    ]
            )
                answers.Add(await server.ExchangeAsync(wrong));

            foreach (var answer in answers)
                AssertOAuthError(answer, HttpStatusCode.Unauthorized, "invalid_grant", "not valid");
            Assert.Single(answers.Select(answer => answer.Body).Distinct());
            Assert.Single(
                answers
                    .Select(answer =>
                        string.Join(
                            '|',
                            answer
                                .Response.Headers.Where(header => header.Key != "Date")
                                .Select(header => $"{header.Key}={string.Join(',', header.Value)}")
                        )
                    )
                    .Distinct()
            );
        }

        [Fact]
        public async Task Who_proves_the_secret_of_a_deleted_key_is_told()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            await server.Keys.DeleteAsync(Actor.Session(acme.Owner), acme.Root, TestServer.IdOf(key));
            AssertOAuthError(await server.ExchangeAsync(key), HttpStatusCode.Unauthorized, "invalid_grant", "deleted");

            // The same id without the secret learns nothing.
            var guess = Encoding.ASCII.GetString(KeyFormat.Create("ph", TestServer.IdOf(key)));
            AssertOAuthError(await server.ExchangeAsync(guess), HttpStatusCode.Unauthorized, "invalid_grant", "not valid");
        }

        [Fact]
        public async Task Who_proves_the_secret_of_an_expired_key_is_told()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root, TimeSpan.FromHours(1));
            server.Clock.Advance(TimeSpan.FromHours(1));
            AssertOAuthError(await server.ExchangeAsync(key), HttpStatusCode.Unauthorized, "invalid_grant", "expired");
        }

        [Fact]
        public async Task The_fate_of_people_and_organizations_is_not_told()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var user = await server.AddMemberAsync(acme.Root);
            var key = await server.AddKeyAsync(user, acme.Root);
            await server.Users.SetDisabledAsync(Actor.Operator, user, disabled: true);
            AssertOAuthError(await server.ExchangeAsync(key), HttpStatusCode.Unauthorized, "invalid_grant", "not valid");
        }
    }

    public class On403
    {
        [Fact]
        public async Task Every_organization_that_is_not_the_keys_gets_one_and_the_same_answer()
        {
            await using var server = await TestServer.StartAsync();
            var (acme, other) = (await server.AddAcmeAsync(), await server.AddAcmeAsync());
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            var answers = new List<Answer>();
            foreach (var target in (Guid[])[other.Root, other.Sub, Guid.Empty, Ids.New(server.Clock)])
                answers.Add(await server.ExchangeAsync(key, target));
            foreach (var answer in answers)
                AssertOAuthError(answer, HttpStatusCode.Forbidden, "access_denied", "subOrganization");
            Assert.Single(answers.Select(answer => answer.Body).Distinct());
        }
    }

    public class On404And405
    {
        [Theory, InlineData("/auth/v4/token"), InlineData("/auth"), InlineData("/auth/v3/token/x")]
        public async Task An_unknown_address_is_answered_in_the_form_of_its_neighbours(string path)
        {
            await using var server = await TestServer.StartAsync();
            AssertOAuthError(await server.PostAsync(path), HttpStatusCode.NotFound, "not_found", "nothing at this URL");
        }

        [Fact]
        public async Task Another_method_is_refused_and_told_the_right_one()
        {
            await using var server = await TestServer.StartAsync();
            var answer = await server.GetAsync("/auth/v3/token");
            AssertOAuthError(answer, HttpStatusCode.MethodNotAllowed, "invalid_request", "Allow");
            Assert.Equal("POST", answer.Header("Allow"));
        }

        [Fact]
        public async Task Elsewhere_the_answer_is_problem_details_with_the_two_members_that_clients_read()
        {
            await using var server = await TestServer.StartAsync();
            var answer = await server.GetAsync("/identity/v1/nothing");
            Assert.Equal(HttpStatusCode.NotFound, answer.Status);
            Assert.Equal("application/problem+json", answer.Header("Content-Type"));
            Assert.Equal("not_found", answer.Error);
            Assert.NotEmpty(answer.Json.GetProperty("message").GetString()!);
        }
    }

    public class On429
    {
        [Fact]
        public async Task Failures_of_an_address_are_limited_and_the_limit_ends_when_it_says()
        {
            await using var server = await TestServer.StartAsync("--Pakhouse:FailuresPerMinuteMax=5");
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            for (var i = 0; i < 5; i++)
                Assert.Equal(HttpStatusCode.Unauthorized, (await server.ExchangeAsync("wrong")).Status);

            var limited = await server.ExchangeAsync("wrong");
            AssertOAuthError(limited, HttpStatusCode.TooManyRequests, "slow_down", "Retry-After");
            // a real key is never limited: others may share its address
            Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(key)).Status);
            server.Clock.Advance(TimeSpan.FromSeconds(int.Parse(limited.Header("Retry-After")!, CultureInfo.InvariantCulture)));
            Assert.Equal(HttpStatusCode.Unauthorized, (await server.ExchangeAsync("wrong")).Status);
        }

        [Fact]
        public async Task A_real_key_that_has_expired_or_was_deleted_never_counts()
        {
            await using var server = await TestServer.StartAsync("--Pakhouse:FailuresPerMinuteMax=5");
            var acme = await server.AddAcmeAsync();
            var (good, deleted, expired) = (
                await server.AddKeyAsync(acme.Owner, acme.Root),
                await server.AddKeyAsync(acme.Owner, acme.Root),
                await server.AddKeyAsync(acme.Owner, acme.Root, TimeSpan.FromHours(1))
            );
            await server.Keys.DeleteAsync(Actor.Session(acme.Owner), acme.Root, TestServer.IdOf(deleted));
            server.Clock.Advance(TimeSpan.FromHours(1));
            for (var i = 0; i < 50; i++)
            {
                Assert.Equal(HttpStatusCode.Unauthorized, (await server.ExchangeAsync(expired)).Status);
                Assert.Equal(HttpStatusCode.Unauthorized, (await server.ExchangeAsync(deleted)).Status);
            }

            Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(good)).Status);
            Assert.Equal(HttpStatusCode.Unauthorized, (await server.ExchangeAsync("wrong")).Status); // nothing was counted
        }

        [Fact]
        public async Task Malformed_requests_and_refused_organizations_do_not_count()
        {
            await using var server = await TestServer.StartAsync("--Pakhouse:FailuresPerMinuteMax=5");
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            for (var i = 0; i < 10; i++)
            {
                await server.PostAsync("/auth/v3/token");
                await server.ExchangeAsync(key, Guid.Empty);
            }

            Assert.Equal(HttpStatusCode.Unauthorized, (await server.ExchangeAsync("wrong")).Status); // and not 429
        }

        [Fact]
        public async Task Behind_a_trusted_proxy_each_client_has_a_limit_of_its_own()
        {
            await using var server = await TestServer.StartAsync(
                "--Pakhouse:FailuresPerMinuteMax=3",
                "--Pakhouse:TrustedProxies=127.0.0.1"
            );
            for (var i = 0; i < 3; i++)
                await ExchangeAsync(server, "198.51.100.1");
            Assert.Equal(HttpStatusCode.TooManyRequests, await ExchangeAsync(server, "198.51.100.1"));
            Assert.Equal(HttpStatusCode.Unauthorized, await ExchangeAsync(server, "198.51.100.2"));
            // What the client itself wrote in front of the proxy's entry is not believed.
            Assert.Equal(HttpStatusCode.TooManyRequests, await ExchangeAsync(server, "203.0.113.9, 198.51.100.1"));
        }

        [Fact]
        public async Task Without_a_trusted_proxy_a_forwarded_address_is_not_believed()
        {
            await using var server = await TestServer.StartAsync("--Pakhouse:FailuresPerMinuteMax=3");
            for (var i = 0; i < 3; i++) await ExchangeAsync(server, $"198.51.100.{i}");
            Assert.Equal(HttpStatusCode.TooManyRequests, await ExchangeAsync(server, "198.51.100.77"));
        }

        private static async Task<HttpStatusCode> ExchangeAsync(TestServer server, string forwardedFor)
        {
            using var request = new HttpRequestMessage(HttpMethod.Post, new Uri($"{server.Address}/auth/v3/token"))
            {
                Content = new FormUrlEncodedContent([new("pat", "wrong")]),
            };
            request.Headers.Add("X-Forwarded-For", forwardedFor);
            using var response = await server.Http.SendAsync(request);
            return response.StatusCode;
        }
    }

    public class On500And503
    {
        /// <summary>The fault is a table that is gone: not the database's absence but our bug, so 500 and a request id.</summary>
        [Fact]
        public async Task A_fault_of_ours_tells_the_request_id_and_nothing_internal()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            await server
                .Get<Database>()
                .WriteAsync(transaction =>
                    transaction.Connection!.ExecuteAsync("ALTER TABLE access_keys RENAME TO gone", transaction: transaction)
                );

            var answer = await server.ExchangeAsync(key);
            AssertOAuthError(answer, HttpStatusCode.InternalServerError, "server_error", "request id");
            Assert.DoesNotContain("access_keys", answer.Body, StringComparison.Ordinal);
            Assert.DoesNotContain(server.Log.Lines, line => line.Contains(key.Split('_')[3], StringComparison.Ordinal));
        }
    }

    private static void AssertOAuthError(Answer answer, HttpStatusCode status, string error, string descriptionContains)
    {
        Assert.Equal(status, answer.Status);
        Assert.Equal("application/json", answer.Header("Content-Type"));
        Assert.Contains("no-store", answer.Header("Cache-Control"), StringComparison.Ordinal);
        Assert.Equal(["error", "error_description", "message"], answer.Json.EnumerateObject().Select(member => member.Name));
        Assert.Equal(error, answer.Error);
        Assert.Contains(descriptionContains, answer.Description, StringComparison.Ordinal);
        Assert.Equal(answer.Description, answer.Json.GetProperty("message").GetString());
    }

    private static async Task<string> RawAsync(TestServer server, string request)
    {
        using var client = new TcpClient();
        await client.ConnectAsync(IPAddress.Loopback, new Uri(server.Address).Port);
        var stream = client.GetStream();
        await stream.WriteAsync(Encoding.ASCII.GetBytes(request));
        using var reader = new StreamReader(stream, Encoding.ASCII);
        return await reader.ReadToEndAsync();
    }
}
