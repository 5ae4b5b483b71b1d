using Microsoft.AspNetCore.Mvc;

namespace Pakhouse.Server;

/// <summary>A key just generated, as the one page shows it that ever does.</summary>
/// <param name="Curl">A command that exchanges it, ready to paste.</param>
public sealed record ShownKey(string Id, string Name, string Text, DateTimeOffset? ExpiresAt, string Curl)
{
    /// <param name="address">The public address.</param>
    public static ShownKey OfPerson(PersonalAccessKey key, string name, DateTimeOffset? expiresAt, string address)
    {
        var text = key.Reveal();
        return new(key.Id, name, text, expiresAt, $"curl {address}/auth/v3/token -d personalAccessKey={text}");
    }

    /// <param name="address">The public address.</param>
    public static ShownKey OfOrganization(PersonalAccessKey key, string name, DateTimeOffset expiresAt, string address)
    {
        var text = key.Reveal();
        // In single quotes a shell leaves a name alone; a quote in it ends them, stands by itself, and begins them again.
        return new(
            key.Id,
            name,
            text,
            expiresAt,
            $"curl {address}/auth/v1/api-key/token --data-urlencode 'name={name.Replace("'", "'\\''", StringComparison.Ordinal)}' -d "
                + $"secret={text}"
        );
    }

    public override string ToString() => $"key {Id}"; // a record would print its text
}

/// <summary>
/// My Organization, Security: the caller's keys, and the form that generates one.
/// <para>Invariant: a secret is in the answer of the POST that made it, and nowhere else: no cookie, no redirect, no store.</para>
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

    /// <summary>From 1. Not "page": Razor Pages keeps that name for itself.</summary>
    [FromQuery(Name = "part")]
    public int Part { get; set; } = 1;

    /// <summary>The id of the key that was just deleted.</summary>
    [FromQuery(Name = "deleted")]
    public string? DeletedId { get; set; }

    /// <summary>An address can say anything: what is no id is not shown, nor the id of a key that is still there.</summary>
    public bool IsDeleted => KeyFormat.IsId(DeletedId) && Keys.All(key => key.Id != DeletedId);

    /// <summary>A form that had made its key came again, by reloading or going back.</summary>
    [FromQuery(Name = "repeated")]
    public bool IsRepeated { get; set; }

    public PakhouseOptions Options => options;

    public string Address => address.Value;

    public DateTimeOffset Now { get; } = clock.GetUtcNow();

    /// <summary>All of the caller's keys here; <see cref="Shown"/> is the part on this page.</summary>
    public IReadOnlyList<KeyEntry> Keys { get; private set; } = [];

    public IEnumerable<KeyEntry> Shown => Keys.Skip((Part - 1) * KeysPerPage).Take(KeysPerPage);

    public int PageCount => Math.Max(1, (Keys.Count + KeysPerPage - 1) / KeysPerPage);

    public IReadOnlyList<ExpiryChoice> ExpiryChoices => Expiry.Choices(Now, Policy);

    /// <summary>Keys that fill one of the caller's places; expired and replaced ones do not.</summary>
    public int Held => Keys.Count(key => key.CountsTowardLimit(Now));

    /// <summary>Null: the caller may not see it.</summary>
    public PolicyView? PolicyView { get; private set; }

    /// <summary>Null: the caller may not see them.</summary>
    public IReadOnlyList<ApiKeyEntry>? ApiKeys { get; private set; }

    public bool HasSecondFactor { get; private set; }

    public int PasskeyCount { get; private set; }

    /// <summary>What a new key has to keep to: what holds here, and what is announced.</summary>
    public Policy Policy { get; private set; } = Policy.None;

    /// <summary>By the setting, or shorter by policy.</summary>
    public TimeSpan TokenLifetime { get; private set; } = options.TokenLifetime;

    /// <summary>Those that the policy allows.</summary>
    public IEnumerable<string> ScopeChoices => options.Scopes.Where(scope => Policy.Scopes?.Contains(scope) != false);

    /// <summary>The policy does not let this member hold keys; null: it does.</summary>
    public string? Forbidden =>
        (Policy with { LifetimeMaxDays = null, Scopes = null }).Forbids(null, NameSet.All, Now, OrganizationAccess.Roles)?.Description;

    public bool IsFull => Held >= Policy.KeysOf(options);

    public bool CanGenerate => !OrganizationAccess.IsInherited && !IsFull && Forbidden is null;

    public ShownKey? NewKey { get; private set; }

    /// <summary>Whom an inherited member can ask (R2).</summary>
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

        // Every fault at once; what the operation finds beyond these comes alone.
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

        // All of them is no limit: a scope that the operator adds later is then included.
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
        // The form now offers the next key.
        (Name, Expires, ExpiresOn, Scopes) = (null, null, null, []);
        return await ShowAsync();
    }

    private static readonly Refusal noScope = new(
        RefusalCode.InvalidRequest,
        "scopes: choose at least one; all of them stand for no limit.",
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
