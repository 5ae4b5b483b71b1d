using System.Net;
using System.Collections.Concurrent;
using System.Net.Http.Headers;

namespace Pakhouse.Tests;

/// <summary>Acme with its sub-organizations Mobile and Web, Umbra beside it, and the callers with all their credentials.</summary>
public sealed class MatrixWorld : IAsyncLifetime, IAsyncDisposable
{
    private sealed record Caller(string Name, Guid UserId, Guid Home, Dictionary<Guid, NameSet> Roles, bool IsService)
    {
        public Dictionary<char, ApiClient> With { get; } = [];

        public bool IsDisabled => Name == "disabled";
    }

    private enum Verdict
    {
        /// <summary>401, or a page's way to the sign-in.</summary>
        Nobody,

        /// <summary>404: to this caller there is no such organization (R9).</summary>
        Unseen,
        Forbidden,

        /// <summary>The guard said yes, whatever came after it.</summary>
        Allowed,
    }

    private readonly Dictionary<string, Guid> organizations = new(StringComparer.Ordinal);
    private readonly List<Caller> callers = [];

    public TestServer Server { get; private set; } = null!;

    public static async Task<MatrixWorld> StartAsync()
    {
        var world = new MatrixWorld();
        await world.InitializeAsync();
        return world;
    }

    public async ValueTask InitializeAsync()
    {
        Server = await TestServer.StartAsync(["--Pakhouse:FailuresPerMinuteMax=100000", .. TestServer.UnreachableProvider]);
        var acme = await Server.AddAcmeAsync();
        var umbra = await Server.AddUserAsync();
        organizations["Acme"] = acme.Root;
        organizations["Mobile"] = acme.Sub;
        organizations["Web"] = (await Server.Organizations.CreateSubAsync(Actor.Session(acme.Owner), acme.Root, "Web")).Value;
        organizations["Umbra"] = (await Server.Organizations.CreateRootAsync(Actor.Operator, "Umbra", umbra)).Value;

        await AddAsync("acme-owner", acme.Owner, ("Acme", "owner"));
        await AddAsync("acme-manager", null, ("Acme", "organization-manager"));
        await AddAsync("acme-viewer", null, ("Acme", "organization-viewer"));
        await AddAsync("acme-no-role", null, ("Acme", ""));
        await AddAsync("both-no-role", null, ("Acme", ""), ("Mobile", ""));
        await AddAsync("mobile-owner", null, ("Mobile", "owner"));
        await AddAsync("mobile-manager", null, ("Mobile", "organization-manager"));
        await AddAsync("mobile-viewer", null, ("Mobile", "organization-viewer"));
        await AddAsync("mobile-no-role", null, ("Mobile", ""));
        await AddAsync("umbra-owner", umbra, ("Umbra", "owner"));
        await AddAsync("disabled", null, ("Acme", "owner"));
        await Server.Users.SetDisabledAsync(Actor.Operator, callers[^1].UserId, disabled: true);
        await AddServiceAsync("acme-api-owner", ("Acme", "owner"));
        await AddServiceAsync("mixed-api", ("Acme", "organization-viewer"), ("Mobile", "organization-manager"));
    }

    public ValueTask DisposeAsync() => Server.DisposeAsync();

    /// <summary>What is not as expected, in words; empty: all is well.</summary>
    public async Task<IReadOnlyCollection<string>> CheckAsync(IReadOnlyList<MatrixRow> rows)
    {
        var faults = new ConcurrentQueue<string>();
        var requests = rows.SelectMany(Requests).ToList();
        // What has to be taken back afterwards runs alone, at the end.
        await Parallel.ForEachAsync(
            requests.Where(request => request.Row.Undo is null),
            new ParallelOptions { MaxDegreeOfParallelism = 4 },
            async (request, _) => await CheckAsync(request, faults)
        );
        foreach (var request in requests.Where(request => request.Row.Undo is not null))
        {
            await CheckAsync(request, faults);
            await Server.ExecuteAsync(request.Row.Undo!);
        }

        return faults;
    }

    /// <summary>
    /// Every route once with each credential of an owner and of an API key, whatever the answer: for those who look at what the server does
    /// then.
    /// </summary>
    internal async Task WalkAsync(IReadOnlyList<MatrixRow> rows)
    {
        var asked = rows.Where(row => row.Undo is null)
            .SelectMany(Requests)
            .Where(request =>
                request.Credential == 'S'
                && request.Caller?.Name is "acme-owner" or "acme-no-role"
                && request.Organization is null or "Acme" or "Mobile"
            );
        foreach (var request in asked)
            await CheckAsync(request, []);
    }

    private sealed record Request(MatrixRow Row, Caller? Caller, char Credential, string? Organization);

    private IEnumerable<Request> Requests(MatrixRow row)
    {
        string?[] targets = row.Cells is null ? [null] : [.. organizations.Keys];
        foreach (var target in targets)
        {
            yield return new(row, null, '-', target);
            if (row.IsPublic)
                continue;
            foreach (var caller in callers)
                foreach (var credential in caller.With.Keys.Where(credential => !row.IsPage || credential == 'S'))
                    yield return new(row, caller, credential, target);
        }
    }

