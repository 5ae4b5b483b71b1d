using System.Data.Common;
using System.Text.Json;
using Dapper;
using Microsoft.AspNetCore.DataProtection;

namespace Pakhouse.Server;

/// <summary>
/// What Pakhouse writes to people. A change that wants a message sent writes it here in its own transaction, so that there is no message
/// without the change and no change without the message; it is sent afterwards. What stands in the table is encrypted: a link in a message
/// can open something.
/// </summary>
public sealed class Mails(IDataProtectionProvider protection, TimeProvider clock)
{
    /// <summary>Of what is stored encrypted. The command <c>protection-keys renew</c> encrypts it anew.</summary>
    internal const string Purpose = "Pakhouse.Mails.v1";

    private readonly IDataProtector protector = protection.CreateProtector(Purpose);

    /// <param name="invitationId">The invitation that the message carries: its sender learns when the message is given up.</param>
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
