using System.Data.Common;

namespace Pakhouse.Server;

/// <summary>The only read of an exchange (R6): a prepared statement that is kept.</summary>
public sealed class ExchangeRead(Database database)
{
    /// <summary>
    /// The columns that <see cref="ReadRow"/> reads, in its order: key, membership, user, organization, root, target, other membership.
    /// </summary>
    internal const string Columns =
        """
        k.hash, k.scopes, k.expires_at, k.deleted_at,
        u.id, u.name, u.email, COALESCE(u.disabled_at, u.deleted_at),
        m.ended_at, m.roles,
        o.id, o.root_id, COALESCE(o.disabled_at, o.deleted_at, r.disabled_at, r.deleted_at),
        t.root_id, om.roles,
        k.kind, k.suspended_at, k.overlap_ends_at, k.status_index, k.created_at, o.policy, r.policy, t.policy
        """;

    internal const int ColumnCount = 23;

    // The only read of an exchange (R6). Every join finds one row by a unique index. The target is joined only if it is requested and
    // differs from the key's organization.
    internal const string Sql =
        $"""
        SELECT {Columns}
        FROM access_keys k
        JOIN memberships m ON m.id = k.membership_id
        JOIN users u ON u.id = m.user_id
        JOIN organizations o ON o.id = m.organization_id
        LEFT JOIN organizations r ON r.id = o.root_id
        LEFT JOIN organizations t ON t.id = @target AND t.id <> o.id AND t.disabled_at IS NULL AND t.deleted_at IS NULL
        LEFT JOIN memberships om ON om.user_id = u.id AND om.organization_id = COALESCE(t.id, o.root_id) AND om.ended_at IS NULL
        WHERE k.id = @id
        """;

    private readonly PreparedRead read = database.PrepareRead(Sql, keptMax: int.MaxValue, "@id", "@target");

    /// <summary>Returns everything about a key and the requested organization at this moment; null: there is no such key.</summary>
    /// <param name="keyId">The public id.</param>
    /// <param name="target">Lower-case UUID of the requested organization; null: the key's own.</param>
    public ValueTask<ExchangeRow?> FindAsync(string keyId, string? target) => read.SingleAsync(ReadRow, keyId, target);

    internal static readonly Func<DbDataReader, ExchangeRow> ReadRow = row => new ExchangeRow
    {
        Hash = row.GetFieldValue<byte[]>(0),
        KeyScopes = NameSet.OfColumn(row.GetString(1)),
        ExpiresAt = row.IsDBNull(2) ? null : DateTimeOffset.FromUnixTimeMilliseconds(row.GetInt64(2)),
        IsDeleted = !row.IsDBNull(3),
        UserId = row.GetString(4),
        UserName = row.GetString(5),
        UserEmail = row.GetString(6),
        IsUserGone = !row.IsDBNull(7),
        IsMembershipOver = !row.IsDBNull(8),
        Roles = NameSet.Parse(row.GetString(9)),
        OrganizationId = row.GetString(10),
        RootId = row.IsDBNull(11) ? null : row.GetString(11),
        IsOrganizationClosed = !row.IsDBNull(12),
        TargetRootId = row.IsDBNull(13) ? null : row.GetString(13),
        OtherRoles = row.IsDBNull(14) ? null : NameSet.Parse(row.GetString(14)),
        IsApiKey = row.GetString(15) == "oak",
        IsSuspended = !row.IsDBNull(16),
        OverlapEndsAt = row.IsDBNull(17) ? null : DateTimeOffset.FromUnixTimeMilliseconds(row.GetInt64(17)),
        StatusIndex = row.GetInt64(18),
        CreatedAt = DateTimeOffset.FromUnixTimeMilliseconds(row.GetInt64(19)),
        Policy = row.IsDBNull(20) ? null : row.GetString(20),
        RootPolicy = row.IsDBNull(21) ? null : row.GetString(21),
        TargetPolicy = row.IsDBNull(22) ? null : row.GetString(22),
    };
}
