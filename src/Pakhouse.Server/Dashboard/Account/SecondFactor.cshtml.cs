using Microsoft.AspNetCore.Mvc;

namespace Pakhouse.Server;

/// <summary>
/// The authenticator app: adding it with a first code, its recovery codes, removing it.
/// <para>Invariant: recovery codes are only in the response of the POST that created them.</para>
/// </summary>
public sealed class SecondFactorModel(Organizations organizations, SecondFactor secondFactor, PakhouseOptions options)
    : AccountPage(organizations)
{
    protected override bool IsOff => options.OidcOnly;

    [BindProperty]
    public string? Offer { get; set; }

    [BindProperty]
    public string? Code { get; set; }

    public SecondFactorState State { get; private set; } = null!;

    /// <summary>The secret for the app, as text and as QR code.</summary>
    public string Secret { get; private set; } = "";

    public string Address { get; private set; } = "";

    /// <summary>Just created; shown once.</summary>
    public IReadOnlyList<string> NewCodes { get; private set; } = [];

    public Task OnGetAsync() => PrepareAsync(null);

    public async Task<IActionResult> OnPostAsync()
    {
        var secret = secondFactor.ReadOffer(Session.UserId, Offer);
        var added = secret is null
            ? Refusal.At(
                "code",
                RefusalCode.InvalidRequest,
                "this form was made for another account. Scan the code that the page shows now.",
                "offer of somebody else"
            )
            : await secondFactor.AddAsync(Actor, secret, Code ?? "");
        return await ShowAsync(added, secret);
    }

    public async Task<IActionResult> OnPostRenewAsync() => await ShowAsync(await secondFactor.RenewCodesAsync(Actor), null);

    public async Task<IActionResult> OnPostRemoveAsync()
    {
        var removed = await secondFactor.RemoveAsync(Actor);
        return removed.Refusal is { } refused ? this.Refuse(refused) : this.SeeOther($"{Home}?done=second-factor-removed");
    }

    /// <summary>Shows the same secret again, because the app may already have it.</summary>
    public override async Task RefillAsync(IReadOnlyDictionary<string, string[]> form)
    {
        await base.RefillAsync(form);
        await PrepareAsync(secondFactor.ReadOffer(Session.UserId, Offer));
    }

    private async Task<IActionResult> ShowAsync(Outcome<string[]> outcome, string? secret)
    {
        if (outcome.Refusal is null) NewCodes = outcome.Value;
        await PrepareAsync(secret);
        return outcome.Refusal is { } refusal ? Redisplay(refusal, ("code", "code", "Code")) : Page();
    }

    /// <param name="secret">The earlier secret, which the app may already have: after a mistyped code nobody should scan again.</param>
    private async Task PrepareAsync(string? secret)
    {
        State = await secondFactor.StateAsync(Session.UserId);
        if (State.IsOn) return;
        (Secret, Offer) = secret is null ? secondFactor.Offer(Session.UserId) : (secret, Offer);
        Address = secondFactor.Address(Session.Email, Secret);
    }
}
