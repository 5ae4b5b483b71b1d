using System.Data.Common;
using Dapper;

namespace Pakhouse.Server;

/// <summary>Who is a member, and with which keys.</summary>
public sealed partial class Members
{
    /// <summary>Returns all effective members: direct members and, in a sub-organization, those of its root, by name.</summary>
    /// <param name="below">For a root: also people who are only in one of its sub-organizations.</param>
    public Task<Outcome<IReadOnlyList<Member>>> ListAsync(Actor actor, Guid organizationId, bool below = false) =>
        database.ReadAsync<Outcome<IReadOnlyList<Member>>>(async connection =>
        {
            var access = await Guard.AuthorizeAsync(connection, null, actor, Permission.SeeMembers, organizationId);
            if (access.Refusal is { } refused)
                return refused;
            return (await MemberRows.SelectAsync(connection, access.Value, "", null, int.MaxValue, below)).AsList();
        });

    /// <summary>Like <see cref="ListAsync"/>, with at most <see cref="PageSize"/> people at once.</summary>
    /// <param name="search">Words that each occur in the name or the address; a word with an @ is the beginning of the address. Empty:
    /// everybody.</param>
    /// <param name="after">The <see cref="MemberPage.Next"/> of the previous page; null: the first page.</param>
    public Task<Outcome<MemberPage>> PageAsync(Actor actor, Guid organizationId, string search = "", Guid? after = null) =>
        database.ReadAsync<Outcome<MemberPage>>(async connection =>
        {
            var access = await Guard.AuthorizeAsync(connection, null, actor, Permission.SeeMembers, organizationId);
            if (access.Refusal is { } refused)
                return refused;
            if (search.Length > SearchLengthMax)
                return Refusal.At("search", RefusalCode.InvalidRequest, $"enter at most {SearchLengthMax} characters.", "search too long");
            var found = (await MemberRows.SelectAsync(connection, access.Value, search, after, PageSize + 1, below: false)).AsList();
            return found.Count <= PageSize ? new MemberPage(found, null) : new MemberPage(found[..PageSize], found[PageSize - 1].UserId);
        });

    /// <summary>Returns one person that <see cref="ListAsync"/> would show.</summary>
    /// <param name="permission">The permission of the change that will be made, or that was made and is now shown.</param>
    public Task<Outcome<Member>> FindAsync(Actor actor, Guid organizationId, Guid userId, Permission permission = Permission.SeeMembers) =>
        database.ReadAsync<Outcome<Member>>(async connection =>
        {
            var access = await Guard.AuthorizeAsync(connection, null, actor, permission, organizationId);
            if (access.Refusal is { } refused)
                return refused;
            return await MemberRows.FindAsync(connection, null, access.Value, userId, anybody: false) is { } found ? found : notAMember;
        });

    /// <summary>Returns the keys of a direct member here, which end with the membership.</summary>
    public Task<Outcome<IReadOnlyList<KeyEntry>>> KeysOfAsync(Actor actor, Guid organizationId, Guid userId) =>
        database.ReadAsync<Outcome<IReadOnlyList<KeyEntry>>>(async connection =>
        {
            var access = await Guard.AuthorizeAsync(connection, null, actor, Permission.ListMemberKeys, organizationId);
            if (access.Refusal is { } refused)
                return refused;
            return (
                await connection.QueryAsync<KeyEntry>(
                    """
                    SELECT k.id, k.name, k.scopes, k.created_at, k.expires_at, s.last_used_at, s.address AS last_used_address,
                        s.user_agent AS last_used_user_agent
                    FROM memberships m
                    JOIN access_keys k ON k.membership_id = m.id AND k.deleted_at IS NULL
                    LEFT JOIN key_use_hours s ON s.key_id = k.id AND s.hour = (SELECT MAX(hour) FROM key_use_hours WHERE key_id = k.id)
                    WHERE m.organization_id = @organizationId AND m.user_id = @userId AND m.ended_at IS NULL
                    ORDER BY k.created_at, k.id
                    """,
                    new { organizationId, userId }
                )
            ).AsList();
        });
}
