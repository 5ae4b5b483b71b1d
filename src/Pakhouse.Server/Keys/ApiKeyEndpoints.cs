namespace Pakhouse.Server;

/// <summary>
/// API keys over HTTP: <c>/identity/v1/organizations/{id}/api-keys</c>. What makes or changes one is for a person with a session (R7); the table in
/// <see cref="Permissions"/> says so.
/// </summary>
public static class ApiKeyEndpoints
{
    /// <summary>Roles in one organization, in the form that invitations have too.</summary>
    public sealed record RolesBody(Guid? OrganizationId, IReadOnlyList<string>? Roles);

    /// <param name="ExpiresAt">Absent: six months from now; at most a year.</param>
    public sealed record CreateBody(string? Name, DateTimeOffset? ExpiresAt, IReadOnlyList<string>? Scopes, IReadOnlyList<RolesBody>? OrganizationsAndRoles);

    /// <summary>What is absent stays as it is.</summary>
    public sealed record ChangeBody(string? Name, IReadOnlyList<RolesBody>? OrganizationsAndRoles);

    /// <param name="OverlapHours">How long the present secret works on; absent: 24, at most 720.</param>
    public sealed record RotateBody(int? OverlapHours);

    /// <summary>The one answer that carries the secret.</summary>
    public sealed record Created(string Id, string Secret)
    {
        public override string ToString() => $"key {Id}"; // a record would print its secret
    }

    private sealed record Shown(string Id, string Name, IEnumerable<string> Scopes, DateTimeOffset CreatedAt, DateTimeOffset ExpiresAt, Guid? CreatedBy, DateTimeOffset? LastUsedAt, DateTimeOffset? SuspendedAt,
        DateTimeOffset? EarlierSecretEndsAt, IEnumerable<RolesShown> OrganizationsAndRoles);

    private sealed record RolesShown(Guid OrganizationId, IEnumerable<string> Roles);

    public static void Map(IEndpointRouteBuilder routes)
    {
        var group = routes.MapApi("/identity/v1/organizations/{organizationId:guid}/api-keys").WithTags("API keys");
        group.MapGet("", async (Guid organizationId, HttpContext context, ApiKeys keys) =>
                (await keys.ListAsync(context.Caller(), organizationId)).ToResult(entries => entries.Select(Show)))
            .WithName("ListApiKeys").WithSummary("The API keys of an organization, by name. Never their secrets.");
        group.MapPost("", async (Guid organizationId, CreateBody body, HttpContext context, ApiKeys keys) =>
                Reveal(await keys.CreateAsync(context.Caller(), organizationId, new NewApiKey(KeyFormat.NewId(), body.Name ?? "", body.ExpiresAt, NameSet.Of(body.Scopes ?? []), Roles(organizationId, body.OrganizationsAndRoles) ?? []))))
            .WithName("CreateApiKey").WithSummary("Makes an API key and shows its secret, once. With a session only.");
        group.MapPatch("{keyId}", async (Guid organizationId, string keyId, ChangeBody body, HttpContext context, ApiKeys keys) =>
                (await keys.ChangeAsync(context.Caller(), organizationId, keyId, body.Name, Roles(organizationId, body.OrganizationsAndRoles))).ToEmpty())
            .WithName("ChangeApiKey").WithSummary("Gives an API key another name or other roles. With a session only.");
        group.MapPost("{keyId}/rotate", async (Guid organizationId, string keyId, RotateBody body, HttpContext context, ApiKeys keys) =>
                Reveal(await keys.RotateAsync(context.Caller(), organizationId, keyId, KeyFormat.NewId(), TimeSpan.FromHours(Math.Clamp(body.OverlapHours ?? 24, -1, 100_000)))))
            .WithName("RotateApiKey").WithSummary("Gives an API key a new secret and shows it, once. With a session only.");
        group.MapDelete("{keyId}", async (Guid organizationId, string keyId, HttpContext context, ApiKeys keys) =>
                (await keys.DeleteAsync(context.Caller(), organizationId, keyId)).ToEmpty())
            .WithName("DeleteApiKey").WithSummary("Ends an API key. No exchange that begins afterwards succeeds.");
    }

    private static IResult Reveal(Outcome<PersonalAccessKey> outcome)
    {
        if (outcome.Refusal is { } refusal) return refusal.ToResult();
        using var key = outcome.Value;
        return Results.Json(new Created(key.Id, key.Reveal()), statusCode: StatusCodes.Status201Created);
    }

    /// <summary>An organization that is not named is the one in the address.</summary>
    private static List<ApiKeyRoles>? Roles(Guid organizationId, IReadOnlyList<RolesBody>? body) =>
        body?.Select(one => new ApiKeyRoles(one.OrganizationId ?? organizationId, NameSet.Of(one.Roles ?? []))).ToList();

    private static Shown Show(ApiKeyEntry key) => new(key.Id, key.Name, key.Scopes, key.CreatedAt, key.ExpiresAt, key.CreatedBy, key.LastUsedAt, key.SuspendedAt, key.EarlierSecretEndsAt,
        key.Roles.Select(one => new RolesShown(one.OrganizationId, one.Roles)));
}
