using System.Data.Common;
using Dapper;

namespace Pakhouse.Server;

/// <summary>
/// Organizations in two levels: roots and their sub-organizations. It owns their rows and names, and what ends with them.
/// <para>Invariant: an id never changes and is never used again (R10). A deleted organization keeps its row, but no open membership and no
/// active key (R5).</para>
/// </summary>
public sealed partial class Organizations(Database database, PakhouseOptions options, KeyLifecycle lifecycle, TimeProvider clock)
{
    public const int NameLengthMax = 100;

    /// <summary>Creates a root organization; the person who creates it becomes its owner.</summary>
    public Task<Outcome<Guid>> CreateRootAsync(Actor actor, string name) =>
        database.ChangeAsync<Guid>(async transaction =>
        {
            if (await Guard.AuthorizeAsync(transaction, actor, Permission.CreateOrganization) is { } refused)
                return refused;
            if (actor.UserId is not { } ownerId)
                return Refusal.At(
                    "owner",
                    RefusalCode.InvalidRequest,
                    "name the person who owns the organization.",
                    "root by the operator without an owner"
                );
            if (Checks.Name(name, "name", NameLengthMax, out name) is { } refusal)
                return refusal;

            // Organizations deleted during the last day count too: their rows stay, and nobody may create rows without limit.
            var made = await transaction.Connection!.ExecuteScalarAsync<long>(
                "SELECT COUNT(*) FROM organizations WHERE created_by = @ownerId AND (deleted_at IS NULL OR created_at > @since)",
                new { ownerId, since = clock.GetUtcNow() - TimeSpan.FromDays(1) },
                transaction
            );
            if (made >= options.OrganizationsPerPersonMax)
                return new Refusal(
                    RefusalCode.Conflict,
                    $"A person can make at most {options.OrganizationsPerPersonMax} organizations. Delete one, or ask the operator.",
                    "too many organizations of one person"
                );
            return await InsertRootAsync(transaction, actor, name, ownerId);
        });

    /// <summary>Creates a root organization with its first owner, for the set-up page and the operator.</summary>
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

    /// <summary>Creates a sub-organization. Its name is unique among the sub-organizations of its root (R10).</summary>
    public Task<Outcome<Guid>> CreateSubAsync(Actor actor, Guid rootId, string name) =>
        database.ChangeAsync<Guid>(async transaction =>
        {
            var access = await Guard.AuthorizeAsync(transaction, actor, Permission.CreateSubOrganization, rootId);
            if (access.Refusal is { } refused)
                return refused;
            if (access.Value.RootId is not null)
                return new Refusal(
                    RefusalCode.InvalidRequest,
                    "A sub-organization cannot have sub-organizations. Create it in the root.",
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
                    $"An organization has at most {options.SubOrganizationsMax} sub-organizations. Delete one, or ask the operator.",
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

    /// <summary>Suspends every key of the organization and its sub-organizations, or resumes them (R5).</summary>
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

    /// <summary>Deletes the organization and its sub-organizations with all their memberships, keys and invitations, for good.</summary>
    /// <param name="typedName">The organization's name, as the caller typed it.</param>
    public Task<Outcome<bool>> DeleteAsync(Actor actor, Guid id, string typedName) =>
        database.ChangeAsync<bool>(async transaction =>
        {
            var access = await Guard.AuthorizeAsync(transaction, actor, Permission.DeleteOrganization, id);
            if (access.Refusal is { } refused)
                return refused;
            if (!string.Equals(Checks.Normalize(typedName).Trim(), access.Value.OrganizationName, StringComparison.Ordinal))
                return Refusal.At(
                    "name",
                    RefusalCode.InvalidRequest,
                    "this is not the organization's name. Type it exactly.",
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
                DELETE FROM invitations WHERE root_id = @treeId
                    AND NOT EXISTS (SELECT 1 FROM invitation_parts p WHERE p.invitation_id = invitations.id);
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

    private static readonly Refusal nameIsTaken = Refusal.At(
        "name",
        RefusalCode.Conflict,
        "another sub-organization of this root has this name; choose a different one.",
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

    /// <summary>The names of roots may repeat: a refusal must not reveal the name of one tenant to another (R9).</summary>
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
