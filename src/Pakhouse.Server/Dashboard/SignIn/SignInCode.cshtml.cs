using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace Pakhouse.Server;

/// <summary>The second step: a code. It needs the cookie that follows a correct password.</summary>
public sealed class SignInCodeModel(SecondFactor secondFactor, SignInStateCookies steps, Users users) : PageModel
{
    [BindProperty]
    public string? Code { get; set; }

    [BindProperty(SupportsGet = true)]
    public string? From { get; set; }

    public FieldErrors Errors { get; } = new();

    public async Task<IActionResult> OnGetAsync() => await FindAsync() is null ? Redirect("/sign-in") : Page();

    public async Task<IActionResult> OnPostAsync()
    {
        if (await FindAsync() is not { } user)
            return this.SeeOther("/sign-in");
        var method = await secondFactor.CheckAsync(user, Code ?? "", HttpContext.Connection.RemoteIpAddress);
        if (method.Refusal is { } refusal)
        {
            Errors.Add(refusal);
            Response.StatusCode = refusal.Code == RefusalCode.SlowDown ? refusal.Status : StatusCodes.Status400BadRequest;
            if (refusal.RetryAfterSeconds is { } seconds)
                Response.Headers.RetryAfter = seconds.ToString();
            return Page();
        }

        steps.Clear(HttpContext, SignInStateCookies.Code);
        await SessionCookie.BeginAsync(HttpContext, user, method.Value);
        return this.SeeOther(ProviderSignIn.Safe(From));
    }

    /// <summary>The user whose password was just verified and is still the same.</summary>
    private async Task<User?> FindAsync() =>
        steps.Read(HttpContext, SignInStateCookies.Code)?.Split(' ') is [var id, var stamp]
        && await users.FindAsync(Guid.Parse(id)) is { DisabledAt: null } user
        && user.SecurityStamp == stamp
            ? user
            : null;
}
