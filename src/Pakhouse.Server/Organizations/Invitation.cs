namespace Pakhouse.Server;

/// <summary>Roles in one organization.</summary>
public sealed record OrganizationRoles(Guid OrganizationId, NameSet Roles)
{
    /// <summary>Empty if a caller only names the organization.</summary>
    public string OrganizationName { get; init; } = "";

    /// <summary>The last sender; null: the operator.</summary>
    internal Guid? InvitedBy { get; init; }

    /// <summary>The key that the sender used; null: a session, or the operator.</summary>
    internal string? KeyId { get; init; }
}

/// <summary>A pending or expired invitation.</summary>
public sealed record Invitation
{
    public Guid Id { get; init; }
    public Guid RootId { get; init; }
    public string Email { get; init; } = "";

    /// <summary>Null: the operator. A person's name; the name of an API key's service user.</summary>
    public string? InvitedBy { get; init; }

    public DateTimeOffset CreatedAt { get; init; }
    public DateTimeOffset SentAt { get; init; }

    /// <summary>When delivery of the message of <see cref="SentAt"/> was given up; null: it arrived or is being sent.</summary>
    public DateTimeOffset? UndeliveredAt { get; init; }

    /// <summary>The expiry of the part that lasts longest.</summary>
    public DateTimeOffset ExpiresAt { get; init; }

    /// <summary>The organizations: the root first, then by name. Seen from a sub-organization, only that one.</summary>
    public IReadOnlyList<OrganizationRoles> OrganizationsAndRoles { get; init; } = [];
}
