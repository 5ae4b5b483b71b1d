using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace Pakhouse.Server;

/// <summary>A page inside an organization: the user, their access, and what the frame of every such page shows.</summary>
public abstract class OrganizationPage(Organizations organizations) : PageModel
{
    [FromRoute]
    public Guid OrganizationId { get; set; }

    public OrganizationAccess OrganizationAccess { get; private set; } = null!;

    /// <summary>Every organization that the user sees, for the switcher.</summary>
    public IReadOnlyList<Organization> Organizations { get; private set; } = [];

    public Switcher Switcher => field ??= Switcher.Of(Organizations, OrganizationId);

    /// <summary>This organization, from that list.</summary>
    public Organization Here { get; private set; } = null!;

    public FieldErrors Errors { get; } = new();

    /// <summary>Shows that its keys are suspended. It does not reveal whether a root that the user cannot see is disabled (R9).</summary>
    public bool IsDisabled =>
        Organizations.Any(one => one.DisabledAt is not null && (one.Id == OrganizationId || one.Id == OrganizationAccess.RootId));

    public string TeamUrl => $"/organizations/{OrganizationId}/team";

    /// <summary>Whether to offer an action. It authorizes nothing: the operation asks <see cref="Guard"/> in any case.</summary>
    public bool May(Permission permission) =>
        Permissions.Of(permission) is var row
        && row.Requirement switch
        {
            Requirement.Role => row.Roles.Any(OrganizationAccess.Roles.Contains),
            Requirement.DirectMember => !OrganizationAccess.IsInherited,
            Requirement.Member or Requirement.Person or Requirement.Self => true,
        };

    /// <summary>Fills in the form again as it was sent before the person had to confirm the sign-in.</summary>
    public virtual Task RefillAsync(IReadOnlyDictionary<string, string[]> form)
    {
        FreshSignIn.Fill(this, form);
        return Task.CompletedTask;
    }

    protected Actor Actor => SessionCookie.Actor(HttpContext);

    protected Guid UserId => Actor.UserId!.Value;

    /// <summary>The first step of every handler. Not null: the response, because for this user there is no such organization
    /// (R9).</summary>
    protected async Task<IActionResult?> LoadAsync()
    {
        var found = await organizations.AccessAsync(Actor, OrganizationId);
        if (found.Refusal is { } refused)
            return this.Refuse(refused);
        OrganizationAccess = found.Value;
        Organizations = await organizations.ListAsync(Actor);
        if (Organizations.FirstOrDefault(one => one.Id == OrganizationId) is not { } here)
            return NotFound(); // deleted between the two reads
        Here = here;
        await SessionCookie.NoteOrganizationAsync(HttpContext, OrganizationId);
        return null;
    }

    /// <summary>The same, for a page with a single purpose.</summary>
    protected async Task<IActionResult?> LoadAsync(Permission permission) => await LoadAsync() ?? Demand(permission);

    /// <summary>Null, or the response for a user whom the page's operation would refuse anyway.</summary>
    protected IActionResult? Demand(Permission permission) =>
        May(permission)
            ? null
            : this.Refuse(
                new Refusal(
                    RefusalCode.AccessDenied,
                    Permissions.Of(permission) is { Requirement: Requirement.Role } row
                        ? $"This needs the role {string.Join(" or ", row.Roles)} in this organization. Ask one of its owners."
                        : "This is for direct members of this organization only.",
                    $"page for {permission}"
                )
            );

    /// <summary>For a page about the person: its frame is the person's last organization. False: there is none.</summary>
    protected async Task<bool> EnterLastAsync()
    {
        var (all, last) = (await organizations.ListAsync(Actor), SessionCookie.Of(HttpContext)?.OrganizationId);
        if ((all.FirstOrDefault(one => one.Id == last) ?? (all.Count > 0 ? all[0] : null)) is not { } found)
            return false;
        OrganizationId = found.Id;
        return await LoadAsync() is null;
    }
}

/// <summary>Responses that pages share.</summary>
internal static class PageAnswers
{
    /// <summary>The refusal as a page of its own, which <see cref="Middleware.UseStatusAnswers"/> writes.</summary>
    public static IActionResult Refuse(this PageModel page, Refusal refusal)
    {
        page.HttpContext.Features.Set(refusal);
        return new StatusCodeResult(refusal.Status);
    }

    /// <summary>303: the next request is a GET, so reloading its page sends no form.</summary>
    public static IActionResult SeeOther(this PageModel page, string url)
    {
        page.Response.Headers.Location = url;
        return new StatusCodeResult(StatusCodes.Status303SeeOther);
    }
}
