using System.Data.Common;

namespace Pakhouse.Server;

/// <summary>
/// The only place that decides which roles a caller may grant and remove. It is called after <see cref="Guard"/>: for invitations when they
/// are sent, sent again, changed and accepted, and for memberships when they are added, changed and removed.
/// <para>Invariant: a key never grants authority that outlives the key (R7), unless the policy allows it. Only an owner grants and removes
/// <c>owner</c> (R8).</para>
/// </summary>
public static class Grants
{
    private static readonly Refusal ownerOnly = new(
        RefusalCode.AccessDenied,
        "Only an owner can grant or remove the role owner. Ask one of the organization's owners.",
        "owner granted or removed by no owner (R8)"
    );

    private static readonly Refusal notWithKey = Refusal.At(
        "roles",
        RefusalCode.AccessDenied,
        $"a key cannot grant or remove {string.Join(", ", BuiltInRoles.All)}, or remove a member who holds one: sign in to the "
        + $"dashboard. "
            + "An owner can change this in the policy (keysMayGrant).",
        "authority granted or removed with a key (R7)"
    );

    private static readonly Refusal nothingWithKey = new(
        RefusalCode.AccessDenied,
        "The policy does not allow keys to grant roles. Sign in to the dashboard. An owner can change this in the policy "
            + "(keysMayGrant).",
        "granted with a key (keysMayGrant = none)"
    );

    /// <summary>The reason to refuse a new membership or an invitation to one; null: none.</summary>
    public static Task<Refusal?> ToNewAsync(
        DbConnection connection,
        DbTransaction? transaction,
        Actor actor,
        OrganizationAccess access,
        NameSet roles,
        DateTimeOffset now
    ) => CheckAsync(connection, transaction, actor, access, roles, isGift: true, now);

    /// <summary>The reason to refuse other roles for a member; null: none.</summary>
    public static Task<Refusal?> ToChangeAsync(
        DbTransaction transaction,
        Actor actor,
        OrganizationAccess access,
        NameSet held,
        NameSet wanted,
        DateTimeOffset now
    ) =>
        CheckAsync(
            transaction.Connection!,
            transaction,
            actor,
            access,
            NameSet.Of(held.Except(wanted).Concat(wanted.Except(held))),
            !wanted.IsSubsetOf(held),
            now
        );

    /// <summary>The reason to refuse the end of a membership; null: none.</summary>
    /// <param name="inherited">The member's roles in the root: a key cannot remove a member who has authority there.</param>
    public static async Task<Refusal?> ToRemoveAsync(
        DbTransaction transaction,
        Actor actor,
        OrganizationAccess access,
        NameSet held,
        NameSet inherited,
        DateTimeOffset now
    ) =>
        OwnerNeeded(access, held)
        ?? await CheckKeyAsync(transaction.Connection!, transaction, actor, access, held.Union(inherited), isGift: false, now);

    private static async Task<Refusal?> CheckAsync(
        DbConnection connection,
        DbTransaction? transaction,
        Actor actor,
        OrganizationAccess access,
        NameSet changed,
        bool isGift,
        DateTimeOffset now
    ) => OwnerNeeded(access, changed) ?? await CheckKeyAsync(connection, transaction, actor, access, changed, isGift, now);

    private static Refusal? OwnerNeeded(OrganizationAccess access, NameSet changed) =>
        changed.Contains(BuiltInRoles.Owner) && !Permissions.MayGrantOwner(access) ? ownerOnly : null;

    /// <param name="changed">The roles that a member gets or loses.</param>
    /// <param name="isGift">The member has more than before.</param>
    private static async Task<Refusal?> CheckKeyAsync(
        DbConnection connection,
        DbTransaction? transaction,
        Actor actor,
        OrganizationAccess access,
        NameSet changed,
        bool isGift,
        DateTimeOffset now
    )
    {
        if (actor.Credential is Credential.Session or Credential.Operator)
            return null;
        var isAuthority = changed.Any(Permissions.IsAuthority);
        if (!isAuthority && !isGift)
            return null;
        var rule =
            (await StoredPolicy.TimelineAsync(connection, transaction, access.OrganizationId)).At(now).KeysMayGrant
            ?? KeysMayGrant.PlatformRoles;
        return rule switch
        {
            KeysMayGrant.All => null,
            KeysMayGrant.PlatformRoles => isAuthority ? notWithKey : null,
            KeysMayGrant.None => isGift ? nothingWithKey : notWithKey,
        };
    }
}
