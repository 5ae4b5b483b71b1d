using System.Security.Cryptography;
using System.Text;
using Dapper;
using Microsoft.AspNetCore.DataProtection;

namespace Pakhouse.Server;

/// <summary>
/// The state between two requests of one sign-in, in a cookie that only this server can read and write, for a few minutes. It is never a
/// session.
/// </summary>
public sealed class SignInStateCookies(
    Database database,
    IDataProtectionProvider protection,
    PakhouseOptions options,
    Deployment deployment,
    TimeProvider clock
)
{
    /// <summary>The password was correct; the second factor follows.</summary>
    public const string Code = "code";

    /// <summary>A challenge that a passkey must sign, for a sign-in or for a new passkey.</summary>
    public const string Assertion = "passkey",
        Attestation = "new-passkey";

    /// <summary>The provider has answered whom an account is to be connected with; the person's yes is to come.</summary>
    public const string Connection = "connection";

    private static readonly TimeSpan lifetime = TimeSpan.FromMinutes(15);

    public void Set(HttpContext context, string step, string state) =>
        context.Response.Cookies.Append(
            Name(step),
            Protector(step).Protect($"{(clock.GetUtcNow() + lifetime).ToUnixTimeMilliseconds()} {state}"),
            Cookie(step)
        );

    /// <summary>Null: there is none, it is not ours, or it is too old.</summary>
    public string? Read(HttpContext context, string step)
    {
        if (context.Request.Cookies[Name(step)] is not { Length: > 0 } text)
            return null;
        try
        {
            var parts = Protector(step).Unprotect(text).Split(' ', 2);
            return DateTimeOffset.FromUnixTimeMilliseconds(long.Parse(parts[0])) > clock.GetUtcNow() ? parts[1] : null;
        }
        catch (CryptographicException)
        {
            return null;
        }
    }

    public void Clear(HttpContext context, string step) => context.Response.Cookies.Delete(Name(step), Cookie(step));

    /// <summary>False: this state was used before. So a copy of the cookie with its answer is useless.</summary>
    public Task<bool> ConsumeAsync(string state) =>
        database.WriteAsync(async transaction =>
        {
            var now = clock.GetUtcNow();
            await transaction.Connection!.ExecuteAsync(
                "DELETE FROM spent_challenges WHERE spent_at <= @since",
                new { since = now - lifetime },
                transaction
            );
            return await transaction.Connection!.ExecuteAsync(
                    "INSERT INTO spent_challenges (hash, spent_at) VALUES (@hash, @now) ON CONFLICT (hash) DO NOTHING",
                    new { hash = SHA256.HashData(Encoding.UTF8.GetBytes(state)), now },
                    transaction
                ) == 1;
        });

    private string Name(string step) => $"{(options.IsHttps ? "__Host-" : "")}pakhouse-{step}";

    private CookieOptions Cookie(string step) =>
        new()
        {
            HttpOnly = true,
            Secure = options.IsHttps,
            Path = "/",
            IsEssential = true,
            // What is set on the way back from the provider is read in the same chain of redirects, which began at another site.
            SameSite = step == Connection ? SameSiteMode.Lax : SameSiteMode.Strict,
        };

    private IDataProtector Protector(string step) =>
        // A restored database does not know which challenges were used, so all earlier ones are invalid.
        protection.CreateProtector("Pakhouse.SignInStep.v1", step, deployment.RestoredAt.ToString());
}
