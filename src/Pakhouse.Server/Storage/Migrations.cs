using System.Data.Common;
using Dapper;

namespace Pakhouse.Server;

/// <summary>
/// Updates a database to this program's schema: each step of <see cref="Schema"/> is applied once, all steps of a start in one
/// transaction. A database with an unknown step is newer than this program and stays unchanged.
/// <para>Before the first release, the schema had eighteen steps, <c>001</c> to <c>023</c>. A database with the first ten of them gets
/// the rest, and is then the same as a new one. The table of steps keeps its name, so that a program of that time refuses a
/// database with later steps.</para>
/// </summary>
internal static class Migrations
{
    private const string Table = "schemaversions";

    /// <summary>The prefix of step names before the first release.</summary>
    private const string OldPrefix = "Pakhouse.Server.Storage.";

    /// <summary>The steps that replace those of that time.</summary>
    private static readonly string[] firstSteps = ["001", "usage-001"];

    /// <summary>The ten steps that a database of that time must have; the others are in the folder <c>unreleased</c>.</summary>
    private static readonly string[] oldSteps = [.. Enumerable.Range(1, 10).Select(number => $"{number:000}")];

    /// <summary>Whether the schema is up to date. Then neither the right to change it nor a lock is needed.</summary>
    public static bool AreDone(DbConnection connection, Schema schema) => Missing(Applied(connection, schema, null), schema).Count == 0;

    /// <summary>For SQLite, whose transactions begin with the write lock.</summary>
    public static void Run(DbConnection connection, Schema schema)
    {
        if (AreDone(connection, schema)) return;
        using var transaction = connection.BeginTransaction(System.Data.IsolationLevel.Serializable);
        Apply(transaction, schema);
        transaction.Commit();
    }

    /// <param name="transaction">It excludes every other process: SQLite by its write lock, PostgreSQL by an advisory lock.</param>
    public static void Apply(DbTransaction transaction, Schema schema)
    {
        var connection = transaction.Connection!;
        foreach (var (step, isThere) in Missing(Applied(connection, schema, transaction), schema))
        {
            try
            {
                if (!isThere) connection.Execute(schema.Read(step), transaction: transaction, commandTimeout: 0);
            }
            // insufficient_privilege: PostgresDatabase explains what to do.
            catch (DbException e) when (!Database.IsUnavailable(e) && e.SqlState != "42501")
            {
                throw new StartupException($"Schema step {step} could not be applied; nothing was changed. {e.Message}", e);
            }

            if (Schema.UnreleasedSteps.Contains(step)) continue; // the database becomes one of 001, which is recorded
            var now = TimeProvider.System.GetUtcNow();
            connection.Execute($"INSERT INTO {Table} (scriptname, applied) VALUES (@step, @now)", new { step, now }, transaction);
        }
    }

    private static HashSet<string> Applied(DbConnection connection, Schema schema, DbTransaction? transaction) =>
        connection.ExecuteScalar<long>(schema.TableExists, new { table = Table }, transaction) == 0
            ? [] : connection.Query<string>($"SELECT scriptname FROM {Table}", transaction: transaction).ToHashSet(StringComparer.Ordinal);

    /// <exception cref="StartupException">The database is newer, or too old.</exception>
    private static List<(string Step, bool IsThere)> Missing(HashSet<string> applied, Schema schema)
    {
        var old = applied.Where(name => name.StartsWith(OldPrefix, StringComparison.Ordinal))
            .Select(name => name.Split('.')[^2]).ToHashSet(StringComparer.Ordinal);
        var unreleased = Schema.UnreleasedSteps.ToDictionary(step => step.Split('/')[1], StringComparer.Ordinal);
        var newer = old.Count > 0 ? old.Except(oldSteps).Except(unreleased.Keys).ToList() : applied.Except(Schema.Steps).ToList();
        if (newer.Count > 0)
        {
            throw new StartupException(
                $"The database was written by a newer Pakhouse: it has schema {newer.Max(StringComparer.Ordinal)}, " +
                $"this program knows up to {Schema.Steps.Last(step => char.IsAsciiDigit(step[0]))}. " +
                "Start the newer program, or restore the back-up that was made before the upgrade. Nothing was changed.");
        }

        var steps = Schema.Steps.Where(schema.Has);
        if (old.Count == 0) return [.. steps.Where(step => !applied.Contains(step)).Select(step => (step, false))];
        if (!oldSteps.All(old.Contains))
        {
            throw new StartupException(
                "The database was written by an early Pakhouse, before the first release: it has schema " +
                $"{old.Max(StringComparer.Ordinal)}, and this program goes on from {oldSteps[^1]}. " +
                "Start a program of that time, which is in the history of its repository, on it first. Nothing was changed.");
        }

        return
        [
            .. unreleased.Where(step => !old.Contains(step.Key)).Select(step => (step.Value, false)).Order(),
            .. steps.Select(step => (step, firstSteps.Contains(step))),
        ];
    }
}
