using System.Data.Common;

namespace Pakhouse.Server;

/// <summary>
/// Inserts many rows, or updates those that exist, with few statements, each with as many rows as the database handles best.
/// </summary>
/// <param name="Conflict">The text after <c>ON CONFLICT</c>.</param>
internal sealed record BatchUpsert(string Table, string[] Columns, string Conflict)
{
    /// <param name="rows">Values in the order of the columns.</param>
    public async Task WriteAsync(Database database, DbTransaction transaction, IReadOnlyCollection<object[]> rows)
    {
        DbCommand? kept = null; // for all full statements; the mapper would build each one again
        try
        {
            foreach (var chunk in rows.Chunk(database.InsertBatchRows))
            {
                if (kept?.Parameters.Count != chunk.Length * Columns.Length)
                {
                    if (kept is not null) await kept.DisposeAsync();
                    kept = Command(transaction, chunk.Length);
                }

                var parameter = 0;
                foreach (var row in chunk)
                    foreach (var value in row) kept.Parameters[parameter++].Value = value;
                await kept.ExecuteNonQueryAsync();
            }
        }
        finally
        {
            if (kept is not null) await kept.DisposeAsync();
        }
    }

    private DbCommand Command(DbTransaction transaction, int rows)
    {
        var command = transaction.Connection!.CreateCommand();
        command.Transaction = transaction;
        for (var i = 0; i < rows * Columns.Length; i++)
        {
            var parameter = command.CreateParameter();
            parameter.ParameterName = $"@p{i}";
            command.Parameters.Add(parameter);
        }

        var values = command.Parameters.Cast<DbParameter>().Select(parameter => parameter.ParameterName).Chunk(Columns.Length);
        command.CommandText =
            $"INSERT INTO {Table} ({string.Join(", ", Columns)}) VALUES "
                + $"{string.Join(", ", values.Select(names => $"({string.Join(", ", names)})"))} ON CONFLICT {Conflict}";
        return command;
    }
}
