using System.Data.Common;
using Dapper;
using Microsoft.AspNetCore.Identity;

namespace Pakhouse.Server;

/// <summary>A person who can sign in.</summary>
public sealed record User
{
    public Guid Id { get; init; }
    public string Email { get; init; } = "";
    public string Name { get; init; } = "";
    public string? PasswordHash { get; init; }

    /// <summary>Changes when every session of the user must end.</summary>
    public string SecurityStamp { get; init; } = "";

    public DateTimeOffset? DisabledAt { get; init; }
}

/// <summary>
/// People: their rows, their passwords and their end. ASP.NET Core Identity does the hashing, the rules for passwords and the normal form
/// of addresses. <see cref="Members"/> handles which organization a person belongs to.
/// </summary>
public sealed class Users(
    Database database,
    Members members,
    WebhookMakers makers,
    KeyLifecycle lifecycle,
    IPasswordHasher<User> hasher,
    PasswordRules rules,
    ILookupNormalizer normalizer,
    Mails mails,
    PublicAddress address,
    TimeProvider clock
)
{
    public const int EmailLengthMax = EmailAddress.LengthMax;
    public const int NameLengthMax = 100;

    private const string Columns = "id, email, name, password_hash, security_stamp, disabled_at";

    /// <summary>Creates a user, for the set-up page and the operator.</summary>
    public Task<Outcome<Guid>> CreateAsync(Actor actor, string email, string name, string password) =>
        database.ChangeAsync(transaction => CreateAsync(transaction, actor, email, name, password));

    public async Task<Outcome<Guid>> CreateAsync(DbTransaction transaction, Actor actor, string email, string name, string password)
    {
        if (Guard.Demand(actor, Permission.CreateUser) is { } refused)
            return refused;
        if (!EmailAddress.TryParse(email, out email))
            return Refusal.At("email", RefusalCode.InvalidRequest, "enter an address such as ada@example.com.", "no e-mail address");
        if (Checks.Name(name, "name", NameLengthMax, out name) is { } badName)
            return badName;
        if (await rules.CheckAsync(password) is { } badPassword)
            return badPassword;

        var normalized = normalizer.NormalizeEmail(email);
        if (
            await transaction.Connection!.ExecuteScalarAsync<long>(
                "SELECT COUNT(*) FROM users WHERE email_normalized = @normalized AND kind = 'person' AND deleted_at IS NULL",
                new { normalized },
                transaction
            ) > 0
        )
            return Refusal.At("email", RefusalCode.Conflict, "this address is already in use.", "e-mail address taken");

        var user = new User
        {
            Id = Ids.New(clock),
            Email = email,
            Name = name,
            SecurityStamp = NewStamp(),
        };
        await transaction.Connection!.ExecuteAsync(
            """
            INSERT INTO users (id, email, email_normalized, name, password_hash, security_stamp, created_at)
            VALUES (@Id, @Email, @normalized, @Name, @hash, @SecurityStamp, @at)
            """,
            new
            {
                user.Id,
                user.Email,
                normalized,
                user.Name,
                hash = hasher.HashPassword(user, password),
                user.SecurityStamp,
                at = clock.GetUtcNow(),
            },
            transaction
        );
        await ActivityLog.WriteAsync(transaction, clock, actor, AuditAction.UserCreate, null, user.Id.ToString());
        return user.Id;
    }

    public Task<bool> AnyAsync() =>
        database.ReadAsync(async connection =>
            await connection.ExecuteScalarAsync<long>("SELECT COUNT(*) FROM (SELECT 1 FROM users LIMIT 1) AS one") > 0
        );

    /// <summary>Null if there is no such user; a disabled user is found.</summary>
    public Task<User?> FindAsync(Guid id) =>
        database.ReadAsync(connection =>
            connection.QuerySingleOrDefaultAsync<User>(
                $"SELECT {Columns} FROM users WHERE id = @id AND kind = 'person' AND deleted_at IS NULL",
                new { id }
            )
        );

    public Task<User?> FindByEmailAsync(string email) =>
        database.ReadAsync(connection =>
            connection.QuerySingleOrDefaultAsync<User>(
                $"SELECT {Columns} FROM users WHERE email_normalized = @normalized AND kind = 'person' AND deleted_at IS NULL",
                new { normalized = normalizer.NormalizeEmail(email.Trim()) }
            )
        );

    /// <summary>Suspends a user: sessions end, keys are suspended (R5). Enabling resumes the keys.</summary>
    public Task<Outcome<bool>> SetDisabledAsync(Actor actor, Guid id, bool disabled) =>
        database.ChangeAsync<bool>(async transaction =>
        {
            if (Guard.Demand(actor, Permission.DisableUser) is { } refused)
                return refused;
            var before = await transaction.Connection!.QuerySingleOrDefaultAsync<User>(
                $"SELECT {Columns} FROM users WHERE id = @id AND kind = 'person' AND deleted_at IS NULL",
                new { id },
                transaction
            );
            var changed = await transaction.Connection!.ExecuteAsync(
                "UPDATE users SET disabled_at = @at, security_stamp = @stamp WHERE id = @id AND deleted_at IS NULL",
                new
                {
                    id,
                    at = disabled ? clock.GetUtcNow() : (DateTimeOffset?)null,
                    stamp = NewStamp(),
                },
                transaction
            );
            if (changed == 0)
                return notFound;
            await lifecycle.FollowAsync(transaction, actor, disabled ? KeyCause.UserDisabled : KeyCause.UserEnabled, KeySet.OfUser(id));
            await ActivityLog.WriteAsync(
                transaction,
                clock,
                actor,
                disabled ? AuditAction.UserDisable : AuditAction.UserEnable,
                null,
                id.ToString()
            );
            if (disabled)
                await makers.NotifyAsync(transaction, actor, id);
            if (before is not null && before.DisabledAt is not null != disabled)
            {
                var (by, now) = (await Doer.NameAsync(transaction, actor), clock.GetUtcNow());
                await mails.EnqueueAsync(
                    transaction,
                    before.Email,
                    disabled
                        ? MemberMails.Disabled(by, now, MailText.Server(address))
                        : MemberMails.Enabled(by, now, MailText.Link(address, "/sign-in"))
                );
            }

            return true;
        });

    public async Task<Outcome<bool>> SetDisabledAsync(Actor actor, string email, bool disabled) =>
        await FindByEmailAsync(email) is { } user ? await SetDisabledAsync(actor, user.Id, disabled) : notFound;

    /// <summary>Deletes a user for good: memberships and keys end; personal data is removed from the row, which keeps its id.</summary>
    public Task<Outcome<bool>> DeleteAsync(Actor actor, Guid id) =>
        database.ChangeAsync<bool>(async transaction =>
        {
            if (Guard.Demand(actor, Permission.DeleteUser) is { } refused)
                return refused;
            var memberships = await transaction.Connection!.QueryAsync<Members.Membership>(
                "SELECT id, organization_id, user_id, roles FROM memberships WHERE user_id = @id AND ended_at IS NULL",
                new { id },
                transaction
            );
            foreach (var membership in memberships)
                if (await members.EndAsync(transaction, actor, membership, cause: KeyCause.UserDeleted) is { } refusal)
                    return refusal;

            var changed = await transaction.Connection!.ExecuteAsync(
                """
                UPDATE users SET email = '', email_normalized = '', name = '', password_hash = NULL, security_stamp = @stamp,
                    deleted_at = @at
                WHERE id = @id AND deleted_at IS NULL
                """,
                new
                {
                    id,
                    stamp = NewStamp(),
                    at = clock.GetUtcNow(),
                },
                transaction
            );
            if (changed == 0)
                return notFound;
            // Also the bound accounts of the provider: a person who is invited again later is a new user, with the same account of the
            // provider.
            foreach (
                var table in (string[])["sessions", "authenticators", "recovery_codes", "passkeys", "provider_subjects", "password_resets"]
            )
                await transaction.Connection!.ExecuteAsync($"DELETE FROM {table} WHERE user_id = @id", new { id }, transaction);
            await ActivityLog.WriteAsync(transaction, clock, actor, AuditAction.UserDelete, null, id.ToString());
            return true;
        });

    private static string NewStamp() => KeyFormat.NewId();

    private static readonly Refusal notFound = new(RefusalCode.NotFound, "There is no such user.", "no such user");
}
