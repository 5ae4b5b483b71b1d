using Microsoft.AspNetCore.Mvc;

namespace Pakhouse.Server;

/// <summary>My Organization, Profile and Team: what the organization is, and who belongs to it.</summary>
public sealed class TeamModel(Organizations organizations) : OrganizationPage(organizations)
{
    public async Task<IActionResult> OnGetAsync() => await EnterAsync() is { } refused ? refused : Page();
}
