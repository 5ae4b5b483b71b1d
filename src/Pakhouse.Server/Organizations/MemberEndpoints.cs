using System.Text.Json.Serialization;

namespace Pakhouse.Server;

/// <summary>
/// Members and their roles over HTTP, at the addresses and in the formats that existing clients use (docs/protocol.md, "Identity API").
/// </summary>
public static class MemberEndpoints
{
    /// <summary>A person as seen from one organization.</summary>
    public sealed record ShownMember
    {
        public required Guid Id { get; init; }

        /// <summary>The sign-in name, which is the e-mail address.</summary>
        [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
        public string? Username { get; init; }

        /// <summary>With a token, present only if <c>email</c> was granted.</summary>
        [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
        public string? Email { get; init; }

        public required string FullName { get; init; }

        /// <summary>The roles in this organization itself.</summary>
        public required IEnumerable<string> Roles { get; init; }

        /// <summary>The roles in its root.</summary>
        public required IEnumerable<string> InheritedRoles { get; init; }

        /// <summary>Seen from a sub-organization: the person's membership is in the root.</summary>
        public required bool IsInherited { get; init; }

        /// <summary>Seen from a root: the person is only in one of its sub-organizations.</summary>
        public required bool IsSubOrganizationMember { get; init; }
    }

    public sealed record ShownRoles
    {
        /// <summary>The roles in this organization itself. All of them are in <c>/roles.json</c>.</summary>
        public required IEnumerable<string> Roles { get; init; }

        /// <summary>The roles in its root.</summary>
        public required IEnumerable<string> InheritedRoles { get; init; }

        /// <summary>Always false: where it would be true, the response is 400.</summary>
        public required bool IsSubOrganizationMember { get; init; }

        /// <summary>Roles that the member holds but that are no longer in the catalogue. Tokens do not contain them. Absent:
        /// none.</summary>
        [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
        public IEnumerable<string>? RetiredRoles { get; init; }
    }

    public sealed record WantedRoles
    {
        /// <summary>All roles that the member should hold here. Retired roles are kept, unless the list is empty.</summary>
        public IReadOnlyList<string>? Roles { get; init; }
    }

    public sealed record NewMember
    {
        /// <summary>A person in the root or in one of its sub-organizations. Other people must be invited.</summary>
        public string? UserId { get; init; }

        /// <summary>Empty: only the inherited roles.</summary>
        public IReadOnlyList<string>? Roles { get; init; }
    }

    public static void Map(IEndpointRouteBuilder routes)
    {
        var group = routes.MapApi("/identity/v1/organizations/{organizationId:guid}").WithTags("Members");
        group
            .MapGet("/users", ListAsync)
            .Describe<IEnumerable<ShownMember>>(
                "listMembers",
                "Everybody in the organization, its root or, seen from the root, its sub-organizations"
            );
        group
            .MapPost("/users", AddAsync)
            .Describe<ShownRoles>("addMember", "Makes a person of the root or a sub-organization a direct member");
        group
            .MapGet("/users/{userId:guid}/roles", FindRolesAsync)
            .Describe<ShownRoles>("getMemberRoles", "The roles of one member; 400 if the person is only in a sub-organization");
        group
            .MapPut("/users/{userId:guid}/roles", SetRolesAsync)
            .Describe<ShownRoles>("setMemberRoles", "Replaces the roles of a direct member");
    }

    private static async Task<IResult> ListAsync(Guid organizationId, HttpContext context, Members members, PakhouseOptions options) =>
        (await members.ListAsync(context.Caller(), organizationId, below: true)).ToResult(found =>
            found.Select(member => new ShownMember
            {
                Id = member.UserId,
                Username = context.Caller().Shown(member.Email),
                Email = context.Caller().Shown(member.Email),
                FullName = member.Name,
                Roles = options.Roles.Active(member.Roles),
                InheritedRoles = options.Roles.Active(member.InheritedRoles),
                IsInherited = member.IsInherited,
                IsSubOrganizationMember = member.IsOnlyInSubOrganization,
            })
        );

    private static async Task<IResult> AddAsync(
        Guid organizationId,
        Body<NewMember> body,
        HttpContext context,
        Members members,
        PakhouseOptions options
    )
    {
        if (body.Refusal is { } unreadable)
            return unreadable.ToResult();
        var userId = Api.ReadId(body.Value.UserId, "userId");
        if (userId.Refusal is { } noUser)
            return noUser.ToResult();
        var roles = ReadRoles(body.Value.Roles);
        if (roles.Refusal is { } badRoles)
            return badRoles.ToResult();
        var added = await members.AddAsync(context.Caller(), organizationId, userId.Value, roles.Value);
        return added.Refusal is { } refusal
            ? refusal.ToResult()
            : Show(await members.FindAsync(context.Caller(), organizationId, userId.Value, Permission.AddMember), options);
    }

    private static async Task<IResult> FindRolesAsync(
        Guid organizationId,
        Guid userId,
        HttpContext context,
        Members members,
        PakhouseOptions options
    ) => Show(await members.FindAsync(context.Caller(), organizationId, userId), options);

    private static IResult Show(Outcome<Member> found, PakhouseOptions options)
    {
        if (found is { IsRefused: false, Value.IsOnlyInSubOrganization: true })
            return onlyBelow.ToResult();
        return found.ToResult(member => new ShownRoles
        {
            Roles = options.Roles.Active(member.Roles),
            InheritedRoles = options.Roles.Active(member.InheritedRoles),
            IsSubOrganizationMember = false,
            RetiredRoles = options.Roles.Active(member.Roles).Count == member.Roles.Count ? null : Retired(member, options),
        });
    }

    private static async Task<IResult> SetRolesAsync(
        Guid organizationId,
        Guid userId,
        Body<WantedRoles> body,
        HttpContext context,
        Members members,
        PakhouseOptions options
    )
    {
        if (body.Refusal is { } unreadable)
            return unreadable.ToResult();
        var roles = ReadRoles(body.Value.Roles);
        if (roles.Refusal is { } badRoles)
            return badRoles.ToResult();
        var found = await members.FindAsync(context.Caller(), organizationId, userId, Permission.ChangeRoles);
        if (found.Refusal is { } unseen)
            return unseen.ToResult();
        // Clients read the active roles, add one and send all back; they do not mean to remove retired roles, which they cannot see.
        var wanted = roles.Value.Count == 0 ? roles.Value : roles.Value.Union(NameSet.Of(Retired(found.Value, options)));
        var set = await members.SetRolesAsync(context.Caller(), organizationId, userId, wanted);
        return set.Refusal is { } refusal
            ? refusal.ToResult()
            : Show(await members.FindAsync(context.Caller(), organizationId, userId, Permission.ChangeRoles), options);
    }

    private static IEnumerable<string> Retired(Member member, PakhouseOptions options) =>
        member.Roles.Where(role => !options.Roles.Contains(role));

    internal static Outcome<NameSet> ReadRoles(IReadOnlyList<string?>? roles) =>
        roles is null ? Refusal.At("roles", RefusalCode.InvalidRequest, "give a list of role keys; it may be empty.", "no roles")
        : roles.Count > RoleCatalogue.RolesMax || !roles.All(role => role is not null && NameSet.IsName(role))
            ? Refusal.At(
                "roles",
                RefusalCode.InvalidRequest,
                $"give at most {RoleCatalogue.RolesMax} role keys, as GET /roles.json lists them.",
                "roles out of form"
            )
        : NameSet.Of(roles!);

    private static readonly Refusal onlyBelow = new(
        RefusalCode.InvalidRequest,
        "This person is only in a sub-organization and has no roles here.",
        "only in a sub-organization"
    );
}
