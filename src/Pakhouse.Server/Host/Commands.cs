using System.CommandLine;

namespace Pakhouse.Server;

/// <summary>The command line. Without a command it starts the server; the commands are for the operator. Every command accepts
/// settings.</summary>
public static class Commands
{
    public static async Task<int> RunAsync(string[] args)
    {
        var (words, settings) = Split(args);
        var root = new RootCommand(
            "Pakhouse: personal access keys for platforms whose users belong to organizations. Without a command it starts the server. "
                + "Settings are given as --Pakhouse:NAME VALUE, or in the environment as Pakhouse__NAME."
        );
        root.SetAction((_, stop) => ServeAsync(settings, stop));

        var demo = new Command(
            "demo",
            "Start with an empty temporary data folder, two users and their keys, and show an exchange. Nothing is kept."
        );
        demo.SetAction((_, stop) => Demo.RunAsync(settings, stop));
        root.Add(demo);

        SigningKeyCommands.Add(root, settings);
        BackupCommands.Add(root, settings);
        ProtectionKeyCommands.Add(root, settings);

        var setUp = new Command(
            "set-up",
            "Print a URL that creates the first user, while there is none. It works once, for a day."
        );
        setUp.SetAction((_, _) => SetUpAsync(settings));
        root.Add(setUp);

        var keys = new Command("keys", "Personal access keys.");
        var keyId = new Argument<string>("ID") { Description = "the public id, 16 characters: the part between the underscores" };
        var deleteKey = new Command("delete", "End the key of any holder. Every later exchange is refused.") { keyId };
        deleteKey.SetAction(
            (parsed, _) =>
                ChangeAsync(
                    settings,
                    services => services.GetRequiredService<Keys>().DeleteByOperatorAsync(Actor.Operator, parsed.GetRequiredValue(keyId)),
                    "The key is deleted."
                )
        );
        keys.Add(deleteKey);
        root.Add(keys);

        var scanner = new Argument<string>("SCANNER") { Description = string.Join(", ", ScanRules.Scanners) }.AcceptOnlyFromAmong(
            ScanRules.Scanners
        );
        var scanRules = new Command(
            "scan-rules",
            "Print the rules that another scanner needs to find keys of this deployment's brand and earlier brands."
        )
        {
            scanner,
        };
        scanRules.SetAction(
            (parsed, _) =>
            {
                var options = PakhouseOptions.Read(Program.Configuration(settings));
                Console.WriteLine(
                    string.Join("\n\n", ScanRules.Brands(options).Select(brand => ScanRules.For(parsed.GetRequiredValue(scanner), brand)))
                );
                return Task.FromResult(0);
            }
        );
        root.Add(scanRules);

        var paths = new Argument<string[]>("PATH")
        {
            Description = "files and folders; - is standard input",
            Arity = ArgumentArity.OneOrMore,
        };
        var history = new Option<bool>("--git") { Description = "the paths are git repositories: search their whole history" };
        var revoke = new Option<Uri?>("--revoke")
        {
            Description = "report the found keys to the Pakhouse at this URL, which ends them at once",
        };
        var scan = new Command(
            "scan",
            "Find keys of every brand, offline. Prints where they are, never the keys. Exit code 1 if there are any, 2 if "
                + "something could not be read."
        )
        {
            paths,
            history,
            revoke,
        };
        scan.SetAction(
            (parsed, _) =>
                parsed.GetValue(revoke) is { } server
                && !(server.IsAbsoluteUri && (server.Scheme == Uri.UriSchemeHttps || server.IsLoopback))
                    ? throw new StartupException("--revoke: give an https address, such as https://keys.example.com.")
                    : Scan.RunAsync(
                        parsed.GetRequiredValue(paths),
                        parsed.GetValue(history),
                        parsed.GetValue(revoke),
                        Console.Out,
                        Console.Error
                    )
        );
        root.Add(scan);

        var users = new Command("users", "The people who can sign in.");
        var email = new Argument<string>("EMAIL");
        foreach (
            var (name, disabled, text) in ((string, bool, string)[])
                [
                    ("disable", true, "Suspend a user: sessions end at once, and keys are suspended."),
                    ("enable", false, "Resume a suspended user and their keys."),
                ]
        )
        {
            var command = new Command(name, text) { email };
            command.SetAction(
                (parsed, _) =>
                    ChangeAsync(
                        settings,
                        services =>
                            services.GetRequiredService<Users>().SetDisabledAsync(Actor.Operator, parsed.GetRequiredValue(email), disabled),
                        disabled ? "The user is suspended." : "The user can sign in again."
                    )
            );
            users.Add(command);
        }

        ProviderCommands.Add(users, settings);
        root.Add(users);

        var resourceServers = new Command("resource-servers", "The APIs and gateways that may introspect tokens and keys.");
        var serverName = new Argument<string>("NAME");
        var newServer = new Command(
            "new",
            "Generate a secret for a resource server, and show it with the setting that admits it. Nothing is stored."
        )
        {
            serverName,
        };
        newServer.SetAction((parsed, _) => NewResourceServerAsync(parsed.GetRequiredValue(serverName)));
        resourceServers.Add(newServer);
        root.Add(resourceServers);

        var migrate = new Command(
            "migrate",
            "Update the database's schema and exit. For a role that may change the schema; the server's role then needs no such "
                + "right."
        );
        migrate.SetAction((_, _) => StorageCommands.MigrateAsync(settings));
        root.Add(migrate);

        var storage = new Command("storage", "The database as a whole.");
        var copy = new Command(
            "copy",
            "Copy everything from one database into the other, empty one, and check it. Stop the servers first: changes during "
                + "the copy are lost. Both come from the settings: DataFolder for sqlite, PostgresConnection for postgres."
        );
        var from = new Option<string>("--from") { Required = true, Description = "sqlite or postgres" }.AcceptOnlyFromAmong(
            "sqlite",
            "postgres"
        );
        var to = new Option<string>("--to") { Required = true, Description = "sqlite or postgres" }.AcceptOnlyFromAmong(
            "sqlite",
            "postgres"
        );
        copy.Add(from);
        copy.Add(to);
        copy.SetAction((parsed, _) => StorageCommands.CopyAsync(settings, parsed.GetRequiredValue(from), parsed.GetRequiredValue(to)));
        storage.Add(copy);
        root.Add(storage);

        try
        {
            // No termination timeout: the host handles signals, and the parser's two seconds would end the host before it has answered its
            // requests and written its usage counts.
            return await root.Parse(words)
                .InvokeAsync(new InvocationConfiguration { EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null });
        }
        catch (Exception e)
        {
            if (Environment.GetEnvironmentVariable("PAKHOUSE_STACK_TRACE") == "1")
                await Console.Error.WriteLineAsync(e.ToString());
            await Console.Error.WriteLineAsync($"pakhouse: {MachineFaults.Describe(e)}");
            return 1;
        }
    }

