using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;

namespace Pakhouse.Server;

/// <summary>
/// The addresses that a webhook may reach. People write the URL, and this server is inside a network that they may not access. Only https
/// to public addresses is allowed, and the networks of <see cref="PakhouseOptions.WebhookNetworksAllowed"/>, also by http.
/// <para>Invariant: the address of the actual connection is checked at that moment, so a name that later resolves to another address
/// changes nothing (DNS rebinding).</para>
/// </summary>
public sealed class WebhookTarget(PakhouseOptions options)
{
    public const int UrlLengthMax = 500;

    /// <summary>The limit of one attempt, from resolving the name to the status.</summary>
    internal TimeSpan Timeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>
    /// IANA's registries of special-purpose addresses: those that are not globally reachable, and those that contain another address.
    /// </summary>
    private static readonly IPNetwork[] special =
    [
        .. from text in (string[])
            [
                "0.0.0.0/8",
                "10.0.0.0/8",
                "100.64.0.0/10",
                "127.0.0.0/8",
                "169.254.0.0/16",
                "172.16.0.0/12",
                "192.0.0.0/24",
                "192.0.2.0/24",
                "192.88.99.0/24",
                "192.168.0.0/16",
                "198.18.0.0/15",
                "198.51.100.0/24",
                "203.0.113.0/24",
                "224.0.0.0/4",
                "240.0.0.0/4",
                "2001::/23",
                "2001:db8::/32",
                "2002::/16",
                "3fff::/20",
            ]
        select IPNetwork.Parse(text),
    ];

    private static readonly IPNetwork globalUnicast = IPNetwork.Parse("2000::/3");

    public static bool IsPublic(IPAddress address)
    {
        if (address.IsIPv4MappedToIPv6)
            address = address.MapToIPv4();
        return (address.AddressFamily == AddressFamily.InterNetwork || globalUnicast.Contains(address))
            && !special.Any(network => network.Contains(address));
    }

    /// <summary>Checks that need no name resolution. Null: no objection.</summary>
    public Refusal? Check(string url)
    {
        if (
            url.Length > UrlLengthMax
            || !Uri.TryCreate(url, UriKind.Absolute, out var parsed)
            || parsed.Fragment.Length > 0
            || parsed.UserInfo.Length > 0
        )
            return Refuse(
                $"enter an https address of at most {UrlLengthMax} characters, without user name, password or fragment.",
                "no address"
            );
        if (Checks.MightContainKey(url))
            return Refuse("this URL contains a key. Delete that key, and never put a key into a URL.", "a key in the address");
        if (parsed.Scheme != Uri.UriSchemeHttps && (parsed.Scheme != Uri.UriSchemeHttp || options.WebhookNetworksAllowed.Count == 0))
            return Refuse("only https URLs are allowed.", "scheme");
        return IPAddress.TryParse(parsed.Host.Trim('[', ']'), out var literal) && !IsAllowed(literal, parsed.Scheme) ? notPublic : null;

        static Refusal Refuse(string message, string reason) => Refusal.At("url", RefusalCode.InvalidRequest, $"{message}", reason);
    }

    /// <summary>A client that connects only there, follows no redirect and keeps no cookies.</summary>
    public HttpClient CreateClient() =>
        new(
            new SocketsHttpHandler
            {
                AllowAutoRedirect = false, // a redirect could lead anywhere
                UseProxy = false, // a proxy would resolve the name itself
                UseCookies = false,
                ConnectCallback = ConnectAsync,
                PooledConnectionLifetime = TimeSpan.FromMinutes(1), // then checked again
                MaxConnectionsPerServer = WebhookSlots.PerHostMax, // so that no delivery waits for a connection
                SslOptions = { RemoteCertificateValidationCallback = TlsFault.Accept },
                MaxResponseHeadersLength = 16,
            }
        )
        {
            Timeout = Timeout,
            DefaultRequestHeaders = { UserAgent = { new ProductInfoHeaderValue("Pakhouse-Webhooks", "1") } },
        };

    private bool IsAllowed(IPAddress address, string scheme)
    {
        if (address.IsIPv4MappedToIPv6)
            address = address.MapToIPv4();
        return options.WebhookNetworksAllowed.Any(network => network.Contains(address))
            || scheme == Uri.UriSchemeHttps && IsPublic(address);
    }

    private async ValueTask<Stream> ConnectAsync(SocketsHttpConnectionContext context, CancellationToken stop)
    {
        var scheme = context.InitialRequestMessage.RequestUri!.Scheme;
        var resolved = await Dns.GetHostAddressesAsync(context.DnsEndPoint.Host, stop);
        var allowed = Array.FindAll(resolved, address => IsAllowed(address, scheme));
        if (allowed.Length == 0)
            throw new TargetNotAllowedException();
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(allowed, context.DnsEndPoint.Port, stop);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    internal static readonly Refusal notPublic = Refusal.At(
        "url",
        RefusalCode.InvalidRequest,
        "this address is not public, so it is not allowed.",
        "not public"
    );

    /// <summary>The name resolves to no allowed address.</summary>
    internal sealed class TargetNotAllowedException : Exception;
}
