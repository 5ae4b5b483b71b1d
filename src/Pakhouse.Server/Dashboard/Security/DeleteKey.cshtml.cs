using Microsoft.AspNetCore.Mvc;

namespace Pakhouse.Server;

/// <summary>The confirmation before a key ends, as a page, so it needs no script.</summary>
public sealed class DeleteKeyModel(Organizations organizations, Keys keys, KeyChanges deeds, PakhouseOptions options, TimeProvider clock)
    : OrganizationPage(organizations)
{
    [FromRoute]
    public string KeyId { get; set; } = "";

    public KeyEntry Key { get; private set; } = null!;

    public TimeSpan TokenLifetime => options.TokenLifetime;

    public DateTimeOffset Now { get; } = clock.GetUtcNow();

    public async Task<IActionResult> OnGetAsync()
    {
        if (await LoadAsync() is { } refused) return refused;
        var list = await keys.ListAsync(Actor, OrganizationId);
        if (list.Refusal is { } refusedList) return this.Refuse(refusedList);
        if (list.Value.FirstOrDefault(key => key.Id == KeyId) is not { } found) return this.Refuse(Server.Keys.NoSuchKey);
        Key = found;
        return Page();
    }

    public async Task<IActionResult> OnPostAsync()
    {
        var deleted = await keys.DeleteAsync(Actor, OrganizationId, KeyId);
        if (deleted.Refusal is { } refused) return this.Refuse(refused);
        // A person who ends a key that may have leaked sees its changes next.
        var did = await deeds.ListAsync(Actor, OrganizationId, KeyId);
        return this.SeeOther(did is { IsRefused: false, Value.Count: > 0 }
            ? $"{Links.KeyChanges(OrganizationId, KeyId)}?deleted=true"
            : $"{Links.Security(OrganizationId)}?deleted={KeyId}");
    }
}
