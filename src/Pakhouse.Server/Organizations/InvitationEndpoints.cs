using System.Text.Json.Serialization;

namespace Pakhouse.Server;

/// <summary>
/// Invitations over HTTP, at the addresses and in the formats that existing clients use (docs/protocol.md, "Identity API").
/// </summary>
public static class InvitationEndpoints
{
    public sealed record RolesSomewhere
    {
        public string? OrganizationId { get; init; }
        public IReadOnlyList<string>? Roles { get; init; }
    }

    public sealed record WantedInvitation
    {
        /// <summary>The e-mail address to invite.</summary>
        public string? UserEmail { get; init; }

        /// <summary>The organizations, with the roles in each: one root and its sub-organizations.</summary>
        public IReadOnlyList<RolesSomewhere>? OrganizationsAndRoles { get; init; }
    }

    public sealed record Invited
    {
        /// <summary>The address of the invitation. Some clients send it in the query.</summary>
        public string? UserEmail { get; init; }
    }

    public sealed record ShownOrganizationRoles(Guid OrganizationId, string OrganizationName, IEnumerable<string> Roles);

    /// <summary>A pending or expired invitation.</summary>
    public sealed record ShownInvitation
    {
        public required Guid Id { get; init; }

        /// <summary>With a token, present only if <c>email</c> was granted.</summary>
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
        var group = routes.MapApi("/identity/v1/organizations/{organizationId:guid}").WithTags("Invitations");
        group
            .MapGet("/invitations", ListInvitationsAsync)
            .Describe<IEnumerable<ShownInvitation>>("listInvitations", "Pending and expired invitations");
        group
            .MapPatch("/invitations", SendAgainAsync)
            .Describe<ShownInvitation>("resendInvitation", "Sends an invitation again; the link in the old message stops working");
        group
            .MapDelete("/invitations", WithdrawAsync)
            .DescribeEmpty("withdrawInvitation", "Withdraws an invitation");
        routes
            .MapApi("/identity/v1/users")
            .WithTags("Invitations")
            .MapPatch("", InviteAsync)
            .Describe<ShownInvitation>("invite", "Invites an address or sends an invitation again, depending on action");
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
                return Refusal.At("action", RefusalCode.InvalidRequest, "use invite or re-invite.", "no action").ToResult();
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
            return Refusal.At("action", RefusalCode.InvalidRequest, "say re-invite.", "no action").ToResult();
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

    /// <summary>
    /// Reads the address from the body or the query. In a query, clients write the plus of an address unencoded, which decodes to a space.
    /// An address contains no space, so the plus is restored.
    /// </summary>
    private static string ReadEmail(string? query, string? body) => body ?? query?.Trim().Replace(' ', '+') ?? "";

    private static Outcome<IReadOnlyList<OrganizationRoles>> ReadWanted(IReadOnlyList<RolesSomewhere?>? wanted)
    {
        if (wanted is null or { Count: 0 or > Invitations.OrganizationsMax })
            return Refusal.At(
                "organizationsAndRoles",
                RefusalCode.InvalidRequest,
                $"give 1 to {Invitations.OrganizationsMax} organizations with their roles.",
                "no organizations, or too many"
            );
        var read = new List<OrganizationRoles>(wanted.Count);
        foreach (var one in wanted)
        {
            var id = Api.ReadId(one?.OrganizationId, "organizationId");
            if (id.Refusal is { } badId)
                return badId;
            var roles = MemberEndpoints.ReadRoles(one!.Roles);
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
}
