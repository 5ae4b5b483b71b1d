using System.Diagnostics;

namespace Pakhouse.Server;

/// <summary>What people are written when a key of theirs has changed and they did not do it.</summary>
internal static class KeyMails
{
    private const int KeysShown = 100;

    /// <summary>A key made for less than this is not missed when it expires: its holder knows.</summary>
    private static readonly TimeSpan shortLife = TimeSpan.FromDays(1);

    /// <param name="keys">All of one person.</param>
    /// <param name="address">Of this server.</param>
    /// <returns>Null: there is nothing to say.</returns>
    public static MailContent? ToHolder(KeyCause cause, IReadOnlyList<MailedKey> keys, KeyFacts facts, string address, DateTimeOffset now) => cause switch
    {
        KeyCause.Leaked => Leaked(keys, facts, address),
        KeyCause.Frozen => Frozen(keys, facts, address, now),
        KeyCause.Expired => keys[0].ExpiresAt - keys[0].CreatedAt < shortLife ? null : Expired(keys[0], address),
        // Keys that had stopped by themselves are missed by nobody.
        KeyCause.MembershipEnded => MembershipEnded([.. keys.Where(key => !(key.ExpiresAt <= now) && !(key.OverlapEndsAt <= now))]),
        _ => Changed(cause, keys, facts, address),
    };

    /// <param name="keys">API keys of one organization.</param>
    public static MailContent? ToOwners(KeyCause cause, IReadOnlyList<MailedKey> keys, KeyFacts facts, string address) => cause switch
    {
        KeyCause.Leaked => Leaked(keys, facts, address),
        KeyCause.Expired => new($"API key “{MailContent.Unlinked(keys[0].Name)}” of {MailContent.Unlinked(keys[0].OrganizationName)} has expired",
            $"""
            The API key “{MailContent.Unlinked(keys[0].Name)}” ({keys[0].Id}) of {MailContent.Unlinked(keys[0].OrganizationName)} expired on {When.Exact(keys[0].ExpiresAt!.Value)}.
            {LastUse(keys[0])}

            The services that hold it get no tokens any more. If they are needed, create a new API key:
            {address}{Links.Security(keys[0].OrganizationId)}

            You get this message because you are an owner of {MailContent.Unlinked(keys[0].OrganizationName)}.
            """),
        _ => Changed(cause, keys, facts, address),
    };

    private static MailContent Changed(KeyCause cause, IReadOnlyList<MailedKey> keys, KeyFacts facts, string address)
    {
        var place = MailContent.Unlinked(facts.OrganizationName ?? keys[0].OrganizationName);
        var (what, by, then) = cause switch
        {
            KeyCause.DeletedByManager => ("deleted", $"An owner or manager of {place}", Gone),
            KeyCause.DeletedByOperator => ("deleted", "The operator of this server", Gone),
            KeyCause.RevokedWithSecret => ("deleted", "Somebody who holds the secret",
                $"If that was you or a program of yours, there is nothing to do. If not, somebody else had the secret: look at what it was used for.\n\n{Gone}"),
            KeyCause.SuspendedByManager => ("suspended", $"An owner or manager of {place}", "They get no tokens until they are resumed."),
            KeyCause.ResumedByManager => ("resumed", $"An owner or manager of {place}", "They work again."),
            _ => throw new UnreachableException($"{cause} sends no such mail."),
        };
        var whose = keys[0].IsPersonal ? ("key", "personal access keys of yours", " of yours") : ("API key", $"API keys of {place}", "");
        return new($"{place}: {When.Count(keys.Count, whose.Item1)}{whose.Item3} {(keys.Count == 1 ? "was" : "were")} {what}",
            $"""
            {by} {what} {whose.Item2}:

            {List(keys)}
            {then}

            {address}{Links.Security(keys[0].OrganizationId)}
            """);
    }

    private const string Gone = "They get no tokens any more, and this cannot be undone. Generate new ones where your programs still need them.";

