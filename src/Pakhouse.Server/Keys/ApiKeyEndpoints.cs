namespace Pakhouse.Server;

/// <summary>
/// API keys over HTTP: <c>/identity/v1/organizations/{id}/api-keys</c>. Only a person with a session can create or change one (R7, in <see
/// cref="Permissions"/>).
/// </summary>
public static class ApiKeyEndpoints
{
    /// <summary>Roles in one organization, in the same form as in an invitation.</summary>
    public sealed record RolesBody(Guid? OrganizationId, IReadOnlyList<string>? Roles);

    /// <param name="ExpiresAt">Absent: six months from now. At most one year from now.</param>
    public sealed record WantedApiKey(
        string? Name,
        DateTimeOffset? ExpiresAt,
        IReadOnlyList<string>? Scopes,
        IReadOnlyList<RolesBody>? OrganizationsAndRoles
    );

    /// <summary>An absent member stays unchanged.</summary>
    public sealed record ChangedApiKey(string? Name, IReadOnlyList<RolesBody>? OrganizationsAndRoles);

    /// <param name="OverlapHours">How long the current secret keeps working, in hours. Absent: 24. At most 720.</param>
    public sealed record ApiKeyRotation(int? OverlapHours);

    /// <summary>The only response that contains the secret.</summary>
    public sealed record CreatedApiKey(string Id, string Secret)
    {
        public override string ToString() => $"key {Id}"; // the default ToString of a record would print the secret
    }

    public sealed record ShownApiKey(
        string Id,
        string Name,
        IEnumerable<string>? Scopes,
        DateTimeOffset CreatedAt,
        DateTimeOffset ExpiresAt,
        Guid? CreatedBy,
        DateTimeOffset? LastUsedAt,
        DateTimeOffset? SuspendedAt,
        DateTimeOffset? EarlierSecretEndsAt,
        IEnumerable<RolesShown> OrganizationsAndRoles
    );

    public sealed record RolesShown(Guid OrganizationId, IEnumerable<string> Roles);

    public static void Map(IEndpointRouteBuilder routes)
    {
        var group = routes.MapApi("/identity/v1/organizations/{organizationId:guid}/api-keys").WithTags("API keys");
        group
            .MapGet(
                "",
                async (Guid organizationId, HttpContext context, ApiKeys keys) =>
                    (await keys.ListAsync(context.Caller(), organizationId)).ToResult(entries => entries.Select(Show))
            )
            .Describe<IEnumerable<ShownApiKey>>("listApiKeys", "The API keys of an organization, by name. Never their secrets");
        group
            .MapPost(
                "",
                async (Guid organizationId, Body<WantedApiKey> body, HttpContext context, ApiKeys keys) =>
                    body.Refusal is { } unreadable ? unreadable.ToResult()
                    : body.Value.Scopes is { Count: 0 } ? KeyEndpoints.NoScopes.ToResult()
                    : Reveal(
                        await keys.CreateAsync(
                            context.Caller(),
                            organizationId,
                            new NewApiKey(
                                KeyFormat.NewId(),
                                body.Value.Name ?? "",
                                body.Value.ExpiresAt,
                                body.Value.Scopes is null ? NameSet.All : Names(body.Value.Scopes),
                                Roles(organizationId, body.Value.OrganizationsAndRoles) ?? []
                            )
                        )
                    )
            )
            .Describe<CreatedApiKey>(
                "createApiKey",
                "Creates an API key and shows its secret once (with a session only)",
                StatusCodes.Status201Created
            );
        group
            .MapPatch(
                "{keyId}",
                async (Guid organizationId, string keyId, Body<ChangedApiKey> body, HttpContext context, ApiKeys keys) =>
                    body.Refusal is { } unreadable
                        ? unreadable.ToResult()
                        : (
                            await keys.ChangeAsync(
                                context.Caller(),
                                organizationId,
                                keyId,
                                body.Value.Name,
                                Roles(organizationId, body.Value.OrganizationsAndRoles)
                            )
                        ).ToEmpty()
            )
            .DescribeEmpty("changeApiKey", "Changes the name or the roles of an API key (with a session only)");
        group
            .MapPost(
                "{keyId}/rotate",
                async (Guid organizationId, string keyId, Body<ApiKeyRotation> body, HttpContext context, ApiKeys keys) =>
                    body.Refusal is { } unreadable
                        ? unreadable.ToResult()
                        : Reveal(
                            await keys.RotateAsync(
                                context.Caller(),
                                organizationId,
                                keyId,
                                KeyFormat.NewId(),
                                TimeSpan.FromHours(Math.Clamp(body.Value.OverlapHours ?? 24, -1, 100_000))
                            )
                        )
            )
            .Describe<CreatedApiKey>(
                "rotateApiKey",
                "Gives an API key a new secret and shows it once (with a session only)",
                StatusCodes.Status201Created
            );
        group
            .MapDelete(
                "{keyId}",
                async (Guid organizationId, string keyId, HttpContext context, ApiKeys keys) =>
                    (await keys.DeleteAsync(context.Caller(), organizationId, keyId)).ToEmpty()
            )
            .DescribeEmpty("deleteApiKey", "Ends an API key at once: every later exchange is refused");
    }

    private static IResult Reveal(Outcome<PersonalAccessKey> outcome)
    {
        if (outcome.Refusal is { } refusal)
            return refusal.ToResult();
        using var key = outcome.Value;
        return Results.Json(new CreatedApiKey(key.Id, key.Reveal()), statusCode: StatusCodes.Status201Created);
    }

    /// <summary>Roles that name no organization are for the one in the URL.</summary>
    private static List<ApiKeyRoles>? Roles(Guid organizationId, IReadOnlyList<RolesBody?>? body) =>
        body?.Select(one => new ApiKeyRoles(one?.OrganizationId ?? organizationId, Names(one?.Roles))).ToList();

    /// <summary>A null in a list becomes a name that does not exist, and is refused as unknown.</summary>
    private static NameSet Names(IReadOnlyList<string?>? names) => NameSet.Of((names ?? []).Select(name => name ?? ""));

    private static ShownApiKey Show(ApiKeyEntry key) =>
        new(
            key.Id,
            key.Name,
            key.Scopes.IsAll ? null : key.Scopes,
            key.CreatedAt,
            key.ExpiresAt,
            key.CreatedBy,
            key.LastUsedAt,
            key.SuspendedAt,
            key.EarlierSecretEndsAt,
            key.Roles.Select(one => new RolesShown(one.OrganizationId, one.Roles))
        );
}
