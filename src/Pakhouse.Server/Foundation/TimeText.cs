using System.Text.Encodings.Web;
using Microsoft.AspNetCore.Html;

namespace Pakhouse.Server;

/// <summary>
/// Times and spans as people read them. The server uses and names UTC only; a script replaces it by the reader's zone.
/// </summary>
public static class TimeText
{
    public static string Date(DateTimeOffset time) => time.UtcDateTime.ToString("d MMM yyyy");

    /// <summary>The day, with the exact time on hover and for assistive technology.</summary>
    public static IHtmlContent OnDay(DateTimeOffset time) => Tag("date", time, Date(time));

    /// <summary>"3 days ago", with the exact time on hover and for assistive technology.</summary>
    public static IHtmlContent Ago(DateTimeOffset time, DateTimeOffset now) => Tag("ago", time, AgoWords(now - time));

    public static IHtmlContent Exactly(DateTimeOffset time) =>
        new HtmlString($"<time datetime=\"{Machine(time)}\" data-time=\"exact\">{Exact(time)}</time>");

    /// <summary>For scripts and <c>datetime</c> attributes.</summary>
    public static string Machine(DateTimeOffset time) => time.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'");

    /// <summary>"8 hours", "90 days": in the largest unit without a remainder.</summary>
    public static string Describe(TimeSpan span)
    {
        var (size, unit) =
            span.Ticks % TimeSpan.TicksPerDay == 0 ? (TimeSpan.TicksPerDay, "day")
            : span.Ticks % TimeSpan.TicksPerHour == 0 ? (TimeSpan.TicksPerHour, "hour")
            : span.Ticks % TimeSpan.TicksPerMinute == 0 ? (TimeSpan.TicksPerMinute, "minute")
            : (TimeSpan.TicksPerSecond, "second");
        return Count(span.Ticks / size, unit);
    }

    public static string Count(long number, string unit) => number == 1 ? $"1 {unit}" : $"{number} {unit}s";

    private static string AgoWords(TimeSpan span) =>
        span switch
        {
            { TotalMinutes: < 1 } => "Just now",
            { TotalMinutes: < 60 } => $"{Count((long)span.TotalMinutes, "minute")} ago",
            { TotalHours: < 48 } => $"{Count((long)span.TotalHours, "hour")} ago",
            { TotalDays: < 60 } => $"{Count((long)span.TotalDays, "day")} ago",
            { TotalDays: < 730 } => $"{Count((long)(span.TotalDays / 30.4), "month")} ago",
            _ => $"{Count((long)(span.TotalDays / 365.25), "year")} ago",
        };

    public static string Exact(DateTimeOffset time) => time.UtcDateTime.ToString("d MMM yyyy, HH:mm 'UTC'");

    private static HtmlString Tag(string kind, DateTimeOffset time, string text) =>
        new(
            $"<time datetime=\"{Machine(time)}\" data-time=\"{kind}\" "
                + $"title=\"{Exact(time)}\"><span>{HtmlEncoder.Default.Encode(text)}</span><span class=\"visually-hidden\"> "
                + $"({Exact(time)})</span></time>"
        );
}
