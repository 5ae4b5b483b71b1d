using System.Net;
using System.Net.Http.Headers;
using System.Text.Json;

namespace Pakhouse.Tests;

/// <summary>
/// The calls that the field's public command-line tool makes, in its order, with its addresses, headers and bodies: nothing but the host
/// name is ours.
/// </summary>
public static class CliTests
{
    /// <summary>The tool itself: what it keeps is the token, what it sends are these headers.</summary>
    private sealed class Cli(TestServer server)
    {
        private string? token;

        public async Task<Answer> LoginAsync(string body, string address = "/auth/v1/token")
        {
            var answer = await SendAsync(HttpMethod.Post, address, body, "application/x-www-form-urlencoded");
            if (answer.Status == HttpStatusCode.OK) token = answer.Token;
            return answer;
        }

        public Task<Answer> GetAsync(string path) => SendAsync(HttpMethod.Get, path, null, null);

        public async Task<Answer> SendAsync(HttpMethod method, string path, string? body, string? type = "application/json")
        {
            using var request = new HttpRequestMessage(method, path);
            if (body is not null) request.Content = new StringContent(body, new MediaTypeHeaderValue(type!));
            request.Headers.TryAddWithoutValidation("Accept", "application/json");
            request.Headers.TryAddWithoutValidation("User-Agent", "Appcircle CLI/1.0.3");
            if (token is not null) request.Headers.TryAddWithoutValidation("Authorization", $"Bearer {token}");
            return await Answer.OfAsync(await server.Http.SendAsync(request));
        }
    }

