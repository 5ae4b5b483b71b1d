using System.Data.Common;
using Dapper;

namespace Pakhouse.Server;

/// <summary>The recipients of mails about what belongs to an organization and to no person.</summary>
internal static class Owners
{
    /// <summary>Addresses of the effective owners who can sign in (R1).</summary>
    public static Task<IEnumerable<string>> EmailsAsync(DbTransaction transaction, Guid organizationId) =>
        transaction.Connection!.QueryAsync<string>(
            """
            SELECT DISTINCT u.email FROM organizations o
            JOIN memberships m ON m.organization_id IN (o.id, o.root_id) AND m.ended_at IS NULL
            JOIN users u ON u.id = m.user_id AND u.kind = 'person' AND u.disabled_at IS NULL AND u.deleted_at IS NULL
            WHERE o.id = @organizationId AND ' ' || m.roles || ' ' LIKE @pattern
            """,
            new { organizationId, pattern = $"% {BuiltInRoles.Owner} %" },
            transaction
        );
}
