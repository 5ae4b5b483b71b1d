using System.Data.Common;
using Dapper;

namespace Pakhouse.Server;

/// <summary>
/// The policies of organizations: reading them with what they inherit, previewing and making a change. What a rule means is <see cref="Policy"/>'s,
/// what it does to an exchange <see cref="KeyExchange"/>'s.
/// </summary>
public sealed class Policies
{
    /// <summary>What holds for keys of an organization: its own policy and its root's.</summary>
    public static async Task<PolicyTimeline> OfAsync(DbConnection connection, DbTransaction? transaction, Guid organizationId)
    {
        var stored = await connection.QuerySingleAsync<Stored>(
            "SELECT o.policy AS own, r.policy AS root FROM organizations o LEFT JOIN organizations r ON r.id = o.root_id WHERE o.id = @organizationId", new { organizationId }, transaction);
        return PolicyTimeline.Of(stored.Own, stored.Root);
    }

    private sealed record Stored
    {
        public string? Own { get; init; }
        public string? Root { get; init; }
    }
}
