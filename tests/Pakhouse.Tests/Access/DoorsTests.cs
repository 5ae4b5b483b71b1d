using System.Net;
using System.Text;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc.RazorPages;
using Microsoft.AspNetCore.Routing;

namespace Pakhouse.Tests;

/// <summary>
/// Every door (an endpoint that opens for a credential) × every state (what has ended or is closed) × every transport (how a credential can
/// travel). A door is refused whenever one of the things that its credential depends on is gone, whichever way the credential comes.
/// Endpoints are read off the running server: a new one that no line here knows fails the test.
/// </summary>
public sealed class DoorsTests : IAsyncLifetime
{
    /// <summary>Whose credential: a person's key, a token of it, an organization's API key, a token of that, a person's session.</summary>
    private enum Proof
    {
        Key,
        Token,
        ApiKey,
        ApiToken,
        Session,
    }

    private enum Transport
    {
        Form,
        Bearer,
        Bare,
        Basic,
        Query,
        Cookie,
    }

    /// <param name="Opens">Which credentials open it, each by which ways. Any other pair is refused whatever the state.</param>
    private sealed record Door(string Method, string Path, string FormField, (Proof Proof, Transport[] By)[] Opens)
    {
        /// <summary>Another status than 401 and 403 counts as open, unless this says otherwise of the answer.</summary>
        public Func<Answer, bool> IsOpen { get; init; } = answer => answer.Status is HttpStatusCode.OK or HttpStatusCode.Created;
    }

    /// <param name="Ends">Credentials that it closes.</param>
    private sealed record State(string Name, Proof[] Ends, Func<Subject, Task> EnterAsync)
    {
        public bool EndsPerson => Name.StartsWith("person", StringComparison.Ordinal);
    }

    private sealed record Subject(
        Acme Acme,
        Guid Person,
        string Email,
        string Key,
        string Token,
        string ApiName,
        string ApiKey,
        string ApiToken,
        string Cookies
    );

    private static readonly Proof[] personal = [Proof.Key, Proof.Token];
    private static readonly Proof[] api = [Proof.ApiKey, Proof.ApiToken];
    private static readonly Proof[] every = [.. personal, .. api];
    private static readonly Transport[] header = [Transport.Bearer, Transport.Bare];
    private static readonly (string Secret, string Hash) gateway = ResourceServers.NewSecret();

    private TestServer server = null!;

    private static readonly Door[] doors =
    [
        .. ((string[])["v1", "v2", "v3"]).SelectMany(version =>
            ((string[])["personalAccessKey", "personal-access-key", "pat"]).Select(field => new Door(
                "POST",
                $"/auth/{version}/token",
                field,
                [(Proof.Key, [Transport.Form])]
            ))
        ),
        new("POST", "/auth/v1/api-key/token", "secret", [(Proof.ApiKey, [Transport.Form])]),
        new("POST", "/oauth/introspect", "token", [.. every.Select(proof => (proof, (Transport[])[Transport.Form]))])
        {
            IsOpen = answer => answer.Body.Contains("\"active\":true", StringComparison.Ordinal),
        },
        new("POST", "/identity/v1/personal-access-keys/self/rotate", "personalAccessKey", [(Proof.Key, [Transport.Form])]),
    ];

    /// <summary>Endpoints that no credential opens, or whose answer is the same for a dead one and a living one; each says why.</summary>
    private static readonly Dictionary<string, string> noDoors = new(StringComparer.Ordinal)
    {
        ["POST /oauth/revoke"] = "answers every key alike and can only end one",
        ["POST /sign-in/provider/backchannel-logout"] = "opened by the provider's signature, and can only end sessions",
        ["GET /sign-in/provider"] = "leads to the provider",
        ["GET /sign-in/provider/sign-out"] = "leads to the provider",
        ["GET /sign-in/provider/jwks.json"] = "public",
        ["GET /sign-in/provider/signed-out"] = "leads to the sign-in page",
        ["POST /leaks/revoke"] = "answers every key alike and can only end one",
        ["POST /leaks/github"] = "opened by GitHub's signature",
        ["GET /leaks/gitlab/v1/revocable_token_types"] = "opened by a token out of the settings",
        ["POST /leaks/gitlab/v1/revoke_tokens"] = "opened by a token out of the settings",
        ["GET /status-lists"] = "public",
        ["GET /status-lists/{number}"] = "public",
        ["GET /.well-known/openid-configuration"] = "public",
        ["GET /.well-known/oauth-authorization-server"] = "public",
        ["GET /.well-known/jwks.json"] = "public",
        ["ANY /health/live"] = "public",
        ["ANY /health/ready"] = "public",
        ["GET /assets/{name}"] = "public",
        ["GET /roles.json"] = "public",
        ["GET /scopes.json"] = "public",
        ["GET /openapi.json"] = "public",
        ["PAGE /docs/api"] = "public",
        ["PAGE /sign-out"] = "ends a session and opens nothing",
        ["PAGE /setup"] = "opened by a code while there is no user",
        ["PAGE /sign-in"] = "below: ways to sign in",
        ["PAGE /sign-in/code"] = "below: ways to sign in",
        ["PAGE /forgot-password"] = "below: ways to sign in",
        ["PAGE /reset-password"] = "below: ways to sign in",
        ["PAGE /invitations/{code}"] = "below: ways to sign in",
        ["PAGE /sign-in/connect"] = "below: ways to sign in",
    };

