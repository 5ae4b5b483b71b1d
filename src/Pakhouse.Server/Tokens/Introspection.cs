using System.Buffers;
using System.Net;
using System.Text;
using System.Text.Json;

namespace Pakhouse.Server;

/// <summary>
/// <c>POST /oauth/introspect</c> (RFC 7662): tells authenticated resource servers what a token or a raw key allows at this moment. It makes
/// the same decision as an exchange, on the same single read; nothing is cached.
/// <para>Invariant: for a token or key that is not valid the response is <c>{"active":false}</c> and nothing else, whatever the
/// reason.</para>
/// </summary>
public sealed partial class Introspection(
    Callers callers,
    KeyExchange exchange,
    KeyUsage use,
    KeyRotation rotation,
    ResourceServers servers,
    ResourceServerLimit limit,
    PakhouseOptions options,
    PublicAddress publicAddress,
    TimeProvider clock,
    ILogger<Introspection> log
)
{
    /// <summary>A token is longer than the values that <see cref="SecretForm"/> expects.</summary>
    private const int TokenLengthMax = 8 * 1024;

    private static readonly byte[] inactive = "{\"active\":false}"u8.ToArray();

    public static void Map(IEndpointRouteBuilder routes)
    {
        var endpoint = routes.ServiceProvider.GetRequiredService<Introspection>();
        routes.MapPost("/oauth/introspect", endpoint.HandleAsync).ShortCircuit();
    }

    private async Task HandleAsync(HttpContext context)
    {
        var answer = await AnswerAsync(context);
        if (answer.Refusal is { } refusal)
        {
            if (refusal.IsGuess)
            {
                // Only wrong guesses are limited: a server with its correct secret also works from an address where others guess.
                if (limit.Check(context.Connection.RemoteIpAddress) is { } slowDown)
                    refusal = slowDown;
                else
                    limit.Count(context.Connection.RemoteIpAddress);
            }

            if (refusal.Code == RefusalCode.InvalidClient)
                context.Response.Headers.WWWAuthenticate = "Basic realm=\"introspection\""; // RFC 6749 §5.2
            await OAuthErrors.WriteAsync(context.Response, refusal);
            return;
        }

        context.Response.ContentType = "application/json";
        context.Response.ContentLength = answer.Value.Length;
        OAuthErrors.ForbidStoring(context.Response);
        await context.Response.Body.WriteAsync(answer.Value);
    }

    private static readonly string[] fieldNames = ["token", "token_type_hint", "client_id", "client_secret", "client_address"];

    /// <summary>The steps, in order. Nothing is looked up for an unauthenticated caller.</summary>
    private async ValueTask<Outcome<ReadOnlyMemory<byte>>> AnswerAsync(HttpContext context)
    {
        var read = await SecretForm.ReadAsync(context.Request, fieldNames, TokenLengthMax);
        if (read.Refusal is { } unreadable)
            return unreadable;
        using var form = read.Value;

        var caller = servers.Authenticate(context.Request, form);
        if (caller.Refusal is { } unknown)
            return unknown;
        if (!form.TryGet(["token"], out var token, out _))
            return tokenMissing;

        // The caller of the resource server; the resource server's own address says nothing about it. A key that its organization allows in
        // some networks only is not valid without this address.
        IPAddress? address = null;
        if (form.TryGet(["client_address"], out var from, out _) && !IPAddress.TryParse(from.Span, out address))
            return addressUnreadable;

        // token_type_hint is not needed: the format tells a key from a token.
        return KeyFormat.TryParse(token.Span, out _, out _)
            ? await OfKeyAsync(token, address, caller.Value)
            : await OfTokenAsync(token, address);
    }

    private async ValueTask<Outcome<ReadOnlyMemory<byte>>> OfKeyAsync(ReadOnlyMemory<byte> key, IPAddress? address, string caller)
    {
        var outcome = await exchange.ProveAsync(key, address);
        if (outcome.Refusal is { } refusal)
        {
            await rotation.RecordUseAfterEndAsync(refusal, key, address, $"introspection by {caller}");
            return Inactive(refusal);
        }

        // A key that a gateway accepts is in use, and its owner should see it.
        var grant = outcome.Value;
        use.Record(grant.KeyId, grant.OrganizationId, clock.GetUtcNow(), address, $"introspection by {caller}");
        return Write(grant, grant.Roles, json =>
        {
            json.WriteString("token_type"u8, grant.IsApiKey ? "api_key"u8 : "personal_access_key"u8);
            if (grant.KeyEndsAt is { } end) json.WriteNumber("exp"u8, end.ToUnixTimeSeconds());
        });
    }

    private async ValueTask<Outcome<ReadOnlyMemory<byte>>> OfTokenAsync(ReadOnlyMemory<byte> token, IPAddress? address)
    {
        if (!Ascii.IsValid(token.Span)) return Inactive(new Refusal(RefusalCode.InvalidToken, "", "token beyond ASCII"));
        var outcome = await callers.ResumeTokenAsync(Encoding.ASCII.GetString(token.Span), address);
        if (outcome.Refusal is { } refusal) return Inactive(refusal);

        var (claims, grant) = outcome.Value;
        // Never more than the token contains, and never more than the user has now (R4).
        var said = claims.Claims.Where(claim => claim.Type == "roles").Select(claim => claim.Value).ToHashSet(StringComparer.Ordinal);
        return Write(grant, NameSet.Of(grant.Roles.Where(said.Contains)), json =>
        {
            json.WriteString("token_type"u8, "Bearer"u8);
            json.WriteNumber("exp"u8, new DateTimeOffset(claims.ValidTo, TimeSpan.Zero).ToUnixTimeSeconds());
            json.WriteNumber("iat"u8, new DateTimeOffset(claims.IssuedAt, TimeSpan.Zero).ToUnixTimeSeconds());
            json.WriteString("jti"u8, claims.Id);
        });
    }

    private ReadOnlyMemory<byte> Write(TokenGrant grant, NameSet roles, Action<Utf8JsonWriter> more)
    {
        var buffer = new ArrayBufferWriter<byte>(1024);
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteBoolean("active"u8, true);
            more(json);
            json.WriteString("iss"u8, publicAddress.Value);
            json.WriteString("aud"u8, options.Audience ?? publicAddress.Value);
            json.WriteString("sub"u8, grant.UserId);
            json.WriteString("client_id"u8, grant.IsApiKey ? AccessToken.ApiKeyClientId : AccessToken.ClientId);
            json.WriteString("scope"u8, grant.Scopes.ToString());
            if (grant.Scopes.Contains("email") && !grant.IsApiKey) json.WriteString("username"u8, grant.UserEmail);
            json.WriteString("org_id"u8, grant.OrganizationId);
            json.WriteString("root_org_id"u8, grant.RootOrganizationId);
            json.WriteString("membership"u8, grant.IsMember ? "member"u8 : "inherited"u8);
            json.WriteStartArray("roles"u8);
            foreach (var role in roles) json.WriteStringValue(role);
            json.WriteEndArray();
            json.WriteString("key_id"u8, grant.KeyId);
            json.WriteEndObject();
        }

        return buffer.WrittenMemory;
    }

    private Outcome<ReadOnlyMemory<byte>> Inactive(Refusal refusal)
    {
        LogInactive(refusal.Reason);
        return (ReadOnlyMemory<byte>)inactive;
    }

    private static readonly Refusal addressUnreadable = Refusal.At(
        "client_address",
        RefusalCode.InvalidRequest,
        "this is not an IPv4 or IPv6 address.",
        "client address unreadable"
    );
    private static readonly Refusal tokenMissing = Refusal.At(
        "token",
        RefusalCode.InvalidRequest,
        "the field is missing or empty; send the token or the key in it.",
        "no token"
    );

    [LoggerMessage(Level = LogLevel.Debug, Message = "Introspected and inactive: {Reason}")]
    private partial void LogInactive(string reason);
}
