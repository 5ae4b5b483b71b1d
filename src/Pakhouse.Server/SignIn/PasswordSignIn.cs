using System.Net;
using System.Security.Claims;
using System.Security.Cryptography;
using System.Text;
using Dapper;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authentication.Cookies;
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
            return Refused(!isOpen ? "locked" : user is null ? "unknown address" : user.DisabledAt is not null ? "disabled" : "wrong password");
        }

        limit.TakeBack(address);
        await database.WriteAsync(async transaction =>
        {
            await transaction.Connection!.ExecuteAsync("DELETE FROM sign_in_attempts WHERE email_hash = @emailHash", new { emailHash }, transaction);
            if (verdict == PasswordVerificationResult.SuccessRehashNeeded)
                await transaction.Connection!.ExecuteAsync("UPDATE users SET password_hash = @hash WHERE id = @Id", new { hash = hasher.HashPassword(user, password), user.Id }, transaction);
            await ActivityLog.WriteAsync(transaction, clock, Actor.Session(user.Id, address), Did.Login, null, user.Id.ToString());
            return true;
        });
        return user;
    }

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

/// <summary>A session: a cookie that names the user and the stamp, checked against the database at every request.</summary>
public static class Sessions
{
    public const string Scheme = CookieAuthenticationDefaults.AuthenticationScheme;
    private const string Stamp = "stamp";
    private const string Since = "since";

    /// <summary>However often it is used, a session ends this long after its sign-in.</summary>
    public static readonly TimeSpan LifetimeMax = TimeSpan.FromDays(30);

    public static Task BeginAsync(HttpContext context, User user) =>
        context.SignInAsync(Scheme, new ClaimsPrincipal(new ClaimsIdentity(
            [new(ClaimTypes.NameIdentifier, user.Id.ToString()), new(ClaimTypes.Name, user.Name), new(ClaimTypes.Email, user.Email), new(Stamp, user.SecurityStamp), new(Since, Now(context).ToUnixTimeSeconds().ToString())], Scheme)));

    public static Task EndAsync(HttpContext context) => context.SignOutAsync(Scheme);

    /// <summary>A disabled or deleted user, or one whose stamp has changed, is signed out with the next request, not later.</summary>
    public static async Task ValidateAsync(CookieValidatePrincipalContext context)
    {
        var user = Guid.TryParse(context.Principal?.FindFirstValue(ClaimTypes.NameIdentifier), out var id)
            ? await context.HttpContext.RequestServices.GetRequiredService<Users>().FindAsync(id)
            : null;
        var isTooOld = !long.TryParse(context.Principal?.FindFirstValue(Since), out var since) || DateTimeOffset.FromUnixTimeSeconds(since) + LifetimeMax <= Now(context.HttpContext);
        if (isTooOld || user is not { DisabledAt: null } || user.SecurityStamp != context.Principal!.FindFirstValue(Stamp))
        {
            context.RejectPrincipal();
            await EndAsync(context.HttpContext);
        }
    }

    /// <summary>
    /// Renews the cookie with every request after a minute. The framework would only do so in the second half of a session's life, and so
    /// end it up to twice as early as <see cref="PakhouseOptions.SessionIdle"/> says.
    /// </summary>
    public static Task RenewAsync(CookieSlidingExpirationContext context)
    {
        context.ShouldRenew = context.ElapsedTime >= TimeSpan.FromMinutes(1);
        return Task.CompletedTask;
    }

    private static DateTimeOffset Now(HttpContext context) => context.RequestServices.GetRequiredService<TimeProvider>().GetUtcNow();

    public static Actor Actor(HttpContext context) =>
        Server.Actor.Session(Guid.Parse(context.User.FindFirstValue(ClaimTypes.NameIdentifier)!), context.Connection.RemoteIpAddress);
}
