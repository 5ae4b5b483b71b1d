using Microsoft.AspNetCore.Http.Extensions;
using Microsoft.AspNetCore.Mvc;

namespace Pakhouse.Server;

/// <summary>All keys of an organization for those who manage them, and the confirmation before an action on many keys.</summary>
public sealed class InventoryModel(Organizations organizations, Inventory inventory, KeyChanges deeds, TimeProvider clock)
    : OrganizationPage(organizations)
{
    [FromQuery(Name = "filter")]
    public string? Filter { get; set; }

    [FromQuery(Name = "search")]
    public string? Search { get; set; }

    [FromQuery(Name = "after")]
    public string? After { get; set; }

    /// <summary>The number of keys that were just changed.</summary>
    [FromQuery(Name = "done")]
    public int? Done { get; set; }

    /// <summary>The keys among them that had made changes with their permissions.</summary>
    [FromQuery(Name = "changed")]
    public IReadOnlyList<string> Changed { get; set; } = [];

    [BindProperty]
    public IReadOnlyList<string> KeyIds { get; set; } = [];

    [BindProperty]
    public string? Action { get; set; }

    [BindProperty]
    public bool Confirmed { get; set; }

    public KeyFilter Known { get; private set; }

    public IReadOnlyList<InventoryKey> Rows { get; private set; } = [];

    /// <summary>The action to confirm.</summary>
    public KeyAction? Confirming { get; private set; }

    public DateTimeOffset Now { get; } = clock.GetUtcNow();

    public bool IsNarrowed => Known != KeyFilter.All || !string.IsNullOrWhiteSpace(Search);

    public string FilterQuery => Query(null);

    public string? NextUrl => Rows.Count == Inventory.PageLength ? Query(Rows[^1].Cursor) : null;

    public IReadOnlyDictionary<KeyFilter, string> Titles { get; } =
        new Dictionary<KeyFilter, string>
        {
            [KeyFilter.All] = "All keys",
            [KeyFilter.NeverUsed] = "Never used",
            [KeyFilter.Unused] = $"Unused for {Inventory.UnusedDays} days",
            [KeyFilter.Expiring] = $"Expire within {Inventory.ExpiringDays} days",
            [KeyFilter.Expired] = "Expired",
            [KeyFilter.NoExpiry] = "Without expiry",
            [KeyFilter.BeyondPolicy] = "Beyond policy",
            [KeyFilter.HolderInactive] = "Holder inactive",
            [KeyFilter.Suspended] = "Suspended",
            [KeyFilter.ApiKeys] = "API keys",
        };

    public static string Verb(KeyAction action) =>
        action switch
        {
            KeyAction.Delete => "Delete",
            KeyAction.Suspend => "Suspend",
            KeyAction.Resume => "Resume",
        };

    public async Task<IActionResult> OnGetAsync() => await LoadAsync() is { } refused ? refused : await ShowAsync();

    public async Task<IActionResult> OnPostAsync()
    {
        if (await LoadAsync() is { } refused)
            return refused;
        KeyAction? action = Action switch
        {
            "Delete" => KeyAction.Delete,
            "Suspend" => KeyAction.Suspend,
            "Resume" => KeyAction.Resume,
            _ => null,
        };
        KeyIds = [.. KeyIds.Where(id => KeyFormat.IsId(id)).Distinct(StringComparer.Ordinal).Take(Inventory.KeysMax)];
        if (action is null || KeyIds.Count == 0)
        {
            Errors.Add("Choose at least one key, then what to do to it.");
            Response.StatusCode = StatusCodes.Status400BadRequest;
            return await ShowAsync();
        }

        if (!Confirmed)
        {
            // A caller who may not list the keys gets no confirmation page either.
            if ((await inventory.ListAsync(Actor, OrganizationId, new(), 1)).Refusal is { } notTheirs)
                return this.Refuse(notTheirs);
            Confirming = action;
            return Page();
        }

        var done = await inventory.ActAsync(Actor, OrganizationId, action.Value, KeyIds);
        if (done.Refusal is { } refusal)
            return this.Refuse(refusal);
        var changed = action == KeyAction.Delete ? await deeds.WhichDidAnythingAsync(Actor, OrganizationId, KeyIds) : [];
        return this.SeeOther(
            $"/organizations/{OrganizationId}/keys?done={done.Value.Count}{string.Concat(changed.Select(id => $"&changed={id}"))}"
        );
    }

    private async Task<IActionResult> ShowAsync()
    {
        Known = InventoryEndpoints.ReadFilter(Filter) ?? KeyFilter.All;
        var page = await inventory.ListAsync(Actor, OrganizationId, new(Known, Search ?? "", After ?? ""), Inventory.PageLength);
        if (page.Refusal is { } refused)
            return this.Refuse(refused);
        Rows = page.Value;
        Changed = [.. Changed.Where(id => KeyFormat.IsId(id))];
        return Page();
    }

    private string Query(string? after)
    {
        var query = new QueryBuilder();
        if (Known != KeyFilter.All)
            query.Add("filter", Api.Name(Known));
        if (!string.IsNullOrWhiteSpace(Search))
            query.Add("search", Search);
        if (after is not null)
            query.Add("after", after);
        return query.ToQueryString().ToString() is { Length: > 0 } text ? text
            : after is null ? ""
            : "?";
    }
}
