using System.Buffers;
using System.Buffers.Text;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Security.Cryptography;

namespace Pakhouse.Server;

/// <summary>What a key was wrapped in when it was found.</summary>
[Flags]
internal enum KeyEncoding
{
    None = 0,
    Base64 = 1,
    Utf16 = 2,
}

/// <param name="place">Where the key stands in the text that was searched, as it is encoded there.</param>
/// <param name="key">Decoded; it is a secret, and gone after the call.</param>
internal delegate void KeyFound(Range place, ReadOnlySpan<byte> key, KeyKind kind, string id, KeyEncoding encoding);

/// <summary>
/// Finds keys in text: as they are, in Base64 (RFC 4648 §4 and §5) up to <see cref="Base64DepthMax"/> deep, in UTF-16, and in any mixture
/// of these. It owns how text is unwrapped; what a key is, only <see cref="KeyFinder"/> knows.
/// <para>Invariant: the work for a byte is bounded, whatever the text. At most four decodings of it at each depth.</para>
/// </summary>
/// <remarks>
/// A key consists of letters, digits and <c>_</c>, so its Base64 contains neither of the two characters in which the alphabets differ, no
/// padding and, at any depth, again letters and digits only. Where in a group of four characters it begins is unknown (other text may be
/// glued to it): all four are tried.
/// </remarks>
internal sealed class EncodedKeyFinder : IDisposable
{
    /// <summary>
    /// A registry's credentials in a Kubernetes secret are two deep; a manifest that holds such a secret, in a secret, three.
    /// </summary>
    private const int Base64DepthMax = 3;

    /// <summary>
    /// Characters of Base64 in a row that make a closer look worth it. A key in lines of this width or wider has one such piece.
    /// </summary>
    private const int PieceLengthMin = 32; // bytes of a vector

    /// <summary>Bytes before such a piece in which its first line, if a short one, begins.</summary>
    private const int LeadLength = 128;

    /// <summary>
    /// Bytes between two lines of one Base64 text: a line break, the indentation, what a language puts around strings or a tool before
    /// lines.
    /// </summary>
    private const int BreakLengthMax = 128;

    /// <summary>Characters of Base64 that the shortest key takes.</summary>
    private const int RunLengthMin = ((KeyFormat.LengthMax - KeyFormat.BrandLengthMax + KeyFormat.BrandLengthMin) * 8 + 5) / 6;

    /// <summary>NUL bytes in the shortest key as UTF-16.</summary>
    private const int NulsMin = KeyFormat.LengthMax - KeyFormat.BrandLengthMax + KeyFormat.BrandLengthMin - 1;

    /// <summary>
    /// Bytes that are unwrapped at once: they stay in the nearest cache. In bytes at random there are far fewer NULs than
    /// <see cref="NulsMin"/>.
    /// </summary>
    private const int WindowLength = 8 * 1024;

    /// <summary>
    /// Characters that two windows of a long text share: the longest key in UTF-16, in Base64 of the greatest depth, in lines.
    /// </summary>
    private const int OverlapLength = 1024;

    /// <summary>
    /// Bytes of text in which the longest key fits, however it is encoded and indented. Who searches in parts lets them overlap by this.
    /// </summary>
    public const int EncodedLengthMax = 4 * OverlapLength;

    private static readonly SearchValues<byte> base64 = SearchValues.Create(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_"u8
    );

    /// <summary>Bytes with which begins what <see cref="Layer.NextLine"/> takes for a line break.</summary>
    private static readonly SearchValues<byte> lineBreaks = SearchValues.Create("\n\r\\%"u8);

    private readonly List<Layer> layers = [];
    private KeyFound found = (_, _, _, _, _) => { };

    /// <summary>Each key of the text once or more often, in no certain order; the place tells whether two are one.</summary>
    public void Find(ReadOnlySpan<byte> text, KeyFound found)
    {
        this.found = found;
        Search(text, 0, 0, KeyEncoding.None);
    }

    public void Dispose()
    {
        foreach (var layer in layers) layer.Wipe();
    }

