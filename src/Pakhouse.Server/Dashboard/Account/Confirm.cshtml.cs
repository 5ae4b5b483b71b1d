using Microsoft.AspNetCore.Mvc;

namespace Pakhouse.Server;

/// <summary>Asks again who one is, before something is changed that a thief of the session would change first.</summary>
public sealed class ConfirmModel(Organizations organizations, PasswordSignIn signIn, PasskeyCeremony ceremony, Passkeys passkeys, SessionTable table, Users users, PakhouseOptions options) : AccountPage(organizations)
{
    protected override bool NeedsFreshProof => false;

    [BindProperty]
    public string? Password { get; set; }

    [BindProperty]
    public string? Credential { get; set; }

    [BindProperty(SupportsGet = true)]
    public string? From { get; set; }

    public bool HasPassword { get; private set; }

    public string? PasskeyOptions { get; private set; }

    public string? ProviderName => options.OidcAuthority is null ? null : options.OidcName;

    public Task OnGetAsync() => PrepareAsync();

    public async Task<IActionResult> OnPostAsync()
    {
        var proved = string.IsNullOrEmpty(Credential)
            ? await signIn.SignInAsync(Session.Email, Password ?? "", Actor.Address)
            : await ceremony.AnswerAsync(HttpContext, Credential);
        if (proved.Refusal is null && proved.Value.Id != Session.UserId) proved = new Refusal(RefusalCode.InvalidRequest, "This is somebody else's passkey.", "proof of another person");
        if (proved.Refusal is { } refusal)
        {
            await PrepareAsync();
            return Again(refusal);
        }

        await table.ProveAsync(Session.Id);
        return this.SeeOther(ProviderSignIn.Safe(From));
    }

    private async Task PrepareAsync()
    {
        HasPassword = !options.OidcOnly && (await users.FindAsync(Session.UserId))?.PasswordHash is not null;
        if (passkeys.IsOn && (await passkeys.ListAsync(Session.UserId)).Count > 0) PasskeyOptions = await ceremony.AskAsync(HttpContext);
    }
}
