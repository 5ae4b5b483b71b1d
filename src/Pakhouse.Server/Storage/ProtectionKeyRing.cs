using System.Buffers.Binary;
using System.Data.Common;
using System.Security.Cryptography.X509Certificates;
using Microsoft.AspNetCore.DataProtection;
using Microsoft.AspNetCore.DataProtection.KeyManagement;
using Microsoft.AspNetCore.DataProtection.Repositories;

namespace Pakhouse.Server;

/// <summary>
/// The Data Protection keys, as the framework uses them. If no new key can be stored (a disk that is full or read-only, a database that is
/// unavailable), the youngest readable key stays in use, even after its date, and this is logged each time.
/// </summary>
public sealed partial class ProtectionKeyRing(IKeyManager inner, ProtectionKeyStore store, ILogger<ProtectionKeyRing> log) : IKeyManager
{
    /// <summary>The beginning of every text that Data Protection encrypted; the id of its key follows.</summary>
    private const uint Magic = 0x09F0C9F0;

    private const int HeaderLength = 4 + 16;

    private string? told;

    public static void Add(IServiceCollection services, ProtectionKeyStore store, X509Certificate2? certificate)
    {
        Configure(services, store, certificate);
        services
            .AddSingleton(store)
            .AddSingleton(provider =>
                ActivatorUtilities.CreateInstance<ProtectionKeyRing>(provider, ActivatorUtilities.CreateInstance<XmlKeyManager>(provider))
            );
        services.AddSingleton<IKeyManager>(provider => provider.GetRequiredService<ProtectionKeyRing>());
    }

    /// <summary>The same name and certificate for every ring; otherwise one could not read what another wrote.</summary>
    internal static void Configure(IServiceCollection services, IXmlRepository repository, X509Certificate2? certificate)
    {
        var protection = services.AddDataProtection().SetApplicationName("Pakhouse");
        services.Configure<KeyManagementOptions>(keys => keys.XmlRepository = repository);
        if (certificate is not null)
            protection.ProtectKeysWithCertificate(certificate);
    }

    /// <summary>The key that encrypted a text; null: it was not encrypted by Data Protection.</summary>
    internal static Guid? KeyOf(ReadOnlySpan<byte> encrypted) =>
        encrypted.Length >= HeaderLength && BinaryPrimitives.ReadUInt32BigEndian(encrypted) == Magic
            ? new Guid(encrypted[4..HeaderLength])
            : null;

    public IReadOnlyCollection<IKey> GetAllKeys()
    {
        var keys = inner.GetAllKeys();
        var faults = string.Join(" ", store.Faults.Select(fault => $"{fault.Key}: {fault.Value}"));
        if (faults.Length > 0 && Interlocked.Exchange(ref told, faults) != faults)
            LogLeftOut(store.DisplayName, faults);
        return keys;
    }

    public IKey CreateNewKey(DateTimeOffset activationDate, DateTimeOffset expirationDate)
    {
        try
        {
            return inner.CreateNewKey(activationDate, expirationDate);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or DbException || Database.IsUnavailable(e))
        {
            var reason = e.Message.ReplaceLineEndings(" ");
            // Not a new key in memory: what it encrypted, such as signing keys, could not be read after a restart.
            var usable =
                GetAllKeys()
                    .Where(key => !key.IsRevoked && key.ActivationDate <= activationDate && IsReadable(key))
                    .MaxBy(key => key.ExpirationDate)
                ?? throw new StartupException(
                    $"A Data Protection key is needed, but none can be stored in {store.DisplayName}: {reason}",
                    e
                );
            LogNotRenewed(store.DisplayName, reason, usable.KeyId, usable.ExpirationDate);
            return usable;
        }
    }

    public void RevokeKey(Guid keyId, string? reason = null) => inner.RevokeKey(keyId, reason);

    public void RevokeAllKeys(DateTimeOffset revocationDate, string? reason = null) => inner.RevokeAllKeys(revocationDate, reason);

    public CancellationToken GetCacheExpirationToken() => inner.GetCacheExpirationToken();

    /// <summary>Why a text that Data Protection encrypted cannot be read, and what to do.</summary>
    public string Explain(ReadOnlySpan<byte> encrypted)
    {
        const string damaged = "It is damaged. Restore the database from the back-up.";
        if (KeyOf(encrypted) is not { } id)
            return damaged;
        if (GetAllKeys().FirstOrDefault(key => key.KeyId == id) is { } key)
        {
            if (key.IsRevoked)
                return $"Its Data Protection key {id} was revoked, so what it encrypted is no longer trusted.";
            return IsReadable(key)
                ? damaged
                : $"Its Data Protection key {id} was encrypted for another certificate than the current one. Set "
                    + $"Pakhouse:DataProtectionCertificateFile to the earlier certificate.";
        }

        var fault = store.Faults.FirstOrDefault(fault => fault.Key.Contains(id.ToString(), StringComparison.OrdinalIgnoreCase));
        return fault.Key is not null
            ? $"Its Data Protection key is in {store.DisplayName} and cannot be read: {fault.Key}: {fault.Value}"
            : $"Its Data Protection key {id} is missing in {store.DisplayName}. Restore the Data Protection keys from the back-up of the "
                + $"same day as the database.";
    }

    private static bool IsReadable(IKey key)
    {
        try
        {
            return key.CreateEncryptor() is not null;
        }
        catch (Exception e) when (e is not OutOfMemoryException) // any failure of a damaged key or another certificate
        {
            return false;
        }
    }

    [LoggerMessage(
        Level = LogLevel.Warning,
        Message = "Data Protection keys in {Place} are ignored, because they cannot be read; the others are used. {Faults}"
    )]
    private partial void LogLeftOut(string place, string faults);

    [LoggerMessage(
        Level = LogLevel.Warning,
        Message = "A new Data Protection key cannot be stored in {Place} ({Reason}). The server keeps using key {Key}, which should be "
            + "replaced by {Until:u}; it tries again within a day."
    )]
    private partial void LogNotRenewed(string place, string reason, Guid key, DateTimeOffset until);
}
