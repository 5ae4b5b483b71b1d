using Microsoft.AspNetCore.Mvc;

namespace Pakhouse.Server;

/// <summary>A newly generated key, for the only page that ever shows it.</summary>
/// <param name="Curl">A command that exchanges it, ready to paste.</param>
public sealed record ShownKey(string Id, string Name, string Text, DateTimeOffset? ExpiresAt, string Curl)
{
    /// <param name="address">The public URL.</param>
    public static ShownKey OfPerson(PersonalAccessKey key, string name, DateTimeOffset? expiresAt, string address)
    {
        var text = key.Reveal();
        return new(key.Id, name, text, expiresAt, $"curl {address}/auth/v3/token -d personalAccessKey={text}");
    }

    /// <param name="address">The public URL.</param>
    public static ShownKey OfOrganization(PersonalAccessKey key, string name, DateTimeOffset expiresAt, string address)
    {
        var text = key.Reveal();
        // In single quotes a shell changes nothing; a quote in the name closes them, is escaped, and opens them again.
        return new(
            key.Id,
            name,
            text,
            expiresAt,
            $"curl {address}/auth/v1/api-key/token --data-urlencode 'name={name.Replace("'", "'\\''", StringComparison.Ordinal)}' -d "
                + $"secret={text}"
        );
    }

    public override string ToString() => $"key {Id}"; // the default ToString of a record would print the key
}

