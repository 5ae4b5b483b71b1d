using Microsoft.AspNetCore.Http.Extensions;
using Microsoft.AspNetCore.Mvc;

namespace Pakhouse.Server;

/// <summary>
/// My Organization, Profile and Team: the organization, its sub-organizations, its members and its invitations.
/// </summary>
public sealed class TeamModel(Organizations organizations, Members members, Invitations invitations, TimeProvider clock)
    : OrganizationPage(organizations)
{
    public const int SubsShownMax = 20;
    public const int InvitationsPerPage = 50;

    private readonly Organizations operations = organizations;

    /// <summary>The name of a new sub-organization.</summary>
    [BindProperty]
    public string? Name { get; set; }

    [FromQuery(Name = "search")]
    public string? Search { get; set; }

    [FromQuery(Name = "after")]
    public Guid? After { get; set; }

    /// <summary>The page of the invitations.</summary>
    [FromQuery(Name = "part")]
    public int Part { get; set; } = 1;

    public DateTimeOffset Now { get; } = clock.GetUtcNow();

    public MemberPage People { get; private set; } = new([], null);

    /// <summary>Null: this reader may not see them.</summary>
    public IReadOnlyList<Invitation>? Invitations { get; private set; }

    public Pager Pager { get; private set; } = null!;

    public IReadOnlyList<Organization> Subs => [.. Organizations.Where(one => one.RootId == OrganizationId)];

    /// <summary>The link to a page of members, with the search.</summary>
    public string PeopleUrl(Guid? after)
    {
        var query = new QueryBuilder();
        if (!string.IsNullOrEmpty(Search)) query.Add("search", Search);
        if (after is { } id) query.Add("after", id.ToString());
        return $"{TeamUrl}{query}#members";
    }

    public async Task<IActionResult> OnGetAsync() => await LoadAsync() is { } refused ? refused : await ShowAsync();

    /// <summary>Creates a sub-organization.</summary>
    public async Task<IActionResult> OnPostAsync()
    {
        if (await LoadAsync() is { } refused) return refused;
        var made = await operations.CreateSubAsync(Actor, OrganizationId, Name ?? "");
        if (made.Refusal is not { } refusal) return this.SeeOther(Section.All[0].Url(made.Value));
        Errors.Add(refusal, ("name", "sub-name", "Name"));
        Response.StatusCode = refusal.Status;
        return await ShowAsync();
    }

    private async Task<IActionResult> ShowAsync()
    {
        var page = await members.PageAsync(Actor, OrganizationId, Search?.Trim() ?? "", After);
        if (page.Refusal is { } refusal)
        {
            Errors.Add(refusal, ("search", "search", "Search"));
            Response.StatusCode = refusal.Status;
        }
        else
        {
            People = page.Value;
        }

        if (May(Permission.SeeInvitations))
        {
            var list = await invitations.ListAsync(Actor, OrganizationId);
            if (list.Refusal is { } refusedList) return this.Refuse(refusedList);
            Pager = Pager.Of(Part, InvitationsPerPage, list.Value.Count, "Pages of invitations", Request.Query, "#invitations");
            Invitations = [.. list.Value.Skip(Pager.First).Take(Pager.Count)];
        }

        return Page();
    }
}
