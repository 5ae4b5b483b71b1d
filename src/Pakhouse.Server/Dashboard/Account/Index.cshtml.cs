using Microsoft.AspNetCore.Mvc;

namespace Pakhouse.Server;

/// <summary>Sign-in and sessions: all ways to sign in of a person, and where they are signed in now.</summary>
public sealed class AccountModel(
    Organizations organizations, SessionStore table, SecondFactor secondFactor, Passkeys passkeys, ProviderSubjects subjects, Users users,
    PakhouseOptions options, TimeProvider clock)
    : AccountPage(organizations)
{
    protected override bool NeedsFreshProof => false;

    public IReadOnlyList<Session> List { get; private set; } = [];

    public SecondFactorState SecondFactor { get; private set; } = null!;

    public IReadOnlyList<PasskeyEntry> Passkeys { get; private set; } = [];

    public bool HasPasskeys => passkeys.IsOn;

    public bool HasPassword { get; private set; }

    /// <summary>Null: no account of the identity provider signs the person in.</summary>
    public DateTimeOffset? ConnectedSince { get; private set; }

    public PakhouseOptions Options => options;

    public DateTimeOffset Now { get; } = clock.GetUtcNow();

    /// <summary>The last action, one of <see cref="notices"/>.</summary>
    [FromQuery(Name = "done")]
    public string? Done { get; set; }

    private static readonly Dictionary<string, string> notices = new(StringComparer.Ordinal)
    {
        ["session"] = "The session was ended.",
        ["sessions"] = "Every other session was ended.",
        ["password"] = "Your password was changed. Every other session was ended.",
        ["second-factor-removed"] = "The authenticator app was removed.",
        ["passkey-added"] = "The passkey was added.",
        ["disconnected"] = "The account of the identity provider was disconnected.",
        ["passkey-removed"] = "The passkey was removed.",
    };

    public string? Notice => notices.GetValueOrDefault(Done ?? "");

    public async Task OnGetAsync()
    {
        List = await table.ListAsync(Session.UserId);
        SecondFactor = await secondFactor.StateAsync(Session.UserId);
        Passkeys = await passkeys.ListAsync(Session.UserId);
        ConnectedSince = await subjects.ConnectedSinceAsync(Session.UserId);
        HasPassword = (await users.FindAsync(Session.UserId))?.PasswordHash is not null;
    }

    public async Task<IActionResult> OnPostEndAsync(Guid id)
    {
        var ended = await table.EndAsync(Actor, id, AuditAction.SessionEnd);
        return ended.Refusal is { } refused ? this.Refuse(refused) : this.SeeOther($"{Home}?done=session");
    }

    public async Task<IActionResult> OnPostEndOthersAsync()
    {
        var ended = await table.EndOthersAsync(Actor, Session.Id);
        return ended.Refusal is { } refused ? this.Refuse(refused) : this.SeeOther($"{Home}?done=sessions");
    }

    public async Task<IActionResult> OnPostDisconnectAsync()
    {
        var disconnected = await subjects.DisconnectAsync(Actor);
        return disconnected.Refusal is { } refused ? this.Refuse(refused) : this.SeeOther($"{Home}?done=disconnected");
    }

    /// <summary>"Firefox on Linux": the browser in a few words, from its user agent.</summary>
    public static string BrowserName(string userAgent)
    {
        // The order matters: each browser's user agent also names those after it.
        var browser = First(
            userAgent, ("Edg", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"),
            ("Safari/", "Safari"), ("curl/", "curl"));
        var system = First(
            userAgent, ("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Windows", "Windows"), ("Mac OS", "macOS"),
            ("CrOS", "ChromeOS"), ("Linux", "Linux"));
        return (browser, system) switch
        {
            (null, null) => "Unknown browser",
            (null, _) => system,
            (_, null) => browser,
            _ => $"{browser} on {system}",
        };
    }

    private static string? First(string text, params ReadOnlySpan<(string Sign, string Name)> known)
    {
        foreach (var (sign, name) in known)
            if (text.Contains(sign, StringComparison.Ordinal)) return name;
        return null;
    }
}
