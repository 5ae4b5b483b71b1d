using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Microsoft.IdentityModel.Tokens;

namespace Pakhouse.Server;

/// <summary>Settings that name a folder or a file. A path is absolute; an error in a file is one more configuration error.</summary>
internal sealed partial class SettingReader
{
    /// <summary>Certificates in PEM, one or many in a file. A file without certificates is an error, because it would mean "trust
    /// nothing".</summary>
    public X509Certificate2Collection Authorities(string name)
    {
        X509Certificate2Collection authorities = [];
        if (Given(name, "") is not { } file)
            return authorities;
        try
        {
            authorities.ImportFromPemFile(file);
        }
        catch (Exception e) when (e is CryptographicException or IOException or UnauthorizedAccessException)
        {
            authorities.Clear();
        }

        if (authorities.Count == 0)
            Fault(name, "a readable file with certificates in PEM (-----BEGIN CERTIFICATE-----)", file);
        return authorities;
    }

    /// <summary>An absolute path. A relative path would depend on the folder in which the process was started.</summary>
    public string Folder(string name, string? fallback)
    {
        if (GivenPath(name, fallback ?? "") is { } given)
            return given;
        if (fallback is null && Given(name, "") is null)
            faults.Add($"{Full(name)} must be set, because this user has no home folder");
        return fallback ?? "";
    }

    private string? GivenPath(string name, string fallback = "")
    {
        var given = Given(name, fallback);
        if (given is null || (Path.IsPathFullyQualified(given) && given.Length <= 1024))
            return given;
        Fault(name, "an absolute path", given);
        return null;
    }

    public IReadOnlyList<ScopeEntry> Scopes(string name)
    {
        var file = GivenPath(name);
        if (file is null)
            return [];
        try
        {
            return ScopeCatalogue.Parse(File.ReadAllBytes(file));
        }
        catch (Exception e) when (e is FormatException or IOException or UnauthorizedAccessException)
        {
            Fault(name, $"a readable list of scopes such as GET /scopes.json shows, without the standard ones ({e.Message})", file);
            return [];
        }
    }

    public RoleCatalogue Roles(string name)
    {
        var file = GivenPath(name);
        if (file is null)
            return RoleCatalogue.Default;
        try
        {
            return RoleCatalogue.Parse(File.ReadAllBytes(file));
        }
        catch (Exception e) when (e is FormatException or IOException or UnauthorizedAccessException)
        {
            Fault(name, $"a readable catalogue of roles such as GET /roles.json shows ({e.Message})", file);
            return RoleCatalogue.Default;
        }
    }

    public X509Certificate2? Certificate(string name, string passwordName)
    {
        var file = GivenPath(name);
        var password = Given(passwordName, "");
        if (file is null)
        {
            if (password is not null && Given(name, "") is null)
                faults.Add($"{Full(passwordName)} is set, but {Full(name)} is not: a password without a certificate.");
            return null;
        }

        try
        {
            var certificate = X509CertificateLoader.LoadPkcs12FromFile(file, password);
            if (certificate.HasPrivateKey && certificate.GetRSAPrivateKey() is not null)
                return certificate;
            Fault(name, "a PKCS#12 file with an RSA certificate and its private key", file);
        }
        catch (Exception e) when (e is CryptographicException or IOException or UnauthorizedAccessException)
        {
            // the password itself is never shown
            Fault(name, $"a readable PKCS#12 file (.pfx, .p12) that {Full(passwordName)} opens", file);
        }

        return null;
    }

    public SecurityKey? PrivateKey(string name)
    {
        if (GivenPath(name) is not { } file)
            return null;
        var key = PrivateKeyFile.Read(file);
        if (key is null)
            Fault(name, "a readable PEM file with one private key and no password: EC on P-256, or RSA of 2048 bits and more", file);
        return key;
    }
}
