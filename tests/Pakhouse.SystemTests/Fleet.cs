using System.Diagnostics;
using System.Security.Cryptography;
using System.Text;
using Dapper;

namespace Pakhouse.SystemTests;

/// <summary>HAProxy with the configuration of docs/operations.md, before two servers.</summary>
internal sealed class Balancer : IAsyncDisposable
{
    private readonly DirectoryInfo folder;
    private readonly Process process;
    private readonly Task<string> errors;

    private Balancer(DirectoryInfo folder, Process process) =>
        (this.folder, this.process, errors) = (folder, process, process.StandardError.ReadToEndAsync());

    public static async Task<Balancer> StartAsync(int port, int first, int second)
    {
        var place = Directory.CreateTempSubdirectory("pakhouse-balancer-");
        var configuration = Path.Combine(place.FullName, "haproxy.cfg");
        await File.WriteAllTextAsync(configuration, Page.Block("haproxy", "pakhouse"));
        var program = File.Exists("/usr/sbin/haproxy") ? "/usr/sbin/haproxy" : Tool.Require("haproxy", "haproxy");
        return new Balancer(
            place,
            Tool.Start(
                program,
                ["-db", "-f", configuration],
                new Dictionary<string, string>(StringComparer.Ordinal)
                {
                    ["BIND"] = $"127.0.0.1:{port}",
                    ["PAKHOUSE_1"] = $"127.0.0.1:{first}",
                    ["PAKHOUSE_2"] = $"127.0.0.1:{second}",
                }
            )
        );
    }

    public async ValueTask DisposeAsync()
    {
        if (!process.HasExited)
            Tool.Signal(process, Tool.SIGTERM);
        await Tool.EndAsync(process);
        await errors;
        process.Dispose();
        folder.Delete(recursive: true);
    }
}

/// <summary>Two processes of the program on one PostgreSQL, behind HAProxy, with Acme in the database.</summary>
internal sealed class Fleet : IAsyncDisposable
{
    private readonly DirectoryInfo folder = Directory.CreateTempSubdirectory("pakhouse-fleet-");
    private readonly int[] ports = [PostgresServer.FreePort(), PostgresServer.FreePort()];
    private readonly int port = PostgresServer.FreePort();
    private readonly string[] settings;
    private Balancer? balancer;

    private Fleet(PostgresServer postgres, string[] settings)
    {
        Postgres = postgres;
        this.settings =
        [
            postgres.Setting, $"--Pakhouse:PublicAddress=http://127.0.0.1:{port}", "--Pakhouse:TrustedProxies=127.0.0.1",
            "--Pakhouse:FailuresPerMinuteMax=100000", "--Pakhouse:KeysPerMemberMax=10000", .. settings,
        ];
        Http = new(
            new SocketsHttpHandler
            {
                UseCookies = false,
                AllowAutoRedirect = false,
                UseProxy = false,
            }
        )
        {
            BaseAddress = new Uri($"http://127.0.0.1:{port}"),
            Timeout = Tool.Patience,
        };
    }

    public PostgresServer Postgres { get; }

    /// <summary>The two processes; a test that ends one puts its successor here.</summary>
    public RunningServer[] Servers { get; } = new RunningServer[2];

    /// <summary>To the balancer.</summary>
    public HttpClient Http { get; }

    public Acme Acme { get; private set; } = null!;

    public static async Task<Fleet> StartAsync(params string[] settings)
    {
        var fleet = new Fleet(await PostgresServer.StartAsync(), settings);
        try
        {
            await Task.WhenAll(fleet.StartServerAsync(0), fleet.StartServerAsync(1));
            await using (var seed = fleet.OpenSeed()) fleet.Acme = await seed.AddAcmeAsync();
            fleet.balancer = await Balancer.StartAsync(fleet.port, fleet.ports[0], fleet.ports[1]);
            await fleet.WaitForBothAsync();
            return fleet;
        }
        catch
        {
            await fleet.DisposeAsync();
            throw;
        }
    }

