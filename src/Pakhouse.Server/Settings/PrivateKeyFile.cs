using System.Security.Cryptography;
using Microsoft.IdentityModel.Tokens;

namespace Pakhouse.Server;

/// <summary>
/// A private key in a PEM file without a password: EC on P-256, or RSA of 2048 bits or more. Its id is its thumbprint (RFC 7638), which is
/// the same in every process.
/// </summary>
internal static class PrivateKeyFile
{
    private const int LengthMax = 64 * 1024;

    /// <summary>Null: there is no such key. The reason is not given, because an exception's message could quote the file.</summary>
    public static SecurityKey? Read(string file)
    {
        try
        {
            if (new FileInfo(file).Length > LengthMax) return null;
            var pem = File.ReadAllText(file);
            var key = Try(() => Ec(pem)) ?? Try(() => Rsa(pem));
            if (key is not null) key.KeyId = Base64UrlEncoder.Encode(key.ComputeJwkThumbprint());
            return key;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    private static SecurityKey? Try(Func<SecurityKey?> read)
    {
        try
        {
            return read();
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException)
        {
            return null; // another kind of key, a public one, or none
        }
    }

    private static ECDsaSecurityKey? Ec(string pem)
    {
        var key = ECDsa.Create();
        key.ImportFromPem(pem);
        var curve = key.ExportParameters(includePrivateParameters: true).Curve; // throws for a public key
        var isP256 = key.KeySize == 256 && curve.Oid is { Value: "1.2.840.10045.3.1.7" } or { FriendlyName: "nistP256" or "ECDSA_P256" };
        return isP256 ? new ECDsaSecurityKey(key) : null;
    }

    private static RsaSecurityKey? Rsa(string pem)
    {
        var key = RSA.Create();
        key.ImportFromPem(pem);
        _ = key.ExportParameters(includePrivateParameters: true); // throws for a public key
        return key.KeySize is >= 2048 and <= 8192 ? new RsaSecurityKey(key) : null;
    }
}
