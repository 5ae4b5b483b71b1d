using System.Net;
using System.Net.Sockets;
using Dapper;
using Npgsql;

namespace Pakhouse.SystemTests;

/// <summary>
/// A PostgreSQL of its own: made by initdb in a temporary folder, unprivileged, on a free loopback port, with <c>fsync</c> as it comes
/// (on), and removed at the end. It holds the role and the empty database <c>pakhouse</c>.
/// </summary>
internal sealed class PostgresServer : IAsyncDisposable
{
    private const string Owner = "postgres"; // of the files, when the tests run as root: PostgreSQL refuses to be root

    private readonly DirectoryInfo folder;
    private bool isRunning;

    private PostgresServer(DirectoryInfo folder, int port) => (this.folder, Port) = (folder, port);

    public int Port { get; }

    /// <summary>As the role that owns the database and is no superuser.</summary>
    public string Connection => $"Host=127.0.0.1;Port={Port};Database=pakhouse;Username=pakhouse";

    public string Setting => $"--Pakhouse:PostgresConnection={Connection}";

    /// <summary>Where it is, for the programs of PostgreSQL, and where those are.</summary>
    public IReadOnlyDictionary<string, string> Variables =>
        new Dictionary<string, string>(StringComparer.Ordinal)
        {
            ["PGHOST"] = "127.0.0.1",
            ["PGPORT"] = $"{Port}",
            ["PGUSER"] = "pakhouse",
            ["PGDATABASE"] = "pakhouse",
            ["PGDATA"] = Data,
            ["PATH"] = $"{Programs}:{Environment.GetEnvironmentVariable("PATH")}",
            ["CONNECTION"] = Connection,
        };

    private string Data => Path.Combine(folder.FullName, "data");

    private static string Programs =>
        Directory.Exists("/usr/lib/postgresql")
            ? Directory
                .GetDirectories("/usr/lib/postgresql")
                .OrderByDescending(version => int.Parse(Path.GetFileName(version)))
                .Select(version => Path.Combine(version, "bin"))
                .First(Directory.Exists)
            : throw Tool.Missing("/usr/lib/postgresql", "postgresql");

