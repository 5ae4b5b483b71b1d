namespace Pakhouse.SystemTests;

/// <summary>The database is out of reach while the server runs: another process holds its locks and does not let go.</summary>
public sealed class LoseDatabase
{
    [Fact]
    public async Task Every_exchange_is_answered_503_and_never_yes_and_service_resumes_by_itself()
    {
        await using var server = await RunningServer.StartAsync();
        string key, doomed;
        await using (var seed = Seed.Open(server.DataFolder))
        {
            var acme = await seed.AddAcmeAsync();
            (key, doomed) = (await seed.AddKeyAsync(acme.Owner, acme.Root), await seed.AddKeyAsync(acme.Owner, acme.Root));
            Assert.Equal(200, (await server.ExchangeAsync(key)).Status);
            Assert.Equal(200, (await server.ExchangeAsync(doomed)).Status); // known to the server, were it to remember
            Assert.False((await seed.Keys.DeleteAsync(Actor.Session(acme.Owner.Id), acme.Root, Seed.IdOf(doomed))).IsRefused);
        }

        using (var holder = Tool.Start(Tool.Python, [Tool.Script("lock.py"), server.DatabaseFile + "-shm"]))
        {
            Assert.Equal("locked", await holder.StandardOutput.ReadLineAsync().WaitAsync(Tool.Patience));

            // SQLite tries for about ten seconds before it gives up, so they are asked side by side.
            var answers = await Task.WhenAll(Enumerable.Range(0, 8).Select(number => server.ExchangeAsync(number % 2 == 0 ? key : doomed)));
            Assert.All(answers, answer =>
            {
                Assert.Equal(503, answer.Status);
                Assert.Equal("temporarily_unavailable", answer.Error);
                Assert.InRange(int.Parse(answer.Header("Retry-After")!), 1, 60);
                Assert.Contains("no-store", answer.Header("Cache-Control"), StringComparison.Ordinal);
                Assert.DoesNotContain("qlite", answer.Text, StringComparison.OrdinalIgnoreCase);
            });
            Assert.Equal(200, (await server.GetAsync("/.well-known/jwks.json")).Status); // verifiers are served on

            holder.StandardInput.Close();
            await Tool.EndAsync(holder);
        }

        Assert.Equal(200, (await server.ExchangeAsync(key)).Status);
        var refused = await server.ExchangeAsync(doomed);
        Assert.Equal(401, refused.Status);
        Assert.Contains("deleted", refused.Description, StringComparison.Ordinal);
        var told = server.Output.Split('\n').Count(line => line.Contains("The database cannot be used: ", StringComparison.Ordinal));
        Assert.InRange(told, 1, 2);
        Assert.DoesNotContain("   at ", server.Output, StringComparison.Ordinal);
    }
}
