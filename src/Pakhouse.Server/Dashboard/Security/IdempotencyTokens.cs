using System.Security.Cryptography;
using Microsoft.AspNetCore.DataProtection;

namespace Pakhouse.Server;

/// <summary>
/// Makes sure that one form creates one key: the token contains the id of the key that the form will create, generated when the form is
/// shown, and encrypted for one user and one organization. A form that is sent again has the same id, and <see cref="Keys.GenerateAsync"/>
/// creates no second key for it.
/// </summary>
/// <remarks>The framework's time-limited protector was not used: it does not support TimeProvider.</remarks>
public sealed class IdempotencyTokens(IDataProtectionProvider protection, Deployment deployment, TimeProvider clock)
{
    public static readonly TimeSpan Lifetime = TimeSpan.FromHours(1);

    public string Issue(Guid userId, Guid organizationId) =>
        Protector(userId, organizationId).Protect($"{KeyFormat.NewId()} {(clock.GetUtcNow() + Lifetime).ToUnixTimeMilliseconds()}");

    /// <summary>The id; null if the token is missing, altered, too old or another person's.</summary>
    public string? Read(string? ticket, Guid userId, Guid organizationId)
    {
        try
        {
            var parts = Protector(userId, organizationId).Unprotect(ticket ?? "").Split(' ');
            return DateTimeOffset.FromUnixTimeMilliseconds(long.Parse(parts[1])) > clock.GetUtcNow() ? parts[0] : null;
        }
        catch (CryptographicException)
        {
            return null;
        }
    }

    private IDataProtector Protector(Guid userId, Guid organizationId) =>
        protection.CreateProtector(
            "Pakhouse.IdempotencyTokens",
            userId.ToString(),
            organizationId.ToString(),
            deployment.RestoredAt.ToString()
        );
}
