using System.Text.Json;
using System.Text.Json.Serialization;

namespace Pakhouse.Server;

/// <summary>
/// Texts in a caller's JSON, without NUL, which PostgreSQL cannot store. The framework's reader refuses unpaired surrogates.
/// </summary>
public sealed class StorableText : JsonConverter<string>
{
    public override string? Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        // Null never gets here. For a number or an object, GetString throws what the serializer reports as a member of the wrong type.
        if (reader.TokenType != JsonTokenType.String) throw new JsonException("A text was expected.");
        var text = reader.GetString()!;
        return text.Contains('\0', StringComparison.Ordinal) ? throw new JsonException("A text holds the character NUL.") : text;
    }

    public override void Write(Utf8JsonWriter writer, string value, JsonSerializerOptions options) => writer.WriteStringValue(value);
}
