using Microsoft.AspNetCore.Mvc;

namespace Pakhouse.Server;

/// <summary>One webhook: its events, its secret, and its deliveries.</summary>
public sealed class WebhookModel(Organizations organizations, Webhooks webhooks, WebhookSender sender, TimeProvider clock)
    : OrganizationPage(organizations)
{
    public const int DeliveriesPerPage = 50;

    [FromRoute]
    public Guid Id { get; set; }

    [BindProperty]
    public string? Address { get; set; }

    [BindProperty]
    public IReadOnlyList<string> Events { get; set; } = [];

    [BindProperty]
    public bool Enabled { get; set; }

    /// <summary>The message to send again.</summary>
    [BindProperty]
    public string? Message { get; set; }

    [FromQuery(Name = "part")]
    public int Part { get; set; } = 1;

    /// <summary>The last action; a URL can contain anything, so only known actions are shown.</summary>
    [FromQuery(Name = "done")]
    public string? Done { get; set; }

    public DateTimeOffset Now { get; } = clock.GetUtcNow();

    public Webhook Webhook { get; private set; } = null!;

    public IReadOnlyList<WebhookDelivery> Deliveries { get; private set; } = [];

    public Pager Pager { get; private set; } = null!;

    public WebhookWithSecret? Made { get; private set; }

    private string Self => WebhooksModel.PageUrl(OrganizationId, Id);

    public async Task<IActionResult> OnGetAsync() => await LoadAsync() is { } refused ? refused : await ShowAsync();

    public async Task<IActionResult> OnPostAsync()
    {
        if (await LoadAsync() is { } refused)
            return refused;
        if (Events.Count == 0)
            Errors.Add(WebhooksModel.NoEvents, ("events", "events", "Events"));
        else if (
            (
                await webhooks.UpdateAsync(Actor, OrganizationId, Id, (Address ?? "").Trim(), WebhooksModel.Chosen(Events), Enabled)
            ).Refusal is
            { } refusal
        )
            Errors.Add(refusal, ("url", "url", "Address"), ("events", "events", "Events"));
        return Errors.Any ? await ShowAsync() : this.SeeOther($"{Self}?done=saved");
    }

    public async Task<IActionResult> OnPostTestAsync()
    {
        var sent = await webhooks.TestAsync(Actor, OrganizationId, Id);
        if (sent.Refusal is { } refusal) return this.Refuse(refusal);
        await sender.RunAsync(Id);
        return this.SeeOther($"{Self}?done=sent#deliveries");
    }

    public async Task<IActionResult> OnPostResendAsync()
    {
        var due = await webhooks.ResendAsync(Actor, OrganizationId, Id, Message ?? "");
        if (due.Refusal is { } refusal) return this.Refuse(refusal);
        await sender.RunAsync(Id);
        return this.SeeOther($"{Self}?done=sent#deliveries");
    }

    public async Task<IActionResult> OnPostSecretAsync()
    {
        if (await LoadAsync() is { } refused) return refused;
        var made = await webhooks.RotateSecretAsync(Actor, OrganizationId, Id);
        if (made.Refusal is { } refusal) return this.Refuse(refusal);
        Made = made.Value;
        return await ShowAsync();
    }

    public async Task<IActionResult> OnPostDeleteAsync()
    {
        var deleted = await webhooks.DeleteAsync(Actor, OrganizationId, Id);
        return deleted.Refusal is { } refusal
            ? this.Refuse(refusal)
            : this.SeeOther($"{WebhooksModel.ListUrl(OrganizationId)}?deleted=true");
    }

    private async Task<IActionResult> ShowAsync()
    {
        var found = await webhooks.FindAsync(Actor, OrganizationId, Id);
        if (found.Refusal is { } refused)
            return this.Refuse(refused);
        Webhook = found.Value;
        if (Errors.Any)
            Response.StatusCode = StatusCodes.Status400BadRequest;
        else
            (Address, Events, Enabled) = (
                Webhook.Url,
                Webhook.Events.IsAll ? EventTypes.All : [.. Webhook.Events],
                Webhook.DisabledAt is null
            );

        var deliveries = await webhooks.DeliveriesAsync(
            Actor,
            OrganizationId,
            Id,
            (Math.Clamp(Part, 1, 1_000_000) - 1) * DeliveriesPerPage,
            DeliveriesPerPage
        );
        if (deliveries.Refusal is { } none)
            return this.Refuse(none);
        Pager = Pager.Of(Part, DeliveriesPerPage, deliveries.Value.Total, "Pages of deliveries", Request.Query, "#deliveries");
        Deliveries = deliveries.Value.Part;
        return Page();
    }
}
