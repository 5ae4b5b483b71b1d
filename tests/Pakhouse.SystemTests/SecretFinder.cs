using System.Buffers;
using System.Buffers.Binary;

namespace Pakhouse.SystemTests;

/// <summary>
/// Finds pieces of secrets in bytes: any <see cref="PieceLength"/> characters in a row of any of them, as ASCII or as UTF-16.
/// A whole secret that was cut, or half of it, is found too.
/// </summary>
/// <remarks>Two unrelated texts share such a piece with a probability of 62^-12: never, in what is searched here.</remarks>
internal sealed class SecretFinder
{
    public const int PieceLength = 12;

    private static readonly SearchValues<byte> base62 = SearchValues.Create(
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"u8
    );

    // The first eight bytes of each piece lead to the secret.
    private readonly Dictionary<ulong, List<(byte[] Secret, int Offset)>> pieces = [];

    public SecretFinder(IEnumerable<string> secrets)
    {
        foreach (var secret in secrets.Select(System.Text.Encoding.ASCII.GetBytes))
        {
            for (var offset = 0; offset + PieceLength <= secret.Length; offset++)
            {
                var start = BinaryPrimitives.ReadUInt64LittleEndian(secret.AsSpan(offset));
                if (!pieces.TryGetValue(start, out var found)) pieces[start] = found = [];
                found.Add((secret, offset));
            }
        }
    }

    /// <summary>Each secret of which a piece is there: the secret, where, and in which encoding.</summary>
    public List<(string Secret, int At, string Encoding)> Find(ReadOnlySpan<byte> bytes)
    {
        var found = new List<(string, int, string)>();
        FindAscii(bytes, at => at, "ASCII", found);

        // UTF-16: ASCII characters with a zero behind each, from an even or an odd address.
        if (bytes.Length < 2) return found;
        var narrow = ArrayPool<byte>.Shared.Rent(bytes.Length / 2);
        foreach (var parity in (int[])[0, 1])
        {
            var count = (bytes.Length - parity) / 2;
            for (var i = 0; i < count; i++) narrow[i] = bytes[parity + 2 * i + 1] == 0 ? bytes[parity + 2 * i] : (byte)0;
            FindAscii(narrow.AsSpan(0, count), at => parity + 2 * at, "UTF-16", found);
        }

        ArrayPool<byte>.Shared.Return(narrow);
        return found;
    }

    public List<(string Secret, int At, string Encoding)> Find(string text) => Find(System.Text.Encoding.UTF8.GetBytes(text));

    private void FindAscii(ReadOnlySpan<byte> bytes, Func<int, int> position, string encoding, List<(string, int, string)> found)
    {
        for (var start = 0; start < bytes.Length;)
        {
            var next = bytes[start..].IndexOfAny(base62);
            if (next < 0) return;
            start += next;
            var length = bytes[start..].IndexOfAnyExcept(base62);
            if (length < 0) length = bytes.Length - start;
            for (var at = start; at + PieceLength <= start + length; at++)
            {
                if (!pieces.TryGetValue(BinaryPrimitives.ReadUInt64LittleEndian(bytes[at..]), out var candidates)) continue;
                foreach (var (secret, offset) in candidates)
                    if (bytes.Slice(at, PieceLength).SequenceEqual(secret.AsSpan(offset, PieceLength)))
                        found.Add((System.Text.Encoding.ASCII.GetString(secret), position(at), encoding));
            }

            start += length;
        }
    }
}
