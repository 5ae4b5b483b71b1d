using System.Globalization;
using System.Text;
using Microsoft.AspNetCore.Identity;

namespace Pakhouse.Server;

/// <summary>
/// E-mail addresses: what a person may enter, and the normal form in which two spellings of an address are equal.
/// <para>Invariant: an accepted address can be written into a message (RFC 5321 §4.1.2, RFC 6531): the local part is a dot-atom, and the
/// domain consists of labels that the DNS allows.</para>
/// </summary>
public static class EmailAddress
{
    public const int LengthMax = 254; // RFC 5321 §4.5.3.1.3
    private const int LocalPartLengthMax = 64; // RFC 5321 §4.5.3.1.1, in octets
    private const int DomainLengthMax = 253;
    private const int LabelLengthMax = 63; // RFC 1035 §2.3.4
    private const string AtomSymbols = "!#$%&'*+-/=?^_`{|}~"; // RFC 5322 §3.2.3

    private static readonly IdnMapping idn = new();

    /// <summary>
    /// Whether mail can be sent to this text. <paramref name="address"/> is the form to store: as the person wrote it, but in normal form
    /// C.
    /// </summary>
    public static bool TryParse(string? text, out string address)
    {
        address = "";
        if (text is null || text.Length > LengthMax * 2 || !Checks.IsUnicode(text))
            return false;
        var candidate = Checks.Normalize(text).Trim();
        var at = candidate.IndexOf('@', StringComparison.Ordinal);
        if (at < 1 || candidate.Length > LengthMax || !IsLocalPart(candidate[..at]) || ToAscii(candidate[(at + 1)..]) is not { } domain)
            return false;
        if (Encoding.UTF8.GetByteCount(candidate[..at]) + 1 + domain.Length > LengthMax || Checks.MightContainSecret(candidate))
            return false;
        address = candidate;
        return true;
    }

    /// <summary>
    /// The same for two spellings of one address: upper and lower case are equal, and so are a domain in its own letters and its
    /// <c>xn--</c> form (RFC 5890 §2.3.2.1). Text that is not an address gets a form that no address has.
    /// </summary>
    public static string Normalize(string text)
    {
        text = Checks.Normalize(text).Trim();
        var at = text.LastIndexOf('@');
        var domain = at < 0 ? null : ToAscii(text[(at + 1)..]);
        return (domain is null ? text : text[..(at + 1)] + domain).ToUpperInvariant();
    }

    private static bool IsLocalPart(string text) =>
        Encoding.UTF8.GetByteCount(text) <= LocalPartLengthMax
        && text.Split('.')
            .All(atom =>
                atom.Length > 0
                && atom.EnumerateRunes()
                    .All(rune =>
                        rune.IsAscii
                            ? Rune.IsLetterOrDigit(rune) || AtomSymbols.Contains((char)rune.Value, StringComparison.Ordinal)
                            : IsWordCharacter(rune)
                    )
            );

    /// <summary>The domain in its DNS form; null: the DNS does not allow it.</summary>
    private static string? ToAscii(string domain)
    {
        var labels = domain.ToLowerInvariant().Split('.');
        for (var i = 0; i < labels.Length; i++)
        {
            if (ToAsciiLabel(labels[i]) is not { } label)
                return null;
            labels[i] = label;
        }

        return string.Join('.', labels) is { Length: <= DomainLengthMax } ascii ? ascii : null;
    }

    private static string? ToAsciiLabel(string label)
    {
        if (label.Length is 0 or > LabelLengthMax || label[0] == '-' || label[^1] == '-')
            return null;
        if (Ascii.IsValid(label))
        {
            if (!label.All(c => char.IsAsciiLetterOrDigit(c) || c == '-'))
                return null;
            if (!label.StartsWith("xn--", StringComparison.Ordinal))
                return label.Length > 3 && label[2..4] == "--" ? null : label; // RFC 5891 §4.2.3.1
        }
        else if (!label.EnumerateRunes().All(rune => rune.Value == '-' || IsWordCharacter(rune)))
        {
            return null;
        }

        // Both directions: an A-label that does not convert back to itself is a second spelling of another domain.
        try
        {
            var unicode = Ascii.IsValid(label) ? idn.GetUnicode(label) : label;
            var ascii = idn.GetAscii(unicode);
            var isWhole = Ascii.IsValid(label) ? ascii == label && !Ascii.IsValid(unicode) : idn.GetUnicode(ascii) == label;
            var canonical = Checks.Normalize(unicode).ToLowerInvariant();
            return
                isWhole
                && unicode == canonical
                && unicode.EnumerateRunes().All(rune => rune.Value == '-' || IsWordCharacter(rune))
                && ascii.Length <= LabelLengthMax
                ? ascii
                : null;
        }
        catch (ArgumentException)
        {
            return null;
        }
    }

    /// <summary>Letters, marks and digits (RFC 5892 §2.1): no spaces, no zero-width characters, no symbols.</summary>
    private static bool IsWordCharacter(Rune rune) =>
        Rune.GetUnicodeCategory(rune)
            is UnicodeCategory.LowercaseLetter
                or UnicodeCategory.UppercaseLetter
                or UnicodeCategory.TitlecaseLetter
                or UnicodeCategory.OtherLetter
                or UnicodeCategory.ModifierLetter
                or UnicodeCategory.NonSpacingMark
                or UnicodeCategory.SpacingCombiningMark
                or UnicodeCategory.DecimalDigitNumber;
}

/// <summary>ASP.NET Core Identity calls this for equal forms; see <see cref="Checks.Normalize"/> for why its own normalizer is not
/// used.</summary>
public sealed class LookupNormalizer : ILookupNormalizer
{
    [return: System.Diagnostics.CodeAnalysis.NotNullIfNotNull(nameof(email))]
    public string? NormalizeEmail(string? email) => email is null ? null : EmailAddress.Normalize(email);

    [return: System.Diagnostics.CodeAnalysis.NotNullIfNotNull(nameof(name))]
    public string? NormalizeName(string? name) => name is null ? null : Checks.Normalize(name).ToUpperInvariant();
}
