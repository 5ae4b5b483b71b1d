namespace Pakhouse.Server;

/// <summary>
/// Compares the clock with the database: before anything else, and then twice a minute. A process with a wrong clock does not start, or
/// responds 503 until the clock is correct.
/// </summary>
/// <param name="bounds">Read each time.</param>
public sealed partial class ClockWatch(
    Database database, Func<Task<TimeBounds>> bounds, GuardedClock clock, Fitness fitness, ILogger<ClockWatch> log) : BackgroundService
{
    public static readonly TimeSpan Interval = TimeSpan.FromSeconds(30);

    /// <summary>The error of a clock; null: it may be correct.</summary>
    internal static string? FaultOf(DateTimeOffset now, TimeBounds bounds) =>
        now < bounds.Earliest ? $"The clock of this machine says {now:u}, which is behind {bounds.Source} by days or hours."
        : now > bounds.Latest ? $"The clock of this machine says {now:u}, which is ahead of {bounds.Source} by days or hours."
        : null;

    /// <summary>One comparison. The server calls it at every tick, and tests call it directly.</summary>
    public async Task CheckAsync()
    {
        var (now, limits) = (clock.Unguarded, await bounds());
        var fault = FaultOf(now, limits);
        if (fault is null) clock.Believe(now, limits);
        if (fault is null) await database.WriteSeenTimeAsync(now, accept: false);
        if (fault is not null && fitness.Fault is null) LogFault(fault);
        fitness.SetClockFault(fault);
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(Interval, clock);
        try
        {
            do
            {
                try
                {
                    await CheckAsync();
                }
                catch (Exception e) when (!stoppingToken.IsCancellationRequested)
                {
                    if (!OutageLog.IsTold(e)) LogNotCompared(e);
                }
            }
            while (await timer.WaitForNextTickAsync(stoppingToken));
        }
        catch (OperationCanceledException)
        {
            // The server is stopping.
        }
    }

    [LoggerMessage(Level = LogLevel.Critical,
        Message = "{Fault} Nothing is signed, rotated, deleted or expired here until it is right; requests are answered 503")]
    private partial void LogFault(string fault);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The clock could not be compared with the database; the comparison is repeated")]
    private partial void LogNotCompared(Exception exception);
}
