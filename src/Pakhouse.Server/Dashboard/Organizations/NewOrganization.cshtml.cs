using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace Pakhouse.Server;

/// <summary>A person creates a root organization.</summary>
public sealed class NewOrganizationModel(Organizations organizations) : PageModel
{
    [BindProperty]
    public string? Name { get; set; }

    public FieldErrors Errors { get; } = new();

    public void OnGet()
    {
    }

    public async Task<IActionResult> OnPostAsync()
    {
        var made = await organizations.CreateRootAsync(SessionCookie.Actor(HttpContext), Name ?? "");
        if (made.Refusal is not { } refusal) return this.SeeOther(Section.All[0].Url(made.Value));
        Errors.Add(refusal, ("name", "name", "Organization name"));
        Response.StatusCode = refusal.Status;
        return Page();
    }
}
