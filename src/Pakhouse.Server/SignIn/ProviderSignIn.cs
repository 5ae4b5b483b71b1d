using System.Security.Claims;
using System.Text.Json;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authentication.OpenIdConnect;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Protocols.OpenIdConnect;
using Microsoft.IdentityModel.Tokens;

namespace Pakhouse.Server;

/// <summary>
/// Sign-in through the platform's own OpenID Connect provider: the code flow with PKCE, state and nonce, by ASP.NET Core's handler. The
/// result is a session of ours; nothing of the provider's is kept.
/// </summary>
public static class ProviderSignIn
{
    public const string Scheme = "provider";
    public const string Path = "/sign-in/provider";
    public const string CallbackPath = "/sign-in/provider/callback";

    private const string Confirm = "confirm"; // the session whose person must authenticate again

    private const string Connect = "connect"; // the code of the link that asks for a connection

    /// <summary>
    /// The claims of the provider's token and userinfo; the handler's principal drops some of them.
    /// </summary>
    private sealed record ProviderIdentity(
        string Issuer,
        string Subject,
        string? SessionId,
        string? AuthTime,
        string? Email,
        bool? IsVerified
    );

    /// <summary>The largest allowed difference between the clocks of the two servers.</summary>
    internal static readonly TimeSpan Skew = TimeSpan.FromMinutes(5);

    internal static readonly string[] Algorithms = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"];

