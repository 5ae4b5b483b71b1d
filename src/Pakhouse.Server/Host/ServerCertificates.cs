using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Pakhouse.Server;

/// <summary>
/// Checks the certificates in Kestrel's settings. Kestrel uses an expired one without a warning, and every client refuses it.
/// </summary>
internal static class ServerCertificates
{
    /// <exception cref="StartupException">One has expired, or is not valid yet.</exception>
    public static void Demand(IConfiguration configuration, PakhouseOptions options)
    {
        var kestrel = configuration.GetSection("Kestrel");
        // With http, a certificate in the settings is not used.
        if (options.Listen.Scheme != Uri.UriSchemeHttps && !kestrel.GetSection("Endpoints").Exists()) return;
        foreach (var section in Within(kestrel)) Demand(section);
    }

    private static void Demand(IConfigurationSection section)
    {
        if (section["Path"] is not { Length: > 0 } path) return;
        using var certificate = Load(path, section["KeyPath"] is { Length: > 0 }, section["Password"]);
        if (certificate is null) return;
        // The machine's time: no database was read yet, and clients compare with their own clocks.
        var now = TimeProvider.System.GetUtcNow();
        var from = new DateTimeOffset(certificate.NotBefore).ToUniversalTime();
        var until = new DateTimeOffset(certificate.NotAfter).ToUniversalTime();
        var name = $"The certificate in {section.Path}:Path";
        if (now > until) throw new StartupException($"{name} has expired: it was valid until {until:u}. Renew it, and start again.");
        if (now < from)
        {
            throw new StartupException(
                $"{name} is not valid yet: it is valid from {from:u}, and this machine's clock says {now:u}. " +
                "Set the clock right, or give another certificate.");
        }
    }

    /// <summary>Null: it cannot be read, and Kestrel reports the reason.</summary>
    private static X509Certificate2? Load(string path, bool isPem, string? password)
    {
        try
        {
            return isPem ? X509CertificateLoader.LoadCertificateFromFile(path) : X509CertificateLoader.LoadPkcs12FromFile(path, password);
        }
        catch (Exception e) when (e is CryptographicException or IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    private static IEnumerable<IConfigurationSection> Within(IConfigurationSection section) =>
        section.GetChildren().SelectMany(child => Within(child).Prepend(child));
}
