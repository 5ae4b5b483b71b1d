using System.Globalization;

namespace Pakhouse.Server;

/// <summary>One choice of expiry.</summary>
/// <param name="Until">Null: never, or a day that the person enters.</param>
public sealed record ExpiryChoice(string Value, string Label, DateTimeOffset? Until);

/// <summary>The choices of lifetime for a new key; <see cref="Keys.GenerateAsync"/> decides.</summary>
public static class Expiry
{
    public const string Default = "90-days";
    public const string OwnDate = "date";
    private const string Never = "never";
    private const string DateFormat = "yyyy-MM-dd"; // the format that a date input sends

    /// <param name="policy">Forbidden choices are not offered, and its default is selected.</param>
    public static IReadOnlyList<ExpiryChoice> Choices(DateTimeOffset now, Policy policy)
    {
        ExpiryChoice[] all =
        [
            new("30-days", "30 days", now.AddDays(30)),
            new(Default, "90 days", now.AddDays(90)),
            new("1-year", "1 year", now.AddYears(1)),
            new(Never, "No expiry", null),
            new(OwnDate, "Another date", null),
        ];
        var last = now + policy.LifetimeMax;
        var offered = all.Where(choice => last is null || choice.Until <= last || choice.Value == OwnDate).ToList();
        foreach (
            var days in new[] { policy.LifetimeMaxDays, First(policy) }
                .OfType<int>()
                .Where(days => offered.TrueForAll(choice => choice.Until != now.AddDays(days)))
        )
            offered.Insert(0, new(Days(days), TimeText.Count(days, "day"), now.AddDays(days)));
        return offered;
    }

    /// <summary>The selected choice at first.</summary>
    public static string DefaultOf(Policy policy) =>
        First(policy) is not { } days ? Default
        : days == 30 ? "30-days"
        : Days(days);

    private static string Days(int days) => $"{days}-days";

    private static int? First(Policy policy) =>
        Math.Min(policy.LifetimeDefaultDays ?? int.MaxValue, policy.LifetimeMaxDays ?? int.MaxValue) is var days && days == int.MaxValue
            ? null
        : policy.LifetimeDefaultDays is null ? Math.Min(days, 90)
        : days;

    public static string FirstDate(DateTimeOffset now) => Text(now);

    /// <summary>One day before the limit, because a key works until the end of its last day.</summary>
    public static string LastDate(DateTimeOffset now, Policy policy) =>
        Text(now + (policy.LifetimeMax ?? Keys.LifetimeMax) - TimeSpan.FromDays(1));

    /// <summary>The chosen time; null: never.</summary>
    public static Outcome<DateTimeOffset?> Read(string? choice, string? date, DateTimeOffset now, Policy policy)
    {
        if (choice == OwnDate)
        {
            return DateTime.TryParseExact(date, DateFormat, CultureInfo.InvariantCulture, DateTimeStyles.None, out var day)
                ? (DateTimeOffset?)new DateTimeOffset(day, TimeSpan.Zero).AddDays(1).AddSeconds(-1)
                : Refusal.At("expiry", RefusalCode.InvalidRequest, "enter a day such as 2031-12-24.", "no date");
        }

        return Choices(now, policy).FirstOrDefault(known => known.Value == choice) is { } chosen
            ? chosen.Until
            : Refusal.At("expiry", RefusalCode.InvalidRequest, "choose one of the list.", "unknown choice of expiry");
    }

    private static string Text(DateTimeOffset time) => time.UtcDateTime.ToString(DateFormat);
}
