using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json.Nodes;
using Dapper;
using Microsoft.AspNetCore.Http.Metadata;
using Microsoft.AspNetCore.Mvc.RazorPages;
using Microsoft.AspNetCore.Routing;

namespace Pakhouse.Tests;

/// <summary>
/// Every text that a caller chooses and this server keeps, by its route: a secret pasted there is refused or dropped, and a time without a
/// zone is refused. Bodies are whole, so that nothing else is the reason.
/// </summary>
public sealed class FreeTextTests : IAsyncLifetime
{
    private TestServer server = null!;
    private Acme acme = null!;

    /// <summary>Routes that take a body, and one that they accept. In the order in which they can be called.</summary>
    private static readonly (string Method, string Path, string Body)[] bodies =
    [
        ("POST", "/identity/v1/organizations", """{"name":"Second"}"""),
        ("POST", "/identity/v1/organizations/current/sub-organizations", """{"name":"Current"}"""),
        ("POST", "/identity/v1/organizations/{organizationId}/sub-organizations", """{"name":"Third"}"""),
        ("PATCH", "/identity/v1/organizations/{organizationId}", """{"name":"Acme"}"""),
        ("DELETE", "/identity/v1/organizations/{organizationId}", """{"name":"no"}"""),
        ("POST", "/identity/v1/organizations/{organizationId}/users", """{"userId":"{userId}","roles":["organization-viewer"]}"""),
        ("PUT", "/identity/v1/organizations/{organizationId}/users/{userId}/roles", """{"roles":["organization-viewer"]}"""),
        (
            "PATCH",
            "/identity/v1/users",
            """{"userEmail":"new@acme.example","organizationsAndRoles":[{"organizationId":"{organizationId}","roles":["organization-viewer"]}]}"""
        ),
        ("PATCH", "/identity/v1/organizations/{organizationId}/invitations", """{"userEmail":"new@acme.example"}"""),
        ("DELETE", "/identity/v1/organizations/{organizationId}/invitations", """{"userEmail":"nobody@acme.example"}"""),
        (
            "POST",
            "/identity/v1/organizations/{organizationId}/personal-access-keys",
            """{"name":"one","expiryDate":"2031-12-24T00:00:00Z","scopes":["openid"]}"""
        ),
        ("POST", "/identity/v1/organizations/{organizationId}/personal-access-keys/{keyId}/rotate", """{"overlapHours":1}"""),
        (
            "POST",
            "/identity/v1/organizations/{organizationId}/webhooks",
            """{"url":"https://hooks.example.com/x","events":["key.created"]}"""
        ),
        (
            "PUT",
            "/identity/v1/organizations/{organizationId}/webhooks/{id}",
            """{"url":"https://hooks.example.com/y","events":["key.created"],"enabled":true}"""
        ),
        (
            "PUT",
            "/identity/v1/organizations/{organizationId}/policy",
            """{"policy":{"holders":["owner"],"networks":["10.0.0.0/8"],"scopes":["openid"],"lifetimeMaxDays":90},"enforcedFrom":"2031-12-24T00:00:00Z","warn":false,"version":"none"}"""
        ),
        (
            "POST",
            "/identity/v1/organizations/{organizationId}/policy/preview",
            """{"policy":{"holders":["owner"]},"enforcedFrom":"2031-12-24T00:00:00Z","version":"none"}"""
        ),
        ("POST", "/identity/v1/organizations/{organizationId}/keys/actions", """{"action":"suspend","keyIds":["0000000000000000"]}"""),
        (
            "POST",
            "/identity/v1/organizations/{organizationId}/api-keys",
            """{"name":"deploy","expiresAt":"2026-12-24T00:00:00Z","scopes":["openid"],"organizationsAndRoles":[{"organizationId":"{organizationId}","roles":[]}]}"""
        ),
        (
            "PATCH",
            "/identity/v1/organizations/{organizationId}/api-keys/{keyId}",
            """{"name":"deploy","organizationsAndRoles":[{"organizationId":"{organizationId}","roles":[]}]}"""
        ),
        ("POST", "/identity/v1/organizations/{organizationId}/api-keys/{keyId}/rotate", """{"overlapHours":1}"""),
    ];

    /// <summary>Pages with fields of text, and what they post.</summary>
    private static readonly (string Page, string? Action, (string Name, string Value)[] Fields)[] forms =
    [
        ("/organizations/new", null, [("Name", "Fourth")]),
        (
            "/organizations/{organizationId}/security",
            "/organizations/{organizationId}/security#new-key",
            [("Name", "two"), ("Expires", "30"), ("ExpiresOn", ""), ("Scopes", "openid")]
        ),
        ("/organizations/{organizationId}/team/invite", null, [("Email", "newer@acme.example"), ("Roles", "organization-viewer")]),
        ("/organizations/{organizationId}/webhooks", null, [("Address", "https://hooks.example.com/z"), ("Events", "key.created")]),
        (
            "/organizations/{organizationId}/policy",
            null,
            [("Networks", "10.0.0.0/8"), ("LifetimeMaxDays", "90"), ("EnforcedFrom", "2031-12-24")]
        ),
    ];

