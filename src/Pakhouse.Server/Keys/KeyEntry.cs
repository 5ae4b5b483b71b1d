namespace Pakhouse.Server;

/// <summary>A key as its owner sees it in a list, without its secret and its hash.</summary>
public sealed record KeyEntry
{
    public string Id { get; init; } = "";
    public string Name { get; init; } = "";

    /// <summary>Empty: no limit.</summary>
    public NameSet Scopes { get; init; } = NameSet.Empty;

    public DateTimeOffset CreatedAt { get; init; }
    public DateTimeOffset? ExpiresAt { get; init; }

    /// <summary>Null: never used, or only since the last flush.</summary>
    public DateTimeOffset? LastUsedAt { get; init; }

    public string? LastUsedAddress { get; init; }
    public string? LastUsedUserAgent { get; init; }

    public DateTimeOffset? SuspendedAt { get; init; }

    /// <summary>When the key was suspended because it, or a key that it replaced, was used after its overlap.</summary>
    public DateTimeOffset? FrozenAt { get; init; }

    /// <summary>The key that replaces this one by rotation.</summary>
    public string? SuccessorId { get; init; }

    /// <summary>The time until which a replaced key works.</summary>
    public DateTimeOffset? OverlapEndsAt { get; init; }

    /// <summary>The last time that a caller proved the secret after the key's end; null: never.</summary>
    public DateTimeOffset? UsedLateAt { get; init; }

    /// <summary>The first and the newest of the networks from which the key was used, by first use.</summary>
    public DateTimeOffset? FirstNetworkAt { get; init; }
    public DateTimeOffset? NewestNetworkAt { get; init; }

    /// <summary>When the key ends by itself; null: never.</summary>
    public DateTimeOffset? EndsAt => OverlapEndsAt ?? ExpiresAt; // an overlap never goes beyond the expiry

    /// <summary>The key can be exchanged, or could be if it were not suspended.</summary>
    public bool IsLiving(DateTimeOffset now) => EndsAt is null || EndsAt > now;

    /// <summary>
    /// Whether the key counts toward the limit of its holder. A replaced key does not, so that rotation works when the limit is reached.
    /// </summary>
    public bool CountsTowardLimit(DateTimeOffset now) => SuccessorId is null && IsLiving(now);
}

/// <summary>What a person chooses when generating a key.</summary>
/// <param name="Id">The id that was generated when the form was shown, so that sending the form twice cannot create two keys.</param>
/// <param name="ExpiresAt">Null: never.</param>
/// <param name="Scopes"><see cref="NameSet.All"/>: no limit.</param>
public sealed record NewKey(string Id, string Name, DateTimeOffset? ExpiresAt, NameSet Scopes);
