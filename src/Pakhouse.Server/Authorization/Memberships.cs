using System.Data.Common;
using Dapper;

namespace Pakhouse.Server;

/// <summary>The rows that connect users, people and services alike, to organizations.</summary>
internal static class Memberships
{
    /// <returns>The id of the membership.</returns>
    public static async Task<Guid> InsertAsync(
        DbTransaction transaction,
        TimeProvider clock,
        Guid organizationId,
        Guid userId,
        NameSet roles
    )
    {
        var id = Ids.New(clock);
        await transaction.Connection!.ExecuteAsync(
            "INSERT INTO memberships (id, organization_id, user_id, roles, created_at) VALUES (@id, @organizationId, @userId, @roles, @at)",
            new { id, organizationId, userId, roles, at = clock.GetUtcNow() }, transaction);
        return id;
    }
}
