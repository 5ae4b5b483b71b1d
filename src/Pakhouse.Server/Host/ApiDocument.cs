using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Microsoft.AspNetCore.OpenApi;
using Microsoft.OpenApi;

namespace Pakhouse.Server;

/// <summary>
/// The API document (OpenAPI 3.1), generated from the routes: <c>GET /openapi.json</c>, the page <c>/docs/api</c> and docs/openapi.json.
/// This file has what all routes share; what belongs to one route is next to the route.
/// </summary>
public static partial class ApiDocument
{
    /// <summary>The meaning and bounds of each parameter: a name means the same everywhere in the API.</summary>
    private static readonly Dictionary<string, (string Description, Action<OpenApiSchema> Bound)> parameters = new(StringComparer.Ordinal)
    {
        ["organizationId"] = ("The organization, with or without braces.", Uuid),
        ["userId"] = ("The person, with or without braces.", Uuid),
        ["keyId"] = ("The public id of the key: the 16 characters after its kind.", schema => schema.Pattern = "^[0-9A-Za-z]{16}$"),
        ["realm"] = ("Any name; it is ignored.", schema => schema.MaxLength = 255),
        ["action"] = (
            "For a change: the action; it is required. For the activity: only rows with this action.",
            schema => schema.MaxLength = 64
        ),
        ["userEmail"] = (
            "The invited address, for clients that do not send it in the body.",
            schema => schema.MaxLength = Users.EmailLengthMax
        ),
        ["all"] = ("True: the keys of every member, for owners and managers.", _ => { }
        ),
        ["kind"] = ("organization, or auth for sign-ins; organization by default.", schema => schema.MaxLength = 16),
        ["from"] = ("Only rows from this day or time.", schema => schema.MaxLength = 64),
        ["to"] = ("Only rows up to this day or time.", schema => schema.MaxLength = 64),
        ["organization"] = ("Only rows of this organization or sub-organization.", schema => schema.MaxLength = 64),
        ["person"] = ("Only rows in which this person acted or was affected.", schema => schema.MaxLength = Users.EmailLengthMax),
        ["filter"] = (
            "Only keys that match this filter; the error for an unknown filter lists the known ones.",
            schema => schema.MaxLength = 64
        ),
        ["search"] = ("Words that must each occur in a name or address.", schema => schema.MaxLength = Members.SearchLengthMax),
        ["address"] = ("As if the request came from this IPv4 or IPv6 address.", schema => schema.MaxLength = 64),
        ["scope"] = ("As if these scopes were requested.", schema => schema.MaxLength = 2048),
        ["overlapSeconds"] = (
            "How long the current key keeps working: 24 hours by default, 30 days at most.",
            schema => (schema.Minimum, schema.Maximum) = ("0", "2592000")
        ),
        ["id"] = ("The webhook.", schema => schema.Format = "uuid"),
        ["message"] = ("The message, by its id in the list of deliveries.", schema => schema.MaxLength = 64),
        ["first"] = ("How many of the newest to skip.", schema => (schema.Minimum, schema.Maximum) = ("0", "1000000")),
        ["before"] = ("The value of next from the previous page.", schema => schema.MaxLength = 64),
        ["after"] = ("The value of next from the previous page.", schema => schema.MaxLength = 64),
        ["limit"] = (
            "Entries of a page; 100 by default.",
            schema => (schema.Minimum, schema.Maximum) = ("1", $"{MemberKeys.PageLengthMax}")
        ),
    };

    private static readonly (string Id, int Status, string Description)[] problems =
    [
        ("BadRequest", 400, "A field is missing or out of bounds; the message names it."),
        ("Unauthorized", 401, "There is no token, or it is no longer valid; see WWW-Authenticate."),
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
                            // A number may also be sent as text; the document does not mention it.
                            if (schema.Type is { } type && type.HasFlag(JsonSchemaType.Integer) && type.HasFlag(JsonSchemaType.String))
                                (schema.Type, schema.Pattern) = (type & ~JsonSchemaType.String, null);
                            // A docstring has the line breaks of its source.
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
                Description = "A token from the exchange of a key.",
            }
        );
        document.AddComponent(
            "session",
            new OpenApiSecurityScheme
            {
                Type = SecuritySchemeType.ApiKey,
                In = ParameterLocation.Header,
                Name = "RequestVerificationToken",
                Description = "For changes with the session's cookie: the value from GET /identity/v1/session.",
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

    /// <summary>Adds the meaning of the parameters, who may call, and the errors that follow from both.</summary>
    private static Task Complete(OpenApiOperation operation, OpenApiOperationTransformerContext context, CancellationToken cancellation)
    {
        foreach (var parameter in (operation.Parameters ?? []).OfType<OpenApiParameter>())
        {
            if (!parameters.TryGetValue(parameter.Name!, out var known))
                continue; // the route describes it, or a test fails
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
        schema.Format = null; // an id in braces is not of the format uuid
        schema.Pattern = "^([0-9a-fA-F-]{36}|\\{[0-9a-fA-F-]{36}\\})$";
    }

    private static OpenApiSchema Problem() =>
        new()
        {
            Type = JsonSchemaType.Object,
            Description = "RFC 9457, with two more members for older clients.",
            Required = new HashSet<string>(StringComparer.Ordinal) { "status", "error", "message" },
            Properties = new Dictionary<string, IOpenApiSchema>(StringComparer.Ordinal)
            {
                ["type"] = new OpenApiSchema { Type = JsonSchemaType.String, Description = "The meaning of the status." },
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