    public static void Configure(
        OpenIdConnectOptions oidc,
        PakhouseOptions options,
        ProviderMetadata metadata,
        ProviderClientKey clientKey,
        TimeProvider clock
    )
    {
        var prefix = options.IsHttps ? "__Host-" : "";
        oidc.Authority = options.OidcAuthority!.AbsoluteUri;
        (oidc.ConfigurationManager, oidc.Backchannel) = (metadata, metadata.Backchannel);
        oidc.RequireHttpsMetadata = options.OidcAuthority.Scheme == Uri.UriSchemeHttps; // http is accepted on loopback only
        (oidc.ClientId, oidc.ClientSecret) = (options.OidcClientId, options.OidcClientSecret);
        (oidc.ResponseType, oidc.ResponseMode, oidc.UsePkce) = (OpenIdConnectResponseType.Code, OpenIdConnectResponseMode.Query, true);
        (oidc.CallbackPath, oidc.SignInScheme) = (CallbackPath, SessionCookie.Scheme);
        (oidc.MapInboundClaims, oidc.SaveTokens, oidc.GetClaimsFromUserInfoEndpoint, oidc.DisableTelemetry) = (false, false, true, true);
        oidc.Scope.Clear();
        foreach (var scope in (string[])["openid", "profile", "email"])
            oidc.Scope.Add(scope);
        oidc.TimeProvider = clock;
        oidc.RemoteAuthenticationTimeout = TimeSpan.FromMinutes(15);
        // The provider responds by a redirect, which Lax allows.
        foreach (var cookie in (CookieBuilder[])[oidc.CorrelationCookie, oidc.NonceCookie])
            (cookie.SameSite, cookie.SecurePolicy, cookie.Path) = (
                SameSiteMode.Lax,
                options.IsHttps ? CookieSecurePolicy.Always : CookieSecurePolicy.None,
                "/"
            );
        (oidc.CorrelationCookie.Name, oidc.NonceCookie.Name) = ($"{prefix}pakhouse-provider.", $"{prefix}pakhouse-provider-nonce.");
        oidc.TokenValidationParameters = new TokenValidationParameters
        {
            ValidateIssuer = true,
            ValidateAudience = true,
            ValidAudience = options.OidcClientId,
            ValidAlgorithms = Algorithms,
            NameClaimType = "name",
            LifetimeValidator = (from, to, token, _) =>
                IsInTime(from, to, (token as JsonWebToken)?.IssuedAt, clock.GetUtcNow().UtcDateTime),
        };
        oidc.Events = new OpenIdConnectEvents
        {
            OnMessageReceived = async context =>
            {
                // RFC 9207 §2.4: the answer of another server is none, and neither is one that does not say whose it is where the provider
                // always does.
                var provider = await metadata.GetConfigurationAsync(context.HttpContext.RequestAborted);
                var issuer = context.ProtocolMessage.Iss;
                if (string.IsNullOrEmpty(issuer) ? provider.AuthorizationResponseIssParameterSupported : issuer != provider.Issuer)
                    context.Fail("iss is not the provider's");
            },
            OnAuthorizationCodeReceived = async context =>
                clientKey.Prove(context.TokenEndpointRequest!, await metadata.GetConfigurationAsync(context.HttpContext.RequestAborted)),
            OnPushAuthorization = async context =>
            {
                if (clientKey.Prove(context.ProtocolMessage, await metadata.GetConfigurationAsync(context.HttpContext.RequestAborted)))
                    context.HandleClientAuthentication();
            },
            OnTokenValidated = context =>
            {
                // The handler accepts an unsigned token if it came directly from the provider (OpenID Connect Core §3.1.3.7). Here the
                // signature is required too.
                if (string.IsNullOrEmpty(context.SecurityToken.RawSignature))
                    context.Fail("no signature");
                var token = context.Principal!;
                context.HttpContext.Features.Set(
                    new ProviderIdentity(
                        token.FindFirstValue("iss") ?? "",
                        token.FindFirstValue("sub") ?? "",
                        token.FindFirstValue("sid"),
                        token.FindFirstValue("auth_time"),
                        token.FindFirstValue("email"),
                        Verified(token.FindFirstValue("email_verified"))
                    )
                );
                return Task.CompletedTask;
            },
            OnUserInformationReceived = context =>
            {
                // The address and its verification must come from one source: if two sources disagree, one of them could be the person's
                // own entry.
                var (identity, user) = (context.HttpContext.Features.Get<ProviderIdentity>()!, context.User.RootElement);
                if (identity.Email is null && user.TryGetProperty("email", out var email) && email.ValueKind == JsonValueKind.String)
                {
                    var isVerified = Verified(user.TryGetProperty("email_verified", out var verified) ? verified.ToString() : null);
                    context.HttpContext.Features.Set(identity with { Email = email.GetString(), IsVerified = isVerified });
                }

                return Task.CompletedTask;
            },
            OnTicketReceived = ReceiveAsync,
            OnAccessDenied = context =>
            {
                context.HandleResponse();
                return RefusalWriter.WriteAsync(context.HttpContext, ProviderFailures.Declined);
            },
            OnRemoteFailure = context =>
            {
                context.HandleResponse();
                return ProviderFailures.WriteAsync(context.HttpContext, context.Failure);
            },
        };
    }

    public static void Map(IEndpointRouteBuilder routes) =>
        routes
            .MapGet(
                Path,
                async (HttpContext context, string? from, bool? confirm, string? connect) =>
                {
                    var properties = new OpenIdConnectChallengeProperties { RedirectUri = Safe(from) };
                    if (confirm == true && SessionCookie.Of(context) is { } session)
                    {
                        properties.Items[Confirm] = session.Id.ToString();
                        (properties.Prompt, properties.MaxAge) = ("login", TimeSpan.Zero);
                    }

                    if (ProviderConnections.IsCode(connect))
                        properties.Items[Connect] = connect;

                    try
                    {
                        // reads the metadata, and pushes the request if the provider supports it (RFC 9126)
                        await context.ChallengeAsync(Scheme, properties);
                    }
                    catch (Exception e)
                        when (!context.Response.HasStarted && !Database.IsUnavailable(e) && !context.RequestAborted.IsCancellationRequested)
                    {
                        await ProviderFailures.WriteAsync(context, e);
                    }
                }
            )
            .ExcludeFromDescription();

