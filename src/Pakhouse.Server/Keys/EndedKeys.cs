using Dapper;

namespace Pakhouse.Server;

/// <summary>
/// Deletes keys that ended longer ago than <see cref="PakhouseOptions.EndedKeyRetention"/>, with their usage, in small batches. By then
/// their last token has long expired. Their entry in the status lists is never assigned to another key, because the next entry comes from a
/// counter. From then on such a key is unknown: a caller that presents its correct secret is no longer told that it was deleted.
/// </summary>
public sealed class EndedKeys(Database database, PakhouseOptions options, TimeProvider clock, ILogger<EndedKeys> log)
    : PeriodicJob(TimeSpan.FromHours(1), clock, log)
{
    private const int BatchKeys = 100;

    /// <summary>
    /// A personal key ends by deletion, by expiry or by the end of its overlap. A secret of an API key is removed only if it was deleted,
    /// because its API key stays in the list.
    /// </summary>
    private static readonly string[] ends =
    [
        "k.deleted_at IS NOT NULL AND k.deleted_at < @before ORDER BY k.deleted_at",
        "k.overlap_ends_at IS NOT NULL AND k.status = 1 AND k.deleted_at IS NULL AND k.overlap_ends_at < @before AND k.kind = 'pak' ORDER "
            + "BY k.overlap_ends_at",
        "k.expires_at IS NOT NULL AND k.deleted_at IS NULL AND k.successor_id IS NULL AND k.expires_at < @before AND k.kind = 'pak' ORDER "
            + "BY k.expires_at",
    ];

    public override async Task RunAsync()
    {
        if (options.EndedKeyRetention is not { } retention)
            return;
        var before = Clock.GetUtcNow() - retention;
        foreach (var end in ends)
        {
            while (
                await database.WriteExclusiveAsync(async transaction =>
                {
                    var ids = (
                        await transaction.Connection!.QueryAsync<string>(
                            $"SELECT k.id FROM access_keys k WHERE {end} LIMIT {BatchKeys}",
                            new { before },
                            transaction
                        )
                    ).AsList();
                    if (ids.Count > 0)
                        await KeyLifecycle.ForgetAsync(transaction, ids);
                    return ids.Count;
                }) == BatchKeys
            ) { }
        }
    }
}
