using System.Data.Common;
using System.Security.Cryptography;
using System.Text;
using Dapper;
using Microsoft.AspNetCore.Identity;

namespace Pakhouse.Server;

/// <summary>The messages that contain invitations, and the limit of messages in a day.</summary>
public sealed class InvitationMessages(
    Mails mails,
    PublicAddress publicAddress,
    ILookupNormalizer normalizer,
    PakhouseOptions options,
    TimeProvider clock
)
{
    /// <summary>Messages in a day for one root: enough for a person who looked in the wrong folder, too few to annoy anybody.</summary>
    public const int MessagesPerAddressMax = 20;

    /// <summary>Creates a new code and its message. Only the hash of the code is stored.</summary>
    public async Task<Refusal?> SendAsync(DbTransaction transaction, Actor actor, Guid rootId, Guid id)
    {
        var now = clock.GetUtcNow();
        var invitation = (
            await InvitationRows.SelectAsync(transaction.Connection!, transaction, "i.id = @id AND p.expires_at > @now", new { id, now })
        ).Single();
        if (await CountAsync(transaction, rootId, invitation.Email) is { } refusal)
            return refusal;

        var code = InvitationCode.Create();
        await transaction.Connection!.ExecuteAsync(
            "UPDATE invitations SET code_hash = @hash, sent_at = @now, undelivered_at = NULL WHERE id = @id",
            new
            {
                id,
                hash = InvitationCode.Hash(code),
                now,
            },
            transaction
        );
        var sender = actor.Credential is Credential.Session or Credential.Key
            ? await transaction.Connection!.QuerySingleAsync<Sender>(
                "SELECT name, email FROM users WHERE id = @UserId",
                new { actor.UserId },
                transaction
            )
            : null;
        var root = await transaction.Connection!.QuerySingleAsync<string>(
            "SELECT name FROM organizations WHERE id = @rootId",
            new { rootId },
            transaction
        );
        var places = invitation.OrganizationsAndRoles.Select(one =>
            MailText.Of(
                $"  {one.OrganizationName}: {(one.Roles.Count == 0 ? "member" : string.Join(", ", one.Roles.Select(options.Roles.NameOf)))}"
            )
        );
        var invites = sender is null
            ? MailText.Of($"You are invited to join {root}")
            : MailText.Of($"{sender.Name} ({sender.Email}) invites you to join {root}");
        await mails.EnqueueAsync(
            transaction,
            invitation.Email,
            new MailContent(
                sender is null ? MailText.Of($"You are invited to {root}") : MailText.Of($"{sender.Name} invites you to {root}"),
                $"""
                {invites} at {MailText.Server(publicAddress)}:

                {MailText.Join("\n", places)}

                To accept, open this link. It works once, until {invitation.ExpiresAt}:

                  {MailText.Link(publicAddress, $"/invitations/{code}")}

                If you did not expect this, do nothing. Nothing happens unless you open the link.
                """
            ),
            id
        );
        return null;
    }

    /// <summary>Limits messages per day, because anybody could create an organization and invite strangers from it.</summary>
    private async Task<Refusal?> CountAsync(DbTransaction transaction, Guid rootId, string email)
    {
        var now = clock.GetUtcNow();
        var day = now.ToUnixTimeSeconds() / 86400;
        var address = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(normalizer.NormalizeEmail(email))));
        foreach (
            var (target, max) in ((string, int)[])
                [($"{rootId}", options.InvitationsPerDayMax), ($"{rootId} {address}", MessagesPerAddressMax)]
        )
        {
            var count = await transaction.Connection!.QuerySingleOrDefaultAsync<long?>(
                """
                INSERT INTO invitation_counts (target, day, count) VALUES (@target, @day, 1)
                ON CONFLICT (target) DO UPDATE SET count = CASE WHEN invitation_counts.day = excluded.day THEN invitation_counts.count + 1
                    ELSE 1 END, day = excluded.day
                WHERE invitation_counts.day <> excluded.day OR invitation_counts.count < @max RETURNING count
                """,
                new
                {
                    target,
                    day,
                    max,
                },
                transaction
            );
            if (count is null)
                return new Refusal(
                    RefusalCode.SlowDown,
                    "The daily limit of invitations is reached. Continue tomorrow (UTC).",
                    "too many invitations in one day"
                )
                {
                    RetryAfterSeconds = (int)((day + 1) * 86400 - now.ToUnixTimeSeconds()),
                };
            if (count == 1)
                await transaction.Connection!.ExecuteAsync("DELETE FROM invitation_counts WHERE day < @day", new { day }, transaction);
        }

        return null;
    }

    private sealed record Sender
    {
        public string Name { get; init; } = "";
        public string Email { get; init; } = "";
    }
}
