using System.Collections.Concurrent;

namespace Pakhouse.SystemTests;

/// <summary>The process is killed in the middle of its work: what a person was told has happened has happened.</summary>
public sealed class SurviveCrash
{
    private const int People = 4;

    [Fact]
    public async Task Every_acknowledged_key_still_exchanges_and_every_acknowledged_deletion_is_still_in_force()
    {
        var folder = Directory.CreateTempSubdirectory("pakhouse-system-");
        try
        {
            string[] settings = ["--Pakhouse:FailuresPerMinuteMax", "100000", "--Pakhouse:KeysPerMemberMax", "10000"];
            var data = Path.Combine(folder.FullName, "data");
            var (generated, deleted) = (new ConcurrentBag<string>(), new ConcurrentBag<string>());
            var undecided = new ConcurrentDictionary<string, bool>(StringComparer.Ordinal);
            Acme acme;
            await using (var first = await RunningServer.StartInAsync(data, settings))
            await using (var seed = Seed.Open(data))
                acme = await seed.AddAcmeAsync();

            for (var crash = 1; crash <= 3; crash++)
            {
                await using var server = await RunningServer.StartInAsync(data, settings);
                var (enough, wanted) = (new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously), generated.Count + 30);
                var work = Enumerable.Range(0, People).Select(async person =>
                {
                    try
                    {
                        var visitor = await Visitor.SignInAsync(server, acme.Owner);
                        for (var round = 0; ; round++)
                        {
                            var key = await visitor.GenerateAsync(acme.Root);
                            if (round % 3 == person % 3)
                            {
                                undecided[key] = true; // sent and not answered: either is right
                                await visitor.DeleteAsync(acme.Root, Seed.IdOf(key));
                                deleted.Add(key);
                                undecided.TryRemove(key, out _);
                            }
                            else
                            {
                                generated.Add(key);
                            }

                            if (generated.Count >= wanted) enough.TrySetResult();
                        }
                    }
                    catch (Exception e) when (e is HttpRequestException or IOException)
                    {
                        // Killed. Anything else that goes wrong fails the test.
                    }
                }).ToList();

                await Task.WhenAny(enough.Task, Task.WhenAll(work)).WaitAsync(Tool.Patience);
                if (!enough.Task.IsCompleted) await Task.WhenAll(work); // says what went wrong
                Assert.Equal(128 + Tool.SIGKILL, await server.StopAsync(Tool.SIGKILL));
                await Task.WhenAll(work);
            }

            await using var last = await RunningServer.StartInAsync(data, settings);
            Assert.True(generated.Count >= 90 && deleted.Count >= 10, $"{generated.Count} generated, {deleted.Count} deleted");
            foreach (var key in generated) Assert.Equal(200, (await last.ExchangeAsync(key)).Status);
            foreach (var key in deleted)
            {
                var answer = await last.ExchangeAsync(key);
                Assert.Equal(401, answer.Status);
                Assert.Contains("was deleted", answer.Description, StringComparison.Ordinal);
            }
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }
}
