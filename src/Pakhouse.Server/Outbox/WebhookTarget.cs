using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;

namespace Pakhouse.Server;

/// <summary>
/// Where a webhook may go: people write the address, and this server stands inside a network that they may not see. Only https to public
/// addresses, and what <see cref="PakhouseOptions.WebhookNetworksAllowed"/> adds, by http too.
/// <para>Invariant: judged is the address that is connected to, at that moment: a name that resolves to something else later changes
/// nothing.</para>
/// </summary>
public sealed class WebhookTarget(PakhouseOptions options)
{
    public const int UrlLengthMax = 500;

    /// <summary>Of one attempt, from the name to the status.</summary>
    internal TimeSpan Timeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>
    /// IANA's registries of special-purpose addresses: what is not reachable globally, and what carries another address inside.
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

    /// <summary>What can be said before anything is resolved. Null: nothing against it.</summary>
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
            return Refuse("there is a key in this address: delete that key, and never put one into an address.", "a key in the address");
        if (parsed.Scheme != Uri.UriSchemeHttps && (parsed.Scheme != Uri.UriSchemeHttp || options.WebhookNetworksAllowed.Count == 0))
            return Refuse("only https addresses are called.", "scheme");
        return IPAddress.TryParse(parsed.Host.Trim('[', ']'), out var literal) && !IsAllowed(literal, parsed.Scheme) ? notPublic : null;

        static Refusal Refuse(string message, string reason) => new(RefusalCode.InvalidRequest, $"url: {message}", reason);
    }

    /// <summary>A client that goes nowhere else, follows nothing and keeps nothing.</summary>
    public HttpClient CreateClient() =>
        new(
            new SocketsHttpHandler
            {
                AllowAutoRedirect = false, // to anywhere
                UseProxy = false, // it would resolve the name itself
                UseCookies = false,
                ConnectCallback = ConnectAsync,
                PooledConnectionLifetime = TimeSpan.FromMinutes(1), // then judged anew
                MaxConnectionsPerServer = WebhookSlots.PerHostMax, // so that none waits for a connection within its ten seconds
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

    internal static readonly Refusal notPublic = new(
        RefusalCode.InvalidRequest,
        "url: this address is not a public one, so it is not called.",
        "not public"
    );

    /// <summary>The name resolves to nothing that may be called.</summary>
    internal sealed class TargetNotAllowedException : Exception;
}
