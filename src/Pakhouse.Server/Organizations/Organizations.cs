using System.Data.Common;
using Dapper;

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

/// <summary>
/// Organizations: two levels, roots and their sub-organizations. It owns their rows and names, and what their end takes with it.
/// <para>Invariant: an id is never changed and never used again (R10); a deleted organization leaves its row, no open membership
/// and no living key (R5).</para>
/// </summary>
public sealed class Organizations(Database database, PakhouseOptions options, KeyLifecycle lifecycle, TimeProvider clock)
{
    public const int NameLengthMax = 100;

    /// <summary>A new root organization, whose owner is the person who makes it.</summary>
    public Task<Outcome<Guid>> CreateRootAsync(Actor actor, string name) =>
        database.ChangeAsync<Guid>(async transaction =>
        {
            if (await Guard.AuthorizeAsync(transaction, actor, Permission.CreateOrganization) is { } refused)
                return refused;
            if (actor.UserId is not { } ownerId)
                return new Refusal(
                    RefusalCode.InvalidRequest,
                    "owner: say who shall own the organization.",
                    "root by the operator without an owner"
                );
            if (Checks.Name(name, "name", NameLengthMax, out name) is { } refusal)
                return refusal;

            // Those of the last day count though they are deleted: their rows stay, and nobody shall make rows without end.
            var made = await transaction.Connection!.ExecuteScalarAsync<long>(
                "SELECT COUNT(*) FROM organizations WHERE created_by = @ownerId AND (deleted_at IS NULL OR created_at > @since)",
                new { ownerId, since = clock.GetUtcNow() - TimeSpan.FromDays(1) },
                transaction
            );
            if (made >= options.OrganizationsPerPersonMax)
                return new Refusal(
                    RefusalCode.Conflict,
                    $"A person can make at most {options.OrganizationsPerPersonMax} organizations here: delete one, or ask the operator.",
                    "too many organizations of one person"
                );
            return await InsertRootAsync(transaction, actor, name, ownerId);
        });

    /// <summary>A new root organization with its first owner. For the set-up page and the operator.</summary>
    public Task<Outcome<Guid>> CreateRootAsync(Actor actor, string name, Guid ownerId) =>
        database.ChangeAsync(transaction => CreateRootAsync(transaction, actor, name, ownerId));

    public async Task<Outcome<Guid>> CreateRootAsync(DbTransaction transaction, Actor actor, string name, Guid ownerId)
    {
        if (Guard.Demand(actor, Permission.CreateOrganizationForOther) is { } refused)
            return refused;
        return Checks.Name(name, "name", NameLengthMax, out name) is { } refusal
            ? refusal
            : await InsertRootAsync(transaction, actor, name, ownerId);
    }

    private async Task<Outcome<Guid>> InsertRootAsync(DbTransaction transaction, Actor actor, string name, Guid ownerId)
    {
        var id = await InsertAsync(transaction, actor, name, rootId: null);
        if (id.IsRefused)
            return id;
        await Members.InsertAsync(transaction, clock, actor, id.Value, ownerId, NameSet.Of(BuiltInRoles.Owner));
        return id;
    }

    /// <summary>A new sub-organization. Its name is unique among the sub-organizations of its root (R10).</summary>
    public Task<Outcome<Guid>> CreateSubAsync(Actor actor, Guid rootId, string name) =>
        database.ChangeAsync<Guid>(async transaction =>
        {
            var access = await Guard.AuthorizeAsync(transaction, actor, Permission.CreateSubOrganization, rootId);
            if (access.Refusal is { } refused)
                return refused;
            if (access.Value.RootId is not null)
                return new Refusal(
                    RefusalCode.InvalidRequest,
                    "A sub-organization cannot have sub-organizations: create it in the root.",
                    "a third level"
                );
            if (Checks.Name(name, "name", NameLengthMax, out name) is { } refusal)
                return refusal;
            if (
                await transaction.Connection!.ExecuteScalarAsync<long>(
                    "SELECT COUNT(*) FROM organizations WHERE root_id = @rootId AND deleted_at IS NULL",
                    new { rootId },
                    transaction
                ) >= options.SubOrganizationsMax
            )
                return new Refusal(
                    RefusalCode.Conflict,
                    $"An organization has at most {options.SubOrganizationsMax} sub-organizations here: delete one, or ask the operator.",
                    "too many sub-organizations"
                );
            return await InsertAsync(transaction, actor, name, rootId);
        });

