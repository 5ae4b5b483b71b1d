using System.Text.Json;

namespace Pakhouse.Server;

/// <summary>
/// How operations become answers of the JSON API: an <see cref="Outcome{T}"/> is either its value or its refusal on the wire.
/// </summary>
public static class Api
{
    /// <summary>A group of routes whose caller is known; handlers take it as <see cref="Actor"/> from <see cref="Caller"/>.</summary>
    public static RouteGroupBuilder MapApi(this IEndpointRouteBuilder routes, string prefix)
    {
        var group = routes.MapGroup(prefix);
        group.WithMetadata(new CallerRequired());
        group.AddEndpointFilter(
            async (context, next) =>
            {
                context.HttpContext.Response.Headers.CacheControl = "no-store";
                return await next(context);
            }
        );
        return group;
    }

    /// <summary>What docs/openapi.json says of the route: its name there, one sentence, and the form of its answer.</summary>
    public static RouteHandlerBuilder Describe<T>(
        this RouteHandlerBuilder route,
        string id,
        string summary,
        int status = StatusCodes.Status200OK
    ) => route.WithName(id).WithSummary(summary).Produces<T>(status, "application/json");

    /// <summary>As <see cref="Describe{T}"/>, of a route whose answer is 204 and empty.</summary>
    public static RouteHandlerBuilder DescribeEmpty(this RouteHandlerBuilder route, string id, string summary) =>
        route.WithName(id).WithSummary(summary).Produces(StatusCodes.Status204NoContent);

    public static Actor Caller(this HttpContext context) =>
        context.Features.Get<Actor>() ?? throw new InvalidOperationException("The route does not say that it needs a caller.");

    /// <summary>A UUID that came in a query or body, with or without braces.</summary>
    public static Outcome<Guid> ReadId(string? text, string field) =>
        text is { Length: 36 or 38 } && (Guid.TryParseExact(text, "D", out var id) || Guid.TryParseExact(text, "B", out id))
            ? id
            : new Refusal(
                RefusalCode.InvalidRequest,
                $"{field}: give a UUID such as 0190f3a2-7c11-7d3e-9b52-3f1c8a6d4e70.",
                $"{field} is no UUID"
            );

    /// <summary>200 with the value as JSON, or the refusal.</summary>
    public static IResult ToResult<T>(this Outcome<T> outcome) =>
        outcome.Refusal is { } refusal ? new RefusalResult(refusal) : Results.Ok(outcome.Value);

    /// <summary>200 with what is made of the value, or the refusal.</summary>
    public static IResult ToResult<T, TShown>(this Outcome<T> outcome, Func<T, TShown> show) =>
        outcome.Refusal is { } refusal ? new RefusalResult(refusal) : Results.Ok(show(outcome.Value));

    /// <summary>204, or the refusal.</summary>
    public static IResult ToEmpty<T>(this Outcome<T> outcome) =>
        outcome.Refusal is { } refusal ? new RefusalResult(refusal) : Results.NoContent();

    /// <summary>A value of an enum as JSON has it: <c>platformRoles</c>.</summary>
    internal static string Name<T>(T value)
        where T : struct, Enum => JsonNamingPolicy.CamelCase.ConvertName(value.ToString());

    public static IResult ToResult(this Refusal refusal) => new RefusalResult(refusal);

    private sealed class RefusalResult(Refusal refusal) : IResult
    {
        public Task ExecuteAsync(HttpContext httpContext) => RefusalWriter.WriteAsync(httpContext, refusal);
    }
}

/// <summary>
/// Marks a route that requires an authenticated caller; the middleware of <c>Callers</c> finds out who calls and refuses everybody else.
/// </summary>
public sealed class CallerRequired;
