using System.Buffers.Text;
using System.Collections.Concurrent;
using System.IO.Compression;
using System.Net;
using System.Net.Http.Headers;
using System.Text.Json;
using Microsoft.AspNetCore.Authentication.JwtBearer;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Protocols;
using Microsoft.IdentityModel.Protocols.OpenIdConnect;
using Microsoft.IdentityModel.Tokens;

namespace Pakhouse.AspNetCore;

internal enum TokenStatus
{
    Valid,

    /// <summary>For good or temporarily; also if the token names no entry.</summary>
    Invalid,

    /// <summary>No list that can be trusted is available.</summary>
    Unknown,
}

/// <summary>
/// The issuer's status lists (IETF Token Status List), held in memory and renewed in the background while tokens need them.
/// <para>Invariant: a list is trusted for its ttl, plus the configured grace, from the moment of its request, and never beyond its exp,
/// whatever later responses say. The server's response includes every change that was acknowledged before that moment, so a deleted key is
/// refused within the ttl of its deletion. An attacker in between who replays an old list, or sends 304 to everything, gains only the time
/// until that list's exp.</para>
/// </summary>
internal sealed partial class StatusLists : BackgroundService
{
    private const int ListsMax = 1024;
    private const int JwtBytesMax = 4 * 1024 * 1024;
    private const int EntryBytesMax = 4 * 1024 * 1024; // a small text can decompress into gigabytes

    /// <summary>How often lists are checked for renewal.</summary>
    private static readonly TimeSpan tick = TimeSpan.FromMilliseconds(500);

    /// <summary>A list that no token needed for this long is no longer renewed.</summary>
    private static readonly TimeSpan idle = TimeSpan.FromMinutes(10);

    /// <summary>After a failed fetch, requests cause no other fetch for this long.</summary>
    private static readonly TimeSpan pause = TimeSpan.FromSeconds(1);

    private readonly PakhouseBearerOptions options;
    private readonly TimeProvider clock;
    private readonly IOptionsMonitor<JwtBearerOptions> jwt;
    private readonly ILogger<StatusLists> log;
    private readonly HttpClient http;
    private readonly string prefix;
    private readonly ConcurrentDictionary<string, Held> lists = new(StringComparer.Ordinal);
    private readonly JsonWebTokenHandler handler = new() { MaximumTokenSizeInBytes = JwtBytesMax, MapInboundClaims = false };

    public StatusLists(IOptions<PakhouseBearerOptions> options, IOptionsMonitor<JwtBearerOptions> jwt, ILogger<StatusLists> log)
    {
        (this.options, this.jwt, this.log, clock) = (options.Value, jwt, log, options.Value.TimeProvider);
        prefix = $"{this.options.Issuer}/status-lists/";
        var through = this.options.BackchannelHttpHandler ?? IssuerDocuments.NewHandler();
        http = new HttpClient(through, disposeHandler: this.options.BackchannelHttpHandler is null)
        {
            Timeout = this.options.StatusTimeout,
            MaxResponseContentBufferSize = JwtBytesMax,
        };
        http.DefaultRequestHeaders.Accept.Add(new MediaTypeWithQualityHeaderValue("application/statuslist+jwt"));
    }

    /// <summary>
    /// A list as it was last trusted. AskedAt is a timestamp of the clock: the start of its fetch, or of the last fetch that confirmed it.
    /// </summary>
    private sealed record Contents(
        byte[] Entries,
        int Bits,
        long Version,
        DateTimeOffset Expires,
        TimeSpan Ttl,
        EntityTagHeaderValue? ETag,
        long AskedAt
    );

    private sealed class Held(string address)
    {
        public readonly Lock Turn = new();
        public string Address => address;
        public volatile Contents? Contents;
        public Task? Fetching;
        public long UsedAt;
        public long FailedAt = long.MinValue;
    }

