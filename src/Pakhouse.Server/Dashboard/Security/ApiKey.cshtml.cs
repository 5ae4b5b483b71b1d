using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;
using Microsoft.Extensions.Primitives;

namespace Pakhouse.Server;

/// <summary>A page about API keys of an organization: the organizations that a key can reach, and the roles in them.</summary>
public abstract class ApiKeyPage(Organizations organizations, PakhouseOptions options) : OrganizationPage(organizations)
{
    /// <summary>The name, as typed.</summary>
    [BindProperty]
    public string? Name { get; set; }

    /// <summary>The chosen sub-organizations.</summary>
    [BindProperty]
    public IReadOnlyList<Guid> In { get; set; } = [];

    public IReadOnlyList<Organization> Subs => [.. Organizations.Where(one => one.RootId == OrganizationId)];

    public RolePicker Picker { get; private set; } = null!;

    public RolePicker SubPicker { get; private set; } = null!;

    public static string KeysUrl(Guid organizationId) => $"{Links.Security(organizationId)}/api-keys";

    public string BackUrl => $"{Links.Security(OrganizationId)}#api-keys";

    /// <summary>The choices of the form: roles here, and the same roles in each chosen sub-organization.</summary>
    protected IReadOnlyList<ApiKeyRoles> Chosen() => Chosen(Request.Form);

    protected IReadOnlyList<ApiKeyRoles> Chosen(IEnumerable<KeyValuePair<string, StringValues>> form)
    {
        var subRoles = RolePicker.Read(form, "sub-roles");
        return [new(OrganizationId, RolePicker.Read(form, "roles")), .. In.Select(id => new ApiKeyRoles(id, subRoles))];
    }

    protected void Offer(IReadOnlyList<ApiKeyRoles> roles)
    {
        var here = roles.FirstOrDefault(one => one.OrganizationId == OrganizationId)?.Roles ?? NameSet.Empty;
        var below = roles.Where(one => one.OrganizationId != OrganizationId).ToList();
        var subRoles = below.Count == 0 ? NameSet.Empty : below[0].Roles;
        In = [.. below.Select(one => one.OrganizationId)];
        var mayGrantOwner = Permissions.MayGrantOwner(OrganizationAccess);
        (Picker, SubPicker) = (
            new(options.Roles, "roles", here, here, mayGrantOwner),
            new(options.Roles, "sub-roles", subRoles, subRoles, mayGrantOwner)
        );
    }

    protected void AddError(Refusal refusal)
    {
        Errors.Add(
            refusal,
            ("name", "name", "Name"),
            ("expiry", "expires", "Expires"),
            ("roles", "roles", "Roles"),
            ("overlap", "overlap", "Overlap")
        );
        Response.StatusCode = refusal.Status;
    }
}

/// <summary>
/// Creates an API key. As for personal access keys, the secret is only in the response of the POST that created it.
/// </summary>
public sealed class NewApiKeyModel(
    Organizations organizations,
    ApiKeys keys,
    IdempotencyTokens tickets,
    PakhouseOptions options,
    PublicAddress address,
    TimeProvider clock
) : ApiKeyPage(organizations, options)
{
    /// <summary>The choices of lifetime, in days.</summary>
    public static readonly int[] Days = [30, 91, 183, 366];

    [BindProperty]
    public int ExpiresInDays { get; set; } = (int)ApiKeys.LifetimeDefault.TotalDays;

    [BindProperty]
    public string? Ticket { get; set; }

    public DateTimeOffset Now { get; } = clock.GetUtcNow();

    public ShownKey? NewKey { get; private set; }

    public async Task<IActionResult> OnGetAsync()
    {
        if (await LoadAsync(Permission.CreateApiKey) is { } refused) return refused;
        return Show([]);
    }

    public async Task<IActionResult> OnPostAsync()
    {
        if (await LoadAsync(Permission.CreateApiKey) is { } refused)
            return refused;
        var chosen = Chosen();
        if (tickets.Read(Ticket, UserId, OrganizationId) is not { } id)
        {
            Errors.Add(
                $"This form was open for more than {TimeText.Describe(IdempotencyTokens.Lifetime)}, so no key was created. Create it now."
            );
            Response.StatusCode = StatusCodes.Status400BadRequest;
            return Show(chosen);
        }

        var expiresAt = Now.AddDays(Math.Clamp(ExpiresInDays, -1, 100_000));
        var created = await keys.CreateAsync(Actor, OrganizationId, new NewApiKey(id, Name ?? "", expiresAt, NameSet.All, chosen));
        if (created.Refusal == Server.Keys.DuplicateId)
            return this.SeeOther(BackUrl);
        if (created.Refusal is { } refusal)
        {
            AddError(refusal);
            return Show(chosen);
        }

        using var key = created.Value;
        NewKey = ShownKey.OfOrganization(key, Checks.Normalize(Name!).Trim(), expiresAt, address.Value);
        return Page();
    }

    public override async Task RefillAsync(IReadOnlyDictionary<string, string[]> form)
    {
        await base.RefillAsync(form);
        Offer(Chosen(form.Select(field => KeyValuePair.Create(field.Key, new StringValues(field.Value)))));
    }

    private PageResult Show(IReadOnlyList<ApiKeyRoles> roles)
    {
        Offer(roles);
        Ticket = tickets.Issue(UserId, OrganizationId);
        return Page();
    }
}

