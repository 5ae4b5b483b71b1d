using System.Data;
using System.Data.Common;
using System.Text.Json;
using System.Text.RegularExpressions;
using Dapper;

namespace Pakhouse.Tests;

/// <summary>What a database would do for a statement, without doing it.</summary>
internal sealed partial class SqlPlans(DbConnection connection)
{
    /// <summary>The large tables that the statement reads from end to end, by rows or by an index.</summary>
    /// <exception cref="DbException">The text is no statement.</exception>
    public async Task<IReadOnlyList<string>> ScansAsync(SentSql sql)
    {
        var scans = new List<string>();
        foreach (var statement in Statement().Split(sql.Text).Select(part => part.Trim()).Where(part => part.Length > 0))
        {
            scans.AddRange(
                TestDatabase.IsPostgres ? await PostgresAsync(statement, sql.Parameters) : await SqliteAsync(statement, sql.Parameters)
            );
        }

        return [.. scans.Distinct(StringComparer.Ordinal)];
    }

    private async Task<IEnumerable<string>> SqliteAsync(string statement, IReadOnlyList<(string Name, object? Value, DbType Type)> values)
    {
        await using var command = connection.CreateCommand();
        command.CommandText = "EXPLAIN QUERY PLAN " + statement;
        Bind(command, statement, values);
        var names = Named(statement);
        var details = new List<string>();
        await using (var rows = await command.ExecuteReaderAsync())
            while (await rows.ReadAsync())
                details.Add(rows.GetString(3));
        var scans = new List<string>();
        // The rows of a subquery are read from end to end, as they should be. One may have the name of a table inside it.
        var subqueries = details
            .Where(detail =>
                detail.StartsWith("CO-ROUTINE ", StringComparison.Ordinal) || detail.StartsWith("MATERIALIZE ", StringComparison.Ordinal)
            )
            .Select(detail => detail.Split(' ')[1])
            .ToList();
        foreach (var detail in details)
        {
            // An automatic index is made by reading the whole table.
            if (!detail.StartsWith("SCAN ", StringComparison.Ordinal) && !detail.Contains("AUTOMATIC", StringComparison.Ordinal))
                continue;
            var name = detail.Split(' ')[1];
            if (detail.StartsWith("SCAN ", StringComparison.Ordinal) && subqueries.Remove(name))
                continue;
            scans.AddRange(
                names.TryGetValue(name, out var tables) ? tables
                : LargeDatabase.Large.Contains(name) ? [name]
                : []
            );
        }

        return scans;
    }

    private async Task<IEnumerable<string>> PostgresAsync(string statement, IReadOnlyList<(string Name, object? Value, DbType Type)> values)
    {
        var names = Parameter().Matches(statement).Select(match => match.Value).Distinct(StringComparer.OrdinalIgnoreCase).ToList();
        var isKnown = names.TrueForAll(name => values.Any(value => Is(value.Name, name)));
        await using var command = connection.CreateCommand();
        string plan;
        if (isKnown)
        {
            command.CommandText = "EXPLAIN (FORMAT JSON) " + statement;
            Bind(command, statement, values);
            plan = (string)(await command.ExecuteScalarAsync())!;
        }
        else
        {
            // Its values are not known: the plan that is good for any.
            int NumberOf(string name) => 1 + names.FindIndex(one => one.Equals(name, StringComparison.OrdinalIgnoreCase));
            var numbered = Parameter().Replace(statement, match => $"${NumberOf(match.Value)}");
            var nulls = names.Count == 0 ? "" : $"({string.Join(", ", names.Select(_ => "NULL"))})";
            await connection.ExecuteAsync("SET plan_cache_mode = force_generic_plan; DEALLOCATE ALL");
            await connection.ExecuteAsync($"PREPARE any_values AS {numbered}");
            plan = (await connection.ExecuteScalarAsync<string>($"EXPLAIN (FORMAT JSON) EXECUTE any_values{nulls}"))!;
        }

        var scans = new List<string>();
        Walk(JsonDocument.Parse(plan).RootElement[0].GetProperty("Plan"), scans);
        return scans;
    }

    private static void Walk(JsonElement node, List<string> scans)
    {
        string? Text(string name) => node.TryGetProperty(name, out var value) ? value.ToString() : null;
        var isScan = Text("Node Type") switch
        {
            "Seq Scan" or "Sample Scan" => true,
            "Index Scan" or "Index Only Scan" or "Bitmap Index Scan" => Text("Index Cond") is null,
            _ => false,
        };
        if (isScan && Text("Relation Name") is { } table && IsLarge(table))
            scans.Add(table);
        if (!node.TryGetProperty("Plans", out var children))
            return;
        foreach (var child in children.EnumerateArray())
            Walk(child, scans);
    }

    public static void Bind(DbCommand command, string statement, IReadOnlyList<(string Name, object? Value, DbType Type)> values)
    {
        foreach (var name in Parameter().Matches(statement).Select(match => match.Value).Distinct(StringComparer.OrdinalIgnoreCase))
        {
            var parameter = command.CreateParameter();
            var known = values.FirstOrDefault(value => Is(value.Name, name));
            parameter.ParameterName = name;
            // The database finds the type of a null, as it does when the server sends one.
            if (known.Value is not null and not DBNull)
                parameter.DbType = known.Type;
            parameter.Value = known.Value ?? DBNull.Value;
            command.Parameters.Add(parameter);
        }
    }

    private static bool Is(string recorded, string inText) =>
        recorded.TrimStart('@').Equals(inText[1..], StringComparison.OrdinalIgnoreCase);

    private static bool IsLarge(string table) => LargeDatabase.Large.Contains(table);

    /// <summary>The tables behind each name in the statement. One name can stand for several.</summary>
    private static Dictionary<string, string[]> Named(string statement) =>
        Source()
            .Matches(statement)
            .Where(match => LargeDatabase.Large.Contains(match.Groups["table"].Value))
            .SelectMany(match =>
                new[] { match.Groups["table"].Value, match.Groups["alias"].Value }.Select(name =>
                    (Name: name, Table: match.Groups["table"].Value)
                )
            )
            .Where(one => one.Name.Length > 0)
            .GroupBy(one => one.Name, one => one.Table, StringComparer.Ordinal)
            .ToDictionary(group => group.Key, group => group.Distinct(StringComparer.Ordinal).ToArray(), StringComparer.Ordinal);

    [GeneratedRegex(@";\s*(?:\n|$)", RegexOptions.None, 1000)]
    private static partial Regex Statement();

    [GeneratedRegex(@"(?<![@\w])@\w+", RegexOptions.None, 1000)]
    private static partial Regex Parameter();

    [GeneratedRegex(
        @"\b(?:FROM|JOIN|UPDATE|INTO|,)\s+(?<table>[a-z_]+)(?:\s+(?:AS\s+)?(?<alias>[a-z][a-z_0-9]*))?",
        RegexOptions.None,
        1000
    )]
    private static partial Regex Source();
}
