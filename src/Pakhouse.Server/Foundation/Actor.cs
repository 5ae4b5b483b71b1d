using System.Net;

namespace Pakhouse.Server;

/// <summary>The credential of the caller. R7 depends on it: whatever a key may do, a thief of the key may do.</summary>
public enum Credential
{
    /// <summary>A person who signed in here.</summary>
    Session,

    /// <summary>A token from the exchange of a personal access key, or the key itself.</summary>
    Key,

    /// <summary>A token from the exchange of an organization's API key, or the key itself. It belongs to no person.</summary>
    ApiKey,

    /// <summary>A person at the server's machine: set-up and commands. Also the program itself.</summary>
    Operator,
}

/// <summary>How recently the person of a session must have authenticated, weakest first.</summary>
public enum Freshness
{
    /// <summary>At any time.</summary>
    Any,

    /// <summary>Within <see cref="PakhouseOptions.FreshSignIn"/>: for actions that create or show a secret.</summary>
    Recent,

    /// <summary>Within <see cref="SessionCookie.JustNow"/>: for actions that add, remove or replace a way to sign in.</summary>
    JustNow,
}

/// <summary>Who acts, with which credential, from where.</summary>
/// <param name="UserId">Null only for the operator. For an API key: its service user.</param>
/// <param name="Scopes">The scopes of the caller's token, checked for keys and their tokens only. Empty for all others, because people are
/// not limited by scopes.</param>
/// <param name="KeyId">The key that the caller used, if any.</param>
/// <param name="BoundTo">The organization of the caller's token. The token opens that organization and, for a root, its sub-organizations;
/// null: everything that the user may access.</param>
/// <param name="Address">Null if the caller is at the server's machine.</param>
/// <param name="Freshness">For a session: how recently its person authenticated.</param>
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
    /// A person who authenticated at this moment. <see cref="SessionCookie.Actor"/> is the caller with an earlier session.
    /// </summary>
    public static Actor Session(Guid userId, IPAddress? address = null) =>
        new(Credential.Session, userId, NameSet.Empty, Address: address, Freshness: Freshness.JustNow);

    public static Actor Key(Guid userId, string keyId, NameSet scopes, Guid? boundTo = null, IPAddress? address = null) =>
        new(Credential.Key, userId, scopes, keyId, boundTo, address);

    public static Actor ApiKey(Guid userId, string keyId, NameSet scopes, Guid? boundTo = null, IPAddress? address = null) =>
        new(Credential.ApiKey, userId, scopes, keyId, boundTo, address);
}
