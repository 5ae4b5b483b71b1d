namespace Pakhouse.Server;

/// <summary>
/// Finds keys of any brand in bytes, by their common part, the format and the check digits. A key need not be a separate word: the check
/// digits distinguish a key after <c>%22</c> or <c>TOKEN_</c> from chance, which an expression with word boundaries would miss.
/// </summary>
internal static class KeyFinder
{
    /// <summary>
    /// Bytes of a key from the searched prefix (<c>ak1_</c>) back to the underscore after the brand, and from there to the end.
    /// </summary>
    private const int MarkOffset = 2, TailLength = KeyFormat.LengthMax - KeyFormat.BrandLengthMax;

    /// <summary>The next key that begins at or after <paramref name="from"/>; continue at its end.</summary>
    public static bool TryFind(ReadOnlySpan<byte> text, int from, out Range key, out KeyKind kind, out string id)
    {
        for (var at = from; at < text.Length;)
        {
            var next = text[at..].IndexOf("ak1_"u8); // vectorised
            if (next < 0) break;
            at += next;
            var tail = at - MarkOffset;
            at++;
            if (tail - KeyFormat.BrandLengthMin < from || tail + TailLength > text.Length || text[tail] != (byte)'_') continue;

            // The brand may be joined to the preceding text, so each length is tried.
            for (var start = tail - KeyFormat.BrandLengthMin; start >= Math.Max(from, tail - KeyFormat.BrandLengthMax); start--)
            {
                if (!KeyFormat.TryParse(text[start..(tail + TailLength)], out kind, out id)) continue;
                key = start..(tail + TailLength);
                return true;
            }
        }

        (key, kind, id) = (default, default, "");
        return false;
    }
}
