namespace Pakhouse.Server;

/// <summary>
/// Whether this process may work: its clock agrees with the database, and its database is the newest state ever served.
/// </summary>
public sealed class Fitness
{
    private volatile string? clockFault, stateFault;

    /// <summary>What is wrong and what to do; null: nothing is wrong.</summary>
    public string? Fault => stateFault ?? clockFault;

    /// <summary>True: the database was replaced. Only a restart can repair that.</summary>
    public bool IsStateAtFault => stateFault is not null;

    public void SetClockFault(string? fault) => clockFault = fault;

    public void SetStateFault(string fault) => stateFault = fault;
}

/// <summary>This process may not work now; see <see cref="Fitness"/>.</summary>
public sealed class UnfitException(string message) : Exception(message);

/// <summary>
/// The only clock of the process. It does not return the time to a process that is not fit. So everything that signs, rotates, deletes or
/// expires by time is guarded here, and no job or request can forget it.
/// </summary>
/// <remarks>A clock can jump between two comparisons, so it is trusted only near the time of the last one.</remarks>
public sealed class GuardedClock(TimeProvider clock, Fitness fitness) : TimeProvider
{
    /// <summary>Much longer than the time between two comparisons.</summary>
    private static readonly TimeSpan belief = TimeSpan.FromHours(1);

    private long from = long.MinValue,
        to = long.MaxValue; // ticks

    /// <summary>The machine's time, correct or not.</summary>
    public DateTimeOffset Unguarded => clock.GetUtcNow();

    public bool IsFit => fitness.Fault is null && IsBelieved(clock.GetUtcNow());

    /// <summary>The clock was just compared and is correct.</summary>
    public void Believe(DateTimeOffset now, TimeBounds bounds)
    {
        var isBound = bounds != TimeBounds.Any;
        Volatile.Write(ref from, isBound ? (now - belief).UtcTicks : long.MinValue);
        Volatile.Write(ref to, isBound ? (now + belief).UtcTicks : long.MaxValue);
    }

    public override TimeZoneInfo LocalTimeZone => clock.LocalTimeZone;

    public override long TimestampFrequency => clock.TimestampFrequency;

    /// <exception cref="UnfitException">The time cannot be trusted, or the process may not work.</exception>
    public override DateTimeOffset GetUtcNow()
    {
        if (fitness.Fault is { } fault)
            throw new UnfitException(fault);
        var now = clock.GetUtcNow();
        return IsBelieved(now)
            ? now
            : throw new UnfitException("The clock of this machine has jumped. It must be compared with the database first.");
    }

    public override long GetTimestamp() => clock.GetTimestamp();

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) =>
        clock.CreateTimer(callback, state, dueTime, period);

    private bool IsBelieved(DateTimeOffset now) => now.UtcTicks >= Volatile.Read(ref from) && now.UtcTicks <= Volatile.Read(ref to);
}

/// <summary>The interval in which the time of a correct clock lies.</summary>
/// <param name="Source">The source of the interval, for people.</param>
public sealed record TimeBounds(DateTimeOffset Earliest, DateTimeOffset Latest, string Source)
{
    public static TimeBounds Any { get; } = new(DateTimeOffset.MinValue, DateTimeOffset.MaxValue, "nothing");
}
