using System.Data.Common;
using System.Text.Json;
using Dapper;
using Microsoft.AspNetCore.DataProtection;

namespace Pakhouse.Server;

/// <summary>
/// The mails of Pakhouse to people. A change writes its message here in its own transaction, so there is no message without the change and
/// no change without the message; it is sent afterwards. The content is encrypted in the table, because a link in a message can grant
/// access.
/// </summary>
public sealed class Mails(IDataProtectionProvider protection, TimeProvider clock)
{
    /// <summary>The Data Protection purpose of stored messages. The command <c>protection-keys renew</c> encrypts them again.</summary>
    internal const string Purpose = "Pakhouse.Mails.v1";

    private readonly IDataProtector protector = protection.CreateProtector(Purpose);

    /// <param name="invitationId">The invitation in the message: its sender is notified when the message is given up.</param>
    public async Task EnqueueAsync(DbTransaction transaction, string recipient, MailContent content, Guid? invitationId = null)
    {
        var now = clock.GetUtcNow();
        await transaction.Connection!.ExecuteAsync(
            """
            INSERT INTO mails (id, recipient, content, created_at, due_at, attempts, invitation_id)
            VALUES (@id, @recipient, @content, @now, @now, 0, @invitationId)
            """,
            new
            {
                id = Ids.New(clock),
                recipient,
                content = protector.Protect(JsonSerializer.SerializeToUtf8Bytes(content)),
                now,
                invitationId,
            },
            transaction
        );
    }

    internal MailContent Open(byte[] content) => JsonSerializer.Deserialize<MailContent>(protector.Unprotect(content))!;
}
