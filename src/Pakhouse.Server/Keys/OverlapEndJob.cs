using Dapper;

namespace Pakhouse.Server;

/// <summary>
/// Ends keys whose overlap has ended by itself: a token got before its key was rotated can outlive the overlap, and who verifies it
/// offline sees nothing but the entry. The key itself is refused since that instant.
/// </summary>
public sealed class OverlapEndJob(Database database, KeyLifecycle lifecycle, TimeProvider clock, ILogger<OverlapEndJob> log)
    : PeriodicJob(TimeSpan.FromSeconds(5), clock, log)
{
    private const int BatchKeys = 1_000;

    public override async Task RunAsync()
    {
        // Most turns end here, without a word to the other processes.
        while (await database.ReadAsync(connection => connection.ExecuteScalarAsync<long?>(
            "SELECT 1 FROM access_keys WHERE overlap_ends_at IS NOT NULL AND overlap_ends_at <= @now AND status <> 1 LIMIT 1",
            new { now = Clock.GetUtcNow() })) is not null)
        {
            await database.WriteAsync(transaction =>
                lifecycle.EndAsync(transaction, Actor.Operator, KeyCause.OverlapEnded, KeySet.OverlapsOver(Clock.GetUtcNow(), BatchKeys)));
        }
    }
}