    /// <param name="text">At depth 0 the caller's, else what the layer below made of it.</param>
    private void Search(ReadOnlySpan<byte> text, int depth, int base64Depth, KeyEncoding encoding)
    {
        for (var at = 0; KeyFinder.TryFind(text, at, out var key, out var kind, out var id); at = key.End.Value)
            found(
                Origin(key.Start.Value, depth, isEnd: false)..(Origin(key.End.Value - 1, depth, isEnd: true) + 1),
                text[key],
                kind,
                id,
                encoding
            );
        if (text.Length < RunLengthMin)
            return;

        if (depth == layers.Count)
            layers.Add(new Layer());
        var layer = layers[depth];
        for (var from = 0; from < text.Length; from += WindowLength - 2 * OverlapLength)
        {
            var window = text.Slice(from, Math.Min(WindowLength, text.Length - from));
            if (window.Count((byte)0) >= NulsMin)
                Search(layer.Narrow(window, from), depth + 1, base64Depth, encoding | KeyEncoding.Utf16);
        }

        if (base64Depth == Base64DepthMax)
            return;
        for (var from = 0; FindPiece(text, from) is >= 0 and var piece;)
        {
            from = layer.Gather(text, FirstLine(text, from, piece), piece);
            if (layer.Length < RunLengthMin)
                continue;
            for (var phase = 0; phase < 4; phase++)
                Search(layer.Decode(phase), depth + 1, base64Depth + 1, encoding | KeyEncoding.Base64);
        }
    }

    /// <summary>Where a byte that was unwrapped stands in the caller's text.</summary>
    private int Origin(int at, int depth, bool isEnd)
    {
        while (depth > 0) at = layers[--depth].Origin(at, isEnd);
        return at;
    }

    /// <summary>
    /// Where the next long piece of Base64 begins; -1: there is none. Compares as many bytes at once as such a piece has.
    /// </summary>
    /// <remarks>
    /// Compiled at its best from the start: a scan is over before the tiers of the JIT are through, and took four times as long.
    /// </remarks>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static int FindPiece(ReadOnlySpan<byte> text, int from)
    {
        var (at, length) = (from, 0); // characters of Base64 right before
        for (; at + PieceLengthMin <= text.Length; at += PieceLengthMin)
        {
            var bytes = Vector256.Create(text.Slice(at, PieceLengthMin));
            var isBase64 = IsBetween(bytes | Vector256.Create((byte)0x20), (byte)'a', (byte)'z') | IsBetween(bytes, (byte)'/', (byte)'9')
                | Vector256.Equals(bytes, Vector256.Create((byte)'+')) | Vector256.Equals(bytes, Vector256.Create((byte)'-'))
                | Vector256.Equals(bytes, Vector256.Create((byte)'_'));
            var others = ~isBase64.ExtractMostSignificantBits();
            if (length + BitOperations.TrailingZeroCount(others) >= PieceLengthMin) return at - length;
            length = BitOperations.LeadingZeroCount(others);
        }

        for (; at < text.Length; at++)
        {
            length = base64.Contains(text[at]) ? length + 1 : 0;
            if (length == PieceLengthMin) return at + 1 - length;
        }

        return -1;
    }

