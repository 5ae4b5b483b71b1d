using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;

namespace Pakhouse.Server;

/// <summary>
/// The address the world knows this server by, without a slash at its end: the issuer, and the root of every address shown to people.
/// The setting, or else the address listened on. Never taken from a request: the Host header is the caller's word.
/// </summary>
public sealed class PublicAddress(PakhouseOptions options, IServer server)
{
    private string? value;

    /// <summary>In a command, where nothing listens: the address that the server is set to listen on.</summary>
    public string Value => value ?? (Known() is { } known ? value = known.TrimEnd('/') : options.Listen.GetLeftPart(UriPartial.Authority));

    private string? Known() => options.PublicAddress?.GetLeftPart(UriPartial.Authority) ?? server.Features.Get<IServerAddressesFeature>()?.Addresses.FirstOrDefault();
}
