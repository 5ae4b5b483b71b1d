using System.CommandLine;

namespace Pakhouse.Server;

/// <summary><c>signing-keys list</c>, <c>rotate</c>, <c>rotate --now</c> and <c>abandon</c>.</summary>
internal static class SigningKeyCommands
{
    private const string Consequences = """
        This is for a signing key that has leaked. It cannot be undone. It will:
        - sign with a new key at once, in every running server within seconds;
        - destroy every other signing key and take it out of the JWKS at once;
        - break every token that is in use: clients must exchange their keys again,
          and APIs refuse the new tokens until they fetch the JWKS again
          (most do so when they see an unknown key; some at intervals only);
        - not reach an API that keeps the old JWKS: it accepts tokens of the leaked key until it fetches the JWKS again. Restart such APIs.
        """;

    public static void Add(RootCommand root, string[] settings)
    {
        var signingKeys = new Command("signing-keys", "The keys that sign tokens.");
        var now = new Option<bool>("--now")
        {
            Description = "for a key that has leaked: sign with a new key at once and destroy all others; first prints the consequences",
        };
        var yes = new Option<bool>("--yes") { Description = "with --now: do it" };
        var rotate = new Command(
            "rotate",
            "Publish a successor of the current signing key. It signs after the publication time; running servers notice it."
        )
        {
            now,
            yes,
        };
        rotate.SetAction((parsed, _) => parsed.GetValue(now) ? RotateNowAsync(settings, parsed.GetValue(yes)) : RotateAsync(settings));
        var id = new Argument<string>("ID") { Description = "as signing-keys list shows it" };
        var abandon = new Command("abandon", "Destroy a signing key that does not sign yet.") { id };
        abandon.SetAction((parsed, _) => AbandonAsync(settings, parsed.GetRequiredValue(id)));
        var list = new Command("list", "Show the published signing keys and when each begins to sign.");
        list.SetAction((_, _) => ListAsync(settings));
        foreach (var command in (Command[])[rotate, abandon, list])
            signingKeys.Add(command);
        root.Add(signingKeys);
    }

    private static async Task<int> RotateAsync(string[] settings)
    {
        await Commands.DemandDatabaseAsync(settings);
        await using var app = Program.Build(settings);
        var keys = app.Services.GetRequiredService<SigningKeys>();
        await keys.RefreshAsync();
        var key = Require(await keys.RotateAsync(Actor.Operator));
        Console.WriteLine(
            $"Published {key.Public.Id} ({key.Public.Algorithm}). It signs from {key.ActivatesAt:u}; until then, and for the life of its "
                + $"tokens, the current key stays published."
        );
        return 0;
    }

    private static async Task<int> RotateNowAsync(string[] settings, bool isMeant)
    {
        Console.WriteLine(Consequences);
        if (!isMeant)
            throw new StartupException("Nothing was changed. To do it: signing-keys rotate --now --yes");
        await Commands.DemandDatabaseAsync(settings);
        await using var app = Program.Build(settings);
        var key = Require(await app.Services.GetRequiredService<SigningKeys>().RotateNowAsync(Actor.Operator));
        Console.WriteLine($"Done: {key.Public.Id} ({key.Public.Algorithm}) signs, and is the only key.");
        return 0;
    }

    private static async Task<int> AbandonAsync(string[] settings, string id)
    {
        await Commands.DemandDatabaseAsync(settings);
        await using var app = Program.Build(settings);
        Require(await app.Services.GetRequiredService<SigningKeys>().AbandonAsync(Actor.Operator, id));
        Console.WriteLine("The key is destroyed. It has signed nothing.");
        return 0;
    }

    private static async Task<int> ListAsync(string[] settings)
    {
        await Commands.DemandDatabaseAsync(settings);
        await using var app = Program.Build(settings);
        var keys = app.Services.GetRequiredService<SigningKeys>();
        await keys.LoadAsync();
        var current = keys.Published.Count == 0 ? null : keys.Current(app.Services.GetRequiredService<TimeProvider>().GetUtcNow());
        foreach (var key in keys.Published)
            Console.WriteLine(
                $"{key.Public.Id}  {key.Public.Algorithm}  signs from {key.ActivatesAt:u}{(key == current ? "  (signs now)" : "")}"
            );
        if (current is null)
            Console.WriteLine("There is no signing key yet. The first start of the server creates it.");
        return 0;
    }

    private static T Require<T>(Outcome<T> outcome) =>
        outcome.Refusal is { } refusal ? throw new StartupException(refusal.Description) : outcome.Value;
}
