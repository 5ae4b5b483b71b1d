using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace Pakhouse.Server;

/// <summary>
/// A body that contains secrets and is not a form, as bytes and never as text. Disposing wipes it; reading wipes it in the server's own
/// buffers, for the same reasons as in <see cref="SecretForm"/>.
/// </summary>
public sealed class SecretBody : IDisposable
{
    private byte[] buffer = GC.AllocateUninitializedArray<byte>(4096, pinned: true); // pinned: the collector leaves no copies
    private int length;

    private SecretBody() { }

    public ReadOnlySpan<byte> Bytes => buffer.AsSpan(0, length);

    /// <summary>Reads the whole body. On a refusal, everything that was read is already wiped.</summary>
    public static async ValueTask<Outcome<SecretBody>> ReadAsync(HttpRequest request, int lengthMax)
    {
        if (request.ContentLength > lengthMax)
            return TooLong(lengthMax);
        if (
            request.HttpContext.Features.Get<Microsoft.AspNetCore.Http.Features.IHttpMaxRequestBodySizeFeature>() is
            { IsReadOnly: false } limit
        )
            limit.MaxRequestBodySize = lengthMax + 1L;
        var body = new SecretBody();
        try
        {
            while (true)
            {
                var result = await request.BodyReader.ReadAsync();
                var isTooLong = body.length + result.Buffer.Length > lengthMax;
                foreach (var segment in result.Buffer)
                {
                    if (!isTooLong)
                        body.Append(segment.Span);
                    MemoryMarshal.AsMemory(segment).Span.Clear();
                }

                request.BodyReader.AdvanceTo(result.Buffer.End);
                if (isTooLong)
                {
                    body.Dispose();
                    return TooLong(lengthMax);
                }

                if (result.IsCompleted)
                    return body;
            }
        }
        catch (Exception e)
        {
            body.Dispose();
            if (RequestBodies.IsUnreadable(e))
                throw RequestBodies.Unreadable(e);
            throw;
        }
    }

    public void Dispose()
    {
        CryptographicOperations.ZeroMemory(buffer);
        (buffer, length) = ([], 0);
    }

    private void Append(ReadOnlySpan<byte> bytes)
    {
        if (length + bytes.Length > buffer.Length)
        {
            var larger = GC.AllocateUninitializedArray<byte>(Math.Max(buffer.Length * 2, length + bytes.Length), pinned: true);
            Bytes.CopyTo(larger);
            CryptographicOperations.ZeroMemory(buffer);
            buffer = larger;
        }

        bytes.CopyTo(buffer.AsSpan(length));
        length += bytes.Length;
    }

    private static Refusal TooLong(int lengthMax) =>
        new(RefusalCode.TooLong, $"The body is too long; at most {lengthMax} bytes are read.", "body too long");
}