/// <summary>
/// My Organization, Security: the caller's keys, and the form that generates one.
/// <para>Invariant: a secret is only in the response of the POST that created it: never in a cookie, a redirect or a store.</para>
/// </summary>
public sealed class SecurityModel(
    Organizations organizations,
    Members members,
    Keys keys,
    IdempotencyTokens tickets,
    PakhouseOptions options,
    PublicAddress address,
    Policies policies,
    ApiKeys apiKeys,
    SecondFactor secondFactor,
    Passkeys passkeys,
    TimeProvider clock
) : OrganizationPage(organizations)
{
    public const int KeysPerPage = 50;

    [BindProperty]
    public string? Name { get; set; }

    [BindProperty]
    public string? Expires { get; set; }

    [BindProperty]
    public string? ExpiresOn { get; set; }

    [BindProperty]
    public IReadOnlyList<string> Scopes { get; set; } = [];

    [BindProperty]
    public string? Ticket { get; set; }

    /// <summary>From 1. Not "page", because Razor Pages reserves that name.</summary>
    [FromQuery(Name = "part")]
    public int Part { get; set; } = 1;

    /// <summary>The id of the key that was just deleted.</summary>
    [FromQuery(Name = "deleted")]
    public string? DeletedId { get; set; }

    /// <summary>A URL can contain anything: only ids of keys that no longer exist are shown.</summary>
    public bool IsDeleted => KeyFormat.IsId(DeletedId) && Keys.All(key => key.Id != DeletedId);

    /// <summary>The form was sent again after it had generated its key, by reloading or going back.</summary>
    [FromQuery(Name = "repeated")]
    public bool IsRepeated { get; set; }

    public PakhouseOptions Options => options;

    public string Address => address.Value;

    public DateTimeOffset Now { get; } = clock.GetUtcNow();

    /// <summary>All of the caller's keys here; <see cref="Shown"/> has those on this page.</summary>
    public IReadOnlyList<KeyEntry> Keys { get; private set; } = [];

    public IEnumerable<KeyEntry> Shown => Keys.Skip((Part - 1) * KeysPerPage).Take(KeysPerPage);

    public int PageCount => Math.Max(1, (Keys.Count + KeysPerPage - 1) / KeysPerPage);

    public IReadOnlyList<ExpiryChoice> ExpiryChoices => Expiry.Choices(Now, Policy);

    /// <summary>Keys that count toward the caller's limit; expired and replaced ones do not.</summary>
    public int Held => Keys.Count(key => key.CountsTowardLimit(Now));

    /// <summary>Null: the caller may not see it.</summary>
    public PolicyView? PolicyView { get; private set; }

    /// <summary>Null: the caller may not see them.</summary>
    public IReadOnlyList<ApiKeyEntry>? ApiKeys { get; private set; }

    public bool HasSecondFactor { get; private set; }

    public int PasskeyCount { get; private set; }

    /// <summary>The rules for a new key: the policy in force and announced changes.</summary>
    public Policy Policy { get; private set; } = Policy.None;

    /// <summary>The setting, or a shorter lifetime by policy.</summary>
    public TimeSpan TokenLifetime { get; private set; } = options.TokenLifetime;

    /// <summary>The scopes that the policy allows.</summary>
    public IEnumerable<string> ScopeChoices => options.Scopes.Where(scope => Policy.Scopes?.Contains(scope) != false);

    /// <summary>The reason why the policy does not allow this member to hold keys; null: it does.</summary>
    public string? Forbidden =>
        (Policy with { LifetimeMaxDays = null, Scopes = null }).Forbids(null, NameSet.All, Now, OrganizationAccess.Roles)?.Description;

    public bool IsFull => Held >= Policy.KeysOf(options);

    public bool CanGenerate => !OrganizationAccess.IsInherited && !IsFull && Forbidden is null;

    public ShownKey? NewKey { get; private set; }

    /// <summary>The owners whom an inherited member can ask (R2).</summary>
    public IReadOnlyList<Member> Owners { get; private set; } = [];

    public async Task<IActionResult> OnGetAsync()
    {
        if (await LoadAsync() is { } refused)
            return refused;
        return await ShowAsync();
    }

    public async Task<IActionResult> OnPostAsync()
    {
        if (await LoadAsync() is { } refused)
            return refused;
        if (tickets.Read(Ticket, UserId, OrganizationId) is not { } id)
        {
            Errors.Add(
                $"This form was open for more than {TimeText.Describe(IdempotencyTokens.Lifetime)}, so no key was generated. Generate it "
                    + $"now."
            );
            return await ShowAsync(StatusCodes.Status400BadRequest);
        }

        // Every error at once; an error that the operation finds afterwards is shown alone.
        await ReadPolicyAsync();
        var expiry = Expiry.Read(Expires, ExpiresOn, Now, Policy);
        if (Checks.Name(Name, "name", Server.Keys.NameLengthMax, out var name) is { } badName)
            AddError(badName);
        if (expiry.Refusal is { } badExpiry)
            AddError(badExpiry);
        if (Scopes.Count == 0)
            AddError(noScope);
        if (Errors.Any)
            return await ShowAsync(StatusCodes.Status400BadRequest);

        // All scopes are stored as no limit, so a scope that the operator adds later is included.
        var scopes = NameSet.Of(Scopes);
        if (options.Scopes.IsSubsetOf(scopes) && scopes.IsSubsetOf(options.Scopes))
            scopes = NameSet.All;

        var generated = await keys.GenerateAsync(Actor, OrganizationId, new NewKey(id, Name ?? "", expiry.Value, scopes));
        if (generated.Refusal == Server.Keys.DuplicateId)
            return this.SeeOther($"{Links.Security(OrganizationId)}?repeated=true");
        if (generated.Refusal is { } refusal)
        {
            AddError(refusal);
            return await ShowAsync(refusal.Status);
        }

        using var key = generated.Value;
        NewKey = ShownKey.OfPerson(key, name, expiry.Value, Address);
        // The form now suggests the next key.
        (Name, Expires, ExpiresOn, Scopes) = (null, null, null, []);
        return await ShowAsync();
    }

    private static readonly Refusal noScope = Refusal.At(
        "scopes",
        RefusalCode.InvalidRequest,
        "choose at least one. Choosing all means no limit.",
        "no scope chosen"
    );

    private void AddError(Refusal refusal) =>
        Errors.Add(
            refusal,
            ("name", "name", "Name"),
            Expires == Expiry.OwnDate ? ("expiry", "expires-on", "Last day") : ("expiry", "expires", "Expires"),
            ("scopes", "scopes", "Scopes")
        );

    private async Task ReadPolicyAsync()
    {
        if (PolicyView is not null || await policies.ViewAsync(Actor, OrganizationId) is not { IsRefused: false } view)
            return;
        PolicyView = view.Value;
        Policy = PolicyView.Timeline.Strictest(Now);
        if (PolicyView.InForce.TokenLifetime < TokenLifetime)
            TokenLifetime = PolicyView.InForce.TokenLifetime.Value;
    }

    private async Task<IActionResult> ShowAsync(int status = StatusCodes.Status200OK)
    {
        var list = await keys.ListAsync(Actor, OrganizationId);
        if (list.Refusal is { } refused)
            return this.Refuse(refused);
        Keys = list.Value;
        Part = Math.Clamp(Part, 1, PageCount);

        await ReadPolicyAsync();
        ApiKeys = await apiKeys.ListAsync(Actor, OrganizationId) is { IsRefused: false } found ? found.Value : null;
        HasSecondFactor = (await secondFactor.StateAsync(UserId)).IsOn;
        PasskeyCount = (await passkeys.ListAsync(UserId)).Count;
        Expires ??= Expiry.DefaultOf(Policy);
        if (!Errors.Any)
        {
            Name = Server.Keys.SuggestName(Keys);
            Scopes = [.. ScopeChoices];
        }

        Ticket = tickets.Issue(UserId, OrganizationId);
        if (OrganizationAccess.IsInherited)
        {
            var everybody = await members.ListAsync(Actor, OrganizationId);
            Owners = everybody.IsRefused ? [] : [.. everybody.Value.Where(member => member.EffectiveRoles.Contains(BuiltInRoles.Owner))];
        }

        Response.StatusCode = status;
        return Page();
    }
}
