using Microsoft.Data.Sqlite;

namespace Pakhouse.SystemTests;

/// <summary>From a folder and settings to a server, or to words that say why not.</summary>
public sealed class StartServer : IDisposable
{
    private readonly DirectoryInfo temporary = Directory.CreateTempSubdirectory("pakhouse-system-");

    private string Folder => Path.Combine(temporary.FullName, "data");

    public void Dispose() => temporary.Delete(recursive: true);

    [Fact]
    public async Task Set_up_code_is_shown_at_a_terminal_and_by_the_command_and_reaches_no_collected_log_in_any_format()
    {
        foreach (var formatter in (string[])["simple", "json", "systemd"])
        {
            await using var collected = await RunningServer.StartInAsync(Folder, $"--Logging:Console:FormatterName={formatter}");
            await collected.LineAsync("There is no user yet. The command set-up prints");
            Assert.Equal(200, (await collected.GetAsync(await collected.SetUpPathAsync())).Status);
            Assert.Equal(0, await collected.StopAsync());
            Assert.DoesNotContain("setup?code=", collected.Output, StringComparison.Ordinal);
        }

        // The control: at a terminal (script makes one) the same start shows it.
        string[] script =
        [
            Tool.Bash,
            "-c",
            "exec script -qec \"exec $(printf '%q ' \"$@\")\" /dev/null",
            Tool.Require("script", "bsdutils"),
        ];
        await using (var terminal = RunningServer.Launch([], Folder, [], null, script))
        {
            await terminal.ServingAsync();
            Assert.StartsWith($"{terminal.Address}/setup?code=", await terminal.LineAsync("http://"), StringComparison.Ordinal);
        }

        await using (var seed = Seed.Open(Folder))
            await seed.AddAcmeAsync();
        var late = await RunningServer.RunAsync(["set-up"], Folder);
        Assert.Equal(1, late.ExitCode);
        Assert.Contains("There is already a user", late.Errors, StringComparison.Ordinal);
        Assert.DoesNotContain("setup?code=", late.All, StringComparison.Ordinal);
        await using var second = await RunningServer.StartInAsync(Folder);
        Assert.Equal(0, await second.StopAsync());
        Assert.DoesNotContain("set-up", second.Output, StringComparison.Ordinal);
    }

