using Microsoft.AspNetCore.Diagnostics;

namespace Pakhouse.Server;

/// <summary>Writes a <see cref="Refusal"/> to a response: the only place that chooses its format.</summary>
public static class RefusalWriter
{
    /// <summary>
    /// Writes the refusal in the format that this caller expects: OAuth JSON for programs at <c>/auth</c> and <c>/oauth</c>, a page for
    /// people, problem details for everything else.
    /// </summary>
    /// <param name="status">Replaces the refusal's own status, for responses that HTTP itself decides (405, 500).</param>
    public static Task WriteAsync(HttpContext context, Refusal refusal, int? status = null)
    {
        var response = context.Response;
        var request = context.Request;
        if (refusal.Scope is { } scope)
            response.Headers.WWWAuthenticate = $"Bearer error=\"insufficient_scope\", scope=\"{scope}\"";
        if (refusal.Code == RefusalCode.InvalidToken)
            // RFC 6750 §3.1
            response.Headers.WWWAuthenticate = request.Headers.Authorization.Count == 0 ? "Bearer" : OAuthErrors.Challenge(refusal);
        OpenRoutes.AddOrigin(context, context.GetEndpoint() ?? context.Features.Get<IExceptionHandlerFeature>()?.Endpoint);
        if (
            request.Path.StartsWithSegments("/auth", StringComparison.OrdinalIgnoreCase)
            || request.Path.StartsWithSegments("/oauth", StringComparison.OrdinalIgnoreCase)
        )
        {
            return OAuthErrors.WriteAsync(response, refusal, status);
        }

        response.StatusCode = status ?? refusal.Status;
        if (response.StatusCode == StatusCodes.Status401Unauthorized && response.Headers.WWWAuthenticate.Count == 0)
            response.Headers.WWWAuthenticate = OAuthErrors.Challenge(refusal);
        if (refusal.RetryAfterSeconds is { } seconds)
            response.Headers.RetryAfter = seconds.ToString();
        response.Headers.CacheControl = "no-store";
        if (request.Headers.Accept.ToString().Contains("text/html", StringComparison.Ordinal))
            return ErrorPage.WriteAsync(response, refusal.Description);
        return Results
            .Problem(
                statusCode: response.StatusCode,
                detail: refusal.Description,
                extensions: new Dictionary<string, object?>(StringComparer.Ordinal)
                {
                    ["error"] = refusal.Error,
                    ["message"] = refusal.Description,
                }
            )
            .ExecuteAsync(context);
    }
}

/// <summary>The page for a person when no other page can be rendered. It needs no session, no database and no view.</summary>
internal static class ErrorPage
{
    public static Task WriteAsync(HttpResponse response, string message)
    {
        SecurityHeaders.Set(response);
        response.ContentType = "text/html; charset=utf-8";
        var text = System.Text.Encodings.Web.HtmlEncoder.Default.Encode(message);
        return response.WriteAsync(
            $"""
            <!doctype html>
            <html lang="en">
            <head>
              <meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
              <meta name="color-scheme" content="light dark">
              <title>{Title(response.StatusCode)} · Pakhouse</title>
              <link rel="stylesheet" href="{Assets.Url("app.css")}"><link rel="icon" href="{Assets.Url("icon.svg")}" type="image/svg+xml">
            </head>
            <body class="alone">
              <header class="alone-head"><a class="mark" href="/"><img src="{Assets.Url(
                "icon.svg"
            )}" alt="" width="28" height="28">Pakhouse</a></header>
              <main class="card"><h1>{Title(
                response.StatusCode
            )}</h1><p>{text}</p><p class="actions"><a class="button" href="/">Back to the start</a></p></main>
            </body>
            </html>
            """
        );
    }

    private static string Title(int status) =>
        status switch
        {
            StatusCodes.Status403Forbidden => "Not allowed",
            StatusCodes.Status404NotFound => "Not found",
            StatusCodes.Status503ServiceUnavailable => "Try again in a moment",
            StatusCodes.Status507InsufficientStorage => "The disk is full",
            _ => "Something went wrong",
        };
}
