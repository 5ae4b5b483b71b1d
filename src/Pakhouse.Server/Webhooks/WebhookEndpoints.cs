using System.Text.Json;

namespace Pakhouse.Server;

/// <summary>Webhooks over HTTP: <c>identity/v1/organizations/{id}/webhooks</c>. The contract is docs/protocol.md, "Webhooks".</summary>
internal static class WebhookEndpoints
{
    /// <param name="Events">Absent or null: all. An empty list is refused.</param>
    /// <param name="Enabled">Null: yes.</param>
    public sealed record WantedWebhook(string? Url, IReadOnlyList<string>? Events, bool? Enabled);

    public static void Map(IEndpointRouteBuilder routes)
    {
        var api = routes.MapApi("/identity/v1/organizations/{organizationId:guid}/webhooks").WithTags("Webhooks");
        api.MapGet(
                "",
                async (HttpContext context, Webhooks webhooks, Guid organizationId) =>
                    (await webhooks.ListAsync(context.Caller(), organizationId)).ToResult(list => list.Select(Shown))
            )
            .WithName("listWebhooks")
            .WithSummary("The webhooks of an organization");
        api.MapPost(
                "",
                async (HttpContext context, Webhooks webhooks, Guid organizationId, Body<WantedWebhook> body) =>
                    body.Refusal is { } unreadable ? unreadable.ToResult()
                    : body.Value.Events is { Count: 0 } ? noEvents.ToResult()
                    : (await webhooks.CreateAsync(context.Caller(), organizationId, body.Value.Url ?? "", EventsOf(body.Value))).ToResult(
                        made => new { made.Id, made.Secret }
                    )
            )
            .WithName("createWebhook")
            .WithSummary("Creates a webhook and shows its secret once");
        api.MapGet(
                "/{id:guid}",
                async (HttpContext context, Webhooks webhooks, Guid organizationId, Guid id) =>
                    (await webhooks.FindAsync(context.Caller(), organizationId, id)).ToResult(Shown)
            )
            .WithName("getWebhook")
            .WithSummary("One webhook");
        api.MapPut(
                "/{id:guid}",
                async (HttpContext context, Webhooks webhooks, Guid organizationId, Guid id, Body<WantedWebhook> body) =>
                    body.Refusal is { } unreadable ? unreadable.ToResult()
                    : body.Value.Events is { Count: 0 } ? noEvents.ToResult()
                    : (
                        await webhooks.UpdateAsync(
                            context.Caller(),
                            organizationId,
                            id,
                            body.Value.Url ?? "",
                            EventsOf(body.Value),
                            body.Value.Enabled ?? true
                        )
                    ).ToEmpty()
            )
            .WithName("changeWebhook")
            .WithSummary("Changes a webhook");
        api.MapDelete(
                "/{id:guid}",
                async (HttpContext context, Webhooks webhooks, Guid organizationId, Guid id) =>
                    (await webhooks.DeleteAsync(context.Caller(), organizationId, id)).ToEmpty()
            )
            .WithName("deleteWebhook")
            .WithSummary("Deletes a webhook");
        api.MapPost(
                "/{id:guid}/secret",
                async (HttpContext context, Webhooks webhooks, Guid organizationId, Guid id) =>
                    (await webhooks.RotateSecretAsync(context.Caller(), organizationId, id)).ToResult(made => new { made.Id, made.Secret })
            )
            .WithName("rotateWebhookSecret")
            .WithSummary("Gives a webhook a new secret and shows it once");
        api.MapPost(
                "/{id:guid}/test",
                async (HttpContext context, Webhooks webhooks, Guid organizationId, Guid id) =>
                    (await webhooks.TestAsync(context.Caller(), organizationId, id)).ToResult(message => new { id = message })
            )
            .WithName("testWebhook")
            .WithSummary("Sends a test message to a webhook");
        api.MapGet(
                "/{id:guid}/deliveries",
                async (HttpContext context, Webhooks webhooks, Guid organizationId, Guid id, int? first) =>
                    (await webhooks.DeliveriesAsync(context.Caller(), organizationId, id, Math.Max(0, first ?? 0), 50)).ToResult(
                        found => new { found.Total, data = found.Part.Select(Shown) }
                    )
            )
            .WithName("listDeliveries")
            .WithSummary("The deliveries of a webhook and their results");
        api.MapPost(
                "/{id:guid}/deliveries/{message}/resend",
                async (HttpContext context, Webhooks webhooks, Guid organizationId, Guid id, string message) =>
                    (await webhooks.ResendAsync(context.Caller(), organizationId, id, message)).ToEmpty()
            )
            .WithName("resendDelivery")
            .WithSummary("Sends a message again");
    }

    private static readonly Refusal noEvents = Refusal.At(
        "events",
        RefusalCode.InvalidRequest,
        "the list is empty. Name at least one event, or omit the member for all of them.",
        "events empty"
    );

    private static NameSet EventsOf(WantedWebhook wanted) => wanted.Events is { } names ? NameSet.Of(names) : NameSet.All;

    private static object Shown(Webhook webhook) =>
        new
        {
            webhook.Id,
            webhook.Url,
            events = webhook.Events.IsAll ? null : webhook.Events.ToArray(), // null: all
            enabled = webhook.DisabledAt is null,
            webhook.CreatedAt,
            webhook.FailingSince,
            webhook.DisabledAt,
            webhook.OldSecretUntil,
        };

    private static object Shown(WebhookDelivery delivery) =>
        new
        {
            delivery.Id,
            delivery.Type,
            message = JsonSerializer.Deserialize<JsonElement>(delivery.Body),
            delivery.CreatedAt,
            delivered = delivery.IsDelivered,
            nextAttemptAt = delivery.DueAt,
            delivery.Attempts,
            lastAttempt = delivery.AttemptedAt is null
                ? null
                : new
                {
                    at = delivery.AttemptedAt,
                    delivery.Milliseconds,
                    delivery.Status,
                    delivery.Error,
                },
        };
}
