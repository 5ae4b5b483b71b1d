namespace Pakhouse.Server;

/// <summary>The content of a token: exactly what the user may do in the organization at this moment (R4).</summary>
public sealed record TokenGrant
{
    public required string KeyId { get; init; }
    public required bool IsApiKey { get; init; }

    /// <summary>The key's entry in the status lists.</summary>
    public required long StatusIndex { get; init; }

    /// <summary>Its own expiry, or the end of the policy's longest lifetime, whichever comes first.</summary>
    public required DateTimeOffset? KeyExpiresAt { get; init; }

    /// <summary>
    /// When the key ends by itself: at its expiry, at the end of its overlap if it was rotated, or on the date from which an announced
    /// policy refuses it. No token outlives it.
    /// </summary>
    public required DateTimeOffset? KeyEndsAt { get; init; }

    /// <summary>The longest token lifetime that the policy allows; null: no limit.</summary>
    public required TimeSpan? LifetimeMax { get; init; }

    /// <summary>The key was rotated and is in its overlap.</summary>
    public required bool IsReplaced { get; init; }

    public required string UserId { get; init; }
    public required string UserName { get; init; }
    public required string UserEmail { get; init; }
    public required string OrganizationId { get; init; }
    public required string RootOrganizationId { get; init; }

    /// <summary>The user has a direct membership in this organization.</summary>
    public required bool IsMember { get; init; }

    public required NameSet Roles { get; init; }
    public required NameSet Scopes { get; init; }
}
