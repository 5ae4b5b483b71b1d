using System.Security.Cryptography;

namespace Pakhouse.Server;

/// <summary>A found key, without its secret.</summary>
/// <param name="Line">Where its encoded text begins, from 1; 0: in the name of the file.</param>
internal sealed record Finding(string Place, long Line, string Brand, KeyKind Kind, string Id, KeyEncoding Encoding)
{
    public static Finding Of(string place, long line, ReadOnlySpan<byte> key, KeyKind kind, string id, KeyEncoding encoding) =>
        new(place, line, System.Text.Encoding.ASCII.GetString(key[..key.IndexOf((byte)'_')]), kind, id, encoding);
}

/// <summary>
/// Searches a stream of bytes for keys, in one reused buffer. Bytes without a key and without Base64 cost only four vectorized
/// searches: the prefix of all keys, NULs, long pieces of Base64, line breaks.
/// </summary>
internal sealed class KeyScan(Action<ReadOnlySpan<byte>>? keep = null) : IDisposable
{
    /// <summary>Bytes; about the size of a core's second-level cache.</summary>
    private const int BufferLength = 512 * 1024;

    private readonly byte[] buffer = GC.AllocateUninitializedArray<byte>(BufferLength, pinned: true);
    private readonly EncodedKeyFinder finder = new();
    private readonly List<(int Start, Finding Finding)> inBuffer = [];
    private readonly HashSet<(long Start, string Id)> known = [];

    /// <summary>Bytes searched so far.</summary>
    public long Searched { get; private set; }

    /// <param name="read">Fills the front of the given memory and returns the length; 0: the end.</param>
    public void Run(string place, Func<Memory<byte>, int> read, Action<Finding> found)
    {
        known.Clear();
        var (kept, offset, line) = (0, 0L, 1L);
        for (var isEnd = false; !isEnd;)
        {
            var length = kept;
            while (length < BufferLength && !isEnd)
            {
                var count = read(buffer.AsMemory(length));
                isEnd = count == 0;
                length += count;
            }

            Searched += length - kept;
            Search(place, buffer.AsSpan(0, length), offset, line, found);

            // A key can begin in these bytes and end in the next ones.
            kept = Math.Min(length, EncodedKeyFinder.EncodedLengthMax);
            var done = buffer.AsSpan(0, length - kept);
            (offset, line) = (offset + done.Length, line + done.Count((byte)'\n'));
            buffer.AsSpan(done.Length, kept).CopyTo(buffer);
        }
    }

    /// <summary>Searches the name of a file.</summary>
    public void Name(string place, string name, Action<Finding> found)
    {
        known.Clear();
        Search(place, System.Text.Encoding.UTF8.GetBytes(name), 0, 0, found);
    }

    private void Search(string place, ReadOnlySpan<byte> text, long offset, long line, Action<Finding> found)
    {
        inBuffer.Clear();
        finder.Find(text, (at, key, kind, id, encoding) =>
        {
            if (!known.Add((offset + at.Start.Value, id))) return; // with the bytes before, or in another way
            inBuffer.Add((at.Start.Value, Finding.Of(place, 0, key, kind, id, encoding)));
            keep?.Invoke(key);
        });

        var counted = 0;
        foreach (var (start, finding) in inBuffer.OrderBy(one => one.Start))
        {
            line += text[counted..start].Count((byte)'\n');
            counted = start;
            found(finding with { Line = line });
        }
    }

    public void Dispose()
    {
        CryptographicOperations.ZeroMemory(buffer);
        finder.Dispose();
    }
}
