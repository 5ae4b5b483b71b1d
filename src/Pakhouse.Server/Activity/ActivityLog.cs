using System.Data.Common;
using Dapper;

namespace Pakhouse.Server;

/// <summary>
/// The record of what happened: one row for each change that somebody could ask about later, written in the change's own
/// transaction. If the row cannot be written the change does not happen. Rows are never changed or deleted: the schema
/// refuses it. A row holds ids, never a secret, a name or an address of mail.
/// </summary>
public static class ActivityLog
{
    /// <param name="action">As in the log that users of the field know: <c>PAT Create</c>, <c>Member Remove</c> …</param>
    /// <param name="target">The id of what was changed.</param>
    public static Task WriteAsync(DbTransaction transaction, TimeProvider clock, Actor actor, string action, Guid? organizationId, string target) =>
        transaction.Connection!.ExecuteAsync(
            """
            INSERT INTO activity (id, at, organization_id, actor_user_id, actor_key_id, address, action, target)
            VALUES (@id, @at, @organizationId, @userId, @keyId, @address, @action, @target)
            """,
            new
            {
                id = Ids.New(clock),
                at = clock.GetUtcNow(),
                organizationId,
                userId = actor.UserId,
                keyId = actor.KeyId,
                address = actor.Address?.ToString(),
                action,
                target,
            }, transaction);
}
