namespace Pakhouse.Tests;

/// <summary>
/// A line for every route of the server, and by hand who may call it. <see cref="MatrixTests"/> asks every one of them as every caller with
/// every credential, and holds the answers against these cells and against <see cref="Permissions"/>.
/// </summary>
/// <param name="Path">As in the code, without constraints. <c>{organizationId}</c> becomes the organization asked about.</param>
/// <param name="Permissions">Any of them is enough.</param>
/// <param name="Cells">Null: every caller who is somebody.</param>
/// <param name="Body">One that is refused behind the guard, or changes nothing. <c>{organizationId}</c> as above, <c>{userId}</c> is a
/// member of Acme.</param>
/// <param name="Undo">SQL after a request that was allowed.</param>
public sealed record MatrixRow(
    string Method,
    string Path,
    Permission[] Permissions,
    string? Cells,
    string Query = "",
    string? Body = null,
    string? Undo = null
)
{
    public bool IsPublic { get; init; }

    /// <summary>A session is nobody here.</summary>
    public bool IsForTokens { get; init; }

    /// <summary>The GET of a page, or the POST of one of its forms.</summary>
    public bool IsPage => Method is "PAGE" or "FORM";

    public bool IsForm => Method == "FORM";

    /// <summary>What a parameter of the path is, where it is not what every row has.</summary>
    public (string Name, string Value)? Parameter { get; init; }

    public override string ToString() => $"{Method} {Path}{Query}";
}

public static partial class MatrixRows
{
    // S: a session; K: a token of the caller's key; T: the same exchanged for Mobile; A: a token of an API key, again T where exchanged for
    // Mobile. The callers of Acme with no direct membership in Mobile and Web are inherited members there.
    private const string Everybody = """
                          Acme  Mobile  Web  Umbra
        acme-owner        SK    SKT     SK   -
        acme-manager      SK    SKT     SK   -
        acme-viewer       SK    SKT     SK   -
        acme-no-role      SK    SKT     SK   -
        both-no-role      SK    SKT     SK   -
        mobile-owner      -     SK      -    -
        mobile-manager    -     SK      -    -
        mobile-viewer     -     SK      -    -
        mobile-no-role    -     SK      -    -
        umbra-owner       -     -       -    SK
        acme-api-owner    A     -       -    -
        mixed-api         A     AT      -    -
        """;

    private const string People = """
                          Acme  Mobile  Web  Umbra
        acme-owner        SK    SKT     SK   -
        acme-manager      SK    SKT     SK   -
        acme-viewer       SK    SKT     SK   -
        acme-no-role      SK    SKT     SK   -
        both-no-role      SK    SKT     SK   -
        mobile-owner      -     SK      -    -
        mobile-manager    -     SK      -    -
        mobile-viewer     -     SK      -    -
        mobile-no-role    -     SK      -    -
        umbra-owner       -     -       -    SK
        """;

    private const string PeopleInPerson = """
                          Acme  Mobile  Web  Umbra
        acme-owner        S     S       S    -
        acme-manager      S     S       S    -
        acme-viewer       S     S       S    -
        acme-no-role      S     S       S    -
        both-no-role      S     S       S    -
        mobile-owner      -     S       -    -
        mobile-manager    -     S       -    -
        mobile-viewer     -     S       -    -
        mobile-no-role    -     S       -    -
        umbra-owner       -     -       -    S
        """;

    private const string DirectMembersInPerson = """
                          Acme  Mobile  Web  Umbra
        acme-owner        S     -       -    -
        acme-manager      S     -       -    -
        acme-viewer       S     -       -    -
        acme-no-role      S     -       -    -
        both-no-role      S     S       -    -
        mobile-owner      -     S       -    -
        mobile-manager    -     S       -    -
        mobile-viewer     -     S       -    -
        mobile-no-role    -     S       -    -
        umbra-owner       -     -       -    S
        """;

