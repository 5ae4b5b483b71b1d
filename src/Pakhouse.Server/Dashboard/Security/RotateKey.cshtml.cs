using Microsoft.AspNetCore.Mvc;

namespace Pakhouse.Server;

/// <summary>The choice of an overlap, and the new key, which is shown once.</summary>
public sealed class RotateKeyModel(
    Organizations organizations,
    KeyHistory history,
    KeyRotation rotation,
    IdempotencyTokens tickets,
    PublicAddress address,
    TimeProvider clock
) : OrganizationPage(organizations)
{
    public static readonly IReadOnlyList<(long Seconds, string Label)> Overlaps =
    [
        (0, "None: the old key ends now"),
        (3_600, "1 hour"),
        (86_400, "24 hours"),
        (604_800, "7 days"),
        (1_209_600, "14 days"),
        (2_592_000, "30 days"),
    ];

    [FromRoute]
    public string KeyId { get; set; } = "";

    [BindProperty]
    public long Overlap { get; set; } = (long)KeyRotation.OverlapDefault.TotalSeconds;

    [BindProperty]
    public string? Ticket { get; set; }

    public KeyEntry Key { get; private set; } = null!;

    public ShownKey? NewKey { get; private set; }

    public DateTimeOffset? OldEndsAt { get; private set; }

    public DateTimeOffset Now { get; } = clock.GetUtcNow();

    public async Task<IActionResult> OnGetAsync() => await FindAsync() ?? Show();

    public async Task<IActionResult> OnPostAsync()
    {
        if (await FindAsync() is { } refused)
            return refused;
        if (tickets.Read(Ticket, UserId, OrganizationId) is not { } id)
        {
            Errors.Add(
                $"This form was open for more than {TimeText.Describe(IdempotencyTokens.Lifetime)}, so the key was not rotated. Rotate it "
                    + $"now."
            );
            return Show(StatusCodes.Status400BadRequest);
        }

        var rotated = await rotation.RotateAsync(
            Actor,
            OrganizationId,
            KeyId,
            id,
            TimeSpan.FromSeconds(Math.Clamp(Overlap, -1, int.MaxValue))
        );
        if (rotated.Refusal == Keys.DuplicateId)
            return this.SeeOther($"{Links.Security(OrganizationId)}?repeated=true");
        if (rotated.Refusal is { } refusal)
        {
            Errors.Add(refusal, ("overlap", "overlap", "Overlap"));
            return Show(refusal.Status);
        }

        using var done = rotated.Value;
        OldEndsAt = done.OldEndsAt;
        NewKey = ShownKey.OfPerson(done.Key, done.Name, done.ExpiresAt, address.Value);
        return Page();
    }

    private async Task<IActionResult?> FindAsync()
    {
        if (await LoadAsync() is { } refused)
            return refused;
        var read = await history.ReadAsync(Actor, OrganizationId, KeyId);
        if (read.Refusal is { } unknown)
            return this.Refuse(unknown);
        if (!read.Value.IsOwn || read.Value.DeletedAt is not null)
            return this.Refuse(Keys.NoSuchKey);
        Key = read.Value.Key;
        return null;
    }

    private Microsoft.AspNetCore.Mvc.RazorPages.PageResult Show(int status = StatusCodes.Status200OK)
    {
        Ticket = tickets.Issue(UserId, OrganizationId);
        Response.StatusCode = status;
        return Page();
    }
}
