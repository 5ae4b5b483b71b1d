using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;

namespace Pakhouse.Server;

/// <summary>The secret in the link of an invitation. Only its hash is stored.</summary>
internal static class InvitationCode
{
    /// <summary>256 random bits as base64url.</summary>
    public static string Create() => Base64Url.EncodeToString(RandomNumberGenerator.GetBytes(32));

    public static byte[] Hash(string code) => SHA256.HashData(Encoding.UTF8.GetBytes(code));
}
