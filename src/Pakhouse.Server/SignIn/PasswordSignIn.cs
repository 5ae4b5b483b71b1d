using System.Net;
using System.Security.Cryptography;
using System.Text;
using Dapper;
using Microsoft.AspNetCore.Identity;
using Microsoft.Extensions.Options;

namespace Pakhouse.Server;

/// <summary>
/// Sign-in with address and password. It answers a known and an unknown address alike, in words, in the steps taken and in
/// what it writes, so that nobody finds out who has an account.
/// <para>Invariant: an attempt is counted before the password is looked at. However many arrive at once, no more than
/// <see cref="PakhouseOptions.SignInAttemptsMax"/> are tried before the lock.</para>
/// </summary>
public sealed class PasswordSignIn(Database database, Users users, IPasswordHasher<User> hasher, ILookupNormalizer normalizer, IOptions<IdentityOptions> identity, SignInLimit limit, TimeProvider clock)
{
    // Verified when there is nothing to verify: the answer takes as long. Made by the same hasher, so its work follows the settings.
    private readonly string decoy = hasher.HashPassword(new User(), RandomNumberGenerator.GetHexString(32));

    /// <summary>The user, or one and the same refusal for every reason.</summary>
    public async Task<Outcome<User>> SignInAsync(string email, string password, IPAddress? address)
    {
        if (limit.Check(address) is { } slowDown) return slowDown;
        limit.Count(address); // before the work, so that a burst is limited too; taken back by a success
        if (email.Length > Users.EmailLengthMax || password.Length > PasswordRules.LengthMax || email.Any(char.IsControl)) return Refused("out of bounds");

        var emailHash = SHA256.HashData(Encoding.UTF8.GetBytes(normalizer.NormalizeEmail(email.Trim())));
        var isOpen = await TakeAttemptAsync(emailHash);
        var user = await users.FindByEmailAsync(email);
        var verdict = hasher.VerifyHashedPassword(user ?? new User(), user?.PasswordHash ?? decoy, password);

        if (!isOpen || user?.PasswordHash is null || user.DisabledAt is not null || verdict == PasswordVerificationResult.Failed)
        {
            // A locked address adds nothing to the record, so nobody can fill it by asking on.
            if (isOpen) await RecordFailureAsync(user, address);
            return Refused(!isOpen ? "locked" : user is null ? "unknown address" : user.DisabledAt is not null ? "disabled" : "wrong password");
        }

        limit.TakeBack(address);
        await database.WriteAsync(async transaction =>
        {
            await transaction.Connection!.ExecuteAsync("DELETE FROM sign_in_attempts WHERE email_hash = @emailHash", new { emailHash }, transaction);
            if (verdict == PasswordVerificationResult.SuccessRehashNeeded)
                await transaction.Connection!.ExecuteAsync("UPDATE users SET password_hash = @hash WHERE id = @Id", new { hash = hasher.HashPassword(user, password), user.Id }, transaction);
            return true;
        });
        return user;
    }

    /// <summary>The same row whether somebody has the address or not; whose it is, only the subject says. Nobody was proved, so nobody is the actor.</summary>
    private Task<bool> RecordFailureAsync(User? user, IPAddress? address) => database.WriteAsync(async transaction =>
    {
        await ActivityLog.WriteAsync(transaction, clock, new Actor(Credential.Session, null, Address: address), Did.LoginFailed, null, user?.Id.ToString() ?? "", user?.Id, SignInMethod.Password);
        return true;
    });

    /// <summary>Counts an attempt. False: this address is locked for now, and the attempt does not prolong that.</summary>
    private Task<bool> TakeAttemptAsync(byte[] emailHash) => database.WriteAsync(async transaction =>
    {
        var now = clock.GetUtcNow();
        // Silence for as long as a lock takes forgets what was counted; this also keeps the table small.
        await transaction.Connection!.ExecuteAsync("DELETE FROM sign_in_attempts WHERE last_at <= @since", new { since = now - identity.Value.Lockout.DefaultLockoutTimeSpan }, transaction);
        return await transaction.Connection!.ExecuteAsync(
            """
            INSERT INTO sign_in_attempts (email_hash, failed, last_at) VALUES (@emailHash, 1, @now)
            ON CONFLICT (email_hash) DO UPDATE SET failed = sign_in_attempts.failed + 1, last_at = excluded.last_at
            WHERE sign_in_attempts.failed < @max
            """, new { emailHash, now, max = identity.Value.Lockout.MaxFailedAccessAttempts }, transaction) == 1;
    });

    private Refusal Refused(string reason) => new(RefusalCode.AccessDenied,
        $"This address and password do not match, or sign-in is locked after {identity.Value.Lockout.MaxFailedAccessAttempts} attempts that failed. " +
        $"A lock ends by itself {Minutes(identity.Value.Lockout.DefaultLockoutTimeSpan)} after the last of them.", reason);

    private static string Minutes(TimeSpan time) => time.TotalMinutes == 1 ? "a minute" : $"{time.TotalMinutes:0} minutes";
}