    public async Task StartServerAsync(int number)
    {
        Servers[number] = await RunningServer.StartInAsync(
            Path.Combine(folder.FullName, $"{number}"),
            [.. settings, $"--Pakhouse:Listen=http://127.0.0.1:{ports[number]}"]
        );
        Servers[number].UseAddress($"http://127.0.0.1:{ports[number]}");
    }

    public Seed OpenSeed() => Seed.Open(Path.Combine(folder.FullName, "seed"), settings);

    /// <summary>Until the balancer has sent one request to each.</summary>
    public async Task WaitForBothAsync()
    {
        var seen = new HashSet<string>(StringComparer.Ordinal);
        await Eventually.TrueAsync("The balancer sends requests to both", async () =>
        {
            try
            {
                var answer = await Answer.OfAsync(await Http.GetAsync(new Uri("/health/ready", UriKind.Relative)));
                if (answer.Status == 200) seen.Add(answer.Header("X-Served-By")!);
            }
            catch (HttpRequestException)
            {
                // It does not listen yet.
            }

            return seen.Count == 2;
        });
    }

    /// <summary>An exchange by way of the balancer.</summary>
    public Task<Answer> ExchangeAsync(string key) => ExchangeAsync(Http, key);

    public static async Task<Answer> ExchangeAsync(HttpClient http, string key)
    {
        using var content = new FormUrlEncodedContent([KeyValuePair.Create("personalAccessKey", key)]);
        return await Answer.OfAsync(await http.PostAsync(new Uri("/auth/v3/token", UriKind.Relative), content));
    }

    /// <summary>Many keys of the owner in one statement; made one by one they would take longer than the test.</summary>
    public Task<string[]> SeedKeysAsync(int count) => SeedKeysAsync(Postgres, Acme, count);

    public static async Task<string[]> SeedKeysAsync(PostgresServer postgres, Acme acme, int count)
    {
        var keys = Enumerable.Range(0, count).Select(_ => KeyFormat.Create("ph", KeyFormat.NewId())).ToArray();
        await using var connection = await postgres.OpenAsync();
        await connection.ExecuteAsync(
            """
            INSERT INTO access_keys (id, membership_id, name, hash, scopes, created_at, status_index)
            SELECT key.id, m.id, 'Key', key.hash, '*', 0, 1000000 + key.number
                FROM memberships m, unnest(@ids, @hashes) WITH ORDINALITY AS key (id, hash, number)
            WHERE m.user_id = @owner AND m.organization_id = @root
            """,
            new
            {
                ids = keys.Select(key => Seed.IdOf(Encoding.ASCII.GetString(key))).ToArray(),
                hashes = keys.Select(SHA256.HashData).ToArray(),
                owner = acme.Owner.Id.ToString(),
                root = acme.Root.ToString(),
            }
        );
        return [.. keys.Select(Encoding.ASCII.GetString)];
    }

    public async ValueTask DisposeAsync()
    {
        Http.Dispose();
        if (balancer is not null) await balancer.DisposeAsync();
        foreach (var server in Servers)
            if (server is not null) await server.DisposeAsync();
        await Postgres.DisposeAsync();
        folder.Delete(recursive: true);
    }
}

/// <summary>The test is one of PostgreSQL, which it starts itself; where it is not installed, it fails and says what to install.</summary>
[AttributeUsage(AttributeTargets.Class)]
internal sealed class PostgresOnlyAttribute(string why) : Attribute, Xunit.v3.ITraitAttribute
{
    public string Why { get; } = why;

    public IReadOnlyCollection<KeyValuePair<string, string>> GetTraits() => [new("only", "postgres")];
}

/// <summary>Tests that load the whole machine, or hold an answer against a clock: one after the other, and beside no other.</summary>
[CollectionDefinition(Name, DisableParallelization = true)]
public sealed class Alone
{
    public const string Name = "alone";
}
