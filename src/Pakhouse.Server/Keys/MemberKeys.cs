using Dapper;

namespace Pakhouse.Server;

/// <summary>A key of a member, as those who may end it see it.</summary>
public sealed record MemberKey
{
    public Guid UserId { get; init; }
    public string UserEmail { get; init; } = "";
    public required KeyEntry Key { get; init; }
}

/// <summary>The keys of an organization's people, for its owners and managers. They can see and end keys, but never read a secret, change a
/// key or extend its life.</summary>
public sealed class MemberKeys(Database database, KeyLifecycle lifecycle)
{
    public const int PageLengthMax = 1000;

    /// <summary>Returns the keys by id; each page starts after the last id of the previous one.</summary>
    /// <param name="after">Empty: from the start.</param>
    public Task<Outcome<IReadOnlyList<MemberKey>>> ListAsync(Actor actor, Guid organizationId, string after, int limit) =>
        database.ReadAsync<Outcome<IReadOnlyList<MemberKey>>>(async connection =>
        {
            if (limit is < 1 or > PageLengthMax)
                return Refusal.At("limit", RefusalCode.InvalidRequest, $"give a number from 1 to {PageLengthMax}.", "limit out of bounds");
            if (after.Length > 0 && !KeyFormat.IsId(after))
                return Refusal.At("after", RefusalCode.InvalidRequest, "give next from the previous page.", "after is no key id");
            var access = await Guard.AuthorizeAsync(connection, null, actor, Permission.ListMemberKeys, organizationId);
            if (access.Refusal is { } refused)
                return refused;
            return (
                await connection.QueryAsync<KeyEntry, (Guid Id, string Email), MemberKey>(
                    """
                    SELECT k.id, k.name, k.scopes, k.created_at, k.expires_at, s.last_used_at, s.address AS last_used_address,
                        s.user_agent AS last_used_user_agent, u.id AS item1, u.email AS item2
                    FROM memberships m
                    JOIN users u ON u.id = m.user_id
                    JOIN access_keys k ON k.membership_id = m.id AND k.deleted_at IS NULL AND k.kind = 'pak'
                    LEFT JOIN key_use_hours s ON s.key_id = k.id AND s.hour = (SELECT MAX(hour) FROM key_use_hours WHERE key_id = k.id)
                    WHERE m.organization_id = @organizationId AND m.ended_at IS NULL AND k.id > @after
                    ORDER BY k.id LIMIT @limit
                    """,
                    (key, user) =>
                        new MemberKey
                        {
                            UserId = user.Id,
                            UserEmail = user.Email,
                            Key = key,
                        },
                    new
                    {
                        organizationId,
                        after,
                        limit,
                    },
                    splitOn: "item1"
                )
            ).AsList();
        });

    /// <summary>Like <see cref="Keys.DeleteAsync"/>, for a key of any holder.</summary>
    public Task<Outcome<bool>> DeleteAsync(Actor actor, Guid organizationId, string keyId) =>
        database.ChangeAsync<bool>(async transaction =>
        {
            var access = await Guard.AuthorizeAsync(transaction, actor, Permission.DeleteMemberKey, organizationId);
            if (access.Refusal is { } refused)
                return refused;
            if (!KeyFormat.IsId(keyId))
                return Keys.NoSuchKey;
            return
                await lifecycle.EndAsync(
                    transaction,
                    actor,
                    KeyCause.DeletedByManager,
                    KeySet.OfMember(keyId, organizationId),
                    new() { OrganizationName = access.Value.OrganizationName }
                ) == 0
                ? Keys.NoSuchKey
                : true;
        });
}
