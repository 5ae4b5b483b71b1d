using Dapper;
using Microsoft.AspNetCore.Identity;

namespace Pakhouse.Server;

/// <summary>A passkey as its owner sees it.</summary>
public sealed record PasskeyEntry(Guid Id, string Name, DateTimeOffset CreatedAt, DateTimeOffset? LastUsedAt)
{
    private PasskeyEntry() : this(default, "", default, null) // for the mapper
    {
    }
}

/// <summary>
/// Passkeys: their rows, and what their owner does with them. ASP.NET Core Identity's handler checks what a browser sends, and reads the
/// rows through <see cref="PasskeyStore"/>; see <see cref="PasskeyCeremony"/>.
/// </summary>
public sealed class Passkeys(Database database, Mails mails, PublicAddress publicAddress, PakhouseOptions options, TimeProvider clock)
{
    public const int NameLengthMax = 100;
    public const int CountMax = 20;

    private static readonly Refusal notFound = new(RefusalCode.NotFound, "There is no such passkey.", "no such passkey of the caller");

    /// <summary>A browser accepts passkeys for a host name, not for an IP address (WebAuthn §5.1.2), and only in a secure
    /// context.</summary>
    public bool IsOn => !options.OidcOnly && new Uri(publicAddress.Value).HostNameType == UriHostNameType.Dns;

    public async Task<IReadOnlyList<PasskeyEntry>> ListAsync(Guid userId) =>
        (
            await database.ReadAsync(connection =>
                connection.QueryAsync<PasskeyEntry>(
                    "SELECT id, name, created_at, last_used_at FROM passkeys WHERE user_id = @userId ORDER BY id",
                    new { userId }
                )
            )
        ).AsList();

    public Task<Outcome<bool>> AddAsync(Actor actor, string name, UserPasskeyInfo passkey) =>
        database.ChangeAsync<bool>(async transaction =>
        {
            if (Guard.Demand(actor, Permission.AddPasskey) is { } refused)
                return refused;
            if (Checks.Name(name, "name", NameLengthMax, out name) is { } badName)
                return badName;
            if (
                await transaction.Connection!.ExecuteScalarAsync<long>(
                    "SELECT COUNT(*) FROM passkeys WHERE user_id = @UserId",
                    new { actor.UserId },
                    transaction
                ) >= CountMax
            )
                return new Refusal(
                    RefusalCode.Conflict,
                    $"You have {CountMax} passkeys, which is the limit. Remove one first.",
                    "too many passkeys"
                );
            var added = await transaction.Connection!.ExecuteAsync(
                """
                INSERT INTO passkeys (id, user_id, credential_id, public_key, name, sign_count, transports, is_backup_eligible,
                    is_backed_up, attestation, client_data, created_at)
                VALUES (@id, @UserId, @CredentialId, @PublicKey, @name, @signCount, @transports, @isBackupEligible, @isBackedUp,
                    @AttestationObject, @ClientDataJson, @now)
                ON CONFLICT (credential_id) DO NOTHING
                """,
                new
                {
                    id = Ids.New(clock),
                    actor.UserId,
                    passkey.CredentialId,
                    passkey.PublicKey,
                    name,
                    signCount = (long)passkey.SignCount,
                    transports = string.Join(' ', passkey.Transports ?? []),
                    isBackupEligible = passkey.IsBackupEligible ? 1L : 0,
                    isBackedUp = passkey.IsBackedUp ? 1L : 0,
                    passkey.AttestationObject,
                    passkey.ClientDataJson,
                    now = clock.GetUtcNow(),
                },
                transaction
            );
            if (added == 0)
                return new Refusal(RefusalCode.Conflict, "This passkey is already registered.", "credential id known");
            await ActivityLog.WriteAsync(transaction, clock, actor, AuditAction.PasskeyAdd, null, actor.UserId!.Value.ToString());
            await SignInMails.ChangedAsync(
                mails,
                transaction,
                actor,
                "A passkey was added",
                "It can sign in as you without your password.",
                publicAddress,
                clock
            );
            return true;
        });

    public Task<Outcome<bool>> RemoveAsync(Actor actor, Guid id) =>
        database.ChangeAsync<bool>(async transaction =>
        {
            if (Guard.Demand(actor, Permission.RemovePasskey) is { } refused)
                return refused;
            if (
                await transaction.Connection!.ExecuteAsync(
                    "DELETE FROM passkeys WHERE id = @id AND user_id = @UserId",
                    new { id, actor.UserId },
                    transaction
                ) == 0
            )
                return notFound;
            await ActivityLog.WriteAsync(transaction, clock, actor, AuditAction.PasskeyRemove, null, actor.UserId!.Value.ToString());
            await SignInMails.ChangedAsync(
                mails,
                transaction,
                actor,
                "A passkey was removed",
                "It can no longer sign in as you.",
                publicAddress,
                clock
            );
            return true;
        });

    /// <summary>
    /// Records a use. False: the passkey was deleted, or another use has increased its counter in the meantime, which only a copy of it
    /// could do.
    /// </summary>
    public Task<bool> NoteUseAsync(UserPasskeyInfo passkey) =>
        database.WriteAsync(async transaction =>
            await transaction.Connection!.ExecuteAsync(
                """
                UPDATE passkeys SET sign_count = @signCount, is_backed_up = @isBackedUp, last_used_at = @now
                WHERE credential_id = @CredentialId AND (sign_count < @signCount OR @signCount = 0)
                """,
                new
                {
                    passkey.CredentialId,
                    signCount = (long)passkey.SignCount,
                    isBackedUp = passkey.IsBackedUp ? 1L : 0,
                    now = clock.GetUtcNow(),
                },
                transaction
            ) == 1
        );
}
