using System.Globalization;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace Pakhouse.Server;

/// <summary>The policy of an organization, for its owners: a form, a preview of the effect on keys, and the change.</summary>
public sealed class PolicyModel(Organizations organizations, Policies policies, PakhouseOptions options) : OrganizationPage(organizations)
{
    private const int KeysShown = 50;

    [BindProperty]
    public string Holders { get; set; } = "everybody";

    [BindProperty]
    public IReadOnlyList<string> HolderRoles { get; set; } = [];

    [BindProperty]
    public string? KeysPerMember { get; set; }

    [BindProperty]
    public string? LifetimeDefaultDays { get; set; }

    [BindProperty]
    public string? LifetimeMaxDays { get; set; }

    [BindProperty]
    public IReadOnlyList<string> Scopes { get; set; } = [];

    [BindProperty]
    public string? Networks { get; set; }

    [BindProperty]
    public string? TokenLifetimeSeconds { get; set; }

    [BindProperty]
    public string? RootKeys { get; set; }

    [BindProperty]
    public string? SelfRotation { get; set; }

    [BindProperty]
    public string? KeysMayGrant { get; set; }

    [BindProperty]
    public string? EnforcedFrom { get; set; }

    [BindProperty]
    public bool Warn { get; set; }

    [BindProperty]
    public string? Version { get; set; }

    /// <summary>The user has seen the preview.</summary>
    [BindProperty]
    public bool Confirmed { get; set; }

    [FromQuery(Name = "changed")]
    public bool IsChanged { get; set; }

    public PakhouseOptions Options => options;

    public PolicyView View { get; private set; } = null!;

    public PolicyPreview? Preview { get; private set; }

    public DateTimeOffset? From { get; private set; }

    public IReadOnlyList<(PolicyLine Before, PolicyLine After)> Changes { get; private set; } = [];

    public string? Address => HttpContext.Connection.RemoteIpAddress?.ToString();

    /// <summary>The chosen values, for the form that confirms them.</summary>
    public IEnumerable<(string Name, string? Value)> Fields =>
        [
            (nameof(Holders), Holders),
            .. HolderRoles.Select(role => (nameof(HolderRoles), (string?)role)),
            (nameof(KeysPerMember), KeysPerMember),
            (nameof(LifetimeDefaultDays), LifetimeDefaultDays),
            (nameof(LifetimeMaxDays), LifetimeMaxDays),
            .. Scopes.Select(scope => (nameof(Scopes), (string?)scope)),
            (nameof(Networks), Networks),
            (nameof(TokenLifetimeSeconds), TokenLifetimeSeconds),
            (nameof(RootKeys), RootKeys),
            (nameof(SelfRotation), SelfRotation),
            (nameof(KeysMayGrant), KeysMayGrant),
            (nameof(EnforcedFrom), EnforcedFrom),
            (nameof(Warn), Warn ? "true" : "false"),
            (nameof(Version), Version),
        ];

    public async Task<IActionResult> OnGetAsync()
    {
        if (await OpenAsync() is { } refused)
            return refused;
        Fill(View.Own.Current);
        return Page();
    }

    public async Task<IActionResult> OnPostAsync()
    {
        if (await OpenAsync() is { } refused)
            return refused;
        if (Read() is not { } policy)
            return Faulty(StatusCodes.Status400BadRequest);
        var change = new PolicyChange(policy, From, Warn, Version ?? "");

        var preview = await policies.PreviewAsync(Actor, OrganizationId, change, KeysShown);
        var refusal = preview.Refusal;
        if (refusal is null && Confirmed)
            refusal = (await policies.ChangeAsync(Actor, OrganizationId, change)).Refusal;
        if (refusal is not null)
        {
            AddError(refusal);
            return Faulty(refusal.Status);
        }

        if (Confirmed)
            return this.SeeOther($"/organizations/{OrganizationId}/policy?changed=true");
        Preview = preview.Value;
        Changes =
        [
            .. PolicyText.Lines(View.Own.Current).Zip(PolicyText.Lines(policy)).Where(pair => pair.First.Value != pair.Second.Value),
        ];
        return Page();
    }

    private async Task<IActionResult?> OpenAsync()
    {
        if (await LoadAsync() is { } refused)
            return refused;
        // This page is for owners; all members see the policy on the Security page.
        if (!Permissions.Of(Permission.ChangePolicy).Roles.Any(OrganizationAccess.Roles.Contains))
            return this.Refuse(
                new Refusal(
                    RefusalCode.AccessDenied,
                    "Only an owner can change the policy. The Security page shows it.",
                    "policy page without the role"
                )
            );
        var view = await policies.ViewAsync(Actor, OrganizationId);
        if (view.Refusal is { } gone)
            return this.Refuse(gone);
        View = view.Value;
        return null;
    }

