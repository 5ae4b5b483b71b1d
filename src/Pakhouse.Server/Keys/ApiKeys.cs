using System.Data.Common;
using Dapper;

namespace Pakhouse.Server;

/// <summary>
/// API keys belong to an organization, not to a person, and are for services. An API key is a service user with a membership in each
/// organization that its roles name, and a key that belongs to the membership in its home organization. So its format, hash, exchange,
/// roles (R1) and end (R5) work like those of every other key.
/// <para>Invariant: an API key may do only what the person who creates or changes it could do at that moment; only an owner can give it
/// <c>owner</c> (R8).</para>
/// </summary>
public sealed partial class ApiKeys(Database database, PakhouseOptions options, KeyLifecycle lifecycle, TimeProvider clock)
{
    public static readonly TimeSpan LifetimeDefault = TimeSpan.FromDays(183);
    public static readonly TimeSpan LifetimeMax = TimeSpan.FromDays(366);

    /// <summary>The longest time that an earlier secret can keep working after a rotation.</summary>
    public static readonly TimeSpan OverlapMax = TimeSpan.FromDays(30);

    internal static readonly Refusal NoSuchKey = new(
        RefusalCode.NotFound,
        "There is no such API key in this organization; it may have been deleted already.",
        "no such API key"
    );

    /// <summary>Creates an API key. Only this response and that of <see cref="RotateAsync"/> contain a secret.</summary>
    /// <returns>The key; <see cref="RefusalCode.Conflict"/> when the id was used before, because the same form was sent again.</returns>
    public Task<Outcome<PersonalAccessKey>> CreateAsync(Actor actor, Guid organizationId, NewApiKey wanted) =>
        database.ChangeAsync<PersonalAccessKey>(async transaction =>
        {
            var access = await Guard.AuthorizeAsync(transaction, actor, Permission.CreateApiKey, organizationId);
            if (access.Refusal is { } refused)
                return refused;
            var now = clock.GetUtcNow();
            if (!KeyFormat.IsId(wanted.Id))
                return Refusal.At("id", RefusalCode.InvalidRequest, "16 characters of base62 were expected.", "key id out of grammar");
            if (CheckExpiry(wanted.ExpiresAt, now) is { } badExpiry)
                return badExpiry;
            if (wanted.Scopes is { IsAll: false, Count: 0 })
                return KeyEndpoints.NoScopes;
            if (!wanted.Scopes.IsAll && !wanted.Scopes.IsSubsetOf(options.Scopes))
                return Refusal.At("scopes", RefusalCode.InvalidScope, $"choose from {options.Scopes}.", "scope not in the catalogue");
            var policy = (await StoredPolicy.TimelineAsync(transaction.Connection!, transaction, organizationId)).Strictest(now);
            var expiresAt = wanted.ExpiresAt ?? now + Shorter(LifetimeDefault, policy.LifetimeMax);
            if (policy.Forbids(expiresAt, wanted.Scopes, now, roles: null) is { } forbidden)
                return forbidden;
            if (await CheckRolesAsync(transaction, access.Value, wanted.Roles) is { } badRoles)
                return badRoles;
            var name = await CheckNameAsync(transaction, organizationId, wanted.Name, except: Guid.Empty);
            if (name.Refusal is { } badName)
                return badName;

            var connection = transaction.Connection!;
            if (
                await connection.ExecuteScalarAsync<long>("SELECT COUNT(*) FROM access_keys WHERE id = @Id", new { wanted.Id }, transaction)
                > 0
            )
                return Keys.DuplicateId;
            var living = await connection.ExecuteScalarAsync<long>(
                "SELECT COUNT(*) FROM access_keys k JOIN memberships m ON m.id = k.membership_id WHERE m.organization_id = "
                    + "@organizationId AND m.ended_at IS NULL AND k.kind = 'oak' AND k.deleted_at IS NULL",
                new { organizationId },
                transaction
            );
            if (living >= options.ApiKeysMax)
                return new Refusal(
                    RefusalCode.Conflict,
                    $"This organization has {options.ApiKeysMax} API keys, which is the limit. Delete one that is no longer used.",
                    "ApiKeysMax"
                );

            var userId = Ids.New(clock);
            await connection.ExecuteAsync(
                "INSERT INTO users (id, kind, email, email_normalized, name, security_stamp, created_at) VALUES (@userId, 'service', '', "
                    + "'', @name, '', @now)",
                new
                {
                    userId,
                    name = name.Value,
                    now,
                },
                transaction
            );
            var home = Guid.Empty;
            foreach (var (inOrganization, roles) in WithHome(organizationId, wanted.Roles))
            {
                var membershipId = await Memberships.InsertAsync(transaction, clock, inOrganization, userId, roles);
                if (inOrganization == organizationId)
                    home = membershipId;
            }

            var key = PersonalAccessKey.Generate(options.Brand, wanted.Id, KeyKind.Organization);
            var row = new NewKeyRow(key.Id, KeyKind.Organization, home, name.Value, key.Hash(), wanted.Scopes, expiresAt)
            {
                CreatedBy = actor.UserId,
            };
            await lifecycle.CreateAsync(transaction, actor, row, new() { Detail = Describe(wanted.Roles) });
            return key;
        });

