using System.Data.Common;
using System.Net;
using Dapper;

namespace Pakhouse.Server;

/// <summary>
/// Finds the person for an account of the platform's own OpenID Connect provider. The first time, by an e-mail address that the provider
/// has verified; later only by issuer and subject (OpenID Connect Core §5.7), because addresses are reassigned, and a person can change
/// theirs at the provider.
/// <para>Invariant: a subject belongs to one person for ever, and a person has one subject for each issuer.</para>
/// </summary>
public sealed class ProviderSubjects(
    Database database,
    Users users,
    SignInFailures failures,
    Mails mails,
    PublicAddress publicAddress,
    PakhouseOptions options,
    TimeProvider clock
)
{
    private const int LengthMax = 255; // of a subject: OpenID Connect Core §2

    private static readonly Refusal unknown = new(
        RefusalCode.AccessDenied,
        "There is no account with the address from your identity provider. Ask an owner of your organization to invite you.",
        "unknown address"
    );
    private static readonly Refusal unverified = new(
        RefusalCode.AccessDenied,
        "Your identity provider has not verified your e-mail address, so you cannot sign in. Verify it there, then sign in again.",
        "address not verified"
    );
    private static readonly Refusal unsaid = new(
        RefusalCode.AccessDenied,
        "Your identity provider does not say whether it has verified your e-mail address, so you cannot sign in. "
            + "An owner of your organization can send you a link that connects the two accounts (page Team). The operator of this server "
            + "can also trust its addresses (setting OidcEmailIssuers), or bind your account (command users bind).",
        "address not said to be verified"
    );
    private static readonly Refusal unnamed = new(
        RefusalCode.AccessDenied,
        "Your identity provider gave no e-mail address, so your account cannot be found. Ask the operator of your identity provider to "
        + "give it, "
            + "or an owner of your organization to send you a link that connects the two accounts (page Team). "
            + "The operator of this server can bind your account too (command users bind).",
        "no address"
    );
    private static readonly Refusal other = new(
        RefusalCode.AccessDenied,
        "The person with this address signs in here with another account of your identity provider. "
            + "Ask the operator of this server, who can bind this one instead (commands users unbind and users bind).",
        "address of a person with another subject"
    );
    private static readonly Refusal disabled = new(
        RefusalCode.AccessDenied,
        "Your account here is suspended. Ask the operator of this server.",
        "disabled"
    );

    /// <param name="email">As the provider gave it.</param>
    /// <param name="isVerified">Whether the provider, in the same source, says that the address is verified. Null: it does not say (Entra
    /// ID).</param>
    public async Task<Outcome<User>> FindAsync(string issuer, string subject, string? email, bool? isVerified, IPAddress? address)
    {
        if (!IsInBounds(issuer, subject))
            return unknown with { Reason = "issuer or subject out of bounds" };
        var found = await database.ChangeAsync<Guid>(async transaction =>
        {
            var known = await transaction.Connection!.QuerySingleOrDefaultAsync<Guid?>(
                "SELECT user_id FROM provider_subjects WHERE issuer = @issuer AND subject = @subject",
                new { issuer, subject },
                transaction
            );
            if (known is { } id)
                return id;
            if (email is null or { Length: 0 or > Users.EmailLengthMax })
                return unnamed;
            if (isVerified == false)
                return unverified; // an explicit "not verified" is never overruled
            if (isVerified is null && !options.OidcEmailIssuers.Contains(issuer, StringComparer.Ordinal))
                return unsaid;
            if (await users.FindByEmailAsync(email) is not { } user)
                return unknown;
            if (user.DisabledAt is not null)
                return disabled;
            var added = await transaction.Connection!.ExecuteAsync(
                "INSERT INTO provider_subjects (issuer, subject, user_id, created_at) VALUES (@issuer, @subject, @Id, @now) ON CONFLICT "
                    + "DO NOTHING",
                new
                {
                    issuer,
                    subject,
                    user.Id,
                    now = clock.GetUtcNow(),
                },
                transaction
            );
            return added == 1 ? user.Id : other;
        });
        if (found.Refusal is { } refusal)
        {
            await failures.RecordAsync(null, address, SignInMethod.Provider);
            // Some providers do not show the subject of an account at a client (Entra ID), so the person can pass it on.
            var isShown = (refusal == unsaid || refusal == unnamed || refusal == other) && subject.All(c => c is > ' ' and <= '~');
            return isShown ? refusal with { Description = $"{refusal.Description} Its subject is {subject}" } : refusal;
        }

        return await users.FindAsync(found.Value) switch
        {
            null => unknown,
            { DisabledAt: not null } => disabled,
            var user => user,
        };
    }

    internal static bool IsInBounds(string issuer, string subject) =>
        issuer.Length is > 0 and <= 2048 && subject.Length is > 0 and <= LengthMax;

    /// <summary>Binds a subject to a person: from now on it signs in as this person, whatever e-mail address the provider gives.</summary>
    public Task<Outcome<bool>> BindAsync(Actor actor, string email, string issuer, string subject) =>
        database.ChangeAsync<bool>(async transaction =>
        {
            if (Guard.Demand(actor, Permission.BindProviderSubject) is { } refused)
                return refused;
            if (subject.Length is 0 or > LengthMax || subject.Any(char.IsControl))
                return badSubject;
            if (issuer.Length > 2048 || !Uri.TryCreate(issuer, UriKind.Absolute, out _))
                return badIssuer;
            if (await users.FindByEmailAsync(email) is not { } user)
                return nobody;
            var now = clock.GetUtcNow();
            var added = await transaction.Connection!.ExecuteAsync(
                "INSERT INTO provider_subjects (issuer, subject, user_id, created_at) VALUES (@issuer, @subject, @Id, @now) ON CONFLICT "
                    + "DO NOTHING",
                new
                {
                    issuer,
                    subject,
                    user.Id,
                    now,
                },
                transaction
            );
            if (added == 0)
                return taken;
            await ActivityLog.WriteAsync(transaction, clock, actor, AuditAction.ProviderBind, null, user.Id.ToString(), user.Id);
            await mails.EnqueueAsync(transaction, user.Email, SignInMails.Bound(now, publicAddress));
            return true;
        });

    /// <summary>Deletes every subject of the person, and ends the sessions that began with one.</summary>
    public Task<Outcome<bool>> UnbindAsync(Actor actor, string email) =>
        database.ChangeAsync<bool>(async transaction =>
        {
            if (Guard.Demand(actor, Permission.BindProviderSubject) is { } refused)
                return refused;
            if (await users.FindByEmailAsync(email) is not { } user)
                return nobody;
            return await UnbindAsync(transaction, actor, user, MailText.Of($"the operator of this server")) ? true : unbound;
        });

    /// <summary>The same by the person. Where the provider is the only way to sign in, only the operator can.</summary>
    public Task<Outcome<bool>> DisconnectAsync(Actor actor) =>
        database.ChangeAsync<bool>(async transaction =>
        {
            if (Guard.Demand(actor, Permission.DisconnectProvider) is { } refused)
                return refused;
            if (options.OidcOnly)
                return onlyWay;
            if (await users.FindAsync(actor.UserId!.Value) is not { } user)
                return unconnected;
            return await UnbindAsync(transaction, actor, user, MailText.Of($"you, from the address {actor.Address},")) ? true : unconnected;
        });

    /// <summary>When the person's first account of the provider was bound; null: none is.</summary>
    public Task<DateTimeOffset?> ConnectedSinceAsync(Guid userId) =>
        database.ReadAsync(connection =>
            connection.ExecuteScalarAsync<DateTimeOffset?>(
                "SELECT MIN(created_at) FROM provider_subjects WHERE user_id = @userId",
                new { userId }
            )
        );

    private async Task<bool> UnbindAsync(DbTransaction transaction, Actor actor, User user, MailText by)
    {
        var (connection, now) = (transaction.Connection!, clock.GetUtcNow());
        var deleted = await connection.ExecuteAsync("DELETE FROM provider_subjects WHERE user_id = @Id", new { user.Id }, transaction);
        if (deleted == 0)
            return false;
        var ended = await connection.QueryAsync<Guid>(
            "UPDATE sessions SET ended_at = @now WHERE user_id = @Id AND method = @method AND ended_at IS NULL RETURNING id",
            new
            {
                user.Id,
                method = SignInMethod.Provider,
                now,
            },
            transaction
        );
        foreach (var id in ended.AsList())
            await ActivityLog.WriteAsync(
                transaction,
                clock,
                actor,
                AuditAction.SessionEnd,
                null,
                id.ToString(),
                user.Id,
                SignInMethod.Provider
            );
        await ActivityLog.WriteAsync(transaction, clock, actor, AuditAction.ProviderUnbind, null, user.Id.ToString(), user.Id);
        await mails.EnqueueAsync(transaction, user.Email, SignInMails.Unbound(by, now, publicAddress));
        return true;
    }

    private static readonly Refusal unconnected = new(
        RefusalCode.NotFound,
        "No account of the identity provider is connected to yours.",
        "no subject"
    );
    private static readonly Refusal onlyWay = new(
        RefusalCode.Conflict,
        "The identity provider is the only way to sign in here. The operator of this server can unbind your account (command users "
            + "unbind).",
        "only way in"
    );
    private static readonly Refusal nobody = Refusal.At("EMAIL", RefusalCode.NotFound, "nobody here has this address.", "no such user");
    private static readonly Refusal unbound = Refusal.At(
        "EMAIL",
        RefusalCode.NotFound,
        "no account of the identity provider is bound to this person.",
        "no subject"
    );
    private static readonly Refusal badSubject = Refusal.At(
        "SUBJECT",
        RefusalCode.InvalidRequest,
        $"give the sub of the account, 1 to {LengthMax} characters.",
        "bad subject"
    );
    private static readonly Refusal badIssuer = new(
        RefusalCode.InvalidRequest,
        "--issuer: give the issuer from its tokens, such as https://id.example.com.",
        "bad issuer"
    );
    private static readonly Refusal taken = new(
        RefusalCode.Conflict,
        "This account or this person is already bound to another. Use the command users unbind first.",
        "subject or person bound"
    );
}
