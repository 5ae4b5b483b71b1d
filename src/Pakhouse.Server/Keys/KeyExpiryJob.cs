using System.Collections.Concurrent;
using System.Data.Common;
using Dapper;

namespace Pakhouse.Server;

/// <summary>
/// Notifies the holder that a key expires: 30, 7 and 1 day before, and when it has expired. Each mail is sent once, however many processes
/// run and however often they restart. After an outage, only the reminder that is due now is sent; missed ones are skipped.
/// </summary>
public sealed class KeyExpiryJob(
    Database database,
    KeyLifecycle lifecycle,
    Mails mails,
    PublicAddress address,
    TimeProvider clock,
    ILogger<KeyExpiryJob> log
) : PeriodicJob(TimeSpan.FromMinutes(5), clock, log)
{
    /// <summary>Days before the expiry, the nearest first; 0: the key has expired.</summary>
    private static readonly int[] stages = [0, 1, 7, 30];

    /// <summary>A reminder is skipped if the key was created less than this before it is due: the holder still knows.</summary>
    private static readonly TimeSpan newKey = TimeSpan.FromDays(1);

    /// <summary>After a longer outage a reminder is skipped; the next one follows.</summary>
    private static readonly TimeSpan lookBack = TimeSpan.FromDays(3);

    /// <summary>Each run reads this interval again, because the clocks of processes differ and transactions commit late.</summary>
    private static readonly TimeSpan overlap = TimeSpan.FromHours(1);

    private const int BatchRows = 200;

    private readonly ConcurrentDictionary<int, DateTimeOffset> done = new(); // for each stage, the time up to which this process has run

    public override async Task RunAsync()
    {
        var now = Clock.GetUtcNow();
        foreach (var days in stages)
        {
            var from = done.TryGetValue(days, out var until) && until - overlap > now - lookBack ? until - overlap : now - lookBack;
            var (at, id) = (from + TimeSpan.FromDays(days), "");
            while (await DueAsync(days, at, id, now + TimeSpan.FromDays(days)) is { Count: > 0 } batch)
            {
                (at, id) = (batch[^1].ExpiresAt, batch[^1].Id);
                await database.WriteExclusiveAsync(async transaction =>
                {
                    foreach (var key in batch) await NotifyAsync(transaction, key, days, now);
                    return batch.Count;
                });
            }

            done[days] = now;
        }
    }

    /// <summary>
    /// Returns active keys, not replaced, that expire between the two times and whose holders were not notified of this stage or a nearer
    /// one.
    /// </summary>
    private Task<List<Due>> DueAsync(int days, DateTimeOffset after, string afterId, DateTimeOffset until) =>
        database.ReadAsync(async connection =>
            (
                await connection.QueryAsync<Due>(
                    $"""
                    SELECT k.id, k.kind, k.name, k.created_at, k.expires_at, u.email, u.name AS user_name, o.id AS organization_id,
                        o.name AS organization_name, s.last_used_at, s.address
                    FROM access_keys k
                    JOIN memberships m ON m.id = k.membership_id
                    JOIN users u ON u.id = m.user_id
                    JOIN organizations o ON o.id = m.organization_id
                    LEFT JOIN organizations r ON r.id = o.root_id
                    LEFT JOIN key_use_hours s ON s.key_id = k.id AND s.hour = (SELECT MAX(hour) FROM key_use_hours WHERE key_id = k.id)
                    WHERE k.expires_at IS NOT NULL AND k.deleted_at IS NULL AND k.successor_id IS NULL
                      AND (k.expires_at, k.id) > (@after, @afterId) AND k.expires_at <= @until
                      AND k.suspended_at IS NULL AND m.ended_at IS NULL
                          AND COALESCE(u.disabled_at, u.deleted_at, o.disabled_at, o.deleted_at, r.disabled_at, r.deleted_at) IS NULL
                      AND NOT EXISTS (SELECT 1 FROM key_expiry_notices n WHERE n.key_id = k.id AND n.days <= @days)
                    ORDER BY k.expires_at, k.id LIMIT {BatchRows}
                    """,
                    new
                    {
                        after,
                        afterId,
                        until,
                        days,
                    }
                )
            ).AsList()
        );

    private async Task NotifyAsync(DbTransaction transaction, Due key, int days, DateTimeOffset now)
    {
        var isNew = key.ExpiresAt - TimeSpan.FromDays(days) - key.CreatedAt < newKey;
        if (isNew && days > 0)
            return;
        // This finds what another process has sent since the read.
        if (
            await transaction.Connection!.ExecuteAsync(
                "INSERT INTO key_expiry_notices (key_id, days, told_at) VALUES (@Id, @days, @now) ON CONFLICT DO NOTHING",
                new
                {
                    key.Id,
                    days,
                    now,
                },
                transaction
            ) == 0
        )
            return;
        if (days == 0)
        {
            await lifecycle.ExpireAsync(transaction, key.Id);
            return;
        }

        await Events.OfKeyAsync(transaction, Clock, EventTypes.KeyExpiring, key.Id);
        // ApiKeyNotices notifies the owners of an API key.
        if (key.Kind == "pak")
            await mails.EnqueueAsync(transaction, key.Email, Mail(key, now));
    }

    private MailContent Mail(Due key, DateTimeOffset now) => new(
        $"Your key “{key.Name}” expires in {TimeText.Count((long)Math.Ceiling((key.ExpiresAt - now).TotalDays), "day")}",
        $"""
        Hello {key.UserName},

        your key “{key.Name}” ({key.Id}) in {key.OrganizationName} expires on {key.ExpiresAt}.
        {KeyMails.LastUse(key.LastUsedAt, key.Address)}

        If it is still needed, rotate it: you get a new key, and this one works on while you put the new one in its place.

        {MailText.Link(address, Links.Key(key.OrganizationId, key.Id))}
        """);

    private sealed record Due
    {
        public string Id { get; init; } = "";
        public string Kind { get; init; } = "";
        public string Name { get; init; } = "";
        public DateTimeOffset CreatedAt { get; init; }
        public DateTimeOffset ExpiresAt { get; init; }
        public string Email { get; init; } = "";
        public string UserName { get; init; } = "";
        public Guid OrganizationId { get; init; }
        public string OrganizationName { get; init; } = "";
        public DateTimeOffset? LastUsedAt { get; init; }
        public string? Address { get; init; }
    }
}