    private async Task CheckAsync(Request request, ConcurrentQueue<string> faults)
    {
        var (row, caller, credential, target) = request;
        var organization = target is null ? Guid.Empty : organizations[target];
        var client = caller?.With[credential] ?? new ApiClient(Server);
        var answer = await SendAsync(row, client, caller?.UserId, organization);
        var where = $"{row} at {target ?? "no organization"} by {caller?.Name ?? "anonymous"} with {credential}";
        var isAway =
            row.IsPublic
            && row.Path.StartsWith("/sign-in/provider", StringComparison.Ordinal)
            && answer.Status == HttpStatusCode.ServiceUnavailable;
        if ((int)answer.Status >= 500 && !isAway)
            faults.Enqueue($"{where}: {(int)answer.Status} {answer.Body}");
        if (row.IsPublic)
        {
            if (Read(answer) == Verdict.Nobody && row.Path.StartsWith("/identity", StringComparison.Ordinal))
                faults.Enqueue($"{where}: {(int)answer.Status}, though it is public");
            return;
        }

        var expected = Expect(row, caller, credential, organization);
        if (row.Cells is not null && IsByHand(row, caller, credential, target!) != (expected == Verdict.Allowed))
            faults.Enqueue($"{where}: the permissions say {expected}, the cell by hand does not");
        if (
            Read(answer) is var actual
            && actual != expected
            && !(row.Cells is null && expected == Verdict.Allowed && actual != Verdict.Nobody)
        )
            faults.Enqueue(
                $"{where}: {expected} was expected, and it is {actual}: {(int)answer.Status} "
                    + $"{answer.Body[..Math.Min(answer.Body.Length, 200)]}"
            );
    }

    /// <summary>As one of the callers with what they have.</summary>
    public Task<Answer> SendAsync(MatrixRow row, string caller, char credential, string organization)
    {
        var found = callers.First(one => one.Name == caller);
        return SendAsync(row, found.With[credential], found.UserId, organizations[organization]);
    }

    private Task<Answer> SendAsync(MatrixRow row, ApiClient client, Guid? userId, Guid organization)
    {
        (string Name, string Value)[] values =
        [
            ("organizationId", $"{organization}"),
            ("userId", $"{callers[3].UserId}"),
            ("keyId", "0000000000000000"),
            ("realm", "acme"),
            ("id", $"{Guid.Empty}"),
            ("message", "none"),
            ("code", "none"),
            ("act", "rename"),
            ("invitationId", $"{Guid.Empty}"),
            ("ticket", Uri.EscapeDataString(Server.Get<IdempotencyTokens>().Issue(userId ?? Guid.Empty, organization))),
        ];
        string Fill(string text) =>
            (row.Parameter is { } own ? values.Prepend(own) : values).Aggregate(
                text,
                (filled, one) => filled.Replace($"{{{one.Name}}}", one.Value, StringComparison.Ordinal)
            );
        return row.Method switch
        {
            "PAGE" => client.SendAsync(HttpMethod.Get, Fill(row.Path), accept: "text/html"),
            "FORM" => client.SendAsync(
                HttpMethod.Post,
                Fill(row.Path),
                new StringContent(Fill(row.Body ?? ""), new MediaTypeHeaderValue("application/x-www-form-urlencoded")),
                "text/html"
            ),
            var method => client.SendAsync(
                method == "ANY" ? "GET" : method,
                Fill(row.Path + row.Query),
                row.Body is null ? null : Fill(row.Body)
            ),
        };
    }

    private static Verdict Read(Answer answer) =>
        (int)answer.Status switch
        {
            401 => Verdict.Nobody,
            302 or 303 when answer.Response.Headers.Location?.ToString().Contains("/sign-in", StringComparison.Ordinal) == true =>
                Verdict.Nobody,
            404 when answer.Body.Contains("There is no such organization", StringComparison.Ordinal) => Verdict.Unseen,
            403 => Verdict.Forbidden,
            _ => Verdict.Allowed,
        };

