using System.Text.Json.Serialization;

namespace Pakhouse.Server;

/// <summary>
/// Who the bearer of a token is (OpenID Connect Core 1.0 §5.3), as the database says now and not as the token said when it was made. Also
/// at the address where the command-line tool of the field asks, whatever realm it names.
/// </summary>
public static class UserInfo
{
    public sealed record ShownUserInfo
    {
        /// <summary>The user's id.</summary>
        [JsonPropertyName("sub")] public required string Subject { get; init; }

        /// <summary>Only where the scope <c>profile</c> was granted.</summary>
        [JsonPropertyName("name"), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public string? Name { get; init; }

        /// <summary>The address. Only where the scope <c>email</c> was granted.</summary>
        [JsonPropertyName("email"), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public string? Email { get; init; }

        /// <summary>What the user signs in with: the address. Only where <c>profile</c> and <c>email</c> were granted.</summary>
        [JsonPropertyName("preferred_username"), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
        public string? PreferredUsername { get; init; }

        /// <summary>The organization that the token is for.</summary>
        [JsonPropertyName("currentOrganizationId")] public required string OrganizationId { get; init; }
    }

    public static void Map(IEndpointRouteBuilder routes)
    {
        var group = routes.MapApi("").WithTags("Tokens");
        group.MapGet("/userinfo", Answer).Describe<ShownUserInfo>("getUserInfo", "Who the bearer of the token is");
        group.MapPost("/userinfo", Answer).Describe<ShownUserInfo>("postUserInfo", "Who the bearer of the token is");
        // The realm is a parameter so that the description of the API has it; every name of one is the same house.
        group
            .MapGet("/auth/realms/{realm}/protocol/openid-connect/userinfo", (string realm, HttpContext context) => Answer(context))
            .Describe<ShownUserInfo>("getUserInfoOfRealm", "The same, where the field's command-line tool asks");
        group
            .MapPost("/auth/realms/{realm}/protocol/openid-connect/userinfo", (string realm, HttpContext context) => Answer(context))
            .Describe<ShownUserInfo>("postUserInfoOfRealm", "The same, where the field's command-line tool asks");
    }

    private static IResult Answer(HttpContext context)
    {
        if (Guard.Demand(context.Caller(), Permission.ReadUserInfo) is { } refused)
            return refused.ToResult();
        var grant = context.Features.Get<TokenGrant>()!;
        var (profile, email) = (
            grant.Scopes.Contains(ScopeCatalogue.Profile),
            grant.Scopes.Contains(ScopeCatalogue.Email) && grant.UserEmail.Length > 0
        ); // a service has no address
        return Results.Json(
            new ShownUserInfo
            {
                Subject = grant.UserId,
                Name = profile ? grant.UserName : null,
                Email = email ? grant.UserEmail : null,
                PreferredUsername = profile && email ? grant.UserEmail : null,
                OrganizationId = grant.OrganizationId,
            }
        );
    }
}