    /// <summary>The status of the key of a token whose signature and claims were already verified (§8.3, in this order).</summary>
    public async ValueTask<TokenStatus> FindAsync(JsonWebToken token)
    {
        if (
            !token.TryGetPayloadValue<JsonElement>("status", out var status)
            || status.ValueKind != JsonValueKind.Object
            || !status.TryGetProperty("status_list", out var reference)
            || reference.ValueKind != JsonValueKind.Object
            || !reference.TryGetProperty("idx", out var idx)
            || idx.ValueKind != JsonValueKind.Number
            || !idx.TryGetInt32(out var entry)
            || entry < 0
            || !reference.TryGetProperty("uri", out var uri)
            || uri.ValueKind != JsonValueKind.String
            || uri.GetString() is not { } address
            || !IsOurs(address)
        )
            return TokenStatus.Invalid;

        if (!lists.TryGetValue(address, out var held))
        {
            if (lists.Count >= ListsMax)
                return TokenStatus.Unknown;
            held = lists.GetOrAdd(address, static address => new Held(address));
        }

        held.UsedAt = clock.GetTimestamp();
        if (!IsBelieved(held.Contents, TimeSpan.Zero) && !HasJustFailed(held))
            await FetchOnceAsync(held);
        if (!IsBelieved(held.Contents, options.StatusGrace))
            return TokenStatus.Unknown;

        var contents = held.Contents!;
        var perByte = 8 / contents.Bits;
        if (entry / perByte >= contents.Entries.Length)
            return TokenStatus.Invalid; // §8.3: no statement can be made
        return (contents.Entries[entry / perByte] >> entry % perByte * contents.Bits & (1 << contents.Bits) - 1) == 0
            ? TokenStatus.Valid
            : TokenStatus.Invalid;
    }

