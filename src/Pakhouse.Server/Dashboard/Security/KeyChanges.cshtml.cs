using Microsoft.AspNetCore.Mvc;

namespace Pakhouse.Server;

/// <summary>
/// All changes that a key made, with an undo for each grant. For a person who has just ended the key, and for owners who were notified of a
/// change.
/// </summary>
public sealed class KeyChangesModel(Organizations organizations, KeyChanges deeds) : OrganizationPage(organizations)
{
    [FromRoute]
    public string KeyId { get; set; } = "";

    [FromQuery(Name = "deleted")]
    public bool IsJustDeleted { get; set; }

    [BindProperty]
    public Guid DeedId { get; set; }

    public IReadOnlyList<KeyDeed> Deeds { get; private set; } = [];

    public static string PageUrl(Guid organizationId, string keyId) => $"{Links.Key(organizationId, keyId)}/changes";

    /// <summary>The page that confirms and then undoes the change; null: a form of this page does it.</summary>
    public string? UndoUrl(KeyDeed deed) => deed.Undo switch
    {
        Undo.RemoveMember => $"/organizations/{deed.OrganizationId}/team/members/{deed.PersonId}/remove",
        Undo.WithdrawInvitation => $"/organizations/{deed.OrganizationId}/team/invitations/{deed.Target}/withdraw",
        Undo.DeleteOrganization => $"/organizations/{deed.OrganizationId}/team/delete",
        Undo.RestoreRoles or Undo.None => null,
    };

    public static string UndoText(Undo undo) => undo switch
    {
        Undo.RemoveMember => "Remove Member",
        Undo.RestoreRoles => "Restore Roles",
        Undo.WithdrawInvitation => "Withdraw Invitation",
        Undo.DeleteOrganization => "Delete Organization",
        Undo.None => "",
    };

    public Task<IActionResult> OnGetAsync() => ShowAsync();

    public async Task<IActionResult> OnPostAsync()
    {
        if (await LoadAsync(Permission.SeeActivity) is { } refused) return refused;
        var restored = await deeds.RestoreRolesAsync(Actor, OrganizationId, KeyId, DeedId);
        if (restored.Refusal is not { } refusal) return this.SeeOther(PageUrl(OrganizationId, KeyId));
        Errors.Add(refusal);
        Response.StatusCode = refusal.Status;
        return await ShowAsync();
    }

    private async Task<IActionResult> ShowAsync()
    {
        if (await LoadAsync(Permission.SeeActivity) is { } refused) return refused;
        var list = await deeds.ListAsync(Actor, OrganizationId, KeyId);
        if (list.Refusal is { } refusal) return this.Refuse(refusal);
        Deeds = list.Value;
        return Page();
    }
}
