using System.Net;
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Json.Serialization;
using System.Text.RegularExpressions;

namespace Pakhouse.Server;

/// <summary>A message as it is sent: plain text.</summary>
public sealed record MailContent
{
    /// <summary>Both are interpolated strings; <see cref="MailText"/> explains how values in them are treated.</summary>
    public MailContent(MailText subject, MailText text) => (Subject, Text) = (subject.ToString(), text.ToString());

    [JsonConstructor]
    private MailContent(string subject, string text) => (Subject, Text) = (subject, text);

    public string Subject { get; }

    public string Text { get; }
}

/// <summary>
/// Text of a message, written as an interpolated string. The literal parts are ours. A string value is somebody else's text: whatever a
/// mail program would turn into a link is broken apart, and line breaks and direction changes are removed. Only values of our own types are
/// inserted unchanged: times, numbers, ids, network addresses, <see cref="Link"/>, and other text of this type.
/// <para>Invariant: a message links only to this server, whatever the names of people, keys and organizations.</para>
/// </summary>
[InterpolatedStringHandler]
public sealed partial class MailText(int literalLength, int formattedCount)
{
    private readonly StringBuilder text = new(literalLength + formattedCount * 16);

    /// <summary>Where the last foreign text ends, if the next text could turn it into a link; otherwise -1.</summary>
    private int openEnd = -1;

    /// <summary>Gives an interpolated string this type where the compiler would use string.</summary>
    public static MailText Of(MailText text) => text;

    /// <summary>A page of this server.</summary>
    public static MailText Link(PublicAddress address, string path)
    {
        if (!path.StartsWith('/') || path.Any(c => !char.IsAsciiLetterOrDigit(c) && !"/-_?=.".Contains(c, StringComparison.Ordinal)))
            throw new ArgumentException("A path of ours has letters, digits and /-_?=. and nothing else.", nameof(path));
        return Of($"{new Own(address.Value + path)}");
    }

    /// <summary>The URL of this server.</summary>
    public static MailText Server(PublicAddress address) => Of($"{new Own(address.Value)}");

    /// <summary>A network address that was stored as text.</summary>
    public static MailText Network(string? address) => IPAddress.TryParse(address, out var parsed) ? Of($"{parsed}") : Of($"{address}");

    public static MailText Join(string separator, IEnumerable<MailText> parts)
    {
        var joined = new MailText(0, 0);
        foreach (var part in parts)
        {
            if (joined.text.Length > 0) joined.AppendLiteral(separator);
            joined.AppendFormatted(part);
        }

        return joined;
    }

    public void AppendLiteral(string literal)
    {
        text.Append(literal);
        openEnd = -1;
    }

    public void AppendFormatted(string? foreign)
    {
        var unlinked = Unlinked(foreign ?? "");
        if (unlinked.Length == 0) return;
        if (openEnd == text.Length && !char.IsWhiteSpace(unlinked[0])) text.Append(' ');
        text.Append(unlinked);
        openEnd = IsJoint(unlinked[^1]) ? text.Length : -1;
    }

    public void AppendFormatted(MailText? part) => AppendLiteral(part?.ToString() ?? "");

    public void AppendFormatted(DateTimeOffset time) => AppendLiteral(TimeText.Exact(time));

    public void AppendFormatted(TimeSpan span) => AppendLiteral(TimeText.Describe(span));

    public void AppendFormatted(long number) => AppendLiteral(number.ToString());

    public void AppendFormatted(Guid id) => AppendLiteral(id.ToString());

    public void AppendFormatted(IPAddress? address) => AppendLiteral(address?.ToString() ?? "the server itself");

    private void AppendFormatted(Own own) => AppendLiteral(own.Text);

    public override string ToString() => text.ToString();

    /// <summary>
    /// In one line, without characters that change or hide the surrounding text, and with a space after each separator of an address.
    /// </summary>
    private static string Unlinked(string foreign)
    {
        var line = new StringBuilder(foreign.Length);
        foreach (var rune in foreign.EnumerateRunes()) // invalid Unicode becomes U+FFFD
        {
            if (Checks.IsBreak(rune)) line.Append(' ');
            else if (!Checks.IsFormat(rune)) line.Append(rune);
        }

        return Joint().Replace(line.ToString(), "$0 ");
    }

    private static bool IsJoint(char c) => Joint().IsMatch($"{c}x");

    /// <summary>
    /// The separators of <c>https://</c>, <c>www.</c>, <c>evil.example</c>, <c>ada@evil.example</c>, <c>//evil</c>, and the other forms of
    /// these signs that a domain may have (UTS #46).
    /// </summary>
    [GeneratedRegex(
        @"[.:/@\\\u2024\u3002\uFE52\uFF0E\uFF61\uFF1A\uFE55\uFF0F\uFF20\uFE6B](?=\S)",
        RegexOptions.None,
        matchTimeoutMilliseconds: 1000
    )]
    private static partial Regex Joint();

    private readonly record struct Own(string Text);
}
