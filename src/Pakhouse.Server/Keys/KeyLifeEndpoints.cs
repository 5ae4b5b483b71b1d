using System.Buffers.Text;

namespace Pakhouse.Server;

/// <summary>
/// The life cycle of a key over HTTP: its usage and its successor. The contract is docs/protocol.md, "The life of a key".
/// </summary>
public static class KeyLifeEndpoints
{
    private static readonly string[] keyNames = ["personalAccessKey"],
        overlapNames = ["overlapSeconds"];
    private static readonly string[] fieldNames = [.. keyNames, .. overlapNames];

    private static readonly Refusal keyMissing = Refusal.At(
        "personalAccessKey",
        RefusalCode.InvalidRequest,
        "the field is missing or empty; send the key in it.",
        "no key"
    );
    private static readonly Refusal overlapNotNumber = Refusal.At(
        "overlapSeconds",
        RefusalCode.InvalidRequest,
        "a whole number was expected.",
        "overlap is no number"
    );

    public static void Map(IEndpointRouteBuilder routes)
    {
        var keys = routes
            .MapApi("/identity/v1/organizations/{organizationId:guid}/personal-access-keys/{keyId}")
            .WithTags("Personal access keys");
        keys.MapGet(
                "/usage",
                async (HttpContext context, Guid organizationId, string keyId, KeyHistory history) =>
                    (await history.ReadAsync(context.Caller(), organizationId, keyId)).ToResult(Usage)
            )
            .WithName("getKeyUsage")
            .WithSummary("The usage of a key");
        keys.MapPost(
                "/rotate",
                async (HttpContext context, Guid organizationId, string keyId, long? overlapSeconds, KeyRotation rotation) =>
                    (
                        await rotation.RotateAsync(context.Caller(), organizationId, keyId, KeyFormat.NewId(), Overlap(overlapSeconds))
                    ).ToResult(Show)
            )
            .WithName("rotateKey")
            .WithSummary("Creates the successor of a key and shows it once (with a session only)");
        keys.MapPost(
                "/finish-rotation",
                async (HttpContext context, Guid organizationId, string keyId, KeyRotation rotation) =>
                    (await rotation.FinishAsync(context.Caller(), organizationId, keyId)).ToEmpty()
            )
            .WithName("finishKeyRotation")
            .WithSummary("Ends the overlap of a replaced key now");

        // The form contains the key itself, as at the token endpoint, and never a token: otherwise a stolen token, which is valid for an
        // hour, would give its thief a key for months.
        routes
            .MapPost("/identity/v1/personal-access-keys/self/rotate", RotateSelfAsync)
            .WithTags("Personal access keys")
            .WithName("rotateKeyItself")
            .WithSummary("Creates the successor of the key in the form field personalAccessKey, where the policy allows it")
            .ShortCircuit(); // no middleware may read the form as text
    }

    private static async Task<IResult> RotateSelfAsync(HttpContext context, KeyExchange exchange, KeyRotation rotation, ExchangeLimit limit)
    {
        context.Response.Headers.CacheControl = "no-store";
        var read = await SecretForm.ReadAsync(context.Request, fieldNames);
        if (read.Refusal is { } unreadable)
            return unreadable.ToResult();
        using var form = read.Value;
        if (!form.TryGet(keyNames, out var key, out _))
            return keyMissing.ToResult();
        long? overlap = null;
        if (form.TryGet(overlapNames, out var text, out _))
        {
            if (!Utf8Parser.TryParse(text.Span, out long seconds, out var consumed) || consumed != text.Length)
                return overlapNotNumber.ToResult();
            overlap = seconds;
        }

        var address = context.Connection.RemoteIpAddress;
        var proved = await exchange.ExchangeAsync(new ExchangeRequest(key, null, ScopeRequest.Everything) { Address = address });
        if (proved.Refusal is { } refusal)
        {
            await rotation.RecordUseAfterEndAsync(refusal, key, address, context.Request.Headers.UserAgent);
            if (refusal.IsGuess && limit.Check(address) is { } slowDown)
                return slowDown.ToResult();
            if (refusal.IsGuess)
                limit.Count(address);
            return (refusal.Field == "key" ? refusal.In("personalAccessKey") : refusal).ToResult();
        }

        var actor = Actor.Key(Guid.Parse(proved.Value.UserId), proved.Value.KeyId, proved.Value.Scopes, address: address);
        return (
            await rotation.RotateSelfAsync(actor, Guid.Parse(proved.Value.OrganizationId), KeyFormat.NewId(), Overlap(overlap))
        ).ToResult(Show);
    }

    /// <summary>A value that does not fit a time span is out of the bounds of an overlap too.</summary>
    private static TimeSpan Overlap(long? seconds) =>
        seconds is { } given ? TimeSpan.FromSeconds(Math.Clamp(given, -1, int.MaxValue)) : KeyRotation.OverlapDefault;

    private static object Show(Rotated rotated) =>
        new
        {
            rotated.Key.Id,
            rotated.Name,
            PersonalAccessKey = rotated.Key.Reveal(),
            ExpiryDate = rotated.ExpiresAt,
            Replaces = rotated.OldId,
            OverlapEndDate = rotated.OldEndsAt,
        };

    private static object Usage(KeyRecord record) =>
        new
        {
            record.Key.Id,
            LastUsedDate = record.Key.LastUsedAt,
            record.Key.LastUsedAddress,
            record.Key.LastUsedUserAgent,
            LastUsedOrganizationId = record.LastUsedFor,
            Hours = record.Hours.Select(hour => new { Hour = hour.At, hour.Count }),
            Networks = record.Networks.Select(network => new
            {
                network.Network,
                FirstUsedDate = network.FirstUsedAt,
                LastUsedDate = network.LastUsedAt,
            }),
            UsedAfterEnd = record.AfterEnd is { } late
                ? new
                {
                    late.Count,
                    FirstDate = late.FirstAt,
                    LastDate = late.LastAt,
                    late.Address,
                    late.UserAgent,
                }
                : null,
        };
}
