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
    private string? host;

    /// <summary>In a command, where nothing listens: the address that the server is set to listen on.</summary>
    public string Value => value ?? (Known() is { } known ? value = known.TrimEnd('/') : options.Listen.GetLeftPart(UriPartial.Authority));

    private string? Known() =>
        options.PublicAddress?.GetLeftPart(UriPartial.Authority)
        ?? server.Features.Get<IServerAddressesFeature>()?.Addresses.FirstOrDefault();

    /// <summary>What stands in for the request's own words, so that no address made from a request leaves this server.</summary>
    public string Scheme => options.IsHttps ? Uri.UriSchemeHttps : Uri.UriSchemeHttp;

    public HostString Host => new(host ??= new Uri(Value).Authority); // asked by requests, so the server listens
}

/// <summary>Pages that mails and other rooms link to, as paths; <see cref="PublicAddress"/> stands before them.</summary>
public static class Links
{
    public static string Security(Guid organizationId) => $"/organizations/{organizationId}/security";

    public static string Key(Guid organizationId, string keyId) => $"{Security(organizationId)}/keys/{keyId}";

    /// <summary>What a key did, with an undo for each thing that it gave.</summary>
    public static string KeyChanges(Guid organizationId, string keyId) => $"{Key(organizationId, keyId)}/changes";
}