    private const string Watchers = """
                          Acme  Mobile  Web  Umbra
        acme-owner        SK    SKT     SK   -
        acme-manager      SK    SKT     SK   -
        acme-viewer       SK    SKT     SK   -
        mobile-owner      -     SK      -    -
        mobile-manager    -     SK      -    -
        mobile-viewer     -     SK      -    -
        umbra-owner       -     -       -    SK
        acme-api-owner    A     -       -    -
        mixed-api         A     AT      -    -
        """;

    private const string Leaders = """
                          Acme  Mobile  Web  Umbra
        acme-owner        SK    SKT     SK   -
        acme-manager      SK    SKT     SK   -
        mobile-owner      -     SK      -    -
        mobile-manager    -     SK      -    -
        umbra-owner       -     -       -    SK
        acme-api-owner    A     -       -    -
        mixed-api         -     AT      -    -
        """;

    private const string LeadersInPerson = """
                          Acme  Mobile  Web  Umbra
        acme-owner        S     S       S    -
        acme-manager      S     S       S    -
        mobile-owner      -     S       -    -
        mobile-manager    -     S       -    -
        umbra-owner       -     -       -    S
        """;

    private const string OwnersInPerson = """
                          Acme  Mobile  Web  Umbra
        acme-owner        S     S       S    -
        mobile-owner      -     S       -    -
        umbra-owner       -     -       -    S
        """;

    private const string PeopleAndLeadingApiKeys = // one's own keys, or as a leader those of members
        People
        + "\n"
        + """
            acme-api-owner    A     -       -    -
            mixed-api         -     AT      -    -
            """;

    private const string Organization = "/identity/v1/organizations/{organizationId}";

    /// <summary>What ends a membership, taken back.</summary>
    private const string MembersAgain = "UPDATE memberships SET ended_at = NULL; UPDATE access_keys SET deleted_at = NULL, status = 0";

