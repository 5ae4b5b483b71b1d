using System.Security.Cryptography;
using System.Text;

namespace Pakhouse.Server;

/// <summary>Signs by Standard Webhooks 1.0: HMAC-SHA256 over <c>id.timestamp.body</c>.</summary>
internal static class WebhookSignature
{
    /// <summary>Bytes; the specification requires 24 to 64.</summary>
    private const int SecretLength = 32;

    public static byte[] NewSecret() => RandomNumberGenerator.GetBytes(SecretLength);

    /// <summary>The secret in the format for receivers.</summary>
    public static string Text(byte[] secret) => $"whsec_{Convert.ToBase64String(secret)}";

    /// <summary>
    /// The value of <c>webhook-signature</c>: one signature for each currently valid secret, so that a receiver can switch at any time.
    /// </summary>
    public static string Of(IEnumerable<byte[]> secrets, string id, long timestamp, string body)
    {
        var content = Encoding.UTF8.GetBytes($"{id}.{timestamp}.{body}");
        return string.Join(' ', secrets.Select(secret => $"v1,{Convert.ToBase64String(HMACSHA256.HashData(secret, content))}"));
    }
}
