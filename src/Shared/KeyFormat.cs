using System.Buffers;
using System.IO.Hashing;
using System.Security.Cryptography;

namespace Pakhouse;

/// <summary>The kind of a key's owner; in the text the part before the version of the format.</summary>
internal enum KeyKind
{
    /// <summary><c>pak</c>: a person's key in one organization.</summary>
    Personal,

    /// <summary><c>oak</c>: an organization's own API key.</summary>
    Organization,
}

/// <summary>
/// The format of a key, and nothing else: no storage, no hashing, no text that outlives the call.
/// <code>
/// ph_pak1_&lt;id:16&gt;_&lt;secret:43&gt;&lt;check:6&gt;      \b[a-z][a-z0-9]{1,15}_[op]ak1_[0-9A-Za-z]{16}_[0-9A-Za-z]{49}\b
/// </code>
/// The kind is constant for every brand, so one scanner rule finds the keys of every deployment. Letters, digits and <c>_</c> only: a
/// double click selects the whole key, and no shell, URL, JSON or form escapes it.
/// </summary>
/// <remarks>docs/protocol.md publishes test vectors; the tests read them from there.</remarks>
internal static class KeyFormat
{
    private const string PersonalMark = "_pak1_";
    private const string OrganizationMark = "_oak1_";

    public const int BrandLengthMin = 2;
    public const int BrandLengthMax = 16;

    /// <summary>Random base62 characters that name the key in public: in logs, on the dashboard, for support.</summary>
    public const int IdLength = 16;

    /// <summary>Uniform base62 characters: 43 × log2(62) = 256.03 bits.</summary>
    public const int SecretLength = 43;

    /// <summary>CRC-32 (IEEE 802.3) of every byte before it, as base62 digits, most significant first.</summary>
    public const int CheckLength = 6;

    /// <summary>The longest key, in characters: the longest brand, kind and version, id, <c>_</c>, secret, check.</summary>
    public const int LengthMax = BrandLengthMax + TailLength;

    /// <summary>Characters from the underscore after the brand to the end.</summary>
    private const int TailLength = 1 + 4 + 1 + IdLength + 1 + SecretLength + CheckLength;

    private const string Base62Text = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    private static readonly SearchValues<byte> base62Bytes = SearchValues.Create(Base62);
    private static readonly SearchValues<char> base62Chars = SearchValues.Create(Base62Text);

    private static ReadOnlySpan<byte> Base62 => "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"u8;

    /// <summary>A new public id: 16 characters of base62, drawn uniformly.</summary>
    public static string NewId() => RandomNumberGenerator.GetString(Base62Text, IdLength);

    /// <summary>Writes a new key: <paramref name="brand"/>, <paramref name="kind"/>, <paramref name="id"/> and a fresh secret.</summary>
    /// <returns>The ASCII bytes of the key. They are a secret: the caller wipes them.</returns>
    public static byte[] Create(string brand, string id, KeyKind kind = KeyKind.Personal)
    {
        if (!IsBrand(brand))
            throw new ArgumentException("A brand is 2 to 16 characters of [a-z0-9] and begins with a letter.", nameof(brand));
        if (!IsId(id))
            throw new ArgumentException("An id is 16 characters of base62.", nameof(id));

        // pinned: the collector leaves no copies
        var key = GC.AllocateUninitializedArray<byte>(brand.Length + TailLength, pinned: true);
        var rest = key.AsSpan();
        rest = Write(rest, brand);
        rest = Write(rest, Mark(kind));
        rest = Write(rest, id);
        rest = Write(rest, "_");
        RandomNumberGenerator.GetItems(Base62, rest[..SecretLength]); // rejection sampling: no character is likelier than another
        WriteCheck(Crc32.HashToUInt32(key.AsSpan(0, key.Length - CheckLength)), rest[SecretLength..]);
        return key;
    }

    /// <summary>
    /// Whether <paramref name="key"/> has the format and correct check digits. This does not prove who wrote it: the check digits are for
    /// scanners and typing errors, not for security.
    /// </summary>
    /// <param name="key">ASCII bytes, untrimmed.</param>
    /// <param name="kind">The kind in the text. The database decides.</param>
    /// <param name="id">The public id; empty if the result is false.</param>
    public static bool TryParse(ReadOnlySpan<byte> key, out KeyKind kind, out string id)
    {
        (kind, id) = (default, "");
        var brandLength = key.Length - TailLength;
        if (brandLength is < BrandLengthMin or > BrandLengthMax)
            return false;
        if (!IsBrand(key[..brandLength]))
            return false;

        var tail = key[brandLength..];
        if (tail.StartsWith("_oak1_"u8))
            kind = KeyKind.Organization;
        else if (!tail.StartsWith("_pak1_"u8))
            return false;
        if (tail[6 + IdLength] != (byte)'_')
            return false;
        var idBytes = tail.Slice(6, IdLength);
        if (idBytes.ContainsAnyExcept(base62Bytes) || tail[(6 + IdLength + 1)..].ContainsAnyExcept(base62Bytes))
            return false;

        Span<byte> check = stackalloc byte[CheckLength];
        WriteCheck(Crc32.HashToUInt32(key[..^CheckLength]), check);
        if (!check.SequenceEqual(key[^CheckLength..]))
            return false;

        id = System.Text.Encoding.ASCII.GetString(idBytes);
        return true;
    }

    /// <summary>
    /// Whether a text that must not contain a key may contain one: it has the prefix that is the same for every brand. For text that is
    /// about to be logged or stored.
    /// </summary>
    public static bool MightContainKey(string text) =>
        text.Contains(PersonalMark, StringComparison.Ordinal) || text.Contains(OrganizationMark, StringComparison.Ordinal);

    public static bool IsId(ReadOnlySpan<char> text) => text.Length == IdLength && !text.ContainsAnyExcept(base62Chars);

    public static bool IsBrand(ReadOnlySpan<char> text)
    {
        if (text.Length is < BrandLengthMin or > BrandLengthMax || !char.IsAsciiLetterLower(text[0]))
            return false;
        foreach (var c in text)
            if (!char.IsAsciiLetterLower(c) && !char.IsAsciiDigit(c))
                return false;
        return true;
    }

    private static bool IsBrand(ReadOnlySpan<byte> text)
    {
        Span<char> chars = stackalloc char[text.Length];
        for (var i = 0; i < text.Length; i++)
            chars[i] = (char)text[i];
        return IsBrand(chars);
    }

    private static string Mark(KeyKind kind) =>
        kind switch
        {
            KeyKind.Personal => PersonalMark,
            KeyKind.Organization => OrganizationMark,
        };

    private static Span<byte> Write(Span<byte> destination, string ascii) =>
        destination[System.Text.Encoding.ASCII.GetBytes(ascii, destination)..];

    private static void WriteCheck(uint crc, Span<byte> destination)
    {
        for (var i = CheckLength - 1; i >= 0; i--, crc /= 62)
            destination[i] = Base62[(int)(crc % 62)];
    }
}
