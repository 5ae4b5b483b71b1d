using Microsoft.AspNetCore.Mvc;

namespace Pakhouse.Server;

/// <summary>A pending invitation: change its roles, send it again, withdraw it.</summary>
public sealed class InvitationModel(Organizations organizations, Invitations invitations, PakhouseOptions options)
    : OrganizationPage(organizations)
{
    /// <summary>An id and not the e-mail address, which must not be in a URL.</summary>
    [FromRoute]
    public Guid InvitationId { get; set; }

    /// <summary>change, withdraw or send-again.</summary>
    [FromRoute]
    public string Act { get; set; } = "";

    public Invitation Invitation { get; private set; } = null!;

    public IReadOnlyList<(OrganizationRoles Part, RolePicker Picker)> Pickers { get; private set; } = [];

    public async Task<IActionResult> OnGetAsync()
    {
        if (await FindAsync() is { } refused) return refused;
        Show(part => part.Roles);
        return Page();
    }

    public async Task<IActionResult> OnPostAsync()
    {
        if (await FindAsync() is { } refused)
            return refused;
        var refusal = Act switch
        {
            "change" => (
                await invitations.SetRolesAsync(
                    Actor,
                    OrganizationId,
                    Invitation.Email,
                    [.. Invitation.OrganizationsAndRoles.Select(part => new OrganizationRoles(part.OrganizationId, Read(part)))]
                )
            ).Refusal,
            "withdraw" => (await invitations.WithdrawAsync(Actor, OrganizationId, Invitation.Email)).Refusal,
            _ => (await invitations.SendAgainAsync(Actor, OrganizationId, Invitation.Email)).Refusal,
        };
        if (refusal is null)
            return this.SeeOther($"{TeamUrl}#invitations");
        Errors.Add(refusal);
        Response.StatusCode = refusal.Status;
        Show(Read);
        return Page();
    }

    private NameSet Read(OrganizationRoles part) => RolePicker.Read(Request.Form, Prefix(part));

    private static string Prefix(OrganizationRoles part) => $"roles-{part.OrganizationId}";

    private async Task<IActionResult?> FindAsync()
    {
        if (await LoadAsync(Permission.InviteMember) is { } refused)
            return refused;
        if (Act is not ("change" or "withdraw" or "send-again"))
            return NotFound();
        var list = await invitations.ListAsync(Actor, OrganizationId);
        if (list.Refusal is { } refusal)
            return this.Refuse(refusal);
        if (list.Value.FirstOrDefault(one => one.Id == InvitationId) is not { } found)
            return this.Refuse(
                new Refusal(RefusalCode.NotFound, "There is no such invitation: it was accepted or withdrawn.", "no such invitation")
            );
        Invitation = found;
        return null;
    }

    private void Show(Func<OrganizationRoles, NameSet> chosen) =>
        Pickers = [
            .. Invitation.OrganizationsAndRoles.Select(part =>
                (part, new RolePicker(options.Roles, Prefix(part), chosen(part), part.Roles, Permissions.MayGrantOwner(OrganizationAccess)))
            ),
        ];
}
