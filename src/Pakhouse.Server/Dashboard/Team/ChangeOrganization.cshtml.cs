using Microsoft.AspNetCore.Mvc;

namespace Pakhouse.Server;

/// <summary>The actions on a whole organization. Each has a confirmation page, which needs no script.</summary>
public sealed class ChangeOrganizationModel(Organizations organizations, Members members, Keys keys, PakhouseOptions options)
    : OrganizationPage(organizations)
{
    private readonly Organizations operations = organizations;

    /// <summary>rename, disable, enable, leave or delete.</summary>
    [FromRoute]
    public string Act { get; set; } = "";

    [BindProperty]
    public string? Name { get; set; }

    public string Verb => char.ToUpperInvariant(Act[0]) + Act[1..];

    private async Task<IActionResult?> EnterActAsync() =>
        await LoadAsync()
        ?? Act switch
        {
            "rename" => Demand(Permission.RenameOrganization),
            "disable" or "enable" => Demand(Permission.DisableOrganization),
            "leave" => Demand(Permission.Leave),
            "delete" => Demand(Permission.DeleteOrganization),
            _ => NotFound(),
        };

    public TimeSpan TokenLifetime => options.TokenLifetime;

    /// <summary>The reader's keys, which end when they leave.</summary>
    public int KeyCount { get; private set; }

    public int SubCount => Organizations.Count(one => one.RootId == OrganizationId);

    public async Task<IActionResult> OnGetAsync()
    {
        if (await EnterActAsync() is { } refused)
            return refused;
        Name = Act == "rename" ? OrganizationAccess.OrganizationName : null;
        return await ShowAsync();
    }

    public async Task<IActionResult> OnPostAsync()
    {
        if (await EnterActAsync() is { } refused)
            return refused;
        var done = Act switch
        {
            "rename" => await operations.RenameAsync(Actor, OrganizationId, Name ?? ""),
            "delete" => await operations.DeleteAsync(Actor, OrganizationId, Name ?? ""),
            "leave" => await members.LeaveAsync(Actor, OrganizationId),
            _ => await operations.SetDisabledAsync(Actor, OrganizationId, Act == "disable"),
        };
        if (done.Refusal is not { } refusal)
            return this.SeeOther(Act is "delete" or "leave" ? "/" : TeamUrl);
        Errors.Add(refusal, ("name", "name", "Name"));
        Response.StatusCode = refusal.Status;
        return await ShowAsync();
    }

    private async Task<IActionResult> ShowAsync()
    {
        if (Act == "leave" && await keys.ListAsync(Actor, OrganizationId) is { IsRefused: false } own)
            KeyCount = own.Value.Count;
        return Page();
    }
}
