namespace Pakhouse.Server;

/// <summary>An organization as one of its members sees it.</summary>
public sealed record Organization
{
    public Guid Id { get; init; }

    /// <summary>Null: a root.</summary>
    public Guid? RootId { get; init; }

    public string? RootName { get; init; }
    public string Name { get; init; } = "";
    public DateTimeOffset CreatedAt { get; init; }
    public DateTimeOffset? DisabledAt { get; init; }

    /// <summary>Whether the asking user has a membership in just this organization.</summary>
    public bool IsDirectMember { get; init; }

    /// <summary>People with a membership in just this organization; null where it was not asked for.</summary>
    public long? MemberCount { get; init; }
}
