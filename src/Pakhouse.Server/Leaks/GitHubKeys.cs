using System.Collections.Frozen;
using System.Security.Cryptography;
using System.Text.Json;

namespace Pakhouse.Server;

/// <summary>
/// The public keys that verify the reports of GitHub's secret scanning, from the URL or the file in the settings. They are fetched when a
/// report names an unknown key, at most once a minute, and again after an hour.
/// </summary>
internal sealed class GitHubKeys(PakhouseOptions options, TimeProvider clock) : IDisposable
{
    private static readonly TimeSpan freshFor = TimeSpan.FromHours(1),
        notBefore = TimeSpan.FromMinutes(1);

    private readonly HttpClient http = new(new SocketsHttpHandler { AllowAutoRedirect = false, UseCookies = false })
    {
        Timeout = TimeSpan.FromSeconds(10),
        MaxResponseContentBufferSize = 1024 * 1024,
        DefaultRequestHeaders = { { "User-Agent", "Pakhouse" } }, // GitHub refuses requests without it
    };
    private readonly SemaphoreSlim gate = new(1);
    private FrozenDictionary<string, string> keys = FrozenDictionary<string, string>.Empty;
    private DateTimeOffset fetchedAt = DateTimeOffset.MinValue,
        triedAt = DateTimeOffset.MinValue;

    public bool IsOn => options.LeakGitHubKeys is not null;

    /// <summary>Whether the bytes were signed by the key of that name: ECDSA on P-256 with SHA-256, in DER and base64.</summary>
    /// <exception cref="IOException">GitHub's keys are not available now.</exception>
    public async Task<bool> VerifyAsync(SecretBody body, string keyIdentifier, string signature)
    {
        if (keyIdentifier.Length is 0 or > 200 || signature.Length is 0 or > 400)
            return false;
        var der = new byte[300];
        if (!Convert.TryFromBase64String(signature, der, out var length))
            return false;
        if (await FindAsync(keyIdentifier) is not { } pem)
            return false;
        using var key = ECDsa.Create();
        try
        {
            key.ImportFromPem(pem);
            return key.KeySize == 256
                && key.VerifyData(body.Bytes, der.AsSpan(0, length), HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence);
        }
        catch (Exception e) when (e is ArgumentException or CryptographicException)
        {
            return false; // not an EC key, or not a signature
        }
    }

    public void Dispose()
    {
        http.Dispose();
        gate.Dispose();
    }

    private async Task<string?> FindAsync(string keyIdentifier)
    {
        await gate.WaitAsync();
        try
        {
            var now = clock.GetUtcNow();
            var isFresh = now - fetchedAt < freshFor;
            if (isFresh && keys.TryGetValue(keyIdentifier, out var known))
                return known;
            if (now - triedAt >= notBefore)
            {
                triedAt = now;
                keys = Parse(await LoadAsync());
                fetchedAt = now;
            }
            else if (!isFresh)
            {
                throw new IOException("The keys could not be fetched a moment ago.");
            }

            return keys.GetValueOrDefault(keyIdentifier);
        }
        finally
        {
            gate.Release();
        }
    }

    private async Task<byte[]> LoadAsync()
    {
        try
        {
            return options.LeakGitHubKeys!.IsFile
                ? await File.ReadAllBytesAsync(options.LeakGitHubKeys.LocalPath)
                : await http.GetByteArrayAsync(options.LeakGitHubKeys);
        }
        catch (Exception e) when (e is HttpRequestException or TaskCanceledException or UnauthorizedAccessException)
        {
            throw new IOException("The keys cannot be fetched.", e);
        }
    }

    private static FrozenDictionary<string, string> Parse(byte[] json)
    {
        try
        {
            using var document = JsonDocument.Parse(json);
            return document
                .RootElement.GetProperty("public_keys")
                .EnumerateArray()
                .ToFrozenDictionary(
                    key => key.GetProperty("key_identifier").GetString()!,
                    key => key.GetProperty("key").GetString()!,
                    StringComparer.Ordinal
                );
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException or ArgumentException)
        {
            throw new IOException("The response is not a list of keys.", e);
        }
    }
}
