using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;

namespace Pakhouse.Server;

/// <summary>
/// The public URL of this server, without a slash at its end: the issuer, and the root of every URL shown to people. It is the setting or
/// otherwise the address listened on. It never comes from a request, because the caller writes the Host header.
/// </summary>
public sealed class PublicAddress(PakhouseOptions options, IServer server)
{
    private string? value;
    private string? host;

    /// <summary>In a command, which does not listen: the address in the settings.</summary>
    public string Value => value ?? (Known() is { } known ? value = known.TrimEnd('/') : options.Listen.GetLeftPart(UriPartial.Authority));

    private string? Known() =>
        options.PublicAddress?.GetLeftPart(UriPartial.Authority)
        ?? server.Features.Get<IServerAddressesFeature>()?.Addresses.FirstOrDefault();

    /// <summary>Replaces the request's own values, so that no URL built from a request leads to another server.</summary>
    public string Scheme => options.IsHttps ? Uri.UriSchemeHttps : Uri.UriSchemeHttp;

    public HostString Host => new(host ??= new Uri(Value).Authority); // only requests call this, so the server listens
}

/// <summary>Paths of pages that mails and other folders link to; <see cref="PublicAddress"/> comes before them.</summary>
public static class Links
{
    public static string Security(Guid organizationId) => $"/organizations/{organizationId}/security";

    public static string Key(Guid organizationId, string keyId) => $"{Security(organizationId)}/keys/{keyId}";

    /// <summary>What a key did, with an undo for each grant.</summary>
    public static string KeyChanges(Guid organizationId, string keyId) => $"{Key(organizationId, keyId)}/changes";
}