    /// <param name="settings">Lines of postgresql.conf.</param>
    public static async Task<PostgresServer> StartAsync(params string[] settings)
    {
        var server = await MakeAsync();
        try
        {
            await server.RunAsync("initdb", "-D", server.Data, "-U", Owner, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync");
            await server.ConfigureAsync(["max_connections = 300", .. settings]);
            await server.StartAgainAsync();
            await server.ExecuteAsync("CREATE ROLE pakhouse LOGIN");
            await server.ExecuteAsync("CREATE DATABASE pakhouse OWNER pakhouse");
            return server;
        }
        catch
        {
            await server.DisposeAsync();
            throw;
        }
    }

    /// <summary>A standby that has every commit before it is acknowledged here.</summary>
    public async Task<PostgresServer> StartStandbyAsync()
    {
        var standby = await MakeAsync();
        try
        {
            await standby.RunPageAsync("standby", ("PRIMARY_HOST", "127.0.0.1"), ("PRIMARY_PORT", $"{Port}"), ("REPLICATION_USER", Owner));
            await standby.ConfigureAsync([]);
            await standby.StartAgainAsync();
            await RunPageAsync("synchronous", ("PGUSER", Owner), ("PGDATABASE", "postgres"));
            await Eventually.TrueAsync(
                "The standby is synchronous",
                async () => await CountAsync("SELECT COUNT(*) FROM pg_stat_replication WHERE sync_state = 'sync'", "postgres") == 1
            );
            return standby;
        }
        catch
        {
            await standby.DisposeAsync();
            throw;
        }
    }

    public static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    public async Task StartAgainAsync()
    {
        await RunAsync("pg_ctl", "-D", Data, "-l", Path.Combine(folder.FullName, "log"), "-w", "-t", "60", "start");
        isRunning = true;
    }

    /// <param name="isImmediate">As if it had been killed: nothing is written any more.</param>
    public async Task StopAsync(bool isImmediate = false)
    {
        await RunAsync("pg_ctl", "-D", Data, "-m", isImmediate ? "immediate" : "fast", "-w", "-t", "60", "stop");
        isRunning = false;
    }

    public Task PromoteAsync() => RunPageAsync("promote");

    /// <summary>A connection of the superuser, out of any pool.</summary>
    public async Task<NpgsqlConnection> OpenAsync(string database = "pakhouse")
    {
        var connection = new NpgsqlConnection(
            $"Host=127.0.0.1;Port={Port};Database={database};Username={Owner};Pooling=false;Timeout=10;Command Timeout=60"
        );
        try
        {
            await connection.OpenAsync();
            return connection;
        }
        catch
        {
            await connection.DisposeAsync();
            throw;
        }
    }

    public async Task ExecuteAsync(string sql, string database = "postgres")
    {
        await using var connection = await OpenAsync(database);
        await connection.ExecuteAsync(sql);
    }

    public async Task<long> CountAsync(string sql, string database = "pakhouse")
    {
        await using var connection = await OpenAsync(database);
        return await connection.ExecuteScalarAsync<long>(sql);
    }

    public async ValueTask DisposeAsync()
    {
        if (isRunning)
            await StopAsync(isImmediate: true);
        folder.Delete(recursive: true);
    }

    private static async Task<PostgresServer> MakeAsync()
    {
        var place = Directory.CreateTempSubdirectory("pakhouse-postgres-");
        if (Environment.IsPrivilegedProcess)
            Assert.Equal(0, (await Tool.RunAsync("chown", [Owner, place.FullName])).ExitCode);
        return new PostgresServer(place, FreePort());
    }

    private Task ConfigureAsync(string[] settings) =>
        File.AppendAllLinesAsync(
            Path.Combine(Data, "postgresql.conf"),
            ["", $"port = {Port}", "listen_addresses = '127.0.0.1'", $"unix_socket_directories = '{folder.FullName}'", .. settings]
        );

    private Task RunAsync(string program, params string[] arguments) => RunAsync([Path.Combine(Programs, program), .. arguments]);

    /// <summary>Runs a block of docs/operations.md as the owner of the files.</summary>
    private Task RunPageAsync(string name, params (string Name, string Value)[] environment) =>
        RunAsync([
            "/usr/bin/env",
            .. Variables.Select(pair => $"{pair.Key}={pair.Value}"),
            .. environment.Select(pair => $"{pair.Name}={pair.Value}"),
            Tool.Bash,
            "-euc",
            Page.Block("sh", name),
        ]);

    private async Task RunAsync(string[] command)
    {
        if (Environment.IsPrivilegedProcess)
            command = [Tool.Require("setpriv", "util-linux"), $"--reuid={Owner}", $"--regid={Owner}", "--init-groups", "--", .. command];
        var ended = await Tool.RunAsync(command[0], command[1..]);
        if (ended.ExitCode == 0)
            return;
        var log = Path.Combine(folder.FullName, "log");
        Assert.Fail($"{string.Join(' ', command)}: {ended.All}{(File.Exists(log) ? await File.ReadAllTextAsync(log) : "")}");
    }
}

/// <summary>Waits for the thing itself: asks until it is so, within a deadline.</summary>
internal static class Eventually
{
    public static async Task TrueAsync(string what, Func<Task<bool>> isSo, TimeSpan? deadline = null)
    {
        var (start, max) = (TimeProvider.System.GetTimestamp(), deadline ?? Tool.Patience);
        while (!await isSo())
        {
            if (TimeProvider.System.GetElapsedTime(start) > max) throw new TimeoutException($"{what}: not within {max.TotalSeconds} s.");
            await Task.Delay(20);
        }
    }
}
