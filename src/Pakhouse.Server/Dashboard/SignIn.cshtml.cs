using System.Text;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace Pakhouse.Server;

/// <summary>Sign-in with e-mail address and password.</summary>
public sealed class SignInModel(PasswordSignIn signIn, Users users) : PageModel
{
    [BindProperty]
    public string? Email { get; set; }

    [BindProperty]
    public string? Password { get; set; }

    /// <summary>Where to go afterwards. The caller's word: followed only inside this server.</summary>
    [BindProperty(SupportsGet = true)]
    public string? From { get; set; }

    public FieldErrors Errors { get; } = new();

    /// <summary>Nobody can sign in yet: the set-up address is in the server's output.</summary>
    public bool IsFirstStart { get; private set; }

    public async Task<IActionResult> OnGetAsync()
    {
        if (User.Identity!.IsAuthenticated) return Redirect("/");
        IsFirstStart = !await users.AnyAsync();
        return Page();
    }

    public async Task<IActionResult> OnPostAsync()
    {
        var signedIn = await signIn.SignInAsync(Email ?? "", Password ?? "", HttpContext.Connection.RemoteIpAddress);
        if (signedIn.Refusal is { } refusal)
        {
            Errors.Add(refusal);
            // 403 would be for somebody known; here nobody is.
            Response.StatusCode = refusal.Code == RefusalCode.SlowDown ? refusal.Status : StatusCodes.Status400BadRequest;
            if (refusal.RetryAfterSeconds is { } seconds) Response.Headers.RetryAfter = seconds.ToString();
            return Page();
        }

        await Sessions.BeginAsync(HttpContext, signedIn.Value, SignInMethod.Password);
        return this.SeeOther(Url.IsLocalUrl(From) && Ascii.IsValid(From) ? From : "/");
    }
}
