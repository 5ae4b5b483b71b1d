using Microsoft.AspNetCore.Mvc;

namespace Pakhouse.Server;

/// <summary>Manage Roles: the roles of a direct member. For an inherited member: making them a direct one.</summary>
public sealed class MemberModel(Organizations organizations, Members members, ProviderConnections connections, PakhouseOptions options)
    : OrganizationPage(organizations)
{
    [FromRoute(Name = "userId")]
    public Guid MemberId { get; set; }

    public Member Member { get; private set; } = null!;

    public RolePicker Picker { get; private set; } = null!;

    /// <summary>The link to connect with the identity provider was just sent.</summary>
    [FromQuery(Name = "sent")]
    public bool WasSent { get; set; }

    public string ProviderName => options.OidcName;

    public bool MayConnect => options.OidcAuthority is not null && Member.MembershipId is not null && May(Permission.ConnectMember);

    public async Task<IActionResult> OnGetAsync()
    {
        if (await FindAsync() is { } refused)
            return refused;
        Show(Member.IsInherited ? RolePicker.Defaults(options.Roles) : Member.Roles);
        return Page();
    }

    public async Task<IActionResult> OnPostAsync()
    {
        if (await FindAsync() is { } refused)
            return refused;
        var roles = RolePicker.Read(Request.Form, "roles");
        var refusal = Member.MembershipId is null
            ? (await members.AddAsync(Actor, OrganizationId, MemberId, roles)).Refusal
            : (await members.SetRolesAsync(Actor, OrganizationId, MemberId, roles)).Refusal;
        if (refusal is null)
            return this.SeeOther($"{TeamUrl}#members");
        Errors.Add(refusal, ("roles", "roles", "Roles"));
        Response.StatusCode = refusal.Status;
        Show(roles);
        return Page();
    }

    /// <summary>Sends the member the link of <see cref="ProviderConnections"/>.</summary>
    public async Task<IActionResult> OnPostConnectAsync()
    {
        if (await FindAsync(Permission.ConnectMember) is { } refused)
            return refused;
        var sent = await connections.SendAsync(Actor, OrganizationId, MemberId);
        if (sent.Refusal is not { } refusal)
            return this.SeeOther($"{TeamUrl}/members/{MemberId}?sent=true");
        Errors.Add(refusal);
        Response.StatusCode = refusal.Status;
        Show(Member.Roles);
        return Page();
    }

    private async Task<IActionResult?> FindAsync(Permission permission = Permission.ChangeRoles)
    {
        if (await LoadAsync(permission) is { } refused)
            return refused;
        var found = await members.FindAsync(Actor, OrganizationId, MemberId);
        if (found.Refusal is { } refusal)
            return this.Refuse(refusal);
        Member = found.Value;
        return null;
    }

    private void Show(NameSet chosen) =>
        Picker = new(options.Roles, "roles", chosen, Member.Roles, Permissions.MayGrantOwner(OrganizationAccess));
}
