using System.Buffers.Text;
using System.Data.Common;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Dapper;
using Microsoft.AspNetCore.Identity;

namespace Pakhouse.Server;

/// <summary>What a person has proved on the way: the code of the mail, and the account of the provider that answered.</summary>
/// <param name="Email">As the provider gave it, verified or not. Null: it gave none.</param>
/// <param name="Session">See <see cref="ProviderLogout.SessionHash"/>.</param>
public sealed record PendingConnection(string Code, string Issuer, string Subject, string? Email, byte[]? Session);

/// <summary>
/// How a person whose address the provider does not vouch for comes to sign in through it. An owner of their organization sends a link; who
/// opens it has the mailbox, and signs in at the provider before anything is bound.
/// <para>Invariant: an owner chooses neither of the two accounts. The mail goes to the address of the account here, and the account of the
/// provider is the one that answers in the browser of whoever opened the link. So no owner can open the account of somebody who belongs to
/// other organizations too.</para>
/// </summary>
public sealed class ProviderConnections(
    Database database,
    SecondFactor secondFactor,
    Passkeys passkeys,
    SignInAttempts attempts,
    Mails mails,
    ILookupNormalizer normalizer,
    PublicAddress publicAddress,
    PakhouseOptions options,
    TimeProvider clock
)
{
    /// <summary>Where the link leads, and where the person says yes.</summary>
    public const string Path = "/sign-in/connect";

    public static readonly TimeSpan LinkLifetime = TimeSpan.FromDays(1);

    private const int CodeLengthMax = 64;

    internal static readonly Refusal LinkRefused = new(
        RefusalCode.NotFound,
        "This link does not work: it was used, it is older than a day, or it is incomplete. Ask an owner of your organization for a new "
            + "one.",
        "connection code unknown, expired or used"
    );

    private static readonly Refusal off = new(RefusalCode.NotFound, "This server has no identity provider.", "no provider is set");
    private static readonly Refusal notAMember = new(
        RefusalCode.NotFound,
        "This person is not a direct member of the organization.",
        "no current membership"
    );
    private static readonly Refusal disabled = new(
        RefusalCode.Conflict,
        "This account is suspended: the operator of this server can enable it.",
        "disabled"
    );
    private static readonly Refusal tooMany = new(
        RefusalCode.SlowDown,
        "This person has been sent several links just now. Wait until one is used, or try again later.",
        "too many links for one person"
    );
    private static readonly Refusal ofAnother = new(
        RefusalCode.Conflict,
        "The account of the identity provider that you used belongs to somebody else here. Sign out there, then open the link again with "
            + "your own account.",
        "subject or address of another person"
    );
    private static readonly Refusal another = new(
        RefusalCode.Conflict,
        "You sign in here with another account of the identity provider already. Use that one, or ask the operator of this server, "
            + "who can bind another (commands users unbind and users bind).",
        "person with another subject"
    );
    private static readonly Refusal unproved = new(
        RefusalCode.AccessDenied,
        "Your account has a second factor or a passkey, which a mail does not replace. Sign in here with it in this browser, then open "
        + "the link again within "
            + "ten minutes.",
        "second factor, and no fresh session of the person"
    );

    /// <summary>Sends the link to a direct member. What it opens is decided when it is used.</summary>
    public Task<Outcome<bool>> SendAsync(Actor actor, Guid organizationId, Guid userId) =>
        database.ChangeAsync<bool>(async transaction =>
        {
            var access = await Guard.AuthorizeAsync(transaction, actor, Permission.ConnectMember, organizationId);
            if (access.Refusal is { } refused)
                return refused;
            if (options.OidcAuthority is null)
                return off;
            var connection = transaction.Connection!;
            var member = await connection.QuerySingleOrDefaultAsync<User>(
                """
                SELECT u.id, u.email, u.name, u.disabled_at FROM memberships m
                JOIN users u ON u.id = m.user_id AND u.kind = 'person' AND u.deleted_at IS NULL
                WHERE m.organization_id = @organizationId AND m.user_id = @userId AND m.ended_at IS NULL
                """,
                new { organizationId, userId },
                transaction
            );
            if (member is null)
                return notAMember;
            if (member.DisabledAt is not null)
                return disabled;
            if (!await attempts.TakeAsync(transaction, Links(member.Email)))
                return tooMany;

            var (code, now) = (Base64Url.EncodeToString(RandomNumberGenerator.GetBytes(32)), clock.GetUtcNow());
            await connection.ExecuteAsync(
                "DELETE FROM password_resets WHERE created_at <= @since",
                new { since = now - LinkLifetime },
                transaction
            );
            await connection.ExecuteAsync(
                "INSERT INTO password_resets (hash, user_id, created_at) VALUES (@hash, @Id, @now)",
                new
                {
                    hash = Hash(code),
                    member.Id,
                    now,
                },
                transaction
            );
            await ActivityLog.WriteAsync(
                transaction,
                clock,
                actor,
                AuditAction.ProviderLink,
                organizationId,
                member.Id.ToString(),
                member.Id
            );
            await mails.EnqueueAsync(
                transaction,
                member.Email,
                SignInMails.Connect(
                    await Doer.NameAsync(transaction, actor),
                    access.Value.OrganizationName,
                    options.OidcName,
                    code,
                    LinkLifetime,
                    publicAddress
                )
            );
            return true;
        });

    /// <summary>
    /// Whose account the link is for. Changes nothing: programs that look at links in messages before people do can open this too.
    /// </summary>
    public Task<Outcome<User>> OpenAsync(string code) =>
        database.ReadAsync<Outcome<User>>(async connection => await FindAsync(connection, null, code) is { } user ? user : LinkRefused);

    /// <summary>Uses the link up: from now on whoever comes as this subject is this person.</summary>
    /// <param name="session">Of this browser; null: nobody is signed in.</param>
    public async Task<Outcome<User>> ConnectAsync(PendingConnection pending, Actor? session, IPAddress? address)
    {
        var opened = await OpenAsync(pending.Code);
        if (opened.Refusal is { } refused)
            return refused;
        // As strong as the ways in that the person has: a reset by mail keeps the second factor too.
        var isGuarded = (await secondFactor.StateAsync(opened.Value.Id)).IsOn || (await passkeys.ListAsync(opened.Value.Id)).Count > 0;
        var isProved = session is { Freshness: Freshness.JustNow } && session.UserId == opened.Value.Id;
        if (!options.OidcOnly && isGuarded && !isProved)
            return unproved;
        return await database.ChangeAsync<User>(async transaction =>
        {
            // Asked again inside: of two with the link, one is first.
            if (await FindAsync(transaction.Connection!, transaction, pending.Code) is not { } user)
                return LinkRefused;
            var bound = await transaction.Connection!.QuerySingleOrDefaultAsync<Guid?>(
                "SELECT user_id FROM provider_subjects WHERE issuer = @Issuer AND subject = @Subject",
                new { pending.Issuer, pending.Subject },
                transaction
            );
            if (bound is { } id && id != user.Id)
                return ofAnother;
            if (bound is null && await BindAsync(transaction, user, pending, address) is { } refusal)
                return refusal;
            await transaction.Connection!.ExecuteAsync("DELETE FROM password_resets WHERE user_id = @Id", new { user.Id }, transaction);
            await SignInAttempts.ForgetAsync(transaction, Links(user.Email));
            return user;
        });
    }

    public static bool IsCode(string? text) => text is { Length: > 0 and <= CodeLengthMax };

    public static string Write(PendingConnection pending) => JsonSerializer.Serialize(pending);

    public static PendingConnection? Read(string? state) => state is null ? null : JsonSerializer.Deserialize<PendingConnection>(state);

    private async Task<Refusal?> BindAsync(DbTransaction transaction, User user, PendingConnection pending, IPAddress? address)
    {
        if (!ProviderSubjects.IsInBounds(pending.Issuer, pending.Subject))
            return ofAnother with { Reason = "issuer or subject out of bounds" };
        var connection = transaction.Connection!;
        // Who was led here by somebody else's link comes with an address that says so, if they are anybody here.
        var owner = pending.Email is not { Length: > 0 and <= Users.EmailLengthMax } email
            ? null
            : await connection.QuerySingleOrDefaultAsync<Guid?>(
                "SELECT id FROM users WHERE email_normalized = @normalized AND kind = 'person' AND deleted_at IS NULL",
                new { normalized = normalizer.NormalizeEmail(email.Trim()) },
                transaction
            );
        if (owner is { } person && person != user.Id)
            return ofAnother;
        var added = await connection.ExecuteAsync(
            "INSERT INTO provider_subjects (issuer, subject, user_id, created_at) VALUES (@Issuer, @Subject, @Id, @now) ON CONFLICT DO "
                + "NOTHING",
            new
            {
                pending.Issuer,
                pending.Subject,
                user.Id,
                now = clock.GetUtcNow(),
            },
            transaction
        );
        if (added == 0)
            return another;
        var actor = Actor.Session(user.Id, address);
        await ActivityLog.WriteAsync(transaction, clock, actor, AuditAction.ProviderBind, null, user.Id.ToString(), user.Id);
        await NotifyAsync(transaction, user, address);
        return null;
    }

    /// <summary>The person, and the owners of every organization that they are a member of: it is a new way into each.</summary>
    private async Task NotifyAsync(DbTransaction transaction, User user, IPAddress? address)
    {
        var now = clock.GetUtcNow();
        await mails.EnqueueAsync(transaction, user.Email, SignInMails.Connected(options.OidcName, address, now, publicAddress));
        var organizations = await transaction.Connection!.QueryAsync<Guid>(
            "SELECT organization_id FROM memberships WHERE user_id = @Id AND ended_at IS NULL",
            new { user.Id },
            transaction
        );
        var owners = new SortedSet<string>(StringComparer.Ordinal);
        foreach (var id in organizations.AsList())
            owners.UnionWith(await Owners.EmailsAsync(transaction, id));
        owners.Remove(user.Email);
        foreach (var owner in owners)
            await mails.EnqueueAsync(transaction, owner, SignInMails.MemberConnected(user.Name, user.Email, options.OidcName, now));
    }

    private async Task<User?> FindAsync(DbConnection connection, DbTransaction? transaction, string code) =>
        options.OidcAuthority is null || !IsCode(code)
            ? null
            : await connection.QuerySingleOrDefaultAsync<User>(
                """
                SELECT u.id, u.email, u.name, u.password_hash, u.security_stamp, u.disabled_at
                FROM password_resets p
                JOIN users u ON u.id = p.user_id AND u.kind = 'person' AND u.disabled_at IS NULL AND u.deleted_at IS NULL
                WHERE p.hash = @hash AND p.created_at > @since
                """,
                new { hash = Hash(code), since = clock.GetUtcNow() - LinkLifetime },
                transaction
            );

    private string Links(string email) => $"connections of {normalizer.NormalizeEmail(email)}";

    /// <summary>
    /// The codes stand beside those that reset passwords, and neither opens what the other does: these have another hash, because a prefix
    /// could be typed in.
    /// </summary>
    private static byte[] Hash(string code) => HMACSHA256.HashData("connect"u8, Encoding.UTF8.GetBytes(code));
}
