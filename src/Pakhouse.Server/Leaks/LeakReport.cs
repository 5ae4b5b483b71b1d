using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace Pakhouse.Server;

/// <summary>One match as a scanner reports it.</summary>
/// <param name="TextHash">SHA-256 of the text that the scanner took for a key, as it was sent.</param>
/// <param name="Type">The scanner's name for what it found; empty where it has none.</param>
/// <param name="Key">The key in that text; null: there is none by grammar and check digits.</param>
internal sealed record LeakMatch(byte[] TextHash, string Type, ReportedKey? Key);

/// <summary>Reads reports out of JSON without ever making text of a key.</summary>
internal static class LeakReport
{
    /// <summary>Bytes of one text in which a key is looked for; a longer one is no key and is skipped.</summary>
    private const int TextLengthMax = 1024;

    private const int TypeLengthMax = 200;
    private const int PlaceLengthMax = 500;

    /// <summary><c>{"keys":["…"]}</c>. Null: it is not that, or holds more than <paramref name="countMax"/>.</summary>
    public static List<LeakMatch>? ReadKeys(ReadOnlySpan<byte> json, int countMax)
    {
        using var scratch = new Scratch();
        try
        {
            var reader = new Utf8JsonReader(json, new JsonReaderOptions { MaxDepth = 4 });
            if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject) return null;
            List<LeakMatch>? matches = null;
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                var isKeys = reader.ValueTextEquals("keys"u8);
                if (!reader.Read()) return null;
                if (!isKeys)
                {
                    reader.Skip();
                    continue;
                }

                if (matches is not null || reader.TokenType != JsonTokenType.StartArray) return null;
                matches = [];
                while (reader.Read() && reader.TokenType == JsonTokenType.String)
                {
                    if (matches.Count == countMax) return null;
                    matches.Add(Match(scratch.Text(ref reader), "", null));
                }

                if (reader.TokenType != JsonTokenType.EndArray) return null;
            }

            return reader.TokenType == JsonTokenType.EndObject && !reader.Read() ? matches : null;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            return null; // its message can hold what was sent
        }
    }

    /// <summary>
    /// <c>[{"token":"…","type":"…","url":"…"}]</c>: GitHub's message; GitLab calls the last one <c>location</c>. Null: it is not that.
    /// </summary>
    public static List<LeakMatch>? ReadMatches(ReadOnlySpan<byte> json)
    {
        using var scratch = new Scratch();
        try
        {
            var reader = new Utf8JsonReader(json, new JsonReaderOptions { MaxDepth = 8 });
            if (!reader.Read() || reader.TokenType != JsonTokenType.StartArray)
                return null;
            var matches = new List<LeakMatch>();
            while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
            {
                if (reader.TokenType != JsonTokenType.StartObject)
                {
                    reader.Skip(); // one foreign item does not keep the others alive
                    continue;
                }

                var (type, place) = ("", (string?)null);
                LeakMatch? match = null;
                while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
                {
                    var name =
                        reader.ValueTextEquals("token"u8) ? 't'
                        : reader.ValueTextEquals("type"u8) ? 'y'
                        : reader.ValueTextEquals("url"u8) || reader.ValueTextEquals("location"u8) ? 'p'
                        : ' ';
                    if (!reader.Read())
                        return null;
                    if (reader.TokenType != JsonTokenType.String)
                        reader.Skip();
                    else if (name == 't')
                        match = Match(scratch.Text(ref reader), "", null);
                    else if (name == 'y')
                        type = Printable(scratch.Text(ref reader), TypeLengthMax) ?? "";
                    else if (name == 'p')
                        place = Printable(scratch.Text(ref reader), PlaceLengthMax);
                }

                if (reader.TokenType != JsonTokenType.EndObject)
                    return null;
                if (match is not null)
                    matches.Add(match with { Type = type, Key = match.Key is null ? null : match.Key with { FoundAt = place } });
            }

            return reader.TokenType == JsonTokenType.EndArray && !reader.Read() ? matches : null;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException) // the second: text that is no Unicode
        {
            return null;
        }
    }

    private static LeakMatch Match(ReadOnlySpan<byte> text, string type, string? place)
    {
        var key = KeyFinder.TryFind(text, 0, out var range, out _, out var id)
            ? new ReportedKey(id, SHA256.HashData(text[range]), place)
            : null;
        return new LeakMatch(SHA256.HashData(text), type, key);
    }

    /// <summary>Somebody else's words, for a message to people: bounded, in one line, and never with a key in them.</summary>
    private static string? Printable(ReadOnlySpan<byte> text, int lengthMax)
    {
        var words = new string([.. Encoding.UTF8.GetString(text).Where(c => !char.IsControl(c) && !char.IsSurrogate(c)).Take(lengthMax)]);
        return words.Length == 0 || Checks.MightContainSecret(words) ? null : words;
    }

    /// <summary>Where texts are unescaped, wiped at the end.</summary>
    private sealed class Scratch : IDisposable
    {
        // as \u005f it is six times as long
        private readonly byte[] buffer = GC.AllocateUninitializedArray<byte>(TextLengthMax * 6, pinned: true);

        public ReadOnlySpan<byte> Text(ref Utf8JsonReader reader) =>
            reader.ValueSpan.Length > buffer.Length ? [] : buffer.AsSpan(0, reader.CopyString(buffer));

        public void Dispose() => CryptographicOperations.ZeroMemory(buffer);
    }
}
