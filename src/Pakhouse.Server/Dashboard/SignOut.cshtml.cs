using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace Pakhouse.Server;

/// <summary>Ends the session, and every other of the same person: a copied cookie ends with it. Open to everybody: signing out of a session that has ended already must not ask to sign in.</summary>
public sealed class SignOutModel(Users users) : PageModel
{
    public IActionResult OnGet() => Redirect("/");

    public async Task<IActionResult> OnPostAsync()
    {
        if (User.Identity!.IsAuthenticated) await users.EndSessionsAsync(Sessions.Actor(HttpContext).UserId!.Value);
        await Sessions.EndAsync(HttpContext);
        return this.SeeOther("/sign-in");
    }
}
