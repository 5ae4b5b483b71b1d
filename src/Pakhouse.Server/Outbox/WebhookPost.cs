using System.Diagnostics;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Text;

namespace Pakhouse.Server;

/// <summary>A message that this process is sending.</summary>
internal sealed record ClaimedMessage
{
    public Guid WebhookId { get; init; }
    public string Id { get; init; } = "";
    public string Body { get; init; } = "";

    /// <summary>The number of earlier attempts.</summary>
    public long Attempts { get; init; }

    public string Lease { get; init; } = "";
    public SendingWebhook Webhook { get; init; } = new();
}

/// <summary>The URL of a message, and the secrets that sign it.</summary>
internal sealed record SendingWebhook
{
    public Guid OrganizationId { get; init; }
    public string Url { get; init; } = "";
    public byte[] Secret { get; init; } = [];
    public byte[]? OldSecret { get; init; }
    public DateTimeOffset? OldSecretUntil { get; init; }
}

/// <param name="Status">The HTTP status; null: no response.</param>
/// <param name="Error">Our own text; empty: delivered.</param>
/// <param name="RetryAfter">How long the receiver asks to wait; null: it does not.</param>
internal readonly record struct WebhookResult(int? Status, string Error, long Milliseconds, TimeSpan? RetryAfter = null)
{
    public bool IsDelivered => Error.Length == 0;
}

/// <summary>One attempt to deliver one message, by Standard Webhooks. It never throws.</summary>
internal sealed class WebhookPost(WebhookTarget target, WebhookSecrets secrets, TimeProvider clock) : IDisposable
{
    private readonly HttpClient http = target.CreateClient();

    public void Dispose() => http.Dispose();

    public async Task<WebhookResult> SendAsync(ClaimedMessage message)
    {
        var began = Stopwatch.GetTimestamp();
        try
        {
            var now = clock.GetUtcNow();
            var webhook = message.Webhook;
            byte[][] keys =
                webhook.OldSecretUntil > now
                    ? [secrets.Unprotect(webhook.Secret), secrets.Unprotect(webhook.OldSecret!)]
                    : [secrets.Unprotect(webhook.Secret)];
            using var request = new HttpRequestMessage(HttpMethod.Post, webhook.Url)
            {
                Content = new ByteArrayContent(Encoding.UTF8.GetBytes(message.Body)),
            };
            request.Content.Headers.ContentType = new MediaTypeHeaderValue("application/json");
            request.Headers.Add("webhook-id", message.Id);
            request.Headers.Add("webhook-timestamp", now.ToUnixTimeSeconds().ToString());
            request.Headers.TryAddWithoutValidation(
                "webhook-signature",
                WebhookSignature.Of(keys, message.Id, now.ToUnixTimeSeconds(), message.Body)
            );
            // The response body is not read, so nobody can use it to read something in the network.
            using var response = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
            var error = (int)response.StatusCode switch
            {
                < 200 => "It answered with no final status.",
                < 300 => "",
                < 400 => "It sent a redirect, which is not followed.",
                _ => "It responded with an error.",
            };
            return new((int)response.StatusCode, error, Elapsed(), error.Length == 0 ? null : RetryAfter(response, now));
        }
        catch (Exception e)
        {
            return new(null, Describe(e), Elapsed());
        }

        long Elapsed() => (long)Stopwatch.GetElapsedTime(began).TotalMilliseconds;
    }

    /// <summary>RFC 9110 §10.2.3: seconds or a date, in any failed response.</summary>
    private static TimeSpan? RetryAfter(HttpResponseMessage response, DateTimeOffset now)
    {
        var asked = response.Headers.RetryAfter is { } header ? header.Delta ?? header.Date - now : null;
        return asked > TimeSpan.Zero ? asked : null;
    }

    /// <summary>
    /// Our own text: an exception's text can reveal what only people inside the network should know, such as which ports are open.
    /// </summary>
    private static string Describe(Exception e) =>
        e switch
        {
            TaskCanceledException => "No answer within 10 seconds.",
            CryptographicException => "Its secret can no longer be read. Create a new one.",
            { InnerException: WebhookTarget.TargetNotAllowedException } => "The name resolves to no public address, so it is not called.",
            { InnerException: TlsFault.TlsFaultException fault } => $"It was not called: {fault.Message}.",
            HttpRequestException { HttpRequestError: HttpRequestError.SecureConnectionError }
            or { InnerException: AuthenticationException } => $"{TlsFault.Protocol}.",
            {
                InnerException: SocketException { SocketErrorCode: SocketError.HostNotFound or SocketError.NoData or SocketError.TryAgain }
            } => "The name does not resolve.",
            _ => "No connection.",
        };
}
