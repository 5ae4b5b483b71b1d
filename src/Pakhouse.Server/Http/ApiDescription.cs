using Microsoft.AspNetCore.OpenApi;
using Microsoft.OpenApi;

namespace Pakhouse.Server;

/// <summary>The API document, generated once, because the routes do not change while the process runs and callers are anonymous.</summary>
public sealed class ApiDescription
{
    /// <summary>The version of the API, which is also in its URLs.</summary>
    public const string Name = "v1";

    private readonly Lazy<Task<OpenApiDocument>> document;
    private readonly Lazy<Task<string>> json;

    public ApiDescription([FromKeyedServices(Name)] IOpenApiDocumentProvider provider)
    {
        document = new(() => provider.GetOpenApiDocumentAsync());
        json = new(async () => await (await Document).SerializeAsJsonAsync(OpenApiSpecVersion.OpenApi3_1));
    }

    public Task<OpenApiDocument> Document => document.Value;

    public Task<string> Json => json.Value;

    internal static Dictionary<string, OpenApiMediaType> Content(string type, IOpenApiSchema schema) =>
        new(StringComparer.Ordinal) { [type] = new OpenApiMediaType { Schema = schema } };
}
