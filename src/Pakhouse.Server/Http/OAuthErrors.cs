using System.Buffers;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Pakhouse.Server;

/// <summary>
/// The error responses of OAuth endpoints: RFC 6749 §5.2 JSON, with <c>message</c> for existing clients that read only that.
/// </summary>
public static class OAuthErrors
{
    // The default escapes ' and + for HTML; this is JSON, read by people in a terminal.
    private static readonly JsonWriterOptions readable = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <param name="status">Replaces the refusal's own status, for responses that HTTP itself decides (405, 500).</param>
    public static Task WriteAsync(HttpResponse response, Refusal refusal, int? status = null)
    {
        var buffer = new ArrayBufferWriter<byte>(512);
        using (var json = new Utf8JsonWriter(buffer, readable))
        {
            json.WriteStartObject();
            json.WriteString("error"u8, refusal.Error);
            json.WriteString("error_description"u8, refusal.Description);
            json.WriteString("message"u8, refusal.Description);
            json.WriteEndObject();
        }

        response.StatusCode = status ?? refusal.Status;
        response.ContentType = "application/json";
        response.ContentLength = buffer.WrittenCount;
        ForbidStoring(response);
        if (response.StatusCode == StatusCodes.Status401Unauthorized && response.Headers.WWWAuthenticate.Count == 0)
            response.Headers.WWWAuthenticate = Challenge(refusal);
        if (refusal.RetryAfterSeconds is { } seconds)
            response.Headers.RetryAfter = seconds.ToString();
        return response.Body.WriteAsync(buffer.WrittenMemory).AsTask();
    }

    /// <summary>Required for every 401 (RFC 9110 §15.5.2), with the reason (RFC 6750 §3): some clients show nothing else.</summary>
    public static string Challenge(Refusal refusal)
    {
        // RFC 6750 §3: printable ASCII without " and \.
        var reason = string.Create(refusal.Description.Length, refusal.Description, (span, text) =>
        {
            for (var i = 0; i < span.Length; i++) span[i] = text[i] is '"' or '\\' ? '\'' : text[i] is >= ' ' and <= '~' ? text[i] : '?';
        });
        return $"Bearer error=\"{refusal.Error}\", error_description=\"{reason}\"";
    }

    /// <summary>RFC 6749 §5.1.</summary>
    public static void ForbidStoring(HttpResponse response)
    {
        response.Headers.CacheControl = "no-store";
        response.Headers.Pragma = "no-cache";
    }
}
