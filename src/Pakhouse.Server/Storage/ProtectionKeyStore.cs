using System.Text;
using System.Xml;
using System.Xml.Linq;
using Dapper;
using Microsoft.AspNetCore.DataProtection.Repositories;

namespace Pakhouse.Server;

/// <summary>
/// The store of the Data Protection keys. An unreadable key is ignored, and the others are used. An unreadable revocation stops the
/// reading, because without it a revoked key would be valid again.
/// </summary>
public abstract class ProtectionKeyStore : IXmlRepository
{
    private volatile IReadOnlyDictionary<string, string> faults = new Dictionary<string, string>(StringComparer.Ordinal);

    /// <summary>The location of the keys, for people.</summary>
    public abstract string DisplayName { get; }

    /// <summary>What the last reading ignored, and why.</summary>
    public IReadOnlyDictionary<string, string> Faults => faults;

    public IReadOnlyCollection<XElement> GetAllElements()
    {
        var (elements, ids) = (new List<XElement>(), new HashSet<string>(StringComparer.OrdinalIgnoreCase));
        var found = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var (name, read) in Entries())
        {
            try
            {
                var element = XElement.Parse(read());
                // Two keys with one id, such as a copied file, would make the framework refuse all of them.
                if (element.Name == "key" && element.Attribute("id")?.Value is { } id && !ids.Add(id))
                    found[name] = "it repeats another key.";
                else
                    elements.Add(element);
            }
            catch (Exception e) when (e is XmlException or IOException or UnauthorizedAccessException)
            {
                if (name.StartsWith("revocation", StringComparison.OrdinalIgnoreCase))
                    throw new StartupException(
                        $"The revocation of Data Protection keys {name} in {DisplayName} cannot be read: {e.Message} Without it, revoked "
                            + $"keys would be valid again.",
                        e
                    );
                found[name] = e.Message;
            }
        }

        faults = found;
        return elements;
    }

    public abstract void StoreElement(XElement element, string friendlyName);

    /// <summary>Destroys everything except one key: keys before revocations, which list the bad keys.</summary>
    public abstract Task RemoveOthersAsync(string friendlyName);

    /// <summary>Each entry with its name and how its text is read.</summary>
    protected abstract IEnumerable<(string Name, Func<string> Read)> Entries();
}

/// <summary>A file for each key (mode 0600), in the data folder. For SQLite.</summary>
public sealed class ProtectionKeyFiles(string folder) : ProtectionKeyStore
{
    public override string DisplayName => folder;

    public override void StoreElement(XElement element, string friendlyName)
    {
        if (friendlyName.Length == 0 || !friendlyName.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_'))
            throw new ArgumentException("It is not a file name.", nameof(friendlyName));
        DataFolder.WriteWhole(Path.Combine(folder, friendlyName + ".xml"), Encoding.UTF8.GetBytes(element.ToString()));
    }

    public override Task RemoveOthersAsync(string friendlyName)
    {
        var others = Directory.GetFiles(folder).Where(file => Path.GetFileName(file) != friendlyName + ".xml");
        foreach (var file in others.OrderBy(file => Path.GetFileName(file).StartsWith("revocation", StringComparison.OrdinalIgnoreCase)))
            File.Delete(file);
        return Task.CompletedTask;
    }

    protected override IEnumerable<(string Name, Func<string> Read)> Entries() =>
        Directory.Exists(folder)
            ? Directory.GetFiles(folder, "*.xml").Where(file => !Path.GetFileName(file).StartsWith('.')).Order(StringComparer.Ordinal)
                .Select(file => (Path.GetFileName(file), (Func<string>)(() => File.ReadAllText(file))))
            : [];
}

/// <summary>
/// A row for each key, in the database that all processes share. The interface of Data Protection is synchronous; it is called at the start
/// and about once a day.
/// </summary>
public sealed class SharedProtectionKeys(Database database) : ProtectionKeyStore
{
    public override string DisplayName => "the table data_protection_keys";

    public override void StoreElement(XElement element, string friendlyName) =>
        database.WriteAsync(transaction => transaction.Connection!.ExecuteAsync(
            "INSERT INTO data_protection_keys (id, xml) VALUES (@friendlyName, @xml)",
            new { friendlyName, xml = element.ToString(SaveOptions.DisableFormatting) }, transaction)).GetAwaiter().GetResult();

    public override Task RemoveOthersAsync(string friendlyName) =>
        database.WriteAsync(transaction =>
            transaction.Connection!.ExecuteAsync(
                "DELETE FROM data_protection_keys WHERE id <> @friendlyName",
                new { friendlyName },
                transaction
            )
        );

    protected override IEnumerable<(string Name, Func<string> Read)> Entries() =>
        database
            .ReadAsync(connection => connection.QueryAsync<(string Id, string Xml)>("SELECT id, xml FROM data_protection_keys ORDER BY id"))
            .GetAwaiter()
            .GetResult()
            .Select(row => (row.Id, (Func<string>)(() => row.Xml)));
}