    /// <summary>Starts the server, prints its address and, for an empty database, how to set it up.</summary>
    internal static async Task StartAsync(WebApplication app, CancellationToken stop)
    {
        await app.StartAsync(stop);
        var options = app.Services.GetRequiredService<PakhouseOptions>();
        var address = app.Services.GetRequiredService<PublicAddress>().Value;
        Console.WriteLine($"Pakhouse serves {address} from {app.Services.GetRequiredService<Database>().DisplayName}");
        if (options.SmtpHost is null)
            Console.WriteLine(
                $"Messages are not sent but written to {options.MailFolder}, as .eml files. Set Pakhouse:SmtpHost to send them."
            );
        var isShared = options.Postgres is not null || options.DataProtectionCertificate is not null;
        if (
            isShared
            && app.Services.GetRequiredService<Database>()
                .ProtectionKeys.GetAllElements()
                .Any(element => element.Descendants("masterKey").Any())
        )
            Console.WriteLine(
                "Note: Data Protection keys are stored unencrypted with the data, so anybody who can read them can forge tokens. Set "
                    + "Pakhouse:DataProtectionCertificateFile before the first start; docs/operations.md, \"Who can read what\", says "
                    + "what to do later."
            );
        if (!Console.IsOutputRedirected)
            await ShowSetUpAsync(app.Services, address);
        // Output that does not go to a terminal is collected by journald, a container's log or a file, which many people can read. Whoever
        // has the code becomes the first owner, so the code is not printed there.
        else if (!await app.Services.GetRequiredService<Users>().AnyAsync())
            Console.WriteLine("There is no user yet. The command set-up prints the URL that creates the first one.");
    }

