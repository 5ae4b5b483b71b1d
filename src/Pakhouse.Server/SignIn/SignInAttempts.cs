using System.Data.Common;
using System.Security.Cryptography;
using System.Text;
using Dapper;
using Microsoft.AspNetCore.Identity;
using Microsoft.Extensions.Options;

namespace Pakhouse.Server;

/// <summary>
/// Counts attempts at something that can be guessed, before the guess is checked: however many arrive at once, no more than <see
/// cref="PakhouseOptions.SignInAttemptsMax"/> are tried before the lock. The count is stored by a hash of the target, whether or not the
/// target exists.
/// </summary>
public sealed class SignInAttempts(Database database, IOptions<IdentityOptions> identity, TimeProvider clock)
{
    /// <summary>Describes the lock, with the same text for every kind of attempt.</summary>
    public string LockWords { get; } =
        $"locked after {identity.Value.Lockout.MaxFailedAccessAttempts} failed attempts. A lock ends "
            + $"{Minutes(identity.Value.Lockout.DefaultLockoutTimeSpan)} after the last of them.";

    /// <summary>Counts an attempt. False: locked for now; the attempt does not extend the lock.</summary>
    public Task<bool> TakeAsync(string what) => database.WriteAsync(transaction => TakeAsync(transaction, what));

    public async Task<bool> TakeAsync(DbTransaction transaction, string what)
    {
        var now = clock.GetUtcNow();
        // Without attempts for the duration of a lock, the count is deleted; this also keeps the table small.
        await transaction.Connection!.ExecuteAsync(
            "DELETE FROM sign_in_attempts WHERE last_at <= @since",
            new { since = now - identity.Value.Lockout.DefaultLockoutTimeSpan },
            transaction
        );
        return await transaction.Connection!.ExecuteAsync(
            """
            INSERT INTO sign_in_attempts (email_hash, failed, last_at) VALUES (@hash, 1, @now)
            ON CONFLICT (email_hash) DO UPDATE SET failed = sign_in_attempts.failed + 1, last_at = excluded.last_at
            WHERE sign_in_attempts.failed < @max
            """, new { hash = Hash(what), now, max = identity.Value.Lockout.MaxFailedAccessAttempts }, transaction) == 1;
    }

    public static Task ForgetAsync(DbTransaction transaction, string what) =>
        transaction.Connection!.ExecuteAsync(
            "DELETE FROM sign_in_attempts WHERE email_hash = @hash",
            new { hash = Hash(what) },
            transaction
        );

    private static byte[] Hash(string what) => SHA256.HashData(Encoding.UTF8.GetBytes(what));

    private static string Minutes(TimeSpan time) => time.TotalMinutes == 1 ? "a minute" : $"{time.TotalMinutes:0} minutes";
}
