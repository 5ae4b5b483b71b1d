namespace Pakhouse.Server;

/// <summary>One rule in words.</summary>
/// <param name="Member">Its name in the API.</param>
/// <param name="Value">Null: no rule is set.</param>
public sealed record PolicyLine(string Member, string Title, string? Value);

/// <summary>Policies in words, for the dashboard, the activity log and mails.</summary>
public static class PolicyText
{
    /// <summary>Every rule, in the order of the form.</summary>
    public static IReadOnlyList<PolicyLine> Lines(Policy policy) =>
        [
            new(
                "holders",
                "Who may hold keys",
                policy.Holders is not { } holders ? null
                    : holders.Count == 0 ? "Nobody"
                    : $"Members with the role {string.Join(" or ", holders)}"
            ),
            new("keysPerMember", "Keys per member", policy.KeysPerMember is { } keys ? $"At most {keys}" : null),
            new("lifetimeDefaultDays", "Default lifetime", Days(policy.LifetimeDefaultDays)),
            new("lifetimeMaxDays", "Longest lifetime", Days(policy.LifetimeMaxDays)),
            new(
                "scopes",
                "Scopes",
                policy.Scopes is not { } scopes ? null
                    : scopes.Count == 0 ? "None"
                    : string.Join(", ", scopes)
            ),
            new(
                "networks",
                "Networks",
                policy.Networks is not { } networks ? null
                    : networks.Count == 0 ? "None"
                    : string.Join(", ", networks)
            ),
            new(
                "tokenLifetimeSeconds",
                "Token lifetime",
                policy.TokenLifetime is { } lifetime ? $"At most {TimeText.Describe(lifetime)}" : null
            ),
            new(
                "rootKeys",
                "Keys of the root in sub-organizations",
                policy.RootKeys switch
                {
                    null => null,
                    true => "Allowed",
                    false => "Not allowed",
                }
            ),
            new(
                "selfRotation",
                "A key may rotate itself",
                policy.SelfRotation switch
                {
                    null => null,
                    true => "Yes",
                    false => "No",
                }
            ),
            new("keysMayGrant", "What keys may grant to people", policy.KeysMayGrant is { } rule ? GrantWords(rule) : null),
        ];

    private static string GrantWords(KeysMayGrant rule) =>
        rule switch
        {
            KeysMayGrant.None => "Nothing",
            KeysMayGrant.PlatformRoles => "The platform's own roles",
            KeysMayGrant.All => "Everything their user may grant, owner included: a thief of a key can stay when it is deleted",
        };

    public static string EffectWords(PolicyEffect effect) =>
        effect switch
        {
            PolicyEffect.Stops => "stops",
            PolicyEffect.EndsEarlier => "ends earlier",
            PolicyEffect.Narrowed => "loses scopes",
        };

    /// <summary>A change in words, for the activity log: "lifetimeMaxDays: - → 90 days; enforced from 2027-01-01T00:00:00Z".</summary>
    internal static string Changes(PolicyPlan before, PolicyChange change)
    {
        var changes = Lines(before.Current)
            .Zip(Lines(change.Policy))
            .Where(pair => pair.First.Value != pair.Second.Value)
            .Select(pair => $"{pair.First.Member}: {pair.First.Value ?? "-"} → {pair.Second.Value ?? "-"}");
        var text = string.Join(
            "; ",
            changes
                .DefaultIfEmpty("nothing")
                .Append($"enforced {(change.EnforcedFrom is { } from ? $"from {TimeText.Machine(from)}" : "at once")}")
        );
        return text.Length <= DetailLengthMax ? text : text[..DetailLengthMax] + "…";
    }

    private const int DetailLengthMax = 2_000;

    /// <summary>The mail to a holder of keys that a change affects.</summary>
    internal static MailContent Warning(OrganizationAccess organization, DateTimeOffset at, IReadOnlyList<AffectedKey> keys)
    {
        const int listed = 50;
        var lines = keys.Take(listed)
            .Select(key =>
            {
                var end = key.EndsAt is { } at ? MailText.Of($", on {at}") : null;
                return MailText.Of(
                    $"- {key.Key.Name} ({key.Key.Id}) in {key.Key.OrganizationName}: {EffectWords(key.Effect)}{end}. Rule: "
                        + $"{key.Rule.Title()}.\n"
                );
            });
        return new(
            $"{organization.OrganizationName}: {TimeText.Count(keys.Count, "key")} of yours {(keys.Count == 1 ? "is" : "are")} affected "
                + $"by a change of policy",
            $"""
            The policy for personal access keys of {organization.OrganizationName} changes on {at}. It affects {TimeText.Count(
                keys.Count,
                "key"
            )} of yours:

            {MailText.Join("", lines)}{(keys.Count > listed ? MailText.Of($"- and {keys.Count - listed} more\n") : null)}
            The Security page of the dashboard shows the policy. Generate keys that keep to it, and give them to your programs before that time; ask an owner of the organization if you cannot.
            """
        );
    }

    private static string? Days(int? days) => days is { } number ? TimeText.Count(number, "day") : null;
}
