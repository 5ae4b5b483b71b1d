using Microsoft.AspNetCore.Routing.Patterns;

namespace Pakhouse.Server;

/// <summary>
/// Two rules for many routes: HEAD wherever there is GET (RFC 9110 §9.1), and the routes that scripts of any web site may read (CORS, Fetch
/// §3.3).
/// <para>Invariant: an open route never allows credentials, so a browser never shows a site anything that its cookies would open. This is
/// done by route conventions and not by middleware, so an exchange does not pass through it.</para>
/// </summary>
public static class OpenRoutes
{
    /// <summary>Public documents, and userinfo, which needs a token that the script already has.</summary>
    private static readonly Dictionary<string, string> methods = new(StringComparer.Ordinal)
    {
        ["/.well-known/openid-configuration"] = "GET, HEAD",
        ["/.well-known/oauth-authorization-server"] = "GET, HEAD",
        ["/.well-known/jwks.json"] = "GET, HEAD",
        ["/status-lists"] = "GET, HEAD",
        ["/status-lists/{number:int:min(0)}"] = "GET, HEAD",
        ["/roles.json"] = "GET, HEAD",
        ["/scopes.json"] = "GET, HEAD",
        ["/userinfo"] = "GET, HEAD, POST",
        ["/auth/realms/{realm}/protocol/openid-connect/userinfo"] = "GET, HEAD, POST",
    };

    private const string RequestHeaders = "Accept, Authorization, Content-Type, If-None-Match, Last-Event-ID";
    private const string ResponseHeaders = "Age, ETag, Retry-After, WWW-Authenticate";
    private const string MaxAgeSeconds = "86400";

    private sealed class Open;

    /// <summary>The builder for all routes: each route that is mapped on it gets both rules.</summary>
    public static RouteGroupBuilder MapOpenRoutes(this IEndpointRouteBuilder routes)
    {
        foreach (var (path, allowed) in methods)
            routes
                .MapMethods(path, ["OPTIONS"], context => WritePreflight(context, allowed))
                .WithMetadata(new Open())
                .ExcludeFromDescription()
                .ShortCircuit();
        var group = routes.MapGroup("");
        ((IEndpointConventionBuilder)group).Add(endpoint =>
        {
            AddHead(endpoint);
            if (endpoint is RouteEndpointBuilder route && methods.ContainsKey(Path(route.RoutePattern)))
                AddOrigin(endpoint);
        });
        return group;
    }

    /// <summary>For a response that the route itself does not write, such as 401: the script should be able to read it too.</summary>
    public static void AddOrigin(HttpContext context, Endpoint? endpoint)
    {
        if (endpoint?.Metadata.GetMetadata<Open>() is null) return;
        context.Response.Headers.AccessControlAllowOrigin = "*";
        context.Response.Headers.AccessControlExposeHeaders = ResponseHeaders;
    }

    private static string Path(RoutePattern pattern) => "/" + pattern.RawText!.Trim('/');

    private static void AddHead(EndpointBuilder endpoint)
    {
        if (
            endpoint.Metadata.OfType<HttpMethodMetadata>().LastOrDefault() is not { } known
            || !known.HttpMethods.Contains("GET")
            || known.HttpMethods.Contains("HEAD")
        )
            return;
        endpoint.Metadata.Add(new HttpMethodMetadata([.. known.HttpMethods, "HEAD"])); // the last metadata applies
    }

    private static void AddOrigin(EndpointBuilder endpoint)
    {
        endpoint.Metadata.Add(new Open());
        var handler = endpoint.RequestDelegate!;
        endpoint.RequestDelegate = context =>
        {
            AddOrigin(context, context.GetEndpoint());
            return handler(context);
        };
    }

    /// <summary>Fetch §3.3.3. The response is the same for every origin, so it reveals nothing, and no cookie is accepted.</summary>
    private static Task WritePreflight(HttpContext context, string allowed)
    {
        var headers = context.Response.Headers;
        context.Response.StatusCode = StatusCodes.Status204NoContent;
        (headers.Allow, headers.AccessControlAllowOrigin) = ($"{allowed}, OPTIONS", "*");
        (headers.AccessControlAllowMethods, headers.AccessControlAllowHeaders, headers.AccessControlMaxAge) = (
            allowed,
            RequestHeaders,
            MaxAgeSeconds
        );
        return Task.CompletedTask;
    }
}
