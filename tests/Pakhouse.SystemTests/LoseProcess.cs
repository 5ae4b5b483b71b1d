using System.Collections.Concurrent;
using System.Diagnostics;
using Dapper;

namespace Pakhouse.SystemTests;

/// <summary>One of two processes behind a balancer ends under load, told to or not.</summary>
[Collection(Alone.Name), PostgresOnly("SQLite is for one process")]
public sealed class LoseProcess
{
    private const int UsageFlushSeconds = 5;

    /// <summary>Exchanges by way of the balancer, from four callers without pause, and what became of each.</summary>
    private sealed class Load : IAsyncDisposable
    {
        private readonly Task work;
        private volatile bool isOver;

        public Load(Fleet fleet, string[] keys) =>
            work = Task.WhenAll(
                Enumerable
                    .Range(0, 4)
                    .Select(caller =>
                        Task.Run(async () =>
                        {
                            for (var round = caller; !isOver; round++)
                            {
                                try
                                {
                                    var answer = await fleet.ExchangeAsync(keys[round % keys.Length]);
                                    if (answer.Status == 200)
                                        Successes.Add((answer.Header("X-Served-By")!, Stopwatch.GetTimestamp()));
                                    else
                                        Failures.Add(answer.Text);
                                }
                                catch (HttpRequestException e)
                                {
                                    Failures.Add(e.ToString());
                                }
                            }
                        })
                    )
            );

        public ConcurrentBag<(string Server, long At)> Successes { get; } = [];

        public ConcurrentBag<string> Failures { get; } = [];

        public Task AtLeastAsync(int count, string? server = null) => AtLeastAsync(count, server, Stopwatch.GetTimestamp());

        public async Task EndAsync()
        {
            isOver = true;
            await work;
        }

        public async ValueTask DisposeAsync() => await EndAsync();

        private Task AtLeastAsync(int count, string? server, long since) =>
            Eventually.TrueAsync(
                $"{count} more exchanges by {server ?? "anybody"}",
                () =>
                    Task.FromResult(Successes.Count(success => success.At > since && (server is null || success.Server == server)) >= count)
            );
    }

    /// <summary>Two processes for each core that do nothing but work.</summary>
    private sealed class Busy : IDisposable
    {
        private readonly List<Process> processes =
            [.. Enumerable.Range(0, 2 * Environment.ProcessorCount).Select(_ => Tool.Start(Tool.Bash, ["-c", "while :; do :; done"]))];

        public void Dispose()
        {
            foreach (var process in processes)
            {
                process.Kill();
                process.WaitForExit();
                process.Dispose();
            }
        }
    }

    [Fact]
    public async Task Killed_process_takes_no_key_and_no_deletion_along_and_the_other_goes_on()
    {
        await using var fleet = await Fleet.StartAsync($"--Pakhouse:UsageFlushSeconds={UsageFlushSeconds}");
        var keys = await fleet.SeedKeysAsync(20);
        var (generated, deleted) = (new ConcurrentBag<string>(), new ConcurrentBag<string>());
        var (killed, isOver) = (false, false);

        // A person at each process generates and deletes; the one at the killed process is cut off.
        var people = fleet
            .Servers.Select(
                (server, number) =>
                    Task.Run(async () =>
                    {
                        try
                        {
                            var visitor = await Visitor.SignInAsync(server, fleet.Acme.Owner);
                            for (var round = 0; !Volatile.Read(ref isOver); round++)
                            {
                                var key = await visitor.GenerateAsync(fleet.Acme.Root);
                                if (round % 2 == 0)
                                {
                                    generated.Add(key);
                                    continue;
                                }

                                await visitor.DeleteAsync(fleet.Acme.Root, Seed.IdOf(key));
                                deleted.Add(key);
                            }
                        }
                        catch (Exception e) when (number == 0 && Volatile.Read(ref killed) && e is HttpRequestException or IOException)
                        {
                            // Sent and not answered: either is right.
                        }
                    })
            )
            .ToList();

        await using var load = new Load(fleet, keys);
        await load.AtLeastAsync(1);
        var start = Stopwatch.GetTimestamp();
        await Eventually.TrueAsync(
            "Counts of use were written, more than once",
            async () =>
                Stopwatch.GetElapsedTime(start).TotalSeconds > 2 * UsageFlushSeconds
                && await fleet.Postgres.CountAsync("SELECT COUNT(*) FROM key_use_hours") > 0
                && generated.Count >= 10
                && deleted.Count >= 10
        );

        Volatile.Write(ref killed, true);
        var end = Stopwatch.GetTimestamp();
        Assert.Equal(128 + Tool.SIGKILL, await fleet.Servers[0].StopAsync(Tool.SIGKILL));
        await load.AtLeastAsync(200, "two");
        var failures = load.Failures.Count;
        await load.AtLeastAsync(200);
        Assert.Equal(failures, load.Failures.Count); // the balancer has noticed, and nothing fails any more
        Volatile.Write(ref isOver, true);
        await load.EndAsync();
        await Task.WhenAll(people);

        // Each of four callers may have lost the request that was on its way, and the next ones until the balancer noticed.
        Assert.InRange(failures, 0, 40);
        foreach (var key in generated)
            Assert.Equal(200, (await fleet.Servers[1].ExchangeAsync(key)).Status);
        foreach (var key in deleted)
        {
            var answer = await fleet.Servers[1].ExchangeAsync(key);
            Assert.Equal(401, answer.Status);
            Assert.Contains("deleted", answer.Description, StringComparison.Ordinal);
        }

        Assert.Equal(0, await fleet.Servers[1].StopAsync()); // an orderly stop writes its counts
        var counted = await fleet.Postgres.CountAsync("SELECT SUM(count)::bigint FROM key_use_hours") - generated.Count;
        // A second for the write itself.
        var unwritten = load.Successes.Count(success =>
            success.Server == "one" && Stopwatch.GetElapsedTime(success.At, end).TotalSeconds < UsageFlushSeconds + 1
        );
        Assert.True(unwritten < load.Successes.Count(success => success.Server == "one"), "Nothing was exchanged before the last flush.");
        Assert.InRange(counted, load.Successes.Count - unwritten, load.Successes.Count + failures);
    }

