using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;

namespace Pakhouse.Server;

/// <summary>
/// The APIs and gateways that may introspect, from the settings: a name and the SHA-256 of a secret that <see cref="NewSecret"/> generated.
/// A slow hash is not needed: 256 random bits cannot be searched.
/// </summary>
public sealed class ResourceServers(PakhouseOptions options)
{
    private readonly IReadOnlyDictionary<string, IReadOnlyList<byte[]>> servers = options.ResourceServers;

    private const int NameLengthMax = 64;
    private const int SecretLengthMax = 256;

    // The hash to compare with when there is no such server.
    private static readonly byte[][] noHash = [RandomNumberGenerator.GetBytes(SHA256.HashSizeInBytes)];

    /// <summary>43 characters of base64url, and the hash for the setting.</summary>
    public static (string Secret, string Hash) NewSecret()
    {
        var secret = Base64Url.EncodeToString(RandomNumberGenerator.GetBytes(32));
        return (secret, Convert.ToHexStringLower(SHA256.HashData(Encoding.ASCII.GetBytes(secret))));
    }

    /// <summary>Whether this is the secret of the named server. An unknown name takes the same time.</summary>
    public bool Prove(string name, ReadOnlySpan<byte> secret)
    {
        var hash = SHA256.HashData(secret);
        var isVerified = false;
        foreach (var expected in servers.GetValueOrDefault(name, noHash))
            isVerified |= CryptographicOperations.FixedTimeEquals(hash, expected);
        return isVerified && servers.ContainsKey(name);
    }

    /// <summary>
    /// The name of the caller, by <c>client_secret_basic</c> or <c>client_secret_post</c> (RFC 6749 §2.3.1), but not by both.
    /// </summary>
    public Outcome<string> Authenticate(HttpRequest request, SecretForm form)
    {
        var isBasic = request.Headers.Authorization.Count > 0;
        var isPost = form.TryGet(["client_secret"], out var secret, out _);
        form.TryGet(["client_id"], out var id, out _);
        if (isBasic && isPost)
            return Refusal.At(
                "client_secret",
                RefusalCode.InvalidRequest,
                "send it in the Authorization header or in the form, not in both.",
                "two ways of authentication"
            );
        if (!isBasic)
            return isPost && id.Length <= NameLengthMax && Prove(Encoding.UTF8.GetString(id.Span), secret.Span)
                ? Encoding.UTF8.GetString(id.Span)
                : NotProved;

        var header = request.Headers.Authorization.ToString();
        var decoded = new byte[SecretLengthMax * 2];
        try
        {
            if (
                !header.StartsWith("Basic ", StringComparison.OrdinalIgnoreCase)
                || header.Length > decoded.Length
                || !Convert.TryFromBase64String(header[6..].Trim(), decoded, out var length)
            )
                return NotProved;
            var colon = decoded.AsSpan(0, length).IndexOf((byte)':');
            if (colon is < 1 or > NameLengthMax * 3)
                return NotProved;
            // Both halves are form-encoded before they are joined (RFC 6749 §2.3.1). A client may encode more than necessary: - as %2D.
            var nameBytes = decoded.AsSpan(0, colon);
            var secretBytes = decoded.AsSpan(colon + 1, length - colon - 1);
            if (!FormEncoding.TryDecode(nameBytes, out var nameLength) || !FormEncoding.TryDecode(secretBytes, out var secretLength))
                return NotProved;
            var name = Encoding.UTF8.GetString(nameBytes[..nameLength]);
            return Prove(name, secretBytes[..secretLength]) ? name : NotProved;
        }
        finally
        {
            CryptographicOperations.ZeroMemory(decoded);
        }
    }

    internal static readonly Refusal NotProved = new(
        RefusalCode.InvalidClient,
        "The resource server is unknown, or its secret is wrong. Check Pakhouse:ResourceServers in the settings.",
        "resource server not proved"
    )
    {
        IsGuess = true,
    };
}

/// <summary>Failed authentications of resource servers.</summary>
public sealed class ResourceServerLimit(PakhouseOptions options, TimeProvider clock) : FailureLimit(options.FailuresPerMinuteMax, clock);
