using System.Security.Claims;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authentication.Cookies;

namespace Pakhouse.Server;

/// <summary>The session of a request: the cookie on the wire, checked against <see cref="SessionStore"/> at every request.</summary>
public static class SessionCookie
{
    public const string Scheme = CookieAuthenticationDefaults.AuthenticationScheme;
    private const string Secret = "session";

    /// <summary>What removes or replaces a way to sign in asks again who one is, when that was proved longer ago than this.</summary>
    public static readonly TimeSpan JustNow = TimeSpan.FromMinutes(10);

    /// <summary>False: the session at the provider has ended meanwhile, so none begins here.</summary>
    /// <param name="method">One of <see cref="SignInMethod"/>.</param>
    /// <param name="providerSession">See <see cref="ProviderLogout.SessionHash"/>.</param>
    public static async Task<bool> BeginAsync(HttpContext context, User user, string method, byte[]? providerSession = null)
    {
        var table = Table(context);
        // The browser forgets the session it had; so that nobody else remembers it, it ends.
        if (await ReadAsync(context) is { } before)
            await table.EndAsync(
                Server.Actor.Session(before.UserId, context.Connection.RemoteIpAddress),
                before.Id,
                AuditAction.SessionEnd
            );
        var secret = await table.BeginAsync(
            user,
            method,
            context.Connection.RemoteIpAddress,
            context.Request.Headers.UserAgent,
            providerSession
        );
        if (secret is null)
            return false;
        await context.SignInAsync(Scheme, new ClaimsPrincipal(new ClaimsIdentity([new(Secret, secret)], Scheme)));
        return true;
    }

    /// <summary>Ends the session of this request. Others of the same person go on.</summary>
    public static async Task EndAsync(HttpContext context)
    {
        if (Of(context) is { } session) await Table(context).EndAsync(Actor(context), session.Id, AuditAction.Logout);
        await context.SignOutAsync(Scheme);
    }

    /// <summary>Null: nobody is signed in.</summary>
    public static Session? Of(HttpContext context) => context.Features.Get<Session>();

    /// <summary>As <see cref="Of"/>, for requests that are answered before sessions are looked at.</summary>
    public static async Task<Session?> ReadAsync(HttpContext context)
    {
        await context.AuthenticateAsync(Scheme);
        return Of(context);
    }

    /// <summary>Whether the person has proved just now who they are.</summary>
    public static bool IsFresh(HttpContext context) => FreshnessOf(context) == Freshness.JustNow;

    /// <summary>For a page inside an organization: that it is the one looked at now.</summary>
    public static Task NoteOrganizationAsync(HttpContext context, Guid organizationId) =>
        Of(context) is { } session ? Table(context).NoteOrganizationAsync(Actor(context), session, organizationId) : Task.CompletedTask;

    /// <summary>
    /// A session that has ended, for whatever reason, is signed out with the next request, not later. The person's name and address are the
    /// row's of now.
    /// </summary>
    public static async Task ValidateAsync(CookieValidatePrincipalContext context)
    {
        var http = context.HttpContext;
        var secret = context.Principal?.FindFirstValue(Secret);
        if (secret is null || await Table(http).FindAsync(secret) is not { } session)
        {
            context.RejectPrincipal();
            await http.SignOutAsync(Scheme);
            return;
        }

        await Table(http).TouchAsync(session, http.Connection.RemoteIpAddress, http.Request.Headers.UserAgent);
        http.Features.Set(session);
        context.ReplacePrincipal(
            new ClaimsPrincipal(
                new ClaimsIdentity(
                    [
                        new(ClaimTypes.NameIdentifier, session.UserId.ToString()),
                        new(ClaimTypes.Name, session.Name),
                        new(ClaimTypes.Email, session.Email),
                        new(Secret, secret),
                    ],
                    Scheme
                )
            )
        );
    }

    /// <summary>
    /// Renews the cookie with every request after a minute. The framework would only do so in the second half of a session's life, and so
    /// end it up to twice as early as <see cref="PakhouseOptions.SessionIdle"/> says.
    /// </summary>
    public static Task RenewAsync(CookieSlidingExpirationContext context)
    {
        context.ShouldRenew = context.ElapsedTime >= SessionStore.TouchInterval;
        return Task.CompletedTask;
    }

    public static Actor Actor(HttpContext context) =>
        Server.Actor.Session(Guid.Parse(context.User.FindFirstValue(ClaimTypes.NameIdentifier)!), context.Connection.RemoteIpAddress) with
        {
            Freshness = FreshnessOf(context),
        };

    private static Freshness FreshnessOf(HttpContext context)
    {
        if (Of(context) is not { } session)
            return Freshness.Any;
        var age = context.RequestServices.GetRequiredService<TimeProvider>().GetUtcNow() - session.ProvedAt;
        return age < JustNow ? Freshness.JustNow
            : age < context.RequestServices.GetRequiredService<PakhouseOptions>().FreshSignIn ? Freshness.Recent
            : Freshness.Any;
    }

    private static SessionStore Table(HttpContext context) => context.RequestServices.GetRequiredService<SessionStore>();
}
