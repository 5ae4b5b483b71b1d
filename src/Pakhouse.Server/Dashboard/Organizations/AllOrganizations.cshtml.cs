using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace Pakhouse.Server;

/// <summary>Every organization that the user sees, with a search, for users who have too many for the switcher.</summary>
public sealed class AllOrganizationsModel(Organizations organizations) : PageModel
{
    public const int PerPage = 50;

    [FromQuery(Name = "find")]
    public string? Find { get; set; }

    [FromQuery(Name = "part")]
    public int Part { get; set; } = 1;

    public IReadOnlyList<SwitcherLine> Lines { get; private set; } = [];

    public Pager Pager { get; private set; } = null!;

    public async Task OnGetAsync()
    {
        var visible = await organizations.ListAsync(SessionCookie.Actor(HttpContext));
        var text = Checks.Normalize(Find ?? "").Trim();
        var found = Switcher.LinesOf([.. visible.Where(one => one.Name.Contains(text, StringComparison.OrdinalIgnoreCase))], Guid.Empty);
        Pager = Pager.Of(Part, PerPage, found.Count, "Pages of organizations", Request.Query);
        Lines = [.. found.Skip(Pager.First).Take(Pager.Count)];
    }
}
