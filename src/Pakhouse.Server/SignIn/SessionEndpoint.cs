using System.Security.Claims;
using Microsoft.AspNetCore.Antiforgery;

namespace Pakhouse.Server;

/// <summary>
/// For a program in a browser: whose session it has, and what a change must carry in the header <c>RequestVerificationToken</c>.
/// </summary>
public static class SessionEndpoint
{
    public sealed record SessionUser(Guid Id, string Email, string Name);

    /// <param name="RequestVerificationToken">Good for this user and this browser.</param>
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
                    context.Response.Headers.CacheControl = "no-store"; // antiforgery has its own idea, and weaker
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
            .Describe<ShownSession>("getSession", "The session's user, and what a change with this session must carry");
}
