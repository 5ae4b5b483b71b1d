using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace Pakhouse.Server;

/// <summary>Invites an address to this organization and, from a root, to its sub-organizations.</summary>
public sealed class InviteModel(Organizations organizations, Invitations invitations, PakhouseOptions options)
    : OrganizationPage(organizations)
{
    [BindProperty]
    public string? Email { get; set; }

    /// <summary>The chosen organizations.</summary>
    [BindProperty]
    public IReadOnlyList<Guid> In { get; set; } = [];

    public TimeSpan Lifetime => options.InvitationLifetime;

    public IReadOnlyList<Organization> Subs { get; private set; } = [];

    public int LeftOut { get; private set; }

    public RolePicker Picker { get; private set; } = null!;

    public RolePicker SubPicker { get; private set; } = null!;

    public async Task<IActionResult> OnGetAsync()
    {
        if (await LoadAsync(Permission.InviteMember) is { } refused) return refused;
        In = [OrganizationId];
        return Show(RolePicker.Defaults(options.Roles), RolePicker.Defaults(options.Roles));
    }

    public async Task<IActionResult> OnPostAsync()
    {
        if (await LoadAsync(Permission.InviteMember) is { } refused)
            return refused;
        var (roles, subRoles) = (RolePicker.Read(Request.Form, "roles"), RolePicker.Read(Request.Form, "sub-roles"));
        if (OrganizationAccess.RootId is not null || Organizations.All(one => one.RootId != OrganizationId))
            In = [OrganizationId]; // there was nothing to choose

        var invited = await invitations.InviteAsync(
            Actor,
            OrganizationId,
            Email ?? "",
            [.. In.Select(id => new OrganizationRoles(id, id == OrganizationId ? roles : subRoles))]
        );
        if (invited.Refusal is not { } refusal)
            return this.SeeOther($"{TeamUrl}#invitations");
        Errors.Add(
            refusal,
            ("userEmail", "email", "E-mail address"),
            ("organizationsAndRoles", "organizations", "Where"),
            ("roles", "roles", "Roles")
        );
        Response.StatusCode = refusal.Status;
        return Show(roles, subRoles);
    }

    private PageResult Show(NameSet roles, NameSet subRoles)
    {
        var subs = Organizations.Where(one => one.RootId == OrganizationId).ToList();
        // The organization itself counts toward the limit of an invitation.
        Subs = [.. subs.Take(Invitations.OrganizationsMax - 1)];
        LeftOut = subs.Count - Subs.Count;
        var mayGrantOwner = Permissions.MayGrantOwner(OrganizationAccess);
        (Picker, SubPicker) = (
            new(options.Roles, "roles", roles, NameSet.Empty, mayGrantOwner),
            new(options.Roles, "sub-roles", subRoles, NameSet.Empty, mayGrantOwner)
        );
        return Page();
    }
}
