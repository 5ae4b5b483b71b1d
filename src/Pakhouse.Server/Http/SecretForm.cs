using System.Buffers;
using System.Collections.Concurrent;
using System.IO.Pipelines;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace Pakhouse.Server;

/// <summary>
/// A form (application/x-www-form-urlencoded) that contains a secret, as bytes. It is never text, because the garbage collector copies text
/// and nobody can wipe it. Disposing wipes the form; reading wipes it in the server's own buffers.
/// </summary>
public sealed class SecretForm : IDisposable
{
    /// <summary>The most bytes of a body.</summary>
    public const int BodyLengthMax = 16 * 1024;

    public const int FieldsMax = 16;

    /// <summary>The most bytes of a decoded value, unless the endpoint sets another limit.</summary>
    public const int ValueLengthMax = 2 * 1024;

    private const int PooledMax = 256;

    // Pinned: the garbage collector does not move them, so it leaves no copies of a secret.
    private static readonly ConcurrentQueue<byte[]> pool = []; // counting a ConcurrentBag takes all its locks

    private readonly Field[] fields = new Field[FieldsMax];
    private byte[] buffer;
    private readonly string[] names;
    private readonly int valueLengthMax;
    private int length;
    private int count;

    private SecretForm(string[] names, int valueLengthMax) =>
        (this.names, this.valueLengthMax, buffer) = (
            names,
            valueLengthMax,
            pool.TryDequeue(out var pooled) ? pooled : GC.AllocateUninitializedArray<byte>(BodyLengthMax, pinned: true)
        );

    private readonly record struct Field(Range Name, Range Value);

    /// <summary>Reads, limits and decodes the body. On a refusal, everything that was read is already wiped.</summary>
    /// <param name="names">The fields of the endpoint. A refusal repeats only these names.</param>
    public static async ValueTask<Outcome<SecretForm>> ReadAsync(HttpRequest request, string[] names, int valueLengthMax = ValueLengthMax)
    {
        if (!IsForm(request.ContentType))
            return wrongType;
        if (request.ContentLength > BodyLengthMax)
            return tooLong;

        var form = new SecretForm(names, valueLengthMax);
        try
        {
            var refusal = await form.FillAsync(request.BodyReader) ?? form.Parse();
            if (refusal is null)
                return form;
            form.Dispose();
            return refusal;
        }
        catch (Exception e)
        {
            form.Dispose();
            if (RequestBodies.IsUnreadable(e))
                throw RequestBodies.Unreadable(e);
            throw;
        }
    }

    /// <summary>
    /// Returns the value of a field that has several names, without white space at its ends. False if none of them is present or the value
    /// is empty, because scripts pass empty variables.
    /// </summary>
    /// <param name="value">Decoded bytes, valid until the form is disposed.</param>
    /// <param name="refusal">Set if two of the names have different values; it names the first of them.</param>
    public bool TryGet(ReadOnlySpan<string> names, out ReadOnlyMemory<byte> value, out Refusal? refusal)
    {
        (value, refusal) = (default, null);
        foreach (var field in fields.AsSpan(0, count))
        {
            if (!IsOneOf(buffer.AsSpan(field.Name), names))
                continue;
            var candidate = Trim(buffer.AsMemory(field.Value));
            if (candidate.IsEmpty)
                continue;
            if (!value.IsEmpty && !CryptographicOperations.FixedTimeEquals(value.Span, candidate.Span))
            {
                refusal = new Refusal(
                    RefusalCode.InvalidRequest,
                    $"{names[0]}: it was sent under two names ({string.Join(", ", names.ToArray())}) with different values; send one.",
                    "two names, two values"
                );
                return false;
            }

            value = candidate;
        }

        return !value.IsEmpty;
    }

    public void Dispose()
    {
        if (buffer.Length == 0)
            return;
        CryptographicOperations.ZeroMemory(buffer.AsSpan(0, length));
        if (pool.Count < PooledMax)
            pool.Enqueue(buffer);
        (buffer, count) = ([], 0);
    }