/// <summary>One API key: its roles, its rotation and its end.</summary>
public sealed class ApiKeyModel(
    Organizations organizations,
    ApiKeys keys,
    KeyChanges deeds,
    IdempotencyTokens tickets,
    PakhouseOptions options,
    PublicAddress address,
    TimeProvider clock
) : ApiKeyPage(organizations, options)
{
    /// <summary>The choices of overlap for a rotation, in hours.</summary>
    public static readonly int[] Hours = [0, 1, 24, 168, 720];

    [FromRoute]
    public string KeyId { get; set; } = "";

    [BindProperty]
    public int OverlapHours { get; set; } = 24;

    [BindProperty]
    public string? Ticket { get; set; }

    public ApiKeyEntry Key { get; private set; } = null!;

    public DateTimeOffset Now { get; } = clock.GetUtcNow();

    public ShownKey? NewKey { get; private set; }

    public string SelfUrl => $"{KeysUrl(OrganizationId)}/{KeyId}";

    public async Task<IActionResult> OnGetAsync() => await FindAsync() is { } refused ? refused : Show(Key.Roles);

    public async Task<IActionResult> OnPostAsync()
    {
        if (await FindAsync() is { } refused) return refused;
        var chosen = Chosen();
        var changed = await keys.ChangeAsync(Actor, OrganizationId, KeyId, Name ?? "", chosen);
        if (changed.Refusal is not { } refusal) return this.SeeOther(BackUrl);
        AddError(refusal);
        var typed = Name;
        Show(chosen);
        Name = typed;
        return Page();
    }

    public async Task<IActionResult> OnPostRotateAsync()
    {
        if (await FindAsync() is { } refused) return refused;
        if (tickets.Read(Ticket, UserId, OrganizationId) is not { } id) return this.SeeOther(SelfUrl);
        var rotated = await keys.RotateAsync(Actor, OrganizationId, KeyId, id, TimeSpan.FromHours(Math.Clamp(OverlapHours, -1, 100_000)));
        if (rotated.Refusal == Server.Keys.DuplicateId || rotated.Refusal == ApiKeys.NoSuchKey) return this.SeeOther(BackUrl);
        if (rotated.Refusal is { } refusal)
        {
            AddError(refusal);
            return Show(Key.Roles);
        }

        using var key = rotated.Value;
        NewKey = ShownKey.OfOrganization(key, Key.Name, Now + (Key.ExpiresAt - Key.CreatedAt), address.Value);
        return Page();
    }

    public async Task<IActionResult> OnPostDeleteAsync()
    {
        var deleted = await keys.DeleteAsync(Actor, OrganizationId, KeyId);
        if (deleted.Refusal is { } refused)
            return this.Refuse(refused);
        var did = await deeds.ListAsync(Actor, OrganizationId, KeyId);
        return this.SeeOther(
            did is { IsRefused: false, Value.Count: > 0 } ? $"{Links.KeyChanges(OrganizationId, KeyId)}?deleted=true" : BackUrl
        );
    }

    private async Task<IActionResult?> FindAsync()
    {
        if (await LoadAsync(Permission.ListApiKeys) is { } refused) return refused;
        var list = await keys.ListAsync(Actor, OrganizationId);
        if (list.Refusal is { } refusedList) return this.Refuse(refusedList);
        if (list.Value.FirstOrDefault(key => key.Id == KeyId) is not { } found) return this.Refuse(ApiKeys.NoSuchKey);
        Key = found;
        return null;
    }

    private PageResult Show(IReadOnlyList<ApiKeyRoles> roles)
    {
        Name = Key.Name;
        Offer(roles);
        Ticket = tickets.Issue(UserId, OrganizationId);
        return Page();
    }
}
