using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Microsoft.AspNetCore.OpenApi;
using Microsoft.OpenApi;

namespace Pakhouse.Server;

/// <summary>
/// The description of the API (OpenAPI 3.1), made from the routes themselves: <c>GET /openapi.json</c>, the page <c>/docs/api</c> and,
/// checked in, docs/openapi.json. Here stands what every route has in common; what is one route's own stands at the route.
/// </summary>
public static partial class ApiDocument
{
    /// <summary>What a parameter means and how far it goes, wherever it stands: one word is one thing all over the API.</summary>
    private static readonly Dictionary<string, (string Description, Action<OpenApiSchema> Bound)> parameters = new(StringComparer.Ordinal)
    {
        ["organizationId"] = ("The organization, with or without braces.", Uuid),
        ["userId"] = ("The person, with or without braces.", Uuid),
        ["keyId"] = ("The public id of the key: the 16 characters after its kind.", schema => schema.Pattern = "^[0-9A-Za-z]{16}$"),
        ["realm"] = ("Whatever the client is used to; it decides nothing.", schema => schema.MaxLength = 255),
        ["action"] = (
            "Of a change: what is to be done; without it nothing is. Of the record: only rows with this action.",
            schema => schema.MaxLength = 64
        ),
        ["userEmail"] = (
            "The invited address, for clients that do not send it in the body.",
            schema => schema.MaxLength = Users.EmailLengthMax
        ),
        ["all"] = ("True: the keys of every member, for owners and managers.", _ => { }
        ),
        ["kind"] = ("organization, or auth for sign-ins; organization by default.", schema => schema.MaxLength = 16),
        ["from"] = ("Only rows from this day or time on.", schema => schema.MaxLength = 64),
        ["to"] = ("Only rows up to this day or time.", schema => schema.MaxLength = 64),
        ["organization"] = ("Only rows of this one of the organization and its sub-organizations.", schema => schema.MaxLength = 64),
        ["person"] = ("Only rows of what this person did or was done to.", schema => schema.MaxLength = Users.EmailLengthMax),
        ["filter"] = (
            "Only keys that this is true of; the answer to a word that is none names those that are.",
            schema => schema.MaxLength = 64
        ),
        ["search"] = ("Words that each stand somewhere in a name or address.", schema => schema.MaxLength = Members.SearchLengthMax),
        ["address"] = ("As if the request came from this IPv4 or IPv6 address.", schema => schema.MaxLength = 64),
        ["scope"] = ("As if these scopes were asked for.", schema => schema.MaxLength = 2048),
        ["overlapSeconds"] = (
            "How long the present key works on: 24 hours by default, 30 days at most.",
            schema => (schema.Minimum, schema.Maximum) = ("0", "2592000")
        ),
        ["id"] = ("The webhook.", schema => schema.Format = "uuid"),
        ["message"] = ("The message, by its id in the list of deliveries.", schema => schema.MaxLength = 64),
        ["first"] = ("How many of the newest to pass over.", schema => (schema.Minimum, schema.Maximum) = ("0", "1000000")),
        ["before"] = ("The next of the page before.", schema => schema.MaxLength = 64),
        ["after"] = ("The next of the page before.", schema => schema.MaxLength = 64),
        ["limit"] = (
            "Entries of a page; 100 by default.",
            schema => (schema.Minimum, schema.Maximum) = ("1", $"{MemberKeys.PageLengthMax}")
        ),
    };

    private static readonly (string Id, int Status, string Description)[] problems =
    [
        ("BadRequest", 400, "Something sent is missing or out of bounds; the message names it."),
        ("Unauthorized", 401, "No token, or one that is not valid any more; WWW-Authenticate says so."),
        ("Forbidden", 403, "The caller may not do this, or not with a key (R7)."),
        ("NotFound", 404, "There is no such thing, or no such thing for this caller (R9)."),
        ("Conflict", 409, "It stands against what is there already: a name taken, the last owner, a limit."),
        ("TooLong", 413, "The body is longer than 64 KB."),
        ("Unavailable", 503, "The database is out of reach; Retry-After says when to try again."),
    ];

    public static void Add(IServiceCollection services) =>
        services
            .AddOpenApi(
                ApiDescription.Name,
                options =>
                {
                    options.ShouldInclude = route => route.HttpMethod != "HEAD"; // wherever GET is
                    options.OpenApiVersion = OpenApiSpecVersion.OpenApi3_1;
                    options.CreateSchemaReferenceId = type =>
                        OpenApiOptions.CreateDefaultSchemaReferenceId(type) is { } id
                            ? (id.StartsWith("Shown", StringComparison.Ordinal) ? id["Shown".Length..] : id)
                            : null;
                    options.AddDocumentTransformer(Frame);
                    options.AddOperationTransformer(Complete);
                    options.AddSchemaTransformer(
                        (schema, _, _) =>
                        {
                            // A number is read from text too; nobody needs to be told.
                            if (schema.Type is { } type && type.HasFlag(JsonSchemaType.Integer) && type.HasFlag(JsonSchemaType.String))
                                (schema.Type, schema.Pattern) = (type & ~JsonSchemaType.String, null);
                            // A docstring breaks its lines where the source does.
                            foreach (var property in schema.Properties?.Values.OfType<OpenApiSchema>() ?? [])
                                if (property.Description is { } text)
                                    property.Description = Whitespace().Replace(text, " ");
                            return Task.CompletedTask;
                        }
                    );
                }
            )
            .AddSingleton<ApiDescription>();