    private PageResult Faulty(int status)
    {
        Response.StatusCode = status;
        return Page();
    }

    private void Fill(Policy policy)
    {
        Holders =
            policy.Holders is not { } holders ? "everybody"
            : holders.Count == 0 ? "nobody"
            : "roles";
        HolderRoles = [.. policy.Holders ?? NameSet.Empty];
        (KeysPerMember, LifetimeDefaultDays, LifetimeMaxDays, TokenLifetimeSeconds) = (
            policy.KeysPerMember?.ToString(),
            policy.LifetimeDefaultDays?.ToString(),
            policy.LifetimeMaxDays?.ToString(),
            policy.TokenLifetimeSeconds?.ToString()
        );
        Scopes = [.. policy.Scopes ?? options.Scopes];
        Networks = policy.Networks is { } networks ? string.Join('\n', networks) : null;
        (RootKeys, SelfRotation) = (
            policy.RootKeys switch
            {
                null => "",
                true => "true",
                false => "false",
            },
            policy.SelfRotation switch
            {
                null => "",
                true => "true",
                false => "false",
            }
        );
        KeysMayGrant = policy.KeysMayGrant is { } rule ? Api.Name(rule) : "";
        Warn = true;
    }

    /// <summary>Reports every error at once; null: there are errors.</summary>
    private Policy? Read()
    {
        var networks = (Networks ?? "").Split(['\n', '\r', ' ', ','], StringSplitOptions.RemoveEmptyEntries);
        NetworkSet? set = null;
        if (networks.Length > Policy.NetworksMax || (networks.Length > 0 && !NetworkSet.TryParse(networks, out set)))
            AddError(
                Refusal.At(
                    "networks",
                    RefusalCode.InvalidRequest,
                    $"give at most {Policy.NetworksMax} networks such as 192.0.2.0/24, with no bits behind the prefix, or "
                        + $"addresses.",
                    "networks"
                )
            );
        if (Holders is not ("everybody" or "roles" or "nobody") || (Holders == "roles" && HolderRoles.Count == 0))
            AddError(Refusal.At("holders", RefusalCode.InvalidRequest, "choose at least one role.", "no role"));

        From = null;
        if (!string.IsNullOrEmpty(EnforcedFrom))
        {
            if (DateTime.TryParseExact(EnforcedFrom, "yyyy-MM-dd", CultureInfo.InvariantCulture, DateTimeStyles.None, out var day))
                From = new DateTimeOffset(day, TimeSpan.Zero);
            else
                AddError(Refusal.At("enforcedFrom", RefusalCode.InvalidRequest, "enter a day such as 2031-12-24.", "no date"));
        }

        var scopes = NameSet.Of(Scopes.Order(StringComparer.Ordinal));
        var policy = new Policy
        {
            Holders = Holders switch
            {
                "roles" => NameSet.Of(HolderRoles.Order(StringComparer.Ordinal)),
                "nobody" => NameSet.Empty,
                _ => null,
            },
            KeysPerMember = Number(KeysPerMember, "keysPerMember"),
            LifetimeDefaultDays = Number(LifetimeDefaultDays, "lifetimeDefaultDays"),
            LifetimeMaxDays = Number(LifetimeMaxDays, "lifetimeMaxDays"),
            Scopes = scopes.Count == 0 || options.Scopes.IsSubsetOf(scopes) ? null : scopes,
            Networks = set,
            TokenLifetimeSeconds = Number(TokenLifetimeSeconds, "tokenLifetimeSeconds"),
            RootKeys = RootKeys switch
            {
                "true" => true,
                "false" => false,
                _ => null,
            },
            SelfRotation = SelfRotation switch
            {
                "true" => true,
                "false" => false,
                _ => null,
            },
            KeysMayGrant = Enum.GetValues<KeysMayGrant>()
                .Where(rule => Api.Name(rule) == KeysMayGrant)
                .Select(rule => (KeysMayGrant?)rule)
                .FirstOrDefault(),
        };
        return Errors.Any ? null : policy;
    }

    private int? Number(string? text, string field)
    {
        if (string.IsNullOrWhiteSpace(text))
            return null;
        if (int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number))
            return number;
        AddError(Refusal.At(field, RefusalCode.InvalidRequest, $"enter a whole number, or leave it empty.", "no number"));
        return null;
    }

    private void AddError(Refusal refusal) =>
        Errors.Add(
            refusal,
            [
                .. PolicyText.Lines(Policy.None).Select(line => (line.Member, line.Member, line.Title)),
                ("enforcedFrom", "enforcedFrom", "Enforced from"),
            ]
        );
}
