using Microsoft.AspNetCore.Mvc;

namespace Pakhouse.Server;

/// <summary>
/// One key with everything known about its use: for its holder and, read-only, for those who manage the organization's keys.
/// </summary>
public sealed class KeyModel(Organizations organizations, KeyHistory history, KeyRotation rotation, TimeProvider clock)
    : OrganizationPage(organizations)
{
    public const int Days = 90;

    [FromRoute]
    public string KeyId { get; set; } = "";

    public KeyRecord Record { get; private set; } = null!;

    public DateTimeOffset Now { get; } = clock.GetUtcNow();

    /// <summary>Exchanges on each of the last <see cref="Days"/> days in UTC, oldest first.</summary>
    public IReadOnlyList<(DateTimeOffset Day, long Count)> PerDay { get; private set; } = [];

    public long Busiest => Math.Max(1, PerDay.Max(day => day.Count));

    public bool CanRotate =>
        Record.IsOwn && Record.DeletedAt is null && Record.Key is { SuccessorId: null, SuspendedAt: null } && Record.Key.IsLiving(Now);

    public bool IsRotating => Record.DeletedAt is null && Record.Key.SuccessorId is not null && Record.Key.IsLiving(Now);

    public async Task<IActionResult> OnGetAsync()
    {
        if (await LoadAsync() is { } refused)
            return refused;
        var read = await history.ReadAsync(Actor, OrganizationId, KeyId);
        if (read.Refusal is { } unknown)
            return this.Refuse(unknown);
        Record = read.Value;
        var counts = Record
            .Hours.GroupBy(hour => hour.At.UtcDateTime.Date)
            .ToDictionary(day => day.Key, day => day.Sum(hour => hour.Count));
        PerDay =
        [
            .. Enumerable
                .Range(0, Days)
                .Select(back => Now.UtcDateTime.Date.AddDays(back - Days + 1))
                .Select(day => (new DateTimeOffset(day, TimeSpan.Zero), counts.GetValueOrDefault(day))),
        ];
        return Page();
    }

    /// <summary>Finishes the rotation of a replaced key.</summary>
    public async Task<IActionResult> OnPostAsync()
    {
        var finished = await rotation.FinishAsync(Actor, OrganizationId, KeyId);
        return finished.Refusal is { } refused ? this.Refuse(refused) : this.SeeOther(Links.Key(OrganizationId, KeyId));
    }
}
