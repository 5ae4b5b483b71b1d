using Microsoft.AspNetCore.Mvc;

namespace Pakhouse.Server;

/// <summary>The question before a key ends, as a page: it needs no script.</summary>
public sealed class DeleteKeyModel(Organizations organizations, Keys keys, PakhouseOptions options, TimeProvider clock) : OrganizationPage(organizations)
{
    [FromRoute]
    public string KeyId { get; set; } = "";

    public KeyEntry Key { get; private set; } = null!;

    public TimeSpan TokenLifetime => options.TokenLifetime;

    public DateTimeOffset Now { get; } = clock.GetUtcNow();

    public async Task<IActionResult> OnGetAsync()
    {
        if (await EnterAsync() is { } refused) return refused;
        var list = await keys.ListAsync(Actor, OrganizationId);
        if (list.Refusal is { } refusedList) return this.Refuse(refusedList);
        if (list.Value.FirstOrDefault(key => key.Id == KeyId) is not { } found) return this.Refuse(Server.Keys.NoSuchKey);
        Key = found;
        return Page();
    }

    public async Task<IActionResult> OnPostAsync()
    {
        var deleted = await keys.DeleteAsync(Actor, OrganizationId, KeyId);
        return deleted.Refusal is { } refused ? this.Refuse(refused) : this.SeeOther($"{SecurityUrl(OrganizationId)}?deleted={KeyId}");
    }
}