    public static void Map(IEndpointRouteBuilder routes) =>
        routes
            .MapGet(
                "/openapi.json",
                async (HttpContext context, ApiDescription description) =>
                {
                    SecurityHeaders.Set(context.Response);
                    context.Response.Headers.CacheControl = "public, max-age=300";
                    return Results.Text(await description.Json, "application/json");
                }
            )
            .ExcludeFromDescription()
            .ShortCircuit();

    [GeneratedRegex(@"\s+", RegexOptions.None, 1000)]
    private static partial Regex Whitespace();

    private static Task Frame(OpenApiDocument document, OpenApiDocumentTransformerContext context, CancellationToken cancellation)
    {
        document.Info = new OpenApiInfo
        {
            Title = "Pakhouse",
            Version = ApiDescription.Name,
            Summary = "Personal access keys: exchange, verification, and the organizations behind them.",
            Description =
                "docs/protocol.md is the contract in words. Unknown members of a body are ignored; a client ignores unknown members of an "
                    + "answer.",
            License = new OpenApiLicense { Name = "MIT", Identifier = "MIT" },
        };
        document.Servers = [new OpenApiServer { Url = "/", Description = "This server" }];
        document.AddComponent(
            "token",
            new OpenApiSecurityScheme
            {
                Type = SecuritySchemeType.Http,
                Scheme = "bearer",
                BearerFormat = "JWT",
                Description = "A token got in exchange for a key.",
            }
        );
        document.AddComponent(
            "session",
            new OpenApiSecurityScheme
            {
                Type = SecuritySchemeType.ApiKey,
                In = ParameterLocation.Header,
                Name = "RequestVerificationToken",
                Description = "With the session's cookie, for changes: what GET /identity/v1/session gives.",
            }
        );
        document.AddComponent("Problem", Problem());
        foreach (var (id, _, description) in problems)
            document.AddComponent(
                id,
                new OpenApiResponse
                {
                    Description = description,
                    Content = ApiDescription.Content("application/problem+json", new OpenApiSchemaReference("Problem", document)),
                }
            );
        TokenRoutes.Describe(document);
        document.Tags = new HashSet<OpenApiTag>(
            document
                .Paths.SelectMany(path => path.Value.Operations!.Values)
                .SelectMany(operation => operation.Tags ?? new HashSet<OpenApiTagReference>())
                .Select(tag => tag.Name!)
                .Distinct(StringComparer.Ordinal)
                .Order(StringComparer.Ordinal)
                .Select(name => new OpenApiTag { Name = name })
        );
        return Task.CompletedTask;
    }

    /// <summary>The parameters' meaning, who may call, and the errors that follow from both.</summary>
    private static Task Complete(OpenApiOperation operation, OpenApiOperationTransformerContext context, CancellationToken cancellation)
    {
        foreach (var parameter in (operation.Parameters ?? []).OfType<OpenApiParameter>())
        {
            if (!parameters.TryGetValue(parameter.Name!, out var known))
                continue; // the route says it itself, or a test fails
            parameter.Description ??= known.Description;
            if (parameter.Schema is OpenApiSchema schema)
                known.Bound(schema);
        }

        var isCallerNeeded = context.Description.ActionDescriptor.EndpointMetadata.OfType<CallerRequired>().Any();
        operation.Responses ??= [];
        if (isCallerNeeded)
        {
            var document = context.Document!;
            operation.Security =
            [
                new() { [new OpenApiSecuritySchemeReference("token", document)] = [] },
                new() { [new OpenApiSecuritySchemeReference("session", document)] = [] },
            ];
            var isChange = context.Description.HttpMethod is not "GET";
            foreach (var (id, status, _) in problems.Where(problem => isChange || problem.Status is not (409 or 413)))
                operation.Responses.TryAdd($"{status}", new OpenApiResponseReference(id, document));
        }

        return Task.CompletedTask;
    }

    private static void Uuid(OpenApiSchema schema)
    {
        schema.Format = null; // braces are no uuid
        schema.Pattern = "^([0-9a-fA-F-]{36}|\\{[0-9a-fA-F-]{36}\\})$";
    }

    private static OpenApiSchema Problem() =>
        new()
        {
            Type = JsonSchemaType.Object,
            Description = "RFC 9457, with two members for clients that read only those.",
            Required = new HashSet<string>(StringComparer.Ordinal) { "status", "error", "message" },
            Properties = new Dictionary<string, IOpenApiSchema>(StringComparer.Ordinal)
            {
                ["type"] = new OpenApiSchema { Type = JsonSchemaType.String, Description = "What the status means." },
                ["title"] = new OpenApiSchema { Type = JsonSchemaType.String, Description = "The status in words." },
                ["status"] = new OpenApiSchema { Type = JsonSchemaType.Integer, Description = "The HTTP status." },
                ["detail"] = new OpenApiSchema
                {
                    Type = JsonSchemaType.String,
                    Description = "One sentence for people; it names the field at fault and never its value.",
                },
                ["error"] = new OpenApiSchema
                {
                    Type = JsonSchemaType.String,
                    Description = "For programs; it does not change.",
                    Examples = [JsonValue.Create("invalid_request")],
                },
                ["message"] = new OpenApiSchema { Type = JsonSchemaType.String, Description = "The same as detail." },
            },
        };
}
