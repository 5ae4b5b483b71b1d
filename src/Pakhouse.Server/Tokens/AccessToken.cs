using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;

namespace Pakhouse.Server;

/// <summary>
/// The token: claims and signature (RFC 9068, <c>typ: at+jwt</c>). It puts into words what <see cref="KeyExchange"/> granted, and decides nothing.
/// docs/protocol.md, "The token", lists every claim.
/// </summary>
public sealed class AccessToken(SigningKeys signingKeys, PakhouseOptions options, PublicAddress publicAddress, TimeProvider clock)
{
    /// <summary>RFC 9068 §2.2 wants the client named. A machine with a key has no registration, so all of a kind are one client.</summary>
    public const string ClientId = "personal-access-key", ApiKeyClientId = "api-key";

    // The times of a token are ours (TimeProvider), not the handler's.
    private readonly JsonWebTokenHandler handler = new() { SetDefaultTimesOnTokenCreation = false };

    /// <summary>How long the token of this grant lives: <see cref="PakhouseOptions.TokenLifetime"/>, less by policy, and never longer than its key.</summary>
    public TimeSpan LifetimeOf(TokenGrant grant, DateTimeOffset now)
    {
        var lifetime = grant.LifetimeMax < options.TokenLifetime ? grant.LifetimeMax.Value : options.TokenLifetime;
        return grant.KeyEndsAt - now is { } rest && rest < lifetime ? rest : lifetime;
    }

    /// <summary>The signed token.</summary>
    public string Create(TokenGrant grant, DateTimeOffset now)
    {
        var claims = new Dictionary<string, object>(16, StringComparer.Ordinal)
        {
            ["sub"] = grant.UserId,
            ["client_id"] = grant.IsApiKey ? ApiKeyClientId : ClientId,
            ["jti"] = Ids.New(clock).ToString(),
            ["scope"] = grant.Scopes.ToString(),
            ["org_id"] = grant.OrganizationId,
            ["root_org_id"] = grant.RootOrganizationId,
            ["currentOrganizationId"] = grant.OrganizationId, // what the field's tools decode
            ["membership"] = grant.IsMember ? "member" : "inherited",
            ["roles"] = grant.Roles.ToArray(),
            ["key_id"] = grant.KeyId,
            ["status"] = StatusOf(grant),
        };
        if (grant.Scopes.Contains("profile")) claims["name"] = grant.UserName;
        if (grant.Scopes.Contains("email")) claims["email"] = grant.UserEmail;

        return handler.CreateToken(new SecurityTokenDescriptor
        {
            TokenType = "at+jwt",
            Issuer = publicAddress.Value,
            Audience = options.Audience ?? publicAddress.Value,
            IssuedAt = now.UtcDateTime,
            Expires = (now + LifetimeOf(grant, now)).UtcDateTime,
            Claims = claims,
            SigningCredentials = signingKeys.Current(now).Credentials,
        });
    }

    /// <summary>Where a verifier learns that the key has ended (Token Status List §6.1).</summary>
    private Dictionary<string, object> StatusOf(TokenGrant grant)
    {
        var (list, entry) = Math.DivRem(grant.StatusIndex, StatusLists.EntriesPerList);
        return new(StringComparer.Ordinal)
        {
            ["status_list"] = new Dictionary<string, object>(StringComparer.Ordinal) { ["idx"] = entry, ["uri"] = StatusLists.Address(publicAddress.Value, (int)list) },
        };
    }
}
