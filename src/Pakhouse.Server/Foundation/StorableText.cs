using System.Text.Json;
using System.Text.Json.Serialization;

namespace Pakhouse.Server;

/// <summary>
/// Texts in JSON that a caller sends: without NUL, which PostgreSQL does not store. A lone surrogate is refused by the framework's reader.
/// </summary>
public sealed class StorableText : JsonConverter<string>
{
    public override string? Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        // Null never comes here. A number or an object throws in GetString what the serializer reports as a member of the wrong type.
        if (reader.TokenType != JsonTokenType.String) throw new JsonException("A text was expected.");
        var text = reader.GetString()!;
        return text.Contains('\0', StringComparison.Ordinal) ? throw new JsonException("A text holds the character NUL.") : text;
    }

    public override void Write(Utf8JsonWriter writer, string value, JsonSerializerOptions options) => writer.WriteStringValue(value);
}
