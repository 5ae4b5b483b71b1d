using System.Data.Common;
using System.Net;

namespace Pakhouse.Tests;

/// <summary>What is deleted by age, and what stays.</summary>
public class RetentionTests
{
    [Fact]
    public async Task Record_is_kept_for_its_retention_and_nothing_younger_can_be_deleted()
    {
        await using var server = await TestServer.StartAsync("--Pakhouse:ActivityRetentionDays=30");
        for (var i = 0; i < 3; i++) await server.AddUserAsync();
        var old = await server.ScalarAsync<long>("SELECT COUNT(*) FROM activity");
        server.Clock.Advance(TimeSpan.FromDays(29));
        await server.AddUserAsync();
        var young = await server.ScalarAsync<long>("SELECT COUNT(*) FROM activity") - old;
        await server.Get<ActivityRetention>().RunAsync();
        Assert.Equal(old + young, await server.ScalarAsync<long>("SELECT COUNT(*) FROM activity"));
        server.Clock.Advance(TimeSpan.FromDays(2));
        await server.Get<ActivityRetention>().RunAsync();
        Assert.Equal(young, await server.ScalarAsync<long>("SELECT COUNT(*) FROM activity"));
        await Assert.ThrowsAnyAsync<DbException>(() => server.ExecuteAsync("DELETE FROM activity"));
        await Assert.ThrowsAnyAsync<DbException>(() => server.ExecuteAsync("UPDATE activity SET action = 'x'"));

        // The newest row stays, however old: by it an older state of the database is known.
        server.Clock.Advance(TimeSpan.FromDays(400));
        await server.Get<ActivityRetention>().RunAsync();
        Assert.True(await server.ScalarAsync<long>("SELECT COUNT(*) FROM activity") >= 1);
    }

    [Fact]
    public async Task Many_rows_are_deleted_in_small_steps()
    {
        await using var server = await TestServer.StartAsync("--Pakhouse:ActivityRetentionDays=30");
        for (var i = 0; i < 1_200; i++)
            await server.ExecuteAsync(
                $"INSERT INTO activity (id, at, action, target) VALUES ('00000000-0000-7000-8000-{i:x12}', 5, 'Login', 'x')"
            );
        await server.AddUserAsync();
        await server.Get<ActivityRetention>().RunAsync();
        Assert.Equal(0, await server.ScalarAsync<long>("SELECT COUNT(*) FROM activity WHERE at = 5"));
    }

    [Fact]
    public async Task Zero_keeps_for_ever()
    {
        await using var server = await TestServer.StartAsync("--Pakhouse:ActivityRetentionDays=0", "--Pakhouse:EndedKeyRetentionDays=0");
        var acme = await server.AddAcmeAsync();
        var key = await server.AddKeyAsync(acme.Owner, acme.Root);
        await server.Keys.DeleteAsync(Actor.Session(acme.Owner), acme.Root, TestServer.IdOf(key));
        var rows = await server.ScalarAsync<long>("SELECT COUNT(*) FROM activity");
        server.Clock.Advance(TimeSpan.FromDays(5000));
        await server.Get<ActivityRetention>().RunAsync();
        await server.Get<EndedKeys>().RunAsync();
        Assert.True(await server.ScalarAsync<long>("SELECT COUNT(*) FROM activity") >= rows); // a signing key may have been made meanwhile
        Assert.Contains("was deleted", (await server.ExchangeAsync(key)).Description, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Ended_keys_are_forgotten_after_their_retention_and_their_entries_are_nobody_elses()
    {
        await using var server = await TestServer.StartAsync("--Pakhouse:EndedKeyRetentionDays=30");
        var acme = await server.AddAcmeAsync();
        var living = await server.AddKeyAsync(acme.Owner, acme.Root);
        var expired = await server.AddKeyAsync(acme.Owner, acme.Root, TimeSpan.FromDays(1));
        var rotated = await server.AddKeyAsync(acme.Owner, acme.Root);
        var deleted = await server.AddKeyAsync(acme.Owner, acme.Root);
        var entry = StatusListTests.EntryOf(await server.ExchangeAsync(deleted));
        await server.Get<KeyUsage>().FlushAsync();
        await server.Keys.DeleteAsync(Actor.Session(acme.Owner), acme.Root, TestServer.IdOf(deleted));
        await server.ExecuteAsync(
            $"UPDATE access_keys SET successor_id = '{TestServer.IdOf(living)}', overlap_ends_at = "
                + $"{server.Clock.GetUtcNow().ToUnixTimeMilliseconds()}, status = 1, status_version = 7 WHERE id = "
                + $"'{TestServer.IdOf(rotated)}'"
        );

        server.Clock.Advance(TimeSpan.FromDays(29));
        await server.Get<EndedKeys>().RunAsync();
        Assert.Contains("was deleted", (await server.ExchangeAsync(deleted)).Description, StringComparison.Ordinal);
        Assert.Equal(1, await StatusListTests.StatusAsync(server, entry));

        server.Clock.Advance(TimeSpan.FromDays(3));
        await server.Get<EndedKeys>().RunAsync();
        Assert.Equal(
            [TestServer.IdOf(living)],
            await server
                .Get<Database>()
                .ReadAsync(connection => Dapper.SqlMapper.QueryAsync<string>(connection, "SELECT id FROM access_keys"))
        );
        Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(living)).Status);
        foreach (var gone in (string[])[expired, rotated, deleted])
        {
            var answer = await server.ExchangeAsync(gone);
            Assert.Equal(HttpStatusCode.Unauthorized, answer.Status);
            Assert.DoesNotContain("was deleted", answer.Description, StringComparison.Ordinal); // as of any key that nobody has
        }

        Assert.Equal(0, await server.ScalarAsync<long>($"SELECT COUNT(*) FROM key_use_hours WHERE key_id = '{TestServer.IdOf(deleted)}'"));
        var next = StatusListTests.EntryOf(await server.ExchangeAsync(await server.AddKeyAsync(acme.Owner, acme.Root)));
        Assert.True(next.Index > entry.Index);
    }

    [Fact]
    public async Task Server_that_is_restarted_every_day_tidies_too()
    {
        var first = await TestServer.StartAsync("--Pakhouse:ActivityRetentionDays=30");
        for (var i = 0; i < 3; i++)
            await first.AddUserAsync();
        await first.StopAsync();
        first.Clock.Advance(TimeSpan.FromDays(40));
        await using var second = await TestServer.StartOnAsync(first.Place, first.Clock, "--Pakhouse:ActivityRetentionDays=30");
        await Eventually.TrueAsync(async () =>
        {
            second.Clock.Advance(TimeSpan.FromMilliseconds(20)); // 2000 times: 40 seconds, far less than the hour between runs
            // the newest row stays
            return await second.ScalarAsync<long>("SELECT COUNT(*) FROM activity WHERE action = 'User Create'") <= 1;
        });
    }
}
