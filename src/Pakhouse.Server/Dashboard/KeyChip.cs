namespace Pakhouse.Server;

/// <summary>A mark on a key where something is off. A key without one is in order.</summary>
/// <param name="Tone">Class in the style sheet: <c>red</c>, <c>amber</c>, or <c>plain</c>.</param>
public sealed record KeyChip(string Text, string Tone)
{
    private const int SoonDays = 30;
    private const int VerySoonDays = 7;
    private const int UnusedDays = 90;

    public static IEnumerable<KeyChip> Of(KeyEntry key, DateTimeOffset now)
    {
        if (key.ExpiresAt <= now)
        {
            yield return new("expired", "red");
            yield break; // that it is unused is no news then
        }

        if (key.ExpiresAt - now is { TotalDays: <= SoonDays } left)
            yield return new(left.TotalDays < 1 ? "expires within a day" : $"expires in {When.Count((int)left.TotalDays, "day")}", left.TotalDays < VerySoonDays ? "amber" : "plain");

        var unused = now - (key.LastUsedAt ?? key.CreatedAt);
        if (unused.TotalDays >= UnusedDays) yield return new($"unused for {(int)unused.TotalDays} days", "plain");
    }
}
