using System.Security.Cryptography;
using Dapper;
using Microsoft.Data.Sqlite;

namespace Pakhouse.SystemTests;

/// <summary>The whole database goes to the other kind and back, by the command: to people and machines nothing has happened.</summary>
[PostgresOnly("it is one of the two")]
public sealed class MoveStorage : IDisposable
{
    private readonly DirectoryInfo temporary = Directory.CreateTempSubdirectory("pakhouse-system-");

    private string Folder => Path.Combine(temporary.FullName, "data");

    public void Dispose() => temporary.Delete(recursive: true);

    [Fact]
    public async Task Keys_passwords_and_sessions_are_good_on_the_other_side_and_back_and_the_source_is_as_it_was()
    {
        await using var postgres = await PostgresServer.StartAsync();
        string key,
            doomed;
        Acme acme;
        Visitor session;
        await using (var server = await RunningServer.StartInAsync(Folder))
        {
            await using (var seed = Seed.Open(Folder))
                acme = await seed.AddAcmeAsync();
            session = await Visitor.SignInAsync(server, acme.Owner);
            (key, doomed) = (await session.GenerateAsync(acme.Root), await session.GenerateAsync(acme.Root, "Key 2"));
            await session.DeleteAsync(acme.Root, Seed.IdOf(doomed));
            await AssertWorksAsync(server, acme, session, key, doomed);
        }

        var before = await ContentAsync(Folder);
        var there = await Page.RunAsync("move-to-postgres", With(postgres, Folder));
        Assert.Contains("Copied and checked", there.Output, StringComparison.Ordinal);
        Assert.Equal(before, await ContentAsync(Folder));

        var again = await RunningServer.RunAsync(["storage", "copy", "--from", "sqlite", "--to", "postgres"], Folder, postgres.Setting);
        Assert.Equal(1, again.ExitCode);
        Assert.Contains("is not empty", again.Errors, StringComparison.Ordinal);

        string late;
        // Another data folder: what PostgreSQL serves is in PostgreSQL.
        await using (var server = await RunningServer.StartInAsync(Path.Combine(temporary.FullName, "elsewhere"), postgres.Setting))
        {
            await AssertWorksAsync(server, acme, session.At(server), key, doomed);
            late = await session.At(server).GenerateAsync(acme.Root, "Key 3");
            await session.At(server).DeleteAsync(acme.Root, Seed.IdOf(key));
        }

        var back = Path.Combine(temporary.FullName, "back");
        await Page.RunAsync("move-to-sqlite", With(postgres, back));
        await using (var server = await RunningServer.StartInAsync(back))
            await AssertWorksAsync(server, acme, session.At(server), late, key);
    }

    private static async Task AssertWorksAsync(RunningServer server, Acme acme, Visitor session, string key, string doomed)
    {
        Assert.Equal(200, (await server.ExchangeAsync(key)).Status);
        var refused = await server.ExchangeAsync(doomed);
        Assert.Equal(401, refused.Status);
        Assert.Contains("deleted", refused.Description, StringComparison.Ordinal);
        Assert.Equal(200, (await session.GetAsync(Visitor.SecurityUrl(acme.Root))).Status); // the session from before
        await Visitor.SignInAsync(server, acme.Owner);
    }

    private static Dictionary<string, string> With(PostgresServer postgres, string folder) =>
        new(postgres.Variables, StringComparer.Ordinal) { ["DATA"] = folder };

    /// <summary>The SQLite file with everything in it, as a hash.</summary>
    private static async Task<string> ContentAsync(string folder)
    {
        var file = Path.Combine(folder, "pakhouse.db");
        await using (var connection = new SqliteConnection($"Data Source={file};Pooling=False"))
            await connection.ExecuteAsync("PRAGMA wal_checkpoint(TRUNCATE)");
        return Convert.ToHexStringLower(SHA256.HashData(await File.ReadAllBytesAsync(file)));
    }
}
