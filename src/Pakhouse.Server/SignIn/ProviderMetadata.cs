using Microsoft.IdentityModel.Protocols;
using Microsoft.IdentityModel.Protocols.OpenIdConnect;
using Microsoft.IdentityModel.Tokens;

namespace Pakhouse.Server;

/// <summary>
/// The metadata of the OpenID Connect provider: its endpoints and its signing keys. It is read when first needed, again after an hour, and
/// at once when a token has an unknown signing key, so that the sign-in that finds a new key succeeds.
/// <para>Invariant: no request waits longer than <see cref="Timeout"/> for one response of the provider, and no caller can make this server
/// request more often than every <see cref="RequestedMin"/>.</para>
/// </summary>
/// <remarks>
/// Microsoft's ConfigurationManager was not used: it fetches new keys after the request that needed them, which then fails, and accepts
/// withdrawn keys for an hour more ("last known good").
/// </remarks>
public sealed class ProviderMetadata : BaseConfigurationManager, IConfigurationManager<OpenIdConnectConfiguration>, IDisposable
{
    /// <summary>The limit of one response of the provider.</summary>
    public static readonly TimeSpan Timeout = TimeSpan.FromSeconds(5);

    /// <summary>The least time between two readings because of an unknown key.</summary>
    public static readonly TimeSpan RequestedMin = TimeSpan.FromSeconds(10);

    /// <summary>The most sign-ins that wait at once for a provider that hangs.</summary>
    private static readonly TimeSpan failureLasts = TimeSpan.FromSeconds(2);

    private static readonly TimeSpan freshFor = TimeSpan.FromHours(1);

    private readonly SemaphoreSlim gate = new(1);
    private readonly HttpDocumentRetriever documents;
    private readonly TimeProvider clock;
    private OpenIdConnectConfiguration? current;
    private Exception? failure;
    private DateTimeOffset triedAt = DateTimeOffset.MinValue,
        readAt = DateTimeOffset.MinValue;
    private volatile bool isRequested;

    public ProviderMetadata(PakhouseOptions options, TimeProvider clock)
    {
        this.clock = clock;
        MetadataAddress = $"{options.OidcAuthority!.AbsoluteUri.TrimEnd('/')}/.well-known/openid-configuration";
        UseLastKnownGoodConfiguration = false;
        Backchannel = new HttpClient(
            new SocketsHttpHandler { ConnectTimeout = Timeout, PooledConnectionLifetime = TimeSpan.FromMinutes(5) }
        )
        {
            Timeout = Timeout, // for the whole response, so a slow one ends too
            MaxResponseContentBufferSize = 1024 * 1024,
        };
        Backchannel.DefaultRequestHeaders.UserAgent.ParseAdd("Pakhouse");
        documents = new HttpDocumentRetriever(Backchannel) { RequireHttps = options.OidcAuthority.Scheme == Uri.UriSchemeHttps };
    }

    /// <summary>For all requests of this server to the provider.</summary>
    public HttpClient Backchannel { get; }

    /// <exception cref="InvalidOperationException">The provider cannot be reached or sends an invalid response, and was never read
    /// before.</exception>
    public async Task<OpenIdConnectConfiguration> GetConfigurationAsync(CancellationToken cancel)
    {
        if (IsGood)
            return current!;
        await gate.WaitAsync(cancel);
        try
        {
            if (IsGood)
                return current!;
            var now = clock.GetUtcNow();
            if (failure is null || now - triedAt >= failureLasts)
                await ReadAsync(now);
            // An unavailable provider has not withdrawn its keys.
            return current ?? throw new InvalidOperationException("The provider's metadata could not be read.", failure);
        }
        finally
        {
            gate.Release();
        }
    }

    public override async Task<BaseConfiguration> GetBaseConfigurationAsync(CancellationToken cancel) =>
        await GetConfigurationAsync(cancel);

    /// <summary>Called for a token with an unknown signing key.</summary>
    public override void RequestRefresh()
    {
        if (clock.GetUtcNow() - triedAt >= RequestedMin)
            isRequested = true;
    }

    public void Dispose()
    {
        Backchannel.Dispose();
        gate.Dispose();
    }

    private bool IsGood => current is not null && !isRequested && clock.GetUtcNow() - readAt < freshFor;

    private async Task ReadAsync(DateTimeOffset now)
    {
        (triedAt, isRequested) = (now, false);
        try
        {
            // Two documents share one time-out. The first request does not cancel it, because others wait for the same result.
            using var late = new CancellationTokenSource(Timeout);
            current = await OpenIdConnectConfigurationRetriever.GetAsync(MetadataAddress, documents, late.Token);
            (readAt, failure) = (now, null);
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            failure = e;
        }
    }
}