    [Fact]
    public static async Task The_tool_works_here_unchanged()
    {
        await using var server = await TestServer.StartAsync();
        var acme = await server.AddAcmeAsync();
        var cli = new Cli(server);

        // login --pat, then who am I
        Assert.Equal(HttpStatusCode.OK, (await cli.LoginAsync($"pat={await server.AddKeyAsync(acme.Owner, acme.Root)}")).Status);
        var me = (await cli.GetAsync("/auth/realms/appcircle/protocol/openid-connect/userinfo")).Json;
        Assert.Equal(
            (acme.Owner.ToString(), acme.Root.ToString()),
            (me.GetProperty("sub").GetString(), me.GetProperty("currentOrganizationId").GetString())
        );
        Assert.Equal(me.GetProperty("email").GetString(), me.GetProperty("preferred_username").GetString());

        // organization view, all and one
        var all = (await cli.GetAsync("/identity/v1/organizations")).Json.GetProperty("data").EnumerateArray().ToList();
        Assert.Equal(["Acme", "Mobile"], all.Select(one => one.GetProperty("name").GetString()));
        Assert.False(all[0].TryGetProperty("rootOrganizationId", out _)); // the tool tests for the presence
        Assert.False(all[0].TryGetProperty("rootOrganizationName", out _));
        Assert.Equal(
            (acme.Root, "Acme"),
            (all[1].GetProperty("rootOrganizationId").GetGuid(), all[1].GetProperty("rootOrganizationName").GetString())
        );
        var one = (await cli.GetAsync($"/identity/v1/organizations/{acme.Root}")).Json;
        Assert.Equal(
            ["createdDate", "disabled", "givenId", "id", "logoUrl", "memberCount", "name", "ssoEnabled"],
            one.EnumerateObject().Select(member => member.Name).Order(StringComparer.Ordinal)
        );
        Assert.Equal(1, one.GetProperty("memberCount").GetInt64());

        // user invite, view, re-invite (new and old form), remove the invitation (new and old form)
        var roles = (await cli.GetAsync("/roles.json?v=5")).Json.EnumerateArray().ToList();
        Assert.Contains(
            roles,
            module =>
                module.GetProperty("module").GetString()!.Length > 0
                && module.GetProperty("title").GetString()!.Length > 0
                && module.GetProperty("roles")[0].TryGetProperty("key", out _)
                && module.GetProperty("roles")[0].TryGetProperty("name", out _)
        );
        var invited = await cli.SendAsync(
            HttpMethod.Patch,
            $"/identity/v1/users?action=invite&organizationId={acme.Root}",
            $$"""{"userEmail":"grace+cli@acme.example","organizationsAndRoles":[{"organizationId":"{{acme.Root}}","roles":["builder","viewer"]}]}"""
        );
        Assert.Equal(HttpStatusCode.OK, invited.Status);
        var invitation = Assert.Single((await cli.GetAsync($"/identity/v1/organizations/{acme.Root}/invitations")).Json.EnumerateArray());
        Assert.Equal(
            ("grace+cli@acme.example", acme.Root, "Pending"),
            (
                invitation.GetProperty("userEmail").GetString(),
                invitation.GetProperty("rootOrganizationId").GetGuid(),
                invitation.GetProperty("status").GetString()
            )
        );
        Assert.Equal(acme.Root, invitation.GetProperty("organizationsAndRoles")[0].GetProperty("organizationId").GetGuid());
        Assert.Equal(["builder", "viewer"], Texts(invitation.GetProperty("organizationsAndRoles")[0].GetProperty("roles")));
        Assert.Equal(
            HttpStatusCode.OK,
            (
                await cli.SendAsync(
                    HttpMethod.Patch,
                    $"/identity/v1/organizations/{acme.Root}/invitations?action=re-invite",
                    """{"userEmail":"grace+cli@acme.example"}"""
                )
            ).Status
        );
        Assert.Equal(
            HttpStatusCode.OK,
            (
                await cli.SendAsync(
                    HttpMethod.Patch,
                    $"/identity/v1/users?action=re-invite&userEmail=grace+cli@acme.example&organizationId={acme.Root}",
                    null
                )
            ).Status
        );
        Assert.Equal(
            HttpStatusCode.NoContent,
            (
                await cli.SendAsync(
                    HttpMethod.Delete,
                    $"/identity/v1/organizations/{acme.Root}/invitations",
                    """{"userEmail":"grace+cli@acme.example"}"""
                )
            ).Status
        );
        Assert.Equal(
            HttpStatusCode.NotFound,
            (
                await cli.SendAsync(
                    HttpMethod.Delete,
                    $"/identity/v1/organizations/{acme.Root}/invitations?userEmail=grace+cli@acme.example",
                    null
                )
            ).Status
        );

        // user view: everybody, each with their roles; who is only below answers 400 with error, which the tool reads as just that
        var developer = await server.AddMemberAsync(acme.Root, "viewer");
        var below = await server.AddMemberAsync(acme.Sub, "tester");
        var users = (await cli.GetAsync($"/identity/v1/organizations/{acme.Root}/users")).Json.EnumerateArray().ToList();
        Assert.Equal(new[] { acme.Owner, developer, below }.Order(), users.Select(user => user.GetProperty("id").GetGuid()).Order());
        Assert.All(users, user => Assert.Equal(user.GetProperty("email").GetString(), user.GetProperty("username").GetString()));
        Assert.All(users, user => Assert.StartsWith("Person", user.GetProperty("fullName").GetString(), StringComparison.Ordinal));
        var rolesBelow = await cli.GetAsync($"/identity/v1/organizations/{acme.Root}/users/{below}/roles");
        Assert.Equal((HttpStatusCode.BadRequest, "invalid_request"), (rolesBelow.Status, rolesBelow.Error));
        var inherited = (await cli.GetAsync($"/identity/v1/organizations/{acme.Sub}/users/{developer}/roles")).Json;
        Assert.Equal(
            (0, "viewer", false),
            (
                inherited.GetProperty("roles").GetArrayLength(),
                inherited.GetProperty("inheritedRoles")[0].GetString(),
                inherited.GetProperty("isSubOrganizationMember").GetBoolean()
            )
        );

        // role view, add, remove, clear: each reads all, then sends all
        var ofDeveloper = $"/identity/v1/organizations/{acme.Root}/users/{developer}/roles";
        Assert.Equal(["viewer"], Texts((await cli.GetAsync(ofDeveloper)).Json.GetProperty("roles")));
        Assert.Equal(
            ["viewer", "builder"],
            Texts((await cli.SendAsync(HttpMethod.Put, ofDeveloper, """{"roles":["viewer","builder"]}""")).Json.GetProperty("roles"))
        );
        Assert.Equal(
            ["builder"],
            Texts((await cli.SendAsync(HttpMethod.Put, ofDeveloper, """{"roles":["builder"]}""")).Json.GetProperty("roles"))
        );
        Assert.Empty(Texts((await cli.SendAsync(HttpMethod.Put, ofDeveloper, """{"roles":[]}""")).Json.GetProperty("roles")));

        // user remove; without the action, the same address ends nothing
        var bare = await cli.SendAsync(HttpMethod.Delete, $"/identity/v1/organizations/{acme.Root}?userId={developer}", null);
        Assert.Equal((HttpStatusCode.BadRequest, "invalid_request"), (bare.Status, bare.Error));
        Assert.Equal(
            HttpStatusCode.NoContent,
            (
                await cli.SendAsync(HttpMethod.Delete, $"/identity/v1/organizations/{acme.Root}?action=remove&userId={developer}", null)
            ).Status
        );
        Assert.DoesNotContain(
            developer.ToString(),
            (await cli.GetAsync($"/identity/v1/organizations/{acme.Root}/users")).Body,
            StringComparison.Ordinal
        );

        // create-sub, then the newer way to it: look it up by name, ask for a second token
        var sub = (await cli.SendAsync(HttpMethod.Post, "/identity/v1/organizations/current/sub-organizations", """{"name":"Web"}""")).Json;
        Assert.Equal(("Web", acme.Root), (sub.GetProperty("name").GetString(), sub.GetProperty("rootOrganizationId").GetGuid()));
        var taken = await cli.SendAsync(HttpMethod.Post, "/identity/v1/organizations/current/sub-organizations", """{"name":"web"}""");
        Assert.Equal((HttpStatusCode.Conflict, "conflict"), (taken.Status, taken.Error));
        Assert.Equal(taken.Json.GetProperty("detail").GetString(), taken.Json.GetProperty("message").GetString());
        Assert.Equal(
            HttpStatusCode.OK,
            (
                await cli.LoginAsync(
                    $"pat={await server.AddKeyAsync(acme.Owner, acme.Root)}&subOrganizationId={sub.GetProperty("id").GetString()}",
                    "/auth/v2/token"
                )
            ).Status
        );
        Assert.Equal(
            "Web",
            Assert
                .Single((await cli.GetAsync("/identity/v1/organizations")).Json.GetProperty("data").EnumerateArray())
                .GetProperty("name")
                .GetString()
        );
    }

