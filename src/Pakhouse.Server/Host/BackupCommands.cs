using System.CommandLine;

namespace Pakhouse.Server;

/// <summary><c>backup</c>, <c>restore</c>, <c>restore finish</c> and <c>clock accept</c>.</summary>
internal static class BackupCommands
{
    public static void Add(RootCommand root, string[] settings)
    {
        var folder = new Argument<string>("FOLDER") { Description = "a new folder for a back-up; with --check one that holds a back-up" };
        var check = new Option<bool>("--check") { Description = "check a complete back-up against its manifest; nothing is written" };
        var backup = new Command(
            "backup",
            "Write everything that a server needs into a folder: database, Data Protection keys, manifest. Servers keep running."
        )
        {
            folder,
            check,
        };
        backup.SetAction((parsed, _) => BackUpAsync(settings, Path.GetFullPath(parsed.GetRequiredValue(folder)), parsed.GetValue(check)));
        root.Add(backup);

        var from = new Argument<string?>("FOLDER")
        {
            Description = "a back-up made by the command backup",
            Arity = ArgumentArity.ZeroOrOne,
        };
        var ended = new Option<string?>("--ended-keys")
        {
            Description =
                "a file with the ids of keys that were ended since the back-up, one a line, or the CSV export of activity: they are ended "
                    + "again",
            Recursive = true,
        };
        var newKey = new Option<bool>("--new-signing-key")
        {
            Description =
                "destroy the signing keys of the back-up and sign with a new one at once: when one of them may have leaked. Tokens in use "
                    + "are refused then",
            Recursive = true,
        };
        var moved = new Option<bool>("--moved")
        {
            Description = "the database was moved and nothing was lost: nothing is revoked. Refused if this machine has seen a newer state",
        };
        var restore = new Command("restore", "Replace a lost database by a back-up, and make it safe. Stop every server first.")
        {
            from,
        };
        var finish = new Command(
            "finish",
            "Make a database safe that was restored by other means (pg_restore, a copy, point-in-time recovery). Stop every server first."
        )
        {
            moved,
        };
        restore.Options.Add(ended);
        restore.Options.Add(newKey);
        restore.Add(finish);
        restore.SetAction(
            (parsed, _) =>
                parsed.GetValue(from) is { Length: > 0 } path
                    ? RestoreAsync(settings, Path.GetFullPath(path), parsed.GetValue(ended), parsed.GetValue(newKey))
                    : throw new StartupException(
                        "Give the folder of the back-up: restore FOLDER. After a restore by other means: restore finish."
                    )
        );
        finish.SetAction((parsed, _) => FinishAsync(settings, parsed.GetValue(ended), parsed.GetValue(newKey), parsed.GetValue(moved)));
        root.Add(restore);

        var clock = new Command("clock", "The clock of this machine.");
        var accept = new Command(
            "accept",
            "SQLite: say that this machine's clock is right, after a server was off for more than a month or ran with a wrong clock."
        );
        accept.SetAction((_, _) => AcceptClockAsync(settings));
        clock.Add(accept);
        root.Add(clock);
    }

    private static async Task<int> BackUpAsync(string[] settings, string folder, bool check)
    {
        if (check)
        {
            var found = await Backup.CheckAsync(folder);
            Console.WriteLine(
                $"The back-up is complete: made {found.MadeAt:u}, {found.Files.Count} files, newest record {found.State.NewestAt:u}."
            );
            return 0;
        }

        await using var database = Database.Of(PakhouseOptions.Read(Program.Configuration(settings)));
        database.Prepare();
        var made = await Backup.MakeAsync(database, folder, TimeProvider.System, StorageCommands.ShowProgress);
        Console.WriteLine(
            $"Backed up {database.DisplayName} to {folder}: {made.Files.Count} files, {made.Files.Sum(file => file.Bytes):N0} bytes, "
                + $"checked; newest record {made.State.NewestAt:u}."
        );
        Console.WriteLine(
            "Unless Pakhouse:DataProtectionCertificateFile is set, its readers can forge tokens. Keep it as safe as the server itself."
        );
        return 0;
    }

