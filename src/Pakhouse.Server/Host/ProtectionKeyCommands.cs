using System.CommandLine;

namespace Pakhouse.Server;

/// <summary><c>protection-keys renew</c>.</summary>
internal static class ProtectionKeyCommands
{
    private const string Consequences = """
        This is for a flaw of ASP.NET Core's Data Protection, or for Data Protection keys that somebody has seen.
        Stop every server first. It will:
        - make a new Data Protection key;
        - encrypt with it the signing keys, second factors, webhook secrets and waiting mails;
        - end every session: people sign in again, and forms that are open are void;
        - destroy the old Data Protection keys. Earlier back-ups still contain them;
        - stop servers that still run, within seconds. What they write until then becomes unreadable.
        """;

    public static void Add(RootCommand root, string[] settings)
    {
        var protectionKeys = new Command(
            "protection-keys",
            "The keys of Data Protection, which encrypt what is stored and what browsers keep."
        );
        var yes = new Option<bool>("--yes") { Description = "do it" };
        var renew = new Command(
            "renew",
            "Destroy them, and encrypt everything with a new one; first prints the consequences. Stop every server first."
        )
        {
            yes,
        };
        renew.SetAction((parsed, _) => RenewAsync(settings, parsed.GetValue(yes)));
        protectionKeys.Add(renew);
        root.Add(protectionKeys);
    }

    private static async Task<int> RenewAsync(string[] settings, bool isMeant)
    {
        Console.WriteLine(Consequences);
        if (!isMeant) throw new StartupException("Nothing was changed. To do it: protection-keys renew --yes");
        await Commands.DemandDatabaseAsync(settings);
        await using var app = Program.Build(settings);
        var report = await app.Services.GetRequiredService<ProtectionRenewal>().RunAsync();
        Console.WriteLine($"Done: Data Protection key {report.KeyId} is the only one. {report.Sessions} sessions have ended.");
        foreach (var (what, rows, unreadable) in report.Columns)
        {
            var left = unreadable > 0 ? $"; {unreadable} were already unreadable and stay unchanged" : "";
            Console.WriteLine($"- {what}: {rows} encrypted anew{left}");
        }

        Console.WriteLine("If somebody could read the database, the signing keys are known too. Run signing-keys rotate --now");
        return 0;
    }
}
