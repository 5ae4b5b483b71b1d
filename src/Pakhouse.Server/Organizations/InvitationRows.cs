using System.Data.Common;
using Dapper;

namespace Pakhouse.Server;

/// <summary>The rows of invitations, which the sender's and the invited person's side both read and end.</summary>
internal static class InvitationRows
{
    /// <param name="which">A condition on the invitation <c>i</c> and its part <c>p</c>.</param>
    public static async Task<IReadOnlyList<Invitation>> SelectAsync(
        DbConnection connection,
        DbTransaction? transaction,
        string which,
        object parameters
    ) =>
        [
            .. (
                await connection.QueryAsync<Row>(
                    $"""
                    SELECT i.id, i.root_id, i.email, i.created_at, i.sent_at, i.undelivered_at, p.expires_at, u.name AS invited_by,
                           p.invited_by AS sender_id, p.key_id, p.organization_id, o.name AS organization_name, p.roles
                    FROM invitations i
                    JOIN invitation_parts p ON p.invitation_id = i.id
                    JOIN organizations o ON o.id = p.organization_id
                    LEFT JOIN users u ON u.id = p.invited_by
                    WHERE {which}
                    ORDER BY i.email_normalized, i.id, CASE WHEN o.root_id IS NULL THEN 0 ELSE 1 END, o.name_normalized, o.id
                    """,
                    parameters,
                    transaction
                )
            )
                .GroupBy(row => row.Id)
                .Select(rows => new Invitation
                {
                    Id = rows.Key,
                    RootId = rows.First().RootId,
                    Email = rows.First().Email,
                    InvitedBy = rows.First().InvitedBy,
                    CreatedAt = rows.First().CreatedAt,
                    SentAt = rows.First().SentAt,
                    UndeliveredAt = rows.First().UndeliveredAt,
                    ExpiresAt = rows.Max(row => row.ExpiresAt),
                    OrganizationsAndRoles =
                    [
                        .. rows.Select(row => new OrganizationRoles(row.OrganizationId, row.Roles)
                        {
                            OrganizationName = row.OrganizationName,
                            InvitedBy = row.SenderId,
                            KeyId = row.KeyId,
                        }),
                    ],
                }),
        ];

    /// <summary>Ends one part, and with the last part the invitation.</summary>
    public static Task<int> EndAsync(DbTransaction transaction, Guid invitationId, Guid organizationId) =>
        transaction.Connection!.ExecuteAsync(
            """
            DELETE FROM invitation_parts WHERE invitation_id = @invitationId AND organization_id = @organizationId;
            DELETE FROM invitations WHERE id = @invitationId
                AND NOT EXISTS (SELECT 1 FROM invitation_parts WHERE invitation_id = @invitationId);
            """,
            new { invitationId, organizationId },
            transaction
        );

    private sealed record Row
    {
        public Guid Id { get; init; }
        public Guid RootId { get; init; }
        public string Email { get; init; } = "";
        public string? InvitedBy { get; init; }
        public Guid? SenderId { get; init; }
        public string? KeyId { get; init; }
        public DateTimeOffset CreatedAt { get; init; }
        public DateTimeOffset SentAt { get; init; }
        public DateTimeOffset? UndeliveredAt { get; init; }
        public DateTimeOffset ExpiresAt { get; init; }
        public Guid OrganizationId { get; init; }
        public string OrganizationName { get; init; } = "";
        public NameSet Roles { get; init; } = NameSet.Empty;
    }
}