    public Task<Outcome<bool>> RenameAsync(Actor actor, Guid id, string name) =>
        database.ChangeAsync<bool>(async transaction =>
        {
            var access = await Guard.AuthorizeAsync(transaction, actor, Permission.RenameOrganization, id);
            if (access.Refusal is { } refused)
                return refused;
            if (Checks.Name(name, "name", NameLengthMax, out name) is { } refusal)
                return refusal;
            if (await IsTakenAsync(transaction, access.Value.RootId, name, except: id))
                return nameIsTaken;

            await transaction.Connection!.ExecuteAsync(
                "UPDATE organizations SET name = @name, name_normalized = @normalized WHERE id = @id",
                new
                {
                    id,
                    name,
                    normalized = Normalize(name),
                },
                transaction
            );
            await ActivityLog.WriteAsync(transaction, clock, actor, AuditAction.OrganizationUpdate, id, id.ToString());
            return true;
        });

    /// <summary>Suspends every key of the organization and of its sub-organizations, or lets them work again (R5).</summary>
    public Task<Outcome<bool>> SetDisabledAsync(Actor actor, Guid id, bool disabled) =>
        database.ChangeAsync<bool>(async transaction =>
        {
            var access = await Guard.AuthorizeAsync(transaction, actor, Permission.DisableOrganization, id);
            if (access.Refusal is { } refused)
                return refused;

            await transaction.Connection!.ExecuteAsync(
                "UPDATE organizations SET disabled_at = @at WHERE id = @id",
                new { id, at = disabled ? clock.GetUtcNow() : (DateTimeOffset?)null },
                transaction
            );
            var cause = disabled ? KeyCause.OrganizationDisabled : KeyCause.OrganizationEnabled;
            await lifecycle.FollowAsync(transaction, actor, cause, KeySet.OfOrganization(id));
            await ActivityLog.WriteAsync(
                transaction,
                clock,
                actor,
                disabled ? AuditAction.OrganizationDisable : AuditAction.OrganizationEnable,
                id,
                id.ToString()
            );
            return true;
        });

    /// <summary>Deletes the organization and its sub-organizations, and with them every membership, key and invitation, for good.</summary>
    /// <param name="typedName">The organization's name, as whoever deletes it has typed it.</param>
    public Task<Outcome<bool>> DeleteAsync(Actor actor, Guid id, string typedName) =>
        database.ChangeAsync<bool>(async transaction =>
        {
            var access = await Guard.AuthorizeAsync(transaction, actor, Permission.DeleteOrganization, id);
            if (access.Refusal is { } refused)
                return refused;
            if (!string.Equals(Checks.Normalize(typedName).Trim(), access.Value.OrganizationName, StringComparison.Ordinal))
                return new Refusal(
                    RefusalCode.InvalidRequest,
                    "name: this is not the organization's name; type it as it stands.",
                    "another name typed"
                );

            var at = clock.GetUtcNow();
            var ended = (
                await transaction.Connection!.QueryAsync<Guid>(
                    "SELECT id FROM organizations WHERE deleted_at IS NULL AND (id = @id OR root_id = @id) ORDER BY id",
                    new { id },
                    transaction
                )
            ).AsList();
            await lifecycle.EndAsync(transaction, actor, KeyCause.OrganizationDeleted, KeySet.OfOrganization(id));
            await transaction.Connection!.ExecuteAsync(
                """
                UPDATE memberships SET ended_at = @at
                WHERE ended_at IS NULL AND organization_id IN (SELECT id FROM organizations WHERE id = @id OR root_id = @id);
                DELETE FROM invitation_parts WHERE organization_id IN (SELECT id FROM organizations WHERE id = @id OR root_id = @id);
                DELETE FROM invitations WHERE root_id = @treeId AND NOT EXISTS (SELECT 1 FROM invitation_parts p WHERE p.invitation_id = invitations.id);
                UPDATE organizations SET deleted_at = @at
                WHERE deleted_at IS NULL AND (id = @id OR root_id = @id);
                """,
                new
                {
                    id,
                    treeId = access.Value.RootId ?? id,
                    at,
                },
                transaction
            );
            foreach (var one in ended)
                await ActivityLog.WriteAsync(transaction, clock, actor, AuditAction.OrganizationDelete, one, one.ToString());
            return true;
        });

