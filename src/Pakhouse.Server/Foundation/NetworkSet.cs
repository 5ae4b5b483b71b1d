using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Net;
using System.Net.Sockets;

namespace Pakhouse.Server;

/// <summary>
/// Networks in CIDR notation, IPv4 and IPv6, none inside another, sorted: sets of the same networks are equal. An IPv4 address that arrives
/// as IPv6 (<c>::ffff:10.0.0.1</c>) is the IPv4 address, and <c>::/0</c> contains no IPv4 address.
/// </summary>
public sealed class NetworkSet : IReadOnlyCollection<IPNetwork>, IEquatable<NetworkSet>
{
    private readonly IPNetwork[] networks;

    private NetworkSet(IEnumerable<IPNetwork> given)
    {
        var all = given.Distinct().ToArray();
        networks =
        [
            .. all.Where(one => !Array.Exists(all, other => other != one && Covers(other, one)))
                .OrderBy(one => one.BaseAddress.AddressFamily)
                .ThenBy(one => Convert.ToHexString(one.BaseAddress.GetAddressBytes()), StringComparer.Ordinal)
                .ThenBy(one => one.PrefixLength),
        ];
    }

    public int Count => networks.Length;

    /// <summary>Networks such as <c>10.0.0.0/8</c> or single addresses; host bits after the prefix are a typing error.</summary>
    public static bool TryParse(IEnumerable<string> texts, [NotNullWhen(true)] out NetworkSet? set)
    {
        var parsed = new List<IPNetwork>();
        set = null;
        foreach (var text in texts)
        {
            if (Parse(text) is not { } network)
                return false;
            parsed.Add(network);
        }

        set = new(parsed);
        return true;
    }

    public static IPNetwork? Parse(string text)
    {
        if (text.Length > 64 || text.Contains('%'))
            return null; // a scope id is valid on one machine only
        var slash = text.IndexOf('/');
        if (!IPAddress.TryParse(slash < 0 ? text : text[..slash], out var address))
            return null;
        var bits = address.GetAddressBytes().Length * 8;
        var prefix = bits;
        if (slash >= 0 && !int.TryParse(text.AsSpan(slash + 1), NumberStyles.None, CultureInfo.InvariantCulture, out prefix))
            return null;
        // Some programs read 010.0.0.1 as octal and others as decimal, and 10.1 as 10.0.0.1, so only one notation is accepted.
        if (address.AddressFamily == AddressFamily.InterNetwork && !text.StartsWith(address.ToString(), StringComparison.Ordinal))
            return null;
        if (address.AddressFamily == AddressFamily.InterNetwork && (slash < 0 ? text.Length : slash) != address.ToString().Length)
            return null;
        if (address.IsIPv4MappedToIPv6)
        {
            (address, prefix, bits) = (address.MapToIPv4(), prefix - 96, 32);
        }

        return prefix < 0 || prefix > bits || HasBitsBehind(address, prefix) ? null : new IPNetwork(address, prefix);
    }

    public bool Contains(IPAddress address)
    {
        if (address.IsIPv4MappedToIPv6)
            address = address.MapToIPv4();
        foreach (var network in networks)
            if (network.Contains(address))
                return true;
        return false;
    }

    /// <summary>If two networks overlap, one is inside the other: the smaller one is the intersection.</summary>
    public NetworkSet Intersect(NetworkSet other) =>
        new(
            from mine in networks
            from theirs in other.networks
            where Covers(mine, theirs) || Covers(theirs, mine)
            select Covers(mine, theirs) ? theirs : mine
        );

    public bool Equals(NetworkSet? other) => other is not null && networks.AsSpan().SequenceEqual(other.networks);

    public override bool Equals(object? obj) => Equals(obj as NetworkSet);

    public override int GetHashCode() => ToString().GetHashCode(StringComparison.Ordinal);

    public IEnumerator<IPNetwork> GetEnumerator() => ((IEnumerable<IPNetwork>)networks).GetEnumerator();

    System.Collections.IEnumerator System.Collections.IEnumerable.GetEnumerator() => networks.GetEnumerator();

    public override string ToString() => string.Join(' ', networks);

    private static bool Covers(IPNetwork wide, IPNetwork narrow) =>
        wide.PrefixLength <= narrow.PrefixLength && wide.Contains(narrow.BaseAddress);

    private static bool HasBitsBehind(IPAddress address, int prefix)
    {
        var bytes = address.GetAddressBytes();
        for (var bit = prefix; bit < bytes.Length * 8; bit++)
            if ((bytes[bit / 8] & (0x80 >> (bit % 8))) != 0)
                return true;
        return false;
    }
}
