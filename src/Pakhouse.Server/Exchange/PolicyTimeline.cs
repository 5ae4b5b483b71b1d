using System.Collections.Concurrent;
using System.Text.Json;

namespace Pakhouse.Server;

/// <summary>What an organization has set: what is in force and, at most one, the change that is announced.</summary>
/// <param name="EnforcedFrom">From then on <paramref name="Next"/> holds instead. Both null: nothing is announced.</param>
public sealed record PolicyPlan(Policy Current, Policy? Next = null, DateTimeOffset? EnforcedFrom = null)
{
    public static PolicyPlan None { get; } = new(Policy.None);

    /// <param name="text">As stored; null: nothing was ever set.</param>
    public static PolicyPlan Parse(string? text) => text is null ? None : JsonSerializer.Deserialize<PolicyPlan>(text, Policy.Json)!;

    /// <summary>At a time; a change whose date has come is no longer an announcement.</summary>
    public PolicyPlan At(DateTimeOffset time) => EnforcedFrom <= time ? new(Next!) : this;

    public override string ToString() => JsonSerializer.Serialize(this, Policy.Json);
}

/// <summary>
/// What holds at any time where up to three organizations have a say: a key's own, its root, and the one that the token is for.
/// A pure function of what they have stored, so the parse of a given text is kept.
/// </summary>
public sealed class PolicyTimeline
{
    private const int KeptMax = 1_000;

    private static readonly ConcurrentDictionary<(string?, string?, string?), PolicyTimeline> kept = new();
    private static int keptCount; // the dictionary's own Count takes all its locks

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

    /// <summary>Nobody asks anything.</summary>
    public static PolicyTimeline None { get; } = new([PolicyPlan.None]);

    /// <param name="own">As stored, each of them; null where there is none.</param>
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

    /// <summary>What is announced, in the order of its dates.</summary>
    public IEnumerable<(DateTimeOffset From, Policy Policy)> After(DateTimeOffset time) =>
        steps.Length == 1 ? [] : steps.Where(step => step.From > time);

    /// <summary>The date of the first announced change under which the key would be refused; null: of none.</summary>
    public DateTimeOffset? NextViolationAt(Policy.Subject subject, DateTimeOffset now)
    {
        foreach (var (from, policy) in After(now))
            if (policy.FirstViolation(subject, from) is not null)
                return from;
        return null;
    }

    /// <summary>What holds now and what is announced: asked of what is made now, so that it is not refused in a few days.</summary>
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
