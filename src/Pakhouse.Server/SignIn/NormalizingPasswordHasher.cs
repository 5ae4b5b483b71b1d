using Microsoft.AspNetCore.Identity;
using Microsoft.Extensions.Options;

namespace Pakhouse.Server;

/// <summary>
/// ASP.NET Core Identity's hasher for passwords in normal form C, because two keyboards write "é" in two ways (NIST SP 800-63B-4 §3.1.1.2).
/// A hash from before that rule is verified in the old way and then renewed.
/// </summary>
public sealed class NormalizingPasswordHasher(IOptions<PasswordHasherOptions>? options = null) : PasswordHasher<User>(options)
{
    public override string HashPassword(User user, string password) => base.HashPassword(user, Checks.Normalize(password));

    public override PasswordVerificationResult VerifyHashedPassword(User user, string hashedPassword, string providedPassword)
    {
        var normalized = Checks.Normalize(providedPassword);
        var verdict = base.VerifyHashedPassword(user, hashedPassword, normalized);
        if (verdict != PasswordVerificationResult.Failed || normalized == providedPassword) return verdict;
        return base.VerifyHashedPassword(user, hashedPassword, providedPassword) == PasswordVerificationResult.Failed
            ? PasswordVerificationResult.Failed
            : PasswordVerificationResult.SuccessRehashNeeded;
    }
}
