using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace Pakhouse.Server;

/// <summary>
/// Ends this session; a copy of its cookie ends with it. Open to everybody: signing out of a session that has ended already must not ask to
/// sign in.
/// </summary>
public sealed class SignOutModel(PakhouseOptions options) : PageModel
{
    public IActionResult OnGet() => Redirect("/");

    public async Task<IActionResult> OnPostAsync()
    {
        var isOfProvider = options.OidcAuthority is not null && SessionCookie.Of(HttpContext)?.Method == SignInMethod.Provider;
        await SessionCookie.EndAsync(HttpContext);
        return this.SeeOther(isOfProvider ? "/sign-in?out=here" : "/sign-in"); // the session there goes on
    }
}
