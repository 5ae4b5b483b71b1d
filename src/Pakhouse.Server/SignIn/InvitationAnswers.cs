using System.Buffers.Text;
using System.Data.Common;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using Dapper;
using Microsoft.AspNetCore.Identity;

namespace Pakhouse.Server;

/// <summary>An invitation as the holder of its link sees it.</summary>
/// <param name="HasAccount">Whether the invited address has an account. Only the recipient of the message at that address learns
/// it.</param>
public sealed record OpenInvitation(Invitation Invitation, string RootName, bool HasAccount);

/// <summary>
/// Invitations from the invited person's side: the link in the message, and the two ways to accept it, with an existing account or a new
/// one.
/// <para>Invariant: a code works for one acceptance, before its parts expire, while the organizations are enabled, and for the address that
/// it was sent to. Only those parts count whose sender could still send them (<see cref="Senders"/>). Only the hash of the code is stored;
/// 256 bits need no limit on guesses.</para>
/// </summary>
public sealed class InvitationAnswers(
    Database database,
    Users users,
    PasswordWork work,
    Senders senders,
    KeyNotices notices,
    ILookupNormalizer normalizer,
    PakhouseOptions options,
    TimeProvider clock
)
{
    private const int CodeLengthMax = 64;

    private static readonly Refusal codeRefused = new(
        RefusalCode.NotFound,
        "This invitation does not work: it was accepted or withdrawn, it has expired, or a newer message has a newer link. Ask "
            + "the sender for a new one.",
        "invitation unknown, ended or expired"
    );

    private static readonly Refusal senderRefused = new(
        RefusalCode.NotFound,
        "This invitation does not work: its sender may no longer invite you, or the key that sent it has ended. Ask an owner of "
            + "the organization to invite you.",
        "invitation whose sender may not send it now"
    );

    private static readonly Refusal suspended = new(
        RefusalCode.Conflict,
        "The organization is disabled. Try again when it is enabled.",
        "invitation to a disabled organization"
    );

    /// <summary>Changes nothing, because programs that check links in messages can open this page too.</summary>
    public Task<Outcome<OpenInvitation>> OpenAsync(string code) => database.ReadAsync(connection => OpenAsync(connection, null, code));

    /// <summary>Accepts with an existing account: the person is signed in and has the invited address.</summary>
    /// <returns>An organization that the person is now a member of.</returns>
    public Task<Outcome<Guid>> AcceptAsync(Actor actor, string code) =>
        database.ChangeAsync<Guid>(async transaction =>
        {
            if (await Guard.AuthorizeAsync(transaction, actor, Permission.AcceptInvitation) is { } refused)
                return refused;
            var opened = await OpenAsync(transaction.Connection!, transaction, code);
            if (opened.Refusal is { } refusal)
                return refusal;
            var email = await transaction.Connection!.QuerySingleAsync<string>(
                "SELECT email_normalized FROM users WHERE id = @UserId",
                new { actor.UserId },
                transaction
            );
            if (!string.Equals(email, normalizer.NormalizeEmail(opened.Value.Invitation.Email), StringComparison.Ordinal))
                return new Refusal(
                    RefusalCode.AccessDenied,
                    "This invitation is for another address. Sign in with the address that it was sent to.",
                    "invitation of another address"
                );
            return await AcceptAsync(transaction, actor, opened.Value.Invitation);
        });

    /// <summary>Accepts with a new account for the invited address; the link proves that the address belongs to the person.</summary>
    public async Task<Outcome<User>> SignUpAsync(string code, string name, string password, IPAddress? address)
    {
        var made = await work.RunAsync(() =>
            database.ChangeAsync<Guid>(async transaction =>
            {
                var opened = await OpenAsync(transaction.Connection!, transaction, code);
                if (opened.Refusal is { } refused)
                    return refused;
                // If the provider is the only way to sign in, nobody chooses or learns this password.
                var user = await users.CreateAsync(
                    transaction,
                    Actor.Operator with
                    {
                        Address = address,
                    },
                    opened.Value.Invitation.Email,
                    name,
                    options.OidcOnly ? InvitationCode.Create() : password
                );
                if (user.IsRefused)
                    return user;
                var accepted = await AcceptAsync(transaction, Actor.Session(user.Value, address), opened.Value.Invitation);
                return accepted.Refusal is { } refusal ? refusal : user;
            })
        );
        if (made.Refusal is { } refusal)
            return refusal;
        return (await users.FindAsync(made.Value))!;
    }

    private async Task<Outcome<OpenInvitation>> OpenAsync(DbConnection connection, DbTransaction? transaction, string code)
    {
        if (code.Length > CodeLengthMax)
            return codeRefused;
        var found = await InvitationRows.SelectAsync(
            connection,
            transaction,
            "i.code_hash = @hash AND p.expires_at > @now",
            new { hash = InvitationCode.Hash(code), now = clock.GetUtcNow() }
        );
        if (found is not [var sent, ..])
            return codeRefused;
        if (await senders.KeepValidAsync(connection, transaction, sent) is not { } invitation)
            return senderRefused;
        var root = await connection.QuerySingleAsync<Root>(
            """
            SELECT o.name, (SELECT COUNT(*) FROM users u WHERE u.email_normalized = i.email_normalized AND u.kind = 'person'
                AND u.deleted_at IS NULL) AS accounts,
                   (SELECT COUNT(*) FROM organizations d WHERE d.disabled_at IS NOT NULL AND d.id IN (
                       SELECT i.root_id UNION ALL SELECT organization_id FROM invitation_parts WHERE invitation_id = i.id)) AS disabled
            FROM invitations i JOIN organizations o ON o.id = i.root_id WHERE i.id = @Id
            """,
            new { invitation.Id },
            transaction
        );
        return root.Disabled > 0 ? suspended : new OpenInvitation(invitation, root.Name, root.Accounts > 0);
    }

    private async Task<Outcome<Guid>> AcceptAsync(DbTransaction transaction, Actor actor, Invitation invitation)
    {
        foreach (var part in invitation.OrganizationsAndRoles)
        {
            var (id, roles) = part;
            await InvitationRows.EndAsync(transaction, invitation.Id, id);
            // A person who was added in the meantime keeps the roles of that time.
            if (
                await transaction.Connection!.ExecuteScalarAsync<long>(
                    "SELECT COUNT(*) FROM memberships WHERE organization_id = @id AND user_id = @UserId AND ended_at IS NULL",
                    new { id, actor.UserId },
                    transaction
                ) > 0
            )
                continue;
            // A role that has left the catalogue in the meantime is not granted.
            var living = options.Roles.Active(roles);
            await ActivityLog.WriteAsync(
                transaction,
                clock,
                actor,
                AuditAction.InviteAccept,
                id,
                invitation.Id.ToString(),
                actor.UserId,
                living.Text
            );
            await Members.InsertAsync(transaction, clock, actor, id, actor.UserId!.Value, living);
            await notices.WriteAsync(
                transaction,
                part.KeyId,
                new KeyChange(id, KeyChange.Accepted, invitation.Email, actor.UserId, invitation.Id, NameSet.Empty, living)
            );
        }

        // Parts that have expired or whose sender could not send them now end too: the code is used.
        await transaction.Connection!.ExecuteAsync(
            "DELETE FROM invitation_parts WHERE invitation_id = @Id; DELETE FROM invitations WHERE id = @Id",
            new { invitation.Id },
            transaction
        );
        return invitation.OrganizationsAndRoles[0].OrganizationId;
    }

    private sealed record Root
    {
        public string Name { get; init; } = "";
        public long Accounts { get; init; }
        public long Disabled { get; init; }
    }
}
