using System.Data.Common;
using Dapper;

namespace Pakhouse.Server;

/// <summary>The actor of a change, as a mail names them.</summary>
internal static class Doer
{
    public static async Task<MailText> NameAsync(DbTransaction transaction, Actor actor)
    {
        if (actor.UserId is null)
            return MailText.Of($"The operator of this server");
        var name = await transaction.Connection!.ExecuteScalarAsync<string>(
            "SELECT name FROM users WHERE id = @UserId",
            new { actor.UserId },
            transaction
        );
        return actor switch
        {
            { Credential: Credential.ApiKey } => MailText.Of($"The API key “{name}”"),
            { KeyId: { } key } => MailText.Of($"{name} (with the key {key})"),
            _ => MailText.Of($"{name}"),
        };
    }
}
