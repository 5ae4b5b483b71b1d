using Microsoft.AspNetCore.Mvc;

namespace Pakhouse.Server;

/// <summary>The confirmation before a membership ends, with the keys that end with it.</summary>
public sealed class RemoveMemberModel(Organizations organizations, Members members, TimeProvider clock) : OrganizationPage(organizations)
{
    [FromRoute(Name = "userId")]
    public Guid MemberId { get; set; }

    public Member Member { get; private set; } = null!;

    public IReadOnlyList<KeyEntry> Keys { get; private set; } = [];

    public DateTimeOffset Now { get; } = clock.GetUtcNow();

    public async Task<IActionResult> OnGetAsync() => await FindAsync() is { } refused ? refused : Page();

    public async Task<IActionResult> OnPostAsync()
    {
        if (await FindAsync() is { } refused) return refused;
        var removed = await members.RemoveAsync(Actor, OrganizationId, MemberId);
        if (removed.Refusal is not { } refusal) return this.SeeOther($"{TeamUrl}#members");
        Errors.Add(refusal);
        Response.StatusCode = refusal.Status;
        return Page();
    }

    private async Task<IActionResult?> FindAsync()
    {
        if (await LoadAsync(Permission.RemoveMember) is { } refused) return refused;
        var found = await members.FindAsync(Actor, OrganizationId, MemberId);
        if (found.Refusal is { } refusal) return this.Refuse(refusal);
        Member = found.Value;
        var ending = await members.KeysOfAsync(Actor, OrganizationId, MemberId);
        if (ending.Refusal is { } refusedKeys) return this.Refuse(refusedKeys);
        Keys = ending.Value;
        return null;
    }
}
