using System.Data.Common;
using System.Text.Json;
using System.Text.RegularExpressions;
using Dapper;
using Microsoft.AspNetCore.DataProtection;

namespace Pakhouse.Server;

/// <summary>A message as it will be sent: plain text.</summary>
public sealed partial record MailContent(string Subject, string Text)
{
    /// <summary>
    /// A name that one stranger chose, in a message to another: what a mail program would make a link of is broken apart, so that our messages carry
    /// nobody's address but ours.
    /// </summary>
    public static string Unlinked(string name) => Joint().Replace(name, "$0 ");

    [GeneratedRegex(@"[.:/@](?=\S)", RegexOptions.None, matchTimeoutMilliseconds: 1000)]
    private static partial Regex Joint();
}

/// <summary>
/// What Pakhouse writes to people. A change that wants a message sent writes it here in its own transaction, so that there is no message without
/// the change and no change without the message; it is sent afterwards. What stands in the table is encrypted: a link in a message can open something.
/// </summary>
public sealed class Mails(IDataProtectionProvider protection, TimeProvider clock)
{
    /// <summary>Of what is stored encrypted. The command <c>protection-keys renew</c> encrypts it anew.</summary>
    internal const string Purpose = "Pakhouse.Mails.v1";

    private readonly IDataProtector protector = protection.CreateProtector(Purpose);

    public async Task EnqueueAsync(DbTransaction transaction, string recipient, MailContent content)
    {
        var now = clock.GetUtcNow();
        await transaction.Connection!.ExecuteAsync(
            "INSERT INTO mails (id, recipient, content, created_at, due_at, attempts) VALUES (@id, @recipient, @content, @now, @now, 0)",
            new { id = Ids.New(clock), recipient, content = protector.Protect(JsonSerializer.SerializeToUtf8Bytes(content)), now }, transaction);
    }

    internal MailContent Open(byte[] content) => JsonSerializer.Deserialize<MailContent>(protector.Unprotect(content))!;
}
