namespace Pakhouse.Server;

/// <summary>A rule of a policy that an exchange can break, in the order in which they are asked.</summary>
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
    /// <summary>For people.</summary>
    public static string Title(this PolicyRule rule) => rule switch
    {
        PolicyRule.Holders => "Who may hold keys",
        PolicyRule.Lifetime => "Longest lifetime",
        PolicyRule.RootKeys => "Keys of the root in sub-organizations",
        PolicyRule.Networks => "Networks",
        PolicyRule.Scopes => "Scopes",
    };
}

/// <summary>What keys may give to people, by the policy of the organization.</summary>
public enum KeysMayGrant
{
    /// <summary>Nothing: no invitation, no membership, no role.</summary>
    None,

    /// <summary>Memberships and the platform's own roles, and not those that <see cref="BuiltInRoles"/> names.</summary>
    PlatformRoles,

    /// <summary>
    /// All that its user may give. Whoever finds such a key can make themselves an owner who stays when the key has ended.
    /// </summary>
    All,
}