    private State[] States() =>
        [
            new("nothing has ended", [], _ => Task.CompletedTask),
            new(
                "person disabled",
                [.. personal, Proof.Session],
                subject => server.Users.SetDisabledAsync(Actor.Operator, subject.Person, disabled: true)
            ),
            new("person deleted", [.. personal, Proof.Session], subject => server.Users.DeleteAsync(Actor.Operator, subject.Person)),
            new(
                "member removed",
                [.. personal, Proof.Session],
                subject => server.Members.RemoveAsync(Actor.Session(subject.Acme.Owner), subject.Acme.Sub, subject.Person)
            ),
            new(
                "organization disabled",
                every,
                subject => server.Organizations.SetDisabledAsync(Actor.Session(subject.Acme.Owner), subject.Acme.Sub, disabled: true)
            ),
            new(
                "organization deleted",
                [.. every, Proof.Session],
                subject => server.Organizations.DeleteAsync(Actor.Session(subject.Acme.Owner), subject.Acme.Sub, "Mobile")
            ),
            new(
                "root disabled",
                every,
                subject => server.Organizations.SetDisabledAsync(Actor.Session(subject.Acme.Owner), subject.Acme.Root, disabled: true)
            ),
            new(
                "root deleted",
                [.. every, Proof.Session],
                async subject =>
                {
                    await server.Organizations.DeleteAsync(Actor.Session(subject.Acme.Owner), subject.Acme.Sub, "Mobile");
                    Assert.Null(
                        (await server.Organizations.DeleteAsync(Actor.Session(subject.Acme.Owner), subject.Acme.Root, "Acme")).Refusal
                    );
                }
            ),
            new(
                "key deleted",
                personal,
                subject => server.Keys.DeleteAsync(Actor.Session(subject.Person), subject.Acme.Sub, TestServer.IdOf(subject.Key))
            ),
            new("key expired", personal, subject => SetAsync(subject.Key, "expires_at", 1)),
            new("key suspended", personal, subject => SetAsync(subject.Key, "suspended_at", 1)),
            new("key replaced, and its overlap over", personal, subject => SetAsync(subject.Key, "overlap_ends_at", 1)),
            new(
                "API key deleted",
                api,
                subject =>
                    server.Get<ApiKeys>().DeleteAsync(Actor.Session(subject.Acme.Owner), subject.Acme.Sub, TestServer.IdOf(subject.ApiKey))
            ),
            new("API key expired", api, subject => SetAsync(subject.ApiKey, "expires_at", 1)),
            new("API key suspended", api, subject => SetAsync(subject.ApiKey, "suspended_at", 1)),
            new(
                "policy of the organization: no holders",
                personal,
                subject => PoliciesTests.SetAsync(server, subject.Acme.Owner, subject.Acme.Sub, new() { Holders = NameSet.Empty })
            ),
            new(
                "policy of the root: other networks",
                every,
                subject =>
                    PoliciesTests.SetAsync(
                        server,
                        subject.Acme.Owner,
                        subject.Acme.Root,
                        new() { Networks = NetworkSet.TryParse(["192.0.2.0/24"], out var set) ? set : null }
                    )
            ),
        ];

    public async ValueTask InitializeAsync() =>
        server = await TestServer.StartAsync([
            "--Pakhouse:FailuresPerMinuteMax=100000",
            $"--Pakhouse:ResourceServers:gateway:SecretHash={gateway.Hash}",
            .. TestServer.UnreachableProvider,
        ]);