    public static IReadOnlyList<MatrixRow> All { get; } =
    [
        // Organizations
        Known("GET", "/identity/v1/organizations", Permission.ListOrganizations),
        Known("GET", "/identity/v1/session", Permission.ReadSession),
        // a person with a session: OrganizationEndpointsTests
        Known("POST", "/identity/v1/organizations", Permission.CreateOrganization, """{"name":""}"""),
        // as the next but one
        Known("POST", "/identity/v1/organizations/current/sub-organizations", Permission.CreateSubOrganization, """{"name":""}"""),
        Guarded("GET", Organization, Permission.SeeOrganization, Everybody),
        Guarded("POST", Organization + "/sub-organizations", Permission.CreateSubOrganization, Leaders, body: """{"name":""}"""),
        Guarded("PATCH", Organization, Permission.RenameOrganization, Leaders, body: """{"name":""}"""),
        Guarded("PATCH", Organization, Permission.DisableOrganization, OwnersInPerson, body: """{"disabled":false}"""),
        Guarded("DELETE", Organization, Permission.DeleteOrganization, OwnersInPerson, "?action=delete", """{"name":""}"""),
        Guarded("DELETE", Organization, Permission.RemoveMember, Leaders, "?action=remove&userId=0190f3a2-7c11-7d3e-9b52-3f1c8a6d4e70"),
        Guarded("DELETE", Organization, Permission.Leave, DirectMembersInPerson, "?action=leave", undo: MembersAgain),
        // Members
        Guarded("GET", Organization + "/users", Permission.SeeMembers, Everybody),
        Guarded(
            "POST",
            Organization + "/users",
            Permission.AddMember,
            Leaders,
            body: """{"userId":"0190f3a2-7c11-7d3e-9b52-3f1c8a6d4e70","roles":[]}"""
        ),
        Guarded("GET", Organization + "/users/{userId}/roles", Permission.SeeMembers, Everybody),
        Guarded("PUT", Organization + "/users/{userId}/roles", Permission.ChangeRoles, Leaders, body: """{"roles":["no-such-role"]}"""),
        Guarded("GET", Organization + "/invitations", Permission.SeeInvitations, Watchers),
        Guarded(
            "PATCH",
            "/identity/v1/users",
            Permission.InviteMember,
            Leaders,
            "?action=invite&organizationId={organizationId}",
            """{"userEmail":"new@acme.example","organizationsAndRoles":[{"organizationId":"{organizationId}","roles":["no-such-role"]}]}"""
        ),
        Guarded(
            "PATCH",
            "/identity/v1/users",
            Permission.InviteMember,
            Leaders,
            "?action=re-invite&userEmail=nobody@acme.example&organizationId={organizationId}"
        ),
        Guarded(
            "PATCH",
            Organization + "/invitations",
            Permission.InviteMember,
            Leaders,
            "?action=re-invite",
            """{"userEmail":"nobody@acme.example"}"""
        ),
        Guarded("DELETE", Organization + "/invitations", Permission.InviteMember, Leaders, body: """{"userEmail":"nobody@acme.example"}"""),
        // Personal access keys
        Guarded("GET", Organization + "/personal-access-keys", Permission.ListOwnKeys, People),
        Guarded("GET", Organization + "/personal-access-keys", Permission.ListMemberKeys, Leaders, "?all=true"),
        Guarded("POST", Organization + "/personal-access-keys", Permission.GenerateOwnKey, DirectMembersInPerson, body: """{"name":""}"""),
        new(
            "DELETE",
            Organization + "/personal-access-keys/{keyId}",
            [Permission.DeleteOwnKey, Permission.DeleteMemberKey],
            PeopleAndLeadingApiKeys
        ),
        Guarded("GET", Organization + "/personal-access-keys/{keyId}/explain", Permission.ExplainOwnKey, PeopleInPerson),
        new(
            "GET",
            Organization + "/personal-access-keys/{keyId}/usage",
            [Permission.ListOwnKeys, Permission.ListMemberKeys],
            PeopleAndLeadingApiKeys
        ),
        Guarded("POST", Organization + "/personal-access-keys/{keyId}/rotate", Permission.RotateOwnKey, DirectMembersInPerson),
        Guarded("POST", Organization + "/personal-access-keys/{keyId}/finish-rotation", Permission.RotateOwnKey, DirectMembersInPerson),
        Public("POST", "/identity/v1/personal-access-keys/self/rotate"), // the key in the body is the credential
        // Webhooks
        Guarded("GET", Organization + "/webhooks", Permission.ManageWebhooks, OwnersInPerson),
        Guarded("POST", Organization + "/webhooks", Permission.MakeWebhookSecret, OwnersInPerson, body: """{"url":""}"""),
        Guarded("GET", Organization + "/webhooks/{id}", Permission.ManageWebhooks, OwnersInPerson),
        Guarded("PUT", Organization + "/webhooks/{id}", Permission.ManageWebhooks, OwnersInPerson, body: """{"url":""}"""),
        Guarded("DELETE", Organization + "/webhooks/{id}", Permission.ManageWebhooks, OwnersInPerson),
        Guarded("POST", Organization + "/webhooks/{id}/secret", Permission.MakeWebhookSecret, OwnersInPerson),
        Guarded("POST", Organization + "/webhooks/{id}/test", Permission.ManageWebhooks, OwnersInPerson),
        Guarded("GET", Organization + "/webhooks/{id}/deliveries", Permission.ManageWebhooks, OwnersInPerson),
        Guarded("POST", Organization + "/webhooks/{id}/deliveries/{message}/resend", Permission.ManageWebhooks, OwnersInPerson),
        // Policy and inventory
        Guarded("GET", Organization + "/policy", Permission.SeePolicy, Everybody),
        Guarded(
            "POST",
            Organization + "/policy/preview",
            Permission.ChangePolicy,
            OwnersInPerson,
            body: """{"policy":{},"version":"none"}"""
        ),
        Guarded("PUT", Organization + "/policy", Permission.ChangePolicy, OwnersInPerson, body: """{"policy":{},"version":"none"}"""),
        Guarded("GET", Organization + "/keys", Permission.ListMemberKeys, Leaders),
        Guarded("GET", Organization + "/keys.csv", Permission.ListMemberKeys, Leaders),
        Guarded(
            "POST",
            Organization + "/keys/actions",
            Permission.DeleteMemberKey,
            Leaders,
            body: """{"action":"delete","keyIds":["0000000000000000"]}"""
        ),
        // API keys
        Guarded("GET", Organization + "/api-keys", Permission.ListApiKeys, Leaders),
        Guarded("POST", Organization + "/api-keys", Permission.CreateApiKey, LeadersInPerson, body: """{"name":""}"""),
        Guarded("PATCH", Organization + "/api-keys/{keyId}", Permission.ChangeApiKey, LeadersInPerson, body: """{"name":""}"""),
        Guarded(
            "POST",
            Organization + "/api-keys/{keyId}/rotate",
            Permission.RotateApiKey,
            LeadersInPerson,
            body: """{"overlapHours":-1}"""
        ),
        Guarded("DELETE", Organization + "/api-keys/{keyId}", Permission.DeleteApiKey, Leaders),
        // The record: of those who may not see all, their own
        Guarded("GET", Organization + "/activity", Permission.SeeOrganization, Everybody),
        Guarded("GET", Organization + "/activity.csv", Permission.SeeOrganization, Everybody),
        // The bearer, whoever it is
        Bearer("GET", "/userinfo"),
        Bearer("POST", "/userinfo"),
        Bearer("GET", "/auth/realms/{realm}/protocol/openid-connect/userinfo"),
        Bearer("POST", "/auth/realms/{realm}/protocol/openid-connect/userinfo"),
        // For everybody
        Public("POST", "/auth/v1/token"), // the key in the body is the credential
        Public("POST", "/auth/v2/token"),
        Public("POST", "/auth/v3/token"),
        Public("POST", "/auth/v1/api-key/token"),
        Public("POST", "/leaks/revoke"), // the leaked key is the credential
        Public("POST", "/leaks/github"), // signed by who reports
        Public("GET", "/leaks/gitlab/v1/revocable_token_types"),
        Public("POST", "/leaks/gitlab/v1/revoke_tokens"),
        Public("POST", "/oauth/introspect"), // the token in the body, or the caller's, is the credential
        Public("POST", "/oauth/revoke"),
        Public("GET", "/sign-in/provider"),
        Public("GET", "/sign-in/provider/jwks.json"),
        Public("GET", "/sign-in/provider/sign-out"),
        Public("GET", "/sign-in/provider/signed-out"),
        Public("POST", "/sign-in/provider/backchannel-logout"), // the provider's signed token in the body is the credential
        Public("GET", "/status-lists"),
        Public("GET", "/status-lists/{number}"),
        Public("GET", "/.well-known/openid-configuration"),
        Public("GET", "/.well-known/oauth-authorization-server"),
        Public("GET", "/.well-known/jwks.json"),
        Public("ANY", "/health/live"),
        Public("ANY", "/health/ready"),
        Public("GET", "/assets/{name}"),
        Public("GET", "/roles.json"),
        Public("GET", "/scopes.json"),
        Public("GET", "/openapi.json"),
        .. Pages(),
    ];

    private static MatrixRow Guarded(
        string method,
        string path,
        Permission permission,
        string cells,
        string query = "",
        string? body = null,
        string? undo = null
    ) => new(method, path, [permission], cells, query, body, undo);

    private static MatrixRow Page(string path, Permission permission, string cells) => new("PAGE", path, [permission], cells);

    private static MatrixRow Form(string path, Permission permission, string cells, string body) =>
        new("FORM", path, [permission], cells, Body: body);

    private static MatrixRow Known(string method, string path, Permission permission, string? body = null) =>
        new(method, path, [permission], null, Body: body);

    private static MatrixRow Known(string method, string path) => new(method, path, [], null);

    private static MatrixRow Bearer(string method, string path) =>
        new(method, path, [Permission.ReadUserInfo], null) { IsForTokens = true };

    private static MatrixRow Public(string method, string path) => new(method, path, [], null) { IsPublic = true };
}
