using Microsoft.AspNetCore.Mvc.RazorPages;
using Microsoft.OpenApi;

namespace Pakhouse.Server;

/// <summary>The API document as a page: public, rendered on the server, without any script.</summary>
public sealed class ApiDocsModel(ApiDescription description, PublicAddress address) : PageModel
{
    /// <summary>A route as the page shows it.</summary>
    public sealed record Call(string Method, string Path, OpenApiOperation Operation)
    {
        public string Id => Operation.OperationId!;

        public IOpenApiSchema? Body => Operation.RequestBody?.Content?.Values.FirstOrDefault()?.Schema;
    }

    public OpenApiDocument Document { get; private set; } = null!;

    public string Address => address.Value;

    public IReadOnlyList<IGrouping<string, Call>> Groups { get; private set; } = [];

    public async Task OnGetAsync()
    {
        Document = await description.Document;
        Groups =
        [
            .. Document
                .Paths.SelectMany(path => path.Value.Operations!.Select(one => new Call(one.Key.Method, path.Key, one.Value)))
                .GroupBy(call => call.Operation.Tags!.First().Name!, StringComparer.Ordinal)
                .OrderBy(group => group.Key, StringComparer.Ordinal),
        ];
    }

    /// <summary>The members of an object: name, schema and whether it is always present.</summary>
    public static IEnumerable<(string Name, IOpenApiSchema Schema, bool IsRequired)> Members(IOpenApiSchema? schema) =>
        (schema?.Properties ?? new Dictionary<string, IOpenApiSchema>(StringComparer.Ordinal)).Select(member =>
            (member.Key, member.Value, schema!.Required?.Contains(member.Key) == true)
        );

    /// <summary>The named shape that a schema refers to, directly or in a list; null: there is none.</summary>
    public static string? ShapeOf(IOpenApiSchema? schema) =>
        schema switch
        {
            null => null,
            OpenApiSchemaReference reference => reference.Reference.Id,
            { Items: { } items } => ShapeOf(items),
            { OneOf: { Count: > 0 } several } => several.Select(ShapeOf).FirstOrDefault(shape => shape is not null),
            _ => null,
        };

    /// <summary>The type in words, with its bounds.</summary>
    public static string TypeOf(IOpenApiSchema? schema)
    {
        if (schema is null)
            return "anything";
        if (schema is OpenApiSchemaReference reference)
            return reference.Reference.Id!;
        if (schema.OneOf is { Count: > 0 } several)
            return string.Join(" or ", several.Select(TypeOf).Order(StringComparer.Ordinal));
        if (schema.Items is { } items)
            return $"list of {TypeOf(items)}";
        var type = schema.Type ?? JsonSchemaType.String;
        var word =
            type.HasFlag(JsonSchemaType.String)
                ? schema.Format switch
                {
                    "uuid" => "UUID",
                    "date-time" => "time (RFC 3339)",
                    _ => "text",
                }
            : type.HasFlag(JsonSchemaType.Integer) ? "whole number"
            : type.HasFlag(JsonSchemaType.Boolean) ? "true or false"
            : type.HasFlag(JsonSchemaType.Number) ? "number"
            : type == JsonSchemaType.Null ? "null"
            : "object";
        if (schema.MaxLength is { } length)
            word += $", at most {length} characters";
        if (schema is { Minimum: { } minimum, Maximum: { } maximum })
            word += $", {minimum} to {maximum}";
        return type.HasFlag(JsonSchemaType.Null) && type != JsonSchemaType.Null ? $"{word}, or null" : word;
    }
}
