using System.Diagnostics;
using Dapper;
using Npgsql;

namespace Pakhouse.SystemTests;

/// <summary>
/// PostgreSQL is in trouble while a process runs: the answer is "not now", soon, and never a wrong yes; service resumes by itself.
/// </summary>
[Collection(Alone.Name), PostgresOnly("its troubles are its own")]
public sealed class LosePostgres
{
    /// <summary>Three seconds to connect or for a free connection, and some for a busy machine.</summary>
    private static readonly TimeSpan answerMax = TimeSpan.FromSeconds(6);

    /// <summary>Two statements of three seconds, on a kept connection and then on a new one, and the time to give up on each.</summary>
    private static readonly TimeSpan hangMax = TimeSpan.FromSeconds(10);

    private static readonly TimeSpan resumeMax = TimeSpan.FromSeconds(10);

    [Fact]
    public async Task Stopped_database_is_answered_503_and_back_again_is_used_again()
    {
        await using var postgres = await PostgresServer.StartAsync();
        await using var server = await RunningServer.StartAsync(postgres.Setting);
        var (key, doomed) = await PrepareAsync(postgres, server);

        await postgres.StopAsync();
        await AssertUnavailableAsync(server, key, doomed);
        Assert.Equal(503, (await server.GetAsync("/health/ready")).Status);
        Assert.Equal(200, (await server.GetAsync("/health/live")).Status);
        Assert.Equal(200, (await server.GetAsync("/.well-known/jwks.json")).Status); // verifiers are served on

        await postgres.StartAgainAsync();
        await AssertResumesAsync(server, key, doomed);
        Assert.Equal(200, (await server.GetAsync("/health/ready")).Status);
        await server.LineAsync("The database is available again");

        // A dozen requests and every job met it: a line at its begin, and one more where it took longer than a minute.
        var told = server.Output.Split('\n').Count(line => line.Contains("The database cannot be used: ", StringComparison.Ordinal));
        Assert.InRange(told, 1, 2);
        Assert.DoesNotContain("   at ", server.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Taken_connections_are_answered_503_and_given_back_are_used_again()
    {
        await using var postgres = await PostgresServer.StartAsync("max_connections = 24");
        await using var server = await RunningServer.StartAsync(postgres.Setting);
        var (key, doomed) = await PrepareAsync(postgres, server);

        var taken = new List<NpgsqlConnection>();
        try
        {
            await using var chief = await postgres.OpenAsync();
            await Eventually.TrueAsync("Every connection is taken", async () =>
            {
                await chief.ExecuteAsync("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'pakhouse'");
                try
                {
                    while (true) taken.Add(await postgres.OpenAsync());
                }
                catch (PostgresException e) when (e.SqlState == PostgresErrorCodes.TooManyConnections)
                {
                    return await chief.ExecuteScalarAsync<long>("SELECT COUNT(*) FROM pg_stat_activity WHERE usename = 'pakhouse'") == 0;
                }
            });
            await AssertUnavailableAsync(server, key, doomed);
        }
        finally
        {
            foreach (var connection in taken) await connection.DisposeAsync();
        }

        await AssertResumesAsync(server, key, doomed);
    }

    [Fact]
    public async Task Statements_that_hang_are_answered_503_and_service_resumes_when_they_do_not()
    {
        await using var postgres = await PostgresServer.StartAsync();
        await using var server = await RunningServer.StartAsync(postgres.Setting);
        var (key, doomed) = await PrepareAsync(postgres, server);

        await using (var holder = await postgres.OpenAsync())
        {
            await using var transaction = await holder.BeginTransactionAsync();
            await holder.ExecuteAsync("LOCK TABLE access_keys IN ACCESS EXCLUSIVE MODE", transaction: transaction);
            await AssertUnavailableAsync(server, key, doomed, hangMax);
            Assert.Equal(200, (await server.GetAsync("/health/live")).Status);
        }

        await AssertResumesAsync(server, key, doomed);
    }

    [Fact]
    public async Task Promoted_standby_is_found_and_knows_every_acknowledged_deletion()
    {
        await using var primary = await PostgresServer.StartAsync();
        await using var standby = await primary.StartStandbyAsync();
        await using var server = await RunningServer.StartAsync(
            primary.Setting.Replace(
                "Host=127.0.0.1;Port=" + primary.Port,
                $"Host=127.0.0.1:{primary.Port},127.0.0.1:{standby.Port}",
                StringComparison.Ordinal
            )
        );
        var (key, doomed) = await PrepareAsync(primary, server);

        await primary.StopAsync(isImmediate: true);
        await AssertUnavailableAsync(server, key, doomed); // a standby is no primary: it is not asked
        await standby.PromoteAsync();
        await AssertResumesAsync(server, key, doomed);

        // And it can be written to.
        await using var seed = Seed.Open(server.DataFolder, standby.Setting);
        var again = await seed.AddAcmeAsync();
        Assert.Equal(200, (await server.ExchangeAsync(await seed.AddKeyAsync(again.Owner, again.Root))).Status);
    }

    /// <returns>A key that is good, and one that was deleted; the server has said yes to both before.</returns>
    private static async Task<(string Key, string Doomed)> PrepareAsync(PostgresServer postgres, RunningServer server)
    {
        await using var seed = Seed.Open(server.DataFolder, postgres.Setting);
        var acme = await seed.AddAcmeAsync();
        var (key, doomed) = (await seed.AddKeyAsync(acme.Owner, acme.Root), await seed.AddKeyAsync(acme.Owner, acme.Root));
        // Side by side, so that several connections are kept.
        foreach (
            var answer in await Task.WhenAll(Enumerable.Range(0, 6).Select(number => server.ExchangeAsync(number % 2 == 0 ? key : doomed)))
        )
            Assert.Equal(200, answer.Status);
        var visitor = await Visitor.SignInAsync(server, acme.Owner);
        await visitor.DeleteAsync(acme.Root, Seed.IdOf(doomed));
        return (key, doomed);
    }

    private static async Task AssertUnavailableAsync(RunningServer server, string key, string doomed, TimeSpan? max = null)
    {
        for (var round = 0; round < 2; round++)
        {
            var start = Stopwatch.GetTimestamp();
            var answers = await Task.WhenAll(Enumerable.Range(0, 6).Select(number => server.ExchangeAsync(number % 2 == 0 ? key : doomed)));
            var elapsed = Stopwatch.GetElapsedTime(start);
            TestContext.Current.TestOutputHelper?.WriteLine($"answered within {elapsed.TotalMilliseconds:F0} ms");
            Assert.InRange(elapsed, TimeSpan.Zero, max ?? answerMax);
            Assert.All(answers, answer =>
            {
                Assert.Equal(503, answer.Status);
                Assert.Equal("temporarily_unavailable", answer.Error);
                Assert.InRange(int.Parse(answer.Header("Retry-After")!), 1, 60);
                Assert.Contains("no-store", answer.Header("Cache-Control"), StringComparison.Ordinal);
                Assert.DoesNotContain("postgres", answer.Text, StringComparison.OrdinalIgnoreCase);
                Assert.DoesNotContain("npgsql", answer.Text, StringComparison.OrdinalIgnoreCase);
            });
        }
    }

    /// <summary>The deleted key is asked for all the while: "not now" or no, never yes.</summary>
    private static async Task AssertResumesAsync(RunningServer server, string key, string doomed)
    {
        var start = Stopwatch.GetTimestamp();
        await Eventually.TrueAsync(
            "Service resumes",
            async () =>
            {
                Assert.True((await server.ExchangeAsync(doomed)).Status is 401 or 503);
                return (await server.ExchangeAsync(key)).Status == 200;
            },
            resumeMax
        );
        TestContext.Current.TestOutputHelper?.WriteLine($"resumed after {Stopwatch.GetElapsedTime(start).TotalMilliseconds:F0} ms");
        foreach (var answer in await Task.WhenAll(Enumerable.Range(0, 6).Select(_ => server.ExchangeAsync(key))))
            Assert.Equal(200, answer.Status);
        var refused = await server.ExchangeAsync(doomed);
        Assert.Equal(401, refused.Status);
        Assert.Contains("deleted", refused.Description, StringComparison.Ordinal);
    }
}
