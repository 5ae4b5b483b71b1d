using System.Text.Json.Serialization;

namespace Pakhouse.Server;

/// <summary>
/// Organizations over HTTP, at the addresses and in the formats that existing clients use (docs/protocol.md, "Identity API"), and our own
/// calls.
/// </summary>
public static class OrganizationEndpoints
{
    /// <summary>An organization.</summary>
    public sealed record ShownOrganization
    {
        public required Guid Id { get; init; }
        public required string Name { get; init; }

        /// <summary>The same id again, for existing clients.</summary>
        public required string GivenId { get; init; }

        /// <summary>Absent for a root: clients test for its presence.</summary>
        [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
        public Guid? RootOrganizationId { get; init; }

        /// <summary>Absent for a root.</summary>
        [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
        public string? RootOrganizationName { get; init; }

        public required bool SsoEnabled { get; init; }

        /// <summary>While true, keys of this organization cannot get tokens.</summary>
        public required bool Disabled { get; init; }

        /// <summary>The number of direct members of this organization.</summary>
        public required long MemberCount { get; init; }

        public required DateTimeOffset CreatedDate { get; init; }

        /// <summary>Always null: organizations have no pictures.</summary>
        public required string? LogoUrl { get; init; }
    }

    public sealed record ShownOrganizations(IEnumerable<ShownOrganization> Data);

    public sealed record NewOrganization
    {
        /// <summary>1 to 100 characters; for a sub-organization unique in its root.</summary>
        public string? Name { get; init; }
    }

    /// <summary>Exactly one of the two members.</summary>
    public sealed record ChangedOrganization
    {
        /// <summary>The new name.</summary>
        public string? Name { get; init; }

        /// <summary>True suspends every key of the organization and its sub-organizations, false resumes them.</summary>
        public bool? Disabled { get; init; }
    }

    public sealed record TypedName
    {
        /// <summary>With action=delete: the organization's name, typed again.</summary>
        public string? Name { get; init; }
    }

    public static void Map(IEndpointRouteBuilder routes)
    {
        var group = routes.MapApi("/identity/v1/organizations").WithTags("Organizations");
        group.MapGet("", ListAsync).Describe<ShownOrganizations>("listOrganizations", "The organizations that you can see");
        group
            .MapPost("", CreateAsync)
            .Describe<ShownOrganization>("createOrganization", "Creates a root organization that you own (with a session only)");
        group.MapGet("/{organizationId:guid}", FindAsync).Describe<ShownOrganization>("getOrganization", "One organization");
        group
            .MapPatch("/{organizationId:guid}", ChangeAsync)
            .DescribeEmpty("changeOrganization", "Renames an organization, disables it or enables it again");
        group
            .MapDelete("/{organizationId:guid}", EndAsync)
            .DescribeEmpty("endInOrganization", "Removes a member, leaves the organization or deletes it, depending on action");
        group
            .MapPost("/{organizationId:guid}/sub-organizations", CreateSubAsync)
            .Describe<ShownOrganization>("createSubOrganization", "Creates a sub-organization of a root");
        group
            .MapPost("/current/sub-organizations", CreateSubOfCurrentAsync)
            .Describe<ShownOrganization>("createSubOrganizationOfCurrent", "Creates a sub-organization of the root that the token is for");
    }

    private static async Task<IResult> ListAsync(HttpContext context, Organizations organizations) =>
        Guard.Demand(context.Caller(), Permission.ListOrganizations) is { } refused
            ? refused.ToResult()
            : Results.Ok(new ShownOrganizations((await organizations.ListAsync(context.Caller(), counted: true)).Select(Show)));

    private static async Task<IResult> FindAsync(Guid organizationId, HttpContext context, Organizations organizations) =>
        (await organizations.FindAsync(context.Caller(), organizationId)).ToResult(Show);

    private static async Task<IResult> CreateAsync(Body<NewOrganization> body, HttpContext context, Organizations organizations)
    {
        if (body.Refusal is { } unreadable)
            return unreadable.ToResult();
        var created = await organizations.CreateRootAsync(context.Caller(), body.Value.Name ?? "");
        return created.Refusal is { } refusal ? refusal.ToResult() : await FindAsync(created.Value, context, organizations);
    }

    private static Task<IResult> CreateSubOfCurrentAsync(
        Body<NewOrganization> body,
        HttpContext context,
        Organizations organizations,
        TimeProvider clock
    ) =>
        context.Caller().BoundTo is { } current
            ? CreateSubAsync(current, body, context, organizations, clock)
            : Task.FromResult(noCurrent.ToResult());

    private static async Task<IResult> CreateSubAsync(
        Guid organizationId,
        Body<NewOrganization> body,
        HttpContext context,
        Organizations organizations,
        TimeProvider clock
    )
    {
        if (body.Refusal is { } unreadable)
            return unreadable.ToResult();
        var root = await organizations.AccessAsync(context.Caller(), organizationId, Permission.CreateSubOrganization);
        if (root.Refusal is { } refusal)
            return refusal.ToResult();
        var name = body.Value.Name ?? "";
        // The response is built from what was written: an API key cannot see the organization that it created.
        return (await organizations.CreateSubAsync(context.Caller(), organizationId, name)).ToResult(id =>
            Show(
                new Organization
                {
                    Id = id,
                    RootId = organizationId,
                    RootName = root.Value.OrganizationName,
                    Name = Checks.Normalize(name).Trim(),
                    CreatedAt = clock.GetUtcNow(),
                    MemberCount = 0,
                }
            )
        );
    }

    private static async Task<IResult> ChangeAsync(
        Guid organizationId,
        Body<ChangedOrganization> body,
        HttpContext context,
        Organizations organizations
    )
    {
        if (body.Refusal is { } unreadable)
            return unreadable.ToResult();
        return body.Value switch
        {
            { Name: { } name, Disabled: null } => (await organizations.RenameAsync(context.Caller(), organizationId, name)).ToEmpty(),
            { Name: null, Disabled: { } disabled } => (
                await organizations.SetDisabledAsync(context.Caller(), organizationId, disabled)
            ).ToEmpty(),
            _ => oneChange.ToResult(),
        };
    }

    /// <summary>Without an action nothing ends: a client that forgets the query must not delete an organization.</summary>
    private static async Task<IResult> EndAsync(
        Guid organizationId,
        string? action,
        string? userId,
        Body<TypedName> body,
        HttpContext context,
        Organizations organizations,
        Members members
    )
    {
        if (body.Refusal is { } unreadable)
            return unreadable.ToResult();
        switch (action)
        {
            case "remove":
                var user = Api.ReadId(userId, "userId");
                return user.Refusal is { } refusal
                    ? refusal.ToResult()
                    : (await members.RemoveAsync(context.Caller(), organizationId, user.Value)).ToEmpty();
            case "leave":
                return (await members.LeaveAsync(context.Caller(), organizationId)).ToEmpty();
            case "delete":
                return (await organizations.DeleteAsync(context.Caller(), organizationId, body.Value.Name ?? "")).ToEmpty();
            default:
                return noAction.ToResult();
        }
    }

    private static ShownOrganization Show(Organization organization) =>
        new()
        {
            Id = organization.Id,
            Name = organization.Name,
            GivenId = organization.Id.ToString(),
            RootOrganizationId = organization.RootId,
            RootOrganizationName = organization.RootName,
            SsoEnabled = false,
            Disabled = organization.DisabledAt is not null,
            MemberCount = organization.MemberCount ?? 0,
            CreatedDate = organization.CreatedAt,
            LogoUrl = null,
        };

    private static readonly Refusal noCurrent = new(
        RefusalCode.InvalidRequest,
        "A session belongs to no organization. Name the root, as in /identity/v1/organizations/ID/sub-organizations.",
        "current of a session"
    );
    private static readonly Refusal oneChange = new(RefusalCode.InvalidRequest, "Give either name or disabled.", "no change, or two");
    private static readonly Refusal noAction = Refusal.At(
        "action",
        RefusalCode.InvalidRequest,
        "use remove, leave or delete.",
        "no action"
    );
}
