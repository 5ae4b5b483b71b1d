using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;

namespace Pakhouse.Server;

/// <summary>
/// The network of an address, as usage tells networks apart: IPv4 by /24, IPv6 by /48, which is the usual prefix of one site. With a finer
/// prefix every new DHCP lease would be reported; with a coarser one a neighbour at the same provider would not.
/// </summary>
internal readonly record struct KeyNetwork
{
    private readonly UInt128 bits;
    private readonly AddressFamily family; // the default value is a caller without an address: Unspecified is 0

    private KeyNetwork(AddressFamily family, UInt128 bits) => (this.family, this.bits) = (family, bits);

    /// <summary>No allocation, because every exchange calls it.</summary>
    public static KeyNetwork Of(IPAddress? address)
    {
        Span<byte> bytes = stackalloc byte[16];
        if (address is null || !address.TryWriteBytes(bytes, out var length))
            return default;
        if (length == 4)
            return V4(bytes);
        if (address.IsIPv4MappedToIPv6)
            return V4(bytes[12..]);
        return new(AddressFamily.InterNetworkV6, BinaryPrimitives.ReadUInt128BigEndian(bytes) >> 80 << 80);
    }

    public bool IsKnown => family != AddressFamily.Unspecified;

    /// <summary>As <c>198.51.100.0/24</c> or <c>2001:db8:7::/48</c>.</summary>
    public override string ToString()
    {
        if (!IsKnown)
            return "";
        Span<byte> bytes = stackalloc byte[16];
        BinaryPrimitives.WriteUInt128BigEndian(bytes, bits);
        return family == AddressFamily.InterNetwork ? $"{new IPAddress(bytes[12..])}/24" : $"{new IPAddress(bytes)}/48";
    }

    private static KeyNetwork V4(ReadOnlySpan<byte> bytes) =>
        new(AddressFamily.InterNetwork, BinaryPrimitives.ReadUInt32BigEndian(bytes) & 0xFFFF_FF00u);
}
