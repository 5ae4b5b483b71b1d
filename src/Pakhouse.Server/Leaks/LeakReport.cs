using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace Pakhouse.Server;

/// <summary>One match as a scanner reports it.</summary>
/// <param name="TextHash">SHA-256 of the text that the scanner reported as a key, as it was sent.</param>
/// <param name="Type">The scanner's name of the match; empty if it has none.</param>
/// <param name="Key">The key in that text; null: there is none with correct format and check digits.</param>
internal sealed record LeakMatch(byte[] TextHash, string Type, ReportedKey? Key);

/// <summary>Reads reports from JSON without ever turning a key into a string.</summary>
internal static class LeakReport
{
    /// <summary>The most bytes of a text that is searched for a key; a longer one is not a key and is skipped.</summary>
    private const int TextLengthMax = 1024;

    private const int TypeLengthMax = 200;
    private const int PlaceLengthMax = 500;

    /// <summary><c>{"keys":["…"]}</c>. Null: the form is wrong, or it has more than <paramref name="countMax"/> keys.</summary>
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
                    matches.Add(scratch.Match(ref reader));
                }

                if (reader.TokenType != JsonTokenType.EndArray) return null;
            }

            return reader.TokenType == JsonTokenType.EndObject && !reader.Read() ? matches : null;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            return null; // its message can contain what was sent
        }
    }

    /// <summary>
    /// <c>[{"token":"…","type":"…","url":"…"}]</c>: GitHub's message; GitLab calls the last member <c>location</c>. Null: the form is
    /// wrong.
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
                    reader.Skip(); // one wrong item must not stop the revocation of the others
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
                        match = scratch.Match(ref reader);
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
        catch (Exception e) when (e is JsonException or InvalidOperationException) // the second: text that is not Unicode
        {
            return null;
        }
    }

    /// <summary>Text of a reporter, for a message to people: limited, in one line, and never with a key in it.</summary>
    private static string? Printable(ReadOnlySpan<byte> text, int lengthMax)
    {
        var words = new string([.. Encoding.UTF8.GetString(text).Where(c => !char.IsControl(c) && !char.IsSurrogate(c)).Take(lengthMax)]);
        return words.Length == 0 || Checks.MightContainSecret(words) ? null : words;
    }

    /// <summary>The buffer in which texts are unescaped and searched, wiped at the end.</summary>
    private sealed class Scratch : IDisposable
    {
        private readonly EncodedKeyFinder finder = new();
        // as \u005f it is six times as long
        private readonly byte[] buffer = GC.AllocateUninitializedArray<byte>(TextLengthMax * 6, pinned: true);

        public ReadOnlySpan<byte> Text(ref Utf8JsonReader reader) =>
            reader.ValueSpan.Length > buffer.Length ? [] : buffer.AsSpan(0, reader.CopyString(buffer));

        /// <summary>
        /// The text that the reader stands at, and the first key in it. Scanners report what they matched, which may be Base64.
        /// </summary>
        public LeakMatch Match(ref Utf8JsonReader reader)
        {
            var text = Text(ref reader);
            ReportedKey? first = null;
            finder.Find(text, (_, key, _, id, _) => first ??= new ReportedKey(id, SHA256.HashData(key)));
            return new LeakMatch(SHA256.HashData(text), "", first);
        }

        public void Dispose()
        {
            CryptographicOperations.ZeroMemory(buffer);
            finder.Dispose();
        }
    }
}
