using Dapper;
using Microsoft.Extensions.Configuration;
using Npgsql;
using Xunit.v3;

namespace Pakhouse.Tests;

/// <summary>
/// A new database: its schema is there, and nothing in it; or, where a test is about that, not even its schema. The whole suite runs twice:
/// on SQLite, and, where PAKHOUSE_TEST_POSTGRES holds the connection string of a server whose databases may come and go (test.sh starts
/// one), on PostgreSQL.
/// </summary>
public sealed record TestDatabase(string Folder, string? Postgres)
{
    private static readonly string? server = Environment.GetEnvironmentVariable("PAKHOUSE_TEST_POSTGRES");

    /// <summary>Migrated once and copied for every test.</summary>
    private static readonly Lazy<Task<TestDatabase>> template = new(async () =>
    {
        var place = await CreateEmptyAsync();
        AppDomain.CurrentDomain.ProcessExit += (_, _) => place.DeleteAsync().Wait();
        await using var database = Database.Of(place.Options);
        database.Prepare();
        return place;
    });

    public static bool IsPostgres => server is not null;

    public string[] Settings =>
        [$"--Pakhouse:DataFolder={Folder}", .. Postgres is null ? Array.Empty<string>() : [$"--Pakhouse:PostgresConnection={Postgres}"]];

    public PakhouseOptions Options => PakhouseOptions.Read(new ConfigurationBuilder().AddCommandLine(Settings).Build());

    public static async Task<TestDatabase> CreateAsync()
    {
        var migrated = await template.Value;
        var folder = MakeFolder();
        if (server is not null)
            return new(
                folder,
                await CreatePostgresAsync(
                    folder,
                    $"TEMPLATE {new NpgsqlConnectionStringBuilder(migrated.Postgres).Database} STRATEGY FILE_COPY"
                )
            );
        DataFolder.Create(folder);
        foreach (var file in (string[])["pakhouse.db", "usage.db"])
            File.Copy(Path.Combine(migrated.Folder, file), Path.Combine(folder, file));
        return new(folder, null);
    }

    /// <summary>A new, empty one: the first start makes the schema.</summary>
    public static async Task<TestDatabase> CreateEmptyAsync()
    {
        var folder = MakeFolder();
        return new(folder, server is null ? null : await CreatePostgresAsync(folder, ""));
    }

    /// <summary>PostgreSQL: another database with all that is in this one.</summary>
    public async Task<TestDatabase> CopyAsync()
    {
        var folder = MakeFolder();
        NpgsqlConnection.ClearAllPools();
        return new(
            folder,
            await CreatePostgresAsync(folder, $"TEMPLATE {new NpgsqlConnectionStringBuilder(Postgres).Database} STRATEGY FILE_COPY")
        );
    }

    public async Task DeleteAsync()
    {
        if (Directory.Exists(Path.GetDirectoryName(Folder)))
            Directory.Delete(Path.GetDirectoryName(Folder)!, recursive: true);
        if (Postgres is null)
            return;
        await AdministerAsync($"DROP DATABASE IF EXISTS {new NpgsqlConnectionStringBuilder(Postgres).Database} WITH (FORCE)");
    }

    /// <summary>A connection from outside the server, as another process would have.</summary>
    public System.Data.Common.DbConnection Connect()
    {
        if (Postgres is not null)
            return new NpgsqlConnection(Postgres + ";Pooling=false");
        var connection = new Microsoft.Data.Sqlite.SqliteConnection($"Data Source={Path.Combine(Folder, "pakhouse.db")};Pooling=False");
        var usage = Path.Combine(Folder, "usage.db");
        connection.StateChange += (_, change) =>
        {
            if (change.CurrentState == System.Data.ConnectionState.Open && File.Exists(usage))
                connection.Execute("ATTACH @usage AS usage", new { usage });
        };
        return connection;
    }

    private static string MakeFolder() => Path.Combine(Directory.CreateTempSubdirectory("pakhouse-test-").FullName, "data");

    private static async Task<string> CreatePostgresAsync(string folder, string how)
    {
        var name = $"test_{Path.GetFileName(Path.GetDirectoryName(folder))!.ToLowerInvariant().Replace('-', '_')}";
        await AdministerAsync($"CREATE DATABASE {name} {how}");
        return new NpgsqlConnectionStringBuilder(server) { Database = name, MaxPoolSize = 20 }.ConnectionString;
    }

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
