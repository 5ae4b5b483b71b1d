namespace Pakhouse.AspNetCore;

/// <summary>What an API knows of the Pakhouse server whose tokens it accepts.</summary>
public sealed class PakhouseBearerOptions
{
    /// <summary>
    /// The server's public address, exactly as in the <c>iss</c> of its tokens: <c>https://keys.example.com</c>. Required; <c>https</c>
    /// unless it is loopback. Discovery (RFC 8414), signing keys (RFC 7517) and status lists are fetched from it.
    /// </summary>
    public string Issuer { get; set; } = "";

    /// <summary>
    /// The <c>aud</c> that a token must have (RFC 9068 §4). Empty, the default: the issuer, which is what a server puts there unless it is
    /// told otherwise.
    /// </summary>
    public string Audience { get; set; } = "";

    /// <summary>
    /// How far the clocks of this machine and of the server may differ, for the expiry of tokens and of status lists. 30 seconds by
    /// default; 0 to 5 minutes. How long a list is believed does not depend on it: that is measured from the moment it was asked for.
    /// </summary>
    public TimeSpan ClockSkew { get; set; } = TimeSpan.FromSeconds(30);

    /// <summary>
    /// How long beyond its <c>ttl</c> a status list is believed while no newer one can be fetched. Zero by default: when the server has
    /// been out of reach for longer than the <c>ttl</c>, requests are answered 503. A longer time keeps the API up, and lets a key that was
    /// deleted meanwhile work for as long. At most a day, and never beyond the list's own <c>exp</c>, which the server sets to four times
    /// the <c>ttl</c>.
    /// </summary>
    public TimeSpan StatusGrace { get; set; } = TimeSpan.Zero;

    /// <summary>How long one fetch of a status list may take. Two seconds by default; up to a minute.</summary>
    public TimeSpan StatusTimeout { get; set; } = TimeSpan.FromSeconds(2);

    /// <summary>
    /// What requests to the server go through, for a proxy or a private authority. It must not follow redirects. Null, the default: a
    /// handler of the framework that does not.
    /// </summary>
    public HttpMessageHandler? BackchannelHttpHandler { get; set; }

    /// <summary>The clock. The system's by default.</summary>
    public TimeProvider TimeProvider { get; set; } = TimeProvider.System;

    /// <summary>Null, or what is wrong with them.</summary>
    internal string? Fault() =>
        !Uri.TryCreate(Issuer, UriKind.Absolute, out var issuer)
        || (issuer.Scheme != Uri.UriSchemeHttps && !(issuer.Scheme == Uri.UriSchemeHttp && issuer.IsLoopback))
            ? "Issuer must be the https address of the Pakhouse server, such as https://keys.example.com (http only where it is loopback)."
        : Issuer.EndsWith('/') ? "Issuer must be as in the tokens, without a slash at its end."
        : ClockSkew < TimeSpan.Zero || ClockSkew > TimeSpan.FromMinutes(5) ? "ClockSkew must be 0 to 5 minutes."
        : StatusGrace < TimeSpan.Zero || StatusGrace > TimeSpan.FromDays(1) ? "StatusGrace must be 0 to 24 hours."
        : StatusTimeout <= TimeSpan.Zero || StatusTimeout > TimeSpan.FromMinutes(1)
            ? "StatusTimeout must be more than 0 and at most a minute."
        : FollowsRedirects(BackchannelHttpHandler) ? "BackchannelHttpHandler must not follow redirects; set AllowAutoRedirect to false."
        : null;

    private static bool FollowsRedirects(HttpMessageHandler? handler) =>
        handler switch
        {
            DelegatingHandler outer => FollowsRedirects(outer.InnerHandler),
            HttpClientHandler inner => inner.AllowAutoRedirect,
            SocketsHttpHandler inner => inner.AllowAutoRedirect,
            _ => false, // one of the application's own: what it fetched elsewhere is not believed
        };
}