    /// <summary>Returns the API keys whose home is this organization, by name.</summary>
    public Task<Outcome<IReadOnlyList<ApiKeyEntry>>> ListAsync(Actor actor, Guid organizationId) =>
        database.ReadAsync<Outcome<IReadOnlyList<ApiKeyEntry>>>(async connection =>
        {
            var access = await Guard.AuthorizeAsync(connection, null, actor, Permission.ListApiKeys, organizationId);
            if (access.Refusal is { } refused)
                return refused;
            return await ApiKeyRows.ReadAsync(connection, null, organizationId, keyId: "");
        });

    /// <summary>Changes the name or the roles of an API key.</summary>
    /// <param name="name">Null: unchanged.</param>
    /// <param name="roles">Null: unchanged.</param>
    public Task<Outcome<bool>> ChangeAsync(
        Actor actor,
        Guid organizationId,
        string keyId,
        string? name,
        IReadOnlyList<ApiKeyRoles>? roles
    ) =>
        database.ChangeAsync<bool>(async transaction =>
        {
            var access = await Guard.AuthorizeAsync(transaction, actor, Permission.ChangeApiKey, organizationId);
            if (access.Refusal is { } refused)
                return refused;
            var found = await ApiKeyRows.FindAsync(transaction, organizationId, keyId);
            if (found.Refusal is { } unknown)
                return unknown;
            var key = found.Value;
            if (IsOwner(key) && !Permissions.MayGrantOwner(access.Value))
                return ownerOnly;
            if (IsAsItIs(key, name, roles is null ? null : WithHome(organizationId, roles)))
                return true; // unchanged

            var connection = transaction.Connection!;
            if (name is not null)
            {
                var wanted = await CheckNameAsync(transaction, organizationId, name, except: key.UserId);
                if (wanted.Refusal is { } badName)
                    return badName;
                await connection.ExecuteAsync(
                    "UPDATE users SET name = @name WHERE id = @UserId",
                    new { name = wanted.Value, key.UserId },
                    transaction
                );
                await KeyLifecycle.RenameAsync(transaction, key.UserId, wanted.Value);
            }

            if (roles is not null)
            {
                if (await CheckRolesAsync(transaction, access.Value, roles) is { } badRoles)
                    return badRoles;
                var wanted = WithHome(organizationId, roles).ToList();
                foreach (var gone in key.Roles.Where(held => wanted.All(one => one.OrganizationId != held.OrganizationId)))
                    await connection.ExecuteAsync(
                        "UPDATE memberships SET ended_at = @at WHERE user_id = @UserId AND organization_id = @OrganizationId AND ended_at "
                            + "IS NULL",
                        new
                        {
                            key.UserId,
                            gone.OrganizationId,
                            at = clock.GetUtcNow(),
                        },
                        transaction
                    );
                foreach (var one in wanted)
                    if (
                        await connection.ExecuteAsync(
                            "UPDATE memberships SET roles = @Roles WHERE user_id = @UserId AND organization_id = @OrganizationId AND "
                                + "ended_at IS NULL",
                            new
                            {
                                one.Roles,
                                key.UserId,
                                one.OrganizationId,
                            },
                            transaction
                        ) == 0
                    )
                        await Memberships.InsertAsync(transaction, clock, one.OrganizationId, key.UserId, one.Roles);
            }

            await ActivityLog.WriteAsync(
                transaction,
                clock,
                actor,
                AuditAction.ApiKeyUpdate,
                organizationId,
                keyId,
                detail: roles is null ? null : Describe(roles)
            );
            return true;
        });

