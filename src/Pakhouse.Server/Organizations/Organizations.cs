using System.Data.Common;
using Dapper;

namespace Pakhouse.Server;

/// <summary>An organization as one of its members sees it.</summary>
public sealed record Organization
{
    public Guid Id { get; init; }

    /// <summary>Null: a root.</summary>
    public Guid? RootId { get; init; }

    public string Name { get; init; } = "";
    public DateTimeOffset CreatedAt { get; init; }
    public DateTimeOffset? DisabledAt { get; init; }

    /// <summary>Whether the asking user has a membership in just this organization.</summary>
    public bool IsDirectMember { get; init; }
}

/// <summary>
/// Organizations: two levels, roots and their sub-organizations. It owns their rows and names, and what their end takes with it.
/// <para>Invariant: an id is never changed and never used again (R10); a deleted organization leaves its row, no open membership
/// and no living key (R5).</para>
/// </summary>
public sealed class Organizations(Database database, TimeProvider clock)
{
    public const int NameLengthMax = 100;

    /// <summary>A new root organization with its first owner. For the set-up page and the operator.</summary>
    public Task<Outcome<Guid>> CreateRootAsync(Actor actor, string name, Guid ownerId) =>
        database.ChangeAsync(transaction => CreateRootAsync(transaction, actor, name, ownerId));

    public async Task<Outcome<Guid>> CreateRootAsync(DbTransaction transaction, Actor actor, string name, Guid ownerId)
    {
        if (actor.Credential != Credential.Operator) return new Refusal(RefusalCode.AccessDenied, "A root organization is made by the operator of this server.", "root by no operator");
        if (Checks.Name(name, "name", NameLengthMax) is { } refusal) return refusal;

        var id = await InsertAsync(transaction, actor, name, rootId: null);
        if (id.IsRefused) return id;
        await Members.InsertAsync(transaction, clock, actor, id.Value, ownerId, NameSet.Of(Permissions.Owner));
        return id;
    }

    /// <summary>A new sub-organization. Its name is unique among the sub-organizations of its root (R10).</summary>
    public Task<Outcome<Guid>> CreateSubAsync(Actor actor, Guid rootId, string name) => database.ChangeAsync<Guid>(async transaction =>
    {
        var standpoint = await Guard.DemandAsync(transaction, actor, Permission.CreateSubOrganization, rootId);
        if (standpoint.Refusal is { } refused) return refused;
        if (standpoint.Value.RootId is not null)
            return new Refusal(RefusalCode.InvalidRequest, "A sub-organization cannot have sub-organizations: create it in the root.", "a third level");
        if (Checks.Name(name, "name", NameLengthMax) is { } refusal) return refusal;
        return await InsertAsync(transaction, actor, name, rootId);
    });

    public Task<Outcome<bool>> RenameAsync(Actor actor, Guid id, string name) => database.ChangeAsync<bool>(async transaction =>
    {
        var standpoint = await Guard.DemandAsync(transaction, actor, Permission.RenameOrganization, id);
        if (standpoint.Refusal is { } refused) return refused;
        if (Checks.Name(name, "name", NameLengthMax) is { } refusal) return refusal;
        if (await IsTakenAsync(transaction, standpoint.Value.RootId, name, except: id)) return nameIsTaken;

        await transaction.Connection!.ExecuteAsync("UPDATE organizations SET name = @name, name_normalized = @normalized WHERE id = @id",
            new { id, name = name.Trim(), normalized = Normalize(name) }, transaction);
        await ActivityLog.WriteAsync(transaction, clock, actor, Did.OrganizationUpdate, id, id.ToString());
        return true;
    });

    /// <summary>Suspends every key of the organization and of its sub-organizations, or lets them work again (R5).</summary>
    public Task<Outcome<bool>> SetDisabledAsync(Actor actor, Guid id, bool disabled) => database.ChangeAsync<bool>(async transaction =>
    {
        var standpoint = await Guard.DemandAsync(transaction, actor, Permission.DisableOrganization, id);
        if (standpoint.Refusal is { } refused) return refused;

        await transaction.Connection!.ExecuteAsync("UPDATE organizations SET disabled_at = @at WHERE id = @id",
            new { id, at = disabled ? clock.GetUtcNow() : (DateTimeOffset?)null }, transaction);
        await KeyStatus.OfOrganizationAsync(transaction, clock, id);
        await ActivityLog.WriteAsync(transaction, clock, actor, disabled ? Did.OrganizationDisable : Did.OrganizationEnable, id, id.ToString());
        return true;
    });

