using System.Net;
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Json.Serialization;
using System.Text.RegularExpressions;

namespace Pakhouse.Server;

/// <summary>A message as it will be sent: plain text.</summary>
public sealed record MailContent
{
    /// <summary>Both are written as interpolated strings; <see cref="MailText"/> says what becomes of what stands in them.</summary>
    public MailContent(MailText subject, MailText text) => (Subject, Text) = (subject.ToString(), text.ToString());

    [JsonConstructor]
    private MailContent(string subject, string text) => (Subject, Text) = (subject, text);

    public string Subject { get; }

    public string Text { get; }
}

/// <summary>
/// Text of a message, written as an interpolated string. The literal words are ours. A text in a hole is somebody else's: what a mail
/// program would make a link of is broken apart, and it stays on its line and in its direction. Only what has a type of our own goes in as
/// it is: times, numbers, ids, network addresses, <see cref="Link"/>, and other text of this type.
/// <para>Invariant: a message links to this server and to nothing else, whatever people, keys and organizations are called.</para>
/// </summary>
[InterpolatedStringHandler]
public sealed partial class MailText(int literalLength, int formattedCount)
{
    private readonly StringBuilder text = new(literalLength + formattedCount * 16);

    /// <summary>Where the last foreign text ends in something that the next could make a link of; else -1.</summary>
    private int openEnd = -1;

    /// <summary>Gives an interpolated string this type where the compiler would make it a string.</summary>
    public static MailText Of(MailText text) => text;

    /// <summary>A page of this server.</summary>
    public static MailText Link(PublicAddress address, string path)
    {
        if (!path.StartsWith('/') || path.Any(c => !char.IsAsciiLetterOrDigit(c) && !"/-_?=.".Contains(c, StringComparison.Ordinal)))
            throw new ArgumentException("A path of ours has letters, digits and /-_?=. and nothing else.", nameof(path));
        return Of($"{new Own(address.Value + path)}");
    }

    /// <summary>The address of this server itself.</summary>
    public static MailText Server(PublicAddress address) => Of($"{new Own(address.Value)}");

    /// <summary>A network address that was written down as text.</summary>
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
    /// In one line, without characters that turn or hide what stands beside them, and with a space behind each joint of an address.
    /// </summary>
    private static string Unlinked(string foreign)
    {
        var line = new StringBuilder(foreign.Length);
        foreach (var rune in foreign.EnumerateRunes()) // what is no Unicode comes out as U+FFFD
        {
            if (Checks.IsBreak(rune)) line.Append(' ');
            else if (!Checks.IsFormat(rune)) line.Append(rune);
        }

        return Joint().Replace(line.ToString(), "$0 ");
    }

    private static bool IsJoint(char c) => Joint().IsMatch($"{c}x");

    /// <summary>
    /// Of <c>https://</c>, <c>www.</c>, <c>evil.example</c>, <c>ada@evil.example</c>, <c>//evil</c>, with the forms of these signs that a
    /// domain may have (UTS #46) too.
    /// </summary>
    [GeneratedRegex(
        @"[.:/@\\\u2024\u3002\uFE52\uFF0E\uFF61\uFF1A\uFE55\uFF0F\uFF20\uFE6B](?=\S)",
        RegexOptions.None,
        matchTimeoutMilliseconds: 1000
    )]
    private static partial Regex Joint();

    private readonly record struct Own(string Text);
}
