using System.Text.Json.Serialization;

namespace Pakhouse.Server;

/// <summary>
/// Members, their roles and invitations over HTTP, at the addresses and in the shapes that the field's clients know (docs/protocol.md,
/// "Identity API").
/// </summary>
public static class MemberEndpoints
{
    /// <summary>A person as seen from one organization.</summary>
    public sealed record ShownMember
    {
        public required Guid Id { get; init; }

        /// <summary>What the person signs in with: the address.</summary>
        [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
        public string? Username { get; init; }

        /// <summary>Of a token, only where it was granted <c>email</c>.</summary>
        [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
        public string? Email { get; init; }

        public required string FullName { get; init; }

        /// <summary>Held in this organization itself.</summary>
        public required IEnumerable<string> Roles { get; init; }

        /// <summary>Held in its root.</summary>
        public required IEnumerable<string> InheritedRoles { get; init; }

        /// <summary>Seen from a sub-organization: the person's membership is in the root.</summary>
        public required bool IsInherited { get; init; }

        /// <summary>Seen from a root: the person is only in one of its sub-organizations.</summary>
        public required bool IsSubOrganizationMember { get; init; }
    }

    public sealed record ShownRoles
    {
        /// <summary>Held in this organization itself. Every one of them stands in <c>/roles.json</c>.</summary>
        public required IEnumerable<string> Roles { get; init; }

        /// <summary>Held in its root.</summary>
        public required IEnumerable<string> InheritedRoles { get; init; }

        /// <summary>Always false: where it would be true, the answer is 400.</summary>
        public required bool IsSubOrganizationMember { get; init; }

        /// <summary>Held, though they have left the catalogue: they stand in no token. Absent: none.</summary>
        [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
        public IEnumerable<string>? RetiredRoles { get; init; }
    }

    public sealed record WantedRoles
    {
        /// <summary>All that the member is to hold here. Retired roles stay beside them, unless the list is empty.</summary>
        public IReadOnlyList<string>? Roles { get; init; }
    }

    public sealed record NewMember
    {
        /// <summary>Somebody who is in the root or in one of its sub-organizations; whoever is not is invited.</summary>
        public string? UserId { get; init; }

        /// <summary>Empty: just the inherited ones.</summary>
        public IReadOnlyList<string>? Roles { get; init; }
    }

    public sealed record RolesSomewhere
    {
        public string? OrganizationId { get; init; }
        public IReadOnlyList<string>? Roles { get; init; }
    }

    public sealed record WantedInvitation
    {
        /// <summary>Whom to invite.</summary>
        public string? UserEmail { get; init; }

        /// <summary>Where to, and with which roles: one root and its sub-organizations.</summary>
        public IReadOnlyList<RolesSomewhere>? OrganizationsAndRoles { get; init; }
    }

    public sealed record Invited
    {
        /// <summary>Whose invitation. Some clients send it in the query.</summary>
        public string? UserEmail { get; init; }
    }

    public sealed record ShownOrganizationRoles(Guid OrganizationId, string OrganizationName, IEnumerable<string> Roles);

    /// <summary>An invitation that waits to be accepted, or has expired.</summary>
    public sealed record ShownInvitation
    {
        public required Guid Id { get; init; }

        /// <summary>Of a token, only where it was granted <c>email</c>.</summary>
        [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
        public string? UserEmail { get; init; }

        public required Guid RootOrganizationId { get; init; }
        public required IEnumerable<ShownOrganizationRoles> OrganizationsAndRoles { get; init; }

        /// <summary><c>Pending</c> or <c>Expired</c>.</summary>
        public required string Status { get; init; }

        public required DateTimeOffset CreatedDate { get; init; }
        public required DateTimeOffset ExpiryDate { get; init; }
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
            .Describe<ShownRoles>("addMember", "Makes somebody of the root or a sub-organization a direct member");
        group
            .MapGet("/users/{userId:guid}/roles", FindRolesAsync)
            .Describe<ShownRoles>("getMemberRoles", "The roles of one member; 400 where the person is only in a sub-organization");
        group
            .MapPut("/users/{userId:guid}/roles", SetRolesAsync)
            .Describe<ShownRoles>("setMemberRoles", "Replaces the roles of a direct member");
        group
            .MapGet("/invitations", ListInvitationsAsync)
            .Describe<IEnumerable<ShownInvitation>>("listInvitations", "Invitations that wait or have expired")
            .WithTags("Invitations");
        group
            .MapPatch("/invitations", SendAgainAsync)
            .Describe<ShownInvitation>("resendInvitation", "Sends an invitation again; the link in the old message works no more")
            .WithTags("Invitations");
        group
            .MapDelete("/invitations", WithdrawAsync)
            .DescribeEmpty("withdrawInvitation", "Takes an invitation back")
            .WithTags("Invitations");
        routes
            .MapApi("/identity/v1/users")
            .WithTags("Invitations")
            .MapPatch("", InviteAsync)
            .Describe<ShownInvitation>("invite", "Invites an address, or sends an invitation again, as action says");
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
        // Clients read the living roles, add one and send all back: what they were not shown, they do not mean to take.
        var wanted = roles.Value.Count == 0 ? roles.Value : roles.Value.Union(NameSet.Of(Retired(found.Value, options)));
        var set = await members.SetRolesAsync(context.Caller(), organizationId, userId, wanted);
        return set.Refusal is { } refusal
            ? refusal.ToResult()
            : Show(await members.FindAsync(context.Caller(), organizationId, userId, Permission.ChangeRoles), options);
    }

    private static async Task<IResult> InviteAsync(
        string? action,
        string? organizationId,
        string? userEmail,
        Body<WantedInvitation> body,
        HttpContext context,
        Invitations invitations,
        TimeProvider clock
    )
    {
        if (body.Refusal is { } unreadable)
            return unreadable.ToResult();
        var id = Api.ReadId(organizationId, "organizationId");
        if (id.Refusal is { } noOrganization)
            return noOrganization.ToResult();
        switch (action)
        {
            case "re-invite":
                return (await invitations.SendAgainAsync(context.Caller(), id.Value, ReadEmail(userEmail, body.Value.UserEmail))).ToResult(
                    invitation => Show(invitation, context.Caller(), clock)
                );
            case "invite":
                var wanted = ReadWanted(body.Value.OrganizationsAndRoles);
                return wanted.Refusal is { } refusal
                    ? refusal.ToResult()
                    : (await invitations.InviteAsync(context.Caller(), id.Value, body.Value.UserEmail ?? "", wanted.Value)).ToResult(
                        invitation => Show(invitation, context.Caller(), clock)
                    );
            default:
                return new Refusal(RefusalCode.InvalidRequest, "action: say invite or re-invite.", "no action").ToResult();
        }
    }

    private static async Task<IResult> ListInvitationsAsync(
        Guid organizationId,
        HttpContext context,
        Invitations invitations,
        TimeProvider clock
    ) =>
        (await invitations.ListAsync(context.Caller(), organizationId)).ToResult(found =>
            found.Select(invitation => Show(invitation, context.Caller(), clock))
        );

    private static async Task<IResult> SendAgainAsync(
        Guid organizationId,
        string? action,
        Body<Invited> body,
        HttpContext context,
        Invitations invitations,
        TimeProvider clock
    )
    {
        if (body.Refusal is { } unreadable)
            return unreadable.ToResult();
        if (action != "re-invite")
            return new Refusal(RefusalCode.InvalidRequest, "action: say re-invite.", "no action").ToResult();
        return (await invitations.SendAgainAsync(context.Caller(), organizationId, body.Value.UserEmail ?? "")).ToResult(invitation =>
            Show(invitation, context.Caller(), clock)
        );
    }

    private static async Task<IResult> WithdrawAsync(
        Guid organizationId,
        string? userEmail,
        Body<Invited> body,
        HttpContext context,
        Invitations invitations
    )
    {
        if (body.Refusal is { } unreadable)
            return unreadable.ToResult();
        return (await invitations.WithdrawAsync(context.Caller(), organizationId, ReadEmail(userEmail, body.Value.UserEmail))).ToEmpty();
    }

    private static IEnumerable<string> Retired(Member member, PakhouseOptions options) =>
        member.Roles.Where(role => !options.Roles.Contains(role));

    /// <summary>
    /// From the body or the query. There, clients write the plus of an address as it is, and a query has a space for that; an address has
    /// none.
    /// </summary>
    private static string ReadEmail(string? query, string? body) => body ?? query?.Trim().Replace(' ', '+') ?? "";

    private static Outcome<NameSet> ReadRoles(IReadOnlyList<string?>? roles) =>
        roles is null ? new Refusal(RefusalCode.InvalidRequest, "roles: give a list of role keys; it may be empty.", "no roles")
        : roles.Count > RoleCatalogue.RolesMax || !roles.All(role => role is not null && NameSet.IsName(role))
            ? new Refusal(
                RefusalCode.InvalidRequest,
                $"roles: give at most {RoleCatalogue.RolesMax} role keys, as GET /roles.json lists them.",
                "roles out of form"
            )
        : NameSet.Of(roles!);

    private static Outcome<IReadOnlyList<OrganizationRoles>> ReadWanted(IReadOnlyList<RolesSomewhere?>? wanted)
    {
        if (wanted is null or { Count: 0 or > Invitations.OrganizationsMax })
            return new Refusal(
                RefusalCode.InvalidRequest,
                $"organizationsAndRoles: give 1 to {Invitations.OrganizationsMax} organizations with their roles.",
                "no organizations, or too many"
            );
        var read = new List<OrganizationRoles>(wanted.Count);
        foreach (var one in wanted)
        {
            var id = Api.ReadId(one?.OrganizationId, "organizationId");
            if (id.Refusal is { } badId)
                return badId;
            var roles = ReadRoles(one!.Roles);
            if (roles.Refusal is { } badRoles)
                return badRoles;
            read.Add(new OrganizationRoles(id.Value, roles.Value));
        }

        return read;
    }

    private static ShownInvitation Show(Invitation invitation, Actor caller, TimeProvider clock) =>
        new()
        {
            Id = invitation.Id,
            UserEmail = caller.Shown(invitation.Email),
            RootOrganizationId = invitation.RootId,
            OrganizationsAndRoles = invitation.OrganizationsAndRoles.Select(one => new ShownOrganizationRoles(
                one.OrganizationId,
                one.OrganizationName,
                one.Roles
            )),
            Status = invitation.ExpiresAt <= clock.GetUtcNow() ? "Expired" : "Pending",
            CreatedDate = invitation.CreatedAt,
            ExpiryDate = invitation.ExpiresAt,
        };

    private static readonly Refusal onlyBelow = new(
        RefusalCode.InvalidRequest,
        "This person is only in a sub-organization, and has no roles here.",
        "only in a sub-organization"
    );
}
