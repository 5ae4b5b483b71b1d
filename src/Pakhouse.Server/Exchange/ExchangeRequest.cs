using System.Net;

namespace Pakhouse.Server;

/// <summary>An exchange as it was asked for, free of the wire.</summary>
/// <param name="Key">ASCII bytes of the key. The caller owns and wipes them.</param>
/// <param name="SubOrganization">Null: the key's own organization.</param>
/// <param name="ApiKeyName">Not null: an organization's API key is expected, not a person's, and this is its name in UTF-8.</param>
public readonly record struct ExchangeRequest(
    ReadOnlyMemory<byte> Key,
    Guid? SubOrganization,
    ScopeRequest Scopes,
    ReadOnlyMemory<byte>? ApiKeyName = null
)
{
    /// <summary>Of the caller, behind trusted proxies. Null: unknown, which no list of networks allows.</summary>
    public IPAddress? Address { get; init; }
}

/// <summary>What an exchange asks of a key that was proved, in this order.</summary>
public enum ExchangeStep
{
    NotDeleted,
    NotReplaced,
    NotExpired,
    NotSuspended,
    HolderActive,
    OrganizationOpen,
    Target,
    Holders,
    Lifetime,
    RootKeys,
    Networks,
    Scopes,
}
