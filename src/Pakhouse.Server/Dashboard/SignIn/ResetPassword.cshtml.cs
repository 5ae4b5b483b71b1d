using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace Pakhouse.Server;

/// <summary>The page of the mail's link. Opening it does not use the link, because programs that check mails open it too.</summary>
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
            await SessionCookie.EndAsync(HttpContext); // of any person: the next sign-in uses the new password
        return this.SeeOther("/sign-in?reset=true");
    }
}
