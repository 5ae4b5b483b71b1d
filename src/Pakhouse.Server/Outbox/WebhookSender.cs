using System.Collections.Concurrent;
using System.Data.Common;
using System.Net;
using System.Security.Cryptography;
using Dapper;

namespace Pakhouse.Server;

/// <summary>
/// Delivers what <see cref="Events"/> wrote, at least once. A process claims a message for a while before it sends it, so only one process
/// sends it; when the claim has run out because that process died, another one sends it. The order of arrival is not guaranteed.
/// <para>No message waits for the end of another: as soon as a slot of <see cref="WebhookSlots"/> is free, the next message is
/// claimed.</para>
/// </summary>
public sealed partial class WebhookSender(
    Database database,
    WebhookSecrets secrets,
    WebhookTarget target,
    Mails mails,
    PublicAddress address,
    TimeProvider clock,
    ILogger<WebhookSender> log
) : PeriodicJob(TimeSpan.FromSeconds(2), clock, log)
{
    /// <summary>The delay after the first attempt, the second, …, as Standard Webhooks suggests. After the last attempt the message is
    /// given up.</summary>
    internal static readonly TimeSpan[] Pauses =
    [
        TimeSpan.FromSeconds(5),
        TimeSpan.FromMinutes(5),
        TimeSpan.FromMinutes(30),
        TimeSpan.FromHours(2),
        TimeSpan.FromHours(5),
        TimeSpan.FromHours(10),
        TimeSpan.FromHours(10),
    ];

    /// <summary>
    /// A webhook that has failed for this long is disabled, once <see cref="AttemptsMin"/> of one message have failed. Time in which this
    /// server was off does not count.
    /// </summary>
    internal static readonly TimeSpan PatienceMax = TimeSpan.FromDays(5);

    /// <summary>
    /// Attempts of one message, over half an hour. A webhook with few messages is not tried between them: that the last one failed a week
    /// ago and this one fails once does not say that it failed all the time.
    /// </summary>
    internal const int AttemptsMin = 4;

    /// <summary>How long deliveries stay in the log.</summary>
    internal static readonly TimeSpan Kept = TimeSpan.FromDays(30);

    /// <summary>The longest pause that Retry-After can request: our own longest pause.</summary>
    internal static readonly TimeSpan RetryAfterMax = TimeSpan.FromHours(10);

    /// <summary>If no process sent anything for this long, the server was off. Longer than a restart.</summary>
    internal static readonly TimeSpan OffAfter = TimeSpan.FromMinutes(15);

    private static readonly TimeSpan beat = TimeSpan.FromMinutes(1);

    /// <summary>Messages deleted in one transaction.</summary>
    private const int TidyMessages = 500;

    private readonly WebhookPost post = new(target, secrets, clock);
    private readonly WebhookSlots slots = new();
    private readonly ConcurrentQueue<(ClaimedMessage Message, WebhookResult Result)> finished = new();
    private CancellationToken stopping;
    private DateTimeOffset tidiedAt;
    private DateTimeOffset beatAt;

    /// <summary>Sends until nothing is due and no delivery is running.</summary>
    public override Task RunAsync() => SendAsync(null);

    /// <summary>Sends what is due for one webhook now, for an owner who has just requested a test.</summary>
    public Task RunAsync(Guid webhookId) => SendAsync(webhookId);

    public override void Dispose()
    {
        post.Dispose();
        base.Dispose();
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        stopping = stoppingToken;
        await base.ExecuteAsync(stoppingToken);
        stopping = default;
    }

    private async Task SendAsync(Guid? only)
    {
        List<Task> underWay = [];
        try
        {
            while (true)
            {
                await KeepTimeAsync();
                // Before claiming: a delivery that ends during the claim frees a slot that was not offered, so the wait below must see it.
                underWay.RemoveAll(delivery => delivery.IsCompleted);
                underWay.AddRange((await RecordAndClaimAsync(only)).Select(DeliverAsync));
                if (underWay.Count == 0 && finished.IsEmpty)
                    return;
                if (underWay.Count == 0)
                    continue;
                // Or after a while, because other messages may have become due.
                using var done = new CancellationTokenSource();
                await Task.WhenAny([.. underWay, Task.Delay(TimeSpan.FromSeconds(2), Clock, done.Token)]);
                await done.CancelAsync();
            }
        }
        finally
        {
            await Task.WhenAll(underWay);
        }
    }

    private async Task DeliverAsync(ClaimedMessage message)
    {
        var result = await post.SendAsync(message);
        slots.Finished(message.WebhookId, result.IsDelivered, result.Milliseconds);
        finished.Enqueue((message, result));
    }

    /// <summary>
    /// Records finished deliveries and claims the next messages together: with one transaction for each message, they would block each
    /// other.
    /// </summary>
    private async Task<IReadOnlyList<ClaimedMessage>> RecordAndClaimAsync(Guid? only)
    {
        var places = stopping.IsCancellationRequested
            ? []
            : slots.Take(await database.ReadAsync(connection => WebhookQueue.DueAsync(connection, Clock.GetUtcNow(), only)));
        List<(ClaimedMessage Message, WebhookResult Result)> results = [];
        while (finished.TryDequeue(out var result))
            results.Add(result);
        if (places.Count == 0 && results.Count == 0)
            return [];
        List<ClaimedMessage> claimed = [];
        try
        {
            claimed = await database.WriteExclusiveAsync(async transaction =>
            {
                foreach (var (message, result) in results)
                    await RecordAsync(transaction, message, result);
                List<ClaimedMessage> rows = [];
                foreach (var (webhook, count) in places)
                    rows.AddRange(await WebhookQueue.ClaimAsync(transaction, Clock, webhook.Id, count));
                return rows;
            });
        }
        catch
        {
            foreach (var result in results)
                finished.Enqueue(result); // recorded in the next round
            throw;
        }
        finally
        {
            foreach (var (webhook, count) in places)
                if (count - claimed.Count(message => message.WebhookId == webhook.Id) is var unused and > 0)
                    slots.Return(webhook.Id, unused);
        }

        foreach (var (message, result) in results)
            if (!result.IsDelivered)
                LogFailed(message.WebhookId, message.Id, message.Attempts + 1, result.Error);
        return claimed;
    }

    private async Task RecordAsync(DbTransaction transaction, ClaimedMessage message, WebhookResult result)
    {
        var (now, number) = (Clock.GetUtcNow(), message.Attempts + 1);
        var isGone = result.Status == (int)HttpStatusCode.Gone; // Standard Webhooks: the receiver wants no more messages
        var asked = result.RetryAfter > RetryAfterMax ? RetryAfterMax : result.RetryAfter;
        DateTimeOffset? next = result.IsDelivered || isGone || number > Pauses.Length ? null : now + PauseAfter(number, asked);
        // Only for this claim: if sending took longer than the claim, the next process decides. A webhook disabled in the meantime stays
        // disabled.
        var recorded = await transaction.Connection!.ExecuteAsync(
            """
            UPDATE webhook_messages SET due_at = CASE WHEN due_at IS NULL THEN due_at ELSE @next END, lease = NULL, attempts = @number
            WHERE webhook_id = @WebhookId AND id = @Id AND lease = @Lease
            """,
            new
            {
                next,
                message.WebhookId,
                message.Id,
                message.Lease,
                number,
            },
            transaction
        );
        if (recorded == 0)
            return; // also if it was deleted in the meantime
        await transaction.Connection!.ExecuteAsync(
            """
            INSERT INTO webhook_attempts (webhook_id, message_id, number, at, milliseconds, status, error)
            VALUES (@WebhookId, @Id, @number, @now, @Milliseconds, @Status, @Error)
            """,
            new
            {
                message.WebhookId,
                message.Id,
                number,
                now,
                result.Milliseconds,
                Status = (long?)result.Status,
                result.Error,
            },
            transaction
        );
        if (result.IsDelivered)
        {
            await transaction.Connection!.ExecuteAsync(
                "UPDATE webhooks SET failing_since = NULL, paused_until = NULL WHERE id = @WebhookId AND (failing_since IS NOT NULL OR "
                    + "paused_until IS NOT NULL)",
                new { message.WebhookId },
                transaction
            );
            return;
        }

        if (asked is not null)
            await transaction.Connection!.ExecuteAsync(
                "UPDATE webhooks SET paused_until = @until WHERE id = @WebhookId",
                new { message.WebhookId, until = now + asked },
                transaction
            );
        var since = await transaction.Connection!.ExecuteScalarAsync<long?>(
            "UPDATE webhooks SET failing_since = COALESCE(failing_since, @now) WHERE id = @WebhookId AND disabled_at IS NULL RETURNING "
                + "failing_since",
            new { message.WebhookId, now },
            transaction
        );
        var isOver = since is { } began && number >= AttemptsMin && DateTimeOffset.FromUnixTimeMilliseconds(began) + PatienceMax <= now;
        if (since is not null && (isGone || isOver))
            await DisableAsync(transaction, message, result.Error, now);
    }

    /// <summary>
    /// Up to a tenth longer, so that messages that failed together do not return together; never sooner than the receiver requested.
    /// </summary>
    private static TimeSpan PauseAfter(long number, TimeSpan? asked)
    {
        var pause =
            Pauses[number - 1]
            + TimeSpan.FromMilliseconds(RandomNumberGenerator.GetInt32(1 + (int)(Pauses[number - 1].TotalMilliseconds / 10)));
        return asked > pause ? asked.Value : pause;
    }

    private async Task DisableAsync(DbTransaction transaction, ClaimedMessage message, string error, DateTimeOffset now)
    {
        await transaction.Connection!.ExecuteAsync(
            "UPDATE webhooks SET disabled_at = @now WHERE id = @WebhookId",
            new { message.WebhookId, now },
            transaction
        );
        await StopAsync(transaction, message.WebhookId);
        var organizationId = message.Webhook.OrganizationId;
        await ActivityLog.WriteAsync(
            transaction,
            Clock,
            Actor.Operator,
            AuditAction.WebhookUpdate,
            organizationId,
            message.WebhookId.ToString(),
            detail: "disabled after failures"
        );
        foreach (var owner in await Owners.EmailsAsync(transaction, organizationId))
            await mails.EnqueueAsync(
                transaction,
                owner,
                new MailContent(
                    $"A webhook was disabled",
                    $"""
                    The webhook to {new Uri(
                        message.Webhook.Url
                    ).Host} could not be delivered to for a long time, so it was disabled. The last attempt: {error}

                    When the receiver works again, enable it here. What was not delivered, and what happens while it is off, stays in the list
                    for {(long)Kept.TotalDays} days and can be sent again:
                    {MailText.Link(address, $"/organizations/{organizationId}/webhooks/{message.WebhookId}")}
                    """
                )
            );
    }

    /// <summary>Stops sending all waiting messages.</summary>
    internal static Task StopAsync(DbTransaction transaction, Guid id) =>
        transaction.Connection!.ExecuteAsync(
            "UPDATE webhook_messages SET due_at = NULL WHERE webhook_id = @id AND due_at IS NOT NULL",
            new { id },
            transaction
        );

    [LoggerMessage(Level = LogLevel.Information, Message = "Webhook {Webhook}: message {Id} was not delivered, attempt {Number}: {Error}")]
    private partial void LogFailed(Guid webhook, string id, long number, string error);
}
