using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace Pakhouse.Server;

/// <summary>
/// Ends this session; every copy of its cookie ends with it. It requires no session, because signing out of an ended session must not
/// require a sign-in.
/// </summary>
public sealed class SignOutModel(PakhouseOptions options) : PageModel
{
    public IActionResult OnGet() => Redirect("/");

    public async Task<IActionResult> OnPostAsync()
    {
        var isOfProvider = options.OidcAuthority is not null && SessionCookie.Of(HttpContext)?.Method == SignInMethod.Provider;
        await SessionCookie.EndAsync(HttpContext);
        return this.SeeOther(isOfProvider ? "/sign-in?out=here" : "/sign-in"); // the session at the provider continues
    }
}
