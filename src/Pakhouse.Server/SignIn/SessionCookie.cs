using System.Security.Claims;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authentication.Cookies;

namespace Pakhouse.Server;

/// <summary>The session of a request: its cookie, checked against <see cref="SessionStore"/> at every request.</summary>
public static class SessionCookie
{
    public const string Scheme = CookieAuthenticationDefaults.AuthenticationScheme;
    private const string Secret = "session";

    /// <summary>To remove or replace a way to sign in, a person must have authenticated within this time.</summary>
    public static readonly TimeSpan JustNow = TimeSpan.FromMinutes(10);

    /// <summary>False: the session at the provider has ended in the meantime, so none begins here.</summary>
    /// <param name="method">One of <see cref="SignInMethod"/>.</param>
    /// <param name="providerSession">See <see cref="ProviderLogout.SessionHash"/>.</param>
    public static async Task<bool> BeginAsync(HttpContext context, User user, string method, byte[]? providerSession = null)
    {
        var table = Table(context);
        // The browser forgets its earlier session. It ends here too, so that a copy of its cookie is useless.
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

    /// <summary>Ends the session of this request. Other sessions of the same person continue.</summary>
    public static async Task EndAsync(HttpContext context)
    {
        if (Of(context) is { } session) await Table(context).EndAsync(Actor(context), session.Id, AuditAction.Logout);
        await context.SignOutAsync(Scheme);
    }

    /// <summary>Null: nobody is signed in.</summary>
    public static Session? Of(HttpContext context) => context.Features.Get<Session>();

    /// <summary>Like <see cref="Of"/>, for requests that are answered before the session middleware runs.</summary>
    public static async Task<Session?> ReadAsync(HttpContext context)
    {
        await context.AuthenticateAsync(Scheme);
        return Of(context);
    }

    /// <summary>Whether the person authenticated just now.</summary>
    public static bool IsFresh(HttpContext context) => FreshnessOf(context) == Freshness.JustNow;

    /// <summary>For a page inside an organization: records it as the current one.</summary>
    public static Task NoteOrganizationAsync(HttpContext context, Guid organizationId) =>
        Of(context) is { } session ? Table(context).NoteOrganizationAsync(Actor(context), session, organizationId) : Task.CompletedTask;

    /// <summary>
    /// A session that has ended for any reason is signed out at the next request. The person's name and address come from the current row.
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
    /// Renews the cookie with every request after a minute. The framework would renew it only in the second half of a session's life, and
    /// so could end a session in half the time of <see cref="PakhouseOptions.SessionIdle"/>.
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
