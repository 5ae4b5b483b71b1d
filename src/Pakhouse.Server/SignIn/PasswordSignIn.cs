using System.Net;
using System.Security.Cryptography;
using Dapper;
using Microsoft.AspNetCore.Identity;

namespace Pakhouse.Server;

/// <summary>
/// Authenticates by e-mail address and password; the caller decides what follows. It treats a known and an unknown address alike, in its
/// text, its steps and what it writes, so that nobody can find out who has an account.
/// <para>Invariant: an attempt is counted before the password is checked (<see cref="SignInAttempts"/>).</para>
/// </summary>
public sealed class PasswordSignIn(
    Database database,
    Users users,
    IPasswordHasher<User> hasher,
    PasswordWork work,
    ILookupNormalizer normalizer,
    SignInAttempts attempts,
    SignInFailures failures,
    SignInLimit limit,
    PakhouseOptions options
)
{
    // Verified if there is no user, so that the response takes the same time. Made by the same hasher, so its cost follows the settings.
    private readonly string decoy = hasher.HashPassword(new User(), RandomNumberGenerator.GetHexString(32));

    /// <summary>The user, or the same refusal for every reason.</summary>
    public async Task<Outcome<User>> SignInAsync(string email, string password, IPAddress? address)
    {
        if (options.OidcOnly)
            return ProviderOnly;
        if (limit.Check(address) is { } slowDown)
            return slowDown;
        limit.Count(address); // before the work, so that a burst is limited too; undone by a success
        if (email.Length > Users.EmailLengthMax || password.Length > PasswordRules.LengthMax || email.Any(char.IsControl))
            return Refused("out of bounds");

        var proved = await work.RunAsync(() => VerifyAsync(email, password, address));
        // Not counted as a failure: a busy server must lock nobody out.
        if (!proved.IsRefused || proved.Refusal?.Code == RefusalCode.TemporarilyUnavailable)
            limit.TakeBack(address);
        return proved;
    }

    private async Task<Outcome<User>> VerifyAsync(string email, string password, IPAddress? address)
    {
        var normalized = normalizer.NormalizeEmail(email.Trim());
        var isOpen = await attempts.TakeAsync(normalized);
        var user = await users.FindByEmailAsync(email);
        var verdict = hasher.VerifyHashedPassword(user ?? new User(), user?.PasswordHash ?? decoy, password);

        if (!isOpen || user?.PasswordHash is null || user.DisabledAt is not null || verdict == PasswordVerificationResult.Failed)
        {
            // A locked address adds nothing to the audit record, so nobody can fill it with more attempts.
            if (isOpen)
                await failures.RecordAsync(user, address, SignInMethod.Password);
            return Refused(
                !isOpen ? "locked"
                : user is null ? "unknown address"
                : user.DisabledAt is not null ? "disabled"
                : "wrong password"
            );
        }

        await database.WriteAsync(async transaction =>
        {
            await SignInAttempts.ForgetAsync(transaction, normalized);
            if (verdict == PasswordVerificationResult.SuccessRehashNeeded)
                await transaction.Connection!.ExecuteAsync(
                    "UPDATE users SET password_hash = @hash WHERE id = @Id",
                    new { hash = hasher.HashPassword(user, password), user.Id },
                    transaction
                );
            return true;
        });
        return user;
    }

    /// <summary>For a server on which the provider is the only way to sign in; every other way is refused.</summary>
    internal static readonly Refusal ProviderOnly = new(
        RefusalCode.NotFound,
        "On this server you can sign in through the identity provider only.",
        "a way to sign in that is off"
    );

    private Refusal Refused(string reason) =>
        new(RefusalCode.AccessDenied, $"This address and password do not match, or sign-in is {attempts.LockWords}", reason);
}
