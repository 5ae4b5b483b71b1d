using System.Net;
using System.Security.Cryptography;
using Microsoft.AspNetCore.Antiforgery;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;

namespace Pakhouse.Server;

/// <summary>
/// Identifies the caller of an API route: the holder of one of our tokens, or a person with a session. It never decides what the caller may
/// do; <see cref="Guard"/> does that.
/// <para>Invariant: a token is valid here only while its key would still be exchanged for it. Signature and expiry alone are not enough,
/// because the database is available.</para>
/// </summary>
public sealed class Callers(
    KeyExchange exchange,
    SigningKeys signingKeys,
    PakhouseOptions options,
    PublicAddress publicAddress,
    IAntiforgery antiforgery,
    TimeProvider clock
)
{
    private const int TokenLengthMax = 8 * 1024;

    private readonly JsonWebTokenHandler handler = new() { MapInboundClaims = false };

    /// <summary>Returns what the bearer may do at this moment, limited to the token's organization and scopes.</summary>
    /// <param name="address">The address of the bearer; null if somebody else asks about the token.</param>
    public async ValueTask<Outcome<TokenGrant>> ReadTokenAsync(string token, IPAddress? address)
    {
        var resumed = await ResumeTokenAsync(token, address);
        return resumed.Refusal is { } refusal ? refusal : resumed.Value.Grant;
    }

    /// <summary>The same, with the claims of the token.</summary>
    public async ValueTask<Outcome<(JsonWebToken Claims, TokenGrant Grant)>> ResumeTokenAsync(string token, IPAddress? address)
    {
        if (token.Length is 0 or > TokenLengthMax)
            return NotValid("no token, or too long");
        if (KeyFormat.MightContainKey(token))
            return Refusal.At(
                "Authorization",
                RefusalCode.InvalidToken,
                "this is a key, but a token is required. Exchange the key at /auth/v3/token and send the token.",
                "a key where a token belongs"
            );

        if (!CompactToken.IsWellFormed(token, clock.GetUtcNow()))
            return NotValid("no signed token by its form");
        var keys = signingKeys.Published;
        var validated = await handler.ValidateTokenAsync(
            token,
            new TokenValidationParameters
            {
                ValidIssuer = publicAddress.Value,
                ValidAudience = options.Audience ?? publicAddress.Value,
                IgnoreTrailingSlashWhenValidatingAudience = false,
                ValidTypes = ["at+jwt"],
                ValidAlgorithms = keys.Select(key => key.Public.Algorithm).Distinct(),
                IssuerSigningKeys = keys.Select(key => key.Credentials.Key),
                RequireSignedTokens = true,
                // our clock without skew, because our clock wrote the time
                LifetimeValidator = (_, expires, _, _) => expires > clock.GetUtcNow().UtcDateTime,
            }
        );
        if (!validated.IsValid)
            return NotValid(validated.Exception?.GetType().Name ?? "invalid");

        var claims = (JsonWebToken)validated.SecurityToken;
        var resumed = await exchange.ResumeAsync(Text("key_id"), Text("org_id"), NameSet.Parse(Text("scope")), address);
        return resumed.Refusal is { } refusal ? NotValid(refusal.Reason) : (claims, resumed.Value);

        string Text(string claim) => claims.TryGetPayloadValue<string>(claim, out var value) ? value : "";
    }

    /// <summary>Returns the caller of a request, or a refusal if the caller is not authenticated.</summary>
    public async ValueTask<Outcome<Actor>> IdentifyAsync(HttpContext context)
    {
        var address = context.Connection.RemoteIpAddress;
        if (context.Request.Headers.Authorization.ToString() is { Length: > 0 } authorization)
        {
            // The public sample of existing clients sends the token without the word Bearer.
            var token = authorization.StartsWith("Bearer ", StringComparison.OrdinalIgnoreCase)
                ? authorization[7..].Trim()
                : authorization.Trim();
            var read = await ReadTokenAsync(token, address ?? IPAddress.None);
            if (read.Refusal is { } refusal)
                return refusal;
            var grant = read.Value;
            context.Features.Set(grant);
            return grant.IsApiKey
                ? Actor.ApiKey(Guid.Parse(grant.UserId), grant.KeyId, grant.Scopes, Guid.Parse(grant.OrganizationId), address)
                : Actor.Key(Guid.Parse(grant.UserId), grant.KeyId, grant.Scopes, Guid.Parse(grant.OrganizationId), address);
        }

        if (context.User.Identity?.IsAuthenticated != true)
            return Refusal.At(
                "Authorization",
                RefusalCode.InvalidToken,
                "send a token as \"Bearer TOKEN\", got in exchange for a key at /auth/v3/token.",
                "nobody"
            );

        // The browser sends the cookie by itself, even if another site caused the request (CSRF).
        if (
            !HttpMethods.IsGet(context.Request.Method)
            && !HttpMethods.IsHead(context.Request.Method)
            && !await antiforgery.IsRequestValidAsync(context)
        )
            return Refusal.At(
                "RequestVerificationToken",
                RefusalCode.InvalidRequest,
                "with a session, a change needs this header; GET /identity/v1/session gives its value.",
                "no antiforgery token"
            );
        return SessionCookie.Actor(context);
    }

    private static Refusal NotValid(string reason) =>
        Refusal.At(
            "Authorization",
            RefusalCode.InvalidToken,
            "the token is not valid: it has expired, its key was ended, or another server issued it. Exchange the key "
                + "again.",
            reason
        );
}

public static class CallerMiddleware
{
    /// <summary>
    /// Runs after routing and the session: routes with <see cref="CallerRequired"/> receive the caller as the feature <see cref="Actor"/>.
    /// </summary>
    public static void UseCallers(this WebApplication app)
    {
        var callers = app.Services.GetRequiredService<Callers>();
        app.Use(async (context, next) =>
        {
            if (context.GetEndpoint()?.Metadata.GetMetadata<CallerRequired>() is not null)
            {
                var caller = await callers.IdentifyAsync(context);
                if (caller.Refusal is { } refusal)
                {
                    await RefusalWriter.WriteAsync(context, refusal);
                    return;
                }

                context.Features.Set(caller.Value);
            }

            await next(context);
        });
    }
}
