using System.Data.Common;
using Dapper;

namespace Pakhouse.Server;

/// <summary>What a key changed in one organization. Values of <c>change</c> in the webhook message are never renamed.</summary>
/// <param name="Person">A name, or an address.</param>
/// <param name="UserId">Null: an invited address, which may have no account.</param>
internal sealed record KeyChange(
    Guid OrganizationId,
    string Change,
    string Person,
    Guid? UserId,
    Guid? InvitationId,
    NameSet Before,
    NameSet After
)
{
    public const string Invited = "invited",
        InvitationChanged = "invitation_changed",
        InvitationWithdrawn = "invitation_withdrawn",
        Accepted = "invitation_accepted";
    public const string Added = "added",
        Removed = "removed",
        RolesChanged = "roles_changed";

    public MailText Words =>
        Change switch
        {
            Invited => MailText.Of($"invited {Person} ({Roles(After)})"),
            InvitationChanged => MailText.Of($"changed the invitation of {Person} ({Roles(Before)} → {Roles(After)})"),
            InvitationWithdrawn => MailText.Of($"withdrew the invitation of {Person}"),
            Accepted => MailText.Of($"made {Person} a member ({Roles(After)}): its invitation was accepted"),
            Added => MailText.Of($"made {Person} a member ({Roles(After)})"),
            Removed => MailText.Of($"removed {Person} ({Roles(Before)})"),
            _ => MailText.Of($"changed the roles of {Person} ({Roles(Before)} → {Roles(After)})"),
        };

    internal static string Roles(NameSet roles) => roles.Count == 0 ? "no roles" : string.Join(", ", roles);
}

/// <summary>
/// Notifies owners of every membership that a key changed, by mail and webhook, in the change's own transaction. The audit record has its
/// own row.
/// </summary>
public sealed class KeyNotices(Mails mails, PublicAddress address, TimeProvider clock)
{
    /// <param name="keyId">Null: no key made the change, and nobody is notified.</param>
    internal async Task WriteAsync(DbTransaction transaction, string? keyId, params IReadOnlyList<KeyChange> changes)
    {
        if (keyId is null)
            return;
        var key =
            await transaction.Connection!.QuerySingleOrDefaultAsync<Key>(
                """
                SELECT k.name, u.name AS user_name, u.kind AS user_kind FROM access_keys k
                JOIN memberships m ON m.id = k.membership_id JOIN users u ON u.id = m.user_id WHERE k.id = @keyId
                """,
                new { keyId },
                transaction
            ) ?? new Key();
        var lines = new Dictionary<string, List<(Guid Organization, MailText Line)>>(StringComparer.Ordinal);
        foreach (var change in changes)
        {
            await Events.WriteAsync(
                transaction,
                clock,
                EventTypes.MembershipChangedByKey,
                change.OrganizationId,
                ("keyId", keyId),
                ("keyName", key.Name),
                ("change", change.Change),
                ("organizationId", change.OrganizationId),
                ("userId", change.UserId),
                ("invitationId", change.InvitationId),
                ("rolesBefore", change.Before.ToString()),
                ("roles", change.After.ToString())
            );
            var place = await transaction.Connection!.QuerySingleAsync<string>(
                "SELECT name FROM organizations WHERE id = @OrganizationId",
                new { change.OrganizationId },
                transaction
            );
            foreach (var owner in await Owners.EmailsAsync(transaction, change.OrganizationId))
            {
                if (!lines.TryGetValue(owner, out var list))
                    lines[owner] = list = [];
                list.Add((change.OrganizationId, MailText.Of($"- {place}: {change.Words}")));
            }
        }

        foreach (var (owner, list) in lines)
            await mails.EnqueueAsync(transaction, owner, Mail(keyId, key, list));
    }

    private MailContent Mail(string keyId, Key key, List<(Guid Organization, MailText Line)> changes) =>
        new(
            $"A key changed memberships: “{key.Name}”",
            $"""
            The {(key.UserKind == "service" ? "API key" : "personal access key")} “{key.Name}” ({keyId}){(
                key.UserKind == "person" ? MailText.Of($" of {key.UserName}") : null
            )} did this:

            {MailText.Join("\n", changes.Select(change => change.Line))}

            If a program of yours does this, there is nothing to do. If not, somebody may have found the key: delete it. This page lists all that it did, and takes back what it gave:

            {MailText.Link(address, Links.KeyChanges(changes[0].Organization, keyId))}
            """
        );

    private sealed record Key
    {
        public string Name { get; init; } = "";
        public string UserName { get; init; } = "";
        public string UserKind { get; init; } = "";
    }
}