    /// <summary>Start, stop and each change are a line, with ids alone; a normal request is none.</summary>
    [Fact]
    public async Task Log_tells_start_sign_in_keys_and_stop_by_ids_and_nothing_of_normal_requests()
    {
        await using var server = await RunningServer.StartInAsync(Folder);
        await using var seed = Seed.Open(Folder);
        var acme = await seed.AddAcmeAsync();
        var visitor = await Visitor.SignInAsync(server, acme.Owner);
        var key = await visitor.GenerateAsync(acme.Root);
        Assert.Equal(200, (await server.ExchangeAsync(key)).Status);
        await visitor.DeleteAsync(acme.Root, Seed.IdOf(key));
        Assert.Equal(0, await server.StopAsync());

        var lines = server.Output.Split('\n').Select(line => line.Trim()).ToList();
        foreach (var line in (string[])
        [
            $"Login: {acme.Owner.Id}, by user {acme.Owner.Id}",
            $"PAT Create: {Seed.IdOf(key)}, by user {acme.Owner.Id}, in organization {acme.Root}",
            $"PAT Revoke: {Seed.IdOf(key)}, by user {acme.Owner.Id}, in organization {acme.Root}", "Stopping", "Stopped",
        ]) Assert.Single(lines, line);
        Assert.Single(lines, line => line.StartsWith("Started on ASP.NET Core 10.", StringComparison.Ordinal));
        Assert.DoesNotContain(acme.Owner.Email, server.Output, StringComparison.Ordinal);
        Assert.DoesNotContain("warn:", server.Output, StringComparison.Ordinal);
        Assert.DoesNotContain("fail:", server.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Renewed_protection_keys_end_a_server_that_runs_and_sessions_and_nothing_else()
    {
        await using var seed = Seed.Open(Folder);
        string key;
        await using (var server = await RunningServer.StartInAsync(Folder))
        {
            var acme = await seed.AddAcmeAsync();
            key = await seed.AddKeyAsync(acme.Owner, acme.Root);
            var visitor = await Visitor.SignInAsync(server, acme.Owner);
            var before = Directory.GetFiles(Path.Combine(Folder, "data-protection"));

            var asked = await RunningServer.RunAsync(["protection-keys", "renew"], Folder);
            Assert.Equal(1, asked.ExitCode);
            Assert.Contains("Nothing was changed", asked.Errors, StringComparison.Ordinal);
            Assert.Equal(before, Directory.GetFiles(Path.Combine(Folder, "data-protection")));
            Assert.Equal(200, (await visitor.GetAsync(Visitor.SecurityUrl(acme.Root))).Status);

            var renewed = await RunningServer.RunAsync(["protection-keys", "renew", "--yes"], Folder);
            Assert.True(renewed.ExitCode == 0, renewed.All);
            Assert.Contains("1 sessions have ended", renewed.Output, StringComparison.Ordinal);
            Assert.DoesNotContain(Assert.Single(before), Directory.GetFiles(Path.Combine(Folder, "data-protection")));
            Assert.Equal(1, await server.EndAsync()); // it notices by itself
        }

        await using var after = await RunningServer.StartInAsync(Folder);
        Assert.Equal(200, (await after.ExchangeAsync(key)).Status);
    }

    [Fact]
    public async Task Data_folder_and_database_belong_to_their_owner_alone()
    {
        await using var server = await RunningServer.StartInAsync(Folder);

        const UnixFileMode ownerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        Assert.Equal(ownerOnly | UnixFileMode.UserExecute, File.GetUnixFileMode(Folder));
        Assert.All(Directory.GetFiles(Folder), file => Assert.Equal(ownerOnly, File.GetUnixFileMode(file)));
        Assert.Contains(server.DatabaseFile, Directory.GetFiles(Folder));
        Assert.Contains(server.DatabaseFile + "-wal", Directory.GetFiles(Folder));
    }

    [Fact]
    public async Task All_faulty_settings_are_named_at_once_with_bounds_and_what_was_given()
    {
        var certificate = Path.Combine(temporary.FullName, "none.pfx");
        const string password = "hunter2-of-the-certificate";
        var ended = await RunningServer.RunAsync(
            [],
            Folder,
            "--Pakhouse:TokenLifetimeSeconds",
            "59",
            "--Pakhouse:Brand",
            "Big-Brand",
            "--Pakhouse:SigningAlgorithm",
            "HS256",
            "--Pakhouse:KeysPerMemberMax",
            "many",
            "--Pakhouse:PublicAddress",
            "http://keys.acme.example",
            "--Pakhouse:TrustedProxies",
            "10.0.0.0/8 proxy",
            "--Pakhouse:PasswordLengthMin",
            "7",
            "--Pakhouse:DataProtectionCertificateFile",
            certificate,
            "--Pakhouse:DataProtectionCertificatePassword",
            password
        );

        Assert.Equal(1, ended.ExitCode);
        string[][] faults =
        [
            ["Pakhouse:TokenLifetimeSeconds ", "from 60 to 86400", "given: 59"],
            ["Pakhouse:Brand ", "2 to 16 characters of [a-z0-9]", "given: Big-Brand"],
            ["Pakhouse:SigningAlgorithm ", "ES256 or RS256", "given: HS256"],
            ["Pakhouse:KeysPerMemberMax ", "from 1 to 10000", "given: many"],
            ["Pakhouse:PublicAddress ", "https", "given: http://keys.acme.example"],
            ["Pakhouse:TrustedProxies ", "10.0.0.0/8", "given: proxy"],
            ["Pakhouse:PasswordLengthMin ", "from 8 to 64", "given: 7"],
            ["Pakhouse:DataProtectionCertificateFile ", "PKCS#12", $"given: {certificate}"],
        ];
        var lines = ended.Errors.Split('\n');
        Assert.All(
            faults,
            fault => Assert.Contains(lines, line => Array.TrueForAll(fault, words => line.Contains(words, StringComparison.Ordinal)))
        );
        Assert.Equal(faults.Length, lines.Count(line => line.StartsWith("  - ", StringComparison.Ordinal)));
        Assert.DoesNotContain(password, ended.All, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", ended.All, StringComparison.Ordinal);
        Assert.False(Directory.Exists(Folder)); // refused before anything was made
    }

    [Fact]
    public async Task Unknown_setting_is_refused_with_the_names_of_those_there_are()
    {
        var ended = await RunningServer.RunAsync([], Folder, "--Pakhouse:TokenLifetime", "600");

        Assert.Equal(1, ended.ExitCode);
        Assert.Contains("Pakhouse:TokenLifetime is not a setting", ended.Errors, StringComparison.Ordinal);
        Assert.Contains("TokenLifetimeSeconds", ended.Errors, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("sreve")]
    [InlineData("--no-such-option")]
    public async Task Unknown_word_is_refused_and_nothing_starts(string word)
    {
        var ended = await RunningServer.RunAsync([word], Folder);

        Assert.NotEqual(0, ended.ExitCode);
        Assert.Contains(word, ended.All, StringComparison.Ordinal);
        Assert.False(Directory.Exists(Folder));
    }

    [Fact]
    public async Task Database_of_a_newer_version_is_refused_and_left_as_it_was()
    {
        await using (await RunningServer.StartInAsync(Folder))
        {
        }

        var file = Path.Combine(Folder, "pakhouse.db");
        await using (var connection = new SqliteConnection($"Data Source={file};Pooling=False"))
        {
            await connection.OpenAsync();
            await using var insert = connection.CreateCommand();
            insert.CommandText = "INSERT INTO schemaversions (scriptname, applied) VALUES ('999', 0)";
            Assert.Equal(1, await insert.ExecuteNonQueryAsync());
        }

        var before = await File.ReadAllBytesAsync(file);
        var ended = await RunningServer.RunAsync([], Folder);

        Assert.Equal(1, ended.ExitCode);
        Assert.Contains("newer Pakhouse: it has schema 999", ended.Errors, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", ended.All, StringComparison.Ordinal);
        Assert.Equal(before, await File.ReadAllBytesAsync(file));
    }

    [Fact]
    public async Task File_that_is_no_database_is_refused_with_words_and_left_as_it_was()
    {
        Directory.CreateDirectory(Folder);
        var file = Path.Combine(Folder, "pakhouse.db");
        await File.WriteAllTextAsync(file, string.Concat(Enumerable.Repeat("This is somebody's letter. ", 100)));
        var before = await File.ReadAllBytesAsync(file);

        var ended = await RunningServer.RunAsync([], Folder);

        Assert.Equal(1, ended.ExitCode);
        Assert.Contains(file, ended.Errors, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", ended.All, StringComparison.Ordinal);
        Assert.Equal(before, await File.ReadAllBytesAsync(file));
    }

    [Fact]
    public async Task Sigterm_ends_it_in_order_and_the_counts_of_use_are_written_even_while_a_request_hangs()
    {
        string key;
        // The host waits half a minute for requests; four seconds show the same, and are more than a stop in a hurry takes.
        var patient = new Dictionary<string, string>(StringComparer.Ordinal) { ["DOTNET_shutdownTimeoutSeconds"] = "4" };
        await using (var server = RunningServer.Launch([], Folder, ["--Pakhouse:UsageFlushSeconds", "60"], patient))
        {
            await server.ServingAsync();
            await using var seed = Seed.Open(Folder);
            var acme = await seed.AddAcmeAsync();
            key = await seed.AddKeyAsync(acme.Owner, acme.Root);
            for (var i = 0; i < 3; i++)
                Assert.Equal(200, (await server.ExchangeAsync(key)).Status);

            using var hanging = await RawConnection.OpenAsync(server);
            await hanging.SendAsync(
                "POST /auth/v3/token HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: "
                    + "100\r\nExpect: 100-continue\r\n\r\n"
            );
            Assert.StartsWith("HTTP/1.1 100 ", await hanging.ReceiveAsync(), StringComparison.Ordinal); // the endpoint reads
            Assert.Equal(0, await server.StopAsync());
        }

        await using var connection = new SqliteConnection($"Data Source={Path.Combine(Folder, "usage.db")};Pooling=False");
        await connection.OpenAsync();
        await using var count = connection.CreateCommand();
        count.CommandText = "SELECT SUM(count) FROM key_use_hours WHERE key_id = @id";
        count.Parameters.AddWithValue("@id", Seed.IdOf(key));
        Assert.Equal(3L, await count.ExecuteScalarAsync());
    }
}
