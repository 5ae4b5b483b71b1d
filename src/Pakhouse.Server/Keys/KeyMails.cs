using System.Diagnostics;

namespace Pakhouse.Server;

/// <summary>The mails that people receive when somebody else has changed their keys.</summary>
/// <param name="By">The actor.</param>
internal sealed record KeyMails(KeyCause Cause, KeyRow Facts, MailText By, DateTimeOffset Now, PublicAddress Address)
{
    private const int KeysShown = 100;

    /// <summary>The holder of a key with a shorter lifetime than this knows that it expires, and gets no mail.</summary>
    private static readonly TimeSpan shortLife = TimeSpan.FromDays(1);

    /// <param name="keys">All keys belong to one person.</param>
    /// <returns>Null: there is nothing to report.</returns>
    public MailContent? ToHolder(IReadOnlyList<MailedKey> keys) =>
        Cause switch
        {
            KeyCause.Leaked => Leaked(keys),
            KeyCause.Frozen => Frozen(keys),
            KeyCause.Expired => keys[0].ExpiresAt - keys[0].CreatedAt < shortLife ? null : Expired(keys[0]),
            _ => Changed(keys),
        };

    /// <param name="keys">API keys of one organization.</param>
    public MailContent? ToOwners(IReadOnlyList<MailedKey> keys) =>
        Cause switch
        {
            KeyCause.Leaked => Leaked(keys),
            KeyCause.Expired => new(
                $"API key “{keys[0].Name}” of {keys[0].OrganizationName} has expired",
                $"""
                The API key “{keys[0].Name}” ({keys[0].Id}) of {keys[0].OrganizationName} expired on {keys[0].ExpiresAt!.Value}.
                {LastUse(keys[0])}

                The services that use it can no longer get tokens. If they are needed, create a new API key:
                {MailText.Link(Address, Links.Security(keys[0].OrganizationId))}

                You get this message because you are an owner of {keys[0].OrganizationName}.
                """
            ),
            _ => Changed(keys),
        };

    private MailContent Changed(IReadOnlyList<MailedKey> keys)
    {
        var place = Facts.OrganizationName ?? keys[0].OrganizationName;
        var manager = MailText.Of($"{By}, an owner or manager of {place},");
        var (what, by, then) = Cause switch
        {
            KeyCause.DeletedByManager => ("deleted", manager, MailText.Of($"{Gone}")),
            KeyCause.DeletedByOperator => ("deleted", MailText.Of($"The operator of this server"), MailText.Of($"{Gone}")),
            KeyCause.RevokedWithSecret => (
                "deleted",
                MailText.Of($"Somebody who holds the secret"),
                MailText.Of(
                    $"""
                    If that was you or a program of yours, do nothing. If not, somebody else had the secret: check what it was used for.

                    {Gone}
                    """
                )
            ),
            KeyCause.SuspendedByManager => ("suspended", manager, MailText.Of($"They cannot get tokens until they are resumed.")),
            KeyCause.ResumedByManager => ("resumed", manager, MailText.Of($"They work again.")),
            _ => throw new UnreachableException($"{Cause} sends no such mail."),
        };
        var whose = keys[0].IsPersonal ? ("key", "personal access keys of yours", " of yours") : ("API key", $"API keys of {place}", "");
        return new(
            $"{place}: {TimeText.Count(keys.Count, whose.Item1)}{whose.Item3} {(keys.Count == 1 ? "was" : "were")} {what}",
            $"""
            {by} {what} {whose.Item2} on {Now}:

            {List(keys)}
            {then}

            {MailText.Link(
                Address,
                keys.Count == 1 && keys[0].IsPersonal
                    ? Links.Key(keys[0].OrganizationId, keys[0].Id)
                    : Links.Security(keys[0].OrganizationId)
            )}
            """
        );
    }

    private const string Gone =
        "They can no longer get tokens, and this cannot be undone. Generate new ones where your programs still need them.";

    private MailContent Expired(MailedKey key) =>
        new(
            $"Your key “{key.Name}” has expired",
            $"""
            Hello {key.UserName},

            your key “{key.Name}” ({key.Id}) in {key.OrganizationName} expired on {key.ExpiresAt!.Value}.
            {LastUse(key)}

            Programs that still use it can no longer get tokens. If they are needed, generate a new key:

            {MailText.Link(Address, Links.Security(key.OrganizationId))}
            """
        );

    private MailContent? Frozen(IReadOnlyList<MailedKey> family)
    {
        if (family.FirstOrDefault(one => one.Id == Facts.UsedKeyId) is not { OverlapEndsAt: { } ended } key)
            return null;
        var from = Facts.Data.FirstOrDefault(item => item.Name == "address").Value?.ToString() ?? "an unknown address";
        // The user agent is left out: it is text from an unknown caller.
        return new(
            $"Your key “{key.Name}” is frozen: an old copy of it was used",
            $"""
            Hello {key.UserName},

            your key “{key.Name}” ({key.Id}) in {key.OrganizationName} was rotated, and stopped on {ended}. It was used after that, with its secret: on {Now}, from {MailText.Network(
                from
            )}.

            That is a program that still has the old key, or somebody who should not have it. Until you know which, the key and the one that replaced it are frozen: they get no tokens, and tokens got with them are revoked.

            If you know the program: give it the new key. An owner or organization manager of {key.OrganizationName} can then resume it.
            If you do not: delete both keys, generate a new one, and look at what the old one was used for:

            {MailText.Link(Address, Links.Key(key.OrganizationId, key.Id))}
            """
        );
    }

    private MailContent Leaked(IReadOnlyList<MailedKey> keys)
    {
        var each = keys.Select(key =>
            MailText.Of(
                $"""
                {key.Name} ({key.Id})
                  Organization: {key.OrganizationName}
                  Found at:     {Facts.FoundAt.GetValueOrDefault(key.Id) ?? "not told"}
                  What it did:  {MailText.Link(Address, Links.KeyChanges(key.OrganizationId, key.Id))}
                  {MailText.Link(Address, Links.Security(key.OrganizationId))}
                """
            )
        );
        var what = keys.Count == 1 ? "A key" : $"{keys.Count} keys";
        return new(
            $"{what} leaked and {(keys.Count == 1 ? "was" : "were")} deleted",
            $"""
            {what} that you are responsible for leaked. Reported by: {Facts.Reporter}.
            Whoever reported it had it whole, so it was deleted at once: it gets no token any more, and the programs that use it stop.

            {MailText.Join("\n\n", each)}

            What to do: generate another key, put it where this one was needed and nowhere else, and look at what this one was used for. Invitations that it sent are withdrawn; the page above takes back what else it gave.
            """
        );
    }

    /// <summary>A line for each.</summary>
    public static MailText List(IReadOnlyList<MailedKey> keys)
    {
        var lines = MailText.Join("", keys.Take(KeysShown).Select(key => MailText.Of($"- {key.Name} ({key.Id}). {LastUse(key)}\n")));
        return keys.Count > KeysShown ? MailText.Of($"{lines}- and {keys.Count - KeysShown} more\n") : lines;
    }

    private static MailText LastUse(MailedKey key) => LastUse(key.LastUsedAt, key.LastUsedAddress);

    public static MailText LastUse(DateTimeOffset? at, string? address)
    {
        if (at is not { } time)
            return MailText.Of($"It was never used.");
        return address is { Length: > 0 }
            ? MailText.Of($"It was last used on {time} from {MailText.Network(address)}.")
            : MailText.Of($"It was last used on {time}.");
    }
}
