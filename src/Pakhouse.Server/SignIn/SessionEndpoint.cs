using System.Security.Claims;
using Microsoft.AspNetCore.Antiforgery;

namespace Pakhouse.Server;

/// <summary>
/// For a program in a browser: the user of its session, and the value of the header <c>RequestVerificationToken</c> that a change needs.
/// </summary>
public static class SessionEndpoint
{
    public sealed record SessionUser(Guid Id, string Email, string Name);

    /// <param name="RequestVerificationToken">Valid for this user and this browser.</param>
    public sealed record ShownSession(SessionUser User, string RequestVerificationToken);

    public static void Map(IEndpointRouteBuilder routes) =>
        routes
            .MapApi("/identity/v1/session")
            .WithTags("Session")
            .MapGet(
                "",
                (HttpContext context, IAntiforgery antiforgery) =>
                {
                    if (Guard.Demand(context.Caller(), Permission.ReadSession) is { } refused)
                        return refused.ToResult();
                    var token = antiforgery.GetAndStoreTokens(context).RequestToken!;
                    context.Response.Headers.CacheControl = "no-store"; // antiforgery would set a weaker value
                    return Results.Ok(
                        new ShownSession(
                            new(
                                context.Caller().UserId!.Value,
                                context.User.FindFirstValue(ClaimTypes.Email)!,
                                context.User.FindFirstValue(ClaimTypes.Name)!
                            ),
                            token
                        )
                    );
                }
            )
            .Describe<ShownSession>("getSession", "The session's user, and the header value that a change with this session needs");
}
