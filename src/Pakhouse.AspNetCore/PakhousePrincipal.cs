using System.Security.Claims;

namespace Pakhouse.AspNetCore;

/// <summary>The claims of a Pakhouse token, in an API that called <see cref="PakhouseExtensions.AddPakhouse"/>.</summary>
public static class PakhousePrincipal
{
    /// <summary>The organization that the token is for (claim <c>org_id</c>): the caller may access only its data.</summary>
    /// <param name="caller">An authenticated caller.</param>
    /// <exception cref="InvalidOperationException">The caller has no token of Pakhouse.</exception>
    public static Guid GetOrganizationId(this ClaimsPrincipal caller) => Guid.Parse(Text(caller, "org_id"));

    /// <summary>The root of that organization (claim <c>root_org_id</c>); the same id if it is a root itself.</summary>
    /// <param name="caller">An authenticated caller.</param>
    /// <exception cref="InvalidOperationException">The caller has no token of Pakhouse.</exception>
    public static Guid GetRootOrganizationId(this ClaimsPrincipal caller) => Guid.Parse(Text(caller, "root_org_id"));

    /// <summary>The user, or the service user of an organization's API key (claim <c>sub</c>).</summary>
    /// <param name="caller">An authenticated caller.</param>
    /// <exception cref="InvalidOperationException">The caller has no token of Pakhouse.</exception>
    public static Guid GetUserId(this ClaimsPrincipal caller) => Guid.Parse(Text(caller, "sub"));

    /// <summary>The public id of the key, 16 characters (claim <c>key_id</c>), for logs.</summary>
    /// <param name="caller">An authenticated caller.</param>
    /// <exception cref="InvalidOperationException">The caller has no token of Pakhouse.</exception>
    public static string GetKeyId(this ClaimsPrincipal caller) => Text(caller, "key_id");

    /// <summary>Whether the caller is a member of the root only, not of this organization (claim <c>membership</c>).</summary>
    /// <param name="caller">An authenticated caller.</param>
    /// <exception cref="InvalidOperationException">The caller has no token of Pakhouse.</exception>
    public static bool IsInheritedMember(this ClaimsPrincipal caller) => Text(caller, "membership") == "inherited";

    /// <summary>
    /// Whether the token was granted this scope (claim <c>scope</c>, names separated by spaces). False for a caller without a token.
    /// </summary>
    /// <param name="caller">Any caller.</param>
    /// <param name="scope">One name.</param>
    public static bool HasScope(this ClaimsPrincipal caller, string scope) =>
        caller.FindFirst("scope") is { } granted && granted.Value.Split(' ').Contains(scope, StringComparer.Ordinal);

    private static string Text(ClaimsPrincipal caller, string claim) =>
        caller.FindFirst(claim)?.Value
        ?? throw new InvalidOperationException($"The caller has no claim {claim}: the endpoint accepts callers without a Pakhouse token.");
}
