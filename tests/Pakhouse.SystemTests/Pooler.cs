using System.Diagnostics;
using System.Net.Sockets;

namespace Pakhouse.SystemTests;

/// <summary>PgBouncer with the configuration of docs/operations.md, before a PostgreSQL.</summary>
internal sealed class Pooler : IAsyncDisposable
{
    private readonly DirectoryInfo folder;
    private readonly Process process;
    private readonly int port;
    private readonly Task<string[]> reading;

    private Pooler(DirectoryInfo folder, Process process, int port)
    {
        (this.folder, this.process, this.port) = (folder, process, port);
        reading = Task.WhenAll(process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
    }

    public string Setting => $"--Pakhouse:PostgresConnection=Host=127.0.0.1;Port={port};Database=pakhouse;Username=pakhouse";

    /// <param name="isForgetful">Knows no prepared statements, whatever its version.</param>
    public static async Task<Pooler> StartAsync(PostgresServer postgres, bool isForgetful = false)
    {
        var (place, port) = (Directory.CreateTempSubdirectory("pakhouse-pooler-"), PostgresServer.FreePort());
        var configuration = Path.Combine(place.FullName, "pgbouncer.ini");
        // The page's, and where everything is here; of two lines for one setting the later counts.
        await File.WriteAllTextAsync(
            configuration,
            Page.Block("ini", "pgbouncer").Replace("db.example.com port=5432", $"127.0.0.1 port={postgres.Port}", StringComparison.Ordinal)
                + $"""

                listen_addr = 127.0.0.1
                listen_port = {port}
                unix_socket_dir =
                {(isForgetful && await KnowsStatementsAsync() ? "max_prepared_statements = 0" : "")}
                auth_type = trust
                auth_file = {Path.Combine(place.FullName, "users.txt")}
                """
        );
        await File.WriteAllTextAsync(Path.Combine(place.FullName, "users.txt"), "\"pakhouse\" \"\"\n");
        File.SetUnixFileMode(place.FullName, (UnixFileMode)0b111_101_101);

        string[] command = [Program, configuration];
        if (Environment.IsPrivilegedProcess)
            command = [Tool.Require("setpriv", "util-linux"), "--reuid=postgres", "--regid=postgres", "--init-groups", "--", .. command];
        var pooler = new Pooler(place, Tool.Start(command[0], command[1..]), port);
        try
        {
            await Eventually.TrueAsync(
                "PgBouncer listens",
                async () =>
                {
                    Assert.False(pooler.process.HasExited, "PgBouncer ended.");
                    using var client = new TcpClient();
                    try
                    {
                        await client.ConnectAsync("127.0.0.1", port);
                        return true;
                    }
                    catch (SocketException)
                    {
                        return false;
                    }
                }
            );
            return pooler;
        }
        catch (Exception e)
        {
            await pooler.DisposeAsync();
            throw new InvalidOperationException(string.Concat(await pooler.reading), e);
        }
    }

    /// <summary>From 1.21 on; an earlier one knows neither statements nor the setting.</summary>
    private static async Task<bool> KnowsStatementsAsync()
    {
        var version = (await Tool.RunAsync(Program, ["--version"])).Output.Split('\n')[0].Split(' ')[^1].Trim();
        return Version.Parse(version) >= new Version(1, 21);
    }

    private static string Program => File.Exists("/usr/sbin/pgbouncer") ? "/usr/sbin/pgbouncer" : Tool.Require("pgbouncer", "pgbouncer");

    public async ValueTask DisposeAsync()
    {
        if (!process.HasExited) Tool.Signal(process, Tool.SIGINT);
        await Tool.EndAsync(process);
        await reading;
        process.Dispose();
        folder.Delete(recursive: true);
    }
}
