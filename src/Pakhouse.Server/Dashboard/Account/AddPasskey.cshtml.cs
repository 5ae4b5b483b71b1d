using Microsoft.AspNetCore.Mvc;

namespace Pakhouse.Server;

/// <summary>Adds a passkey of the current browser. Passkeys need scripts.</summary>
public sealed class AddPasskeyModel(Organizations organizations, PasskeyCeremony ceremony, Passkeys passkeys) : AccountPage(organizations)
{
    protected override bool IsOff => !passkeys.IsOn;

    [BindProperty]
    public string? Name { get; set; }

    [BindProperty]
    public string? Credential { get; set; }

    public string PasskeyOptions { get; private set; } = "";

    public async Task OnGetAsync()
    {
        Name = AccountModel.BrowserName(Request.Headers.UserAgent.ToString());
        PasskeyOptions = await ceremony.BeginRegistrationAsync(HttpContext, Session);
    }

    public async Task<IActionResult> OnPostAsync()
    {
        var added = await ceremony.CompleteRegistrationAsync(HttpContext, Session, Name ?? "", Credential);
        if (added.Refusal is null) return this.SeeOther($"{Home}?done=passkey-added");
        PasskeyOptions = await ceremony.BeginRegistrationAsync(HttpContext, Session);
        return Redisplay(added.Refusal, ("name", "name", "Name"));
    }
}
