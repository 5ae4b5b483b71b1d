using Dapper;
using Microsoft.Data.Sqlite;

namespace Pakhouse.Tests;

public class StorageTests
{
    [Fact, SqliteOnly("PostgreSQL is durable by its own default, fsync and synchronous_commit")]
    public async Task Commits_are_on_the_disk_before_they_are_acknowledged()
    {
        await using var server = await TestServer.StartAsync();
        var (journal, synchronous) = await server
            .Get<Database>()
            .ReadAsync(async connection =>
                (
                    await connection.ExecuteScalarAsync<string>("PRAGMA journal_mode"),
                    await connection.ExecuteScalarAsync<long>("PRAGMA synchronous")
                )
            );
        Assert.Equal("wal", journal);
        Assert.Equal(2, synchronous); // FULL
        // And on the connection of a transaction, which is the one that counts.
        Assert.Equal(
            2,
            await server
                .Get<Database>()
                .WriteAsync(transaction => transaction.Connection!.ExecuteScalarAsync<long>("PRAGMA synchronous", transaction: transaction))
        );
    }

    [Fact, SqliteOnly("PostgreSQL keeps its files itself")]
    public async Task The_data_folder_and_its_files_are_their_owners_alone()
    {
        await using var server = await TestServer.StartOnAsync(await TestDatabase.CreateEmptyAsync(), null);
        await server.AddAcmeAsync();
        if (OperatingSystem.IsWindows()) return;
        const UnixFileMode owner = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        Assert.Equal(owner | UnixFileMode.UserExecute, File.GetUnixFileMode(server.DataFolder));
        foreach (var file in Directory.GetFiles(server.DataFolder)) Assert.Equal(owner, File.GetUnixFileMode(file));
    }

    [Theory, SqliteOnly("PostgreSQL keeps its files itself"), InlineData("set-up"), InlineData("work"), InlineData("two processes")]
    public async Task After_an_orderly_stop_the_two_files_alone_are_whole(string what)
    {
        var server = await TestServer.StartOnAsync(await TestDatabase.CreateEmptyAsync(), null);
        var other = what == "two processes" ? await TestServer.StartOnAsync(server.Place, server.Clock) : null;
        if (what == "set-up")
        {
            var code = (await server.Get<SetUp>().NewCodeAsync())!;
            Assert.False((await server.Get<SetUp>().CompleteAsync(code, "Acme", "Ada", "ada@acme.example", TestServer.Password)).IsRefused);
        }
        else
        {
            var acme = await server.AddAcmeAsync();
            Assert.Equal(200, (int)(await server.ExchangeAsync(await server.AddKeyAsync(acme.Owner, acme.Root))).Status);
        }

        var users = await server.ScalarAsync<long>("SELECT COUNT(*) FROM users");
        var activity = await server.ScalarAsync<long>("SELECT COUNT(*) FROM activity");
        await server.StopAsync();
        if (other is not null)
            await other.StopAsync();

        Assert.Equal(
            ["pakhouse.db", "usage.db"],
            Directory.GetFiles(server.DataFolder, "*.db*").Select(Path.GetFileName).Order(StringComparer.Ordinal));
        var alone = Path.Combine(Directory.CreateTempSubdirectory("pakhouse-test-").FullName, "alone.db");
        var usage = Path.Combine(Path.GetDirectoryName(alone)!, "usage.db");
        File.Copy(Path.Combine(server.DataFolder, "pakhouse.db"), alone);
        File.Copy(Path.Combine(server.DataFolder, "usage.db"), usage);
        await using (var copy = new SqliteConnection($"Data Source={alone};Pooling=False"))
        {
            Assert.Equal(users, await copy.ExecuteScalarAsync<long>("SELECT COUNT(*) FROM users"));
            Assert.Equal(activity, await copy.ExecuteScalarAsync<long>("SELECT COUNT(*) FROM activity"));
            Assert.Equal("ok", await copy.ExecuteScalarAsync<string>("PRAGMA integrity_check"));
            await copy.OpenAsync();
            await copy.ExecuteAsync("ATTACH @usage AS usage", new { usage });
            Assert.Equal("ok", await copy.ExecuteScalarAsync<string>("PRAGMA usage.integrity_check"));
            if (what != "set-up") // counted in memory until the stop
                Assert.Equal(1, await copy.ExecuteScalarAsync<long>("SELECT SUM(count) FROM key_use_hours"));
        }

        Directory.Delete(Path.GetDirectoryName(alone)!, recursive: true);
        await server.Place.DeleteAsync();
    }

