using System.Diagnostics;
using System.Net;
using System.Security.Cryptography;
using System.Text;

namespace Pakhouse.Server;

/// <summary>
/// Limits calls of <c>POST /leaks/revoke</c>, whatever their content: if only calls without a real key counted, the limit would reveal
/// which keys are real.
/// </summary>
internal sealed class LeakLimit(PakhouseOptions options, TimeProvider clock) : FailureLimit(options.FailuresPerMinuteMax, clock);

/// <summary>
/// Accepts reports of leaked keys from anybody, from GitHub's secret scanning and from GitLab's. The contract is docs/protocol.md, "Leaks".
/// <para>Invariant: a caller without authentication gets the same response after the same time, whether the keys were real or not.</para>
/// </summary>
internal sealed partial class LeakEndpoints(
    Leaks leaks,
    LeakLimit limit,
    GitHubKeys gitHubKeys,
    PakhouseOptions options,
    ILogger<LeakEndpoints> log
)
{
    public const int KeysPerCallMax = 1000;

    /// <summary>A thousand keys of the greatest length, with their JSON.</summary>
    private const int BodyLengthMax = 128 * 1024;

    private const int PartnerBodyLengthMax = 1024 * 1024;

    /// <summary>No response is sent earlier; finding a real key takes less time.</summary>
    private static readonly TimeSpan answerAfter = TimeSpan.FromMilliseconds(200);

    public static void Map(IEndpointRouteBuilder routes)
    {
        var endpoints = routes.ServiceProvider.GetRequiredService<LeakEndpoints>();
        // ShortCircuit: sessions, pages and cookies are not needed here.
        routes.MapPost("/leaks/revoke", endpoints.RevokeAsync).ShortCircuit();
        routes.MapPost("/leaks/github", endpoints.GitHubAsync).ShortCircuit();
        routes.MapGet("/leaks/gitlab/v1/revocable_token_types", endpoints.GitLabTypesAsync).ShortCircuit();
        routes.MapPost("/leaks/gitlab/v1/revoke_tokens", endpoints.GitLabAsync).ShortCircuit();
    }

    private async Task RevokeAsync(HttpContext context)
    {
        var began = Stopwatch.GetTimestamp();
        var from = context.Connection.RemoteIpAddress;
        if (limit.Check(from) is { } slowDown)
        {
            await RefusalWriter.WriteAsync(
                context,
                slowDown with
                {
                    Description =
                        $"Too many reports from this address. Wait as long as Retry-After says; a report takes up to {KeysPerCallMax} "
                            + $"keys.",
                }
            );
            return;
        }

        limit.Count(from);
        var read = await SecretBody.ReadAsync(context.Request, BodyLengthMax);
        if (read.Refusal is { } unreadable)
        {
            await RefusalWriter.WriteAsync(context, unreadable);
            return;
        }

        List<LeakMatch>? matches;
        using (var body = read.Value)
            matches = LeakReport.ReadKeys(body.Bytes, KeysPerCallMax);
        if (matches is null)
        {
            await RefusalWriter.WriteAsync(
                context,
                Refusal.At(
                    "keys",
                    RefusalCode.InvalidRequest,
                    $"send JSON such as {{\"keys\":[\"…\"]}}, with at most {KeysPerCallMax} keys.",
                    "no list of keys"
                )
            );
            return;
        }

        await leaks.RevokeAsync([.. matches.Select(match => match.Key).OfType<ReportedKey>()], "anonymous report", from);

        // By the wall clock, because that is what a caller can measure.
        if (answerAfter - Stopwatch.GetElapsedTime(began) is { Ticks: > 0 } rest)
            await Task.Delay(rest, TimeProvider.System);
        context.Response.StatusCode = StatusCodes.Status202Accepted;
        context.Response.Headers.CacheControl = "no-store";
        await context.Response.WriteAsJsonAsync(
            new { message = "Thank you. Keys that are real can no longer get tokens, and their owners are notified." }
        );
    }

    /// <summary>GitHub's partner message. The response labels each match, for GitHub's own statistics.</summary>
    private async Task GitHubAsync(HttpContext context)
    {
        if (!gitHubKeys.IsOn)
        {
            await RefusalWriter.WriteAsync(context, notHere);
            return;
        }

        if (await ReadAsync(context) is not { } body)
            return;
        using var secret = body;
        bool isSigned;
        try
        {
            isSigned = await gitHubKeys.VerifyAsync(
                body,
                context.Request.Headers["Github-Public-Key-Identifier"].ToString(),
                context.Request.Headers["Github-Public-Key-Signature"].ToString()
            );
        }
        catch (IOException e)
        {
            LogNoKeys(e);
            await RefusalWriter.WriteAsync(
                context,
                new Refusal(
                    RefusalCode.TemporarilyUnavailable,
                    "GitHub's public keys are not available now. Try again as Retry-After says.",
                    "no GitHub keys"
                )
                {
                    RetryAfterSeconds = 60,
                }
            );
            return;
        }

        if (!isSigned)
        {
            limit.Count(context.Connection.RemoteIpAddress);
            await RefusalWriter.WriteAsync(
                context,
                Refusal.At(
                    "Github-Public-Key-Signature",
                    RefusalCode.InvalidClient,
                    "it does not fit this body and a key of GitHub's secret scanning.",
                    "GitHub signature"
                )
            );
            return;
        }

        if (LeakReport.ReadMatches(body.Bytes) is not { } matches)
        {
            await RefusalWriter.WriteAsync(context, noMatches);
            return;
        }

        var isReal = await RevokeAsync(matches, "GitHub secret scanning", context.Connection.RemoteIpAddress);
        await context.Response.WriteAsJsonAsync(
            matches.Select(
                (match, i) =>
                    new
                    {
                        token_hash = Convert.ToHexStringLower(match.TextHash),
                        token_type = match.Type,
                        label = isReal[i] ? "true_positive" : "false_positive",
                    }
            )
        );
    }

    private async Task GitLabTypesAsync(HttpContext context)
    {
        if (!await DemandGitLabAsync(context)) return;
        await context.Response.WriteAsJsonAsync(new { types = ScanRules.Brands(options).Select(ScanRules.GitLabType) });
    }

    private async Task GitLabAsync(HttpContext context)
    {
        if (!await DemandGitLabAsync(context)) return;
        if (await ReadAsync(context) is not { } body) return;
        List<LeakMatch>? matches;
        using (body) matches = LeakReport.ReadMatches(body.Bytes);
        if (matches is null)
        {
            await RefusalWriter.WriteAsync(context, noMatches);
            return;
        }

        // The type does not matter: a complete key is the proof, and a text without one is skipped.
        await RevokeAsync(matches, "GitLab secret detection", context.Connection.RemoteIpAddress);
        context.Response.StatusCode = StatusCodes.Status204NoContent;
    }

    private async Task<bool[]> RevokeAsync(List<LeakMatch> matches, string reporter, IPAddress? from)
    {
        var ended = await leaks.RevokeAsync([.. matches.Select(match => match.Key).OfType<ReportedKey>()], reporter, from);
        var next = 0;
        return [.. matches.Select(match => match.Key is not null && ended[next++])];
    }

    private async Task<bool> DemandGitLabAsync(HttpContext context)
    {
        if (options.LeakGitLabToken is not { } expected)
        {
            await RefusalWriter.WriteAsync(context, notHere);
            return false;
        }

        var from = context.Connection.RemoteIpAddress;
        var given = context.Request.Headers.Authorization.ToString(); // GitLab sends the token alone
        if (given.StartsWith("Bearer ", StringComparison.OrdinalIgnoreCase))
            given = given[7..];
        // Compares hashes, so that the time does not reveal the length of the secret.
        if (
            CryptographicOperations.FixedTimeEquals(
                SHA256.HashData(Encoding.UTF8.GetBytes(given)),
                SHA256.HashData(Encoding.UTF8.GetBytes(expected))
            )
        )
            return true;
        if (limit.Check(from) is { } slowDown)
        {
            await RefusalWriter.WriteAsync(context, slowDown);
            return false;
        }

        limit.Count(from);
        await RefusalWriter.WriteAsync(
            context,
            Refusal.At("Authorization", RefusalCode.InvalidClient, "send the configured token.", "GitLab token")
        );
        return false;
    }

    /// <summary>The body of a partner's report; null: it was refused.</summary>
    private async Task<SecretBody?> ReadAsync(HttpContext context)
    {
        if (limit.Check(context.Connection.RemoteIpAddress) is { } slowDown)
        {
            await RefusalWriter.WriteAsync(context, slowDown);
            return null;
        }

        var read = await SecretBody.ReadAsync(context.Request, PartnerBodyLengthMax);
        if (!read.IsRefused) return read.Value;
        await RefusalWriter.WriteAsync(context, read.Refusal!);
        return null;
    }

    private static readonly Refusal notHere = new(RefusalCode.NotFound, "There is nothing at this URL.", "not set up");
    private static readonly Refusal noMatches = new(
        RefusalCode.InvalidRequest,
        "The body must be a JSON array of objects with token and type.",
        "no list of matches"
    );

    [LoggerMessage(Level = LogLevel.Warning, Message = "GitHub's public keys could not be read; its report is answered 503")]
    private partial void LogNoKeys(Exception exception);
}
