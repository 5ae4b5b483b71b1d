using Microsoft.AspNetCore.Http.Extensions;
using Microsoft.AspNetCore.Mvc;

namespace Pakhouse.Server;

/// <summary>My Organization, Organization Activity: the audit record of the organization.</summary>
public class ActivityModel(Organizations organizations, ActivityFeed feed, TimeProvider clock) : OrganizationPage(organizations)
{
    [FromQuery(Name = "from")]
    public string? From { get; set; }

    [FromQuery(Name = "to")]
    public string? To { get; set; }

    [FromQuery(Name = "organization")]
    public string? Organization { get; set; }

    [FromQuery(Name = "action")]
    public string? Action { get; set; }

    [FromQuery(Name = "person")]
    public string? Person { get; set; }

    [FromQuery(Name = "before")]
    public string? Before { get; set; }

    public virtual bool IsAuth => false;

    public DateTimeOffset Now { get; } = clock.GetUtcNow();

    public ActivityPage Shown { get; private set; } = new([], null, false);

    /// <summary>The sub-organizations of a root that the reader can see.</summary>
    public IEnumerable<Organization> Below => Organizations.Where(one => one.RootId == OrganizationId);

    public bool IsFiltered => new[] { From, To, Organization, Action, Person }.Any(text => !string.IsNullOrEmpty(text));

    public string CsvUrl => $"/identity/v1/organizations/{OrganizationId}/activity.csv{Query(IsAuth ? ("kind", "auth") : null)}";

    public string OlderUrl => Query(("before", Shown.Next.ToString()!));

    public string NewestUrl => Query(null) is { Length: > 0 } query ? query : Request.Path;

    public async Task<IActionResult> OnGetAsync()
    {
        if (await LoadAsync() is { } refused)
            return refused;
        var filter = ActivityFilter.Read(IsAuth, From, To, Organization, Action, Person, Before);
        if (filter.Refusal is { } refusal)
        {
            Errors.Add(
                refusal,
                ("from", "from", "From"),
                ("to", "to", "To"),
                ("organization", "organization", "Organization"),
                ("action", "action", "Action"),
                ("person", "person", "Person")
            );
            Response.StatusCode = refusal.Status;
            return Page();
        }

        var page = await feed.PageAsync(Actor, OrganizationId, filter.Value);
        if (page.Refusal is { } refusedPage)
            return this.Refuse(refusedPage);
        Shown = page.Value;
        return Page();
    }

    /// <summary>The current filters and one more.</summary>
    private string Query((string Name, string Value)? more)
    {
        var query = new QueryBuilder();
        foreach (
            var (name, value) in new[]
            {
                ("from", From),
                ("to", To),
                ("organization", Organization),
                ("action", Action),
                ("person", Person),
            }
        )
            if (!string.IsNullOrEmpty(value))
                query.Add(name, value);
        if (more is var (extra, its))
            query.Add(extra, its);
        return query.ToString();
    }
}

/// <summary>My Organization, Auth Activity: the audit record of sign-ins.</summary>
public sealed class AuthActivityModel(Organizations organizations, ActivityFeed feed, TimeProvider clock)
    : ActivityModel(organizations, feed, clock)
{
    public override bool IsAuth => true;
}
