using System.Data.Common;
using Dapper;

namespace Pakhouse.Server;

/// <summary>The policies that an organization stores, as text and combined.</summary>
internal static class StoredPolicy
{
    /// <summary>The policy for keys of an organization: its own and its root's.</summary>
    public static async Task<PolicyTimeline> TimelineAsync(DbConnection connection, DbTransaction? transaction, Guid organizationId)
    {
        var (own, root) = await ReadAsync(connection, transaction, organizationId);
        return PolicyTimeline.Of(own, root);
    }

    public static async Task<(string? Own, string? Root)> ReadAsync(
        DbConnection connection,
        DbTransaction? transaction,
        Guid organizationId
    )
    {
        var stored = await connection.QuerySingleAsync<Stored>(
            "SELECT o.policy AS own, r.policy AS root FROM organizations o LEFT JOIN organizations r ON r.id = o.root_id WHERE o.id = "
                + "@organizationId",
            new { organizationId },
            transaction
        );
        return (stored.Own, stored.Root);
    }

    private sealed record Stored
    {
        public string? Own { get; init; }
        public string? Root { get; init; }
    }
}
