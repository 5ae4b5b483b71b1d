using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace Pakhouse.Server;

/// <summary>A page inside an organization: who asks, where they stand, and what the frame around every such page shows.</summary>
public abstract class OrganizationPage(Organizations organizations) : PageModel
{
    [FromRoute]
    public Guid OrganizationId { get; set; }

    public Standpoint Standpoint { get; private set; } = null!;

    /// <summary>Every organization that the user sees, for the switcher.</summary>
    public IReadOnlyList<Organization> Organizations { get; private set; } = [];

    public Switcher Switcher => field ??= Switcher.Of(Organizations, OrganizationId);

    /// <summary>This organization as the list has it.</summary>
    public Organization Here { get; private set; } = null!;

    public FieldErrors Errors { get; } = new();

    /// <summary>Says so when its keys are suspended. Whether a root that the user does not see is disabled is not told (R9).</summary>
    public bool IsDisabled => Organizations.Any(one => one.DisabledAt is not null && (one.Id == OrganizationId || one.Id == Standpoint.RootId));

    public static string SecurityUrl(Guid organizationId) => $"/organizations/{organizationId}/security";

    protected Actor Actor => Sessions.Actor(HttpContext);

    protected Guid UserId => Actor.UserId!.Value;

    /// <summary>The first step of every handler. Not null: the answer, because for this user there is no such organization (R9).</summary>
    protected async Task<IActionResult?> EnterAsync()
    {
        var found = await organizations.StandpointAsync(Actor, OrganizationId);
        if (found.Refusal is { } refused) return this.Refuse(refused);
        Standpoint = found.Value;
        Organizations = await organizations.ListAsync(Actor);
        if (Organizations.FirstOrDefault(one => one.Id == OrganizationId) is not { } here) return NotFound(); // gone between the two questions
        Here = here;
        return null;
    }
}

/// <summary>Answers that pages share.</summary>
internal static class PageAnswers
{
    /// <summary>The refusal as a page of its own, in words; <see cref="Edge.UseStatusAnswers"/> writes it.</summary>
    public static IActionResult Refuse(this PageModel page, Refusal refusal)
    {
        page.HttpContext.Features.Set(refusal);
        return new StatusCodeResult(refusal.Status);
    }

    /// <summary>303: the next request is a GET, and reloading what it shows sends no form.</summary>
    public static IActionResult SeeOther(this PageModel page, string url)
    {
        page.Response.Headers.Location = url;
        return new StatusCodeResult(StatusCodes.Status303SeeOther);
    }
}
