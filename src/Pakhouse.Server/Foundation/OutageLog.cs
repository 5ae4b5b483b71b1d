namespace Pakhouse.Server;

/// <summary>
/// Says that the database cannot be used: one line when that begins, one a minute while it goes on, one when it is over. However many
/// requests and jobs meet it, nobody else writes a line or a stack trace: an exception that was told is marked (<see cref="IsTold"/>).
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

    /// <param name="exception">What a request or a job met.</param>
    /// <param name="isWhole">False: reads go on, as on a full disk, so a success says nothing about its end.</param>
    public void Tell(Exception exception, bool isWhole)
    {
        if (IsTold(exception)) return;
        exception.Data[Mark] = true;
        long count;
        lock (gate)
        {
            failures++;
            // Not the time of day: a clock that is wrong must not hide an outage.
            if (toldAt is { } last && clock.GetElapsedTime(last) < Interval) return;
            (toldAt, count, failures) = (clock.GetTimestamp(), failures, 0);
            isOn = isWhole;
        }

        LogOutage(exception.Message.ReplaceLineEndings(" "), count);
    }

    /// <summary>The database has answered.</summary>
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
        Message = "The database cannot be used: {Reason} Requests and jobs that met this since the last such line: {Count}")]
    private partial void LogOutage(string reason, long count);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The database answers again")]
    private partial void LogEnd();
}
