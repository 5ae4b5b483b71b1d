using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace Pakhouse.Server;

/// <summary>The start: the first organization of the user, or, for a user of none, the ways to one.</summary>
public sealed class IndexModel(Organizations organizations) : PageModel
{
    public async Task<IActionResult> OnGetAsync()
    {
        var visible = await organizations.ListAsync(SessionCookie.Actor(HttpContext));
        return visible.Count > 0 ? Redirect(Links.Security(visible[0].Id)) : Page();
    }
}
