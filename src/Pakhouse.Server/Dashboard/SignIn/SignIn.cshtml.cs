using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace Pakhouse.Server;

/// <summary>The ways to sign in that this server has: address and password, a passkey, the platform's own provider.</summary>
public sealed class SignInModel(
    PasswordSignIn signIn,
    SecondFactor secondFactor,
    PasskeyCeremony ceremony,
    Passkeys passkeys,
    SignInStateCookies steps,
    Users users,
    PakhouseOptions options
) : PageModel
{
    [BindProperty]
    public string? Email { get; set; }

    [BindProperty]
    public string? Password { get; set; }

    /// <summary>The signed response of a passkey.</summary>
    [BindProperty]
    public string? Credential { get; set; }

    /// <summary>Where to go afterwards. It comes from the caller, so only paths inside this server are followed.</summary>
    [BindProperty(SupportsGet = true)]
    public string? From { get; set; }

    [FromQuery(Name = "reset")]
    public bool WasReset { get; set; }

    /// <summary>Where the person has just signed out: <c>here</c>, or also at the <c>provider</c>.</summary>
    [FromQuery(Name = "out")]
    public string? Out { get; set; }

    public FieldErrors Errors { get; } = new();

    /// <summary>There is no user yet; the set-up URL is in the server's output.</summary>
    public bool IsFirstStart { get; private set; }

    public string? PasskeyOptions { get; private set; }

    public PakhouseOptions Options => options;

    public async Task<IActionResult> OnGetAsync()
    {
        if (User.Identity!.IsAuthenticated) return Redirect("/");
        return await ShowAsync();
    }

    public async Task<IActionResult> OnPostAsync()
    {
        var signedIn = await signIn.SignInAsync(Email ?? "", Password ?? "", HttpContext.Connection.RemoteIpAddress);
        if (signedIn.Refusal is { } refusal) return await RefusedAsync(refusal);

        var user = signedIn.Value;
        if ((await secondFactor.StateAsync(user.Id)).IsOn)
        {
            steps.Set(HttpContext, SignInStateCookies.Code, $"{user.Id} {user.SecurityStamp}");
            return this.SeeOther($"/sign-in/code?from={Uri.EscapeDataString(ProviderSignIn.Safe(From))}");
        }

        await SessionCookie.BeginAsync(HttpContext, user, SignInMethod.Password);
        return this.SeeOther(ProviderSignIn.Safe(From));
    }

    public async Task<IActionResult> OnPostPasskeyAsync()
    {
        var signedIn = await ceremony.CompleteAssertionAsync(HttpContext, Credential);
        if (signedIn.Refusal is { } refusal) return await RefusedAsync(refusal);
        await SessionCookie.BeginAsync(HttpContext, signedIn.Value, SignInMethod.Passkey);
        return this.SeeOther(ProviderSignIn.Safe(From));
    }

    private async Task<IActionResult> ShowAsync()
    {
        IsFirstStart = !await users.AnyAsync();
        if (passkeys.IsOn && !IsFirstStart) PasskeyOptions = await ceremony.BeginAssertionAsync(HttpContext);
        return Page();
    }

    private async Task<IActionResult> RefusedAsync(Refusal refusal)
    {
        if (refusal == PasswordSignIn.ProviderOnly) return this.Refuse(refusal);
        Errors.Add(refusal);
        await ShowAsync();
        // Not 403, which is for an authenticated caller.
        var isLater = refusal.Code is RefusalCode.SlowDown or RefusalCode.TemporarilyUnavailable;
        Response.StatusCode = isLater ? refusal.Status : StatusCodes.Status400BadRequest;
        if (refusal.RetryAfterSeconds is { } seconds) Response.Headers.RetryAfter = seconds.ToString();
        return Page();
    }
}
