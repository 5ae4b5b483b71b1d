using System.Data.Common;
using System.Diagnostics;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Text;
using Dapper;

namespace Pakhouse.Server;

/// <summary>
/// Delivers what <see cref="Events"/> wrote, at least once: a message is claimed for a while before it is sent, so that of several processes one sends it,
/// and after that while again when the claimant has died. The order in which messages arrive is not promised.
/// </summary>
public sealed partial class WebhookSender(Database database, Webhooks webhooks, WebhookTarget target, Mails mails, PublicAddress address, TimeProvider clock, ILogger<WebhookSender> log)
    : Recurring(TimeSpan.FromSeconds(2), clock, log)
{
    /// <summary>After the first attempt, the second, … as Standard Webhooks suggests. After the last the message is given up.</summary>
    internal static readonly TimeSpan[] Pauses =
        [TimeSpan.FromSeconds(5), TimeSpan.FromMinutes(5), TimeSpan.FromMinutes(30), TimeSpan.FromHours(2), TimeSpan.FromHours(5), TimeSpan.FromHours(10), TimeSpan.FromHours(10)];

    /// <summary>A webhook that has failed for so long is disabled.</summary>
    internal static readonly TimeSpan PatienceMax = TimeSpan.FromDays(5);

    /// <summary>The log of deliveries goes back so far.</summary>
    internal static readonly TimeSpan Kept = TimeSpan.FromDays(30);

    /// <summary>Longer than sending all that one claims at once can take.</summary>
    private static readonly TimeSpan lease = TimeSpan.FromMinutes(2);

    private const int ClaimMessages = 32;

    /// <summary>Of one webhook at once: one that does not answer keeps the others waiting for one timeout at most.</summary>
    private const int ClaimPerWebhook = 8;

    private readonly TimeProvider clock = clock;
    private readonly HttpClient http = target.CreateClient();
    private DateTimeOffset tidiedAt;

    private sealed record Claimed
    {
        public Guid WebhookId { get; init; }
        public Guid OrganizationId { get; init; }
        public string Url { get; init; } = "";
        public byte[] Secret { get; init; } = [];
        public byte[]? OldSecret { get; init; }
        public DateTimeOffset? OldSecretUntil { get; init; }
        public string Id { get; init; } = "";
        public string Body { get; init; } = "";
        public long Attempts { get; init; }
    }

    private readonly record struct Result(int? Status, string Error, long Milliseconds);

    public override async Task RunAsync()
    {
        while (await SendAsync("") > 0)
        {
        }

        await TidyAsync();
    }

    /// <summary>What is due of one webhook, now: for the one who just asked for a test.</summary>
    public Task RunAsync(Guid webhookId) => SendAsync(webhookId.ToString());

    public override void Dispose()
    {
        http.Dispose();
        base.Dispose();
    }

    private async Task<int> SendAsync(string only)
    {
        // Most turns end here, without a word to the other processes.
        if (await database.ReadAsync(connection => connection.ExecuteScalarAsync<long?>("SELECT 1 FROM webhook_messages WHERE due_at <= @now LIMIT 1", new { now = clock.GetUtcNow() })) is null) return 0;
        var claimed = await database.WriteAloneAsync(transaction => ClaimAsync(transaction, only));
        if (claimed.Count == 0) return 0;
        var results = new Result[claimed.Count];
        await Parallel.ForEachAsync(Enumerable.Range(0, claimed.Count), new ParallelOptions { MaxDegreeOfParallelism = ClaimMessages }, async (i, _) => results[i] = await PostAsync(claimed[i]));
        // Together and alone: one transaction for each would be in the others' way, because they meet at the webhook's row.
        await database.WriteAloneAsync(async transaction =>
        {
            for (var i = 0; i < claimed.Count; i++) await RecordAsync(transaction, claimed[i], results[i]);
            return true;
        });
        for (var i = 0; i < claimed.Count; i++)
            if (results[i].Error.Length > 0) LogFailed(claimed[i].WebhookId, claimed[i].Id, claimed[i].Attempts + 1, results[i].Error);
        return claimed.Count;
    }

    private async Task<List<Claimed>> ClaimAsync(DbTransaction transaction, string only)
    {
        var now = clock.GetUtcNow();
        var claimed = (await transaction.Connection!.QueryAsync<Claimed>(
            """
            SELECT w.id AS webhook_id, w.organization_id, w.url, w.secret, w.old_secret, w.old_secret_until, m.id, m.body, m.attempts
            FROM (SELECT webhook_id, id, body, attempts, due_at, ROW_NUMBER() OVER (PARTITION BY webhook_id ORDER BY due_at, id) AS place
                  FROM webhook_messages WHERE due_at <= @now AND (@only = '' OR webhook_id = @only)) AS m
            JOIN webhooks w ON w.id = m.webhook_id
            WHERE m.place <= @ClaimPerWebhook ORDER BY m.due_at, m.id LIMIT @ClaimMessages
            """, new { now, only, ClaimPerWebhook, ClaimMessages }, transaction)).AsList();
        foreach (var message in claimed)
            await transaction.Connection!.ExecuteAsync("UPDATE webhook_messages SET due_at = @until, attempts = attempts + 1 WHERE webhook_id = @WebhookId AND id = @Id",
                new { until = now + lease, message.WebhookId, message.Id }, transaction);
        return claimed;
    }

    private async Task<Result> PostAsync(Claimed message)
    {
        var (now, began) = (clock.GetUtcNow(), Stopwatch.GetTimestamp());
        try
        {
            byte[][] secrets = message.OldSecretUntil > now ? [webhooks.Open(message.Secret), webhooks.Open(message.OldSecret!)] : [webhooks.Open(message.Secret)];
            using var request = new HttpRequestMessage(HttpMethod.Post, message.Url) { Content = new ByteArrayContent(Encoding.UTF8.GetBytes(message.Body)) };
            request.Content.Headers.ContentType = new MediaTypeHeaderValue("application/json");
            request.Headers.Add("webhook-id", message.Id);
            request.Headers.Add("webhook-timestamp", now.ToUnixTimeSeconds().ToString());
            request.Headers.TryAddWithoutValidation("webhook-signature", WebhookSignature.Of(secrets, message.Id, now.ToUnixTimeSeconds(), message.Body));
            using var response = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead); // what else it says is not read: nothing can be found out through it
            return new((int)response.StatusCode, response.IsSuccessStatusCode ? "" : (int)response.StatusCode is >= 300 and < 400 ? "It answered with a redirect; none is followed." : "It answered that it failed.", Elapsed());
        }
        catch (Exception e) when (e is HttpRequestException or TaskCanceledException or CryptographicException or IOException or UriFormatException)
        {
            return new(null, Words(e), Elapsed());
        }

        long Elapsed() => (long)Stopwatch.GetElapsedTime(began).TotalMilliseconds;
    }

    /// <summary>Our words: those of an exception can say what only somebody inside the network should know, such as which ports are open.</summary>
    private static string Words(Exception e) => e switch
    {
        TaskCanceledException => "No answer within 10 seconds.",
        CryptographicException => "Its secret cannot be read here any more; make a new one.",
        { InnerException: WebhookTarget.TargetNotAllowedException } => "The name resolves to no public address, so it is not called.",
        { InnerException: AuthenticationException } => "The TLS certificate is not valid for this name.",
        { InnerException: SocketException { SocketErrorCode: SocketError.HostNotFound or SocketError.NoData or SocketError.TryAgain } } => "The name does not resolve.",
        _ => "No connection.",
    };

    private async Task RecordAsync(DbTransaction transaction, Claimed message, Result result)
    {
        var (now, number, isDelivered) = (clock.GetUtcNow(), message.Attempts + 1, result.Error.Length == 0);
        var isGone = result.Status == (int)HttpStatusCode.Gone; // Standard Webhooks: it wants no more
        DateTimeOffset? next = isDelivered || isGone || number > Pauses.Length ? null : now + Pauses[number - 1] + TimeSpan.FromMilliseconds(RandomNumberGenerator.GetInt32(1 + (int)(Pauses[number - 1].TotalMilliseconds / 10)));
        // Of this attempt only: where sending took longer than the claim, another has the word.
        var recorded = await transaction.Connection!.ExecuteAsync("UPDATE webhook_messages SET due_at = @next WHERE webhook_id = @WebhookId AND id = @Id AND attempts = @number AND due_at IS NOT NULL",
            new { next, message.WebhookId, message.Id, number }, transaction);
        if (recorded == 0) return; // deleted or disabled meanwhile, too
        await transaction.Connection!.ExecuteAsync(
            """
            INSERT INTO webhook_attempts (webhook_id, message_id, number, at, milliseconds, status, error) VALUES (@WebhookId, @Id, @number, @now, @Milliseconds, @Status, @Error)
            """, new { message.WebhookId, message.Id, number, now, result.Milliseconds, Status = (long?)result.Status, result.Error }, transaction);
        if (isDelivered)
        {
            await transaction.Connection!.ExecuteAsync("UPDATE webhooks SET failing_since = NULL WHERE id = @WebhookId AND failing_since IS NOT NULL", new { message.WebhookId }, transaction);
            return;
        }

        var since = await transaction.Connection!.ExecuteScalarAsync<long>("UPDATE webhooks SET failing_since = COALESCE(failing_since, @now) WHERE id = @WebhookId RETURNING failing_since", new { message.WebhookId, now }, transaction);
        if (isGone || DateTimeOffset.FromUnixTimeMilliseconds(since) + PatienceMax <= now) await DisableAsync(transaction, message, result.Error, now);
    }

    private async Task DisableAsync(DbTransaction transaction, Claimed message, string error, DateTimeOffset now)
    {
        await transaction.Connection!.ExecuteAsync("UPDATE webhooks SET disabled_at = @now WHERE id = @WebhookId", new { message.WebhookId, now }, transaction);
        await Webhooks.StopAsync(transaction, message.WebhookId);
        await ActivityLog.WriteAsync(transaction, clock, Actor.Operator, Did.WebhookUpdate, message.OrganizationId, message.WebhookId.ToString(), detail: "disabled after failures");
        foreach (var owner in await Owners.EmailsAsync(transaction, message.OrganizationId))
            await mails.EnqueueAsync(transaction, owner, new MailContent("A webhook was disabled",
                $"""
                The webhook to {new Uri(message.Url).Host} could not be delivered to for a long time, so it was disabled. The last attempt: {error}

                When the receiver works again, enable it here; what happened meanwhile stays in the list and can be sent again:
                {address.Value}/organizations/{message.OrganizationId}/webhooks/{message.WebhookId}
                """));
    }

    /// <summary>Once an hour.</summary>
    private async Task TidyAsync()
    {
        var now = clock.GetUtcNow();
        if (now - tidiedAt < TimeSpan.FromHours(1)) return;
        tidiedAt = now;
        await database.WriteAloneAsync(transaction => transaction.Connection!.ExecuteAsync(
            """
            DELETE FROM webhook_attempts WHERE (webhook_id, message_id) IN (
                SELECT webhook_id, id FROM webhook_messages WHERE created_at < @before AND due_at IS NULL);
            DELETE FROM webhook_messages WHERE created_at < @before AND due_at IS NULL;
            """, new { before = now - Kept }, transaction));
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "Webhook {Webhook}: message {Id} was not delivered, attempt {Number}: {Error}")]
    private partial void LogFailed(Guid webhook, string id, long number, string error);
}
