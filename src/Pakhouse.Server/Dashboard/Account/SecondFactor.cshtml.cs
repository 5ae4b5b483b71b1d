using Microsoft.AspNetCore.Mvc;

namespace Pakhouse.Server;

/// <summary>
/// The authenticator app: added with a first code, its recovery codes, its end.
/// <para>Invariant: recovery codes are in the answer of the POST that made them, and nowhere else.</para>
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

    /// <summary>The secret as an app takes it, by hand and by QR code.</summary>
    public string Secret { get; private set; } = "";

    public string Address { get; private set; } = "";

    /// <summary>Just made; shown once.</summary>
    public IReadOnlyList<string> NewCodes { get; private set; } = [];

    public Task OnGetAsync() => PrepareAsync(null);

    public async Task<IActionResult> OnPostAsync()
    {
        var secret = secondFactor.ReadOffer(Session.UserId, Offer);
        var added = secret is null
            ? new Refusal(
                RefusalCode.InvalidRequest,
                "code: this page was not made for you. Scan the code that it shows now.",
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

    /// <summary>The app may have the secret already: it is offered again.</summary>
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

    /// <param name="secret">Offered before, and perhaps in the app already: a mistyped code must not ask to scan again.</param>
    private async Task PrepareAsync(string? secret)
    {
        State = await secondFactor.StateAsync(Session.UserId);
        if (State.IsOn) return;
        (Secret, Offer) = secret is null ? secondFactor.Offer(Session.UserId) : (secret, Offer);
        Address = secondFactor.Address(Session.Email, Secret);
    }
}
