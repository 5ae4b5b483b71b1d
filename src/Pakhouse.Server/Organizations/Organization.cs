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

    /// <summary>Whether the caller is a direct member of this organization.</summary>
    public bool IsDirectMember { get; init; }

    /// <summary>The number of people who are direct members; null if it was not requested.</summary>
    public long? MemberCount { get; init; }
}
