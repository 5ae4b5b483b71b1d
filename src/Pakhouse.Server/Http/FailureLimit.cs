using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;

namespace Pakhouse.Server;

/// <summary>
/// Limits the failures of one address in a minute. It uses two windows of a minute and weights the older one by its remaining share, so the
/// limit cannot be doubled when the minute changes. Memory is bounded: of more than <see cref="AddressesMax"/> failing addresses in one
/// minute, the rest is not counted.
/// </summary>
/// <remarks>
/// It protects the log and the processor. It does not protect keys, whose 256 bits do, so it may let unknown addresses through.
/// System.Threading.RateLimiting was not used: it does not support TimeProvider, and its partitions have no upper bound.
/// </remarks>
public class FailureLimit(int perMinute, TimeProvider clock)
{
    /// <summary>Addresses remembered for one minute, about 10 MB.</summary>
    public const int AddressesMax = 50_000;

    private readonly Lock gate = new();
    private volatile Windows windows = new(0, [], []);

    private sealed record Windows(long Minute, ConcurrentDictionary<IPAddress, int> Now, ConcurrentDictionary<IPAddress, int> Before)
    {
        /// <summary>There are no failures. A separate field, because IsEmpty of an empty dictionary takes all its locks.</summary>
        public volatile bool IsQuiet = Before.IsEmpty;
    }

    /// <summary>Addresses remembered for the current minute.</summary>
    internal int Addresses => windows.Now.Count;

    /// <summary>Null, or the refusal for an address with too many failures.</summary>
    public Refusal? Check(IPAddress? address)
    {
        var now = clock.GetUtcNow();
        var current = At(now);
        if (address is null || current.IsQuiet)
            return null; // the usual case costs nothing

        var network = Network(address);
        var (inWindow, before) = (current.Now.GetValueOrDefault(network), current.Before.GetValueOrDefault(network));
        var gone = now.ToUnixTimeMilliseconds() % 60_000 / 60_000.0;
        if (inWindow + before * (1 - gone) < perMinute)
            return null;

        // When the older window has faded enough, or, if this window alone is over the limit, when it has become the older one and faded.
        var wait =
            inWindow < perMinute
                ? 60 * (1 - (perMinute - inWindow) / (double)before - gone)
                : 60 * (1 - gone) + 60 * (1 - perMinute / (double)inWindow);
        return new Refusal(
            RefusalCode.SlowDown,
            "Too many attempts from this address have failed. Wait as long as Retry-After says, and check the key or password before "
                + "trying again.",
            "failure limit of an address"
        )
        {
            RetryAfterSeconds = Math.Max(1, (int)Math.Ceiling(wait) + 1),
        };
    }

    public void Count(IPAddress? address)
    {
        if (address is null) return;
        var current = At(clock.GetUtcNow());
        var (window, network) = (current.Now, Network(address));
        if (window.Count < AddressesMax || window.ContainsKey(network)) window.AddOrUpdate(network, 1, static (_, count) => count + 1);
        current.IsQuiet = false;
    }

    /// <summary>Undoes one counted failure after a success.</summary>
    public void TakeBack(IPAddress? address)
    {
        if (address is null) return;
        var window = At(clock.GetUtcNow()).Now;
        var network = Network(address);
        if (window.TryGetValue(network, out var count) && count > 0) window.TryUpdate(network, count - 1, count);
    }

    private Windows At(DateTimeOffset now)
    {
        var minute = now.ToUnixTimeSeconds() / 60;
        if (windows.Minute == minute) return windows;
        lock (gate)
        {
            if (windows.Minute != minute) windows = new(minute, [], windows.Minute == minute - 1 ? windows.Now : []);
            return windows;
        }
    }

    /// <summary>An IPv6 customer has at least a /64, so counting single addresses would limit nobody.</summary>
    internal static IPAddress Network(IPAddress address)
    {
        if (address.IsIPv4MappedToIPv6) return address.MapToIPv4();
        if (address.AddressFamily != AddressFamily.InterNetworkV6) return address;
        Span<byte> bytes = stackalloc byte[16];
        address.TryWriteBytes(bytes, out _);
        bytes[8..].Clear();
        return new IPAddress(bytes);
    }
}

/// <summary>Exchanges without a valid secret.</summary>
public sealed class ExchangeLimit(PakhouseOptions options, TimeProvider clock) : FailureLimit(options.FailuresPerMinuteMax, clock);

/// <summary>Sign-ins that failed.</summary>
public sealed class SignInLimit(PakhouseOptions options, TimeProvider clock) : FailureLimit(options.FailuresPerMinuteMax, clock);
