namespace Pakhouse.Server;

/// <summary>
/// <c>POST /oauth/revoke</c> (RFC 7009): the holder of a key can end it with the key itself. There is no client to authenticate: the secret
/// is the proof, and its holder can end only that key.
/// <para>Invariant: the response is 200 for every key, valid, ended or invented. When it has arrived, a valid key is deleted (R5).</para>
/// </summary>
public sealed class RevocationEndpoint(Keys keys, RevocationLimit limit)
{
    private const int TokenLengthMax = 8 * 1024;

    public static void Map(IEndpointRouteBuilder routes)
    {
        var endpoint = routes.ServiceProvider.GetRequiredService<RevocationEndpoint>();
        routes.MapPost("/oauth/revoke", endpoint.HandleAsync).ShortCircuit();
    }

    private async Task HandleAsync(HttpContext context)
    {
        OAuthErrors.ForbidStoring(context.Response);
        if (await RevokeAsync(context) is { } refusal)
            await OAuthErrors.WriteAsync(context.Response, refusal);
    }

    private static readonly string[] fieldNames = ["token", "token_type_hint", "client_id", "client_secret"];

    private async ValueTask<Refusal?> RevokeAsync(HttpContext context)
    {
        var address = context.Connection.RemoteIpAddress;
        var read = await SecretForm.ReadAsync(context.Request, fieldNames, TokenLengthMax);
        if (read.Refusal is { } unreadable)
            return unreadable;
        using var form = read.Value;
        if (!form.TryGet(["token"], out var token, out _))
            return tokenMissing;
        // Decided by the format alone, so that the response reveals nothing about a certain token.
        if (token.Span.Contains((byte)'.'))
            return tokenAndNotKey;
        if (KeyFormat.TryParse(token.Span, out _, out var keyId) && await keys.RevokeByHolderAsync(keyId, token, address))
            return null;

        // A guess, or a key that has ended. Only those are limited: a valid key can be ended also from an address where others guess.
        if (limit.Check(address) is { } slowDown)
            return slowDown;
        limit.Count(address);
        return null; // §2.2: an invalid token is not an error
    }

    private static readonly Refusal tokenMissing = Refusal.At(
        "token",
        RefusalCode.InvalidRequest,
        "the field is missing or empty; send the key in it.",
        "no token"
    );

    // §2.2.1. A 200 would make the caller believe that the token is revoked.
    private static readonly Refusal tokenAndNotKey = Refusal.At(
        "token",
        RefusalCode.InvalidRequest,
        "an access token cannot be revoked on its own; it ends with its key or when it expires. Send the key, or delete it on the "
            + "dashboard.",
        "a token, not a key"
    ) with
    {
        ErrorText = "unsupported_token_type",
    };
}

/// <summary>Revocations without a valid secret.</summary>
public sealed class RevocationLimit(PakhouseOptions options, TimeProvider clock) : FailureLimit(options.FailuresPerMinuteMax, clock);
