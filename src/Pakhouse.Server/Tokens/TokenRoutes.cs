using System.Text.Json.Nodes;
using Microsoft.OpenApi;

namespace Pakhouse.Server;

/// <summary>
/// Describes the exchange, discovery and back-channel logout in docs/openapi.json: these endpoints read and write bytes
/// themselves, so the generator cannot derive their schemas.
/// </summary>
internal static class TokenRoutes
{
    public static void Describe(OpenApiDocument document)
    {
        var scope = ("scope", Bounded("Names separated by spaces or commas. Absent or empty: all that the key allows."));
        document.AddComponent(
            "OAuthError",
            Object(
                "RFC 6749 §5.2.",
                ("error", Text("For programs.", "invalid_grant")),
                ("error_description", Text("One sentence for people; it names the field at fault.")),
                ("message", Text("The same as error_description."))
            )
        );
        document.AddComponent(
            "Token",
            Object(
                "RFC 6749 §5.1.",
                ("access_token", Text("A signed JWT (RFC 9068).")),
                ("token_type", Text("Always Bearer.", "Bearer")),
                ("expires_in", new OpenApiSchema { Type = JsonSchemaType.Integer, Description = "Seconds." }),
                ("scope", Text("What was granted, separated by spaces.", "openid profile email")),
                ("organization_id", Text("The organization that the token is for."))
            )
        );

        foreach (var version in (ReadOnlySpan<int>)[1, 2, 3])
        {
            Add(
                document,
                $"/auth/v{version}/token",
                HttpMethod.Post,
                Exchange(
                    document,
                    $"exchangeKeyV{version}",
                    version == 3 ? "Exchanges a personal access key for a token" : "The same exchange at an older address",
                    version < 3,
                    ["personalAccessKey"],
                    ("personalAccessKey", Bounded("The key. Also under the names personal-access-key and pat.")),
                    scope,
                    (
                        "subOrganization",
                        Bounded(
                            "A sub-organization of the key's root, with or without braces. Also under the name subOrganizationId. Absent "
                                + "or empty: the key's own organization."
                        )
                    )
                )
            );
        }

        Add(
            document,
            "/auth/v1/api-key/token",
            HttpMethod.Post,
            Exchange(
                document,
                "exchangeApiKey",
                "Exchanges an organization's API key for a token",
                false,
                ["name", "secret"],
                ("name", Bounded("The key's name.")),
                ("secret", Bounded("The key.")),
                scope,
                (
                    "organizationId",
                    Bounded("An organization that the key's roles name, with or without braces. Absent or empty: the key's own.")
                )
            )
        );
        Add(
            document,
            "/.well-known/openid-configuration",
            HttpMethod.Get,
            Discovery("getOpenIdConfiguration", "The metadata that a verifier needs (OpenID Connect Discovery 1.0)")
        );
        Add(
            document,
            "/.well-known/oauth-authorization-server",
            HttpMethod.Get,
            Discovery("getAuthorizationServerMetadata", "The metadata that a verifier needs (RFC 8414)")
        );
        Add(
            document,
            "/.well-known/jwks.json",
            HttpMethod.Get,
            Discovery("getKeySet", "The public keys that verify tokens (RFC 7517)", "application/jwk-set+json")
        );
        Add(document, "/sign-in/provider/backchannel-logout", HttpMethod.Post, BackChannelLogout(document), "Sign-in");
    }

    /// <summary>By hand too: the description is the same for a server without a provider, which does not have the route.</summary>
    private static OpenApiOperation BackChannelLogout(OpenApiDocument document)
    {
        var operation = new OpenApiOperation
        {
            OperationId = "backChannelLogout",
            Summary = "The identity provider ends sessions (OpenID Connect Back-Channel Logout 1.0)",
            Description = "Only on a server with OidcAuthority. The token in the form is the credential: the provider has signed it.",
            RequestBody = new OpenApiRequestBody
            {
                Required = true,
                Content = ApiDescription.Content(
                    "application/x-www-form-urlencoded",
                    Object(null, ["logout_token"], ("logout_token", Bounded("A signed JWT (section 2.4).", 8192)))
                ),
            },
            Responses = new OpenApiResponses
            {
                ["200"] = new OpenApiResponse { Description = "The token is good, whether there was a session to end or not. Empty." },
            },
        };
        AddErrors(
            document,
            operation,
            ("400", "invalid_request: the token is not good, or was used before; nothing was ended."),
            ("413", "invalid_request: the form is longer than 16 KB."),
            ("415", "invalid_request: the body is no form."),
            ("429", "slow_down: too many refused tokens from this address; Retry-After says when to try again."),
            ("503", "temporarily_unavailable: the provider's keys cannot be read, or the database is unavailable.")
        );
        return operation;
    }