    private static async Task<bool> ShowSetUpAsync(IServiceProvider services, string address)
    {
        if (await services.GetRequiredService<SetUp>().NewCodeAsync() is not { } code) return false;
        Console.WriteLine();
        Console.WriteLine("There is no user yet. Create the first one, and your organization, at this URL (it works once, for a day):");
        Console.WriteLine($"  {address}/setup?code={code}");
        Console.WriteLine();
        return true;
    }

    private static async Task<int> SetUpAsync(string[] settings)
    {
        await DemandDatabaseAsync(settings);
        await using var app = Program.Build(settings);
        return await ShowSetUpAsync(app.Services, app.Services.GetRequiredService<PublicAddress>().Value)
            ? 0
            : throw new StartupException("There is already a user, so set-up is closed. Sign in, or ask an owner for an invitation.");
    }

    private static async Task<int> ServeAsync(string[] settings, CancellationToken stop)
    {
        MachineFaults.DemandDescriptors();
        await using var app = Program.Build(settings);
        await StartAsync(app, stop);
        await app.WaitForShutdownAsync(stop);
        return app.Services.GetRequiredService<Fitness>().IsStateAtFault ? 1 : 0;
    }

    internal static async Task<int> ChangeAsync(string[] settings, Func<IServiceProvider, Task<Outcome<bool>>> change, string done)
    {
        await DemandDatabaseAsync(settings);
        await using var app = Program.Build(settings);
        var outcome = await change(app.Services);
        if (outcome.Refusal is { } refusal) throw new StartupException(refusal.Description);
        Console.WriteLine(done);
        return 0;
    }

    /// <summary>A command needs an existing database: with a wrong location it fails, and leaves no empty database behind.</summary>
    internal static async Task DemandDatabaseAsync(string[] settings)
    {
        var options = PakhouseOptions.Read(Program.Configuration(settings));
        await using var database = Database.Of(options);
        if (database.IsMade)
            return;
        throw new StartupException(
            $"There is no Pakhouse database at {database.DisplayName}. Set "
                    + $"{(options.Postgres is null ? "Pakhouse:DataFolder" : "Pakhouse:PostgresConnection")} as for the server; "
                    + $"the server's first start creates the database."
        );
    }

    private static async Task<int> NewResourceServerAsync(string name)
    {
        if (!NameSet.IsName(name) || name.Contains(':', StringComparison.Ordinal))
            throw new StartupException($"NAME is 1 to {NameSet.NameLengthMax} characters of [A-Za-z0-9._-].");
        var (secret, hash) = ResourceServers.NewSecret();
        await Console.Out.WriteLineAsync(
            $"""
            client_id      {name}
            client_secret  {secret}

            The secret is shown only once. Give it to the resource server.
            Every Pakhouse process needs this setting, and a start to read it:
              Pakhouse__ResourceServers__{name}__SecretHash={hash}
            To replace a secret, set both hashes, parted by a space, until the resource server has the new one.
            """
        );
        return 0;
    }

    /// <summary>
    /// Settings (<c>--Section:Name value</c> or <c>--Section:Name=value</c>) go to the configuration, everything else to the parser, which
    /// refuses unknown arguments.
    /// </summary>
    private static (string[] Words, string[] Settings) Split(string[] args)
    {
        var (words, settings) = (new List<string>(), new List<string>());
        for (var i = 0; i < args.Length; i++)
        {
            var isSetting = args[i].StartsWith("--", StringComparison.Ordinal) && args[i].Contains(':', StringComparison.Ordinal);
            if (!isSetting) words.Add(args[i]);
            else if (args[i].Contains('=', StringComparison.Ordinal)) settings.Add(args[i]);
            else settings.AddRange(i + 1 < args.Length ? [args[i], args[++i]] : [args[i] + "="]);
        }

        return ([.. words], [.. settings]);
    }
}
