using System.Diagnostics;
using Microsoft.AspNetCore.Diagnostics;
using Microsoft.AspNetCore.HttpOverrides;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace Pakhouse.Server;

/// <summary>What runs before routing on every request: the trusted origin, headers, errors, the request log.</summary>
public static partial class Middleware
{
    /// <summary>
    /// Seconds after which to try again when the database is unavailable.
    /// </summary>
    private const int RetryAfterSeconds = 5;

    /// <summary>
    /// Takes the caller's address from X-Forwarded-For, from configured proxies only. Scheme and host come from the settings, never from a
    /// request, so no header can change a link or a cookie.
    /// </summary>
    public static void UsePublicOrigin(this WebApplication app, PakhouseOptions options)
    {
        if (options.TrustedProxies.Count > 0)
        {
            var forwarded = new ForwardedHeadersOptions { ForwardedHeaders = ForwardedHeaders.XForwardedFor, ForwardLimit = null };
            forwarded.KnownProxies.Clear(); // the framework would trust loopback
            forwarded.KnownIPNetworks.Clear();
            foreach (var network in options.TrustedProxies)
                forwarded.KnownIPNetworks.Add(network);
            app.UseForwardedHeaders(forwarded);
        }

        var draining = app.Services.GetRequiredService<Draining>();
        var origin = app.Services.GetRequiredService<PublicAddress>();
        app.Use(next =>
            context =>
            {
                (context.Request.Scheme, context.Request.Host) = (origin.Scheme, origin.Host);
                if (draining.IsOn)
                    context.Response.Headers.Connection = "close"; // the caller's next request goes elsewhere
                // Some clients are configured with a trailing slash and post to //auth/v1/token.
                if (context.Request.Path.Value is { } path && path.Contains("//", StringComparison.Ordinal))
                    context.Request.Path = CollapseSlashes(path);
                return next(context);
            }
        );
    }

    /// <summary>
    /// Handles every exception: 503 if the database is unavailable, otherwise 500. The response contains nothing internal; the request id
    /// finds the error in the log.
    /// </summary>
    public static void UseErrorHandler(this WebApplication app) =>
        app.UseExceptionHandler(
            new ExceptionHandlerOptions
            {
                SuppressDiagnosticsCallback = _ => true, // logged below, once
                ExceptionHandler = async context =>
                {
                    var exception = context.Features.Get<IExceptionHandlerFeature>()!.Error;
                    var log = context.RequestServices.GetRequiredService<ILoggerFactory>().CreateLogger("Pakhouse.Server.Faults");
                    switch (exception)
                    {
                        case BadHttpRequestException bad:
                            await RefusalWriter.WriteAsync(
                                context,
                                new Refusal(
                                    RefusalCode.InvalidRequest,
                                    "The request could not be read completely. Send it again.",
                                    "bad request"
                                ),
                                bad.StatusCode
                            );
                            break;
                        case DiskFullException:
                            await RefusalWriter.WriteAsync(
                                context,
                                new Refusal(
                                    RefusalCode.DiskFull,
                                    "The disk of this server is full. Nothing can be changed until its operator frees space; keys can "
                                        + "still be deleted.",
                                    "disk full"
                                )
                                {
                                    RetryAfterSeconds = RetryAfterSeconds,
                                }
                            );
                            break;
                        case UnfitException: // logged once, where it was found
                            await RefusalWriter.WriteAsync(
                                context,
                                new Refusal(
                                    RefusalCode.TemporarilyUnavailable,
                                    "The service is not available now. Its operator finds the reason in the log.",
                                    "process not fit"
                                )
                                {
                                    RetryAfterSeconds = RetryAfterSeconds,
                                }
                            );
                            break;
                        case not null when Database.IsUnstorableText(exception):
                            await RefusalWriter.WriteAsync(
                                context,
                                new Refusal(
                                    RefusalCode.InvalidRequest,
                                    "A text contains a character that cannot be stored. Remove it.",
                                    "text that the database refuses"
                                )
                            );
                            break;
                        case not null when Database.IsUnavailable(exception):
                            context.RequestServices.GetRequiredService<OutageLog>().Tell(exception, isWhole: true);
                            LogOutOfReach(log, context.TraceIdentifier);
                            await RefusalWriter.WriteAsync(
                                context,
                                new Refusal(
                                    RefusalCode.TemporarilyUnavailable,
                                    "The service cannot reach its database. Try again as Retry-After says.",
                                    "database out of reach"
                                )
                                {
                                    RetryAfterSeconds = RetryAfterSeconds,
                                }
                            );
                            break;
                        default:
                            LogFault(log, exception!, context.TraceIdentifier);
                            await RefusalWriter.WriteAsync(
                                context,
                                new Refusal(
                                    RefusalCode.ServerError,
                                    $"Something went wrong on our side. Tell the operator the request id {context.TraceIdentifier}.",
                                    "fault"
                                )
                            );
                            break;
                    }
                },
            }
        );

