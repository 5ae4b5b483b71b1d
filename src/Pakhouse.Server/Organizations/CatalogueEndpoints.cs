namespace Pakhouse.Server;

/// <summary>The catalogues of the platform, from which clients offer a choice. Public.</summary>
public static class CatalogueEndpoints
{
    public static void Map(IEndpointRouteBuilder routes, RoleCatalogue catalogue)
    {
        MapRoles(routes, catalogue);
        MapScopes(routes);
    }

    /// <summary><c>GET /roles.json</c>: public, for clients that offer roles to choose from.</summary>
    private static void MapRoles(IEndpointRouteBuilder routes, RoleCatalogue catalogue) =>
        routes
            .MapGet(
                "/roles.json",
                (HttpContext context) =>
                {
                    SecurityHeaders.Set(context.Response);
                    context.Response.Headers.CacheControl = "public, max-age=300";
                    return Results.Json(catalogue.Modules);
                }
            )
            .Describe<IReadOnlyList<RoleModule>>("getRoleCatalogue", "The roles that a member can hold")
            .WithTags("Members")
            .ShortCircuit();

    private static void MapScopes(IEndpointRouteBuilder routes) =>
        routes
            .MapGet(
                "/scopes.json",
                (HttpContext context, PakhouseOptions options) =>
                {
                    context.Response.Headers.CacheControl = "public, max-age=300";
                    return Results.Ok(ScopeCatalogue.Of(options));
                }
            )
            .WithName("listScopes")
            .WithSummary("The scopes of the platform")
            .WithTags("Catalogues");
}
