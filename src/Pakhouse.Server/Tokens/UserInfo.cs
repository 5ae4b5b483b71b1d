using System.Text.Json.Serialization;

namespace Pakhouse.Server;

/// <summary>
/// The bearer of a token (OpenID Connect Core 1.0 §5.3), as the database has it now and not as it was when the token was issued. Also
/// served at the address that existing command-line tools use, for any realm.
/// </summary>
public static class UserInfo
{
    public sealed record ShownUserInfo
    {
        /// <summary>The user's id.</summary>
        [JsonPropertyName("sub")] public required string Subject { get; init; }

        /// <summary>Only if the scope <c>profile</c> was granted.</summary>
        [JsonPropertyName("name"), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public string? Name { get; init; }

        /// <summary>The e-mail address. Only if the scope <c>email</c> was granted.</summary>
        [JsonPropertyName("email"), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public string? Email { get; init; }

        /// <summary>The sign-in name, which is the e-mail address. Only if <c>profile</c> and <c>email</c> were granted.</summary>
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
        // The realm is a parameter so that the API document has it; its value is ignored.
        group
            .MapGet("/auth/realms/{realm}/protocol/openid-connect/userinfo", (string realm, HttpContext context) => Answer(context))
            .Describe<ShownUserInfo>("getUserInfoOfRealm", "The same, at the address that existing command-line tools use");
        group
            .MapPost("/auth/realms/{realm}/protocol/openid-connect/userinfo", (string realm, HttpContext context) => Answer(context))
            .Describe<ShownUserInfo>("postUserInfoOfRealm", "The same, at the address that existing command-line tools use");
    }

    private static IResult Answer(HttpContext context)
    {
        if (Guard.Demand(context.Caller(), Permission.ReadUserInfo) is { } refused)
            return refused.ToResult();
        var grant = context.Features.Get<TokenGrant>()!;
        var (profile, email) = (
            grant.Scopes.Contains(ScopeCatalogue.Profile),
            grant.Scopes.Contains(ScopeCatalogue.Email) && grant.UserEmail.Length > 0
        ); // a service has no e-mail address
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
