using Dapper;

namespace Pakhouse.Server;

/// <summary>
/// Ends keys whose overlap has elapsed. A token issued before the rotation can outlive the overlap, and an offline verifier sees only the
/// status entry. The key itself is refused from that instant.
/// </summary>
public sealed class OverlapEndJob(Database database, KeyLifecycle lifecycle, TimeProvider clock, ILogger<OverlapEndJob> log)
    : PeriodicJob(TimeSpan.FromSeconds(5), clock, log)
{
    private const int BatchKeys = 1_000;

    public override async Task RunAsync()
    {
        // Most runs end here, without notifying the other processes.
        while (await database.ReadAsync(connection => connection.ExecuteScalarAsync<long?>(
            "SELECT 1 FROM access_keys WHERE overlap_ends_at IS NOT NULL AND overlap_ends_at <= @now AND status <> 1 LIMIT 1",
            new { now = Clock.GetUtcNow() })) is not null)
        {
            await database.WriteAsync(transaction =>
                lifecycle.EndAsync(transaction, Actor.Operator, KeyCause.OverlapEnded, KeySet.OverlapsOver(Clock.GetUtcNow(), BatchKeys)));
        }
    }
}