    private static OpenApiOperation Exchange(
        OpenApiDocument document,
        string id,
        string summary,
        bool isOld,
        string[] required,
        params (string Name, OpenApiSchema Schema)[] fields
    )
    {
        var operation = new OpenApiOperation
        {
            OperationId = id,
            Summary = summary,
            Deprecated = isOld,
            RequestBody = new OpenApiRequestBody
            {
                Required = true,
                Content = ApiDescription.Content("application/x-www-form-urlencoded", Object(null, required, fields)),
            },
            Responses = new OpenApiResponses
            {
                ["200"] = new OpenApiResponse
                {
                    Description = "The token. If the key has an expiry, the header Personal-Access-Key-Expires says when.",
                    Content = ApiDescription.Content("application/json", new OpenApiSchemaReference("Token", document)),
                },
            },
        };
        AddErrors(
            document,
            operation,
            (
                "400",
                "invalid_request or invalid_scope: a field is missing, repeated, too long or out of form; a scope is unknown or "
                    + "beyond the key's."
            ),
            ("401", "invalid_grant: the key is not valid, was deleted, has expired, or its owner cannot use it now."),
            ("403", "access_denied: the key cannot be exchanged for that organization (R3)."),
            ("429", "slow_down: too many failures from this address; Retry-After says when to try again."),
            ("503", "temporarily_unavailable: the database is unavailable; Retry-After says when to try again.")
        );
        return operation;
    }

    private static void AddErrors(
        OpenApiDocument document,
        OpenApiOperation operation,
        params ReadOnlySpan<(string Status, string Description)> errors
    )
    {
        foreach (var (status, description) in errors)
        {
            operation.Responses![status] = new OpenApiResponse
            {
                Description = description,
                Content = ApiDescription.Content("application/json", new OpenApiSchemaReference("OAuthError", document)),
            };
        }
    }

    private static OpenApiOperation Discovery(string id, string summary, string type = "application/json") =>
        new()
        {
            OperationId = id,
            Summary = summary,
            Responses = new OpenApiResponses
            {
                ["200"] = new OpenApiResponse
                {
                    Description = "The document; cacheable for two minutes.",
                    Content = ApiDescription.Content(type, new OpenApiSchema { Type = JsonSchemaType.Object }),
                },
            },
        };

    private static void Add(OpenApiDocument document, string path, HttpMethod method, OpenApiOperation operation, string tag = "Tokens")
    {
        operation.Tags = new HashSet<OpenApiTagReference> { new(tag, document) };
        document.Paths[path] = new OpenApiPathItem { Operations = new() { [method] = operation } };
    }

    private static OpenApiSchema Text(string description, string? example = null) =>
        new()
        {
            Type = JsonSchemaType.String,
            Description = description,
            Examples = example is null ? null : [JsonValue.Create(example)],
        };

    private static OpenApiSchema Bounded(string description, int lengthMax = 2048)
    {
        var schema = Text(description);
        schema.MaxLength = lengthMax;
        return schema;
    }

    private static OpenApiSchema Object(string? description, params (string Name, OpenApiSchema Schema)[] members) =>
        Object(description, [.. members.Select(member => member.Name)], members);

    private static OpenApiSchema Object(string? description, string[] required, params (string Name, OpenApiSchema Schema)[] members) =>
        new()
        {
            Type = JsonSchemaType.Object,
            Description = description,
            Required = new HashSet<string>(required, StringComparer.Ordinal),
            Properties = members.ToDictionary(member => member.Name, member => (IOpenApiSchema)member.Schema, StringComparer.Ordinal),
        };
}
