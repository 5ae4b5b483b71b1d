using System.Data.Common;
using Dapper;
using Microsoft.AspNetCore.DataProtection;

namespace Pakhouse.Server;

/// <summary>
/// The webhooks of organizations for <see cref="Events"/>: the rows, their secrets and the log of deliveries. <see cref="WebhookSender"/>
/// delivers.
/// <para>Invariant: a secret is returned once, when it is created, and stored encrypted. A receiver's response body is never stored, so
/// nobody can read a network through a webhook.</para>
/// </summary>
public sealed partial class Webhooks(Database database, WebhookSecrets secrets, WebhookTarget target, TimeProvider clock)
{
    public const int PerOrganizationMax = 10;

    /// <summary>How long the earlier secret keeps signing after a change.</summary>
    public static readonly TimeSpan SecretOverlap = TimeSpan.FromHours(24);

    private const string Columns =
        "id, url, events, created_at, failing_since, disabled_at, CASE WHEN old_secret_until > @now THEN old_secret_until END AS "
            + "old_secret_until";

    private static readonly Refusal noSuchWebhook = new(
        RefusalCode.NotFound,
        "There is no such webhook in this organization; it may have been deleted already.",
        "no such webhook"
    );

    public Task<Outcome<IReadOnlyList<Webhook>>> ListAsync(Actor actor, Guid organizationId) =>
        database.ReadAsync<Outcome<IReadOnlyList<Webhook>>>(async connection =>
        {
            var access = await Guard.AuthorizeAsync(connection, null, actor, Permission.ManageWebhooks, organizationId);
            if (access.Refusal is { } refused)
                return refused;
            return (
                await connection.QueryAsync<Webhook>(
                    $"SELECT {Columns} FROM webhooks WHERE organization_id = @organizationId ORDER BY id",
                    new { organizationId, now = clock.GetUtcNow() }
                )
            ).AsList();
        });

    public async Task<Outcome<Webhook>> FindAsync(Actor actor, Guid organizationId, Guid id)
    {
        var list = await ListAsync(actor, organizationId);
        if (list.Refusal is { } refused)
            return refused;
        return list.Value.FirstOrDefault(webhook => webhook.Id == id) is { } found ? found : noSuchWebhook;
    }

    public Task<Outcome<WebhookWithSecret>> CreateAsync(Actor actor, Guid organizationId, string url, NameSet events) =>
        ChangeAsync<WebhookWithSecret>(
            actor,
            Permission.MakeWebhookSecret,
            organizationId,
            async transaction =>
            {
                if (Check(url, events) is { } refusal)
                    return refusal;
                if (
                    await transaction.Connection!.ExecuteScalarAsync<long>(
                        "SELECT COUNT(*) FROM webhooks WHERE organization_id = @organizationId",
                        new { organizationId },
                        transaction
                    ) >= PerOrganizationMax
                )
                    return new Refusal(
                        RefusalCode.Conflict,
                        $"An organization has at most {PerOrganizationMax} webhooks. Delete one that is no longer used.",
                        "PerOrganizationMax"
                    );

                var (id, secret) = (Ids.New(clock), WebhookSignature.NewSecret());
                await transaction.Connection!.ExecuteAsync(
                    """
                    INSERT INTO webhooks (id, organization_id, url, events, secret, created_at, maker_id)
                    VALUES (@id, @organizationId, @url, @events, @secret, @now, @UserId)
                    """,
                    new
                    {
                        id,
                        organizationId,
                        url,
                        events,
                        secret = secrets.Protect(secret),
                        now = clock.GetUtcNow(),
                        actor.UserId,
                    },
                    transaction
                );
                await ActivityLog.WriteAsync(transaction, clock, actor, AuditAction.WebhookCreate, organizationId, id.ToString());
                return new WebhookWithSecret(id, WebhookSignature.Text(secret));
            }
        );

