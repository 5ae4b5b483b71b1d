using System.Data.Common;
using System.Security.Cryptography;
using System.Text;
using Dapper;
using Microsoft.AspNetCore.Identity;
using Microsoft.Extensions.Options;

namespace Pakhouse.Server;

/// <summary>
/// Attempts at something that can be guessed, counted before the guess is looked at: however many arrive at once, no more than
/// <see cref="PakhouseOptions.SignInAttemptsMax"/> are tried before the lock. By the hash of what is guessed at, whether it exists or not.
/// </summary>
public sealed class SignInAttempts(Database database, IOptions<IdentityOptions> identity, TimeProvider clock)
{
    /// <summary>The lock in words, the same for every kind of attempt.</summary>
    public string LockWords { get; } =
        $"locked after {identity.Value.Lockout.MaxFailedAccessAttempts} attempts that failed. A lock ends by itself "
            + $"{Minutes(identity.Value.Lockout.DefaultLockoutTimeSpan)} after the last of them.";

    /// <summary>Counts an attempt. False: locked for now, and the attempt does not prolong that.</summary>
    public Task<bool> TakeAsync(string what) => database.WriteAsync(transaction => TakeAsync(transaction, what));

    public async Task<bool> TakeAsync(DbTransaction transaction, string what)
    {
        var now = clock.GetUtcNow();
        // Silence for as long as a lock takes forgets what was counted; this also keeps the table small.
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
