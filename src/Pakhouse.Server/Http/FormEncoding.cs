namespace Pakhouse.Server;

/// <summary>application/x-www-form-urlencoded (URL Standard §5.1), on bytes, because decoded values may be secrets.</summary>
internal static class FormEncoding
{
    /// <summary>Decodes in place: decoded text is never longer than its encoding. False: a % without two hexadecimal digits.</summary>
    /// <param name="length">The length of the decoded text, at the front of <paramref name="text"/>.</param>
    public static bool TryDecode(Span<byte> text, out int length)
    {
        length = 0;
        for (var read = 0; read < text.Length; read++)
        {
            var c = text[read];
            if (c == '%')
            {
                if (read + 2 >= text.Length || !IsHex(text[read + 1], out var high) || !IsHex(text[read + 2], out var low)) return false;
                c = (byte)(high << 4 | low);
                read += 2;
            }
            else if (c == '+')
            {
                c = (byte)' ';
            }

            text[length++] = c;
        }

        return true;
    }

    private static bool IsHex(byte c, out int value)
    {
        value = char.IsAsciiHexDigit((char)c) ? (c & 0xF) + (c > '9' ? 9 : 0) : -1;
        return value >= 0;
    }
}
