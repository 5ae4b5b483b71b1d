using System.Collections.Concurrent;
using System.Diagnostics;

namespace Pakhouse.SystemTests;

/// <summary>Two processes on one PostgreSQL: to people and machines they are one server.</summary>
[Collection(Alone.Name), PostgresOnly("SQLite is for one process")]
public sealed class ShareDatabase
{
    private const int Rounds = 20_000;

    [Fact]
    public async Task Session_of_one_process_is_good_on_the_other_and_a_key_of_either_exchanges_on_both()
    {
        await using var fleet = await Fleet.StartAsync();
        var (one, two) = (fleet.Servers[0], fleet.Servers[1]);
        var there = await Visitor.SignInAsync(one, fleet.Acme.Owner);
        var here = there.At(two);

        string[] keys = [await here.GenerateAsync(fleet.Acme.Root, "Here"), await there.GenerateAsync(fleet.Acme.Root, "There")];
        foreach (var key in keys)
        {
            var answers = new[]
            {
                await one.ExchangeAsync(key),
                await two.ExchangeAsync(key),
                await fleet.ExchangeAsync(key),
                await fleet.ExchangeAsync(key),
            };
            Assert.All(answers, answer => Assert.Equal(200, answer.Status));
        }

        Assert.Equal((await one.GetAsync("/.well-known/jwks.json")).Body, (await two.GetAsync("/.well-known/jwks.json")).Body);
        await here.DeleteAsync(fleet.Acme.Root, Seed.IdOf(keys[1]));
        Assert.Equal(401, (await one.ExchangeAsync(keys[1])).Status);

        // A form that one process wrote is taken by the other.
        var path = $"{Visitor.SecurityUrl(fleet.Acme.Root)}/keys/{Seed.IdOf(keys[0])}/delete";
        Assert.Equal(303, (await here.SendAsync(await there.GetAsync(path), path)).Status);
        foreach (var server in fleet.Servers)
            Assert.Equal(401, (await server.ExchangeAsync(keys[0])).Status);
    }

    /// <summary>R5 and R6 across processes: one deletes while the other is asked without pause.</summary>
    [Fact]
    public async Task No_exchange_on_one_process_that_begins_after_the_other_acknowledged_the_deletion_succeeds()
    {
        await using var fleet = await Fleet.StartAsync();
        var race = await RaceAsync(fleet, Rounds, isEarly: false);
        Assert.True(race.Rounds >= Rounds, $"{race.Rounds} rounds");
        Assert.InRange(race.Before, race.Keys, int.MaxValue); // each was good until its end
        Assert.Equal(0, race.Late);
    }

    /// <summary>The control: the deletion is noted as acknowledged before it is made, which the race must find.</summary>
    [Fact]
    public async Task The_race_finds_a_deletion_that_is_acknowledged_too_early()
    {
        await using var fleet = await Fleet.StartAsync();
        Assert.NotEqual(0, (await RaceAsync(fleet, 500, isEarly: true)).Late);
    }

    private sealed record Race(int Keys, int Rounds, int Before, int Late);

    /// <summary>
    /// Lanes beside each other. In each, one process deletes key after key, and two callers ask the other process for the same key,
    /// without pause, from before the deletion until they have asked after its end.
    /// </summary>
    private static async Task<Race> RaceAsync(Fleet fleet, int rounds, bool isEarly)
    {
        var keys = new ConcurrentQueue<string>(await fleet.SeedKeysAsync(rounds / 4));
        var (deleted, done, before, late) = (0, 0, 0, 0);
        await Task.WhenAll(
            Enumerable
                .Range(0, 4)
                .Select(lane =>
                    Task.Run(async () =>
                    {
                        var (deletes, asked) = (fleet.Servers[lane % 2], fleet.Servers[(lane + 1) % 2]);
                        var visitor = await Visitor.SignInAsync(deletes, fleet.Acme.Owner);
                        List<(string Name, string Value)>? form = null;
                        while (Volatile.Read(ref done) < rounds)
                        {
                            Assert.True(keys.TryDequeue(out var key), $"The keys ended after {done} rounds.");
                            var path = $"{Visitor.SecurityUrl(fleet.Acme.Root)}/keys/{Seed.IdOf(key)}/delete";
                            form ??= Assert.Single(Visitor.Forms(await visitor.GetAsync(path)), form => form.Action == path).Hidden;
                            var acknowledged = long.MaxValue;
                            var warm = Enumerable
                                .Range(0, 2)
                                .Select(_ => new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously))
                                .ToArray();
                            var asking = Enumerable
                                .Range(0, 2)
                                .Select(caller =>
                                    Task.Run(async () =>
                                    {
                                        try
                                        {
                                            for (var isOver = false; !isOver;)
                                            {
                                                isOver = Stopwatch.GetTimestamp() > Volatile.Read(ref acknowledged); // before it begins
                                                var status = (await asked.ExchangeAsync(key)).Status;
                                                Interlocked.Increment(ref done);
                                                if (status == 200)
                                                    Interlocked.Increment(ref isOver ? ref late : ref before);
                                                else
                                                    Assert.Equal(401, status);
                                                if (status == 200)
                                                    warm[caller].TrySetResult();
                                            }
                                        }
                                        finally
                                        {
                                            warm[caller].TrySetResult(); // a caller that failed keeps nobody waiting
                                        }
                                    })
                                )
                                .ToList();

                            await Task.WhenAll(warm.Select(caller => caller.Task));
                            if (isEarly)
                                Volatile.Write(ref acknowledged, Stopwatch.GetTimestamp());
                            var answer = await visitor.PostAsync(path, [.. form]);
                            Volatile.Write(ref acknowledged, Stopwatch.GetTimestamp());
                            await Task.WhenAll(asking);
                            Assert.Equal(303, answer.Status);
                            Interlocked.Increment(ref deleted);
                        }
                    })
                )
        );
        return new Race(deleted, done, before, late);
    }
}