    private async ValueTask<Refusal?> FillAsync(PipeReader body)
    {
        while (true)
        {
            var result = await body.ReadAsync();
            var isTooLong = length + result.Buffer.Length > BodyLengthMax;
            foreach (var segment in result.Buffer)
            {
                if (!isTooLong)
                {
                    segment.Span.CopyTo(buffer.AsSpan(length));
                    length += segment.Length;
                }

                // The segment is in the server's receive buffer. ZeroingMemoryPool wipes that buffer when it is returned, which for an open
                // connection is later. Nobody reads these bytes again, so they can be wiped now, and no key stays in the pool.
                MemoryMarshal.AsMemory(segment).Span.Clear();
            }

            body.AdvanceTo(result.Buffer.End);
            if (isTooLong)
                return tooLong;
            if (result.IsCompleted)
                return null;
        }
    }

    /// <summary>Splits and decodes in place: decoded text is never longer than its encoding.</summary>
    private Refusal? Parse()
    {
        for (var start = 0; start < length;)
        {
            var end = buffer.AsSpan(start, length - start).IndexOf((byte)'&');
            end = end < 0 ? length : start + end;
            if (end > start)
            {
                if (count == FieldsMax)
                    return new Refusal(
                        RefusalCode.InvalidRequest,
                        $"The form has too many fields. The limit is {FieldsMax}.",
                        "too many fields"
                    );
                var equals = buffer.AsSpan(start, end - start).IndexOf((byte)'=');
                var nameEnd = equals < 0 ? end : start + equals;
                if (!Decode(start, nameEnd, out var name) || !Decode(Math.Min(nameEnd + 1, end), end, out var value))
                    return new Refusal(
                        RefusalCode.InvalidRequest,
                        "The form is not properly encoded: a % must be followed by two hexadecimal digits.",
                        "bad percent encoding"
                    );
                if (value.End.Value - value.Start.Value > valueLengthMax)
                    return new Refusal(
                        RefusalCode.InvalidRequest,
                        $"{Public(buffer.AsSpan(name))}: the value is too long; at most {valueLengthMax} bytes are read.",
                        "value too long"
                    );
                foreach (var field in fields.AsSpan(0, count))
                    if (buffer.AsSpan(field.Name).SequenceEqual(buffer.AsSpan(name)))
                        return new Refusal(
                            RefusalCode.InvalidRequest,
                            $"{Public(buffer.AsSpan(name))}: the field is repeated; send it once.",
                            "repeated field"
                        ); // RFC 6749 §3.2
                fields[count++] = new Field(name, value);
            }

            start = end + 1;
        }

        return null;
    }

    private bool Decode(int start, int end, out Range decoded)
    {
        var isEncoded = FormEncoding.TryDecode(buffer.AsSpan(start, end - start), out var written);
        decoded = start..(start + written);
        return isEncoded;
    }

    /// <summary>A name is text of the caller and could be a misplaced key, so only our own names are repeated.</summary>
    private string Public(ReadOnlySpan<byte> name)
    {
        foreach (var known in names)
            if (Is(name, known))
                return known;
        return "A field";
    }

    private static bool IsOneOf(ReadOnlySpan<byte> name, ReadOnlySpan<string> names)
    {
        foreach (var candidate in names)
            if (Is(name, candidate))
                return true;
        return false;
    }

    private static bool Is(ReadOnlySpan<byte> name, string text) => System.Text.Ascii.Equals(name, text);

    private static ReadOnlyMemory<byte> Trim(ReadOnlyMemory<byte> value) => value.Trim(" \t\r\n"u8);

    private static bool IsForm(string? contentType)
    {
        const string form = "application/x-www-form-urlencoded";
        return contentType is not null
            && contentType.StartsWith(form, StringComparison.OrdinalIgnoreCase)
            && (contentType.Length == form.Length || contentType[form.Length] is ';' or ' ');
    }

    private static readonly Refusal wrongType = Refusal.At(
        "Content-Type",
        RefusalCode.InvalidRequest,
        "send the fields as application/x-www-form-urlencoded, in the body of the request.",
        "wrong content type"
    );
    private static readonly Refusal tooLong = new(
        RefusalCode.InvalidRequest,
        $"The body is too long; at most {BodyLengthMax} bytes are read.",
        "body too long"
    );
}
