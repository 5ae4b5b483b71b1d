using System.Security.Cryptography;
using System.Text;

namespace Pakhouse.Server;

/// <summary>A key that was found. Its secret is not here.</summary>
/// <param name="Line">From 1; 0: in the name of the file.</param>
internal sealed record Finding(string Place, long Line, string Brand, KeyKind Kind, string Id)
{
    public static Finding Of(string place, long line, ReadOnlySpan<byte> key, KeyKind kind, string id) =>
        new(place, line, Encoding.ASCII.GetString(key[..key.IndexOf((byte)'_')]), kind, id);
}

/// <summary>
/// Searches a stream of bytes for keys, in one buffer that is used again and again. One search for the mark of all keys, which is
/// vectorised, and one count of the lines: nothing else is done for bytes without a key.
/// </summary>
internal sealed class KeyScan(Action<ReadOnlyMemory<byte>>? keep = null) : IDisposable
{
    /// <summary>Bytes; about what the second cache of a core holds.</summary>
    private const int BufferLength = 512 * 1024;

    private readonly byte[] buffer = GC.AllocateUninitializedArray<byte>(BufferLength, pinned: true);

    /// <summary>Bytes searched since it was made.</summary>
    public long Searched { get; private set; }

    /// <param name="read">Fills the front of what it is given and says how much; 0: the end.</param>
    public void Run(string place, Func<Memory<byte>, int> read, Action<Finding> found)
    {
        var (kept, line) = (0, 1L);
        while (read(buffer.AsMemory(kept)) is > 0 and var count)
        {
            Searched += count;
            var text = buffer.AsSpan(0, kept + count);
            for (var at = 0; KeyFinder.TryFind(text, at, out var key, out var kind, out var id); at = key.End.Value)
            {
                if (key.End.Value <= kept) continue; // found with the bytes before
                found(Finding.Of(place, line + text[..key.Start.Value].Count((byte)'\n'), text[key], kind, id));
                keep?.Invoke(buffer.AsMemory()[key]);
            }

            // A key can begin in these bytes and end in the next.
            var next = Math.Min(text.Length, KeyFormat.LengthMax - 1);
            line += text[..^next].Count((byte)'\n');
            text[^next..].CopyTo(buffer);
            kept = next;
        }
    }

    public void Dispose() => CryptographicOperations.ZeroMemory(buffer);
}
