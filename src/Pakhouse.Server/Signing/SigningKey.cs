using System.Buffers.Text;
using System.Text;
using Microsoft.IdentityModel.Tokens;

namespace Pakhouse.Server;

/// <summary>A signing key in memory, and when it starts to sign.</summary>
public sealed record SigningKey(PublicKey Public, SigningCredentials Credentials, DateTimeOffset CreatedAt, DateTimeOffset ActivatesAt)
{
    public required TokenSigner Signer { get; init; }

    /// <summary>The first part of every token that it signs, as Base64url; it never changes.</summary>
    internal byte[] TokenHeader { get; } =
        Encoding.ASCII.GetBytes(
            Base64Url.EncodeToString(Encoding.ASCII.GetBytes($$"""{"alg":"{{Public.Algorithm}}","kid":"{{Public.Id}}","typ":"at+jwt"}"""))
        );
}
