namespace Pakhouse.Server;

/// <summary>Roles in one organization.</summary>
public sealed record OrganizationRoles(Guid OrganizationId, NameSet Roles)
{
    /// <summary>Empty where a caller only names the organization.</summary>
    public string OrganizationName { get; init; } = "";

    /// <summary>Who sent it last; null: the operator.</summary>
    internal Guid? InvitedBy { get; init; }

    /// <summary>With which key; null: with a session, or at the machine.</summary>
    internal string? KeyId { get; init; }
}

/// <summary>An invitation that waits to be accepted, or has expired.</summary>
public sealed record Invitation
{
    public Guid Id { get; init; }
    public Guid RootId { get; init; }
    public string Email { get; init; } = "";

    /// <summary>Null: the operator. A person's name; the name of an API key's service user.</summary>
    public string? InvitedBy { get; init; }

    public DateTimeOffset CreatedAt { get; init; }
    public DateTimeOffset SentAt { get; init; }

    /// <summary>When the message of <see cref="SentAt"/> was given up; null: it arrived, or is under way.</summary>
    public DateTimeOffset? UndeliveredAt { get; init; }

    /// <summary>Of the part that lasts longest.</summary>
    public DateTimeOffset ExpiresAt { get; init; }

    /// <summary>Where to: the root first, then by name. Seen from a sub-organization, that one alone.</summary>
    public IReadOnlyList<OrganizationRoles> OrganizationsAndRoles { get; init; } = [];
}
