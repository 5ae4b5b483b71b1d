using System.Text.RegularExpressions;

namespace Pakhouse.Server;

/// <summary>How a sign-in through the provider that fails ends: in a page for the person, and a line for the operator.</summary>
internal static partial class ProviderFailures
{
    /// <summary>
    /// Nothing of the provider's answer is shown. Only the kinds of the failure and a code such as <c>invalid_client</c> are logged: the
    /// answer can hold anything, and can be anybody's.
    /// </summary>
    public static Task WriteAsync(HttpContext http, Exception? failure)
    {
        var kinds = new List<string>();
        for (var e = failure; e is not null; e = e.InnerException)
            kinds.Add(e.Data["error"] is string code && ErrorCode().IsMatch(code) ? $"{e.GetType().Name}: {code}" : e.GetType().Name);
        var reason = kinds.Count == 0 ? "unknown" : string.Join(" < ", kinds);
        // Who could not be asked is out of reach; who answered something unusable is not.
        var isAway = kinds.Exists(kind =>
            kind
                is nameof(HttpRequestException)
                    or nameof(TaskCanceledException)
                    or nameof(OperationCanceledException)
                    or nameof(IOException)
                    or nameof(TimeoutException)
        );
        var log = http.RequestServices.GetRequiredService<ILoggerFactory>().CreateLogger("Pakhouse.Server.ProviderSignIn");
        LogFailed(log, http.TraceIdentifier, isAway ? "unavailable" : "not usable", reason);
        return RefusalWriter.WriteAsync(http, (isAway ? Away : failed) with { Reason = reason });
    }

    /// <summary>RFC 6749 §4.1.2.1 and §5.2.</summary>
    [GeneratedRegex("^[a-z_]{1,40}\\z", RegexOptions.None, 1000)]
    private static partial Regex ErrorCode();

    public static readonly Refusal Declined = new(
        RefusalCode.AccessDenied,
        "You were not signed in: you or your identity provider declined. Start again from the sign-in page.",
        "declined at the provider"
    );
    private static readonly Refusal failed = new(
        RefusalCode.AccessDenied,
        "Sign-in through your identity provider failed. Start again from the sign-in page; if that does not help, tell the "
            + "operator of this server.",
        "provider's answer refused"
    );
    public static readonly Refusal Over = new(
        RefusalCode.AccessDenied,
        "You have signed out at your identity provider in the meantime. Start again from the sign-in page.",
        "session ended at the provider"
    );
    public static readonly Refusal Away = new(
        RefusalCode.TemporarilyUnavailable,
        "This server cannot reach your identity provider now, or it does not answer in time. Try again in a minute; if that does not help, "
            + "tell the operator of this server.",
        "provider out of reach"
    )
    {
        RetryAfterSeconds = 60,
    };

    [LoggerMessage(
        Level = LogLevel.Warning,
        Message = "{RequestId}: sign-in through the provider failed: its answer was {What} ({Reason})"
    )]
    private static partial void LogFailed(ILogger log, string requestId, string what, string reason);
}