    private static MailContent? MembershipEnded(IReadOnlyList<MailedKey> keys) => keys.Count == 0 ? null : new(
        $"{MailContent.Unlinked(keys[0].OrganizationName)}: your membership and {When.Count(keys.Count, "key")} of yours ended",
        $"""
        Hello {keys[0].UserName},

        your membership of {MailContent.Unlinked(keys[0].OrganizationName)} has ended, and with it your keys there:

        {List(keys)}
        Programs that hold them get no tokens any more, and this cannot be undone, not even by a new membership.
        """);

    private static MailContent Expired(MailedKey key, string address) => new($"Your key “{key.Name}” has expired",
        $"""
        Hello {key.UserName},

        your key “{key.Name}” ({key.Id}) in {key.OrganizationName} expired on {When.Exact(key.ExpiresAt!.Value)}.
        {LastUse(key)}

        Programs that still hold it get no tokens any more. If they are needed, generate a new key:

        {address}{Links.Security(key.OrganizationId)}
        """);

    private static MailContent? Frozen(IReadOnlyList<MailedKey> family, KeyFacts facts, string address, DateTimeOffset now)
    {
        if (family.FirstOrDefault(one => one.Id == facts.UsedKeyId) is not { OverlapEndsAt: { } ended } key) return null;
        var from = facts.Data.FirstOrDefault(item => item.Name == "address").Value ?? "an unknown address";
        // Not the user agent: it is the words of somebody unknown, and could be a link.
        return new($"Your key “{key.Name}” is frozen: an old copy of it was used",
            $"""
            Hello {key.UserName},

            your key “{key.Name}” ({key.Id}) in {key.OrganizationName} was rotated, and stopped on {When.Exact(ended)}. It was used after that, with its secret: on {When.Exact(now)}, from {from}.

            That is a program that still has the old key, or somebody who should not have it. Until you know which, the key and the one that replaced it are frozen: they get no tokens, and tokens got with them are revoked.

            If you know the program: give it the new key. An owner or organization manager of {key.OrganizationName} can then resume it.
            If you do not: delete both keys, generate a new one, and look at what the old one was used for:

            {address}{Links.Key(key.OrganizationId, key.Id)}
            """);
    }

    private static MailContent Leaked(IReadOnlyList<MailedKey> keys, KeyFacts facts, string address)
    {
        var each = keys.Select(key =>
            $"""
            {key.Name} ({key.Id})
              Organization: {key.OrganizationName}
              Found at:     {facts.FoundAt.GetValueOrDefault(key.Id) ?? "not told"}
              What it did:  {address}{Links.KeyChanges(key.OrganizationId, key.Id)}
              {address}{Links.Security(key.OrganizationId)}
            """);
        var (subject, what) = keys.Count == 1 ? ("A key leaked and was deleted", "A key") : ($"{keys.Count} keys leaked and were deleted", $"{keys.Count} keys");
        return new MailContent(subject,
            $"""
            {what} that you answer for got into other hands. Reported by: {facts.Reporter}.
            Whoever reported it had it whole, so it was deleted at once: it gets no token any more, and the programs that use it stop.

            {string.Join("\n\n", each)}

            What to do: generate another key, put it where this one was needed and nowhere else, and look at what this one was used for. Invitations that it sent are withdrawn; the page above takes back what else it gave.
            """);
    }

    private static string List(IReadOnlyList<MailedKey> keys) =>
        string.Concat(keys.Take(KeysShown).Select(key => $"- {MailContent.Unlinked(key.Name)} ({key.Id}). {LastUse(key)}\n"))
        + (keys.Count > KeysShown ? $"- and {keys.Count - KeysShown} more\n" : "");

    private static string LastUse(MailedKey key) => key.LastUsedAt is { } at
        ? $"It was last used on {When.Exact(at)}{(key.LastUsedAddress is { Length: > 0 } from ? $" from {from}" : "")}."
        : "It was never used.";
}
