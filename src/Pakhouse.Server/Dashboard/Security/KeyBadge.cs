namespace Pakhouse.Server;

/// <summary>A mark on a key that needs attention. A key without one is in order.</summary>
/// <param name="Tone">Class in the style sheet: <c>red</c>, <c>amber</c>, or <c>plain</c>.</param>
public sealed record KeyBadge(string Text, string Tone)
{
    private const int SoonDays = 30;
    private const int VerySoonDays = 7;
    private const int UnusedDays = 90;
    private const int NewNetworkDays = 7;

    public static IEnumerable<KeyBadge> Of(KeyEntry key, DateTimeOffset now)
    {
        if (key.UsedLateAt is not null)
            yield return new("used after its end", "red");
        if (!key.IsLiving(now))
        {
            yield return key.SuccessorId is null ? new("expired", "red") : new("replaced", "plain");
            yield break; // that it is unused is expected then
        }

        if (key.SuspendedAt is not null)
            yield return key.FrozenAt is null ? new("suspended", "amber") : new("frozen", "red");
        if (key.SuccessorId is not null)
        {
            yield return new($"rotating, {Left("stops", key.OverlapEndsAt!.Value - now)}", "amber");
            yield break; // that it expires or is no longer used is expected
        }

        if (key.ExpiresAt - now is { TotalDays: <= SoonDays } left)
            yield return new(Left("expires", left), left.TotalDays < VerySoonDays ? "amber" : "plain");
        if (key.NewestNetworkAt > key.FirstNetworkAt && now - key.NewestNetworkAt < TimeSpan.FromDays(NewNetworkDays))
            yield return new("new network", "amber");

        var unused = now - (key.LastUsedAt ?? key.CreatedAt);
        if (unused.TotalDays >= UnusedDays)
            yield return new($"unused for {(int)unused.TotalDays} days", "plain");
    }

    private static string Left(string does, TimeSpan left) =>
        left.TotalDays < 1 ? $"{does} within a day" : $"{does} in {TimeText.Count((int)left.TotalDays, "day")}";
}
