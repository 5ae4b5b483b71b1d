using Dapper;
using Npgsql;
using Xunit.v3;

namespace Pakhouse.Tests;

/// <summary>
/// A new, empty database. The whole suite runs twice: on SQLite, and, where PAKHOUSE_TEST_POSTGRES holds the connection string of a
/// server whose databases may come and go (test.sh starts one), on PostgreSQL.
/// </summary>
public sealed record TestDatabase(string Folder, string? Postgres)
{
    private static readonly string? server = Environment.GetEnvironmentVariable("PAKHOUSE_TEST_POSTGRES");

    public static bool IsPostgres => server is not null;

    public string[] Settings => [$"--Pakhouse:DataFolder={Folder}", .. Postgres is null ? Array.Empty<string>() : [$"--Pakhouse:PostgresConnection={Postgres}"]];

    public static async Task<TestDatabase> CreateAsync()
    {
        var folder = Path.Combine(Directory.CreateTempSubdirectory("pakhouse-test-").FullName, "data");
        if (server is null) return new(folder, null);

        var name = $"test_{Path.GetFileName(Path.GetDirectoryName(folder))!.ToLowerInvariant().Replace('-', '_')}";
        await AdministerAsync($"CREATE DATABASE {name}");
        return new(folder, new NpgsqlConnectionStringBuilder(server) { Database = name, MaxPoolSize = 20 }.ConnectionString);
    }

    public async Task DeleteAsync()
    {
        if (Directory.Exists(Path.GetDirectoryName(Folder))) Directory.Delete(Path.GetDirectoryName(Folder)!, recursive: true);
        if (Postgres is null) return;
        await AdministerAsync($"DROP DATABASE {new NpgsqlConnectionStringBuilder(Postgres).Database} WITH (FORCE)");
    }

    /// <summary>A connection from outside the server, as another process would have.</summary>
    public System.Data.Common.DbConnection Connect() => Postgres is null
        ? new Microsoft.Data.Sqlite.SqliteConnection($"Data Source={Path.Combine(Folder, "pakhouse.db")};Pooling=False")
        : new NpgsqlConnection(Postgres + ";Pooling=false");

    private static async Task AdministerAsync(string sql)
    {
        await using var connection = new NpgsqlConnection(server + ";Pooling=false");
        await connection.ExecuteAsync(sql);
    }
}

/// <summary>The test runs on SQLite alone, and says why.</summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class SqliteOnlyAttribute(string why) : Attribute, ITraitAttribute
{
    public string Why { get; } = why;

    public IReadOnlyCollection<KeyValuePair<string, string>> GetTraits() => [new("only", "sqlite")];
}

/// <summary>The test runs on PostgreSQL alone, and says why.</summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class PostgresOnlyAttribute(string why) : Attribute, ITraitAttribute
{
    public string Why { get; } = why;

    public IReadOnlyCollection<KeyValuePair<string, string>> GetTraits() => [new("only", "postgres")];
}
