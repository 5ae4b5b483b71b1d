using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace Pakhouse.Server;

/// <summary>The start page: the user's first organization, or, without any, how to get one.</summary>
public sealed class IndexModel(Organizations organizations) : PageModel
{
    public async Task<IActionResult> OnGetAsync()
    {
        var visible = await organizations.ListAsync(SessionCookie.Actor(HttpContext));
        return visible.Count > 0 ? Redirect(Links.Security(visible[0].Id)) : Page();
    }
}
