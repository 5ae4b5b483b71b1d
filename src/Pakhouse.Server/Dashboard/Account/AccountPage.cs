using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.Filters;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace Pakhouse.Server;

/// <summary>
/// A page about how a person signs in, outside any organization; its frame is the person's last organization.
/// <para>Invariant: no handler of such a page runs before the person has just authenticated, unless the page declares that it changes
/// nothing that a thief of the session would want. Only a session can open it, never a token (R7).</para>
/// </summary>
public abstract class AccountPage(Organizations organizations) : OrganizationPage(organizations)
{
    public const string Home = "/account";

    protected virtual bool NeedsFreshProof => true;

    /// <summary>The subject of the page is turned off on this server.</summary>
    protected virtual bool IsOff => false;

    /// <summary>Null: the person is in no organization, so there is no frame.</summary>
    public string FrameLayout { get; private set; } = "_CardLayout";

    public Session Session => SessionCookie.Of(HttpContext)!;

    [NonHandler] // the framework would take a method named On… for a handler
    public override async Task OnPageHandlerExecutionAsync(PageHandlerExecutingContext context, PageHandlerExecutionDelegate next)
    {
        if (IsOff) context.Result = this.Refuse(PasswordSignIn.ProviderOnly);
        else if (NeedsFreshProof && !SessionCookie.IsFresh(HttpContext)) context.Result = await FreshSignIn.AskAsync(this);
        else
        {
            if (await EnterLastAsync()) FrameLayout = "_Layout";
            await next();
        }
    }

    /// <summary>Shows the page again with its errors.</summary>
    protected IActionResult Redisplay(Refusal refusal, params ReadOnlySpan<(string Word, string Field, string Label)> fields)
    {
        Errors.Add(refusal, fields);
        Response.StatusCode = refusal.Code == RefusalCode.AccessDenied ? StatusCodes.Status400BadRequest : refusal.Status;
        if (refusal.RetryAfterSeconds is { } seconds) Response.Headers.RetryAfter = seconds.ToString();
        return Page();
    }
}
