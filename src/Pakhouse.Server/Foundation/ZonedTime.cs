using System.Text.Json;
using System.Text.Json.Serialization;

namespace Pakhouse.Server;

/// <summary>
/// Times in a caller's JSON (RFC 3339 §5.6), with <c>Z</c> or an offset. A time without one is refused, because servers in different zones
/// would read different moments.
/// </summary>
public sealed class ZonedTime : JsonConverter<DateTimeOffset>
{
    public override DateTimeOffset Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        // The framework's reader silently uses the local zone if there is none; a DateTime shows it.
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
