using System.Data.Common;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using Dapper;
using Microsoft.AspNetCore.DataProtection;
using OtpNet;

namespace Pakhouse.Server;

/// <summary>The state of a person's second factor.</summary>
public sealed record SecondFactorState(bool IsOn, DateTimeOffset AddedAt, int RecoveryCodesLeft);

/// <summary>
/// The second factor of a sign-in by password: codes of an authenticator app (RFC 6238), and recovery codes for a lost app.
/// <para>Invariant: every code works once. The step of the last accepted code is stored, and one statement checks and advances it; a used
/// recovery code is deleted. Attempts are counted before a code is checked.</para>
/// </summary>
public sealed class SecondFactor(
    Database database,
    IDataProtectionProvider protection,
    SignInAttempts attempts,
    SignInFailures failures,
    SignInLimit limit,
    Mails mails,
    PublicAddress publicAddress,
    TimeProvider clock
)
{
    public const int RecoveryCodes = 10;

    private const int SecretBytes = 20; // RFC 4226 §4, R6: 160 bits
    private const int CodeDigits = 6;

    /// <summary>Without letters and digits that look alike (RFC 4648 §6 has no 0, 1, 8): 16 of them are 80 bits.</summary>
    private const int RecoveryCodeLength = 16;

    /// <summary>The Data Protection purpose of stored secrets. The command <c>protection-keys renew</c> encrypts them again.</summary>
    internal const string Purpose = "Pakhouse.SecondFactor.v1";

    private readonly IDataProtector protector = protection.CreateProtector(Purpose);
    private readonly IDataProtector offers = protection.CreateProtector("Pakhouse.SecondFactor.Offer.v1");

    private static readonly Refusal wrongCode = Refusal.At(
        "code",
        RefusalCode.InvalidRequest,
        "this is not the current code of the app. Check the clock of its device, and enter the next code.",
        "code of an app refused"
    );
    private static readonly Refusal isOn = new(
        RefusalCode.Conflict,
        "You already have an authenticator app. Remove it first.",
        "second factor is on already"
    );
    private static readonly Refusal isOff = new(RefusalCode.NotFound, "You have no authenticator app.", "second factor is off");

    public async Task<SecondFactorState> StateAsync(Guid userId) =>
        await database.ReadAsync(async connection =>
        {
            var addedAt = await connection.QuerySingleOrDefaultAsync<DateTimeOffset?>(
                "SELECT created_at FROM authenticators WHERE user_id = @userId",
                new { userId }
            );
            var left = addedAt is null
                ? 0
                : await connection.ExecuteScalarAsync<long>("SELECT COUNT(*) FROM recovery_codes WHERE user_id = @userId", new { userId });
            return new SecondFactorState(addedAt is not null, addedAt ?? default, (int)left);
        });

    /// <summary>
    /// Creates a secret for the app, and the same secret encrypted for the form that confirms it. Nothing is stored until a code proves
    /// that the app has the secret.
    /// </summary>
    public (string Secret, string Sealed) Offer(Guid userId)
    {
        var secret = Base32Encoding.ToString(RandomNumberGenerator.GetBytes(SecretBytes)).TrimEnd('=');
        return (secret, offers.CreateProtector(userId.ToString()).Protect(secret));
    }

    /// <summary>The secret of an earlier offer to the same person; null: it is not one of ours.</summary>
    public string? ReadOffer(Guid userId, string? text)
    {
        try
        {
            return offers.CreateProtector(userId.ToString()).Unprotect(text ?? "");
        }
        catch (Exception e) when (e is CryptographicException or FormatException)
        {
            return null;
        }
    }

    /// <summary>The content of the QR code, in the format of Google Authenticator, which every app reads.</summary>
    public string Address(string email, string secret)
    {
        var issuer = $"Pakhouse ({new Uri(publicAddress.Value).Host})";
        return $"otpauth://totp/{Uri.EscapeDataString($"{issuer}:{email}")}?secret={secret}&issuer={Uri.EscapeDataString(issuer)}"
            + $"&algorithm=SHA1&digits={CodeDigits}&period=30";
    }

    /// <summary>Turns it on for the caller, and returns the recovery codes, which cannot be read again.</summary>
    public Task<Outcome<string[]>> AddAsync(Actor actor, string secret, string code)
    {
        if (Guard.Demand(actor, Permission.AddSecondFactor) is { } refused)
            return Task.FromResult<Outcome<string[]>>(refused);
        var bytes = Base32Encoding.ToBytes(secret);
        if (StepOf(bytes, Digits(code)) is not { } step)
            return Task.FromResult<Outcome<string[]>>(wrongCode);
        return database.ChangeAsync<string[]>(async transaction =>
        {
            var added = await transaction.Connection!.ExecuteAsync(
                "INSERT INTO authenticators (user_id, secret, last_step, created_at) VALUES (@UserId, @secret, @step, @now) ON CONFLICT "
                    + "(user_id) DO NOTHING",
                new
                {
                    actor.UserId,
                    secret = protector.Protect(bytes),
                    step,
                    now = clock.GetUtcNow(),
                },
                transaction
            );
            if (added == 0)
                return isOn;
            var codes = await ReplaceCodesAsync(transaction, actor.UserId!.Value);
            await NotifyAsync(
                transaction,
                actor,
                AuditAction.SecondFactorAdd,
                "An authenticator app was added",
                "From now on, you need a code of that app to sign in with your password."
            );
            return codes;
        });
    }

    public Task<Outcome<bool>> RemoveAsync(Actor actor) =>
        database.ChangeAsync<bool>(async transaction =>
        {
            if (Guard.Demand(actor, Permission.RemoveSecondFactor) is { } refused)
                return refused;
            await transaction.Connection!.ExecuteAsync(
                "DELETE FROM recovery_codes WHERE user_id = @UserId",
                new { actor.UserId },
                transaction
            );
            if (
                await transaction.Connection!.ExecuteAsync(
                    "DELETE FROM authenticators WHERE user_id = @UserId",
                    new { actor.UserId },
                    transaction
                ) == 0
            )
                return isOff;
            await NotifyAsync(
                transaction,
                actor,
                AuditAction.SecondFactorRemove,
                "The authenticator app was removed",
                "From now on, you need only your password to sign in."
            );
            return true;
        });

    /// <summary>Creates new recovery codes; earlier ones stop working.</summary>
    public Task<Outcome<string[]>> RenewCodesAsync(Actor actor) =>
        database.ChangeAsync<string[]>(async transaction =>
        {
            if (Guard.Demand(actor, Permission.RenewRecoveryCodes) is { } refused)
                return refused;
            if (
                await transaction.Connection!.ExecuteScalarAsync<long>(
                    "SELECT COUNT(*) FROM authenticators WHERE user_id = @UserId",
                    new { actor.UserId },
                    transaction
                ) == 0
            )
                return isOff;
            var codes = await ReplaceCodesAsync(transaction, actor.UserId!.Value);
            await NotifyAsync(
                transaction,
                actor,
                AuditAction.RecoveryCodes,
                "The recovery codes were renewed",
                "Your earlier recovery codes no longer work."
            );
            return codes;
        });

    /// <summary>The second step of a sign-in: accepts the code, and returns how the person signed in.</summary>
    public async Task<Outcome<string>> CheckAsync(User user, string code, IPAddress? address)
    {
        if (limit.Check(address) is { } slowDown)
            return slowDown;
        limit.Count(address);
        // Counted separately from passwords: otherwise an attacker who knows the password could reset the count of codes by signing in
        // again.
        var what = $"code of {user.Id}";
        if (!await attempts.TakeAsync(what))
            return Refused("locked");

        var method = await database.ChangeAsync<string>(async transaction =>
        {
            var taken = Digits(code) is { Length: CodeDigits } digits
                ? await TakeCodeAsync(transaction, user.Id, digits)
                    ? SignInMethod.PasswordAndCode
                    : null
                : await TakeRecoveryCodeAsync(transaction, user.Id, code)
                    ? SignInMethod.PasswordAndRecoveryCode
                    : null;
            if (taken is null)
                return Refused("wrong code");
            await SignInAttempts.ForgetAsync(transaction, what);
            return taken;
        });
        if (method.IsRefused)
            await failures.RecordAsync(user, address, SignInMethod.PasswordAndCode);
        else
            limit.TakeBack(address);
        return method;
    }

    private async Task<bool> TakeCodeAsync(DbTransaction transaction, Guid userId, string digits)
    {
        var secret = await transaction.Connection!.ExecuteScalarAsync<byte[]?>(
            "SELECT secret FROM authenticators WHERE user_id = @userId",
            new { userId },
            transaction
        );
        if (secret is null || StepOf(protector.Unprotect(secret), digits) is not { } step)
            return false;
        return await transaction.Connection!.ExecuteAsync(
                "UPDATE authenticators SET last_step = @step WHERE user_id = @userId AND last_step < @step",
                new { userId, step },
                transaction
            ) == 1;
    }

    private static async Task<bool> TakeRecoveryCodeAsync(DbTransaction transaction, Guid userId, string code) =>
        code.Length <= 64
        && await transaction.Connection!.ExecuteAsync(
            "DELETE FROM recovery_codes WHERE user_id = @userId AND hash = @hash",
            new { userId, hash = HashOf(code) },
            transaction
        ) == 1;

    /// <summary>The step of a code: the current one or a neighbour, for a clock that is half a minute off (RFC 6238 §5.2).</summary>
    private long? StepOf(byte[] secret, string digits) =>
        new Totp(secret).VerifyTotp(clock.GetUtcNow().UtcDateTime, digits, out var step, new VerificationWindow(previous: 1, future: 1))
            ? step
            : null;

    private static async Task<string[]> ReplaceCodesAsync(DbTransaction transaction, Guid userId)
    {
        await transaction.Connection!.ExecuteAsync("DELETE FROM recovery_codes WHERE user_id = @userId", new { userId }, transaction);
        var codes = Enumerable
            .Range(0, RecoveryCodes)
            .Select(_ => RandomNumberGenerator.GetString("abcdefghijklmnopqrstuvwxyz234567", RecoveryCodeLength))
            .ToArray();
        foreach (var code in codes)
            await transaction.Connection!.ExecuteAsync(
                "INSERT INTO recovery_codes (user_id, hash) VALUES (@userId, @hash)",
                new { userId, hash = HashOf(code) },
                transaction
            );
        return [.. codes.Select(code => string.Join('-', code.Chunk(4).Select(part => new string(part))))];
    }

    /// <summary>80 random bits need no slow hash. Hyphens, spaces and case are not part of a code.</summary>
    private static byte[] HashOf(string code) =>
        SHA256.HashData(Encoding.UTF8.GetBytes(new string([.. code.Where(char.IsLetterOrDigit)]).ToLowerInvariant()));

    private static string Digits(string code) =>
        code.Length <= 64
            ? new string([.. code.Where(c => !char.IsWhiteSpace(c))]) is var text && text.All(char.IsAsciiDigit)
                ? text
                : ""
            : "";

    private async Task NotifyAsync(DbTransaction transaction, Actor actor, string action, string what, string then)
    {
        await ActivityLog.WriteAsync(transaction, clock, actor, action, null, actor.UserId!.Value.ToString());
        await SignInMails.ChangedAsync(mails, transaction, actor, what, then, publicAddress, clock);
    }

    private Refusal Refused(string reason) =>
        new(RefusalCode.AccessDenied, $"This code does not work: it is wrong, was used before, or codes are {attempts.LockWords}", reason);
}
