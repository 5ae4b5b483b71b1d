using Microsoft.AspNetCore.Mvc;

namespace Pakhouse.Server;

/// <summary>The confirmation before a passkey is removed.</summary>
public sealed class RemovePasskeyModel(Organizations organizations, Passkeys passkeys) : AccountPage(organizations)
{
    [FromRoute]
    public Guid Id { get; set; }

    public PasskeyEntry Passkey { get; private set; } = null!;

    public async Task<IActionResult> OnGetAsync()
    {
        if ((await passkeys.ListAsync(Session.UserId)).FirstOrDefault(passkey => passkey.Id == Id) is not { } found) return NotFound();
        Passkey = found;
        return Page();
    }

    public async Task<IActionResult> OnPostAsync()
    {
        var removed = await passkeys.RemoveAsync(Actor, Id);
        return removed.Refusal is { } refused ? this.Refuse(refused) : this.SeeOther($"{Home}?done=passkey-removed");
    }
}
