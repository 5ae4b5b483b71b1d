namespace Pakhouse.Server;

/// <summary>A webhook as the owners of its organization see it, without its secret.</summary>
public sealed record Webhook
{
    public Guid Id { get; init; }
    public string Url { get; init; } = "";

    /// <summary><see cref="NameSet.All"/>: all events, also of later versions.</summary>
    public NameSet Events { get; init; } = NameSet.Empty;

    public DateTimeOffset CreatedAt { get; init; }

    /// <summary>Null: the last attempt succeeded, or there was none.</summary>
    public DateTimeOffset? FailingSince { get; init; }

    public DateTimeOffset? DisabledAt { get; init; }

    /// <summary>Until this time the earlier secret signs together with the current one.</summary>
    public DateTimeOffset? OldSecretUntil { get; init; }
}

/// <summary>A webhook whose secret was just created; only this response ever contains it.</summary>
public sealed record WebhookWithSecret(Guid Id, string Secret)
{
    public override string ToString() => $"webhook {Id}"; // the default ToString of a record would print the secret
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

    /// <summary>The last attempt whose result is known; null: there was none.</summary>
    public DateTimeOffset? AttemptedAt { get; init; }
    public long? Milliseconds { get; init; }

    /// <summary>The HTTP status; null: no response.</summary>
    public long? Status { get; init; }

    /// <summary>Empty: delivered.</summary>
    public string? Error { get; init; }

    public bool IsDelivered => Error?.Length == 0;
}
