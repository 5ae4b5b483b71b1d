using Dapper;

namespace Pakhouse.Server;

/// <summary>
/// Deletes rows of the audit record after <see cref="PakhouseOptions.ActivityRetention"/>, in small batches. The schema refuses every other
/// deletion: it keeps all rows newer than the time that this job records.
/// </summary>
public sealed class ActivityRetention(Database database, PakhouseOptions options, TimeProvider clock, ILogger<ActivityRetention> log)
    : PeriodicJob(TimeSpan.FromHours(1), clock, log)
{
    private const int BatchRows = 500;

    public override async Task RunAsync()
    {
        if (options.ActivityRetention is not { } retention)
            return;
        var keptFrom = Clock.GetUtcNow() - retention;
        while (
            await database.WriteExclusiveAsync(async transaction =>
            {
                await transaction.Connection!.ExecuteAsync(
                    "INSERT INTO counters (name, value) VALUES ('activity.kept_from', @keptFrom) ON CONFLICT (name) DO UPDATE SET value = "
                        + "excluded.value",
                    new { keptFrom },
                    transaction
                );
                // Ids sort by time, so the oldest come first. The newest row always stays, because it shows how new this state is
                // (DatabaseState).
                return await transaction.Connection!.ExecuteAsync(
                    $"""
                    DELETE FROM activity WHERE id IN (
                        SELECT id FROM activity WHERE id < @first AND at < @keptFrom AND id < (SELECT MAX(id) FROM activity) ORDER BY id
                            LIMIT {BatchRows})
                    """,
                    new { first = Ids.First(keptFrom).ToString(), keptFrom },
                    transaction
                );
            }) == BatchRows
        ) { }
    }
}