    /// <summary>Renews lists at half of their ttl, so that a request rarely waits and one failure does no harm.</summary>
    internal Task RenewAsync() =>
        Task.WhenAll(
            lists
                .Values.Where(held =>
                    clock.GetElapsedTime(held.UsedAt) < idle
                    && (held.Contents is not { } contents || clock.GetElapsedTime(contents.AskedAt) >= contents.Ttl / 2)
                )
                .Select(FetchOnceAsync)
        );

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(tick, clock);
        try
        {
            while (await timer.WaitForNextTickAsync(stoppingToken)) await RenewAsync();
        }
        catch (OperationCanceledException)
        {
            // The application is stopping.
        }
    }

    public override void Dispose()
    {
        http.Dispose();
        base.Dispose();
    }

    /// <summary>
    /// The signature proves that the issuer wrote the URL; even so, lists are fetched only from the issuer.
    /// </summary>
    private bool IsOurs(string address) =>
        address.StartsWith(prefix, StringComparison.Ordinal)
        && address.Length - prefix.Length is >= 1 and <= 9
        && address.AsSpan(prefix.Length).IndexOfAnyExceptInRange('0', '9') < 0;

    private bool IsBelieved(Contents? contents, TimeSpan grace) =>
        contents is not null && clock.GetElapsedTime(contents.AskedAt) < contents.Ttl + grace && !HasExpired(contents.Expires);

    private bool HasExpired(DateTimeOffset expires) => expires <= clock.GetUtcNow() - options.ClockSkew;

    private bool HasJustFailed(Held held) => held.FailedAt != long.MinValue && clock.GetElapsedTime(held.FailedAt) < pause;

    private Task FetchOnceAsync(Held held)
    {
        lock (held.Turn)
        {
            if (held.Fetching is null or { IsCompleted: true }) held.Fetching = FetchAsync(held);
            return held.Fetching;
        }
    }

    /// <summary>Never throws: a failure is logged, and the held list ages.</summary>
    private async Task FetchAsync(Held held)
    {
        await Task.Yield();
        var asked = clock.GetTimestamp();
        try
        {
            var known = held.Contents;
            using var request = new HttpRequestMessage(HttpMethod.Get, held.Address);
            var tag = known is not null && known.Expires > clock.GetUtcNow() ? known.ETag : null; // an expired list is fetched completely
            if (tag is not null)
                request.Headers.IfNoneMatch.Add(tag);
            using var response = await http.SendAsync(request);
            // A cache may have stored the response; its age counts from when the server sent it.
            var askedAt = asked - (long)((response.Headers.Age ?? TimeSpan.Zero).TotalSeconds * clock.TimestampFrequency);
            if (response.RequestMessage?.RequestUri is { } answered && answered.OriginalString != held.Address)
                throw new HttpRequestException("The status list was redirected.");
            if (response.StatusCode == HttpStatusCode.NotModified)
            {
                // RFC 9110 §15.4.5: a 304 responds to a condition, and names the matching tag.
                if (known is null || tag is null || (response.Headers.ETag is { } same && same.Tag != tag.Tag))
                    throw new HttpRequestException("The response was 304, but no tag or another tag was sent.");
                held.Contents = known with { AskedAt = Math.Max(askedAt, known.AskedAt) };
            }
            else
            {
                response.EnsureSuccessStatusCode();
                held.Contents = await ReadAsync(held, await response.Content.ReadAsStringAsync(), response.Headers.ETag, askedAt);
            }

            held.FailedAt = long.MinValue;
        }
        catch (Exception e)
        {
            held.FailedAt = clock.GetTimestamp();
            LogNotFetched(e, held.Address);
        }
    }

    /// <summary>§8.3, step 3 to 5.</summary>
    /// <exception cref="SecurityTokenException">It cannot be trusted.</exception>
    private async Task<Contents> ReadAsync(Held held, string text, EntityTagHeaderValue? tag, long askedAt)
    {
        var manager = jwt.Get(PakhouseExtensions.Scheme).ConfigurationManager!;
        var validated = await ValidateAsync(held, text, manager);
        if (validated.Exception is SecurityTokenSignatureKeyNotFoundException)
        {
            manager.RequestRefresh(); // the issuer has rotated its key
            validated = await ValidateAsync(held, text, manager);
        }

        if (!validated.IsValid)
            throw new SecurityTokenException(
                "The status list is not signed by the issuer, is of another type, is not for this address or has expired.",
                validated.Exception
            );
        var list = (JsonWebToken)validated.SecurityToken;
        if (list.Subject != held.Address)
            throw new SecurityTokenException("The wrong status list was sent: sub is not its URL.");
        if (
            !list.TryGetPayloadValue<long>("version", out var version)
            || !list.TryGetPayloadValue<long>("ttl", out var ttl)
            || ttl is < 1 or > 86400
        )
            throw new SecurityTokenException("The status list has no version or no ttl.");
        if (held.Contents is { } known && version < known.Version)
            throw new SecurityTokenException("The status list was rolled back: it is older than the previous one.");
        if (
            !list.TryGetPayloadValue<JsonElement>("status_list", out var body)
            || !body.TryGetProperty("bits", out var bits)
            || !body.TryGetProperty("lst", out var lst)
            || bits.GetInt32() is not (1 or 2 or 4 or 8)
        )
            throw new SecurityTokenException("The status list has no entries.");
        return new Contents(
            Unfold(lst.GetString()!),
            bits.GetInt32(),
            version,
            new DateTimeOffset(list.ValidTo, TimeSpan.Zero),
            TimeSpan.FromSeconds(ttl),
            tag,
            askedAt
        );
    }

    private async Task<TokenValidationResult> ValidateAsync(
        Held held,
        string text,
        IConfigurationManager<OpenIdConnectConfiguration> manager
    )
    {
        var issuer = await manager.GetConfigurationAsync(CancellationToken.None);
        return await handler.ValidateTokenAsync(text, new TokenValidationParameters
        {
            ValidIssuer = options.Issuer,
            ValidAudience = held.Address, // its own URL, so that it is never an access token for an API
            ValidTypes = ["statuslist+jwt"],
            ValidAlgorithms = ["ES256", "RS256"],
            IssuerSigningKeys = issuer.SigningKeys,
            RequireSignedTokens = true,
            LifetimeValidator = (_, expires, _, _) => expires is { } end && !HasExpired(new DateTimeOffset(end, TimeSpan.Zero)),
        });
    }

    private static byte[] Unfold(string lst)
    {
        using var zlib = new ZLibStream(new MemoryStream(Base64Url.DecodeFromChars(lst)), CompressionMode.Decompress);
        using var entries = new MemoryStream();
        var buffer = new byte[16 * 1024];
        for (int read; (read = zlib.Read(buffer)) > 0;)
        {
            if (entries.Length + read > EntryBytesMax) throw new SecurityTokenException("The status list is too long.");
            entries.Write(buffer, 0, read);
        }

        return entries.ToArray();
    }

    [LoggerMessage(
        Level = LogLevel.Warning,
        Message = "The status list {Address} could not be renewed; the previous one is trusted until its ttl has passed"
    )]
    private partial void LogNotFetched(Exception exception, string address);
}
