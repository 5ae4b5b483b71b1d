namespace Pakhouse.SystemTests;

/// <summary>Processes meet a database: an empty one, both at once; one they may not change; one behind a pooler.</summary>
[PostgresOnly("roles, poolers and a second process are not SQLite's")]
public sealed class StartOnPostgres : IDisposable
{
    private readonly DirectoryInfo temporary = Directory.CreateTempSubdirectory("pakhouse-system-");

    private string Folder => Path.Combine(temporary.FullName, "data");

    public void Dispose() => temporary.Delete(recursive: true);

    [Fact]
    public async Task Two_started_together_on_an_empty_database_make_one_schema_and_one_of_each_key_and_both_see_a_rotation()
    {
        await using var postgres = await PostgresServer.StartAsync();
        var starting = Enumerable.Range(0, 2).Select(_ => RunningServer.StartAsync(postgres.Setting)).ToList();
        await using var one = await starting[0];
        await using var two = await starting[1];

        Assert.Equal(1, await postgres.CountAsync("SELECT COUNT(*) FROM signing_keys"));
        Assert.Equal(1, await postgres.CountAsync("SELECT COUNT(*) FROM data_protection_keys"));
        Assert.Equal(0, await postgres.CountAsync("SELECT COUNT(*) - COUNT(DISTINCT scriptname) FROM schemaversions"));
        Assert.Single(await KeyIdsAsync(one));
        Assert.Equal(await KeyIdsAsync(one), await KeyIdsAsync(two));

        var rotated = await RunningServer.RunAsync(["signing-keys", "rotate"], Folder, postgres.Setting);
        Assert.True(rotated.ExitCode == 0, rotated.All);
        foreach (var server in new[] { one, two })
            await Eventually.TrueAsync(
                "The new key is in the JWKS",
                async () => (await KeyIdsAsync(server)).Count(id => rotated.Output.Contains(id, StringComparison.Ordinal)) == 1,
                SigningKeys.RefreshInterval * 1.5
            );
        Assert.Equal(await KeyIdsAsync(one), await KeyIdsAsync(two));
    }

