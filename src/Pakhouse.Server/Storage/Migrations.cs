using System.Reflection;
using DbUp;
using DbUp.Engine.Output;
using Microsoft.Data.Sqlite;

namespace Pakhouse.Server;

/// <summary>
/// Brings a database to this program's schema: numbered SQL files inside the assembly, each applied once, all of a start in
/// one transaction that holds the write lock. A database that knows a file we do not know is newer than we are, and is left alone.
/// </summary>
internal static class Migrations
{
    private const string Prefix = "Pakhouse.Server.Storage.sqlite.";

    public static void Apply(string connectionString)
    {
        try
        {
            var upgrader = DeployChanges.To.SqliteDatabase(connectionString)
                .WithScriptsEmbeddedInAssembly(Assembly.GetExecutingAssembly(), name => name.StartsWith(Prefix, StringComparison.Ordinal))
                .WithTransaction()
                .WithVariablesDisabled()
                .LogTo(new NoOpUpgradeLog())
                .Build();

            var known = upgrader.GetDiscoveredScripts().Select(script => script.Name).ToHashSet(StringComparer.Ordinal);
            var newer = upgrader.GetExecutedScripts().Where(name => !known.Contains(name)).Select(Number).ToList();
            if (newer.Count > 0)
            {
                throw new StartupException(
                    $"The database was written by a newer Pakhouse: it has schema {newer.Max(StringComparer.Ordinal)}, this program knows up to {known.Select(Number).Max(StringComparer.Ordinal)}. " +
                    "Start the newer program, or restore the back-up that was made before the upgrade. Nothing was changed.");
            }

            var result = upgrader.PerformUpgrade();
            if (!result.Successful) throw new StartupException($"Schema file {Number(result.ErrorScript?.Name ?? Prefix)} could not be applied; nothing was changed. {result.Error.Message}");
        }
        catch (SqliteException e)
        {
            throw new StartupException($"The database {new SqliteConnectionStringBuilder(connectionString).DataSource} cannot be used: {e.Message}", e);
        }
    }

    private static string Number(string script) => script[Prefix.Length..].Replace(".sql", "", StringComparison.Ordinal);
}
