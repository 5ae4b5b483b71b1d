using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authentication.JwtBearer;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;

namespace Pakhouse.AspNetCore;

/// <summary>Accepts tokens of a Pakhouse server.</summary>
public static class PakhouseExtensions
{
    /// <summary>The name of the authentication scheme, <c>Pakhouse</c>. It becomes the default scheme.</summary>
    public const string Scheme = "Pakhouse";

    private static readonly string[] algorithms = ["ES256", "RS256"];

    /// <summary>
    /// Adds authentication by access tokens (RFC 9068, <c>Authorization: Bearer</c>, RFC 6750): signature, <c>typ</c>, <c>iss</c>,
    /// <c>aud</c>, <c>exp</c> and the status of the key (Token Status List). 401 for an invalid token; 503 with <c>Retry-After</c> while
    /// the status is unknown.
    /// </summary>
    /// <param name="services">The API's services.</param>
    /// <param name="configure">Sets at least <see cref="PakhouseBearerOptions.Issuer"/>.</param>
    /// <returns>For further schemes.</returns>
    /// <exception cref="OptionsValidationException">Thrown when the application starts: an option is out of its bounds.</exception>
    public static AuthenticationBuilder AddPakhouse(this IServiceCollection services, Action<PakhouseBearerOptions> configure)
    {
        services.AddOptions<PakhouseBearerOptions>().Configure(configure).ValidateOnStart();
        services.AddSingleton<IValidateOptions<PakhouseBearerOptions>, OptionsFaults>();
        services.AddSingleton<StatusLists>().AddHostedService(provider => provider.GetRequiredService<StatusLists>());
        services
            .AddOptions<JwtBearerOptions>(Scheme)
            .Configure<IOptions<PakhouseBearerOptions>>((jwt, options) => Configure(jwt, options.Value));
        services.AddAuthorization();
        return services.AddAuthentication(Scheme).AddJwtBearer(Scheme, _ => { });
    }

    /// <summary>
    /// Allows only callers with at least one of these roles in the token's organization (claim <c>roles</c>); 403 for others, 401 without a
    /// valid token.
    /// </summary>
    /// <param name="builder">The endpoint or group.</param>
    /// <param name="roles">Keys of the role catalogue.</param>
    /// <typeparam name="TBuilder">The kind of endpoint.</typeparam>
    /// <returns>The same builder.</returns>
    public static TBuilder RequireRole<TBuilder>(this TBuilder builder, params string[] roles)
        where TBuilder : IEndpointConventionBuilder =>
        builder.RequireAuthorization(new AuthorizationPolicyBuilder(Scheme).RequireAuthenticatedUser().RequireRole(roles).Build());

    /// <summary>
    /// Allows only tokens that were granted all of these scopes (claim <c>scope</c>, RFC 9068 §2.2.3); 403 for others, 401 without a valid
    /// token.
    /// </summary>
    /// <param name="builder">The endpoint or group.</param>
    /// <param name="scopes">Names as in the server's setting <c>Scopes</c>.</param>
    /// <typeparam name="TBuilder">The kind of endpoint.</typeparam>
    /// <returns>The same builder.</returns>
    public static TBuilder RequireScope<TBuilder>(this TBuilder builder, params string[] scopes)
        where TBuilder : IEndpointConventionBuilder =>
        builder.RequireAuthorization(
            new AuthorizationPolicyBuilder(Scheme)
                .RequireAuthenticatedUser()
                .RequireAssertion(context => Array.TrueForAll(scopes, context.User.HasScope))
                .Build()
        );