    /// <summary>
    /// The organizations that a caller sees (R9): those with a membership, and the sub-organizations of its roots; of a token, what it is
    /// bound to; of an API key, what its roles name. Each root is followed by its sub-organizations, both by name.
    /// </summary>
    /// <param name="counted">With the number of members of each.</param>
    public Task<IReadOnlyList<Organization>> ListAsync(Actor actor, bool counted = false) => SelectAsync(actor, null, counted);

    /// <summary>One of them, with the number of its members; for everybody but its effective members there is none (R9).</summary>
    public async Task<Outcome<Organization>> FindAsync(Actor actor, Guid id)
    {
        var access = await AccessAsync(actor, id);
        if (access.Refusal is { } refused)
            return refused;
        return await SelectAsync(actor, id, counted: true) is [var found] ? found : Guard.NotFound; // deleted between the two
    }

    private async Task<IReadOnlyList<Organization>> SelectAsync(Actor actor, Guid? id, bool counted) =>
        [
            .. await database.ReadAsync(connection =>
                connection.QueryAsync<Organization>(
                    $"""
                    SELECT o.id, o.root_id, r.name AS root_name, o.name, o.created_at, o.disabled_at, CASE WHEN m.id IS NULL THEN 0 ELSE 1 END AS is_direct_member,
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
                    ORDER BY COALESCE(r.name_normalized, o.name_normalized), COALESCE(r.id, o.id), CASE WHEN o.root_id IS NULL THEN 0 ELSE 1 END, o.name_normalized, o.id
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

    // Begun at the person's memberships, so that it takes as long as what it finds and not as long as the table.
    private const string visible = """
        o.id IN (
            SELECT organization_id FROM memberships WHERE user_id = @userId AND ended_at IS NULL
            UNION
            SELECT s.id FROM memberships p JOIN organizations s ON s.root_id = p.organization_id WHERE p.user_id = @userId AND p.ended_at IS NULL AND s.deleted_at IS NULL)
        """;

    /// <summary>Where the caller stands in an organization; for everybody but its effective members there is none (R9).</summary>
    public Task<Outcome<OrganizationAccess>> AccessAsync(Actor actor, Guid id, Permission permission = Permission.SeeOrganization) =>
        database.ReadAsync(connection => Guard.AuthorizeAsync(connection, null, actor, permission, id));

    private static readonly Refusal nameIsTaken = new(
        RefusalCode.Conflict,
        "name: another sub-organization of this root has this name; choose a different one.",
        "name taken among siblings (R10)"
    );

    private async Task<Outcome<Guid>> InsertAsync(DbTransaction transaction, Actor actor, string name, Guid? rootId)
    {
        if (await IsTakenAsync(transaction, rootId, name, except: null))
            return nameIsTaken;

        var id = Ids.New(clock);
        await transaction.Connection!.ExecuteAsync(
            "INSERT INTO organizations (id, root_id, name, name_normalized, created_at, created_by) VALUES (@id, @rootId, @name, "
                + "@normalized, @at, @createdBy)",
            new
            {
                id,
                rootId,
                name,
                normalized = Normalize(name),
                at = clock.GetUtcNow(),
                createdBy = rootId is null ? actor.UserId : null,
            },
            transaction
        );
        await ActivityLog.WriteAsync(transaction, clock, actor, AuditAction.OrganizationCreate, id, id.ToString());
        return id;
    }

    /// <summary>Roots are no siblings: a refusal must not tell one tenant the name of another (R9).</summary>
    private static async Task<bool> IsTakenAsync(DbTransaction transaction, Guid? rootId, string name, Guid? except) =>
        rootId is not null
        && await transaction.Connection!.ExecuteScalarAsync<long>(
            "SELECT COUNT(*) FROM organizations WHERE root_id = @rootId AND name_normalized = @normalized AND deleted_at IS NULL AND id "
                + "<> @except",
            new
            {
                rootId,
                normalized = Normalize(name),
                except = except ?? Guid.Empty,
            },
            transaction
        ) > 0;

    private static string Normalize(string name) => name.ToUpperInvariant();
}
