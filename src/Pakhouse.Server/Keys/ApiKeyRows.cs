using System.Data.Common;
using Dapper;

namespace Pakhouse.Server;

/// <summary>What an API key may do in one organization.</summary>
public sealed record ApiKeyRoles(Guid OrganizationId, NameSet Roles);

/// <summary>An API key as those who manage it see it, without its secret and its hash.</summary>
public sealed record ApiKeyEntry
{
    public string Id { get; init; } = "";
    public string Name { get; init; } = "";
    public NameSet Scopes { get; init; } = NameSet.Empty;
    public DateTimeOffset CreatedAt { get; init; }
    public DateTimeOffset ExpiresAt { get; init; }
    public Guid? CreatedBy { get; init; }
    public string? CreatedByName { get; init; }
    public DateTimeOffset? LastUsedAt { get; init; }
    public DateTimeOffset? SuspendedAt { get; init; }

    /// <summary>The time until which the secret before the last rotation works too; null: there is none.</summary>
    public DateTimeOffset? EarlierSecretEndsAt { get; init; }

    /// <summary>Home first, then the sub-organizations that the key reaches.</summary>
    public IReadOnlyList<ApiKeyRoles> Roles { get; init; } = [];

    internal Guid UserId { get; init; }
}

/// <summary>What a person chooses when creating an API key.</summary>
/// <param name="Id">The id that was generated when the form was shown, so that sending the form twice cannot create two keys.</param>
/// <param name="ExpiresAt">Null: <see cref="ApiKeys.LifetimeDefault"/> from now. Every API key has an expiry.</param>
/// <param name="Scopes"><see cref="NameSet.All"/>: no limit.</param>
/// <param name="Roles">Roles in the organization itself and, for a root, in the sub-organizations that the key should reach.</param>
public sealed record NewApiKey(string Id, string Name, DateTimeOffset? ExpiresAt, NameSet Scopes, IReadOnlyList<ApiKeyRoles> Roles);

/// <summary>API keys as they are in the database. It reads and decides nothing.</summary>
internal static class ApiKeyRows
{
    public static async Task<Outcome<ApiKeyEntry>> FindAsync(DbTransaction transaction, Guid organizationId, string keyId) =>
        KeyFormat.IsId(keyId) && (await ReadAsync(transaction.Connection!, transaction, organizationId, keyId)) is [var found]
            ? found
            : ApiKeys.NoSuchKey;

    /// <param name="keyId">Empty: all API keys of the organization.</param>
    public static async Task<List<ApiKeyEntry>> ReadAsync(
        DbConnection connection,
        DbTransaction? transaction,
        Guid organizationId,
        string keyId
    )
    {
        var entries = (
            await connection.QueryAsync<ApiKeyEntry>(
                """
                SELECT k.id, u.name, k.scopes, k.created_at, k.expires_at, k.created_by, maker.name AS created_by_name, k.suspended_at,
                    u.id AS user_id,
                       (SELECT MAX(s.last_used_at) FROM key_use_hours s WHERE s.key_id = k.id) AS last_used_at,
                       (SELECT MAX(old.overlap_ends_at) FROM access_keys old WHERE old.successor_id = k.id AND old.deleted_at IS NULL
                           AND old.membership_id = k.membership_id) AS earlier_secret_ends_at
                FROM memberships m
                JOIN access_keys k ON k.membership_id = m.id AND k.kind = 'oak' AND k.deleted_at IS NULL AND k.successor_id IS NULL
                JOIN users u ON u.id = m.user_id
                LEFT JOIN users maker ON maker.id = k.created_by
                WHERE m.organization_id = @organizationId AND m.ended_at IS NULL AND (@keyId = '' OR k.id = @keyId)
                ORDER BY u.name, k.id
                """,
                new { organizationId, keyId },
                transaction
            )
        ).AsList();
        var roles = (
            await connection.QueryAsync<(Guid UserId, Guid OrganizationId, NameSet Roles)>(
                """
                SELECT other.user_id, other.organization_id, other.roles
                FROM memberships m
                JOIN access_keys k ON k.membership_id = m.id AND k.kind = 'oak' AND k.deleted_at IS NULL AND k.successor_id IS NULL
                JOIN memberships other ON other.user_id = m.user_id AND other.ended_at IS NULL
                WHERE m.organization_id = @organizationId AND m.ended_at IS NULL AND (@keyId = '' OR k.id = @keyId)
                ORDER BY CASE WHEN other.organization_id = @organizationId THEN 0 ELSE 1 END, other.organization_id
                """,
                new { organizationId, keyId },
                transaction
            )
        ).ToLookup(row => row.UserId, row => new ApiKeyRoles(row.OrganizationId, row.Roles));
        return [.. entries.Select(entry => entry with { Roles = [.. roles[entry.UserId]] })];
    }

    /// <summary>Whether another API key of the organization has this name.</summary>
    /// <param name="except">The service user whose key is renamed; an empty id: no exception.</param>
    public static async Task<bool> IsNameTakenAsync(DbTransaction transaction, Guid organizationId, string name, Guid except) =>
        await transaction.Connection!.ExecuteScalarAsync<long>(
            """
            SELECT COUNT(*) FROM memberships m JOIN users u ON u.id = m.user_id
            WHERE m.organization_id = @organizationId AND m.ended_at IS NULL AND u.kind = 'service' AND u.name = @name AND u.id <> @except
              AND EXISTS (SELECT 1 FROM access_keys k WHERE k.membership_id = m.id AND k.deleted_at IS NULL)
            """,
            new
            {
                organizationId,
                name,
                except,
            },
            transaction
        ) > 0;
}