    /// <summary>Deletes the organization and its sub-organizations, and with them every membership and key, for good.</summary>
    public Task<Outcome<bool>> DeleteAsync(Actor actor, Guid id) => database.ChangeAsync<bool>(async transaction =>
    {
        var standpoint = await Guard.DemandAsync(transaction, actor, Permission.DeleteOrganization, id);
        if (standpoint.Refusal is { } refused) return refused;

        var at = clock.GetUtcNow();
        await transaction.Connection!.ExecuteAsync(
            """
            UPDATE access_keys SET deleted_at = @at
            WHERE deleted_at IS NULL AND membership_id IN (
                SELECT m.id FROM memberships m JOIN organizations o ON o.id = m.organization_id WHERE o.id = @id OR o.root_id = @id);
            UPDATE memberships SET ended_at = @at
            WHERE ended_at IS NULL AND organization_id IN (SELECT id FROM organizations WHERE id = @id OR root_id = @id);
            UPDATE organizations SET deleted_at = @at
            WHERE deleted_at IS NULL AND (id = @id OR root_id = @id);
            """, new { id, at }, transaction);
        await KeyStatus.OfOrganizationAsync(transaction, clock, id);
        await ActivityLog.WriteAsync(transaction, clock, actor, Did.OrganizationDelete, id, id.ToString());
        return true;
    });

    /// <summary>
    /// The organizations that a caller sees (R9): those with a membership, and the sub-organizations of its roots; of a token, what it is
    /// bound to; of an API key, what its roles name. Each root is followed by its sub-organizations, both by name.
    /// </summary>
    public async Task<IReadOnlyList<Organization>> ListAsync(Actor actor) => [.. await database.ReadAsync(connection => connection.QueryAsync<Organization>(
        """
        SELECT o.id, o.root_id, o.name, o.created_at, o.disabled_at, CASE WHEN m.id IS NULL THEN 0 ELSE 1 END AS is_direct_member
        FROM organizations o
        LEFT JOIN organizations r ON r.id = o.root_id
        LEFT JOIN memberships m ON m.organization_id = o.id AND m.user_id = @userId AND m.ended_at IS NULL
        LEFT JOIN memberships rm ON rm.organization_id = o.root_id AND rm.user_id = @userId AND rm.ended_at IS NULL
        WHERE o.deleted_at IS NULL AND r.deleted_at IS NULL AND (m.id IS NOT NULL OR rm.id IS NOT NULL)
          AND (@BoundTo = '' OR o.id = @BoundTo OR o.root_id = @BoundTo)
          AND (@isPerson = 1 OR m.id IS NOT NULL)
        ORDER BY COALESCE(r.name_normalized, o.name_normalized), COALESCE(r.id, o.id), CASE WHEN o.root_id IS NULL THEN 0 ELSE 1 END, o.name_normalized, o.id
        """, new { userId = actor.UserId, BoundTo = actor.BoundTo?.ToString() ?? "", isPerson = actor.Credential == Credential.ApiKey ? 0L : 1L }))];

    /// <summary>Where the caller stands in an organization; for everybody but its effective members there is none (R9).</summary>
    public Task<Outcome<Standpoint>> StandpointAsync(Actor actor, Guid id) =>
        database.ReadAsync(connection => Guard.DemandAsync(connection, null, actor, Permission.SeeOrganization, id));

    private static readonly Refusal nameIsTaken = new(RefusalCode.Conflict, "name: another sub-organization of this root has this name; choose a different one.", "name taken among siblings (R10)");

    private async Task<Outcome<Guid>> InsertAsync(DbTransaction transaction, Actor actor, string name, Guid? rootId)
    {
        if (await IsTakenAsync(transaction, rootId, name, except: null)) return nameIsTaken;

        var id = Ids.New(clock);
        await transaction.Connection!.ExecuteAsync(
            "INSERT INTO organizations (id, root_id, name, name_normalized, created_at) VALUES (@id, @rootId, @name, @normalized, @at)",
            new { id, rootId, name = name.Trim(), normalized = Normalize(name), at = clock.GetUtcNow() }, transaction);
        await ActivityLog.WriteAsync(transaction, clock, actor, Did.OrganizationCreate, id, id.ToString());
        return id;
    }

    /// <summary>Roots are no siblings: a refusal must not tell one tenant the name of another (R9).</summary>
    private static async Task<bool> IsTakenAsync(DbTransaction transaction, Guid? rootId, string name, Guid? except) =>
        rootId is not null && await transaction.Connection!.ExecuteScalarAsync<long>(
            "SELECT COUNT(*) FROM organizations WHERE root_id = @rootId AND name_normalized = @normalized AND deleted_at IS NULL AND id <> @except",
            new { rootId, normalized = Normalize(name), except = except ?? Guid.Empty }, transaction) > 0;

    private static string Normalize(string name) => name.Trim().ToUpperInvariant();
}

/// <summary>Bounds of what callers name things, in one place.</summary>
public static class Checks
{
    /// <summary>Null when <paramref name="text"/> is 1 to <paramref name="lengthMax"/> characters without control characters.</summary>
    public static Refusal? Name(string text, string field, int lengthMax)
    {
        var trimmed = text.Trim();
        return trimmed.Length == 0 ? new Refusal(RefusalCode.InvalidRequest, $"{field}: enter 1 to {lengthMax} characters.", $"{field} empty")
            : trimmed.Length > lengthMax ? new Refusal(RefusalCode.InvalidRequest, $"{field}: this is too long; enter at most {lengthMax} characters.", $"{field} too long")
            : trimmed.Any(char.IsControl) ? new Refusal(RefusalCode.InvalidRequest, $"{field}: use no line breaks or other control characters.", $"{field} with control characters")
            : null;
    }
}
