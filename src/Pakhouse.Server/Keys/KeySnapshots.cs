using System.Data.Common;
using System.Net;
using Dapper;

namespace Pakhouse.Server;

/// <summary>A key with everything that decides about it, as of its last use: what an owner of the organization may know about it.</summary>
public sealed record KeySnapshot
{
    public required string Id { get; init; }
    public required string Name { get; init; }
    public required ExchangeRow Facts { get; init; }
    public required string OrganizationName { get; init; }
    public required DateTimeOffset? LastUsedAt { get; init; }
    public required string? LastUsedAddress { get; init; }

    /// <summary>The sub-organization for which a root's key was last exchanged; null: its own organization, or never used.</summary>
    public required string? Target { get; init; }

    /// <summary>True for a person's key, false for an organization's.</summary>
    public bool IsPerson => !Facts.IsApiKey;

    /// <summary>
    /// The result of an exchange like the last one. For a key that was never used: an exchange for its own organization from any address.
    /// </summary>
    internal Outcome<TokenGrant> Evaluate(KeyExchange exchange, ExchangeRow facts, DateTimeOffset at, List<ExchangeStep>? steps = null) =>
        exchange.Evaluate(
            Id,
            facts,
            Target,
            ScopeRequest.Everything,
            IPAddress.TryParse(LastUsedAddress, out var address) ? address : null,
            at,
            steps
        );
}

/// <summary>
/// Reads many keys at once with the data of their exchange, for previews of a policy and for the inventory. It reads and decides nothing.
/// </summary>
internal static class KeySnapshots
{
    /// <summary>
    /// Selects the keys that a policy of <c>@organizationId</c> can affect: its own, those of its sub-organizations, and those of its root
    /// that were last used for it.
    /// </summary>
    public const string OfPolicy = """
        SELECT k.id FROM organizations o
        JOIN memberships m ON m.organization_id = o.id AND m.ended_at IS NULL
        JOIN access_keys k ON k.membership_id = m.id AND k.deleted_at IS NULL
        WHERE o.id = @organizationId OR o.root_id = @organizationId
        UNION ALL
        SELECT k.id FROM organizations o
        JOIN memberships m ON m.organization_id = o.root_id AND m.ended_at IS NULL
        JOIN access_keys k ON k.membership_id = m.id AND k.deleted_at IS NULL
        WHERE o.id = @organizationId AND @organizationId = (SELECT organization_id FROM key_use_hours WHERE key_id = k.id ORDER BY hour DESC
            LIMIT 1)
        """;

    /// <param name="which">A SELECT of ids.</param>
    public static async IAsyncEnumerable<KeySnapshot> ReadAsync(
        DbConnection connection,
        DbTransaction? transaction,
        string which,
        object parameters
    )
    {
        var sql = $"""
            SELECT {ExchangeRead.Columns}, k.id, k.name, o.name, s.last_used_at, s.address,
                CASE WHEN t.id IS NULL THEN NULL ELSE s.organization_id END
            FROM ({which}) AS page
            JOIN access_keys k ON k.id = page.id
            JOIN memberships m ON m.id = k.membership_id
            JOIN users u ON u.id = m.user_id
            JOIN organizations o ON o.id = m.organization_id
            LEFT JOIN organizations r ON r.id = o.root_id
            LEFT JOIN key_use_hours s ON s.key_id = k.id AND s.hour = (SELECT MAX(hour) FROM key_use_hours WHERE key_id = k.id)
            LEFT JOIN organizations t ON t.id = s.organization_id AND t.root_id = o.id AND t.disabled_at IS NULL AND t.deleted_at IS NULL
            LEFT JOIN memberships om ON om.user_id = u.id AND om.organization_id = COALESCE(t.id, o.root_id) AND om.ended_at IS NULL
            ORDER BY k.created_at DESC, k.id DESC
            """;
        await using var row = await connection.ExecuteReaderAsync(sql, parameters, transaction);
        const int own = ExchangeRead.ColumnCount;
        while (await row.ReadAsync())
        {
            yield return new KeySnapshot
            {
                Facts = ExchangeRead.ReadRow(row),
                Id = row.GetString(own),
                Name = row.GetString(own + 1),
                OrganizationName = row.GetString(own + 2),
                LastUsedAt = row.IsDBNull(own + 3) ? null : DateTimeOffset.FromUnixTimeMilliseconds(row.GetInt64(own + 3)),
                LastUsedAddress = row.IsDBNull(own + 4) ? null : row.GetString(own + 4),
                Target = row.IsDBNull(own + 5) ? null : row.GetString(own + 5),
            };
        }
    }
}