    private static async Task<int> RestoreAsync(string[] settings, string folder, string? endedKeys, bool newSigningKey)
    {
        var options = PakhouseOptions.Read(Program.Configuration(settings));
        var manifest = await Backup.CheckAsync(folder);
        var ended = endedKeys is null ? null : EndedKeyFile.Read(endedKeys, manifest.State.NewestAt); // before anything is changed
        await Backup.PutBackAsync(folder, options, StorageCommands.ShowProgress);
        return await FinishAsync(settings, ended, newSigningKey);
    }

    private static async Task<int> FinishAsync(string[] settings, string? endedKeys, bool newSigningKey, bool isMoved)
    {
        if (isMoved && (endedKeys is not null || newSigningKey))
            throw new StartupException("--moved changes nothing but the place; give it alone.");
        if (isMoved)
        {
            await using var app = Program.Build(settings, acceptsPause: true);
            await app.Services.GetRequiredService<Restore>().MovedAsync();
            Console.WriteLine("The database is accepted as the newest state, at this location. Start the servers.");
            return 0;
        }

        DateTimeOffset? stateOf;
        await using (var database = Database.Of(PakhouseOptions.Read(Program.Configuration(settings))))
        {
            database.Prepare();
            stateOf = (await database.ReadAsync(connection => DatabaseState.ReadAsync(connection))).NewestAt;
        }

        return await FinishAsync(settings, endedKeys is null ? null : EndedKeyFile.Read(endedKeys, stateOf), newSigningKey);
    }

    private static async Task<int> FinishAsync(string[] settings, EndedKeyFile? ended, bool newSigningKey)
    {
        await using var app = Program.Build(settings, acceptsPause: true);
        var report = await app.Services.GetRequiredService<Restore>().FinishAsync(new RestoreOrder(ended?.KeyIds ?? [], newSigningKey));
        Console.WriteLine($"Made safe: {app.Services.GetRequiredService<Database>().DisplayName}");
        Console.WriteLine($"- Its newest record is of {report.StateOf:u}. Later changes are lost and unknown.");
        Console.WriteLine(
            $"- Keys created later are unknown and refused. Their entries in the status lists ({report.FirstUnknownIndex} to "
                + $"{report.NextIndex - 1}) are invalid, so APIs that check status refuse their tokens; the next key gets entry "
                + $"{report.NextIndex}."
        );
        var unknown = report.UnknownKeys > 0 ? $"; {report.UnknownKeys} of the file are unknown because they were created later" : "";
        Console.WriteLine($"- {report.EndedKeys} keys were ended again{unknown}.");
        var voided =
            report.Voided.Count == 0
                ? "nothing was there"
                : string.Join(", ", report.Voided.Select(table => $"{table.Table} ({table.Rows})"));
        Console.WriteLine(
            $"- Void: {voided}. People sign in again; invitations are sent again; recovery codes are made anew."
        );
        Console.WriteLine(
            report.SigningKeyId is { } id
                ? $"- Signing key {id} signs from now on; every other one is destroyed."
                : "- The signing keys are those of the back-up. If one of them has leaked since: signing-keys rotate --now."
        );
        Console.WriteLine();
        Console.WriteLine("Check these before you start the servers; only you can know:");
        if (ended?.OtherChanges is { Count: > 0 } others)
        {
            Console.WriteLine($"- {others.Count} other changes in the file were made later and are not repeated:");
            foreach (var change in others)
                Console.WriteLine($"    {change}");
        }
        else
        {
            Console.WriteLine("- Later removals of members and roles, disabled users and changed passwords are undone.");
        }

        Console.WriteLine(
            $"- {report.LivingKeys} keys work. Keys that were ended later and are not in a file you gave work again. End them with "
                + $"keys delete ID. The newest:"
        );
        foreach (var (keyId, name, organization) in report.NewestKeys)
            Console.WriteLine($"    {keyId}  {organization}: {name}");
        return 0;
    }

    private static async Task<int> AcceptClockAsync(string[] settings)
    {
        await using var database = Database.Of(PakhouseOptions.Read(Program.Configuration(settings)));
        if (database is PostgresDatabase)
            throw new StartupException("PostgreSQL's own clock decides. Set this machine's clock, or PostgreSQL's, right.");
        database.Prepare();
        var now = TimeProvider.System.GetUtcNow();
        await database.WriteSeenTimeAsync(now, accept: true);
        Console.WriteLine($"It is {now:u}. The server can be started.");
        return 0;
    }
}
