using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using ADRaffy.ENSNormalize;

namespace Pakhouse.Server;

/// <summary>
/// The rules for text that a caller chooses and this server keeps: names, and words that are compared or hashed. Every free text is checked
/// here.
/// <para>Invariant: accepted text is valid Unicode in normal form C (UAX #15), is visible, cannot change the direction of surrounding text,
/// and contains no secret of a known kind.</para>
/// </summary>
public static partial class Checks
{
    /// <summary>Letters that are invisible, although their category says otherwise: fillers of Hangul, and the empty Braille
    /// cell.</summary>
    private static readonly SearchValues<char> blanks = SearchValues.Create("\u115F\u1160\u2800\u3164\uFFA0");

    /// <summary>Null if the text can be a name: one line of 1 to <paramref name="lengthMax"/> characters.</summary>
    /// <param name="field">The caller's name of the field; the refusal begins with it.</param>
    /// <param name="lengthMax">In UTF-16 units, after normalisation.</param>
    /// <param name="name">The form to store and compare: normalized, without surrounding white space.</param>
    public static Refusal? Name(string? text, string field, int lengthMax, out string name)
    {
        name = "";
        // Before any expensive work: the work below grows with the text.
        if (text?.Length > lengthMax * 4)
            return TooLong(field, lengthMax);
        if (!IsUnicode(text))
            return Refusal.At(field, RefusalCode.InvalidRequest, $"this is not valid Unicode text; enter it again.", $"{field} no Unicode");
        name = Normalize(text ?? "").Trim();
        if (name.Length == 0)
            return Refusal.At(field, RefusalCode.InvalidRequest, $"enter 1 to {lengthMax} characters.", $"{field} empty");
        if (name.Length > lengthMax)
            return TooLong(field, lengthMax);
        if (name.EnumerateRunes().Any(IsForbidden))
            return Refusal.At(
                field,
                RefusalCode.InvalidRequest,
                $"use no line breaks, control characters or characters that change the direction of text.",
                $"{field} with control characters"
            );
        if (!name.EnumerateRunes().Any(IsVisible))
            return Refusal.At(field, RefusalCode.InvalidRequest, $"enter at least one character that can be seen.", $"{field} invisible");
        return MightContainSecret(name)
            ? Refusal.At(
                field,
                RefusalCode.InvalidRequest,
                $"this looks like a key or another secret, which is not allowed here. Nothing was stored. Others may have seen "
                    + $"it: delete that key.",
                $"{field} with a secret"
            )
            : null;
    }

    /// <summary>
    /// Normal form C. The framework's own <c>Normalize</c> changes nothing here: <c>InvariantGlobalization</c> is on, because ICU is not
    /// available everywhere. Text that is not Unicode is returned unchanged; nothing equals it.
    /// </summary>
    public static string Normalize(string text) => Ascii.IsValid(text) || !IsUnicode(text) ? text : ENSNormalize.NF.NFC(text);

    /// <summary>False: the text has an unpaired surrogate. It has no UTF-8 form, and PostgreSQL would refuse it.</summary>
    public static bool IsUnicode(string? text)
    {
        for (var rest = text.AsSpan(); !rest.IsEmpty;)
        {
            if (Rune.DecodeFromUtf16(rest, out _, out var length) != OperationStatus.Done)
                return false;
            rest = rest[length..];
        }

        return true;
    }

    /// <summary>
    /// Whether a text that must not contain a secret may contain one: a key, a token, a webhook's secret, a private key; also
    /// percent-encoded or as Base64.
    /// </summary>
    public static bool MightContainSecret(string text) =>
        InAnyEncoding(
            text,
            one =>
                KeyFormat.MightContainKey(one)
                || one.Contains("whsec_", StringComparison.Ordinal)
                || one.Contains("PRIVATE KEY-----", StringComparison.Ordinal)
                || Token().IsMatch(one)
        );

    /// <summary>The same for keys only, of any brand: for URLs, in which a token of the receiver is allowed.</summary>
    public static bool MightContainKey(string text) => InAnyEncoding(text, KeyFormat.MightContainKey);

    private static bool InAnyEncoding(string text, Func<string, bool> isFound)
    {
        if (isFound(text) || (text.Contains('%', StringComparison.Ordinal) && isFound(Uri.UnescapeDataString(text))))
            return true;
        // Base64 of either alphabet (RFC 4648 §4, §5), as in the header of Basic authentication. A word or a path may be glued to it, so
        // its groups of four characters may begin anywhere.
        foreach (var word in Base64Words().EnumerateMatches(text))
            for (var phase = 0; phase < 4; phase++)
            {
                var encoded = text.Substring(word.Index + phase, (word.Length - phase) / 4 * 4).Replace('-', '+').Replace('_', '/');
                var bytes = new byte[encoded.Length];
                if (Convert.TryFromBase64String(encoded, bytes, out var length) && isFound(Encoding.Latin1.GetString(bytes, 0, length)))
                    return true;
            }

        return false;
    }

    /// <summary>
    /// Control characters, line and paragraph separators, and characters that override, embed or isolate a direction (UAX #9 §2).
    /// </summary>
    private static bool IsForbidden(Rune rune) =>
        Rune.GetUnicodeCategory(rune) is UnicodeCategory.Control or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator
        || rune.Value is (>= 0x202A and <= 0x202E) or (>= 0x2066 and <= 0x2069) or (>= 0xFFF9 and <= 0xFFFB)
        || (rune.Value & 0xFFFE) == 0xFFFE;

    /// <summary>Characters that begin a new line or have an effect instead of a shape.</summary>
    internal static bool IsBreak(Rune rune) =>
        Rune.GetUnicodeCategory(rune) is UnicodeCategory.Control or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator;

    /// <summary>
    /// Directions, tags and other invisible characters, except the joiners, which some scripts need.
    /// </summary>
    internal static bool IsFormat(Rune rune) =>
        Rune.GetUnicodeCategory(rune) == UnicodeCategory.Format && rune.Value is not (0x200C or 0x200D);

    /// <summary>False: blanks, marks and everything invisible.</summary>
    internal static bool IsVisible(Rune rune) =>
        Rune.GetUnicodeCategory(rune) switch
        {
            UnicodeCategory.Control
            or UnicodeCategory.Format
            or UnicodeCategory.Surrogate
            or UnicodeCategory.PrivateUse
            or UnicodeCategory.OtherNotAssigned => false,
            UnicodeCategory.SpaceSeparator or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator => false,
            UnicodeCategory.NonSpacingMark or UnicodeCategory.SpacingCombiningMark or UnicodeCategory.EnclosingMark => false,
            _ => !rune.IsBmp || !blanks.Contains((char)rune.Value),
        };

    private static Refusal TooLong(string field, int lengthMax) =>
        Refusal.At(field, RefusalCode.InvalidRequest, $"this is too long; enter at most {lengthMax} characters.", $"{field} too long");

    /// <summary>A JWT (RFC 7519): header and payload are JSON objects, so both have the same beginning.</summary>
    [GeneratedRegex(@"eyJ[A-Za-z0-9_-]{8,}\.eyJ", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex Token();

    /// <summary>Long enough to contain the prefix of a key, and longer than a word of a language.</summary>
    [GeneratedRegex("[A-Za-z0-9+/_-]{32,}", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex Base64Words();
}
