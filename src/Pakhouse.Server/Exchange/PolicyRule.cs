namespace Pakhouse.Server;

/// <summary>A rule of a policy that an exchange can break, in the order of evaluation.</summary>
public enum PolicyRule
{
    Holders,
    Lifetime,
    RootKeys,
    Networks,
    Scopes,
}

public static class PolicyRules
{
    /// <summary>The name shown to people.</summary>
    public static string Title(this PolicyRule rule) => rule switch
    {
        PolicyRule.Holders => "Who may hold keys",
        PolicyRule.Lifetime => "Longest lifetime",
        PolicyRule.RootKeys => "Keys of the root in sub-organizations",
        PolicyRule.Networks => "Networks",
        PolicyRule.Scopes => "Scopes",
    };
}

/// <summary>What keys may grant to people, by the policy of the organization.</summary>
public enum KeysMayGrant
{
    /// <summary>Nothing: no invitation, no membership, no role.</summary>
    None,

    /// <summary>Memberships and the platform's own roles, but not the roles of <see cref="BuiltInRoles"/>.</summary>
    PlatformRoles,

    /// <summary>
    /// Everything that its user may grant. An attacker who finds such a key can become an owner who stays after the key has ended.
    /// </summary>
    All,
}
