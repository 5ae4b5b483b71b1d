using System.Security.Cryptography;
using Microsoft.AspNetCore.DataProtection;
using Microsoft.AspNetCore.WebUtilities;

namespace Pakhouse.Server;

/// <summary>
/// Ends the session at the provider too, after the one here has ended (OpenID Connect RP-Initiated Logout 1.0). It is a link and not the
/// response of the sign-out form: browsers check redirects after a form against <c>form-action</c>, which allows only this server.
/// </summary>
/// <remarks>Decision 23 explains why neither <c>id_token_hint</c> nor <c>logout_hint</c> is sent.</remarks>
public sealed class ProviderSignOut(
    ProviderMetadata metadata,
    IDataProtectionProvider protection,
    PublicAddress publicAddress,
    PakhouseOptions options,
    TimeProvider clock
)
{
    public const string Path = "/sign-in/provider/sign-out";
    public const string ReturnPath = "/sign-in/provider/signed-out";

    private static readonly TimeSpan lifetime = TimeSpan.FromMinutes(15);

    private readonly IDataProtector protector = protection.CreateProtector("Pakhouse.ProviderSignOut.v1");

    public static void Map(IEndpointRouteBuilder routes)
    {
        routes
            .MapGet(Path, (HttpContext context) => context.RequestServices.GetRequiredService<ProviderSignOut>().LeaveAsync(context))
            .ExcludeFromDescription();
        routes
            .MapGet(
                ReturnPath,
                (HttpContext context, string? state) =>
                {
                    var isDone = context.RequestServices.GetRequiredService<ProviderSignOut>().IsState(state);
                    context.Response.Redirect(isDone ? "/sign-in?out=provider" : "/sign-in");
                }
            )
            .ExcludeFromDescription();
    }

    private async Task LeaveAsync(HttpContext context)
    {
        string? address;
        try
        {
            address = (await metadata.GetConfigurationAsync(context.RequestAborted)).EndSessionEndpoint;
        }
        catch (InvalidOperationException)
        {
            await RefusalWriter.WriteAsync(context, ProviderFailures.Away);
            return;
        }

        var isUsable =
            Uri.TryCreate(address, UriKind.Absolute, out var there)
            && (there.Scheme == Uri.UriSchemeHttps || there is { IsLoopback: true, Scheme: "http" });
        if (!isUsable)
        {
            await RefusalWriter.WriteAsync(context, none);
            return;
        }

        context.Response.Headers.CacheControl = "no-store";
        context.Response.Redirect(
            QueryHelpers.AddQueryString(
                address!,
                new Dictionary<string, string?>
                {
                    ["client_id"] = options.OidcClientId,
                    ["post_logout_redirect_uri"] = publicAddress.Value + ReturnPath,
                    ["state"] = protector.Protect($"{(clock.GetUtcNow() + lifetime).ToUnixTimeMilliseconds()}"),
                }
            )
        );
    }

    /// <summary>Whether this server sent a person to the provider with it a short time ago.</summary>
    private bool IsState(string? state)
    {
        try
        {
            return state is { Length: > 0 and < 1024 }
                && DateTimeOffset.FromUnixTimeMilliseconds(long.Parse(protector.Unprotect(state))) > clock.GetUtcNow();
        }
        catch (CryptographicException)
        {
            return false;
        }
    }

    private static readonly Refusal none = new(
        RefusalCode.NotFound,
        "Your identity provider does not say how to sign out there. You are signed out here; sign out on the provider's own pages.",
        "no end_session_endpoint"
    );
}
