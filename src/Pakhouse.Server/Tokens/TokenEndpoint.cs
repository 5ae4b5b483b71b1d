using System.Buffers;
using System.Buffers.Text;
using System.Collections.Frozen;
using System.IO.Pipelines;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Pakhouse.Server;

/// <summary>
/// The exchange over HTTP: <c>POST /auth/v3/token</c> and its two older addresses for people's keys, <c>POST /auth/v1/api-key/token</c> for
/// API keys of organizations. It owns the field names, the bounds and the format of the responses; <see cref="KeyExchange"/> decides. The
/// contract is docs/protocol.md, "Exchange".
/// <para>Invariant: the key's bytes are in one buffer only, which is wiped before the response is complete, whatever the response
/// is.</para>
/// </summary>
public sealed partial class TokenEndpoint(
    KeyExchange exchange,
    AccessToken accessToken,
    KeyUsage use,
    KeyRotation rotation,
    ExchangeLimit limit,
    TimeProvider clock,
    ILogger<TokenEndpoint> log
)
{
    private const string Current = "/auth/v3/token";

    // One for each thread, filled and emptied within one call of WriteAnswerAsync.
    [ThreadStatic]
    private static ArrayBufferWriter<byte>? tokenBuffer,
        answerBuffer;

    [ThreadStatic]
    private static Utf8JsonWriter? writer;

    private static readonly TimeSpan warningFrom = TimeSpan.FromDays(14);

    /// <summary>The field names of a form. Responses use the first name of each field.</summary>
    /// <param name="ApiKeyName">Empty: a form for people's keys.</param>
    private sealed record Form(string[] Key, string[] Target, string[] ApiKeyName, Refusal TargetNotUuid);

    // Every address accepts every name, because existing clients mix them.
    private static readonly Form ofPeople = new(
        ["personalAccessKey", "personal-access-key", "pat"],
        ["subOrganization", "subOrganizationId"],
        [],
        Refusal.At(
            "subOrganization",
            RefusalCode.InvalidRequest,
            "this is not an organization id; ids are UUIDs such as 0190f3a2-7c11-7d3e-9b52-3f1c8a6d4e70.",
            "target is no UUID"
        )
    );

    private static readonly Form ofOrganizations = new(
        ["secret"],
        ["organizationId"],
        ["name"],
        Refusal.At(
            "organizationId",
            RefusalCode.InvalidRequest,
            "this is not an organization id; ids are UUIDs such as 0190f3a2-7c11-7d3e-9b52-3f1c8a6d4e70.",
            "target is no UUID"
        ) with
        {
            ErrorText = "organizationId must be a valid GUID",
        }
    );

    private static readonly string[] scopeNames = ["scope"];

    internal static readonly string[] FieldNames =
    [
        .. ofPeople.Key,
        .. ofPeople.Target,
        .. ofOrganizations.Key,
        .. ofOrganizations.Target,
        .. ofOrganizations.ApiKeyName,
        .. scopeNames,
    ];

    public static void Map(IEndpointRouteBuilder routes)
    {
        var endpoint = routes.ServiceProvider.GetRequiredService<TokenEndpoint>();
        Add(Current, context => endpoint.HandleAsync(context, ofPeople, isOldAddress: false));
        Add("/auth/v2/token", context => endpoint.HandleAsync(context, ofPeople, isOldAddress: true));
        Add("/auth/v1/token", context => endpoint.HandleAsync(context, ofPeople, isOldAddress: true));
        Add("/auth/v1/api-key/token", context => endpoint.HandleAsync(context, ofOrganizations, isOldAddress: false));

        // ShortCircuit: no later middleware (sessions, antiforgery, pages) is needed here.
        void Add(string address, RequestDelegate handle) =>
            routes.MapPost(address, handle).ShortCircuit().WithMetadata(new TokenAddress(address));
    }

    private sealed record TokenAddress(string Value);

    /// <summary>
    /// Matches the URLs of exchanges, exactly as documented, before routing. Other spellings (capitals, a trailing slash) and other
    /// methods are routed.
    /// </summary>
    public static void UseBeforeRouting(WebApplication app)
    {
        // Map creates the endpoints later.
        var endpoints = new Lazy<FrozenDictionary<string, Endpoint>>(() =>
            ((IEndpointRouteBuilder)app).DataSources.SelectMany(source => source.Endpoints)
                .Where(endpoint => endpoint.Metadata.GetMetadata<TokenAddress>() is not null)
                .ToFrozenDictionary(endpoint => endpoint.Metadata.GetMetadata<TokenAddress>()!.Value, StringComparer.Ordinal));
        app.Use(next => context =>
        {
            var request = context.Request;
            if (!HttpMethods.IsPost(request.Method) || !endpoints.Value.TryGetValue(request.Path.Value ?? "", out var endpoint))
                return next(context);
            context.SetEndpoint(endpoint);
            return endpoint.RequestDelegate!(context);
        });
    }

    private async Task HandleAsync(HttpContext context, Form names, bool isOldAddress)
    {
        if (isOldAddress)
            MarkDeprecated(context.Response);

        var outcome = await AnswerAsync(context, names);
        if (outcome.Refusal is { } refusal)
        {
            // Only wrong guesses are limited: a correct key also works from an address where others guess, such as a shared gateway.
            if (refusal.IsGuess)
            {
                if (limit.Check(context.Connection.RemoteIpAddress) is { } slowDown)
                    refusal = slowDown;
                else
                    limit.Count(context.Connection.RemoteIpAddress);
            }

            LogRefused(context.TraceIdentifier, refusal.Error, refusal.Reason);
            await OAuthErrors.WriteAsync(context.Response, InWireWords(refusal, names));
            return;
        }

        await WriteTokenAsync(context.Response, outcome.Value);
    }

    /// <summary>The steps of an exchange, in order.</summary>
    private async ValueTask<Outcome<TokenGrant>> AnswerAsync(HttpContext context, Form names)
    {
        if (HasKeyInQuery(context.Request.QueryString))
            return keyInQuery;

        var read = await SecretForm.ReadAsync(context.Request, FieldNames);
        if (read.Refusal is { } unreadable)
            return unreadable;
        using var form = read.Value;

        if (!form.TryGet(names.Key, out var key, out var ambiguous))
            return ambiguous ?? Missing(names.Key[0], "the key");
        if (ReadApiKeyName(form, names, out var apiKeyName) is { } noName)
            return noName;
        if (ReadTarget(form, names, out var target) is { } badTarget)
            return badTarget;
        if (ReadScopes(form, out var scopes) is { } badScopes)
            return badScopes;

        var (address, userAgent) = (context.Connection.RemoteIpAddress, context.Request.Headers.UserAgent);
        var outcome = await exchange.ExchangeAsync(new ExchangeRequest(key, target, scopes, apiKeyName) { Address = address });
        if (outcome.Refusal is { } refusal)
            await rotation.RecordUseAfterEndAsync(refusal, key, address, userAgent);
        else
            use.Record(outcome.Value.KeyId, outcome.Value.OrganizationId, clock.GetUtcNow(), address, userAgent);

        return outcome;
    }

    private ValueTask<FlushResult> WriteTokenAsync(HttpResponse response, TokenGrant grant)
    {
        var now = clock.GetUtcNow();
        response.ContentType = "application/json";
        OAuthErrors.ForbidStoring(response);
        if (grant.KeyEndsAt is { } endsAt)
            response.Headers["Personal-Access-Key-Expires"] = endsAt.ToString("R");
        return WriteAnswerAsync(response, grant, now);
    }

    /// <summary>
    /// Writes the response of an exchange (RFC 6749 §5.1, and our own members) in one write to the socket. Members without a value are
    /// omitted.
    /// </summary>
    private ValueTask<FlushResult> WriteAnswerAsync(HttpResponse response, TokenGrant grant, DateTimeOffset now)
    {
        var (token, answer) = (tokenBuffer ??= new(2048), answerBuffer ??= new(4096));
        token.ResetWrittenCount();
        answer.ResetWrittenCount();
        accessToken.Write(grant, now, token);

        var json = writer ??= new(answer, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping });
        json.Reset(answer);
        json.WriteStartObject();
        json.WriteString("access_token"u8, token.WrittenSpan);
        json.WriteString("token_type"u8, "Bearer"u8);
        json.WriteNumber("expires_in"u8, (long)accessToken.LifetimeOf(grant, now).TotalSeconds);
        json.WriteString("scope"u8, grant.Scopes.ToString());
        json.WriteString("organization_id"u8, grant.OrganizationId);
        if (grant.KeyEndsAt is { } ends)
        {
            json.WriteString("key_expires_at"u8, ends.UtcDateTime.AddTicks(-(ends.Ticks % TimeSpan.TicksPerSecond))); // whole seconds
            if (ends - now <= warningFrom)
                json.WriteString("warning"u8, Warning(grant, ends));
        }

        json.WriteEndObject();
        json.Flush();
        response.ContentLength = answer.WrittenCount;
        response.BodyWriter.Write(answer.WrittenSpan);
        return response.BodyWriter.FlushAsync();
    }

    /// <summary>For people who read the logs of their programs: what ends, when, and what to do.</summary>
    private static string Warning(TokenGrant grant, DateTimeOffset endsAt) =>
        grant.IsReplaced ? $"This key was rotated and ends on {TimeText.Exact(endsAt)}. Use the key that replaced it."
        : grant.KeyExpiresAt == endsAt ? $"This key expires on {TimeText.Exact(endsAt)}. Rotate it or generate a new one before then."
        : $"The organization's policy ends this key on {TimeText.Exact(endsAt)}. Ask an owner of the organization.";

    /// <summary>
    /// URLs are kept in logs and histories. A key in a URL is refused even if it is correct, so that nobody relies on it.
    /// </summary>
    private static bool HasKeyInQuery(QueryString query)
    {
        if (!query.HasValue)
            return false;
        if (KeyFormat.MightContainKey(query.Value!))
            return true;
        foreach (var pair in new Microsoft.AspNetCore.WebUtilities.QueryStringEnumerable(query.Value))
            if (
                ofPeople
                    .Key.Concat(ofOrganizations.Key)
                    .Any(name => pair.DecodeName().Span.Equals(name, StringComparison.OrdinalIgnoreCase))
            )
                return true;
        return false;
    }

    /// <summary>A UUID, with or without braces.</summary>
    private static Refusal? ReadTarget(SecretForm form, Form names, out Guid? target)
    {
        target = null;
        if (!form.TryGet(names.Target, out var value, out var ambiguous))
            return ambiguous;
        var format = value.Span[0] == '{' ? 'B' : 'D';
        if (!Utf8Parser.TryParse(value.Span, out Guid id, out var consumed, format) || consumed != value.Length)
            return names.TargetNotUuid;
        target = id;
        return null;
    }

    private static Refusal? ReadApiKeyName(SecretForm form, Form names, out ReadOnlyMemory<byte>? name)
    {
        name = null;
        if (names.ApiKeyName.Length == 0)
            return null;
        if (!form.TryGet(names.ApiKeyName, out var value, out _))
            return Missing(names.ApiKeyName[0], "the name of the API key");
        name = value;
        return null;
    }

    private static Refusal? ReadScopes(SecretForm form, out ScopeRequest scopes)
    {
        scopes = ScopeRequest.Everything;
        if (!form.TryGet(scopeNames, out var value, out _))
            return null;
        if (!Ascii.IsValid(value.Span))
            return Refusal.At("scope", RefusalCode.InvalidScope, "a scope is unknown.", "scope beyond ASCII");
        scopes = ScopeRequest.Of(NameSet.Parse(Encoding.ASCII.GetString(value.Span)));
        return null;
    }

    private static void MarkDeprecated(HttpResponse response)
    {
        response.Headers["Deprecation"] = "@1793491200"; // RFC 9745: since 2026-11-01
        response.Headers.Link = $"<{Current}>; rel=\"successor-version\""; // RFC 5829 §3.2
    }

    private static readonly Refusal keyInQuery = Refusal.At(
        "key",
        RefusalCode.InvalidRequest,
        "never send a key in a URL, because logs and histories keep it. Send it in the body, delete this key and generate a "
            + "new one.",
        "key in the query string"
    );

    private static Refusal Missing(string field, string what) =>
        Refusal.At(field, RefusalCode.InvalidRequest, $"the field is missing or empty; send {what} in it.", $"no {field}");

    private static Refusal InWireWords(Refusal refusal, Form names) =>
        refusal.Field switch
        {
            "key" => refusal.In(names.Key[0]),
            "organization" => refusal.In(names.Target[0]),
            _ => refusal,
        };

    [LoggerMessage(Level = LogLevel.Debug, Message = "{RequestId}: exchange refused, {Error}: {Reason}")]
    private partial void LogRefused(string requestId, string error, string reason);
}