    [Fact, SqliteOnly("compares the file byte by byte; PostgreSQL has a test of its own")]
    public async Task A_file_from_a_newer_version_is_refused_and_left_as_it_was()
    {
        var first = await TestServer.StartAsync();
        var file = ((SqliteDatabase)first.Get<Database>()).FilePath;
        await first.StopAsync();
        await using (var newer = new SqliteConnection($"Data Source={file};Pooling=False"))
            await newer.ExecuteAsync(
                "INSERT INTO schemaversions (scriptname, applied) VALUES ('999', 0); PRAGMA wal_checkpoint(TRUNCATE);"
            );
        var before = await File.ReadAllBytesAsync(file);

        var e = await Assert.ThrowsAsync<StartupException>(() => TestServer.StartOnAsync(first.Place, first.Clock));
        Assert.Contains("newer Pakhouse: it has schema 999", e.Message, StringComparison.Ordinal);
        SqliteConnection.ClearAllPools();
        Assert.Equal(before, await File.ReadAllBytesAsync(file));
        await first.Place.DeleteAsync();
    }

    [Fact, SqliteOnly("PostgreSQL has no file of ours")]
    public async Task A_file_that_is_no_database_is_refused_in_words()
    {
        var folder = Directory.CreateTempSubdirectory("pakhouse-test-").FullName;
        await File.WriteAllTextAsync(Path.Combine(folder, "pakhouse.db"), "this is no database, but a note that somebody left here");
        var e = await Assert.ThrowsAsync<StartupException>(() => TestServer.StartOnAsync(new TestDatabase(folder, null), null));
        Assert.Contains("pakhouse.db cannot be used", e.Message, StringComparison.Ordinal);
        Directory.Delete(folder, recursive: true);
    }

    [Fact, SqliteOnly("reads sqlite_master")]
    public async Task A_second_start_on_the_same_file_changes_no_schema()
    {
        var first = await TestServer.StartAsync();
        var before = await SchemaAsync(first);
        await first.StopAsync();
        await using var second = await TestServer.StartOnAsync(first.Place, first.Clock);
        Assert.Equal(before, await SchemaAsync(second));

        static async Task<IEnumerable<string>> SchemaAsync(TestServer server) =>
            (
                await server
                    .Get<Database>()
                    .ReadAsync(connection =>
                        connection.QueryAsync<string>(
                            "SELECT name || COALESCE(sql, '') FROM sqlite_master UNION ALL SELECT scriptname FROM schemaversions"
                        )
                    )
            )
                .Order()
                .ToList();
    }

    [Fact]
    public async Task A_change_that_is_refused_or_throws_leaves_nothing()
    {
        await using var server = await TestServer.StartAsync();
        var database = server.Get<Database>();
        var acme = await server.AddAcmeAsync();
        var refused = await database.ChangeAsync<bool>(async transaction =>
        {
            await transaction.Connection!.ExecuteAsync("UPDATE organizations SET name = 'changed'", transaction: transaction);
            return new Refusal(RefusalCode.Conflict, "no", "no");
        });
        Assert.True(refused.IsRefused);
        await Assert.ThrowsAsync<InvalidOperationException>(() => database.WriteAsync<bool>(async transaction =>
        {
            await transaction.Connection!.ExecuteAsync("UPDATE organizations SET name = 'changed'", transaction: transaction);
            throw new InvalidOperationException();
        }));
        Assert.Equal("Acme", (await server.Organizations.ListAsync(Actor.Session(acme.Owner)))[0].Name);
    }

    /// <summary>Every value goes in as a parameter; a name that is SQL stays a name.</summary>
    [Theory, InlineData("'; DROP TABLE users; --"), InlineData("\"'`$1@id%_\\"), InlineData("ÄÖ 日本 🔑")]
    public async Task A_name_is_stored_as_it_is(string name)
    {
        await using var server = await TestServer.StartAsync();
        var owner = await server.AddUserAsync(name);
        var root = (await server.Organizations.CreateRootAsync(Actor.Operator, name, owner)).Value;
        using var key = (
            await server.Keys.GenerateAsync(Actor.Session(owner), root, new NewKey(KeyFormat.NewId(), name, null, NameSet.All))
        ).Value;
        Assert.Equal(name, (await server.Organizations.ListAsync(Actor.Session(owner))).Single().Name);
        Assert.Equal(name, (await server.Keys.ListAsync(Actor.Session(owner), root)).Value.Single().Name);
        Assert.Equal(name, (await server.ExchangeAsync(key.Reveal())).Claims.GetProperty("name").GetString());
    }
}
