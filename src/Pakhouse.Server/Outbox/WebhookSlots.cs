namespace Pakhouse.Server;

/// <summary>A webhook with messages to send.</summary>
internal sealed record DueWebhook
{
    public Guid Id { get; init; }
    public Guid OrganizationId { get; init; }
    public string Url { get; init; } = "";
    public DateTimeOffset? FailingSince { get; init; }

    /// <summary>The time of its oldest message.</summary>
    public DateTimeOffset DueAt { get; init; }

    /// <summary>Its messages, counted up to <see cref="WebhookSlots.PerWebhookMax"/>.</summary>
    public long Messages { get; init; }

    public string Host => field ??= new Uri(Url).Authority;
}

/// <summary>
/// The deliveries that this process runs at once, and who gets the free slots. The organization with the fewest running deliveries comes
/// first, and within it the webhook with the fewest. A webhook starts with one slot and earns more by quick responses, as a TCP connection
/// does; one that hangs never holds more than one. Three lanes keep slots free: quick webhooks can use all slots; unknown ones, and slow or
/// failing ones, only some.
/// <para>Invariant: no bound below is ever exceeded, so slow receivers of others never delay a quick webhook.</para>
/// </summary>
internal sealed class WebhookSlots
{
    public const int Max = 64,
        UnknownMax = 32,
        SlowMax = 16,
        PerOrganizationMax = 16,
        PerHostMax = 24,
        PerWebhookMax = 8;

    /// <summary>A response that takes longer is slow.</summary>
    private const long QuickMilliseconds = 2_000;

    private const int Slow = 1,
        KnownMax = 10_000;

    private enum Lane
    {
        Quick,
        Unknown,
        Slow,
    }

    private readonly Lock gate = new();

    /// <summary>How many slots each webhook has earned. Absent: unknown; 1: slow or failing.</summary>
    private readonly Dictionary<Guid, int> earned = [];

    private readonly Dictionary<Guid, (DueWebhook Webhook, Lane Lane, int Count)> running = [];

    /// <summary>Takes free slots; each is returned by <see cref="Return"/> or <see cref="Finished"/>.</summary>
    public IReadOnlyList<(DueWebhook Webhook, int Count)> Take(IReadOnlyList<DueWebhook> due)
    {
        lock (gate)
        {
            var taken = new Dictionary<Guid, (DueWebhook Webhook, int Count)>();
            var waiting = due.OrderBy(webhook => webhook.DueAt).ToList();
            while (waiting.Count > 0)
            {
                waiting.RemoveAll(webhook => !HasPlace(webhook, taken.GetValueOrDefault(webhook.Id).Count));
                // The first of equals: MinBy keeps the order of age.
                if (
                    waiting.MinBy(webhook => (Running(one => one.OrganizationId == webhook.OrganizationId), RunningOf(webhook)))
                    is not { } next
                )
                    break;
                taken[next.Id] = (next, taken.GetValueOrDefault(next.Id).Count + 1);
                running[next.Id] = (next, LaneOf(next), RunningOf(next) + 1);
            }

            return [.. taken.Values];
        }
    }

    /// <summary>Returns unused slots.</summary>
    public void Return(Guid webhookId, int count)
    {
        lock (gate)
            Free(webhookId, count);
    }

    public void Finished(Guid webhookId, bool isDelivered, long milliseconds)
    {
        lock (gate)
        {
            Free(webhookId, 1);
            if (earned.Count >= KnownMax)
                earned.Clear(); // they are earned again
            earned[webhookId] =
                isDelivered && milliseconds <= QuickMilliseconds
                    ? Math.Min(PerWebhookMax, 2 * earned.GetValueOrDefault(webhookId, 1))
                    : Slow;
        }
    }

    private bool HasPlace(DueWebhook webhook, int taken)
    {
        var lane = LaneOf(webhook);
        var ownMax = lane == Lane.Quick ? earned[webhook.Id] : 1;
        var laneMax = lane switch
        {
            Lane.Quick => Max,
            Lane.Unknown => UnknownMax,
            Lane.Slow => SlowMax,
        };
        return taken < webhook.Messages
            && RunningOf(webhook) < ownMax
            && running.Values.Sum(one => one.Count) < Max
            && running.Values.Where(one => one.Lane == lane).Sum(one => one.Count) < laneMax
            && Running(one => one.OrganizationId == webhook.OrganizationId) < PerOrganizationMax
            && Running(one => one.Host == webhook.Host) < PerHostMax;
    }

    private Lane LaneOf(DueWebhook webhook) =>
        webhook.FailingSince is not null ? Lane.Slow
        : !earned.TryGetValue(webhook.Id, out var count) ? Lane.Unknown
        : count == Slow ? Lane.Slow
        : Lane.Quick;

    private int Running(Func<DueWebhook, bool> which) => running.Values.Where(one => which(one.Webhook)).Sum(one => one.Count);

    private int RunningOf(DueWebhook webhook) => running.GetValueOrDefault(webhook.Id).Count;

    private void Free(Guid webhookId, int count)
    {
        var one = running[webhookId];
        if (one.Count == count)
            running.Remove(webhookId);
        else
            running[webhookId] = one with { Count = one.Count - count };
    }
}
