namespace Pakhouse.AspNetCore;

/// <summary>What an API must know about the Pakhouse server whose tokens it accepts.</summary>
public sealed class PakhouseBearerOptions
{
    /// <summary>
    /// The server's public URL, exactly as in the <c>iss</c> of its tokens: <c>https://keys.example.com</c>. Required; <c>https</c> unless
    /// it is loopback. Discovery (RFC 8414), signing keys (RFC 7517) and status lists are fetched from it.
    /// </summary>
    public string Issuer { get; set; } = "";

    /// <summary>
    /// The required <c>aud</c> of a token (RFC 9068 §4). Empty, the default: the issuer, which is the server's default too.
    /// </summary>
    public string Audience { get; set; } = "";

    /// <summary>
    /// How much the clocks of this machine and the server may differ, for the expiry of tokens and of status lists. 30 seconds by default;
    /// 0 to 5 minutes. It does not change how long a list is trusted: that is measured from the moment of its request.
    /// </summary>
    public TimeSpan ClockSkew { get; set; } = TimeSpan.FromSeconds(30);

    /// <summary>
    /// How long after its <c>ttl</c> a status list is trusted while no newer one can be fetched. Zero by default: if the server has been
    /// unavailable for longer than the <c>ttl</c>, requests get 503. A longer time keeps the API available, but a key that was deleted in
    /// the meantime works that much longer. At most a day, and never beyond the list's own <c>exp</c>, which the server sets to four times
    /// the <c>ttl</c>.
    /// </summary>
    public TimeSpan StatusGrace { get; set; } = TimeSpan.Zero;

    /// <summary>How long one fetch of a status list may take. Two seconds by default; up to a minute.</summary>
    public TimeSpan StatusTimeout { get; set; } = TimeSpan.FromSeconds(2);

    /// <summary>
    /// The handler for requests to the server, for a proxy or a private certificate authority. It must not follow redirects. Null, the
    /// default: a handler of the framework that does not.
    /// </summary>
    public HttpMessageHandler? BackchannelHttpHandler { get; set; }

    /// <summary>The clock. By default the system clock.</summary>
    public TimeProvider TimeProvider { get; set; } = TimeProvider.System;

    /// <summary>Null, or the error in the options.</summary>
    internal string? Fault() =>
        !Uri.TryCreate(Issuer, UriKind.Absolute, out var issuer)
        || (issuer.Scheme != Uri.UriSchemeHttps && !(issuer.Scheme == Uri.UriSchemeHttp && issuer.IsLoopback))
            ? "Issuer must be the https address of the Pakhouse server, such as https://keys.example.com (http only for loopback)."
        : Issuer.EndsWith('/') ? "Issuer must be as in the tokens, without a trailing slash."
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
            _ => false, // the application's own handler: redirected responses are refused
        };
}
