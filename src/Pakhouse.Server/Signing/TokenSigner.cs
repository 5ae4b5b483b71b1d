using System.Security.Cryptography;

namespace Pakhouse.Server;

/// <summary>
/// Signs tokens with one private key, ES256 or RS256 (RFC 7518 §3.3, §3.4), without allocating. Each thread has a copy of the key: the
/// framework's key objects are not thread-safe, and a lock would let only one core sign at a time.
/// </summary>
public sealed class TokenSigner(AsymmetricAlgorithm key) : IDisposable
{
    /// <summary>Bytes for a signature of either algorithm; the longest is RSA with 4096 bits.</summary>
    public const int LengthMax = 512;

    private readonly Lock copying = new();
    private readonly ThreadLocal<AsymmetricAlgorithm?> ofThread = new();

    /// <summary>Writes the signature of <paramref name="content"/> in the format of a JWS (RFC 7515 §3.2), and returns its
    /// length.</summary>
    public int Sign(ReadOnlySpan<byte> content, Span<byte> signature)
    {
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(content, hash);
        var isDone = (ofThread.Value ??= Copy()) switch
        {
            ECDsa ecdsa => ecdsa.TrySignHash(hash, signature, DSASignatureFormat.IeeeP1363FixedFieldConcatenation, out var length)
                ? length
                : 0,
            RSA rsa => rsa.TrySignHash(hash, signature, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1, out var length) ? length : 0,
            _ => 0,
        };
        return isDone > 0 ? isDone : throw new CryptographicException("The token could not be signed.");
    }

    public void Dispose() => ofThread.Dispose();

    private AsymmetricAlgorithm Copy()
    {
        AsymmetricAlgorithm copy = key is RSA ? RSA.Create() : ECDsa.Create();
        lock (copying)
        {
            var pkcs8 = key.ExportPkcs8PrivateKey();
            copy.ImportPkcs8PrivateKey(pkcs8, out _);
            CryptographicOperations.ZeroMemory(pkcs8);
        }

        return copy;
    }
}
