using System.Reflection;
using System.Text.Json;
using Microsoft.AspNetCore.Http.Metadata;

namespace Pakhouse.Server;

/// <summary>
/// The JSON body of an API request, as a parameter of a handler; <see cref="RequestBodies.ReadJsonAsync"/> reads it. Unknown members are
/// ignored. A member that is repeated or has the wrong type is refused by its name, never by its value.
/// </summary>
/// <typeparam name="T">A record whose members may all be absent; the handler checks which are required.</typeparam>
#pragma warning disable CA1000 // the framework reads a parameter by static members of its type
public sealed record Body<T>(Outcome<T> Read) : IEndpointParameterMetadataProvider
    where T : class
{
    private static readonly JsonSerializerOptions json = new(JsonSerializerDefaults.Web)
    {
        MaxDepth = 8,
        AllowDuplicateProperties = false,
        Converters = { new ZonedTime(), new StorableText() },
    };

    public Refusal? Refusal => Read.Refusal;

    public T Value => Read.Value;

    public static async ValueTask<Body<T>> BindAsync(HttpContext context)
    {
        var read = await RequestBodies.ReadJsonAsync(context.Request);
        if (read.Refusal is { } unreadable)
            return new(unreadable);
        if (read.Value.IsEmpty)
            return new(JsonSerializer.Deserialize<T>("{}"u8, json)!); // some clients send everything in the query
        try
        {
            return JsonSerializer.Deserialize<T>(read.Value.Span, json) is { } value ? new(value) : new(notAnObject);
        }
        catch (JsonException e)
        {
            return new(Unreadable(e.Path));
        }
    }

    public static void PopulateMetadata(ParameterInfo parameter, EndpointBuilder builder) =>
        builder.Metadata.Add(new AcceptsMetadata(["application/json"], typeof(T), isOptional: true));

    private static readonly Refusal notAnObject = new(RefusalCode.InvalidRequest, "The body must be a JSON object.", "null for a body");

    /// <param name="path">Such as <c>$.member[0]</c>. Only a name that we know is passed on: the rest is the caller's text.</param>
    private static Refusal Unreadable(string? path)
    {
        var name = path is ['$', '.', .. var rest] ? rest.Split('.', '[')[0] : "";
        var property = typeof(T).GetProperties().FirstOrDefault(property => property.Name.Equals(name, StringComparison.OrdinalIgnoreCase));
        if (property is not null && property.PropertyType == typeof(DateTimeOffset?))
            return new(
                RefusalCode.InvalidRequest,
                $"{JsonNamingPolicy.CamelCase.ConvertName(property.Name)}: write the time once and with its zone, such as "
                    + $"2031-12-24T00:00:00Z.",
                "a time out of form"
            );
        return property is not null
            ? new(
                RefusalCode.InvalidRequest,
                $"{JsonNamingPolicy.CamelCase.ConvertName(property.Name)}: this does not have the expected type, contains the character "
                    + $"NUL, or occurs twice in the body.",
                "a member of the wrong type"
            )
            : new(RefusalCode.InvalidRequest, "The body is not a JSON object of the expected form.", "body out of form");
    }
}
#pragma warning restore CA1000