    public async ValueTask InitializeAsync()
    {
        server = await TestServer.StartAsync("--Pakhouse:FailuresPerMinuteMax=100000", "--Pakhouse:SubOrganizationsMax=1000");
        acme = await server.AddAcmeAsync();
    }

    public ValueTask DisposeAsync() => server.DisposeAsync();

    [Fact]
    public void Every_route_that_takes_a_body_stands_here()
    {
        // read as bytes: KeepSecrets and their own tests hold those
        string[] secrets = ["/oauth/", "/auth/", "/leaks/", "/userinfo", "/self/"];
        var routes = server
            .Get<EndpointDataSource>()
            .Endpoints.OfType<RouteEndpoint>()
            .Where(endpoint =>
                endpoint.Metadata.GetMetadata<PageActionDescriptor>() is null
                && endpoint.Metadata.GetMetadata<IAcceptsMetadata>() is not null
            )
            .SelectMany(endpoint =>
                endpoint
                    .Metadata.GetMetadata<HttpMethodMetadata>()!
                    .HttpMethods.Where(method => method is not ("HEAD" or "OPTIONS"))
                    .Select(method => $"{method} {Path(endpoint)}")
            )
            .Where(route => !secrets.Any(route.Contains));
        Assert.Empty(routes.Except(bodies.Select(one => $"{one.Method} {one.Path}"), StringComparer.Ordinal));

        static string Path(RouteEndpoint endpoint) =>
            "/" + endpoint.RoutePattern.RawText!.Replace(":guid", "", StringComparison.Ordinal).Trim('/');
    }

    [Fact]
    public async Task A_secret_in_the_wrong_field_is_kept_nowhere_whatever_the_route()
    {
        var client = await ApiClient.SignInAsync(server, acme.Owner);
        // of another deployment: this one's hashes do not matter
        var key = Encoding.ASCII.GetString(KeyFormat.Create("acme", KeyFormat.NewId()));
        string[] pasted = [key, key[..^20], Convert.ToBase64String(Encoding.ASCII.GetBytes(key))];
        var sent = 0;
        foreach (var (method, path, body) in bodies)
            foreach (var secret in pasted)
                foreach (var changed in Variants(Fill(body), secret))
                {
                    var answer = await client.SendAsync(method, Fill(path) + Query(path, method), changed);
                    Assert.True((int)answer.Status < 500, $"{method} {path} {changed}: {answer.Body}");
                    Assert.DoesNotContain(secret, answer.Body, StringComparison.Ordinal);
                    sent++;
                }

        var email = await server.ScalarAsync<string>($"SELECT email FROM users WHERE id = '{acme.Owner}'");
        var visitor = await Visitor.SignInAsync(server, email!);
        foreach (var (page, action, fields) in forms)
            foreach (var secret in pasted)
                for (var i = 0; i < fields.Length; i++)
                {
                    var changed = fields.ToArray();
                    changed[i].Value = secret;
                    var answer = await visitor.SubmitToAsync(Fill(page), Fill(action ?? page), changed);
                    Assert.True((int)answer.Status < 500, $"{page} {changed[i].Name}: {answer.Body}");
                    sent++;
                }

        Assert.True(sent > 60, $"only {sent} requests");
        var secretPart = key.Split('_')[3][..20];
        Assert.Empty(await FindAsync(secretPart));
        Assert.DoesNotContain(server.Log.Lines, line => line.Contains(secretPart, StringComparison.Ordinal));
    }

    [Fact]
    public async Task The_search_finds_a_secret_that_is_there()
    {
        await server.ExecuteAsync($"UPDATE organizations SET name = 'secret-in-a-name' WHERE id = '{acme.Root}'");
        Assert.Equal(["organizations.name"], await FindAsync("secret-in-a-name"));
    }

    [Fact]
    public async Task A_time_without_a_zone_is_refused_by_its_name_on_every_route()
    {
        var client = await ApiClient.SignInAsync(server, acme.Owner);
        var tried = 0;
        foreach (var (method, path, body) in bodies.Where(one => one.Body.Contains("T00:00:00Z", StringComparison.Ordinal)))
            foreach (var zoneless in (string[])["2031-12-24T00:00:00", "2031-12-24", "2031-12-24T00:00"])
            {
                var answer = await client.SendAsync(
                    method,
                    Fill(path),
                    Fill(body)
                        .Replace("2031-12-24T00:00:00Z", zoneless, StringComparison.Ordinal)
                        .Replace("2026-12-24T00:00:00Z", zoneless, StringComparison.Ordinal)
                );
                Assert.True(answer.Status == HttpStatusCode.BadRequest, $"{method} {path} {zoneless}: {answer.Status} {answer.Body}");
                Assert.Matches("expiryDate|expiresAt|enforcedFrom", answer.Json.GetProperty("message").GetString());
                tried++;
            }

        Assert.True(tried >= 12);
    }