    private static void Configure(JwtBearerOptions jwt, PakhouseBearerOptions options)
    {
        var clock = options.TimeProvider;
        (jwt.Authority, jwt.RequireHttpsMetadata, jwt.MapInboundClaims) = (options.Issuer, !new Uri(options.Issuer).IsLoopback, false);
        jwt.ConfigurationManager = IssuerDocuments.Manage(options, jwt.BackchannelTimeout);
        jwt.TimeProvider = clock;
        var wanted = jwt.TokenValidationParameters;
        (wanted.ValidIssuer, wanted.ValidAudience) = (options.Issuer, options.Audience.Length > 0 ? options.Audience : options.Issuer);
        (wanted.ValidTypes, wanted.ValidAlgorithms) = (["at+jwt"], algorithms); // RFC 9068 §4; no "none", no HMAC with a public key
        wanted.IgnoreTrailingSlashWhenValidatingAudience = false;
        (wanted.NameClaimType, wanted.RoleClaimType) = ("name", "roles");
        wanted.LifetimeValidator = (_, expires, _, _) => expires is { } end && end > (clock.GetUtcNow() - options.ClockSkew).UtcDateTime;
        jwt.Events = new JwtBearerEvents
        {
            OnTokenValidated = CheckStatusAsync,
            OnAuthenticationFailed = DoubtAsync,
            OnChallenge = ChallengeAsync,
        };
    }

    private static async Task CheckStatusAsync(TokenValidatedContext context)
    {
        var token = (JsonWebToken)context.SecurityToken;
        var clock = context.HttpContext.RequestServices.GetRequiredService<IOptions<PakhouseBearerOptions>>().Value.TimeProvider;
        if (!CompactToken.IsWellFormed(token.EncodedToken, clock.GetUtcNow()))
        {
            context.Fail("The token does not have the form of a Pakhouse access token.");
            return;
        }

        switch (await context.HttpContext.RequestServices.GetRequiredService<StatusLists>().FindAsync(token))
        {
            case TokenStatus.Valid:
                return;
            case TokenStatus.Invalid:
                context.Fail("The token's key has ended or is suspended.");
                return;
            case TokenStatus.Unknown:
                context.Fail(new StatusUnknownException());
                return;
        }
    }

    /// <summary>
    /// If the issuer's keys are not available, every token seems to be signed by an unknown key. Whether this one is valid is unknown.
    /// </summary>
    private static async Task DoubtAsync(AuthenticationFailedContext context)
    {
        if (context.Exception is not SecurityTokenSignatureKeyNotFoundException) return;
        try
        {
            await context.Options.ConfigurationManager!.GetConfigurationAsync(context.HttpContext.RequestAborted);
        }
        catch (InvalidOperationException)
        {
            context.Fail(new StatusUnknownException());
        }
    }

    /// <summary>Not 401: the token may be valid, and the caller would discard it.</summary>
    // RFC 9457, written as bytes: an API that is trimmed or compiled ahead of time has no serializer for ProblemDetails.
    private static ReadOnlySpan<byte> StatusUnknown =>
        """
        {"type":"https://tools.ietf.org/html/rfc9110#section-15.6.4","title":"Service Unavailable","status":503,
        "detail":"The status of this token is unknown at the moment. Try again as Retry-After says."}
        """u8;

    private static Task ChallengeAsync(JwtBearerChallengeContext context)
    {
        if (context.AuthenticateFailure is not StatusUnknownException)
            return Task.CompletedTask;
        context.HandleResponse();
        context.Response.Headers.RetryAfter = "1";
        context.Response.StatusCode = StatusCodes.Status503ServiceUnavailable;
        context.Response.ContentType = "application/problem+json";
        context.Response.ContentLength = StatusUnknown.Length;
        return context.Response.Body.WriteAsync(StatusUnknown.ToArray(), context.HttpContext.RequestAborted).AsTask();
    }

    private sealed class OptionsFaults : IValidateOptions<PakhouseBearerOptions>
    {
        public ValidateOptionsResult Validate(string? name, PakhouseBearerOptions options) =>
            options.Fault() is { } fault ? ValidateOptionsResult.Fail($"AddPakhouse: {fault}") : ValidateOptionsResult.Success;
    }
}

#pragma warning disable CA1032, CA1064, RCS1194 // never thrown to callers: it marks a failure
internal sealed class StatusUnknownException() : Exception("The status of the token's key is unknown.");
#pragma warning restore CA1032, CA1064, RCS1194