    /// <summary>Enabling a webhook clears its failures; events from the meantime are in the list and can be sent again.</summary>
    public Task<Outcome<bool>> UpdateAsync(Actor actor, Guid organizationId, Guid id, string url, NameSet events, bool isEnabled) =>
        ChangeAsync<bool>(
            actor,
            Permission.ManageWebhooks,
            organizationId,
            async transaction =>
            {
                if (Check(url, events) is { } refusal)
                    return refusal;
                var now = clock.GetUtcNow();
                var updated = await transaction.Connection!.ExecuteAsync(
                    """
                    UPDATE webhooks SET url = @url, events = @events,
                        disabled_at = CASE WHEN @isEnabled = 1 THEN NULL ELSE COALESCE(disabled_at, @now) END,
                        failing_since = CASE WHEN (@isEnabled = 1 AND disabled_at IS NOT NULL) OR url <> @url THEN NULL
                            ELSE failing_since END,
                        paused_until = CASE WHEN disabled_at IS NOT NULL OR url <> @url THEN NULL ELSE paused_until END
                    WHERE id = @id AND organization_id = @organizationId
                      AND (url <> @url OR events <> @events OR (disabled_at IS NULL) <> (@isEnabled = 1))
                    """,
                    new
                    {
                        id,
                        organizationId,
                        url,
                        events,
                        isEnabled = isEnabled ? 1L : 0L,
                        now,
                    },
                    transaction
                );
                if (updated == 0)
                    return await CountAsync(transaction, organizationId, id) == 0 ? noSuchWebhook : true; // unchanged
                if (!isEnabled)
                    await WebhookSender.StopAsync(transaction, id);
                await ActivityLog.WriteAsync(
                    transaction,
                    clock,
                    actor,
                    AuditAction.WebhookUpdate,
                    organizationId,
                    id.ToString(),
                    detail: isEnabled ? null : "disabled"
                );
                return true;
            }
        );

    public Task<Outcome<bool>> DeleteAsync(Actor actor, Guid organizationId, Guid id) =>
        ChangeAsync<bool>(
            actor,
            Permission.ManageWebhooks,
            organizationId,
            async transaction =>
            {
                if (await CountAsync(transaction, organizationId, id) == 0)
                    return noSuchWebhook;
                await transaction.Connection!.ExecuteAsync(
                    """
                    DELETE FROM webhook_attempts WHERE webhook_id = @id;
                    DELETE FROM webhook_messages WHERE webhook_id = @id;
                    DELETE FROM webhooks WHERE id = @id;
                    """,
                    new { id },
                    transaction
                );
                await ActivityLog.WriteAsync(transaction, clock, actor, AuditAction.WebhookDelete, organizationId, id.ToString());
                return true;
            }
        );

    /// <summary>Creates a new secret; the earlier one also signs for <see cref="SecretOverlap"/>.</summary>
    public Task<Outcome<WebhookWithSecret>> RotateSecretAsync(Actor actor, Guid organizationId, Guid id) =>
        ChangeAsync<WebhookWithSecret>(
            actor,
            Permission.MakeWebhookSecret,
            organizationId,
            async transaction =>
            {
                var secret = WebhookSignature.NewSecret();
                var updated = await transaction.Connection!.ExecuteAsync(
                    "UPDATE webhooks SET old_secret = secret, old_secret_until = @until, secret = @secret WHERE id = @id AND "
                        + "organization_id = @organizationId",
                    new
                    {
                        id,
                        organizationId,
                        secret = secrets.Protect(secret),
                        until = clock.GetUtcNow() + SecretOverlap,
                    },
                    transaction
                );
                if (updated == 0)
                    return noSuchWebhook;
                await ActivityLog.WriteAsync(
                    transaction,
                    clock,
                    actor,
                    AuditAction.WebhookUpdate,
                    organizationId,
                    id.ToString(),
                    detail: "secret"
                );
                return new WebhookWithSecret(id, WebhookSignature.Text(secret));
            }
        );

    private Task<Outcome<T>> ChangeAsync<T>(
        Actor actor,
        Permission permission,
        Guid organizationId,
        Func<DbTransaction, Task<Outcome<T>>> change
    ) =>
        database.ChangeAsync<T>(async transaction =>
        {
            var access = await Guard.AuthorizeAsync(transaction, actor, permission, organizationId);
            return access.Refusal is { } refused ? refused : await change(transaction);
        });

    private static Task<long> CountAsync(DbTransaction transaction, Guid organizationId, Guid id) =>
        transaction.Connection!.ExecuteScalarAsync<long>(
            "SELECT COUNT(*) FROM webhooks WHERE id = @id AND organization_id = @organizationId",
            new { id, organizationId },
            transaction
        );

    private Refusal? Check(string url, NameSet events) =>
        target.Check(url)
        ?? (
            events.IsAll || events.Count > 0 && events.All(EventTypes.All.Contains)
                ? null
                : Refusal.At(
                    "events",
                    RefusalCode.InvalidRequest,
                    $"choose from {string.Join(", ", EventTypes.All)}, or omit the member for all of them.",
                    "unknown event"
                )
        );
}
