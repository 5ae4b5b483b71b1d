using System.Net;

namespace Pakhouse.Server;

/// <summary>What a caller came with. R7 hangs on it: what a key may do, a key thief may do.</summary>
public enum Credential
{
    /// <summary>A person who signed in here.</summary>
    Session,

    /// <summary>A personal access key, or a token got in exchange for one.</summary>
    Key,

    /// <summary>A person at the machine itself: set-up, the commands of the program.</summary>
    Operator,
}

/// <summary>Who acts, with what, and from where.</summary>
/// <param name="UserId">Null only for the operator.</param>
/// <param name="KeyId">The key the caller came with, if any.</param>
/// <param name="Address">Null when the caller is at the machine itself.</param>
public sealed record Actor(Credential Credential, Guid? UserId, string? KeyId = null, IPAddress? Address = null)
{
    public static Actor Operator { get; } = new(Credential.Operator, null);

    public static Actor Session(Guid userId, IPAddress? address = null) => new(Credential.Session, userId, null, address);

    public static Actor Key(Guid userId, string keyId, IPAddress? address = null) => new(Credential.Key, userId, keyId, address);
}
