namespace Pakhouse.Server;

/// <summary>
/// Finds keys of whatever brand inside bytes, by the part that all have in common, the grammar and the check digits. Where a key stands
/// alone is not asked: the check digits tell a key behind <c>%22</c> or <c>TOKEN_</c> from chance, which an expression with word boundaries
/// misses.
/// </summary>
internal static class KeyFinder
{
    /// <summary>
    /// Of a key: bytes from the mark that is searched for (<c>ak1_</c>) back to the underscore behind the brand, and from there to the end.
    /// </summary>
    private const int MarkOffset = 2, TailLength = KeyFormat.LengthMax - KeyFormat.BrandLengthMax;

    /// <summary>The next key that begins at or behind <paramref name="from"/>; its end is the place to go on from.</summary>
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

            // The brand may be glued to what stands before it: each length is tried.
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
