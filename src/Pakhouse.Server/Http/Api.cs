using System.Text.Json;

namespace Pakhouse.Server;

/// <summary>
/// Turns the results of operations into responses of the JSON API: an <see cref="Outcome{T}"/> is either its value or its refusal.
/// </summary>
public static class Api
{
    /// <summary>A group of routes that require an authenticated caller, whom handlers get as an <see cref="Actor"/> from <see
    /// cref="Caller"/>.</summary>
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

    /// <summary>Describes the route in docs/openapi.json: its name, one sentence, and the form of its response.</summary>
    public static RouteHandlerBuilder Describe<T>(
        this RouteHandlerBuilder route,
        string id,
        string summary,
        int status = StatusCodes.Status200OK
    ) => route.WithName(id).WithSummary(summary).Produces<T>(status, "application/json");

    /// <summary>Like <see cref="Describe{T}"/>, for a route whose response is 204 and empty.</summary>
    public static RouteHandlerBuilder DescribeEmpty(this RouteHandlerBuilder route, string id, string summary) =>
        route.WithName(id).WithSummary(summary).Produces(StatusCodes.Status204NoContent);

    public static Actor Caller(this HttpContext context) =>
        context.Features.Get<Actor>() ?? throw new InvalidOperationException("The route is not marked as requiring a caller.");

    /// <summary>A UUID from a query or body, with or without braces.</summary>
    public static Outcome<Guid> ReadId(string? text, string field) =>
        text is { Length: 36 or 38 } && (Guid.TryParseExact(text, "D", out var id) || Guid.TryParseExact(text, "B", out id))
            ? id
            : Refusal.At(
                field,
                RefusalCode.InvalidRequest,
                $"give a UUID such as 0190f3a2-7c11-7d3e-9b52-3f1c8a6d4e70.",
                $"{field} is no UUID"
            );

    /// <summary>200 with the value as JSON, or the refusal.</summary>
    public static IResult ToResult<T>(this Outcome<T> outcome) =>
        outcome.Refusal is { } refusal ? new RefusalResult(refusal) : Results.Ok(outcome.Value);

    /// <summary>200 with the mapped value, or the refusal.</summary>
    public static IResult ToResult<T, TShown>(this Outcome<T> outcome, Func<T, TShown> show) =>
        outcome.Refusal is { } refusal ? new RefusalResult(refusal) : Results.Ok(show(outcome.Value));

    /// <summary>204, or the refusal.</summary>
    public static IResult ToEmpty<T>(this Outcome<T> outcome) =>
        outcome.Refusal is { } refusal ? new RefusalResult(refusal) : Results.NoContent();

    /// <summary>The JSON name of an enum value: <c>platformRoles</c>.</summary>
    internal static string Name<T>(T value)
        where T : struct, Enum => JsonNamingPolicy.CamelCase.ConvertName(value.ToString());

    public static IResult ToResult(this Refusal refusal) => new RefusalResult(refusal);

    private sealed class RefusalResult(Refusal refusal) : IResult
    {
        public Task ExecuteAsync(HttpContext httpContext) => RefusalWriter.WriteAsync(httpContext, refusal);
    }
}

/// <summary>
/// Marks a route that requires an authenticated caller; the middleware of <c>Callers</c> identifies the caller and refuses all others.
/// </summary>
public sealed class CallerRequired;
