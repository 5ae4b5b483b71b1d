using System.Xml.Linq;
using Dapper;
using Microsoft.AspNetCore.DataProtection.Repositories;

namespace Pakhouse.Server;

/// <summary>
/// Data Protection keys in the database that all processes share, where there is one: with SQLite they stand in files. Its
/// interface is synchronous; it is asked at start and about once a day.
/// </summary>
public sealed class SharedProtectionKeys(Database database) : IXmlRepository
{
    public IReadOnlyCollection<XElement> GetAllElements() =>
        database.ReadAsync(async connection => (await connection.QueryAsync<string>("SELECT xml FROM data_protection_keys ORDER BY id")).Select(xml => XElement.Parse(xml)).ToList()).GetAwaiter().GetResult();

    public void StoreElement(XElement element, string friendlyName) =>
        database.WriteAsync(transaction => transaction.Connection!.ExecuteAsync(
            "INSERT INTO data_protection_keys (id, xml) VALUES (@friendlyName, @xml)",
            new { friendlyName, xml = element.ToString(SaveOptions.DisableFormatting) }, transaction)).GetAwaiter().GetResult();
}
