using System.Net;
using Dapper;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.DependencyInjection;

namespace Pakhouse.Tests;

/// <summary>The file usage.db beside pakhouse.db: what is written there is in nobody's way, and nothing depends on it.</summary>
public sealed class SqliteUsageTests
{
    [Fact, SqliteOnly("PostgreSQL has one database")]
    public async Task A_flush_changes_nothing_in_the_file_that_exchanges_read()
    {
        await using var server = await TestServer.StartAsync();
        var acme = await server.AddAcmeAsync();
        var key = await server.AddKeyAsync(acme.Owner, acme.Root);
        await using var reader = server.Place.Connect();
        await reader.OpenAsync();
        var before = await reader.ExecuteScalarAsync<long>("PRAGMA main.data_version");
        await server.ExchangeAsync(key);
        await server.Get<KeyUsage>().FlushAsync();
        Assert.Equal(1, await server.ScalarAsync<long>("SELECT SUM(count) FROM key_use_hours"));
        Assert.Equal(before, await reader.ExecuteScalarAsync<long>("PRAGMA main.data_version"));

        // The control: a change of keys is seen by the same number.
        await server.AddKeyAsync(acme.Owner, acme.Root);
        Assert.NotEqual(before, await reader.ExecuteScalarAsync<long>("PRAGMA main.data_version"));
    }

    [Fact, SqliteOnly("PostgreSQL locks rows")]
    public async Task A_flush_and_a_change_do_not_wait_for_each_other()
    {
        await using var server = await TestServer.StartAsync();
        var acme = await server.AddAcmeAsync();
        var key = await server.AddKeyAsync(acme.Owner, acme.Root);
        var begun = new TaskCompletionSource();
        var release = new TaskCompletionSource();

        // A change that has not ended, and a flush beside it.
        var change = server.Get<Database>().WriteAsync(async transaction =>
        {
            await transaction.Connection!.ExecuteAsync("UPDATE users SET name = 'Ada L.'", transaction: transaction);
            begun.SetResult();
            await release.Task;
            return true;
        });
        await begun.Task;
        await server.ExchangeAsync(key);
        await server.Get<KeyUsage>().FlushAsync();
        release.SetResult();
        Assert.True(await change);

        // A flush of another process that has not ended, and a change beside it.
        await using var other = new SqliteConnection($"Data Source={Path.Combine(server.DataFolder, "usage.db")};Pooling=False");
        await other.OpenAsync();
        await using var flush = other.BeginTransaction(deferred: false);
        Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(await server.AddKeyAsync(acme.Owner, acme.Root))).Status);
    }

    [Fact, SqliteOnly("PostgreSQL has one database")]
    public async Task A_lost_file_is_made_anew_and_that_is_logged()
    {
        var server = await TestServer.StartAsync();
        var acme = await server.AddAcmeAsync();
        var key = await server.AddKeyAsync(acme.Owner, acme.Root);
        await server.ExchangeAsync(key);
        await server.StopAsync();
        Assert.DoesNotContain(server.Log.Lines, IsLost);
        File.Delete(Path.Combine(server.DataFolder, "usage.db"));

        var again = await TestServer.StartOnAsync(server.Place, server.Clock);
        Assert.Contains(again.Log.Lines, IsLost);
        Assert.Equal(0, await again.ScalarAsync<long>("SELECT COUNT(*) FROM key_use_hours"));
        Assert.Equal(HttpStatusCode.OK, (await again.ExchangeAsync(key)).Status);
        await again.Get<KeyUsage>().FlushAsync();
        Assert.Equal(1, await again.ScalarAsync<long>("SELECT SUM(count) FROM key_use_hours"));
        await again.StopAsync();
        await server.Place.DeleteAsync();
    }

    [Fact, SqliteOnly("PostgreSQL has one database")]
    public async Task A_damaged_file_is_refused_with_what_to_do()
    {
        var server = await TestServer.StartAsync();
        await server.StopAsync();
        var file = Path.Combine(server.DataFolder, "usage.db");
        await File.WriteAllTextAsync(file, "this is no database, but a note that somebody left here");
        var e = await Assert.ThrowsAsync<StartupException>(() => TestServer.StartOnAsync(server.Place, server.Clock));
        Assert.Contains("Move usage.db", e.Message, StringComparison.Ordinal);
        File.Delete(file);
        await (await TestServer.StartOnAsync(server.Place, server.Clock)).StopAsync();
        await server.Place.DeleteAsync();
    }

    [Theory, SqliteOnly("PostgreSQL has one database"), InlineData(true), InlineData(false)]
    public async Task A_back_up_holds_the_history_of_use_and_a_newer_one_beside_a_restored_database_does_no_harm(bool isNewerKept)
    {
        var server = await TestServer.StartAsync();
        var acme = await server.AddAcmeAsync();
        var key = await server.AddKeyAsync(acme.Owner, acme.Root);
        await server.ExchangeAsync(key);
        await server.Get<KeyUsage>().FlushAsync();
        var folder = Path.Combine(Path.GetDirectoryName(server.DataFolder)!, "back-up");
        var manifest = await Backup.MakeAsync(server.Get<Database>(), folder, server.Clock, (_, _, _) => { });
        Assert.Contains(manifest.Files, file => file.Name == "usage.db");
        var later = await server.AddKeyAsync(acme.Owner, acme.Root);
        await server.ExchangeAsync(key);
        await server.ExchangeAsync(later);
        await server.StopAsync();

        File.Delete(Path.Combine(server.DataFolder, "pakhouse.db"));
        if (!isNewerKept) File.Delete(Path.Combine(server.DataFolder, "usage.db"));
        await Backup.PutBackAsync(folder, server.Place.Options, (_, _, _) => { });
        await using (var app = Server.Program.Build(server.Place.Settings, server.Clock, null, () => Task.FromResult(TimeBounds.Any)))
            await app.Services.GetRequiredService<Restore>().FinishAsync(new RestoreOrder([], NewSigningKey: false));

        var again = await TestServer.StartOnAsync(server.Place, server.Clock);
        Assert.Equal(isNewerKept ? 3 : 1, await again.ScalarAsync<long>("SELECT SUM(count) FROM key_use_hours"));
        Assert.Equal(HttpStatusCode.OK, (await again.ExchangeAsync(key)).Status);
        Assert.Equal(HttpStatusCode.Unauthorized, (await again.ExchangeAsync(later)).Status);
        var listed = Assert.Single((await again.Keys.ListAsync(Actor.Session(acme.Owner), acme.Root)).Value);
        Assert.NotNull(listed.LastUsedAt);
        await again.StopAsync();
        await server.Place.DeleteAsync();
    }

    private static bool IsLost(string line) => line.Contains("usage.db was missing", StringComparison.Ordinal);
}
