namespace Pakhouse.Server;

/// <summary>A key as its owner sees it in a list. The secret is not here, nor is its hash.</summary>
public sealed record KeyEntry
{
    public string Id { get; init; } = "";
    public string Name { get; init; } = "";

    /// <summary>Empty: no narrowing.</summary>
    public NameSet Scopes { get; init; } = NameSet.Empty;

    public DateTimeOffset CreatedAt { get; init; }
    public DateTimeOffset? ExpiresAt { get; init; }

    /// <summary>Null: never, or within the last flush.</summary>
    public DateTimeOffset? LastUsedAt { get; init; }

    public string? LastUsedAddress { get; init; }
    public string? LastUsedUserAgent { get; init; }

    public DateTimeOffset? SuspendedAt { get; init; }

    /// <summary>Suspended since then because a key that it replaced, or itself, was used after its overlap.</summary>
    public DateTimeOffset? FrozenAt { get; init; }

    /// <summary>The key that replaces this one by rotation.</summary>
    public string? SuccessorId { get; init; }

    /// <summary>Until when a replaced key works.</summary>
    public DateTimeOffset? OverlapEndsAt { get; init; }

    /// <summary>The last time that somebody proved the secret after the key's end; null: nobody did.</summary>
    public DateTimeOffset? UsedLateAt { get; init; }

    /// <summary>The first and the newest of the networks that the key was used from, by their first use.</summary>
    public DateTimeOffset? FirstNetworkAt { get; init; }
    public DateTimeOffset? NewestNetworkAt { get; init; }

    /// <summary>When the key stops by itself; null: never.</summary>
    public DateTimeOffset? EndsAt => OverlapEndsAt ?? ExpiresAt; // an overlap never goes beyond the expiry

    /// <summary>It can be exchanged, or could if it were not suspended.</summary>
    public bool IsLiving(DateTimeOffset now) => EndsAt is null || EndsAt > now;

    /// <summary>
    /// Whether the key fills a place of those that its holder has. A replaced one does not: rotation must work when all are taken.
    /// </summary>
    public bool CountsTowardLimit(DateTimeOffset now) => SuccessorId is null && IsLiving(now);
}

/// <summary>What a person chooses when generating a key.</summary>
/// <param name="Id">Drawn when the form was shown: sending the form twice cannot make two keys.</param>
/// <param name="ExpiresAt">Null: never.</param>
/// <param name="Scopes"><see cref="NameSet.All"/>: no narrowing.</param>
public sealed record NewKey(string Id, string Name, DateTimeOffset? ExpiresAt, NameSet Scopes);
