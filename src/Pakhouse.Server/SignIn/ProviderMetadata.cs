using Microsoft.IdentityModel.Protocols;
using Microsoft.IdentityModel.Protocols.OpenIdConnect;
using Microsoft.IdentityModel.Tokens;

namespace Pakhouse.Server;

/// <summary>
/// What the OpenID Connect provider publishes: its endpoints and its signing keys. Read when first needed, again after an hour, and at once
/// when a token is signed with a key that is not known: the sign-in that finds the new key goes through.
/// <para>Invariant: no request waits longer than <see cref="Timeout"/> for one answer of the provider, and no caller makes this server ask
/// more often than every <see cref="RequestedMin"/>.</para>
/// </summary>
/// <remarks>
/// Microsoft's ConfigurationManager was not taken: it fetches new keys behind the request that asked for them, which then fails, and
/// accepts keys that the provider has withdrawn for an hour more ("last known good").
/// </remarks>
public sealed class ProviderMetadata : BaseConfigurationManager, IConfigurationManager<OpenIdConnectConfiguration>, IDisposable
{
    /// <summary>For one answer of the provider.</summary>
    public static readonly TimeSpan Timeout = TimeSpan.FromSeconds(5);

    /// <summary>Between two readings because of an unknown key.</summary>
    public static readonly TimeSpan RequestedMin = TimeSpan.FromSeconds(10);

    /// <summary>So many sign-ins at once do not wait for a provider that hangs one after another.</summary>
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
            Timeout = Timeout, // of the whole answer, so one that trickles ends too
            MaxResponseContentBufferSize = 1024 * 1024,
        };
        Backchannel.DefaultRequestHeaders.UserAgent.ParseAdd("Pakhouse");
        documents = new HttpDocumentRetriever(Backchannel) { RequireHttps = options.OidcAuthority.Scheme == Uri.UriSchemeHttps };
    }

    /// <summary>For everything that this server asks the provider.</summary>
    public HttpClient Backchannel { get; }

    /// <exception cref="InvalidOperationException">The provider cannot be reached, or answers something else, and was never reached
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
            // A provider that is out of reach has not withdrawn its keys.
            return current ?? throw new InvalidOperationException("The provider's metadata could not be read.", failure);
        }
        finally
        {
            gate.Release();
        }
    }

    public override async Task<BaseConfiguration> GetBaseConfigurationAsync(CancellationToken cancel) =>
        await GetConfigurationAsync(cancel);

    /// <summary>A token is signed with a key that is not known.</summary>
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
            // Two documents, one time-out. Not ended by the request that asked first: others wait for the same answer.
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
