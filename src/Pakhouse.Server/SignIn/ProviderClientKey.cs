using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Protocols.OpenIdConnect;
using Microsoft.IdentityModel.Tokens;

namespace Pakhouse.Server;

/// <summary>
/// Authenticates this server at the provider without a shared secret: <c>private_key_jwt</c> (RFC 7523, OpenID Connect Core §9). The
/// provider reads the public key from <see cref="JwksPath"/>.
/// </summary>
public sealed class ProviderClientKey(PakhouseOptions options, TimeProvider clock)
{
    public const string JwksPath = "/sign-in/provider/jwks.json";

    private const string AssertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

    private static readonly TimeSpan lifetime = TimeSpan.FromMinutes(1);

    private static readonly JsonWebTokenHandler handler = new() { SetDefaultTimesOnTokenCreation = false };

    private static string Algorithm(SecurityKey key) =>
        key is ECDsaSecurityKey ? SecurityAlgorithms.EcdsaSha256 : SecurityAlgorithms.RsaSha256;

    public static void Map(IEndpointRouteBuilder routes) => routes.MapGet(JwksPath, (HttpContext context, PakhouseOptions options) =>
    {
        context.Response.Headers.CacheControl = "public, max-age=300";
        return Results.Json(new { keys = options.OidcClientKey is { } key ? (IDictionary<string, string>[])[Public(key)] : [] });
    }).ExcludeFromDescription();

    /// <summary>Adds the assertion to a request to the provider. False: there is no such key, and the client secret is used.</summary>
    public bool Prove(OpenIdConnectMessage request, OpenIdConnectConfiguration provider)
    {
        if (options.OidcClientKey is not { } key) return false;
        var now = clock.GetUtcNow().UtcDateTime;
        request.ClientSecret = null;
        (request.ClientAssertionType, request.ClientAssertion) = (AssertionType, handler.CreateToken(new SecurityTokenDescriptor
        {
            Issuer = options.OidcClientId,
            Audience = options.OidcClientKeyForTokenEndpoint ? provider.TokenEndpoint : provider.Issuer,
            IssuedAt = now,
            Expires = now + lifetime,
            Claims = new Dictionary<string, object> { ["sub"] = options.OidcClientId!, ["jti"] = KeyFormat.NewId() },
            SigningCredentials = new SigningCredentials(key, Algorithm(key)),
        }));
        return true;
    }

    private static Dictionary<string, string> Public(SecurityKey key)
    {
        var shown = new Dictionary<string, string>(StringComparer.Ordinal)
        {
            ["use"] = "sig",
            ["alg"] = Algorithm(key),
            ["kid"] = key.KeyId,
        };
        if (key is ECDsaSecurityKey { ECDsa: var ec })
        {
            var point = ec.ExportParameters(includePrivateParameters: false).Q;
            (shown["kty"], shown["crv"]) = ("EC", "P-256");
            (shown["x"], shown["y"]) = (Base64UrlEncoder.Encode(point.X), Base64UrlEncoder.Encode(point.Y));
        }
        else
        {
            var numbers = ((RsaSecurityKey)key).Rsa.ExportParameters(includePrivateParameters: false);
            shown["kty"] = "RSA";
            (shown["n"], shown["e"]) = (Base64UrlEncoder.Encode(numbers.Modulus), Base64UrlEncoder.Encode(numbers.Exponent));
        }

        return shown;
    }
}
