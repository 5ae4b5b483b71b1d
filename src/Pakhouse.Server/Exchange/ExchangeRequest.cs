using System.Net;

namespace Pakhouse.Server;

/// <summary>The request for an exchange, independent of HTTP.</summary>
/// <param name="Key">ASCII bytes of the key. The caller owns and wipes them.</param>
/// <param name="SubOrganization">Null: the key's own organization.</param>
/// <param name="ApiKeyName">Not null: an organization's API key with this name (UTF-8) is expected, not a person's key.</param>
public readonly record struct ExchangeRequest(
    ReadOnlyMemory<byte> Key,
    Guid? SubOrganization,
    ScopeRequest Scopes,
    ReadOnlyMemory<byte>? ApiKeyName = null
)
{
    /// <summary>The caller's address, as trusted proxies forwarded it. Null: unknown, which no list of networks allows.</summary>
    public IPAddress? Address { get; init; }
}

/// <summary>The checks of an exchange after the secret is verified, in this order.</summary>
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