    [Fact]
    public static async Task The_tool_logs_in_with_an_API_key_with_and_without_an_organization()
    {
        await using var server = await TestServer.StartAsync();
        var acme = await server.AddAcmeAsync();
        var made = await server
            .Get<ApiKeys>()
            .CreateAsync(
                Actor.Session(acme.Owner),
                acme.Root,
                new NewApiKey(
                    KeyFormat.NewId(),
                    "Deploy",
                    null,
                    NameSet.All,
                    [new(acme.Root, NameSet.Of("viewer")), new(acme.Sub, NameSet.Of("builder"))]
                )
            );
        using var key = made.Value;
        var login = $"name=Deploy&secret={key.Reveal()}";
        var cli = new Cli(server);

        Assert.Equal(
            acme.Root.ToString(),
            (await cli.LoginAsync(login, "/auth/v1/api-key/token")).Claims.GetProperty("currentOrganizationId").GetString()
        );
        Assert.Equal(
            ["Acme", "Mobile"],
            (await cli.GetAsync("/identity/v1/organizations"))
                .Json.GetProperty("data")
                .EnumerateArray()
                .Select(one => one.GetProperty("name").GetString())
        );
        Assert.Equal(
            acme.Sub.ToString(),
            (await cli.LoginAsync($"{login}&organizationId={acme.Sub}", "/auth/v1/api-key/token"))
                .Claims.GetProperty("currentOrganizationId")
                .GetString()
        );
        Assert.Equal(
            acme.Sub.ToString(),
            (await cli.GetAsync("/auth/realms/appcircle/protocol/openid-connect/userinfo"))
                .Json.GetProperty("currentOrganizationId")
                .GetString()
        );

        // What it makes words of
        var malformed = await cli.LoginAsync($"{login}&organizationId=mobile", "/auth/v1/api-key/token");
        Assert.Equal((HttpStatusCode.BadRequest, "organizationId must be a valid GUID"), (malformed.Status, malformed.Error));
        Assert.Equal(
            HttpStatusCode.Forbidden,
            (await cli.LoginAsync($"{login}&organizationId={Guid.Empty}", "/auth/v1/api-key/token")).Status
        );
        Assert.Equal(HttpStatusCode.Unauthorized, (await cli.LoginAsync("name=Deploy&secret=wrong", "/auth/v1/api-key/token")).Status);
    }

    [Fact]
    public static async Task A_retired_role_is_not_shown_as_one_to_send_back_and_stays_until_the_roles_are_cleared()
    {
        await using var server = await TestServer.StartAsync();
        var acme = await server.AddAcmeAsync();
        var user = await server.AddMemberAsync(acme.Root, "viewer");
        await server.ExecuteAsync($"UPDATE memberships SET roles = 'retired viewer' WHERE user_id = '{user}'");
        var owner = await ApiClient.WithKeyAsync(server, acme.Owner, acme.Root);
        var path = $"/identity/v1/organizations/{acme.Root}/users/{user}/roles";
        var shown = (await owner.GetAsync(path)).Json;
        Assert.Equal(["viewer"], Texts(shown.GetProperty("roles")));
        Assert.Equal(["retired"], Texts(shown.GetProperty("retiredRoles")));
        Assert.Equal(
            ["retired"],
            Texts((await owner.SendAsync("PUT", path, """{"roles":["viewer","builder"]}""")).Json.GetProperty("retiredRoles"))
        );
        Assert.False((await owner.SendAsync("PUT", path, """{"roles":[]}""")).Json.TryGetProperty("retiredRoles", out _));
    }

    private static string[] Texts(JsonElement array) => [.. array.EnumerateArray().Select(text => text.GetString()!)];
}