    public ValueTask DisposeAsync() => server.DisposeAsync();

    [Fact]
    public void No_endpoint_is_unknown_here()
    {
        var known = doors.Select(door => $"{door.Method} {door.Path}").Concat(noDoors.Keys).ToHashSet(StringComparer.Ordinal);
        Assert.Empty(
            Endpoints()
                .Where(endpoint => !endpoint.IsForCallers && !endpoint.IsForSessions)
                .Select(endpoint => endpoint.Name)
                .Except(known, StringComparer.Ordinal)
        );
        // nor does a line stand here for one that is gone
        Assert.Empty(known.Except(Endpoints().Select(endpoint => endpoint.Name), StringComparer.Ordinal));
    }

    [Fact]
    public async Task A_credential_opens_a_door_only_while_all_that_it_depends_on_lives_and_by_its_own_way_alone()
    {
        // Routes for callers and pages for sessions are one door each; all of those that only read are tried, because each could forget it.
        Door[] all =
        [
            .. doors,
            .. Endpoints()
                .Where(endpoint => endpoint.IsForCallers && endpoint.Name.StartsWith("GET ", StringComparison.Ordinal))
                .Select(endpoint => new Door(
                    "GET",
                    endpoint.Path,
                    "access_token",
                    [(Proof.Token, header), (Proof.ApiToken, header), (Proof.Session, [Transport.Cookie])]
                )
                {
                    IsOpen = IsNotRefused,
                }),
            .. Endpoints()
                .Where(endpoint => endpoint.IsForSessions && endpoint.Path.Contains("{organizationId}", StringComparison.Ordinal))
                .Select(endpoint => new Door("GET", endpoint.Path, "access_token", [(Proof.Session, [Transport.Cookie])])
                {
                    IsOpen = IsNotRefused,
                }),
        ];

        var faults = new List<string>();
        var opened = new HashSet<string>(StringComparer.Ordinal);
        foreach (var state in States())
        {
            var subject = await MakeAsync();
            await state.EnterAsync(subject);
            foreach (var door in all)
                foreach (var proof in Enum.GetValues<Proof>())
                    foreach (var transport in Enum.GetValues<Transport>())
                    {
                        if ((proof == Proof.Session) != (transport == Transport.Cookie))
                            continue; // a key in a cookie is tried below
                        if (await SendAsync(door, subject, proof, transport) is not { } answer)
                            continue;
                        var isLawful = door.Opens.Any(one => one.Proof == proof && one.By.Contains(transport));
                        var isOpen = door.IsOpen(answer);
                        if ((int)answer.Status >= 500)
                            faults.Add($"{state.Name}: {door.Method} {door.Path}: {answer.Status}");
                        // Who has left an organization is still somebody, where no organization is asked for.
                        var isEnded =
                            state.Ends.Contains(proof)
                            && (proof != Proof.Session || state.EndsPerson || door.Path.Contains("{organizationId}", StringComparison.Ordinal));
                        if (isOpen && (!isLawful || isEnded))
                            faults.Add(
                                $"{state.Name}: {door.Method} {door.Path} ({door.FormField}) opens for {proof} by {transport}: "
                                    + $"{(int)answer.Status} {answer.Body[..Math.Min(160, answer.Body.Length)]}"
                            );
                        if (isOpen && isLawful)
                            opened.Add($"{door.Path} {door.FormField} {proof} {transport}");
                    }
        }

        Assert.True(faults.Count == 0, string.Join(Environment.NewLine, faults.Take(30)));
        // The control: with nothing ended, each of these doors did open, so a refusal above says something.
        foreach (var door in doors)
            foreach (var (proof, by) in door.Opens)
                foreach (var transport in by)
                    Assert.Contains($"{door.Path} {door.FormField} {proof} {transport}", opened);
        Assert.Contains("/identity/v1/organizations/{organizationId} access_token Token Bearer", opened);
        Assert.Contains("/identity/v1/organizations/{organizationId} access_token ApiToken Bare", opened);
        Assert.Contains("/identity/v1/organizations/{organizationId} access_token Session Cookie", opened);
        Assert.Contains("/organizations/{organizationId}/security access_token Session Cookie", opened);
    }

