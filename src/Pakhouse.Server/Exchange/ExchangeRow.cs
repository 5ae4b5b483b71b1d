namespace Pakhouse.Server;

/// <summary>
/// All data that decides an exchange (R3 to R5), read as one row at that moment. <see cref="KeyExchange"/> evaluates it.
/// </summary>
public sealed record ExchangeRow
{
    public required bool IsApiKey { get; init; }
    public required byte[] Hash { get; init; }
    public required NameSet KeyScopes { get; init; }
    public required DateTimeOffset? ExpiresAt { get; init; }
    public required bool IsDeleted { get; init; }
    public required bool IsSuspended { get; init; }

    /// <summary>The time until which a rotated key works; null: it was not rotated.</summary>
    public required DateTimeOffset? OverlapEndsAt { get; init; }

    /// <summary>The key's entry in the status lists.</summary>
    public required long StatusIndex { get; init; }

    public required DateTimeOffset CreatedAt { get; init; }

    public required string UserId { get; init; }
    public required string UserName { get; init; }
    public required string UserEmail { get; init; }
    public required bool IsUserGone { get; init; }

    /// <summary>The key's membership ended.</summary>
    public required bool IsMembershipOver { get; init; }

    /// <summary>Roles of the key's membership.</summary>
    public required NameSet Roles { get; init; }

    public required string OrganizationId { get; init; }

    /// <summary>Null: the key's organization is a root.</summary>
    public required string? RootId { get; init; }

    /// <summary>The key's organization or its root is disabled or deleted.</summary>
    public required bool IsOrganizationClosed { get; init; }

    /// <summary>The id of the root of the requested organization, if that organization exists, is enabled and is not the key's
    /// own.</summary>
    public required string? TargetRootId { get; init; }

    /// <summary>
    /// Roles of the user's other membership that counts: in the target if there is one, otherwise in the root of the key's organization.
    /// Null: there is no such membership.
    /// </summary>
    public required NameSet? OtherRoles { get; init; }

    /// <summary>Policies of the key's organization, of its root and of the target, as stored; null where there is none.</summary>
    public required string? Policy { get; init; }
    public required string? RootPolicy { get; init; }
    public required string? TargetPolicy { get; init; }
}
