using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Dapper;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Protocols.OpenIdConnect;
using Microsoft.IdentityModel.Tokens;

namespace Pakhouse.Server;

/// <summary>
/// The provider reports that a person signed out there, or must be signed out (OpenID Connect Back-Channel Logout 1.0). The person's
/// sessions that began at the provider end in every process before the response is sent. Only the token authenticates the request.
/// <para>Invariant: a logout token counts once. A session at the provider that it named can begin no more sessions here.</para>
/// </summary>
public sealed class ProviderLogout(
    Database database,
    ProviderMetadata metadata,
    ProviderLogoutLimit limit,
    PakhouseOptions options,
    TimeProvider clock
)
{
    public const string Path = "/sign-in/provider/backchannel-logout";

    private static readonly string[] fieldNames = ["logout_token"];
    private const int TokenLengthMax = 8 * 1024;
    private const string Event = "http://schemas.openid.net/event/backchannel-logout";

    /// <summary>A token with a longer lifetime would have to be remembered for longer. The specification recommends two minutes.</summary>
    internal static readonly TimeSpan LifetimeMax = TimeSpan.FromHours(24);

    /// <summary>
    /// Not a token of another kind (RFC 8725 §3.11). Providers that are older than <c>logout+jwt</c> send JWT or nothing.
    /// </summary>
    private static readonly string[] types = ["logout+jwt", "application/logout+jwt", "JWT", ""];

    private static readonly TokenValidationParameters parameters = new()
    {
        ValidAlgorithms = ProviderSignIn.Algorithms,
        ValidateLifetime = false,
    };

    private readonly JsonWebTokenHandler handler = new() { MapInboundClaims = false };

    /// <summary>The claims of a valid logout token.</summary>
    private sealed record Said(string Issuer, string TokenId, string? Subject, string? SessionId, DateTimeOffset Expires);

    public static void Map(IEndpointRouteBuilder routes)
    {
        var endpoint = routes.ServiceProvider.GetRequiredService<ProviderLogout>();
        routes.MapPost(Path, endpoint.HandleAsync).ExcludeFromDescription().ShortCircuit();
    }

    /// <summary>What is stored of a session at the provider: it can have any length, and belongs to one issuer.</summary>
    public static byte[]? SessionHash(string issuer, string? sessionId) =>
        string.IsNullOrEmpty(sessionId) ? null : Hash(issuer, "sid", sessionId);

    private async Task HandleAsync(HttpContext context)
    {
        OAuthErrors.ForbidStoring(context.Response); // §2.8
        if (await ReceiveAsync(context) is { } refusal)
            await OAuthErrors.WriteAsync(context.Response, refusal);
    }

    private async Task<Refusal?> ReceiveAsync(HttpContext context)
    {
        var address = context.Connection.RemoteIpAddress;
        if (limit.Check(address) is { } slowDown)
            return slowDown; // before the signature is verified
        var read = await SecretForm.ReadAsync(context.Request, fieldNames, TokenLengthMax);
        if (read.Refusal is { } unreadable)
            return unreadable;
        string token;
        using (var form = read.Value)
        {
            if (!form.TryGet(["logout_token"], out var bytes, out _))
                return missing;
            token = Encoding.ASCII.GetString(bytes.Span);
        }

        Outcome<Said> said;
        try
        {
            said = await ValidateAsync(token, await metadata.GetConfigurationAsync(context.RequestAborted));
        }
        catch (InvalidOperationException)
        {
            return away;
        }

        var refusal = said.Refusal ?? await EndAsync(said.Value, Actor.Operator with { Address = address });
        if (refusal is not null)
            limit.Count(address);
        return refusal;
    }

    /// <summary>§2.6, in its order.</summary>
    private async Task<Outcome<Said>> ValidateAsync(string token, OpenIdConnectConfiguration provider)
    {
        if (!handler.CanReadToken(token) || token.Count(c => c == '.') != 2)
            return bad with { Reason = "no signed token" };
        var checks = parameters.Clone();
        (checks.ValidIssuer, checks.ValidAudience, checks.ConfigurationManager) = (provider.Issuer, options.OidcClientId, metadata);
        var result = await handler.ValidateTokenAsync(token, checks);
        if (!result.IsValid)
            return bad with { Reason = result.Exception.GetType().Name };

        var read = (JsonWebToken)result.SecurityToken;
        if (!types.Contains(read.Typ ?? "", StringComparer.OrdinalIgnoreCase))
            return bad with { Reason = "a token of another kind" };
        using var payload = JsonDocument.Parse(Base64UrlEncoder.DecodeBytes(read.EncodedPayload));
        var claims = payload.RootElement;
        if (Time(claims, "exp") is not { } expires || Time(claims, "iat") is not { } issued)
            return bad with { Reason = "no exp or iat" };
        var now = clock.GetUtcNow();
        var isInTime =
            expires > now - ProviderSignIn.Skew
            && expires <= now + LifetimeMax
            && issued <= now + ProviderSignIn.Skew
            && !(Time(claims, "nbf") > now + ProviderSignIn.Skew);
        if (!isInTime)
            return bad with { Reason = "not of this time" };
        var (subject, sessionId, tokenId) = (Text(claims, "sub"), Text(claims, "sid"), Text(claims, "jti"));
        if (subject is null && sessionId is null)
            return bad with { Reason = "neither sub nor sid" };
        var isLogout =
            claims.TryGetProperty("events", out var events)
            && events.ValueKind == JsonValueKind.Object
            && events.TryGetProperty(Event, out var value)
            && value.ValueKind == JsonValueKind.Object;
        if (!isLogout)
            return bad with { Reason = "no logout event" };
        if (claims.TryGetProperty("nonce", out _))
            return bad with { Reason = "an id token" };
        if (tokenId is null)
            return bad with { Reason = "no jti" };
        return new Said(read.Issuer, tokenId, subject, sessionId, expires);
    }

    private Task<Refusal?> EndAsync(Said said, Actor actor) =>
        database.WriteAsync<Refusal?>(async transaction =>
        {
            if (Guard.Demand(actor, Permission.EndSessionsOfProvider) is { } refused)
                return refused;
            TransactionNotes.Of(transaction).IsUrgent = true;
            var (connection, now) = (transaction.Connection!, clock.GetUtcNow());
            await connection.ExecuteAsync("DELETE FROM provider_logouts WHERE kept_until <= @now", new { now }, transaction);
            var session = SessionHash(said.Issuer, said.SessionId);
            // As long as the token could be sent again, and as long as a sign-in can take from the provider to here.
            var keptUntil = (said.Expires > now ? said.Expires : now) + LifetimeMax;
            var added = await connection.ExecuteAsync(
                "INSERT INTO provider_logouts (hash, provider_session, kept_until) VALUES (@hash, @session, @keptUntil) ON CONFLICT DO "
                    + "NOTHING",
                new
                {
                    hash = Hash(said.Issuer, "jti", said.TokenId),
                    session,
                    keptUntil,
                },
                transaction
            );
            if (added == 0)
                return bad with { Reason = "this token was taken before" };

            var ended = new List<Ended>();
            if (session is not null)
                ended.AddRange(
                    await connection.QueryAsync<Ended>(
                        "UPDATE sessions SET ended_at = @now WHERE provider_session = @session AND ended_at IS NULL RETURNING id, user_id",
                        new { session, now },
                        transaction
                    )
                );
            if (said.Subject is not null)
            {
                // If the sid of a session is unknown, it may be the named session.
                ended.AddRange(
                    await connection.QueryAsync<Ended>(
                        """
                        UPDATE sessions SET ended_at = @now
                        WHERE user_id = (SELECT user_id FROM provider_subjects WHERE issuer = @Issuer AND subject = @Subject)
                        AND method = @method AND ended_at IS NULL AND (@isWhole = 1 OR provider_session IS NULL)
                        RETURNING id, user_id
                        """,
                        new
                        {
                            said.Issuer,
                            said.Subject,
                            method = SignInMethod.Provider,
                            isWhole = session is null ? 1 : 0,
                            now,
                        },
                        transaction
                    )
                );
            }

            foreach (var one in ended)
                await ActivityLog.WriteAsync(
                    transaction,
                    clock,
                    actor,
                    AuditAction.SessionEnd,
                    null,
                    one.Id.ToString(),
                    one.UserId,
                    SignInMethod.Provider
                );
            return null; // also if there was none: the provider reports every logout
        });

    private sealed record Ended
    {
        public Guid Id { get; init; }
        public Guid UserId { get; init; }
    }

    private static string? Text(JsonElement claims, string name) =>
        claims.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String && value.GetString() is { Length: > 0 } text
            ? text
            : null;

    private static DateTimeOffset? Time(JsonElement claims, string name) =>
        claims.TryGetProperty(name, out var value)
        && value.ValueKind == JsonValueKind.Number
        && value.TryGetDouble(out var seconds)
        && seconds is >= 0 and < 253402300800
            ? DateTimeOffset.UnixEpoch.AddSeconds(seconds)
            : null;

    private static byte[] Hash(string issuer, string kind, string value) =>
        SHA256.HashData(Encoding.UTF8.GetBytes($"{issuer}\n{kind}\n{value}"));

    private static readonly Refusal missing = Refusal.At(
        "logout_token",
        RefusalCode.InvalidRequest,
        "the field is missing or empty; send the logout token in it.",
        "no logout token"
    );
    private static readonly Refusal bad = Refusal.At(
        "logout_token",
        RefusalCode.InvalidRequest,
        "it is not from this server's provider for this client, or it has expired or was already sent. "
            + "Nothing was ended.",
        "bad logout token"
    );
    private static readonly Refusal away = new(
        RefusalCode.TemporarilyUnavailable,
        "The keys of the provider cannot be read now. Send the logout token again later.",
        "provider out of reach"
    )
    {
        RetryAfterSeconds = 10,
    };
}

/// <summary>Logout tokens that were not valid and ended nothing.</summary>
public sealed class ProviderLogoutLimit(PakhouseOptions options, TimeProvider clock) : FailureLimit(options.FailuresPerMinuteMax, clock);
