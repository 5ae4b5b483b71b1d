using System.Data.Common;
using System.Text.Json;
using Microsoft.Data.Sqlite;
using SQLitePCL;

namespace Pakhouse.Tests;

/// <summary>
/// The work of a statement, counted by the database and not by a clock: in SQLite the steps of its virtual machine, in PostgreSQL the rows
/// that the parts of the plan read.
/// </summary>
internal static class SqlCost
{
    public static Task<long> OfAsync(Database database, SentSql sql) => database.ReadAsync(async connection =>
    {
        await using var command = connection.CreateCommand();
        command.CommandText = TestDatabase.IsPostgres ? "EXPLAIN (ANALYZE, FORMAT JSON) " + sql.Text : sql.Text;
        SqlPlans.Bind(command, sql.Text, sql.Parameters);
        if (TestDatabase.IsPostgres)
            return Rows(JsonDocument.Parse((string)(await command.ExecuteScalarAsync())!).RootElement[0].GetProperty("Plan"));
        return await StepsAsync(command, (SqliteConnection)connection);
    });

    private static async Task<long> StepsAsync(DbCommand command, SqliteConnection connection)
    {
        var steps = 0L;
        raw.sqlite3_progress_handler(connection.Handle, 1, _ =>
        {
            steps++;
            return 0;
        }, null);
        try
        {
            await using var reader = await command.ExecuteReaderAsync();
            while (await reader.ReadAsync()) { }
        }
        finally
        {
            raw.sqlite3_progress_handler(connection.Handle, 0, null, null);
        }

        return steps;
    }

    private static long Rows(JsonElement node)
    {
        double Number(string name) => node.TryGetProperty(name, out var value) ? value.GetDouble() : 0;
        var children = node.TryGetProperty("Plans", out var plans) ? plans.EnumerateArray().Sum(Rows) : 0;
        var own = Number("Actual Rows") + Number("Rows Removed by Filter") + Number("Rows Removed by Join Filter");
        return children + (long)(own * Number("Actual Loops"));
    }
}
