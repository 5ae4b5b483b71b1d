using Microsoft.AspNetCore.Mvc;

namespace Pakhouse.Server;

/// <summary>The webhooks of an organization, and the form that creates one.</summary>
/// <remarks>As for keys, a secret is only in the response of the POST that created it.</remarks>
public sealed class WebhooksModel(Organizations organizations, Webhooks webhooks, TimeProvider clock) : OrganizationPage(organizations)
{
    [BindProperty]
    public string? Address { get; set; }

    [BindProperty]
    public IReadOnlyList<string> Events { get; set; } = [];

    /// <summary>The id of the one that was just deleted.</summary>
    [FromQuery(Name = "deleted")]
    public bool IsDeleted { get; set; }

    public DateTimeOffset Now { get; } = clock.GetUtcNow();

    public IReadOnlyList<Webhook> All { get; private set; } = [];

    public WebhookWithSecret? Made { get; private set; }

    public bool IsFull => All.Count >= Server.Webhooks.PerOrganizationMax;

    public static string ListUrl(Guid organizationId) => $"/organizations/{organizationId}/webhooks";

    public static string PageUrl(Guid organizationId, Guid id) => $"{ListUrl(organizationId)}/{id}";

    public async Task<IActionResult> OnGetAsync()
    {
        if (await LoadAsync() is { } refused) return refused;
        Events = EventTypes.All;
        return await ShowAsync();
    }

    public async Task<IActionResult> OnPostAsync()
    {
        if (await LoadAsync() is { } refused) return refused;
        if (Events.Count == 0) Errors.Add(NoEvents, ("events", "events", "Events"));
        else
        {
            var made = await webhooks.CreateAsync(Actor, OrganizationId, (Address ?? "").Trim(), Chosen(Events));
            if (made.Refusal is { } refusal) Errors.Add(refusal, ("url", "url", "Address"), ("events", "events", "Events"));
            else (Made, Address, Events) = (made.Value, null, EventTypes.All);
        }

        return await ShowAsync(Errors.Any ? StatusCodes.Status400BadRequest : StatusCodes.Status200OK);
    }

    internal static readonly Refusal NoEvents = Refusal.At("events", RefusalCode.InvalidRequest, "choose at least one.", "no event chosen");

    /// <summary>All events are stored as no limit, so an event of a later version is included.</summary>
    internal static NameSet Chosen(IReadOnlyList<string> events) => EventTypes.All.All(events.Contains) ? NameSet.All : NameSet.Of(events);

    private async Task<IActionResult> ShowAsync(int status = StatusCodes.Status200OK)
    {
        var list = await webhooks.ListAsync(Actor, OrganizationId);
        if (list.Refusal is { } refused) return this.Refuse(refused);
        All = list.Value;
        Response.StatusCode = status;
        return Page();
    }
}
