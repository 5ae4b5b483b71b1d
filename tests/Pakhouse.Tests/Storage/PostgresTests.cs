using System.Diagnostics;
using System.Net;
using Dapper;
using Microsoft.AspNetCore.DataProtection;
using Microsoft.Extensions.Configuration;
using Npgsql;

namespace Pakhouse.Tests;

/// <summary>What PostgreSQL has and SQLite has not: other processes on other machines, roles, and absence.</summary>
public class PostgresTests
{
    [Fact, PostgresOnly("several servers on one empty database")]
    public async Task Processes_that_start_at_once_migrate_an_empty_database_once()
    {
        var place = await TestDatabase.CreateEmptyAsync();
        var servers = await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => Task.Run(() => TestServer.StartOnAsync(place, null))));
        Assert.Equal(Schema.Steps.Count, await servers[0].ScalarAsync<long>("SELECT COUNT(*) FROM schemaversions"));
        Assert.Equal(1, await servers[0].ScalarAsync<long>("SELECT COUNT(*) FROM data_protection_keys"));

        // And what one encrypts, another reads: sessions and forms need no particular process.
        var sealedText = servers[0].Get<IDataProtectionProvider>().CreateProtector("test").Protect("text");
        foreach (var server in servers)
            Assert.Equal("text", server.Get<IDataProtectionProvider>().CreateProtector("test").Unprotect(sealedText));
        foreach (var server in servers)
            await server.StopAsync();
        await place.DeleteAsync();
    }

    [Fact, PostgresOnly("SQLite has a test of its own, which compares the file")]
    public async Task A_database_from_a_newer_version_is_refused()
    {
        var first = await TestServer.StartAsync();
        await first.ExecuteAsync("INSERT INTO schemaversions (scriptname, applied) VALUES ('999', 0)");
        await first.StopAsync();
        var e = await Assert.ThrowsAsync<StartupException>(() => TestServer.StartOnAsync(first.Place, first.Clock));
        Assert.Contains("newer Pakhouse: it has schema 999", e.Message, StringComparison.Ordinal);
        await first.Place.DeleteAsync();
    }

    [Fact, PostgresOnly("SQLite knows no roles")]
    public async Task The_serving_role_needs_no_right_to_change_the_schema()
    {
        var place = await TestDatabase.CreateEmptyAsync();
        var role = $"serving_{Ids.New(TimeProvider.System):n}";
        await using var owner = new NpgsqlConnection(place.Postgres + ";Pooling=false");
        await owner.ExecuteAsync(
            $"CREATE ROLE {role} LOGIN; ALTER DEFAULT PRIVILEGES GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {role}"
        );
        var serving = place with { Postgres = new NpgsqlConnectionStringBuilder(place.Postgres) { Username = role }.ConnectionString };

        var e = await Assert.ThrowsAsync<StartupException>(() => TestServer.StartOnAsync(serving, null));
        Assert.Contains("Run the command migrate with a role that may change the schema", e.Message, StringComparison.Ordinal);

        await using (var database = Database.Of(place.Options))
            database.Prepare(); // what the command does
        var server = await TestServer.StartOnAsync(serving, null);
        var acme = await server.AddAcmeAsync();
        Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(await server.AddKeyAsync(acme.Owner, acme.Root))).Status);
        await Assert.ThrowsAsync<PostgresException>(() => server.ExecuteAsync("ALTER TABLE users ADD COLUMN x TEXT"));
        await server.StopAsync();
        await owner.ExecuteAsync($"DROP OWNED BY {role}");
        await place.DeleteAsync();
    }

    [Fact, PostgresOnly("terminates backends")]
    public async Task Connections_that_broke_while_they_were_idle_cost_no_request()
    {
        await using var server = await TestServer.StartAsync();
        var acme = await server.AddAcmeAsync();
        var key = await server.AddKeyAsync(acme.Owner, acme.Root);
        await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => server.ExchangeAsync(key))); // several kept connections
        await using var operatorConnection = new NpgsqlConnection(server.Place.Postgres + ";Pooling=false");
        await operatorConnection.ExecuteAsync(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        );
        foreach (var answer in await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => server.ExchangeAsync(key))))
            Assert.Equal(HttpStatusCode.OK, answer.Status);
    }

    [Fact, PostgresOnly("locks a table from outside")]
    public async Task A_statement_that_hangs_is_answered_503_within_a_bounded_time_and_never_yes()
    {
        await using var server = await TestServer.StartAsync();
        var acme = await server.AddAcmeAsync();
        var key = await server.AddKeyAsync(acme.Owner, acme.Root);
        await using (var locker = new NpgsqlConnection(server.Place.Postgres + ";Pooling=false"))
        {
            await locker.OpenAsync();
            await using var transaction = await locker.BeginTransactionAsync();
            await locker.ExecuteAsync("LOCK TABLE access_keys IN ACCESS EXCLUSIVE MODE");
            var start = Stopwatch.GetTimestamp();
            var answer = await server.ExchangeAsync(key);
            Assert.Equal(HttpStatusCode.ServiceUnavailable, answer.Status);
            Assert.Equal("temporarily_unavailable", answer.Error);
            Assert.NotNull(answer.Header("Retry-After"));
            Assert.InRange(Stopwatch.GetElapsedTime(start).TotalSeconds, 0, 15); // 3 s a try, two tries
        }

        Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(key)).Status);
    }

    [Fact, PostgresOnly("takes every connection of the pool")]
    public async Task When_every_connection_is_taken_the_answer_is_503_and_service_resumes()
    {
        var place = await TestDatabase.CreateAsync();
        var server = await TestServer.StartOnAsync(place with { Postgres = place.Postgres + ";Maximum Pool Size=6" }, null);
        var acme = await server.AddAcmeAsync();
        var key = await server.AddKeyAsync(acme.Owner, acme.Root);
        var release = new TaskCompletionSource();
        // The sixth is kept by the status lists.
        var taken = Enumerable
            .Range(0, 5)
            .Select(_ =>
                server
                    .Get<Database>()
                    .ReadAsync<bool>(async _ =>
                    {
                        await release.Task;
                        return true;
                    })
            )
            .ToList();
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await server.ExchangeAsync(key)).Status);
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await server.GetAsync("/health/ready")).Status);
        Assert.Equal(HttpStatusCode.OK, (await server.GetAsync("/health/live")).Status);
        release.SetResult();
        await Task.WhenAll(taken);
        Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(key)).Status);
        Assert.Equal(HttpStatusCode.OK, (await server.GetAsync("/health/ready")).Status);
        await server.StopAsync();
        await place.DeleteAsync();
    }

    [Theory, PostgresOnly("the other way of opening a transaction")]
    [InlineData(20)]
    public async Task Changes_that_get_in_each_others_way_are_run_again(int atOnce)
    {
        await using var server = await TestServer.StartAsync();
        await server.ExecuteAsync("CREATE TABLE counter (n BIGINT NOT NULL); INSERT INTO counter VALUES (0)");
        await Task.WhenAll(Enumerable.Range(0, atOnce).Select(_ => server.Get<Database>().WriteAsync(async transaction =>
        {
            var n = await transaction.Connection!.ExecuteScalarAsync<long>("SELECT n FROM counter", transaction: transaction);
            return await transaction.Connection!.ExecuteAsync("UPDATE counter SET n = @next", new { next = n + 1 }, transaction);
        })));
        Assert.Equal(atOnce, await server.ScalarAsync<long>("SELECT n FROM counter"));
    }

    /// <summary>Both ways, with everything a user would notice: keys, passwords, sessions, tokens.</summary>
    [Fact, PostgresOnly("needs both databases")]
    public async Task A_move_takes_everything_along_and_leaves_the_source_as_it_was()
    {
        var place = await TestDatabase.CreateAsync();
        var sqlite = place with { Postgres = null };
        var first = await TestServer.StartOnAsync(sqlite, null);
        var acme = await first.AddAcmeAsync();
        var (key, deleted) = (
            await first.AddKeyAsync(acme.Owner, acme.Root, TimeSpan.FromDays(3), "openid"),
            await first.AddKeyAsync(acme.Owner, acme.Root)
        );
        await first.Keys.DeleteAsync(Actor.Session(acme.Owner), acme.Root, TestServer.IdOf(deleted));
        await first.ExchangeAsync(key);
        var session = first.Get<IDataProtectionProvider>().CreateProtector("test").Protect("session");
        var kid = first.Get<SigningKeys>().Published.Single().Public.Id;
        await first.StopAsync();

        var there = await CopyAsync(sqlite, place);
        await using (var connection = place.Connect())
            Assert.Equal( // every table there is, but for the list of schema steps and the one that is a folder on the other side
                await connection.QueryAsync<string>(
                    "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_name NOT IN "
                        + "('schemaversions', 'data_protection_keys') ORDER BY table_name COLLATE \"C\""
                ),
                there.Select(table => table.Name).Order(StringComparer.Ordinal)
            );
        Assert.Equal(2, there.Single(table => table.Name == "access_keys").Rows);
        var e = await Assert.ThrowsAsync<StartupException>(() => CopyAsync(sqlite, place));
        Assert.Contains("is not empty", e.Message, StringComparison.Ordinal);

        var second = await TestServer.StartOnAsync(place, first.Clock);
        Assert.Equal(HttpStatusCode.OK, (await second.ExchangeAsync(key)).Status);
        Assert.Contains("deleted", (await second.ExchangeAsync(deleted)).Description, StringComparison.Ordinal);
        Assert.Equal(kid, second.Get<SigningKeys>().Published.Single().Public.Id);
        Assert.Equal("session", second.Get<IDataProtectionProvider>().CreateProtector("test").Unprotect(session));
        Assert.False(
            (await second.Get<PasswordSignIn>().SignInAsync("person1@acme.example", TestServer.Password, IPAddress.Loopback)).IsRefused
        );
        await second.StopAsync();

        // And back, into an empty folder.
        var back = await TestDatabase.CreateAsync();
        var returned = await CopyAsync(place, back with { Postgres = null });
        Assert.Equal(there.Single(table => table.Name == "access_keys"), returned.Single(table => table.Name == "access_keys"));
        var third = await TestServer.StartOnAsync(back with { Postgres = null }, first.Clock);
        Assert.Equal(HttpStatusCode.OK, (await third.ExchangeAsync(key)).Status);
        Assert.Equal("session", third.Get<IDataProtectionProvider>().CreateProtector("test").Unprotect(session));
        await third.StopAsync();

        // The source still serves.
        var again = await TestServer.StartOnAsync(sqlite, first.Clock);
        Assert.Equal(HttpStatusCode.OK, (await again.ExchangeAsync(key)).Status);
        await again.StopAsync();
        await back.DeleteAsync();
        await place.DeleteAsync();
    }

    [Theory]
    [InlineData("Host=db.example.com;Database=p", SslMode.VerifyFull)]
    [InlineData("Host=db.example.com;Database=p;SSL Mode=Require", SslMode.Require)]
    [InlineData("Host=127.0.0.1;Database=p", SslMode.Prefer)]
    [InlineData("Host=localhost:5433;Database=p", SslMode.Prefer)]
    [InlineData("Host=::1;Database=p", SslMode.Prefer)]
    [InlineData("Host=/var/run/postgresql;Database=p", SslMode.Prefer)]
    [InlineData("Host=127.0.0.1:5432,db.example.com;Database=p", SslMode.VerifyFull)]
    [InlineData("Host=localhost.example.com;Database=p", SslMode.VerifyFull)]
    public void The_certificate_and_name_of_another_machine_are_verified_unless_told_otherwise(string connectionString, SslMode expected) =>
        Assert.Equal(expected, PostgresConnection.Parse(connectionString).SslMode);

    [
        Theory,
        InlineData("Host=x;Password=hunter2"),
        InlineData("hunter2"),
        InlineData("Hots=x;Database=p;Password=hunter2"),
        InlineData("Host=x;Database=p;Port=hunter2")
    ]
    public void A_connection_string_at_fault_is_refused_without_being_shown(string connectionString)
    {
        var e = Assert.Throws<StartupException>(() =>
            PakhouseOptions.Read(
                new ConfigurationBuilder().AddInMemoryCollection([new("Pakhouse:PostgresConnection", connectionString)]).Build()
            )
        );
        Assert.Contains("PostgresConnection must be a connection string", e.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("hunter2", e.ToString(), StringComparison.Ordinal);
    }

    private static async Task<IReadOnlyList<StorageCopy.Table>> CopyAsync(TestDatabase from, TestDatabase to)
    {
        await using var source = Database.Of(from.Options);
        await using var target = Database.Of(to.Options);
        source.Prepare();
        target.Prepare();
        return await StorageCopy.RunAsync(source, target, (_, _, _) => { });
    }
}