    [Theory]
    [InlineData("disabled")]
    [InlineData("deleted")]
    public async Task No_way_to_sign_in_opens_for_a_person_who_is(string state)
    {
        var acme = await server.AddAcmeAsync();
        var person = await server.AddMemberAsync(acme.Root);
        var email = (await server.ScalarAsync<string>($"SELECT email FROM users WHERE id = '{person}'"))!;
        var stranger = new Visitor(server);
        await stranger.SubmitAsync("/forgot-password", ("Email", email));
        var reset = System
            .Text.RegularExpressions.Regex.Match(
                (await server.MailsToAsync(email))[^1].TextBody!,
                "/reset-password[^\\s]*",
                System.Text.RegularExpressions.RegexOptions.None,
                TimeSpan.FromSeconds(1)
            )
            .Value;
        Assert.NotEmpty(reset);
        Assert.Null((await server.Get<ProviderConnections>().SendAsync(Actor.Session(acme.Owner), acme.Root, person)).Refusal);
        var mails = string.Join('\n', (await server.MailsToAsync(email)).Select(mail => mail.TextBody));
        var connect = System
            .Text.RegularExpressions.Regex.Match(
                mails,
                "/sign-in/connect[^\\s]*",
                System.Text.RegularExpressions.RegexOptions.None,
                TimeSpan.FromSeconds(1)
            )
            .Value;
        Assert.Equal(HttpStatusCode.OK, (await stranger.GetAsync(connect)).Status);
        if (state == "disabled")
            await server.Users.SetDisabledAsync(Actor.Operator, person, disabled: true);
        else
            await server.Users.DeleteAsync(Actor.Operator, person);

        Assert.Equal(HttpStatusCode.NotFound, (await stranger.GetAsync(connect)).Status);
        Assert.NotEqual(
            HttpStatusCode.SeeOther,
            (await stranger.SubmitAsync("/sign-in", ("Email", email), ("Password", TestServer.Password))).Status
        );
        var opened = await stranger.GetAsync(reset);
        if (opened.Status == HttpStatusCode.OK && opened.Body.Contains("<form", StringComparison.Ordinal))
            await stranger.PostAsync(reset, [.. Visitor.Hidden(opened, "/reset-password"), ("Password", "another horse battery")]);
        Assert.NotEqual(
            HttpStatusCode.SeeOther,
            (await stranger.SubmitAsync("/sign-in", ("Email", email), ("Password", "another horse battery"))).Status
        );
        Assert.Contains("/sign-in", (await stranger.GetAsync("/account")).Header("Location"), StringComparison.Ordinal);
    }

    private sealed record Known(string Name, string Path, bool IsForCallers, bool IsForSessions);

    private IEnumerable<Known> Endpoints() =>
        server
            .Get<EndpointDataSource>()
            .Endpoints.OfType<RouteEndpoint>()
            .SelectMany(endpoint =>
            {
                var path = "/" + MatrixTests.Constraint().Replace(endpoint.RoutePattern.RawText!, "}").Trim('/');
                var isPage = endpoint.Metadata.GetMetadata<PageActionDescriptor>() is not null;
                var isForSessions = isPage && endpoint.Metadata.GetMetadata<IAllowAnonymous>() is null;
                var isForCallers = endpoint.Metadata.GetMetadata<CallerRequired>() is not null;
                IEnumerable<string> methods = isPage
                    ? ["PAGE"]
                    : endpoint.Metadata.GetMetadata<HttpMethodMetadata>()?.HttpMethods ?? ["ANY"];
                return methods
                    .Where(method => method is not ("HEAD" or "OPTIONS"))
                    .Select(method => new Known($"{method} {path}", path, isForCallers, isForSessions));
            })
            .DistinctBy(known => known.Name);

    /// <summary>Neither 401, 403 nor 404, nor a page's way to the sign-in.</summary>
    private static bool IsNotRefused(Answer answer) =>
        answer.Status
            is not (HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden or HttpStatusCode.NotFound or HttpStatusCode.MethodNotAllowed)
        && (int)answer.Status is not (302 or 303 or 400);

