using Microsoft.AspNetCore.Mvc;

namespace Pakhouse.Server;

/// <summary>Authenticates the person again before a change that a thief of the session would make first.</summary>
/// <remarks>As strong as signing in: a password alone is not enough if the account has a second factor.</remarks>
public sealed class ConfirmModel(
    Organizations organizations,
    PasswordSignIn signIn,
    SecondFactor secondFactor,
    PasskeyCeremony ceremony,
    Passkeys passkeys,
    SessionStore table,
    Users users,
    PakhouseOptions options
) : AccountPage(organizations)
{
    protected override bool NeedsFreshProof => false;

    [BindProperty]
    public string? Password { get; set; }

    [BindProperty]
    public string? Code { get; set; }

    [BindProperty]
    public string? Credential { get; set; }

    [BindProperty(SupportsGet = true)]
    public string? From { get; set; }

    public bool HasPassword { get; private set; }

    /// <summary>The account needs a code besides the password.</summary>
    public bool NeedsCode { get; private set; }

    public string? PasskeyOptions { get; private set; }

    public string? ProviderName => options.OidcAuthority is null ? null : options.OidcName;

    public Task OnGetAsync() => PrepareAsync();

    public async Task<IActionResult> OnPostAsync()
    {
        var proved = string.IsNullOrEmpty(Credential)
            ? await ByPasswordAsync()
            : await ceremony.CompleteAssertionAsync(HttpContext, Credential);
        if (proved.Refusal is null && proved.Value.Id != Session.UserId)
            proved = new Refusal(RefusalCode.InvalidRequest, "This passkey belongs to another person.", "proof of another person");
        if (proved.Refusal is { } refusal)
        {
            await PrepareAsync();
            return Redisplay(refusal, ("code", "code", "Code"));
        }

        await table.ProveAsync(Session.Id);
        return this.SeeOther(ProviderSignIn.Safe(From));
    }

    private async Task<Outcome<User>> ByPasswordAsync()
    {
        NeedsCode = (await secondFactor.StateAsync(Session.UserId)).IsOn;
        // Checked before the password, so that no response shows whether the password was correct.
        if (NeedsCode && string.IsNullOrWhiteSpace(Code)) return noCode;
        var proved = await signIn.SignInAsync(Session.Email, Password ?? "", Actor.Address);
        if (!NeedsCode || proved.IsRefused || proved.Value.Id != Session.UserId) return proved;
        var method = await secondFactor.CheckAsync(proved.Value, Code!, Actor.Address);
        return method.Refusal is { } refusal ? refusal : proved;
    }

    private static readonly Refusal noCode = Refusal.At(
        "code",
        RefusalCode.InvalidRequest,
        "enter the code that your authenticator app shows, or a recovery code.",
        "no code"
    );

    private async Task PrepareAsync()
    {
        NeedsCode = (await secondFactor.StateAsync(Session.UserId)).IsOn;
        HasPassword = !options.OidcOnly && (await users.FindAsync(Session.UserId))?.PasswordHash is not null;
        if (passkeys.IsOn && (await passkeys.ListAsync(Session.UserId)).Count > 0)
            PasskeyOptions = await ceremony.BeginAssertionAsync(HttpContext);
    }
}