    /// <summary>For responses that have a status but no body yet: a page's refusal, a missing page, a wrong method.</summary>
    public static void UseStatusAnswers(this WebApplication app) =>
        app.UseStatusCodePages(context =>
            RefusalWriter.WriteAsync(
                context.HttpContext,
                context.HttpContext.Features.Get<Refusal>()
                    ?? context.HttpContext.Response.StatusCode switch
                    {
                        StatusCodes.Status404NotFound => new Refusal(RefusalCode.NotFound, "There is nothing at this URL.", "no route"),
                        StatusCodes.Status405MethodNotAllowed => new Refusal(
                            RefusalCode.InvalidRequest,
                            "This URL does not allow that method. The Allow header lists the allowed ones.",
                            "wrong method"
                        ),
                        StatusCodes.Status415UnsupportedMediaType => context
                            .HttpContext.GetEndpoint()
                            ?.Metadata.GetMetadata<PageActionDescriptor>()
                            is null
                            ? RequestBodies.NotJson
                            : RequestBodies.NotForm,
                        _ when context.HttpContext.Request.Path.StartsWithSegments("/identity", StringComparison.OrdinalIgnoreCase) =>
                            new Refusal(
                                RefusalCode.InvalidRequest,
                                "A parameter in the URL does not have the expected type. See /docs/api.",
                                "parameter out of form"
                            ),
                        _ => new Refusal(
                            RefusalCode.InvalidRequest,
                            "The request is not valid. The form may have been open for too long. Load the page again.",
                            "other status"
                        ),
                    },
                context.HttpContext.Response.StatusCode
            )
        );

    /// <summary>For pages and everything else that a browser shows; the endpoints for programs short-circuit before.</summary>
    public static void UsePageHeaders(this WebApplication app, PakhouseOptions options)
    {
        app.Use(
            (context, next) =>
            {
                SecurityHeaders.Set(context.Response);
                if (options.IsHttps)
                    context.Response.Headers.StrictTransportSecurity = "max-age=31536000";
                return next(context);
            }
        );
    }

    /// <summary>
    /// Logs one line for each request at Debug; at Information it would cost a seventh of the throughput. The line contains the route and
    /// never the URL, because a path or a query can contain a secret.
    /// </summary>
    public static void UseRequestLog(this WebApplication app)
    {
        var log = app.Services.GetRequiredService<ILoggerFactory>().CreateLogger("Pakhouse.Server.Requests");
        app.Use(next => context => log.IsEnabled(LogLevel.Debug) ? LoggedAsync(log, context, next) : next(context));
    }

    private static async Task LoggedAsync(ILogger log, HttpContext context, RequestDelegate next)
    {
        var start = Stopwatch.GetTimestamp();
        try
        {
            await next(context);
        }
        finally
        {
            var route = (context.GetEndpoint() as RouteEndpoint)?.RoutePattern.RawText ?? "(no route)";
            var milliseconds = Stopwatch.GetElapsedTime(start).TotalMilliseconds;
            LogRequest(log, context.TraceIdentifier, context.Request.Method, route, context.Response.StatusCode, milliseconds);
        }
    }

    private static string CollapseSlashes(string path)
    {
        Span<char> collapsed = path.Length <= 2048 ? stackalloc char[path.Length] : new char[path.Length];
        var length = 0;
        foreach (var c in path)
            if (c != '/' || length == 0 || collapsed[length - 1] != '/')
                collapsed[length++] = c;
        return new string(collapsed[..length]);
    }

    [LoggerMessage(Level = LogLevel.Debug, Message = "{RequestId}: {Method} {Route} {Status} in {Milliseconds:0.0} ms")]
    private static partial void LogRequest(ILogger log, string requestId, string method, string route, int status, double milliseconds);

    [LoggerMessage(Level = LogLevel.Debug, Message = "{RequestId}: the database is unavailable; responded 503")]
    private static partial void LogOutOfReach(ILogger log, string requestId);

    [LoggerMessage(Level = LogLevel.Error, Message = "{RequestId}: a fault; answered 500")]
    private static partial void LogFault(ILogger log, Exception exception, string requestId);
}
