using System.Data.Common;
using Dapper;

namespace Pakhouse.Server;

/// <summary>The organizations that a caller may see.</summary>
public sealed partial class Organizations
{
    /// <summary>
    /// Returns the organizations that a caller sees (R9): those with a membership and the sub-organizations of its roots; for a token, its
    /// organization; for an API key, those that its roles name. Each root is followed by its sub-organizations, both by name.
    /// </summary>
    /// <param name="counted">With the number of members of each.</param>
    public Task<IReadOnlyList<Organization>> ListAsync(Actor actor, bool counted = false) => SelectAsync(actor, null, counted);

    /// <summary>Returns one organization with its number of members, to its effective members only (R9).</summary>
    public async Task<Outcome<Organization>> FindAsync(Actor actor, Guid id)
    {
        var access = await AccessAsync(actor, id);
        if (access.Refusal is { } refused)
            return refused;
        return await SelectAsync(actor, id, counted: true) is [var found] ? found : Guard.NotFound; // deleted between the two reads
    }

    private async Task<IReadOnlyList<Organization>> SelectAsync(Actor actor, Guid? id, bool counted) =>
        [
            .. await database.ReadAsync(connection =>
                connection.QueryAsync<Organization>(
                    $"""
                    SELECT o.id, o.root_id, r.name AS root_name, o.name, o.created_at, o.disabled_at,
                        CASE WHEN m.id IS NULL THEN 0 ELSE 1 END AS is_direct_member,
                           {(
                        counted
                            ? "(SELECT COUNT(*) FROM memberships c WHERE c.organization_id = o.id AND c.ended_at IS NULL AND c.listed_as "
                                + "IS NOT NULL)"
                            : "NULL"
                    )} AS member_count
                    FROM organizations o
                    LEFT JOIN organizations r ON r.id = o.root_id
                    LEFT JOIN memberships m ON m.organization_id = o.id AND m.user_id = @userId AND m.ended_at IS NULL
                    LEFT JOIN memberships rm ON rm.organization_id = o.root_id AND rm.user_id = @userId AND rm.ended_at IS NULL
                    WHERE {(
                        id is null ? visible : "o.id = @id"
                    )} AND o.deleted_at IS NULL AND r.deleted_at IS NULL AND (m.id IS NOT NULL OR rm.id IS NOT NULL OR @isOperator = 1)
                      AND (@BoundTo = '' OR o.id = @BoundTo OR o.root_id = @BoundTo)
                      AND (@isPerson = 1 OR m.id IS NOT NULL)
                    ORDER BY COALESCE(r.name_normalized, o.name_normalized), COALESCE(r.id, o.id),
                        CASE WHEN o.root_id IS NULL THEN 0 ELSE 1 END, o.name_normalized, o.id
                    """,
                    new
                    {
                        id,
                        userId = actor.UserId,
                        BoundTo = actor.BoundTo?.ToString() ?? "",
                        isPerson = actor.Credential == Credential.ApiKey ? 0L : 1L,
                        isOperator = actor.Credential == Credential.Operator ? 1L : 0L,
                    }
                )
            ),
        ];

    // Starts at the person's memberships, so that the time depends on the result and not on the size of the table.
    private const string visible = """
        o.id IN (
            SELECT organization_id FROM memberships WHERE user_id = @userId AND ended_at IS NULL
            UNION
            SELECT s.id FROM memberships p JOIN organizations s ON s.root_id = p.organization_id WHERE p.user_id = @userId
                AND p.ended_at IS NULL AND s.deleted_at IS NULL)
        """;

    /// <summary>Returns the access of the caller in an organization, to its effective members only (R9).</summary>
    public Task<Outcome<OrganizationAccess>> AccessAsync(Actor actor, Guid id, Permission permission = Permission.SeeOrganization) =>
        database.ReadAsync(connection => Guard.AuthorizeAsync(connection, null, actor, permission, id));
}
