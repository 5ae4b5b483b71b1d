using System.Net;

namespace Pakhouse.Server;

/// <summary>What a caller came with. R7 hangs on it: what a key may do, a key thief may do.</summary>
public enum Credential
{
    /// <summary>A person who signed in here.</summary>
    Session,

    /// <summary>A token got in exchange for a personal access key, or the key itself.</summary>
    Key,

    /// <summary>A token got in exchange for an organization's API key, or the key itself. Nobody's person.</summary>
    ApiKey,

    /// <summary>A person at the machine itself: set-up, the commands of the program. Also the program, where it acts by itself.</summary>
    Operator,
}

/// <summary>How lately a person with a session must have proved who they are, the least first.</summary>
public enum Freshness
{
    /// <summary>Whenever the session began.</summary>
    Any,

    /// <summary>Within <see cref="PakhouseOptions.FreshSignIn"/>: for what makes or shows a secret.</summary>
    Recent,

    /// <summary>Within <see cref="SessionCookie.JustNow"/>: for what adds, removes or replaces a way to sign in.</summary>
    JustNow,
}

/// <summary>Who acts, with what, and from where.</summary>
/// <param name="UserId">Null only for the operator. Of an API key: its service user.</param>
/// <param name="Scopes">What the caller's token was granted; asked of keys and their tokens alone. Of everybody else empty, as a person is
/// not narrowed.</param>
/// <param name="KeyId">The key the caller came with, if any.</param>
/// <param name="BoundTo">The organization that the caller's token is for. It opens that one and, where it is a root, its sub-organizations;
/// null: whatever the user may.</param>
/// <param name="Address">Null when the caller is at the machine itself.</param>
/// <param name="Freshness">Of a session: how lately its person proved who they are.</param>
public sealed record Actor(
    Credential Credential,
    Guid? UserId,
    NameSet Scopes,
    string? KeyId = null,
    Guid? BoundTo = null,
    IPAddress? Address = null,
    Freshness Freshness = Freshness.Any
)
{
    public static Actor Operator { get; } = new(Credential.Operator, null, NameSet.Empty);

    /// <summary>
    /// A person who has proved at this moment who they are. Who comes with a session of before is <see cref="SessionCookie.Actor"/>.
    /// </summary>
    public static Actor Session(Guid userId, IPAddress? address = null) =>
        new(Credential.Session, userId, NameSet.Empty, Address: address, Freshness: Freshness.JustNow);

    public static Actor Key(Guid userId, string keyId, NameSet scopes, Guid? boundTo = null, IPAddress? address = null) =>
        new(Credential.Key, userId, scopes, keyId, boundTo, address);

    public static Actor ApiKey(Guid userId, string keyId, NameSet scopes, Guid? boundTo = null, IPAddress? address = null) =>
        new(Credential.ApiKey, userId, scopes, keyId, boundTo, address);
}
