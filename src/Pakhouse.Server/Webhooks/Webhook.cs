namespace Pakhouse.Server;

/// <summary>A webhook as the owners of its organization see it; without its secret.</summary>
public sealed record Webhook
{
    public Guid Id { get; init; }
    public string Url { get; init; } = "";

    /// <summary><see cref="NameSet.All"/>: those of later versions too.</summary>
    public NameSet Events { get; init; } = NameSet.Empty;

    public DateTimeOffset CreatedAt { get; init; }

    /// <summary>Null: the last attempt succeeded, or there was none.</summary>
    public DateTimeOffset? FailingSince { get; init; }

    public DateTimeOffset? DisabledAt { get; init; }

    /// <summary>Until then the former secret signs beside the present one.</summary>
    public DateTimeOffset? OldSecretUntil { get; init; }
}

/// <summary>A webhook whose secret was just made: the only answer that ever carries it.</summary>
public sealed record WebhookWithSecret(Guid Id, string Secret)
{
    public override string ToString() => $"webhook {Id}"; // a record would print the secret
}

/// <summary>A message and the last attempt to deliver it.</summary>
public sealed record WebhookDelivery
{
    public string Id { get; init; } = "";
    public string Type { get; init; } = "";
    public string Body { get; init; } = "";
    public DateTimeOffset CreatedAt { get; init; }

    /// <summary>The next attempt; null: there is none.</summary>
    public DateTimeOffset? DueAt { get; init; }

    public long Attempts { get; init; }

    /// <summary>Of the last attempt whose end is known; null: there was none.</summary>
    public DateTimeOffset? AttemptedAt { get; init; }
    public long? Milliseconds { get; init; }

    /// <summary>Of HTTP; null: no answer.</summary>
    public long? Status { get; init; }

    /// <summary>Empty: delivered.</summary>
    public string? Error { get; init; }

    public bool IsDelivered => Error?.Length == 0;
}
