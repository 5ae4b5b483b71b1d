using System.Collections.Concurrent;
using System.Text.Json;

namespace Pakhouse.Server;

/// <summary>The policy of an organization: the one in force and at most one announced change.</summary>
/// <param name="EnforcedFrom">From this time on <paramref name="Next"/> applies instead. Both null: no change is announced.</param>
public sealed record PolicyPlan(Policy Current, Policy? Next = null, DateTimeOffset? EnforcedFrom = null)
{
    public static PolicyPlan None { get; } = new(Policy.None);

    /// <param name="text">As stored; null: no policy was ever set.</param>
    public static PolicyPlan Parse(string? text) => text is null ? None : JsonSerializer.Deserialize<PolicyPlan>(text, Policy.Json)!;

    /// <summary>The policy at a time. A change whose date has come is no longer an announcement.</summary>
    public PolicyPlan At(DateTimeOffset time) => EnforcedFrom <= time ? new(Next!) : this;

    public override string ToString() => JsonSerializer.Serialize(this, Policy.Json);
}

/// <summary>
/// The policy at any time where up to three organizations count: the key's own, its root, and the one that the token is for. It is a pure
/// function of the stored texts, so the parse of a text is cached.
/// </summary>
public sealed class PolicyTimeline
{
    private const int KeptMax = 1_000;

    private static readonly ConcurrentDictionary<(string?, string?, string?), PolicyTimeline> kept = new();
    private static int keptCount; // Count of the dictionary takes all its locks

    private readonly (DateTimeOffset From, Policy Policy)[] steps;

    private PolicyTimeline(PolicyPlan[] plans)
    {
        DateTimeOffset[] times =
        [
            DateTimeOffset.MinValue,
            .. plans.Select(plan => plan.EnforcedFrom).OfType<DateTimeOffset>().Distinct().Order(),
        ];
        steps = [.. times.Select(time => (time, plans.Select(plan => plan.At(time).Current).Aggregate(Policy.Stricter)))];
    }

    /// <summary>No organization has a policy.</summary>
    public static PolicyTimeline None { get; } = new([PolicyPlan.None]);

    /// <param name="own">Each of them as stored; null where there is none.</param>
    public static PolicyTimeline Of(string? own, string? root = null, string? target = null)
    {
        if (own is null && root is null && target is null)
            return None;
        if (kept.TryGetValue((own, root, target), out var known))
            return known;
        if (Interlocked.Increment(ref keptCount) > KeptMax)
        {
            kept.Clear();
            Volatile.Write(ref keptCount, 1);
        }

        return kept[(own, root, target)] = new([PolicyPlan.Parse(own), PolicyPlan.Parse(root), PolicyPlan.Parse(target)]);
    }

    public Policy At(DateTimeOffset time)
    {
        var last = steps.Length - 1;
        while (steps[last].From > time)
            last--;
        return steps[last].Policy;
    }

    /// <summary>The announced changes, ordered by date.</summary>
    public IEnumerable<(DateTimeOffset From, Policy Policy)> After(DateTimeOffset time) =>
        steps.Length == 1 ? [] : steps.Where(step => step.From > time);

    /// <summary>The date of the first announced change that would refuse the key; null: there is none.</summary>
    public DateTimeOffset? NextViolationAt(Policy.Subject subject, DateTimeOffset now)
    {
        foreach (var (from, policy) in After(now))
            if (policy.FirstViolation(subject, from) is not null)
                return from;
        return null;
    }

    /// <summary>The current and all announced policies together. A new key must satisfy them, so that it is not refused in a few
    /// days.</summary>
    public Policy Strictest(DateTimeOffset now) => After(now).Select(step => step.Policy).Aggregate(At(now), Policy.Stricter);

    /// <summary>When the longest lifetime ends a key; null: never.</summary>
    public DateTimeOffset? LifetimeEnd(DateTimeOffset createdAt, DateTimeOffset now)
    {
        var end = createdAt + At(now).LifetimeMax;
        foreach (var (from, policy) in After(now))
        {
            if (createdAt + policy.LifetimeMax is not { } capped)
                continue;
            var stop = capped > from ? capped : from;
            if (end is null || stop < end)
                end = stop;
        }

        return end;
    }
}
