using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.RegularExpressions;

namespace Pakhouse.SystemTests;

/// <summary>A machine that is not as the program would like it: told in one line, or lived with.</summary>
public sealed partial class FaceMachine : IDisposable
{
    /// <summary>A user that the machine does not know.</summary>
    private const string Stranger = "12345";

    private readonly DirectoryInfo temporary = Directory.CreateTempSubdirectory("pakhouse-system-");

    private string Folder => Path.Combine(temporary.FullName, "data");

    /// <summary>The stranger can come to the data folder, and what it may do there is the folder's affair.</summary>
    public FaceMachine() => File.SetUnixFileMode(temporary.FullName, (UnixFileMode)0b111_101_101);

    public void Dispose() => temporary.Delete(recursive: true);

    [Theory]
    [InlineData("not creatable", "", "", "--Pakhouse:DataFolder=/proc/pakhouse", "/proc/pakhouse")]
    [InlineData("read-only", "mkdir -p $FOLDER; mount -t tmpfs -o ro tmpfs $FOLDER", "", "", "Read-only file system")]
    [InlineData("no space", "mkdir -p $FOLDER; mount -t tmpfs -o size=16k tmpfs $FOLDER", "", "", "is full")]
    [InlineData(
        "somebody else's",
        "mkdir -p $FOLDER; chmod 0700 $FOLDER; AS=$STRANGER",
        "",
        "",
        "this process runs as user id " + Stranger
    )]
    [InlineData(
        "no home",
        "export HOME=nowhere; unset XDG_DATA_HOME",
        "",
        "--Pakhouse:DataFolder=",
        "Pakhouse:DataFolder must be set, because this user has no home folder"
    )]
    [InlineData("too few descriptors", "ulimit -n 300", "", "", "The process may have 300 files open; the server needs 1024 and more")]
    [InlineData(
        "https without a certificate",
        "",
        "",
        "--Pakhouse:Listen=https://127.0.0.1:0",
        "there is no certificate. Set --Kestrel:Certificates:Default:Path"
    )]
    [InlineData(
        "unknown formatter",
        "",
        "",
        "--Logging:Console:FormatterName=pretty",
        "Logging:Console:FormatterName must be simple, json or systemd"
    )]
    [InlineData("unknown log level", "", "", "--Logging:LogLevel:Default=Loud", "Loud")]
    [InlineData(
        "settings that are no JSON",
        "cd $HERE; printf '{\\n  \"Pakhouse\": {\\n oops' > appsettings.json",
        "",
        "",
        "It is not JSON: see line 3"
    )]
    [InlineData(
        "settings that cannot be read",
        "cd $HERE; echo '{}' > appsettings.json; chmod 0000 appsettings.json; AS=$STRANGER",
        "",
        "",
        "appsettings.json"
    )]
    [InlineData("no database, list", "", "signing-keys list", "", "There is no Pakhouse database at")]
    [InlineData("no database, rotate", "mkdir -p $FOLDER", "signing-keys rotate", "", "There is no Pakhouse database at")]
    [InlineData("no database, delete", "", "keys delete WnSeVe6cVioc6VVs", "", "There is no Pakhouse database at")]
    [InlineData("no database, disable", "", "users disable ada@example.com", "", "There is no Pakhouse database at")]
    public async Task Fault_of_the_machine_is_told_in_one_line_without_a_stack_trace(
        string what,
        string before,
        string words,
        string setting,
        string expected
    )
    {
        var ended = await RunningServer.RunAroundAsync(
            Inside(before),
            words.Split(' ', StringSplitOptions.RemoveEmptyEntries),
            Folder,
            setting.Split(' ', StringSplitOptions.RemoveEmptyEntries)
        );

        Assert.True(ended.ExitCode == 1, $"{what}: {ended.ExitCode} {ended.All}");
        Assert.Contains(expected, ended.Errors, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", ended.All, StringComparison.Ordinal);
        Assert.InRange(ended.Errors.Trim().Split('\n').Length, 1, what == "no home" ? 2 : 1); // the list of faulty settings has a title
        if (words.Length > 0)
            Assert.False(File.Exists(Path.Combine(Folder, "pakhouse.db"))); // and no empty database is left
    }

    /// <summary>Kestrel itself would serve with it, and every client would refuse.</summary>
    [Theory]
    [InlineData(-10, -1, "Certificates:Default", false, "has expired")]
    [InlineData(-10, -1, "Certificates:Default", true, "has expired")]
    [InlineData(1, 10, "Certificates:Default", false, "is not valid yet")]
    [InlineData(-10, -1, "Endpoints:Https:Certificate", false, "has expired")]
    [InlineData(-1, 10, "Certificates:Default", false, null)]
    [InlineData(-1, 10, "Certificates:Default", true, null)]
    public async Task Certificate_that_no_client_takes_now_is_told_in_one_line_and_a_good_one_serves(
        int fromDays,
        int untilDays,
        string place,
        bool isPem,
        string? expected
    )
    {
        string[] settings =
        [
            "--Pakhouse:Listen=https://127.0.0.1:0",
            .. MakeCertificate(fromDays, untilDays, $"--Kestrel:{place}", isPem),
            .. place.StartsWith('E') ? ["--Kestrel:Endpoints:Https:Url=https://127.0.0.1:0"] : Array.Empty<string>(),
        ];
        if (expected is null)
        {
            await using var server = await RunningServer.StartInAsync(Folder, settings);
            Assert.StartsWith("https://", server.Address, StringComparison.Ordinal);
            return;
        }

        var ended = await RunningServer.RunAsync([], Folder, settings);
        Assert.Equal(1, ended.ExitCode);
        var line = Assert.Single(ended.Errors.Trim().Split('\n'));
        Assert.Contains($"The certificate in Kestrel:{place}:Path {expected}", line, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", ended.All, StringComparison.Ordinal);
        Assert.False(Directory.Exists(Folder));
    }

    /// <summary>After an orderly stop, when even a reader of the database needs a little space.</summary>
    [Fact]
    public async Task Start_on_a_full_disk_serves_exchanges_and_a_command_ends_a_key()
    {
        // The disk outlives the servers on it.
        string[] holder = [.. Inside(Disk(24) + "; echo ready"), Tool.Bash, "-c", "read -r _ || true"];
        using var machine = Tool.Start(holder[0], holder[1..]);
        try
        {
            Assert.Equal("ready", await machine.StandardOutput.ReadLineAsync().WaitAsync(Tool.Patience));
            var there = Into(machine.Id);
            string good,
                doomed;
            await using (var first = RunningServer.Launch([], Folder, [], null, there))
            {
                await first.ServingAsync();
                var (visitor, organization) = await SetUpAsync(first, there);
                (good, doomed) = (await visitor.GenerateAsync(organization), await visitor.GenerateAsync(organization, "Doomed"));
                Assert.Equal(0, await first.StopAsync());
            }

            Fill($"/proc/{machine.Id}/root{Folder}/fill");
            await using var second = RunningServer.Launch([], Folder, [], null, there);
            await second.ServingAsync();
            Assert.Equal(200, (await second.ExchangeAsync(good)).Status);
            Assert.Equal(200, (await second.ExchangeAsync(doomed)).Status);
            Assert.StartsWith("Degraded", (await second.GetAsync("/health/ready")).Body, StringComparison.Ordinal);
            var ended = await RunningServer.RunAroundAsync(there, ["keys", "delete", Seed.IdOf(doomed)], Folder);
            Assert.True(ended.ExitCode == 0, ended.All);
            Assert.Equal(401, (await second.ExchangeAsync(doomed)).Status);
            Assert.Equal(0, await second.StopAsync());
            Assert.DoesNotContain("   at ", second.Output, StringComparison.Ordinal);
        }
        finally
        {
            machine.StandardInput.Close();
            await Tool.EndAsync(machine);
        }
    }

    [Fact]
    public async Task Read_only_root_no_temporary_folder_and_an_unknown_user_are_enough()
    {
        var environment = new Dictionary<string, string>(StringComparer.Ordinal) { ["TMPDIR"] = "/nonexistent", ["HOME"] = "/nonexistent" };
        await using var server = RunningServer.Launch(
            [],
            Folder,
            [],
            environment,
            Inside($"{Disk(64)}; mount -o remount,bind,ro /; AS=$STRANGER")
        );
        await server.ServingAsync();
        var (visitor, organization) = await SetUpAsync(server);
        Assert.Equal(200, (await server.ExchangeAsync(await visitor.GenerateAsync(organization))).Status);
        Assert.Equal(0, await server.StopAsync());
        Assert.DoesNotContain("   at ", server.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Keys_of_Data_Protection_that_cannot_be_renewed_go_on_and_the_log_warns()
    {
        Visitor visitor;
        Guid organization;
        await using (var first = await RunningServer.StartInAsync(Folder))
            (visitor, organization) = await SetUpAsync(first);
        var keys = Path.Combine(Folder, "data-protection");
        var file = Assert.Single(Directory.GetFiles(keys));
        await File.WriteAllTextAsync(
            file,
            Dates()
                .Replace(
                    await File.ReadAllTextAsync(file),
                    match =>
                        match.Value.Replace(
                            match.Groups["date"].Value,
                            match.Groups["what"].Value == "expiration" ? "2020-04-01" : "2020-01-01",
                            StringComparison.Ordinal
                        )
                )
        );
        await File.WriteAllTextAsync(Path.Combine(keys, "key-of-nothing.xml"), "<key");

        await using var second = RunningServer.Launch(
            [],
            Folder,
            [],
            null,
            Inside($"mount --bind {keys} {keys}; mount -o remount,bind,ro {keys}")
        );
        await second.ServingAsync();
        Assert.Equal(200, (await visitor.At(second).GetAsync(Visitor.SecurityUrl(organization))).Status); // a session of before
        Assert.Equal(200, (await second.ExchangeAsync(await visitor.At(second).GenerateAsync(organization))).Status);
        Assert.Contains("cannot be stored", second.Output, StringComparison.Ordinal);
        Assert.Contains("key-of-nothing.xml", second.Output, StringComparison.Ordinal);
    }

    /// <summary>Every time something is given back, somebody else takes it at once.</summary>
    [Fact]
    public async Task On_a_full_disk_keys_are_exchanged_and_ended_and_everything_else_is_refused_by_its_name()
    {
        await using var server = RunningServer.Launch([], Folder, [], null, Inside(Disk(24)));
        await server.ServingAsync();
        var (visitor, organization) = await SetUpAsync(server);
        var good = await visitor.GenerateAsync(organization);
        var doomed = new List<string>();
        for (var i = 0; i < 8; i++)
            doomed.Add(await visitor.GenerateAsync(organization, $"Key {i}"));
        Assert.Equal("Healthy", (await server.GetAsync("/health/ready")).Body);

        var inside = $"/proc/{server.ProcessId}/root{Folder}"; // the disk is in the server's own view of the machine
        var reserve = new FileInfo(Path.Combine(inside, "reserve"));
        var whole = reserve.Length;
        foreach (var key in doomed)
        {
            Fill(Path.Combine(inside, "fill"));
            var page = await visitor.GetAsync(Visitor.SecurityUrl(organization));
            var refused = await visitor.SendAsync(
                page,
                Visitor.SecurityUrl(organization),
                ("Name", "One more"),
                ("Expires", "never"),
                ("Scopes", "openid")
            );
            Assert.Equal(507, refused.Status);
            Assert.Contains("The disk of this server is full", refused.Body, StringComparison.Ordinal);
            Assert.Equal(200, (await server.ExchangeAsync(good)).Status);
            Assert.Equal(200, (await server.ExchangeAsync(key)).Status);

            if (key == doomed[^1])
                Assert.Equal(200, (await server.PostAsync("/oauth/revoke", $"token={key}")).Status);
            else
                await visitor.DeleteAsync(organization, Seed.IdOf(key));
            Assert.Equal(401, (await server.ExchangeAsync(key)).Status);
            var ready = await server.GetAsync("/health/ready");
            Assert.Equal((200, "Degraded: the disk is full, changes are impossible"), (ready.Status, ready.Body));
        }

        reserve.Refresh();
        Assert.True(reserve.Length < whole, "Nothing of the reserve was needed, so nothing was tried.");
        File.Delete(Path.Combine(inside, "fill"));
        Assert.Equal("Healthy", (await server.GetAsync("/health/ready")).Body);
        Assert.Equal(200, (await server.ExchangeAsync(await visitor.GenerateAsync(organization))).Status);
        reserve.Refresh();
        Assert.Equal(whole, reserve.Length);
    }

    /// <summary>A program in its own view of the machine, after a few commands that change it.</summary>
    /// <param name="before">$FOLDER: the data folder; $HERE: the folder around it; AS: the user to be.</param>
    private string[] Inside(string before) =>
        [
            .. AsRoot,
            Tool.Require("unshare", "util-linux"),
            "-m",
            Tool.Bash,
            "-euc",
            $"FOLDER={Folder}; HERE={temporary.FullName}; STRANGER={Stranger}; AS=; mount --make-rprivate /\n{before}\n"
                + $"if [ -n \"$AS\" ]; then exec setpriv --reuid=$AS --regid=$AS --clear-groups -- \"$@\"; else exec \"$@\"; fi",
            Tool.Bash,
        ];

    /// <summary>Only root can become somebody else, and mount.</summary>
    private static string[] AsRoot => Environment.IsPrivilegedProcess ? [] : [Tool.Require("sudo", "sudo"), "-nE"];

    /// <summary>A program in the view of the machine that another process has.</summary>
    private static string[] Into(int process) => [.. AsRoot, Tool.Require("nsenter", "util-linux"), "-t", $"{process}", "-m", "--"];

    private static string Disk(int megabytes) =>
        $"mkdir -p $FOLDER; mount -t tmpfs -o size={megabytes}m,mode=0700,uid={Stranger},gid={Stranger} tmpfs $FOLDER";

    private static Task<(Visitor, Guid)> SetUpAsync(RunningServer server) => SetUpAsync(server, Into(server.ProcessId));

    /// <param name="there">Into the server's view of the machine.</param>
    private static async Task<(Visitor, Guid)> SetUpAsync(RunningServer server, string[] there)
    {
        var visitor = new Visitor(server);
        var page = await visitor.GetAsync(await server.SetUpPathAsync(there));
        var made = await visitor.SendAsync(
            page,
            "/setup",
            ("OrganizationName", "Acme"),
            ("UserName", "Olivia Owner"),
            ("Email", "owner@acme.example"),
            ("Password", Seed.Password)
        );
        Assert.Equal(303, made.Status);
        return (visitor, Guid.Parse(OrganizationId().Match(made.Header("Location")!).Value));
    }

    /// <summary>The settings that name it.</summary>
    private string[] MakeCertificate(int fromDays, int untilDays, string place, bool isPem)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var now = TimeProvider.System.GetUtcNow();
        var request = new CertificateRequest("CN=localhost", key, HashAlgorithmName.SHA256);
        using var certificate = request.CreateSelfSigned(now.AddDays(fromDays), now.AddDays(untilDays));
        var (file, keyFile) = (Path.Combine(temporary.FullName, "certificate"), Path.Combine(temporary.FullName, "key"));
        if (!isPem)
        {
            File.WriteAllBytes(file, certificate.Export(X509ContentType.Pkcs12, "secret"));
            return [$"{place}:Path={file}", $"{place}:Password=secret"];
        }

        File.WriteAllText(file, certificate.ExportCertificatePem());
        File.WriteAllText(keyFile, key.ExportPkcs8PrivateKeyPem());
        return [$"{place}:Path={file}", $"{place}:KeyPath={keyFile}"];
    }

    /// <summary>To the last byte.</summary>
    private static void Fill(string file)
    {
        using var stream = new FileStream(file, FileMode.Append, FileAccess.Write, FileShare.None, bufferSize: 0);
        foreach (var size in (int[])[64 * 1024, 4096, 1])
        {
            try
            {
                while (true)
                    stream.Write(new byte[size]);
            }
            catch (IOException)
            {
                // Full, for pieces of this size.
            }
        }
    }

    [GeneratedRegex("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1000)]
    private static partial Regex OrganizationId();

    [GeneratedRegex(
        @"<(?<what>creation|activation|expiration)Date>(?<date>\d{4}-\d\d-\d\d)",
        RegexOptions.ExplicitCapture,
        matchTimeoutMilliseconds: 1000
    )]
    private static partial Regex Dates();
}
