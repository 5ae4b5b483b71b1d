namespace Pakhouse.Server;

/// <summary>
/// Logs that the database cannot be used: one line when the outage begins, one a minute while it lasts, one when it ends. However many
/// requests and jobs fail, no other line or stack trace is logged: a reported exception is marked (<see cref="IsTold"/>).
/// </summary>
public sealed partial class OutageLog(TimeProvider clock, ILogger<OutageLog> log)
{
    public static readonly TimeSpan Interval = TimeSpan.FromMinutes(1);

    private const string Mark = "Pakhouse.IsTold";

    private readonly Lock gate = new();
    private long? toldAt;
    private long failures;
    private volatile bool isOn;

    public static bool IsTold(Exception exception) => exception.Data.Contains(Mark);

    /// <param name="exception">The exception of a request or a job.</param>
    /// <param name="isWhole">False: reads still work, as on a full disk, so a success does not end the outage.</param>
    public void Tell(Exception exception, bool isWhole)
    {
        if (IsTold(exception)) return;
        exception.Data[Mark] = true;
        long count;
        lock (gate)
        {
            failures++;
            // Not the time of day: a wrong clock must not hide an outage.
            if (toldAt is { } last && clock.GetElapsedTime(last) < Interval) return;
            (toldAt, count, failures) = (clock.GetTimestamp(), failures, 0);
            isOn = isWhole;
        }

        LogOutage(exception.Message.ReplaceLineEndings(" "), count);
    }

    /// <summary>The database responded.</summary>
    public void End()
    {
        if (!isOn) return;
        lock (gate)
        {
            if (!isOn) return;
            isOn = false;
        }

        LogEnd();
    }

    [LoggerMessage(Level = LogLevel.Error,
        Message = "The database cannot be used: {Reason} Failed requests and jobs since the last such line: {Count}")]
    private partial void LogOutage(string reason, long count);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The database is available again")]
    private partial void LogEnd();
}
