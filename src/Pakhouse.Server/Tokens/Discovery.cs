using System.Text.Json;
using System.Text.Json.Serialization;

namespace Pakhouse.Server;

/// <summary>
/// The metadata that a verifier needs and may cache: issuer, endpoints, public keys (RFC 8414, OpenID Connect Discovery 1.0, RFC 7517). It
/// is public and makes no decision.
/// </summary>
public static class Discovery
{
    /// <summary>
    /// Much shorter than the shortest publication of a signing key, so a verifier that respects it never meets an unknown key.
    /// </summary>
    private const int MaxAgeSeconds = 120;

    private static readonly JsonSerializerOptions json = new()
    {
        Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    };

    private sealed record Metadata
    {
        [JsonPropertyName("issuer")] public required string Issuer { get; init; }
        [JsonPropertyName("token_endpoint")] public required string TokenEndpoint { get; init; }
        [JsonPropertyName("jwks_uri")] public required string JwksUri { get; init; }
        [JsonPropertyName("scopes_supported")] public required IEnumerable<string>? Scopes { get; init; }
        [JsonPropertyName("claims_supported")]
        public string[] Claims { get; } =
        [
            "iss",
            "sub",
            "aud",
            "client_id",
            "exp",
            "iat",
            "jti",
            "scope",
            "org_id",
            "root_org_id",
            "currentOrganizationId",
            "membership",
            "roles",
            "key_id",
            "status",
            "name",
            "email",
        ];
        [JsonPropertyName("token_endpoint_auth_methods_supported")] public string[] AuthenticationMethods { get; } = ["none"];

        [JsonPropertyName("introspection_endpoint")] public required string IntrospectionEndpoint { get; init; }
        [JsonPropertyName("introspection_endpoint_auth_methods_supported")]
        public string[] IntrospectionAuthenticationMethods { get; } = ["client_secret_basic", "client_secret_post"];
        [JsonPropertyName("revocation_endpoint")] public required string RevocationEndpoint { get; init; }
        [JsonPropertyName("revocation_endpoint_auth_methods_supported")]
        public string[] RevocationAuthenticationMethods { get; } = ["none"];
        [JsonPropertyName("status_list_aggregation_endpoint")] public required string StatusLists { get; init; }
        [JsonPropertyName("userinfo_endpoint")] public required string UserInfoEndpoint { get; init; }

        // RFC 8414 §3.2: an empty list is omitted. So response_types_supported and grant_types_supported, which both specifications
        // require, are absent.
        [JsonPropertyName("subject_types_supported")] public string[] SubjectTypes { get; } = ["public"];
        [JsonPropertyName("id_token_signing_alg_values_supported")] public required string[] Algorithms { get; init; }
    }

    private sealed record KeySet([property: JsonPropertyName("keys")] IEnumerable<PublicKey> Keys);

    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapGet("/.well-known/openid-configuration", WriteMetadataAsync).ShortCircuit();
        routes.MapGet("/.well-known/oauth-authorization-server", WriteMetadataAsync).ShortCircuit();
        routes.MapGet("/.well-known/jwks.json", WriteKeysAsync).ShortCircuit();
    }

    private static Task WriteMetadataAsync(HttpContext context)
    {
        var services = context.RequestServices;
        var issuer = services.GetRequiredService<PublicAddress>().Value;
        return WriteAsync(context, new Metadata
        {
            Issuer = issuer,
            TokenEndpoint = $"{issuer}/auth/v3/token",
            JwksUri = $"{issuer}/.well-known/jwks.json",
            IntrospectionEndpoint = $"{issuer}/oauth/introspect",
            RevocationEndpoint = $"{issuer}/oauth/revoke",
            StatusLists = $"{issuer}/status-lists",
            UserInfoEndpoint = $"{issuer}/userinfo",
            Scopes = services.GetRequiredService<PakhouseOptions>().Scopes is var scopes && scopes.Count > 0 ? scopes : null,
            Algorithms = [.. services.GetRequiredService<SigningKeys>().Published.Select(key => key.Public.Algorithm).Distinct()],
        }, "application/json");
    }

    private static Task WriteKeysAsync(HttpContext context) =>
        WriteAsync(
            context,
            new KeySet(context.RequestServices.GetRequiredService<SigningKeys>().Published.Select(key => key.Public)),
            "application/jwk-set+json"
        );

    private static Task WriteAsync<T>(HttpContext context, T document, string contentType)
    {
        context.Response.Headers.CacheControl = $"public, max-age={MaxAgeSeconds}";
        return context.Response.WriteAsJsonAsync(document, json, contentType, context.RequestAborted);
    }
}