    [Fact]
    public async Task Names_that_look_alike_in_two_normal_forms_are_one_among_siblings()
    {
        var client = await ApiClient.SignInAsync(server, acme.Owner);
        var path = $"/identity/v1/organizations/{acme.Root}/sub-organizations";
        Assert.Equal("Café", (await client.SendAsync("POST", path, """{"name":"Cafe\u0301"}""")).Json.GetProperty("name").GetString());
        Assert.Equal(HttpStatusCode.Conflict, (await client.SendAsync("POST", path, """{"name":"CAFÉ"}""")).Status);
        Assert.Equal(HttpStatusCode.BadRequest, (await client.SendAsync("POST", path, """{"name":"a\u202Eb"}""")).Status);
    }

    [Fact]
    public async Task A_person_is_found_and_signs_in_by_either_spelling_of_the_address()
    {
        var created = await server.Users.CreateAsync(Actor.Operator, "jürgen@bücher.example", "Jürgen", TestServer.Password);
        Assert.False(created.IsRefused);
        Assert.True(
            (await server.Users.CreateAsync(Actor.Operator, "JÜRGEN@xn--bcher-kva.example", "Other", TestServer.Password)).IsRefused
        );
        await Visitor.SignInAsync(server, "ju\u0308rgen@XN--BCHER-KVA.example");

        Assert.False((await server.Members.AddAsync(Actor.Operator, acme.Root, created.Value, NameSet.Empty)).IsRefused);
        foreach (var search in (string[])["jürgen@bücher.example", "ju\u0308rgen@bü", "jürgen@xn--bcher", "Ju\u0308rgen"])
            Assert.Contains(
                created.Value,
                (await server.Members.PageAsync(Actor.Session(acme.Owner), acme.Root, search)).Value.Members.Select(member => member.UserId)
            );
    }

    private string Fill(string text) =>
        text.Replace("{organizationId}", acme.Root.ToString(), StringComparison.Ordinal)
            .Replace("{userId}", acme.Owner.ToString(), StringComparison.Ordinal)
            .Replace("{keyId}", "0000000000000000", StringComparison.Ordinal)
            .Replace("{id}", Guid.Empty.ToString(), StringComparison.Ordinal);

    private string Query(string path, string method) =>
        path == "/identity/v1/users" ? $"?action=invite&organizationId={acme.Root}"
        : path.EndsWith("/invitations", StringComparison.Ordinal) && method == "PATCH" ? "?action=re-invite"
        : method == "DELETE" && path.EndsWith("{organizationId}", StringComparison.Ordinal) ? "?action=delete"
        : "";

    /// <summary>The body as often as it has texts, each time with another one replaced.</summary>
    private static IEnumerable<string> Variants(string body, string secret)
    {
        var count = Texts(JsonNode.Parse(body)!).Count();
        for (var i = 0; i < count; i++)
        {
            var changed = JsonNode.Parse(body)!;
            Texts(changed).ElementAt(i).ReplaceWith(secret);
            yield return changed.ToJsonString();
        }
    }

    private static IEnumerable<JsonValue> Texts(JsonNode node) =>
        node switch
        {
            JsonObject members => members.SelectMany(member => Texts(member.Value!)),
            JsonArray items => items.SelectMany(item => Texts(item!)),
            JsonValue value when value.GetValueKind() == System.Text.Json.JsonValueKind.String => [value],
            _ => [],
        };

    /// <summary>Columns of the database that hold a text.</summary>
    private Task<IReadOnlyList<string>> FindAsync(string text) =>
        server
            .Get<Database>()
            .ReadAsync<IReadOnlyList<string>>(async connection =>
            {
                var columns = await connection.QueryAsync<(string Table, string Column)>(
                    TestDatabase.IsPostgres
                        ? "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public' AND data_type = "
                            + "'text'"
                        : "SELECT m.name, c.name FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table' AND c.type "
                            + "= 'TEXT'"
                );
                var found = new List<string>();
                foreach (var (table, column) in columns)
                    if (
                        await connection.ExecuteScalarAsync<long>(
                            $"SELECT COUNT(*) FROM {table} WHERE REPLACE({column}, @text, '') <> {column}",
                            new { text }
                        ) > 0
                    )
                        found.Add($"{table}.{column}");
                return found;
            });
}