    /// <summary>
    /// A rolling restart: each process is told to stop while the load goes on, and started again. Every core is busy with something else
    /// meanwhile, so answers to the balancer's questions are late.
    /// </summary>
    [Fact]
    public async Task Told_to_stop_a_process_loses_not_one_request()
    {
        // As it is by default where the public address is not loopback.
        await using var fleet = await Fleet.StartAsync("--Pakhouse:ShutdownDelaySeconds=5");
        using var busy = new Busy();
        await using var load = new Load(fleet, await fleet.SeedKeysAsync(20));
        for (var number = 0; number < 2; number++)
        {
            // The balancer has both: only then may one be taken away.
            await load.AtLeastAsync(50, "one");
            await load.AtLeastAsync(50, "two");
            Assert.Equal(0, await fleet.Servers[number].StopAsync());
            await load.AtLeastAsync(50);
            await fleet.Servers[number].DisposeAsync();
            await fleet.StartServerAsync(number);
        }

        await load.AtLeastAsync(50, "one");
        await load.AtLeastAsync(50, "two");
        Assert.True(load.Failures.IsEmpty, string.Join(Environment.NewLine, load.Failures.Take(3)));
        Assert.True(load.Successes.Count >= 300, $"{load.Successes.Count} exchanges");

        // The control: with nobody left there are requests to lose, and the load must find them.
        await Task.WhenAll(fleet.Servers.Select(server => server.StopAsync()));
        await Eventually.TrueAsync("A request is lost", () => Task.FromResult(!load.Failures.IsEmpty));
    }

    [Fact]
    public async Task Told_to_stop_a_process_answers_what_it_has_begun_however_long_that_takes()
    {
        await using var postgres = await PostgresServer.StartAsync();
        await using var server = await RunningServer.StartAsync(postgres.Setting);
        string key;
        await using (var seed = Seed.Open(server.DataFolder, postgres.Setting))
        {
            var acme = await seed.AddAcmeAsync();
            key = await seed.AddKeyAsync(acme.Owner, acme.Root);
        }

        Assert.Equal(200, (await server.ExchangeAsync(key)).Status);
        await using var holder = await postgres.OpenAsync();
        await using var transaction = await holder.BeginTransactionAsync();
        await holder.ExecuteAsync("LOCK TABLE access_keys IN ACCESS EXCLUSIVE MODE", transaction: transaction);
        var waiting = server.ExchangeAsync(key); // six seconds, then "not now": two statements time out
        await Eventually.TrueAsync(
            "The exchange waits",
            async () =>
                await postgres.CountAsync("SELECT COUNT(*) FROM pg_stat_activity WHERE usename = 'pakhouse' AND wait_event_type = 'Lock'")
                > 0
        );

        Assert.Equal(0, await server.StopAsync());
        Assert.Equal(503, (await waiting).Status);
        Assert.Equal(1, await postgres.CountAsync("SELECT SUM(count)::bigint FROM key_use_hours")); // and its counts are written
    }
}
