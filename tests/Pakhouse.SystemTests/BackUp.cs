namespace Pakhouse.SystemTests;

/// <summary>The back-ups of docs/operations.md, by the commands that stand there: what comes back serves as what went away.</summary>
[PostgresOnly("one of the two is PostgreSQL")]
public sealed class BackUp : IDisposable
{
    private readonly DirectoryInfo temporary = Directory.CreateTempSubdirectory("pakhouse-system-");

    public void Dispose() => temporary.Delete(recursive: true);

    [Fact]
    public async Task Back_up_of_SQLite_made_beside_a_running_server_serves_in_another_folder()
    {
        var (data, restored) = (Path.Combine(temporary.FullName, "data"), Path.Combine(temporary.FullName, "restored"));
        Left left;
        await using (var server = await RunningServer.StartInAsync(data))
        {
            left = await LeaveAsync(server);
            await Page.RunAsync("backup-sqlite", Variables(data));
        }

        await Page.RunAsync("restore-sqlite", Variables(restored));
        const UnixFileMode ownerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        Assert.All(
            Directory
                .GetFiles(temporary.FullName, "*", SearchOption.AllDirectories)
                .Where(file => !file.StartsWith(data, StringComparison.Ordinal)),
            file => Assert.Equal(ownerOnly, File.GetUnixFileMode(file))
        );
        await using var again = await RunningServer.StartInAsync(restored);
        await AssertServesAsync(again, left);
    }

    [Fact]
    public async Task File_copied_by_hand_is_refused_until_restore_finish_was_run()
    {
        var (data, copied) = (Path.Combine(temporary.FullName, "data"), Path.Combine(temporary.FullName, "copied"));
        Left left;
        await using (var server = await RunningServer.StartInAsync(data))
            left = await LeaveAsync(server);
        Directory.CreateDirectory(Path.Combine(copied, "data-protection"));
        File.Copy(Path.Combine(data, "pakhouse.db"), Path.Combine(copied, "pakhouse.db")); // whole after an orderly stop
        foreach (var file in Directory.GetFiles(Path.Combine(data, "data-protection")))
            File.Copy(file, Path.Combine(copied, "data-protection", Path.GetFileName(file)));

        var refused = await RunningServer.RunAsync([], copied);
        Assert.Equal(1, refused.ExitCode);
        Assert.Contains("restore finish", refused.Errors, StringComparison.Ordinal);
        var finished = await RunningServer.RunAsync(["restore", "finish"], copied);
        Assert.True(finished.ExitCode == 0, finished.All);
        await using var again = await RunningServer.StartInAsync(copied);
        await AssertServesAsync(again, left);
    }

    [Fact]
    public async Task Back_up_of_PostgreSQL_made_beside_a_running_server_serves_in_another_database()
    {
        await using var postgres = await PostgresServer.StartAsync();
        await using var restored = await PostgresServer.StartAsync();
        Left left;
        await using (var server = await RunningServer.StartAsync(postgres.Setting))
        {
            left = await LeaveAsync(server, postgres.Setting);
            await Page.RunAsync("backup-postgres", Variables("", postgres));
        }

        await Page.RunAsync("restore-postgres", Variables("", restored));
        await using var again = await RunningServer.StartAsync(restored.Setting);
        await AssertServesAsync(again, left);
    }

    private sealed record Left(Acme Acme, Visitor Session, string Key, string Doomed, string SigningKeys);

    private static async Task<Left> LeaveAsync(RunningServer server, params string[] settings)
    {
        await using var seed = Seed.Open(server.DataFolder, settings);
        var acme = await seed.AddAcmeAsync();
        var session = await Visitor.SignInAsync(server, acme.Owner);
        var (key, doomed) = (await session.GenerateAsync(acme.Root), await session.GenerateAsync(acme.Root, "Key 2"));
        await session.DeleteAsync(acme.Root, Seed.IdOf(doomed));
        return new Left(acme, session, key, doomed, (await server.GetAsync("/.well-known/jwks.json")).Body);
    }

    private static async Task AssertServesAsync(RunningServer server, Left left)
    {
        Assert.Equal(200, (await server.ExchangeAsync(left.Key)).Status);
        Assert.Equal(401, (await server.ExchangeAsync(left.Doomed)).Status);
        Assert.Equal(left.SigningKeys, (await server.GetAsync("/.well-known/jwks.json")).Body);
        // sessions of an old state are void
        Assert.NotEqual(200, (await left.Session.At(server).GetAsync(Visitor.SecurityUrl(left.Acme.Root))).Status);
        await Visitor.SignInAsync(server, left.Acme.Owner);
    }

    private Dictionary<string, string> Variables(string data, PostgresServer? postgres = null)
    {
        var variables = new Dictionary<string, string>(
            postgres?.Variables ?? new Dictionary<string, string>(StringComparer.Ordinal),
            StringComparer.Ordinal
        );
        (variables["DATA"], variables["BACKUP"]) = (data, Path.Combine(temporary.FullName, "backup"));
        if (postgres is not null)
            variables["CONNECTION"] = postgres.Connection;
        return variables;
    }
}