    [Fact]
    public async Task Role_that_may_not_change_the_schema_serves_after_migrate_and_before_it_is_told_so()
    {
        await using var postgres = await PostgresServer.StartAsync();
        var serving = postgres.Setting.Replace("Username=pakhouse", "Username=pakhouse_serving", StringComparison.Ordinal);
        await postgres.ExecuteAsync(Page.Block("sql", "roles"), "pakhouse");

        var early = await RunningServer.RunAsync([], Folder, serving);
        Assert.Equal(1, early.ExitCode);
        Assert.Contains("Run the command migrate with a role that may change the schema", early.Errors, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", early.All, StringComparison.Ordinal);

        var migrated = await Page.RunAsync("migrate", postgres.Variables);
        Assert.Contains("The schema is up to date", migrated.Output, StringComparison.Ordinal);

        await using var server = await RunningServer.StartInAsync(Folder, serving);
        await using (var seed = Seed.Open(Folder, serving))
        {
            var acme = await seed.AddAcmeAsync();
            var visitor = await Visitor.SignInAsync(server, acme.Owner);
            var key = await visitor.GenerateAsync(acme.Root);
            Assert.Equal(200, (await server.ExchangeAsync(key)).Status);
            await visitor.DeleteAsync(acme.Root, Seed.IdOf(key));
            Assert.Equal(401, (await server.ExchangeAsync(key)).Status);
        }

        Assert.Equal(0, await server.StopAsync()); // counts of use were written too
        Assert.Equal(1, await postgres.CountAsync("SELECT SUM(count)::bigint FROM key_use_hours"));
    }

    /// <summary>PgBouncer gives a connection away after each transaction; Debian's does not know prepared statements.</summary>
    [Fact]
    public async Task Behind_PgBouncer_in_transaction_mode_everything_works()
    {
        await using var postgres = await PostgresServer.StartAsync();
        await using var pooler = await Pooler.StartAsync(postgres);
        await using var server = await RunningServer.StartAsync(
            pooler.Setting,
            "--Pakhouse:PostgresPrepare=false",
            "--Pakhouse:KeysPerMemberMax=1000"
        );
        Acme acme;
        await using (var seed = Seed.Open(server.DataFolder, pooler.Setting, "--Pakhouse:PostgresPrepare=false"))
            acme = await seed.AddAcmeAsync();

        // One after the other: an attempt to sign in counts as failed until its password was found right.
        var visitors = new List<Visitor>();
        while (visitors.Count < 8)
            visitors.Add(await Visitor.SignInAsync(server, acme.Owner));

        // More callers than the pooler has connections.
        await Task.WhenAll(
            visitors.Select(async visitor =>
            {
                for (var round = 0; round < 5; round++)
                {
                    var key = await visitor.GenerateAsync(acme.Root);
                    foreach (var answer in await Task.WhenAll(Enumerable.Range(0, 10).Select(_ => server.ExchangeAsync(key))))
                        Assert.Equal(200, answer.Status);
                    await visitor.DeleteAsync(acme.Root, Seed.IdOf(key));
                    foreach (var answer in await Task.WhenAll(Enumerable.Range(0, 10).Select(_ => server.ExchangeAsync(key))))
                        Assert.Equal(401, answer.Status);
                }
            })
        );

        Assert.Equal(0, await server.StopAsync());
        Assert.Equal(8 * 5 * 10, await postgres.CountAsync("SELECT SUM(count)::bigint FROM key_use_hours"));
    }

    /// <summary>After a power cut both start at once. A wrong password is no reason to wait.</summary>
    [Fact]
    public async Task PostgreSQL_that_is_not_there_yet_is_waited_for_and_the_program_says_so_once()
    {
        await using var postgres = await PostgresServer.StartAsync();
        await postgres.StopAsync();
        await using var server = RunningServer.Launch([], Folder, [postgres.Setting]);
        await server.LineAsync("pakhouse: PostgreSQL 127.0.0.1, database pakhouse is not available (");
        await postgres.StartAgainAsync();
        await server.ServingAsync();
        Assert.Equal(200, (await server.GetAsync("/health/ready")).Status);
        Assert.Single(server.Output.Split('\n'), line => line.Contains("is not available (", StringComparison.Ordinal));
        Assert.Contains("waiting up to 60 seconds", server.Output, StringComparison.Ordinal);
        Assert.Equal(0, await server.StopAsync());
        Assert.DoesNotContain("   at ", server.Output, StringComparison.Ordinal);

        var stranger = postgres.Setting.Replace("Username=pakhouse", "Username=nobody_here", StringComparison.Ordinal);
        var refused = await RunningServer.RunAsync([], Folder, stranger);
        Assert.Equal(1, refused.ExitCode);
        Assert.DoesNotContain("is not available (", refused.All, StringComparison.Ordinal);
        Assert.Contains("cannot be used", Assert.Single(refused.Errors.Trim().Split('\n')), StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", refused.All, StringComparison.Ordinal);
    }

    /// <summary>Without the probe such a server is ready, and two of three exchanges fail.</summary>
    [Fact]
    public async Task Pooler_that_knows_no_prepared_statements_is_told_in_one_line_at_the_start()
    {
        await using var postgres = await PostgresServer.StartAsync();
        await using var pooler = await Pooler.StartAsync(postgres, isForgetful: true);
        var ended = await RunningServer.RunAsync([], Folder, pooler.Setting);
        Assert.Equal(1, ended.ExitCode);
        var line = Assert.Single(ended.Errors.Trim().Split('\n'));
        Assert.Contains("There is a pooler without prepared statements in front of PostgreSQL", line, StringComparison.Ordinal);
        Assert.Contains("Set Pakhouse:PostgresPrepare to false", line, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", ended.All, StringComparison.Ordinal);

        // The control: PostgreSQL itself has the same probe, and passes.
        await using var server = await RunningServer.StartInAsync(Folder, postgres.Setting);
        Assert.Equal(200, (await server.GetAsync("/health/ready")).Status);
    }

    private static async Task<List<string>> KeyIdsAsync(RunningServer server) =>
        [
            .. (await server.GetAsync("/.well-known/jwks.json"))
                .Json.GetProperty("keys")
                .EnumerateArray()
                .Select(key => key.GetProperty("kid").GetString()!)
                .Order(StringComparer.Ordinal),
        ];
}