    private static bool IsByHand(MatrixRow row, Caller? caller, char credential, string target)
    {
        var lines = row.Cells!.Split('\n').Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries)).ToList();
        var line = lines.Find(line => line[0] == caller?.Name);
        return line is not null && line[1 + Array.IndexOf(lines[0], target)].Contains(credential, StringComparison.Ordinal);
    }

    /// <summary>From the table alone: the rules R1, R2, R7 and R9 written a second time, without the server's SQL.</summary>
    private Verdict Expect(MatrixRow row, Caller? caller, char credential, Guid organization)
    {
        if (caller is null || caller.IsDisabled || (row.IsForTokens && credential == 'S'))
            return Verdict.Nobody;
        if (row.Cells is null)
            return Verdict.Allowed;

        Guid? root = organization == organizations["Mobile"] || organization == organizations["Web"] ? organizations["Acme"] : null;
        var direct = caller.Roles.GetValueOrDefault(organization);
        var above = root is null ? null : caller.Roles.GetValueOrDefault(root.Value);
        if (direct is null && (above is null || caller.IsService))
            return Verdict.Unseen;
        Guid? bound = credential switch
        {
            'S' => null,
            'T' => organizations["Mobile"],
            _ => caller.Home,
        };
        if (bound is not null && bound != organization && bound != root)
            return Verdict.Unseen;

        var roles = (direct ?? NameSet.Empty).Union(above ?? NameSet.Empty);
        var with =
            credential == 'S' ? Credential.Session
            : caller.IsService ? Credential.ApiKey
            : Credential.Key;
        return row
            .Permissions.Select(Permissions.Of)
            .Any(line =>
                line.With.Contains(with)
                && line.Requirement switch
                {
                    Requirement.Member => true,
                    Requirement.DirectMember => direct is not null,
                    Requirement.Role => line.Roles.Any(roles.Contains),
                    _ => throw new InvalidOperationException($"{row}: not a standing in an organization"),
                }
            )
            ? Verdict.Allowed
            : Verdict.Forbidden;
    }

    private async Task AddAsync(string name, Guid? user, params (string Organization, string Roles)[] memberships)
    {
        var caller = Register(name, user ?? await Server.AddUserAsync(name), memberships, isService: false);
        foreach (var (organization, roles) in caller.Roles)
            if (user is null)
                Assert.False((await Server.Members.AddAsync(Actor.Operator, organization, caller.UserId, roles)).IsRefused);
        caller.With['S'] = await ApiClient.SignInAsync(Server, caller.UserId);
        caller.With['K'] = await ApiClient.WithKeyAsync(Server, caller.UserId, caller.Home);
        if (caller.Home == organizations["Acme"])
            caller.With['T'] = await ApiClient.WithKeyAsync(Server, caller.UserId, caller.Home, organizations["Mobile"]);
    }

    /// <summary>An API key as the schema has it: on the membership of a service user in its home.</summary>
    private async Task AddServiceAsync(string name, params (string Organization, string Roles)[] memberships)
    {
        var caller = Register(name, Ids.New(Server.Clock), memberships, isService: true);
        var at = Server.Clock.GetUtcNow().ToUnixTimeMilliseconds();
        await Server.ExecuteAsync(
            $"INSERT INTO users (id, email, email_normalized, name, security_stamp, created_at, kind) VALUES ('{caller.UserId}', '', '', "
                + $"'{name}', '', {at}, 'service')"
        );
        foreach (var (organization, roles) in caller.Roles)
            await Server.ExecuteAsync(
                $"INSERT INTO memberships (id, organization_id, user_id, roles, created_at) VALUES ('{Ids.New(Server.Clock)}', "
                    + $"'{organization}', '{caller.UserId}', '{roles}', {at})"
            );

        var id = KeyFormat.NewId();
        var key = KeyFormat.Create("ph", id, KeyKind.Organization);
        var hash = Convert.ToHexString(System.Security.Cryptography.SHA256.HashData(key));
        await Server.ExecuteAsync(
            $"""
            INSERT INTO access_keys (id, membership_id, name, hash, scopes, created_at, kind, status_index)
            SELECT '{id}', m.id, '{name}', {(
                TestDatabase.IsPostgres ? $"decode('{hash}', 'hex')" : $"X'{hash}'"
            )}, '*', {at}, 'oak', {1_000_000 + callers.Count}
            FROM memberships m WHERE m.user_id = '{caller.UserId}' AND m.organization_id = '{caller.Home}'
            """
        );
        caller.With['A'] = await TokenAsync(null);
        if (caller.Roles.ContainsKey(organizations["Mobile"]))
            caller.With['T'] = await TokenAsync(organizations["Mobile"]);

        async Task<ApiClient> TokenAsync(Guid? target)
        {
            var called = await Server.ScalarAsync<string>($"SELECT name FROM users WHERE id = '{caller.UserId}'");
            var granted = await Server
                .Get<KeyExchange>()
                .ExchangeAsync(new ExchangeRequest(key, target, ScopeRequest.Everything, System.Text.Encoding.UTF8.GetBytes(called!)));
            var token = new System.Buffers.ArrayBufferWriter<byte>();
            Server.Get<AccessToken>().Write(granted.Value, Server.Clock.GetUtcNow(), token);
            return ApiClient.WithToken(Server, System.Text.Encoding.ASCII.GetString(token.WrittenSpan));
        }
    }

    private Caller Register(string name, Guid user, (string Organization, string Roles)[] memberships, bool isService)
    {
        var caller = new Caller(
            name,
            user,
            organizations[memberships[0].Organization],
            memberships.ToDictionary(one => organizations[one.Organization], one => NameSet.Parse(one.Roles)),
            isService
        );
        callers.Add(caller);
        return caller;
    }
}
