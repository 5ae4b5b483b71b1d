using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.Filters;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace Pakhouse.Server;

/// <summary>
/// A page about how a person signs in, outside any organization; the one they were in last is the frame.
/// <para>Invariant: no handler of such a page runs before the person has proved just now who they are, unless the page says that it changes
/// nothing that a thief of the session would want. Only a session gets here, never a token (R7).</para>
/// </summary>
public abstract class AccountPage(Organizations organizations) : OrganizationPage(organizations)
{
    public const string Home = "/account";

    protected virtual bool NeedsFreshProof => true;

    /// <summary>What it is about is off on this server.</summary>
    protected virtual bool IsOff => false;

    /// <summary>Null: the person is in no organization, so there is no frame.</summary>
    public string FrameLayout { get; private set; } = "_CardLayout";

    public Session Session => SessionCookie.Of(HttpContext)!;

    [NonHandler] // the framework reads On… of a page of ours as a handler, of a method named PAGE
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

    /// <summary>The page again, with what is wrong.</summary>
    protected IActionResult Redisplay(Refusal refusal, params ReadOnlySpan<(string Word, string Field, string Label)> fields)
    {
        Errors.Add(refusal, fields);
        Response.StatusCode = refusal.Code == RefusalCode.AccessDenied ? StatusCodes.Status400BadRequest : refusal.Status;
        if (refusal.RetryAfterSeconds is { } seconds) Response.Headers.RetryAfter = seconds.ToString();
        return Page();
    }
}
