using System.Data.Common;

namespace Pakhouse.Server;

/// <summary>
/// Who sent each part of an invitation, and whether they could still send it, because authority ends with its grantor. When a sender is
/// removed, demoted or disabled, or a key has ended, expired, was suspended or narrowed, what they sent cannot be accepted from that
/// instant.
/// </summary>
public sealed class Senders(KeyExchange exchange, TimeProvider clock)
{
    /// <summary>Returns the invitation with the parts that may be accepted now; null: there are none.</summary>
    public async Task<Invitation?> KeepValidAsync(DbConnection connection, DbTransaction? transaction, Invitation invitation)
    {
        var kept = new List<OrganizationRoles>();
        foreach (var part in invitation.OrganizationsAndRoles)
            if (await MayGiveAsync(connection, transaction, part)) kept.Add(part);
        return kept.Count == 0 ? null : invitation with { OrganizationsAndRoles = kept };
    }

    private async Task<bool> MayGiveAsync(DbConnection connection, DbTransaction? transaction, OrganizationRoles part)
    {
        if (await FindAsync(connection, transaction, part) is not { } sender) return false;
        var access = await Guard.AuthorizeAsync(connection, transaction, sender, Permission.InviteMember, part.OrganizationId);
        return !access.IsRefused
            && await Grants.ToNewAsync(connection, transaction, sender, access.Value, part.Roles, clock.GetUtcNow()) is null;
    }

    /// <summary>Returns the sender with the access of today; null: the sender has no access any more.</summary>
    private async Task<Actor?> FindAsync(DbConnection connection, DbTransaction? transaction, OrganizationRoles part)
    {
        if (part.InvitedBy is not { } userId)
            return part.KeyId is null ? Actor.Operator : null;
        if (part.KeyId is not { } keyId)
            return Actor.Session(userId);
        KeySnapshot? found = null;
        await foreach (
            var key in KeySnapshots.ReadAsync(connection, transaction, "SELECT id FROM access_keys WHERE id = @keyId", new { keyId })
        )
            found = key;
        // Evaluated like an exchange from any network: networks are checked when a key is used, and it is not used now.
        if (found is null)
            return null;
        var granted = exchange.Evaluate(keyId, found.Facts, null, ScopeRequest.Everything, address: null, clock.GetUtcNow());
        if (granted.IsRefused)
            return null;
        var boundTo = Guid.Parse(found.Facts.OrganizationId);
        return found.Facts.UserId != userId.ToString() ? null
            : found.IsPerson ? Actor.Key(userId, keyId, granted.Value.Scopes, boundTo)
            : Actor.ApiKey(userId, keyId, granted.Value.Scopes, boundTo);
    }
}
