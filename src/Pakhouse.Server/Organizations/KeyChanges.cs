using System.Data.Common;
using Dapper;

namespace Pakhouse.Server;

/// <summary>How a change made by a key is undone.</summary>
public enum Undo
{
    /// <summary>There is nothing to undo, or it was already undone.</summary>
    None,
    RemoveMember,
    RestoreRoles,
    WithdrawInvitation,
    DeleteOrganization,
}

/// <summary>One change that a key made, or that followed from an invitation that it sent.</summary>
public sealed record KeyDeed
{
    public Guid Id { get; init; }
    public DateTimeOffset At { get; init; }
    public string Action { get; init; } = "";
    public Guid OrganizationId { get; init; }
    public string OrganizationName { get; init; } = "";
    public string Target { get; init; } = "";

    /// <summary>The affected person, if there is one.</summary>
    public Guid? PersonId { get; init; }

    public string? PersonName { get; init; }
    public string? Detail { get; init; }

    /// <summary>The current roles of the person; null: not a member any more.</summary>
    public NameSet? HeldNow { get; init; }

    public bool IsPending { get; init; }
    public bool IsLiving { get; init; }

    /// <summary>The person's roles after this change of roles is undone.</summary>
    public NameSet? Restored =>
        HeldNow is { } held && Detail?.Split(" → ") is [var before, var after]
            ? NameSet.Of(
                held.Except(Read(after).Except(Read(before))).Concat(Read(before).Except(Read(after))).Distinct(StringComparer.Ordinal)
            )
            : null;

    public Undo Undo =>
        Action switch
        {
            AuditAction.MemberAssign or AuditAction.InviteAccept when HeldNow is not null => Undo.RemoveMember,
            AuditAction.MemberRoleUpdate when Restored is { } restored && !HeldNow!.SetEquals(restored) => Undo.RestoreRoles,
            AuditAction.InviteCreate or AuditAction.InviteAgain or AuditAction.InviteUpdate when IsPending => Undo.WithdrawInvitation,
            AuditAction.OrganizationCreate when IsLiving => Undo.DeleteOrganization,
            _ => Undo.None,
        };

    private static NameSet Read(string roles) => roles == "none" ? NameSet.Empty : NameSet.Parse(roles);
}

/// <summary>All changes that a key made in an organization and its sub-organizations, from the audit record, and how they can be
/// undone.</summary>
public sealed class KeyChanges(Database database, Members members)
{
    public const int DeedsMax = 500;

    /// <summary>Newest first, at most <see cref="DeedsMax"/>.</summary>
    public Task<Outcome<IReadOnlyList<KeyDeed>>> ListAsync(Actor actor, Guid organizationId, string keyId) =>
        database.ReadAsync<Outcome<IReadOnlyList<KeyDeed>>>(async connection =>
        {
            var access = await Guard.AuthorizeAsync(connection, null, actor, Permission.SeeActivity, organizationId);
            if (access.Refusal is { } refused)
                return refused;
            return (
                await connection.QueryAsync<KeyDeed>(
                    $"""
                    SELECT a.id, a.at, a.action, a.organization_id, o.name AS organization_name, a.target, a.detail,
                           u.id AS person_id, NULLIF(u.name, '') AS person_name, m.roles AS held_now,
                           CASE WHEN p.invitation_id IS NULL THEN 0 ELSE 1 END AS is_pending,
                               CASE WHEN o.deleted_at IS NULL THEN 1 ELSE 0 END AS is_living
                    FROM ({Which}) AS page
                    JOIN activity a ON a.id = page.id
                    JOIN organizations o ON o.id = a.organization_id
                    LEFT JOIN users u ON u.id = CASE WHEN a.action = '{AuditAction.InviteAccept}' THEN a.actor_user_id ELSE a.target END
                    LEFT JOIN memberships m ON m.organization_id = a.organization_id AND m.user_id = u.id AND m.ended_at IS NULL
                        AND m.created_at <= a.at
                    LEFT JOIN invitation_parts p ON p.organization_id = a.organization_id AND p.invitation_id = a.target
                        AND p.key_id IN ({Family})
                    ORDER BY a.id DESC
                    """,
                    new
                    {
                        organizationId,
                        keyId,
                        limit = DeedsMax,
                    }
                )
            ).AsList();
        });

    /// <summary>The keys among these that made any change there.</summary>
    public async Task<IReadOnlyList<string>> WhichDidAnythingAsync(Actor actor, Guid organizationId, IEnumerable<string> keyIds)
    {
        var found = new List<string>();
        foreach (var keyId in keyIds)
            if (await ListAsync(actor, organizationId, keyId) is { IsRefused: false, Value.Count: > 0 })
                found.Add(keyId);
        return found;
    }

    /// <summary>
    /// Undoes a change of roles: removes what the key granted and grants what it removed. Later changes stay.
    /// </summary>
    public async Task<Outcome<bool>> RestoreRolesAsync(Actor actor, Guid organizationId, string keyId, Guid deedId)
    {
        var deeds = await ListAsync(actor, organizationId, keyId);
        if (deeds.Refusal is { } refused)
            return refused;
        return deeds.Value.FirstOrDefault(deed => deed.Id == deedId) is { Undo: Undo.RestoreRoles } found
            ? await members.SetRolesAsync(actor, found.OrganizationId, found.PersonId!.Value, found.Restored!)
            : new Refusal(
                RefusalCode.Conflict,
                "There is nothing to undo: it was already undone, or the person is no longer a member.",
                "deed without an undo"
            );
    }

    /// <summary>The key with its predecessors and successors, because a thief may have had any of them.</summary>
    private const string Family =
        "SELECT @keyId UNION SELECT f.id FROM access_keys k JOIN access_keys f ON f.family_id = k.family_id WHERE k.id = @keyId";

    // Each half starts at an index. Deletions of keys grant nothing and are left out; the activity page shows them.
    private const string Which = $"""
        SELECT id FROM (
            SELECT a.id FROM activity a
            WHERE a.actor_key_id IN ({Family})
                AND a.organization_id IN (SELECT @organizationId UNION SELECT id FROM organizations WHERE root_id = @organizationId)
            UNION
            SELECT b.id FROM activity a JOIN activity b ON b.target = a.target AND b.organization_id = a.organization_id AND b.at >= a.at
                AND b.action = '{AuditAction.InviteAccept}'
            WHERE a.actor_key_id IN ({Family})
                AND a.action IN ('{AuditAction.InviteCreate}', '{AuditAction.InviteAgain}', '{AuditAction.InviteUpdate}')
              AND a.organization_id IN (SELECT @organizationId UNION SELECT id FROM organizations WHERE root_id = @organizationId)) AS deeds
        ORDER BY id DESC LIMIT @limit
        """;
}
