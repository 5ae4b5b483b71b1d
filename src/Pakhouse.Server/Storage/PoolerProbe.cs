using Npgsql;

namespace Pakhouse.Server;

/// <summary>
/// Detects a pooler in front of PostgreSQL that reassigns connections between transactions and does not support prepared statements
/// (PgBouncer before 1.21). With one, a prepared statement is missing on the next connection or belongs to another client.
/// </summary>
internal static class PoolerProbe
{
    private const int Rounds = 3;

    /// <exception cref="StartupException">There is such a pooler.</exception>
    public static void Demand(NpgsqlDataSource source)
    {
        // Each of the two has its own statement under the same name, as two connections of a pool have.
        using var one = source.OpenConnection();
        using var other = source.OpenConnection();
        using var first = new NpgsqlCommand("SELECT 'first'", one);
        using var second = new NpgsqlCommand("SELECT 'second'", other);
        try
        {
            first.Prepare();
            second.Prepare();
            var isIntact = true;
            for (var round = 0; round < Rounds && isIntact; round++)
            {
                isIntact = first.ExecuteScalar() is "first" && second.ExecuteScalar() is "second";
                // While one holds its connection, the other gets a different one.
                using var held = one.BeginTransaction();
                isIntact &= first.ExecuteScalar() is "first" && second.ExecuteScalar() is "second";
            }

            if (isIntact)
            {
                first.Unprepare();
                second.Unprepare();
                return;
            }
        }
        catch (PostgresException e) when (IsItsWork(e))
        {
            throw Found(e);
        }

        throw Found(null);
    }

    /// <summary>A prepared statement is gone, or its name is taken.</summary>
    public static bool IsItsWork(PostgresException e) =>
        e.SqlState is PostgresErrorCodes.InvalidSqlStatementName or PostgresErrorCodes.DuplicatePreparedStatement;

    private static StartupException Found(Exception? inner) =>
        new(
            "There is a pooler without prepared statements in front of PostgreSQL (PgBouncer before 1.21 in transaction mode, or a "
            + "later one with max_prepared_statements = 0). "
                + "Set Pakhouse:PostgresPrepare to false, or use PgBouncer 1.21 or newer with max_prepared_statements above 0.",
            inner
        );
}
