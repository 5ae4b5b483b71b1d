using System.Reflection;
using DbUp.Builder;
using DbUp.Engine.Output;

namespace Pakhouse.Server;

/// <summary>
/// Brings a database to this program's schema: numbered SQL files inside the assembly, each applied once, all of a start in
/// one transaction. A database that knows a file we do not know is newer than we are, and is left alone.
/// </summary>
internal static class Migrations
{
    /// <param name="kind">The folder of the schema files: <c>sqlite</c> or <c>postgres</c>.</param>
    /// <param name="target">The caller holds off every other process: SQLite by its write lock, PostgreSQL by an advisory lock.</param>
    public static void Apply(string kind, UpgradeEngineBuilder target)
    {
        var prefix = $"Pakhouse.Server.Storage.{kind}.";
        var upgrader = target
            .WithScriptsEmbeddedInAssembly(Assembly.GetExecutingAssembly(), name => name.StartsWith(prefix, StringComparison.Ordinal))
            .WithTransaction()
            .WithVariablesDisabled()
            .LogTo(new NoOpUpgradeLog())
            .Build();

        string Number(string script) => script.Replace(prefix, "", StringComparison.Ordinal).Replace(".sql", "", StringComparison.Ordinal);
        var known = upgrader.GetDiscoveredScripts().Select(script => script.Name).ToHashSet(StringComparer.Ordinal);
        var newer = upgrader.GetExecutedScripts().Where(name => !known.Contains(name)).Select(Number).ToList();
        if (newer.Count > 0)
        {
            throw new StartupException(
                $"The database was written by a newer Pakhouse: it has schema {newer.Max(StringComparer.Ordinal)}, this program knows up "
                + $"to {known.Select(Number).Max(StringComparer.Ordinal)}. "
                    + "Start the newer program, or restore the back-up that was made before the upgrade. Nothing was changed."
            );
        }

        if (!upgrader.IsUpgradeRequired())
            return; // and no right to change the schema is needed
        var result = upgrader.PerformUpgrade();
        if (result.Successful)
            return;
        if (result.Error is System.Data.Common.DbException)
            System.Runtime.ExceptionServices.ExceptionDispatchInfo.Throw(result.Error);
        throw new StartupException(
            $"Schema file {Number(result.ErrorScript?.Name ?? prefix)} could not be applied; nothing was changed. {result.Error.Message}"
        );
    }
}
