using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace Pakhouse.Server;

/// <summary>
/// Where the link of <see cref="ProviderConnections"/> leads: first to the provider, and then to the question whether both accounts are the
/// person's. Opening it changes nothing, and neither does coming back from the provider: another site can send a browser to both.
/// </summary>
public sealed class ConnectModel(ProviderConnections connections, SignInStateCookies steps, PakhouseOptions options) : PageModel
{
    [FromQuery(Name = "code")]
    public string? Code { get; set; }

    /// <summary>Null: the provider has not answered yet.</summary>
    public PendingConnection? Pending { get; private set; }

    public User Account { get; private set; } = null!;

    public PakhouseOptions Options => options;

    public async Task<IActionResult> OnGetAsync()
    {
        if (Code is null) Pending = ProviderConnections.Read(steps.Read(HttpContext, SignInStateCookies.Connection));
        var opened = await connections.OpenAsync(Pending?.Code ?? Code ?? "");
        if (opened.Refusal is { } refusal) return this.Refuse(refusal);
        Account = opened.Value;
        return Page();
    }

    public async Task<IActionResult> OnPostAsync()
    {
        if (ProviderConnections.Read(steps.Read(HttpContext, SignInStateCookies.Connection)) is not { } pending)
            return this.Refuse(ProviderConnections.LinkRefused);
        steps.Clear(HttpContext, SignInStateCookies.Connection);
        var session = SessionCookie.Of(HttpContext) is null ? null : SessionCookie.Actor(HttpContext);
        var connected = await connections.ConnectAsync(pending, session, HttpContext.Connection.RemoteIpAddress);
        if (connected.Refusal is { } refusal)
            return this.Refuse(refusal);
        return await SessionCookie.BeginAsync(HttpContext, connected.Value, SignInMethod.Provider, pending.Session)
            ? this.SeeOther("/")
            : this.Refuse(ProviderFailures.Over);
    }
}
