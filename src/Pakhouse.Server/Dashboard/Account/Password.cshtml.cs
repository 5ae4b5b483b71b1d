using Microsoft.AspNetCore.Mvc;

namespace Pakhouse.Server;

/// <summary>Changes the password with the old one.</summary>
public sealed class PasswordModel(Organizations organizations, Passwords passwords, PakhouseOptions options) : AccountPage(organizations)
{
    protected override bool NeedsFreshProof => false; // the form contains the old password

    protected override bool IsOff => options.OidcOnly;

    [BindProperty]
    public string? OldPassword { get; set; }

    [BindProperty]
    public string? NewPassword { get; set; }

    public int PasswordLengthMin => options.PasswordLengthMin;

    public void OnGet()
    {
    }

    public async Task<IActionResult> OnPostAsync()
    {
        var changed = await passwords.ChangeAsync(Actor, Session, OldPassword ?? "", NewPassword ?? "");
        return changed.Refusal is { } refusal
            ? Redisplay(refusal, ("old-password", "old-password", "Current password"), ("password", "new-password", "New password"))
            : this.SeeOther($"{Home}?done=password");
    }
}
