using System.Net;
using Microsoft.IdentityModel.Protocols;
using Microsoft.IdentityModel.Protocols.OpenIdConnect;

namespace Pakhouse.AspNetCore;

/// <summary>
/// Reads the issuer's metadata (RFC 8414) and signing keys (RFC 7517).
/// <para>Invariant: both come from the issuer's origin (scheme, host and port), in one response without a redirect. Metadata that names
/// another issuer is refused (RFC 8414 §3.3), because the framework would accept tokens of that issuer too.</para>
/// </summary>
internal sealed class IssuerDocuments(HttpClient http, Uri issuer) : IDocumentRetriever
{
    private const int LengthMax = 1024 * 1024;

    /// <summary>A handler with redirects off and decompression on.</summary>
    public static SocketsHttpHandler NewHandler() =>
        new()
        {
            AllowAutoRedirect = false,
            AutomaticDecompression = DecompressionMethods.GZip,
            PooledConnectionLifetime = TimeSpan.FromMinutes(5),
        };

    public static ConfigurationManager<OpenIdConnectConfiguration> Manage(PakhouseBearerOptions options, TimeSpan timeout)
    {
        var own = options.BackchannelHttpHandler;
        var http = new HttpClient(own ?? NewHandler(), disposeHandler: own is null)
        {
            Timeout = timeout,
            MaxResponseContentBufferSize = LengthMax,
        };
        return new ConfigurationManager<OpenIdConnectConfiguration>(
            $"{options.Issuer}/.well-known/openid-configuration",
            new OpenIdConnectConfigurationRetriever(),
            new IssuerDocuments(http, new Uri(options.Issuer)),
            new SameIssuer(options.Issuer)
        );
    }

    /// <exception cref="IOException">It has another origin, or could not be read.</exception>
    public async Task<string> GetDocumentAsync(string address, CancellationToken cancel)
    {
        // jwks_uri comes from the metadata: without this check it could be any URL, even file://.
        if (!Uri.TryCreate(address, UriKind.Absolute, out var uri) || !IsOfIssuer(uri))
            throw new IOException("The issuer's metadata names keys at another origin than its own; they are not fetched.");
        using var response = await http.GetAsync(uri, cancel);
        if (response.StatusCode != HttpStatusCode.OK)
            throw new IOException($"The issuer answered {(int)response.StatusCode} for its metadata or keys; redirects are not followed.");
        // A handler of the application may still follow redirects internally.
        if (response.RequestMessage?.RequestUri is { } answered && answered != uri)
            throw new IOException("The issuer's metadata or keys were redirected, so they are not trusted.");
        return await response.Content.ReadAsStringAsync(cancel);
    }

    private bool IsOfIssuer(Uri uri) =>
        string.Equals(uri.GetLeftPart(UriPartial.Authority), issuer.GetLeftPart(UriPartial.Authority), StringComparison.OrdinalIgnoreCase);

    private sealed class SameIssuer(string issuer) : IConfigurationValidator<OpenIdConnectConfiguration>
    {
        public ConfigurationValidationResult Validate(OpenIdConnectConfiguration configuration)
        {
            var fault =
                configuration.Issuer != issuer ? "The metadata names an issuer other than the one it was fetched from (RFC 8414 §3.3)."
                : configuration.SigningKeys.Count == 0 ? "The issuer has no signing keys."
                : null;
            return new ConfigurationValidationResult { Succeeded = fault is null, ErrorMessage = fault };
        }
    }
}
