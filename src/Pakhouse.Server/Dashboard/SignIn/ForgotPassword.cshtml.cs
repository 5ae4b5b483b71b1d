using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace Pakhouse.Server;

/// <summary>Requests a link to choose a new password. The response is the same for every address.</summary>
public sealed class ForgotPasswordModel(Passwords passwords, PakhouseOptions options) : PageModel
{
    [BindProperty]
    public string? Email { get; set; }

    public bool IsSent { get; private set; }

    public FieldErrors Errors { get; } = new();

    public IActionResult OnGet() => options.OidcOnly ? this.Refuse(PasswordSignIn.ProviderOnly) : Page();

    public async Task<IActionResult> OnPostAsync()
    {
        var requested = await passwords.RequestResetAsync(Email ?? "", HttpContext.Connection.RemoteIpAddress);
        if (requested.Refusal is { } refusal)
        {
            if (refusal == PasswordSignIn.ProviderOnly) return this.Refuse(refusal);
            Errors.Add(refusal);
            Response.StatusCode = refusal.Status;
            if (refusal.RetryAfterSeconds is { } seconds) Response.Headers.RetryAfter = seconds.ToString();
            return Page();
        }

        IsSent = true;
        return Page();
    }
}
