using Dapper;

namespace Pakhouse.Server;

/// <summary>What the sender does by the clock: it notes the time in which nobody sent, and deletes what is old.</summary>
public sealed partial class WebhookSender
{
    /// <summary>Once a minute: records that a process sends, and extends deadlines by the time in which none did. Once an hour: deletes old
    /// rows.</summary>
    private async Task KeepTimeAsync()
    {
        var now = Clock.GetUtcNow();
        if (now - beatAt < beat)
            return;
        await database.WriteExclusiveAsync(async transaction =>
        {
            const string name = "webhooks.beat";
            var last = await transaction.Connection!.ExecuteScalarAsync<long?>(
                "SELECT value FROM counters WHERE name = @name",
                new { name },
                transaction
            );
            await transaction.Connection!.ExecuteAsync(
                "INSERT INTO counters (name, value) VALUES (@name, @now) ON CONFLICT (name) DO UPDATE SET value = @now",
                new { name, now },
                transaction
            );
            if (last is not { } at || now - DateTimeOffset.FromUnixTimeMilliseconds(at) is var off && off < OffAfter)
                return 0;
            // No process tried to send, so no receiver failed.
            return await transaction.Connection!.ExecuteAsync(
                """
                UPDATE webhooks SET failing_since = CASE WHEN failing_since + @off > @now THEN @now ELSE failing_since + @off END
                WHERE failing_since IS NOT NULL
                """,
                new { now, off = (long)off.TotalMilliseconds },
                transaction
            );
        });
        beatAt = now;
        if (now - tidiedAt < TimeSpan.FromHours(1))
            return;
        tidiedAt = now;
        while (await TidyAsync(now - Kept) == TidyMessages) { }
    }

    private Task<int> TidyAsync(DateTimeOffset before) =>
        database.WriteExclusiveAsync(async transaction =>
        {
            const string old = """
                SELECT webhook_id, id FROM webhook_messages WHERE created_at < @before AND due_at IS NULL
                ORDER BY created_at, webhook_id, id LIMIT @TidyMessages
                """;
            var parameters = new { before, TidyMessages };
            await transaction.Connection!.ExecuteAsync(
                $"DELETE FROM webhook_attempts WHERE (webhook_id, message_id) IN ({old})",
                parameters,
                transaction
            );
            return await transaction.Connection!.ExecuteAsync(
                $"DELETE FROM webhook_messages WHERE (webhook_id, id) IN ({old})",
                parameters,
                transaction
            );
        });
}
