using System.Buffers;
using System.Buffers.Text;
using System.Text.Json;

namespace Pakhouse;

/// <summary>
/// The exact form of our access tokens (RFC 7515 §7.1, RFC 9068). The library that verifies signatures accepts more: padding after a part,
/// a duplicate name, text after the JSON, a critical header, times as text. Here one token has one text, and one meaning for every reader.
/// </summary>
internal static class CompactToken
{
    private static readonly JsonDocumentOptions strict = new() { AllowDuplicateProperties = false };

    /// <summary>The longest token lifetime that a server can be set to.</summary>
    private const long LifetimeMaxSeconds = 24 * 60 * 60;

    /// <summary>How far the issuer's clock may be ahead.</summary>
    private const long AheadMaxSeconds = 5 * 60;

    private static readonly SearchValues<char> alphabet =
        SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");

    /// <summary>Checks neither the signature nor whether the token has expired.</summary>
    public static bool IsWellFormed(ReadOnlySpan<char> token, DateTimeOffset now)
    {
        Span<Range> parts = stackalloc Range[4];
        return token.Split(parts, '.') == 3
            && IsBase64Url(token[parts[2]])
            && IsObject(token[parts[0]], header => !header.TryGetProperty("crit"u8, out _)) // RFC 7515 §4.1.11: we support none
            && IsObject(token[parts[1]], claims => HasTimes(claims, now.ToUnixTimeSeconds()));
    }

    private static bool IsBase64Url(ReadOnlySpan<char> part) => !part.IsEmpty && part.IndexOfAnyExcept(alphabet) < 0
        && Base64Url.IsValid(part);

    private static bool HasTimes(JsonElement claims, long now) =>
        Read(claims, "iat"u8) is { } made && Read(claims, "exp"u8) is { } end && made > 0 && made <= now + AheadMaxSeconds && end > made
            && end - made <= LifetimeMaxSeconds;

    private static long? Read(JsonElement claims, ReadOnlySpan<byte> name) =>
        claims.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.Number && value.TryGetInt64(out var seconds)
            ? seconds : null;

    private static bool IsObject(ReadOnlySpan<char> part, Func<JsonElement, bool> isGood)
    {
        if (!IsBase64Url(part)) return false;
        var bytes = ArrayPool<byte>.Shared.Rent(Base64Url.GetMaxDecodedLength(part.Length));
        try
        {
            if (!Base64Url.TryDecodeFromChars(part, bytes, out var length)) return false;
            using var json = JsonDocument.Parse(bytes.AsMemory(0, length), strict);
            return json.RootElement.ValueKind == JsonValueKind.Object && isGood(json.RootElement);
        }
        catch (JsonException)
        {
            return false;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(bytes, clearArray: true);
        }
    }
}
