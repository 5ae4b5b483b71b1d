using System.Text.Json;
using System.Text.Json.Serialization;

namespace Pakhouse.Server;

/// <summary>
/// Times in JSON that a caller sends (RFC 3339 §5.6): with <c>Z</c> or an offset. One without is refused: read in the zone of a server, it
/// would mean another moment at each of two servers.
/// </summary>
public sealed class ZonedTime : JsonConverter<DateTimeOffset>
{
    public override DateTimeOffset Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        // The framework's reader takes the local zone where none stands, and does not tell; a DateTime tells.
        if (
            reader.TokenType != JsonTokenType.String
            || !reader.TryGetDateTimeOffset(out var time)
            || !reader.TryGetDateTime(out var local)
            || local.Kind == DateTimeKind.Unspecified
        )
            throw new JsonException("A time is written as 2027-01-31T00:00:00Z: with Z or an offset.");
        return time;
    }

    public override void Write(Utf8JsonWriter writer, DateTimeOffset value, JsonSerializerOptions options) =>
        writer.WriteStringValue(value);
}
