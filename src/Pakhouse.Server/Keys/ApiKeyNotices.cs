using Dapper;

namespace Pakhouse.Server;

/// <summary>Notifies the owners of an organization, once, that one of its API keys expires within a week.</summary>
public sealed class ApiKeyNotices(
    Database database,
    KeyLifecycle lifecycle,
    Mails mails,
    PublicAddress address,
    TimeProvider clock,
    ILogger<ApiKeyNotices> log
) : PeriodicJob(TimeSpan.FromMinutes(10), clock, log)
{
    public static readonly TimeSpan Ahead = TimeSpan.FromDays(7);

    /// <summary>Keys announced in one transaction; the rest waits for the next run.</summary>
    private const int BatchKeys = 200;

    private readonly TimeProvider clock = clock;

    public override Task RunAsync() =>
        database.WriteExclusiveAsync(async transaction =>
        {
            var now = clock.GetUtcNow();
            var expiring = (
                await transaction.Connection!.QueryAsync<(
                    string Id,
                    string Name,
                    Guid OrganizationId,
                    string OrganizationName,
                    DateTimeOffset ExpiresAt
                )>(
                    """
                    SELECT k.id, u.name, o.id, o.name, k.expires_at
                    FROM access_keys k JOIN memberships m ON m.id = k.membership_id JOIN users u ON u.id = m.user_id
                        JOIN organizations o ON o.id = m.organization_id
                    WHERE k.kind = 'oak' AND k.deleted_at IS NULL AND k.told_at IS NULL AND k.successor_id IS NULL AND k.expires_at > @now
                        AND k.expires_at <= @until
                    ORDER BY k.expires_at LIMIT @BatchKeys
                    """,
                    new
                    {
                        now,
                        until = now + Ahead,
                        BatchKeys,
                    },
                    transaction
                )
            ).AsList();
            foreach (var key in expiring)
            {
                foreach (var email in await Owners.EmailsAsync(transaction, key.OrganizationId))
                {
                    await mails.EnqueueAsync(
                        transaction,
                        email,
                        new MailContent(
                            $"API key “{key.Name}” of {key.OrganizationName} expires on {TimeText.Date(key.ExpiresAt)}",
                            $"""
                            The API key “{key.Name}” ({key.Id}) of {key.OrganizationName} expires on {key.ExpiresAt}. From then on the services that hold it get no tokens.

                            Rotate it to give them a new secret; the present one can work on beside it for a while:
                            {MailText.Link(address, Links.Security(key.OrganizationId))}

                            You get this message because you are an owner of {key.OrganizationName}.
                            """
                        )
                    );
                }
            }

            if (expiring.Count > 0)
                await lifecycle.MarkNotifiedAsync(transaction, expiring.ConvertAll(key => key.Id));

            return true;
        });
}