    /// <summary>Where to begin if the piece may be the second line of a text whose first is a short one.</summary>
    private static int FirstLine(ReadOnlySpan<byte> text, int from, int piece)
    {
        var lead = text[Math.Max(from, piece - LeadLength)..piece];
        return lead[(lead.LastIndexOfAny(base64) + 1)..].ContainsAny(lineBreaks) ? piece - lead.Length : piece;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<byte> IsBetween(Vector256<byte> bytes, byte first, byte last) =>
        Vector256.LessThanOrEqual(bytes - Vector256.Create(first), Vector256.Create((byte)(last - first)));

    /// <summary>One unwrapping: the text without what does not belong to it, and where each part of it came from.</summary>
    private sealed class Layer
    {
        // Pinned: the collector leaves no copies behind of what may be secret.
        private readonly byte[] gathered = GC.AllocateUninitializedArray<byte>(WindowLength + 3, pinned: true);
        private readonly byte[] decoded = GC.AllocateUninitializedArray<byte>(WindowLength, pinned: true);
        private readonly List<(int At, int Origin)> pieces = [];
        private int phase; // -1: not decoded

        /// <summary>Characters gathered.</summary>
        public int Length { get; private set; }

        /// <summary>UTF-16 of either byte order, and UTF-32, without their NULs are the ASCII that keys are made of.</summary>
        public ReadOnlySpan<byte> Narrow(ReadOnlySpan<byte> window, int from)
        {
            Clear();
            phase = -1;
            for (var at = 0; at < window.Length;)
            {
                var skipped = window[at..].IndexOfAnyExcept((byte)0);
                if (skipped < 0) break;
                at += skipped;
                var length = window[at..].IndexOf((byte)0);
                at += Take(window, at, length < 0 ? window.Length - at : length, from);
            }

            return gathered.AsSpan(0, Length);
        }

        /// <summary>Gathers the Base64 text of which the piece at <paramref name="piece"/> is a part, from its lines.</summary>
        /// <returns>Where to go on: behind it, or in it where it is longer than a window.</returns>
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public int Gather(ReadOnlySpan<byte> text, int from, int piece)
        {
            Clear();
            for (var at = from; ;)
            {
                var length = text[at..].IndexOfAnyExcept(base64);
                if (length < 0) length = text.Length - at;
                at += Take(text, at, length, 0);
                if (Length == WindowLength)
                {
                    phase = -1;
                    return Origin(WindowLength - OverlapLength, isEnd: false);
                }

                var isLast = at > piece && length < PieceLengthMin; // a short line, after full ones
                var next = isLast ? -1 : NextLine(text, at);
                if (next < 0 && at > piece) return at;
                if (next < 0)
                {
                    Clear(); // that was another text before it
                    next = at + text[at..].IndexOfAny(base64);
                }

                at = next;
            }
        }

        /// <summary>The bytes of what was gathered, if the first group of four characters begins at <paramref name="phase"/>.</summary>
        public ReadOnlySpan<byte> Decode(int phase)
        {
            this.phase = phase;
            if (phase == 0)
            {
                var all = gathered.AsSpan(0, Length);
                all.Replace((byte)'-', (byte)'+');
                all.Replace((byte)'_', (byte)'/');
                gathered.AsSpan(Length, 3).Fill((byte)'A'); // the last group may be a part of one: padding is no Base64 for us
            }

            Base64.DecodeFromUtf8(
                gathered.AsSpan(phase, (Length - phase + 3) / 4 * 4),
                decoded,
                out _,
                out var length,
                isFinalBlock: false
            );
            return decoded.AsSpan(0, length);
        }

        /// <param name="at">Of a byte of what the last call made.</param>
        /// <param name="isEnd">Of a decoded byte the last of the two characters that hold it, not the first.</param>
        public int Origin(int at, bool isEnd)
        {
            if (phase >= 0) at = Math.Min(phase + (at * 8 + (isEnd ? 7 : 0)) / 6, Length - 1);
            var (low, high) = (0, pieces.Count - 1);
            while (low < high)
            {
                var middle = (low + high + 1) / 2;
                if (pieces[middle].At <= at) low = middle;
                else high = middle - 1;
            }

            return pieces[low].Origin + at - pieces[low].At;
        }

        public void Wipe()
        {
            CryptographicOperations.ZeroMemory(gathered);
            CryptographicOperations.ZeroMemory(decoded);
        }

        private void Clear()
        {
            Length = 0;
            pieces.Clear();
        }

        private int Take(ReadOnlySpan<byte> text, int at, int length, int offset)
        {
            length = Math.Min(length, WindowLength - Length);
            if (length == 0) return 0;
            text.Slice(at, length).CopyTo(gathered.AsSpan(Length));
            pieces.Add((Length, at + offset));
            Length += length;
            return length;
        }

        /// <summary>
        /// The first letter or digit of the next line, if nothing but other characters stand between; -1: the text does not go on. The line
        /// break may also be one within a string of JSON, of a program, or of a URL.
        /// </summary>
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private static int NextLine(ReadOnlySpan<byte> text, int at)
        {
            var isBroken = false;
            for (var end = Math.Min(text.Length, at + BreakLengthMax); at < end;)
            {
                var rest = text[at..];
                var length = rest[0] switch
                {
                    (byte)'\n' or (byte)'\r' => 1,
                    (byte)'\\' when rest.Length > 1 && rest[1] is (byte)'n' or (byte)'r' => 2,
                    (byte)'%' when rest.Length > 2 && rest[1] == '0' && rest[2] is (byte)'A' or (byte)'a' or (byte)'D' or (byte)'d' => 3,
                    _ => 0,
                };
                isBroken |= length > 0;
                if (length == 0 && char.IsAsciiLetterOrDigit((char)rest[0])) return isBroken ? at : -1;
                at += Math.Max(1, length);
            }

            return -1;
        }
    }
}
