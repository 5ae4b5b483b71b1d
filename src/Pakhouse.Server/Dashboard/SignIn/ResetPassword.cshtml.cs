using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace Pakhouse.Server;

/// <summary>Where the link of the mail leads. Looking at it uses nothing up: programs that check mails look, too.</summary>
public sealed class ResetPasswordModel(Passwords passwords, PakhouseOptions options) : PageModel
{
    [BindProperty(SupportsGet = true)]
    public string? Code { get; set; }

    [BindProperty]
    public string? Password { get; set; }

    public int PasswordLengthMin => options.PasswordLengthMin;

    public FieldErrors Errors { get; } = new();

    public async Task<IActionResult> OnGetAsync() =>
        await passwords.IsLinkGoodAsync(Code ?? "") ? Page() : this.Refuse(Passwords.LinkRefused);

    public async Task<IActionResult> OnPostAsync()
    {
        var reset = await passwords.ResetAsync(Code ?? "", Password ?? "", HttpContext.Connection.RemoteIpAddress);
        if (reset.Refusal is { Code: RefusalCode.NotFound } refused)
            return this.Refuse(refused);
        if (reset.Refusal is { } refusal)
        {
            Errors.Add(refusal, ("password", "password", "New password"));
            Response.StatusCode = refusal.Status;
            return Page();
        }

        if (User.Identity!.IsAuthenticated)
            await SessionCookie.EndAsync(HttpContext); // whoever's: the next to sign in is the one with the new password
        return this.SeeOther("/sign-in?reset=true");
    }
}
