using Microsoft.Extensions.Primitives;
using Microsoft.Net.Http.Headers;

namespace Pakhouse.Server;

/// <summary>
/// Checks a request before its content is interpreted, and reads all JSON bodies.
/// <para>Invariant: whatever a caller sends, an error is the caller's (4xx) and never ours (500).</para>
/// </summary>
public static class RequestBodies
{
    /// <summary>The most bytes of a JSON body.</summary>
    public const int JsonLengthMax = 64 * 1024;

    /// <summary>
    /// A body that breaks off or is malformed, as Kestrel reports it. Only for reads from a request: a disk or a database throws the same
    /// exceptions.
    /// </summary>
    public static bool IsUnreadable(Exception exception) =>
        exception is BadHttpRequestException or IOException or OverflowException or InvalidDataException;

    /// <summary>
    /// Converts the framework's other exceptions: a chunk of 2^31 bytes or more is an <see cref="IOException"/> or an overflow there, and
    /// would become a 500.
    /// </summary>
    public static BadHttpRequestException Unreadable(Exception exception) =>
        exception as BadHttpRequestException
        ?? new BadHttpRequestException("The body could not be read.", StatusCodes.Status400BadRequest, exception);

    /// <summary>The bytes of a JSON body (RFC 8259): UTF-8, at most <see cref="JsonLengthMax"/>. Empty: there was none.</summary>
    public static async ValueTask<Outcome<ReadOnlyMemory<byte>>> ReadJsonAsync(HttpRequest request)
    {
        if (request.ContentLength is null or 0 && !request.Headers.ContainsKey("Transfer-Encoding"))
            return default(ReadOnlyMemory<byte>);
        if (!request.HasJsonContentType() || !IsUtf8(request.ContentType))
            return NotJson;
        if (request.ContentLength > JsonLengthMax)
            return tooLong;

        using var buffer = new MemoryStream();
        var chunk = new byte[4096];
        try
        {
            for (int read; (read = await request.Body.ReadAsync(chunk, request.HttpContext.RequestAborted)) > 0;)
            {
                if (buffer.Length + read > JsonLengthMax)
                    return tooLong;
                buffer.Write(chunk, 0, read);
            }
        }
        catch (BadHttpRequestException e) when (e.StatusCode == StatusCodes.Status413PayloadTooLarge)
        {
            return tooLong;
        }
        catch (Exception e) when (IsUnreadable(e))
        {
            throw Unreadable(e);
        }

        return (ReadOnlyMemory<byte>)buffer.GetBuffer().AsMemory(0, (int)buffer.Length);
    }

    /// <summary>
    /// Runs after routing. It refuses a NUL in the query, which PostgreSQL cannot store, and reads a form once for all later readers. Every
    /// malformed form (an encoding other than UTF-8, too many fields, a broken boundary, a broken chunk) gets one refusal here.
    /// </summary>
    public static void UseReadableRequests(this WebApplication app) =>
        app.Use(
            async (context, next) =>
            {
                if (
                    context.Request.QueryString.Value is { } query
                    && query.Contains("%00", StringComparison.Ordinal)
                    && FindNul(context.Request.Query) is { } nul
                )
                {
                    await RefusalWriter.WriteAsync(context, nul);
                    return;
                }

                if (IsForm(context.Request.ContentType) && await ReadFormAsync(context) is (var refusal, var status))
                {
                    await RefusalWriter.WriteAsync(context, refusal, status);
                    return;
                }

                await next(context);
            }
        );

    private static async ValueTask<(Refusal Refusal, int Status)?> ReadFormAsync(HttpContext context)
    {
        if (!IsUtf8(context.Request.ContentType))
            return (NotForm, NotForm.Status);
        try
        {
            // for pages, whose form the framework would read next; endpoints with secrets short-circuit before
#pragma warning disable RS0030
            var form = await context.Request.ReadFormAsync(context.RequestAborted);
#pragma warning restore RS0030
            return FindNul(form) is { } nul ? (nul, nul.Status) : null;
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            // Only the request was read, so every failure is the request's.
            return (badForm, (e as BadHttpRequestException)?.StatusCode ?? StatusCodes.Status400BadRequest);
        }
    }

    private static bool IsForm(string? contentType) =>
        contentType is not null
        && (
            contentType.StartsWith("application/x-www-form-urlencoded", StringComparison.OrdinalIgnoreCase)
            || contentType.StartsWith("multipart/form-data", StringComparison.OrdinalIgnoreCase)
        );

    /// <summary>
    /// True for UTF-8 or no charset. The framework throws for an unknown charset, and reads UTF-16 if it is named.
    /// </summary>
    private static bool IsUtf8(string? contentType) =>
        MediaTypeHeaderValue.TryParse(contentType, out var type)
        && type.Parameters.Where(one => one.Name.Equals("charset", StringComparison.OrdinalIgnoreCase))
            .All(one => HeaderUtilities.RemoveQuotes(one.Value).Value?.ToUpperInvariant() is "UTF-8" or "UTF8" or "US-ASCII");

    /// <summary>Repeats a name only if it is a plain word, which cannot be a secret.</summary>
    private static Refusal? FindNul(IEnumerable<KeyValuePair<string, StringValues>> fields)
    {
        foreach (var (name, values) in fields)
        {
            if (!HasNul(name) && !values.Any(HasNul))
                continue;
            var known = name.Length <= 24 && name.All(char.IsAsciiLetter) ? name : "A field";
            return Refusal.At(known, RefusalCode.InvalidRequest, $"the text contains the character NUL. Remove it.", "NUL in a text");
        }

        return null;
    }

    private static bool HasNul(string? text) => text?.Contains('\0', StringComparison.Ordinal) == true;

    internal static readonly Refusal NotJson = Refusal.At(
        "Content-Type",
        RefusalCode.WrongType,
        "send the body as application/json, in UTF-8.",
        "no JSON"
    );
    internal static readonly Refusal NotForm = Refusal.At(
        "Content-Type",
        RefusalCode.WrongType,
        "send the form as application/x-www-form-urlencoded, in UTF-8.",
        "no form"
    );
    private static readonly Refusal tooLong = new(
        RefusalCode.TooLong,
        $"The body is longer than {JsonLengthMax / 1024} KB.",
        "body too long"
    );
    private static readonly Refusal badForm = new(
        RefusalCode.InvalidRequest,
        "The form could not be read: it breaks off, is too long, or has too many fields. Load the page again.",
        "form out of form"
    );
}