    /// <summary>
    /// Gives an API key a new secret with the same name, roles and scopes. The earlier secret keeps working for the overlap, but never
    /// beyond its own expiry.
    /// </summary>
    /// <param name="newId">The id that was generated when the form was shown.</param>
    /// <param name="overlap">From zero, which ends the earlier secret at once, to <see cref="OverlapMax"/>.</param>
    public Task<Outcome<PersonalAccessKey>> RotateAsync(Actor actor, Guid organizationId, string keyId, string newId, TimeSpan overlap) =>
        database.ChangeAsync<PersonalAccessKey>(async transaction =>
        {
            var access = await Guard.AuthorizeAsync(transaction, actor, Permission.RotateApiKey, organizationId);
            if (access.Refusal is { } refused)
                return refused;
            if (!KeyFormat.IsId(newId))
                return Refusal.At("id", RefusalCode.InvalidRequest, "16 characters of base62 were expected.", "key id out of grammar");
            if (overlap < TimeSpan.Zero || overlap > OverlapMax)
                return Refusal.At(
                    "overlap",
                    RefusalCode.InvalidRequest,
                    $"choose 0 to {OverlapMax.TotalDays} days.",
                    "overlap out of bounds"
                );

            var connection = transaction.Connection!;
            if (
                await connection.ExecuteScalarAsync<long>("SELECT COUNT(*) FROM access_keys WHERE id = @newId", new { newId }, transaction)
                > 0
            )
                return Keys.DuplicateId;
            var found = await ApiKeyRows.FindAsync(transaction, organizationId, keyId);
            if (found.Refusal is { } unknown)
                return unknown;
            var old = found.Value;
            if (IsOwner(old) && !Permissions.MayGrantOwner(access.Value))
                return ownerOnly;
            if (old.SuspendedAt is not null)
                return new Refusal(
                    RefusalCode.Conflict,
                    "This API key is suspended. Resume it first: its new secret would not be suspended.",
                    "rotation of a suspended key"
                );

            var (now, lifetime) = (clock.GetUtcNow(), old.ExpiresAt - old.CreatedAt);
            var row = await connection.QuerySingleAsync<(Guid MembershipId, string? FamilyId)>(
                "SELECT membership_id, family_id FROM access_keys WHERE id = @keyId",
                new { keyId },
                transaction
            );
            // Only one earlier secret works at a time: the one that an earlier rotation left ends now.
            await lifecycle.EndAsync(transaction, actor, KeyCause.Replaced, KeySet.EarlierSecrets(row.MembershipId));
            var policy = (await StoredPolicy.TimelineAsync(connection, transaction, organizationId)).Strictest(now);
            var key = PersonalAccessKey.Generate(options.Brand, newId, KeyKind.Organization);
            var expiresAt = now + Shorter(lifetime, policy.LifetimeMax);
            var successor = new NewKeyRow(key.Id, KeyKind.Organization, row.MembershipId, old.Name, key.Hash(), old.Scopes, expiresAt)
            {
                CreatedBy = actor.UserId,
                FamilyId = row.FamilyId ?? keyId,
            };
            await lifecycle.ReplaceAsync(transaction, actor, keyId, successor, now + overlap);
            return key;
        });

    /// <summary>
    /// Ends an API key with all its secrets. After this has returned, every new exchange is refused (R5).
    /// </summary>
    public Task<Outcome<bool>> DeleteAsync(Actor actor, Guid organizationId, string keyId) =>
        database.ChangeAsync<bool>(async transaction =>
        {
            var access = await Guard.AuthorizeAsync(transaction, actor, Permission.DeleteApiKey, organizationId);
            if (access.Refusal is { } refused)
                return refused;
            var found = await ApiKeyRows.FindAsync(transaction, organizationId, keyId);
            if (found.Refusal is { } unknown)
                return unknown;
            await lifecycle.EndAsync(transaction, actor, KeyCause.DeletedByManager, KeySet.Of(keyId));
            return true;
        });
}
