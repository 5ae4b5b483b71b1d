using System.Security.Cryptography;
using System.Text;

namespace Pakhouse.Server;

/// <summary>A found key, without its secret.</summary>
/// <param name="Line">From 1; 0: in the name of the file.</param>
internal sealed record Finding(string Place, long Line, string Brand, KeyKind Kind, string Id)
{
    public static Finding Of(string place, long line, ReadOnlySpan<byte> key, KeyKind kind, string id) =>
        new(place, line, Encoding.ASCII.GetString(key[..key.IndexOf((byte)'_')]), kind, id);
}

/// <summary>
/// Searches a stream of bytes for keys, in one reused buffer. Bytes without a key cost only one vectorized search for the prefix of all
/// keys, and one count of the lines.
/// </summary>
internal sealed class KeyScan(Action<ReadOnlyMemory<byte>>? keep = null) : IDisposable
{
    /// <summary>Bytes; about the size of a core's second-level cache.</summary>
    private const int BufferLength = 512 * 1024;

    private readonly byte[] buffer = GC.AllocateUninitializedArray<byte>(BufferLength, pinned: true);

    /// <summary>Bytes searched so far.</summary>
    public long Searched { get; private set; }

    /// <param name="read">Fills the front of the given memory and returns the length; 0: the end.</param>
    public void Run(string place, Func<Memory<byte>, int> read, Action<Finding> found)
    {
        var (kept, line) = (0, 1L);
        while (read(buffer.AsMemory(kept)) is > 0 and var count)
        {
            Searched += count;
            var text = buffer.AsSpan(0, kept + count);
            for (var at = 0; KeyFinder.TryFind(text, at, out var key, out var kind, out var id); at = key.End.Value)
            {
                if (key.End.Value <= kept) continue; // found with the previous bytes
                found(Finding.Of(place, line + text[..key.Start.Value].Count((byte)'\n'), text[key], kind, id));
                keep?.Invoke(buffer.AsMemory()[key]);
            }

            // A key can begin in these bytes and end in the next ones.
            var next = Math.Min(text.Length, KeyFormat.LengthMax - 1);
            line += text[..^next].Count((byte)'\n');
            text[^next..].CopyTo(buffer);
            kept = next;
        }
    }

    public void Dispose() => CryptographicOperations.ZeroMemory(buffer);
}
