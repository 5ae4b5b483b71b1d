using System.Buffers.Text;
using System.Data.Common;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using Dapper;
using Microsoft.AspNetCore.Identity;

namespace Pakhouse.Server;

/// <summary>
/// How a person changes the password: with the old one, or by a link sent to their address.
/// <para>Invariant: a caller that requests a link learns nothing. For an unknown address, the same rows are written in the same
/// transaction, and the message is removed again.</para>
/// </summary>
public sealed class Passwords(
    Database database,
    Users users,
    PasswordSignIn signIn,
    PasswordRules rules,
    IPasswordHasher<User> hasher,
    PasswordWork work,
    ILookupNormalizer normalizer,
    SignInAttempts attempts,
    SignInLimit limit,
    Mails mails,
    PublicAddress publicAddress,
    PakhouseOptions options,
    TimeProvider clock
)
{
    public static readonly TimeSpan LinkLifetime = TimeSpan.FromHours(1);

    private const int CodeLengthMax = 64;

    internal static readonly Refusal LinkRefused = new(
        RefusalCode.NotFound,
        "This link does not work: it was used, it is older than an hour, or it is incomplete. Ask for a new one.",
        "reset code unknown, expired or used"
    );

    private static readonly Refusal wrong = Refusal.At(
        "old-password",
        RefusalCode.AccessDenied,
        "this is not your password.",
        "old password refused"
    );

    /// <summary>Changes the password with the old one. Every other session ends.</summary>
    public async Task<Outcome<bool>> ChangeAsync(Actor actor, Session session, string old, string password)
    {
        if (options.OidcOnly)
            return PasswordSignIn.ProviderOnly;
        if (Guard.Demand(actor, Permission.ChangePassword) is { } refused)
            return refused;
        var proved = await signIn.SignInAsync(session.Email, old, actor.Address);
        if (proved.Refusal is { } refusal)
            return refusal.Code == RefusalCode.AccessDenied && refusal.Reason != "locked" ? wrong : refusal;
        if (await rules.CheckAsync(password) is { } badPassword)
            return badPassword;
        return await work.RunAsync(() =>
            database.ChangeAsync<bool>(async transaction =>
            {
                await SetAsync(transaction, proved.Value, password);
                await transaction.Connection!.ExecuteAsync(
                    "UPDATE sessions SET security_stamp = (SELECT security_stamp FROM users WHERE id = @UserId) WHERE id = @Id AND "
                        + "ended_at IS NULL",
                    new { actor.UserId, session.Id },
                    transaction
                );
                await SessionStore.EndOthersAsync(transaction, clock, actor, session.Id);
                await ActivityLog.WriteAsync(transaction, clock, actor, AuditAction.PasswordChange, null, actor.UserId!.Value.ToString());
                await SignInMails.ChangedAsync(
                    mails,
                    transaction,
                    actor,
                    "Your password was changed",
                    "All your other sessions have ended.",
                    publicAddress,
                    clock
                );
                return true;
            })
        );
    }

    /// <summary>Sends a link if a person who can sign in has the address. The response does not reveal it.</summary>
    public async Task<Outcome<bool>> RequestResetAsync(string email, IPAddress? address)
    {
        if (options.OidcOnly)
            return PasswordSignIn.ProviderOnly;
        if (limit.Check(address) is { } slowDown)
            return slowDown;
        limit.Count(address); // never undone, because the limit must not reveal a success
        if (email.Length > Users.EmailLengthMax || email.Any(char.IsControl))
            return true;

        var user = await users.FindByEmailAsync(email);
        var code = Base64Url.EncodeToString(RandomNumberGenerator.GetBytes(32));
        var isSent = user is { DisabledAt: null };
        await database.WriteAsync(async transaction =>
        {
            var now = clock.GetUtcNow();
            // The number of messages is limited like password attempts, so that nobody can flood a mailbox. The response does not reveal
            // it.
            var isOpen = await attempts.TakeAsync(transaction, $"reset of {normalizer.NormalizeEmail(email.Trim())}");
            // The codes of ProviderConnections stand there too, and live longer.
            await transaction.Connection!.ExecuteAsync(
                "DELETE FROM password_resets WHERE created_at <= @since",
                new { since = now - ProviderConnections.LinkLifetime },
                transaction
            );
            await transaction.Connection!.ExecuteAsync(
                "INSERT INTO password_resets (hash, user_id, created_at) VALUES (@hash, @userId, @now)",
                new
                {
                    hash = Hash(code),
                    userId = isSent && isOpen ? user!.Id : (Guid?)null,
                    now,
                },
                transaction
            );
            await mails.EnqueueAsync(
                transaction,
                isSent && isOpen ? user!.Email : "",
                SignInMails.Reset(publicAddress, code, LinkLifetime)
            );
            await transaction.Connection!.ExecuteAsync("DELETE FROM mails WHERE recipient = ''", transaction: transaction);
            return true;
        });
        return true;
    }

    public Task<bool> IsLinkGoodAsync(string code) =>
        database.ReadAsync(async connection => !options.OidcOnly && await FindLinkAsync(connection, null, code) is not null);

    /// <summary>
    /// Accepts the code of the link and sets the password. Every session ends; a second factor stays, and the lock of the address is
    /// removed.
    /// </summary>
    public async Task<Outcome<bool>> ResetAsync(string code, string password, IPAddress? address)
    {
        if (options.OidcOnly)
            return PasswordSignIn.ProviderOnly;
        if (!await IsLinkGoodAsync(code))
            return LinkRefused;
        if (await rules.CheckAsync(password) is { } badPassword)
            return badPassword; // the link stays valid for a better password
        return await work.RunAsync(() =>
            database.ChangeAsync<bool>(async transaction =>
            {
                // Checked again inside the transaction: of two callers with the link, only one succeeds. Earlier links are deleted too.
                if (await FindLinkAsync(transaction.Connection!, transaction, code) is not { } userId)
                    return LinkRefused;
                await transaction.Connection!.ExecuteAsync(
                    "DELETE FROM password_resets WHERE user_id = @userId",
                    new { userId },
                    transaction
                );
                var user = await transaction.Connection!.QuerySingleAsync<User>(
                    "SELECT id, email, name FROM users WHERE id = @userId",
                    new { userId },
                    transaction
                );
                await SetAsync(transaction, user, password);
                var actor = Actor.Session(userId, address);
                await SessionStore.EndOthersAsync(transaction, clock, actor, Guid.Empty);
                await SignInAttempts.ForgetAsync(transaction, normalizer.NormalizeEmail(user.Email));
                await ActivityLog.WriteAsync(transaction, clock, actor, AuditAction.PasswordReset, null, userId.ToString());
                await SignInMails.ChangedAsync(
                    mails,
                    transaction,
                    actor,
                    "Your password was reset",
                    "All your sessions have ended.",
                    publicAddress,
                    clock
                );
                return true;
            })
        );
    }

    private async Task SetAsync(DbTransaction transaction, User user, string password) =>
        await transaction.Connection!.ExecuteAsync(
            "UPDATE users SET password_hash = @hash, security_stamp = @stamp WHERE id = @Id AND deleted_at IS NULL",
            new
            {
                user.Id,
                hash = hasher.HashPassword(user, password),
                stamp = KeyFormat.NewId(),
            },
            transaction
        );

    private async Task<Guid?> FindLinkAsync(DbConnection connection, DbTransaction? transaction, string code) =>
        code.Length is 0 or > CodeLengthMax
            ? null
            : await connection.QuerySingleOrDefaultAsync<Guid?>(
                """
                SELECT p.user_id FROM password_resets p JOIN users u ON u.id = p.user_id AND u.disabled_at IS NULL AND u.deleted_at IS NULL
                WHERE p.hash = @hash AND p.created_at > @since
                """,
                new { hash = Hash(code), since = clock.GetUtcNow() - LinkLifetime },
                transaction
            );

    private static byte[] Hash(string code) => SHA256.HashData(Encoding.UTF8.GetBytes(code));
}