    /// <summary>
    /// Whether a token is valid now. A missing <c>nbf</c> and times at the ends of the calendar must not fail here, so nothing is added to
    /// the times of the token. The protocol's validator also checks that <c>exp</c> and <c>iat</c> are present (OpenID Connect Core §2).
    /// </summary>
    internal static bool IsInTime(DateTime? notBefore, DateTime? expires, DateTime? issuedAt, DateTime now) =>
        expires > now - Skew && !(notBefore > now + Skew) && !(issuedAt > now + Skew);

    private static async Task ReceiveAsync(TicketReceivedContext context)
    {
        var http = context.HttpContext;
        context.HandleResponse(); // the provider's principal must not become a cookie
        var identity = http.Features.Get<ProviderIdentity>()!;
        if (context.Properties!.Items.TryGetValue(Connect, out var code))
        {
            // Nothing is bound yet: the person sees both accounts first, and says yes.
            var pending = new PendingConnection(
                code!,
                identity.Issuer,
                identity.Subject,
                identity.Email,
                ProviderLogout.SessionHash(identity.Issuer, identity.SessionId)
            );
            http.RequestServices.GetRequiredService<SignInStateCookies>()
                .Set(http, SignInStateCookies.Connection, ProviderConnections.Write(pending));
            http.Response.Redirect(ProviderConnections.Path);
            return;
        }

        var found = await http
            .RequestServices.GetRequiredService<ProviderSubjects>()
            .FindAsync(identity.Issuer, identity.Subject, identity.Email, identity.IsVerified, http.Connection.RemoteIpAddress);
        if (found.Refusal is { } refusal)
        {
            await RefusalWriter.WriteAsync(http, refusal);
            return;
        }

        if (context.Properties.Items.TryGetValue(Confirm, out var sessionId))
            await ConfirmAsync(http, identity, found.Value, sessionId!, context.ReturnUri);
        else
        {
            var begun = await SessionCookie.BeginAsync(
                http,
                found.Value,
                SignInMethod.Provider,
                ProviderLogout.SessionHash(identity.Issuer, identity.SessionId)
            );
            if (begun)
                http.Response.Redirect(Safe(context.ReturnUri));
            else
                await RefusalWriter.WriteAsync(http, ProviderFailures.Over);
        }
    }

    private static async Task ConfirmAsync(HttpContext http, ProviderIdentity identity, User user, string sessionId, string? from)
    {
        var now = http.RequestServices.GetRequiredService<TimeProvider>().GetUtcNow();
        // OpenID Connect Core §3.1.2.1: a provider that gets max_age must return the time of sign-in. Without it, nothing new is proved.
        // any number fits
        var age = long.TryParse(identity.AuthTime, out var at) ? now.ToUnixTimeSeconds() - (decimal)at : decimal.MaxValue;
        var isFresh = Math.Abs(age) < (decimal)Skew.TotalSeconds;
        var session = await SessionCookie.ReadAsync(http); // this request is answered before the session middleware runs
        if (!isFresh || session is null || session.Id.ToString() != sessionId || session.UserId != user.Id)
        {
            await RefusalWriter.WriteAsync(
                http,
                new Refusal(
                    RefusalCode.AccessDenied,
                    "Your identity provider did not confirm just now that it is you. Try again.",
                    "no fresh sign-in of the same person"
                )
            );
            return;
        }

        await http.RequestServices.GetRequiredService<SessionStore>().ProveAsync(session.Id);
        http.Response.Redirect(Safe(from));
    }

    /// <summary>Null: the provider does not say. Every value except <c>true</c> means no.</summary>
    private static bool? Verified(string? text) => text is null ? null : string.Equals(text, "true", StringComparison.OrdinalIgnoreCase);

    /// <summary>A path inside this server; otherwise its home page.</summary>
    public static string Safe(string? from) =>
        from is { Length: > 0 and < 2048 }
        && from[0] == '/'
        && (from.Length == 1 || from[1] is not ('/' or '\\'))
        && !from.Any(c => char.IsControl(c) || !char.IsAscii(c))
            ? from
            : "/";
}