    /// <summary>A person, a key, an API key and their tokens in a sub-organization, and a session that looks at it.</summary>
    private async Task<Subject> MakeAsync()
    {
        var acme = await server.AddAcmeAsync();
        await PoliciesTests.SetAsync(server, acme.Owner, acme.Root, new() { SelfRotation = true });
        var person = await server.AddMemberAsync(acme.Sub, "organization-manager");
        var key = await server.AddKeyAsync(person, acme.Sub);
        var token = (await server.ExchangeAsync(key)).Token;
        var name = $"Deploy {person}";
        using var made = (
            await server
                .Get<ApiKeys>()
                .CreateAsync(
                    Actor.Session(acme.Owner),
                    acme.Sub,
                    new NewApiKey(
                        KeyFormat.NewId(),
                        name,
                        null,
                        NameSet.All,
                        [new ApiKeyRoles(acme.Sub, NameSet.Of("organization-manager"))]
                    )
                )
        ).Value;
        var apiKey = made.Reveal();
        var apiToken = (await server.PostAsync("/auth/v1/api-key/token", ("name", name), ("secret", apiKey))).Token;
        var email = (await server.ScalarAsync<string>($"SELECT email FROM users WHERE id = '{person}'"))!;
        var visitor = await Visitor.SignInAsync(server, email);
        return new(
            acme,
            person,
            email,
            key,
            token,
            name,
            apiKey,
            apiToken,
            string.Join("; ", visitor.Cookies.Select(cookie => $"{cookie.Key}={cookie.Value}"))
        );
    }

    private Task<int> SetAsync(string key, string column, long value) =>
        server.ExecuteAsync($"UPDATE access_keys SET {column} = {value} WHERE id = '{TestServer.IdOf(key)}'");

    private async Task<Answer?> SendAsync(Door door, Subject subject, Proof proof, Transport transport)
    {
        var secret = proof switch
        {
            Proof.Key => subject.Key,
            Proof.Token => subject.Token,
            Proof.ApiKey => subject.ApiKey,
            Proof.ApiToken => subject.ApiToken,
            Proof.Session => "",
        };
        if (transport == Transport.Form && door.Method == "GET")
            return null;
        var path = door
            .Path.Replace("{organizationId}", subject.Acme.Sub.ToString(), StringComparison.Ordinal)
            .Replace("{userId}", subject.Person.ToString(), StringComparison.Ordinal)
            .Replace("{keyId}", TestServer.IdOf(subject.Key), StringComparison.Ordinal)
            .Replace("{realm}", "acme", StringComparison.Ordinal);
        if (path.Contains('{', StringComparison.Ordinal))
            return null; // of a thing that this subject does not have
        if (transport == Transport.Query)
            path += $"?{door.FormField}={Uri.EscapeDataString(secret)}";

        using var request = new HttpRequestMessage(HttpMethod.Parse(door.Method), path);
        request.Headers.Add("Accept", door.Path.StartsWith("/organizations", StringComparison.Ordinal) ? "text/html" : "application/json");
        var isIntrospection = door.Path == "/oauth/introspect";
        if (transport == Transport.Bearer)
            request.Headers.TryAddWithoutValidation("Authorization", $"Bearer {secret}");
        else if (transport == Transport.Bare)
            request.Headers.TryAddWithoutValidation("Authorization", secret);
        else if (transport == Transport.Basic)
            request.Headers.TryAddWithoutValidation(
                "Authorization",
                $"Basic {Convert.ToBase64String(Encoding.UTF8.GetBytes($"user:{secret}"))}"
            );
        else if (isIntrospection)
            request.Headers.TryAddWithoutValidation(
                "Authorization",
                $"Basic {Convert.ToBase64String(Encoding.UTF8.GetBytes($"gateway:{gateway.Secret}"))}"
            );
        if (transport == Transport.Cookie)
            request.Headers.Add("Cookie", subject.Cookies);

        if (door.Method == "POST")
        {
            var fields = new Dictionary<string, string>(StringComparer.Ordinal);
            if (transport == Transport.Form)
                fields[door.FormField] = secret;
            if (door.FormField == "secret")
                fields["name"] = subject.ApiName;
            if (isIntrospection)
                fields["client_address"] = "127.0.0.1";
            request.Content = new FormUrlEncodedContent(fields);
        }

        return await Answer.OfAsync(await server.Http.SendAsync(request));
    }

    [Fact]
    public async Task A_key_or_token_in_a_cookie_opens_nothing()
    {
        var subject = await MakeAsync();
        foreach (var secret in (string[])[subject.Key, subject.Token])
            foreach (var name in (string[])["pakhouse", "__Host-pakhouse", "access_token", "token", "session"])
            {
                using var request = new HttpRequestMessage(HttpMethod.Get, $"/identity/v1/organizations/{subject.Acme.Sub}");
                request.Headers.Add("Cookie", $"{name}={secret}");
                Assert.Equal(HttpStatusCode.Unauthorized, (await server.Http.SendAsync(request)).StatusCode);
            }
    }
}
