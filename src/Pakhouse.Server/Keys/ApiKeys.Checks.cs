using System.Data.Common;
using Dapper;

namespace Pakhouse.Server;

/// <summary>The rules for an API key's name, roles, scopes and lifetime.</summary>
public sealed partial class ApiKeys
{
    private static readonly Refusal ownerOnly = Refusal.At(
        "roles",
        RefusalCode.AccessDenied,
        "only an owner can give an API key the role owner, or change a key that has it.",
        "owner to an API key by no owner (R8)"
    );
    private static readonly Refusal nameTaken = Refusal.At(
        "name",
        RefusalCode.Conflict,
        "another API key of this organization has this name; choose a different one.",
        "API key name taken"
    );

    private static bool IsAsItIs(ApiKeyEntry key, string? name, IEnumerable<ApiKeyRoles>? roles) =>
        (name is null || name == key.Name)
        && (
            roles is null
            || roles.ToList() is var wanted
                && wanted.Count == key.Roles.Count
                && wanted.TrueForAll(one =>
                    key.Roles.Any(held => held.OrganizationId == one.OrganizationId && held.Roles.SetEquals(one.Roles))
                )
        );

    private static TimeSpan Shorter(TimeSpan lifetime, TimeSpan? max) => max < lifetime ? max.Value : lifetime;

    private static Refusal? CheckExpiry(DateTimeOffset? expiresAt, DateTimeOffset now) =>
        expiresAt <= now || expiresAt > now + LifetimeMax
            ? Refusal.At("expiry", RefusalCode.InvalidRequest, "choose a time in the future, at most a year ahead.", "expiry out of bounds")
            : null;

    private async Task<Refusal?> CheckRolesAsync(DbTransaction transaction, OrganizationAccess access, IReadOnlyList<ApiKeyRoles> roles)
    {
        if (roles.Select(one => one.OrganizationId).Distinct().Count() != roles.Count)
            return Refusal.At("roles", RefusalCode.InvalidRequest, "an organization is named twice.", "organization twice");
        foreach (var (organizationId, held) in roles)
        {
            if (options.Roles.Check(held, NameSet.Empty) is { } refusal)
                return refusal;
            if (held.Contains(BuiltInRoles.Owner) && !Permissions.MayGrantOwner(access))
                return ownerOnly;
            if (organizationId == access.OrganizationId)
                continue;
            // For a root, only its sub-organizations. Every other id gets the same response (R9).
            if (
                await transaction.Connection!.ExecuteScalarAsync<long>(
                    "SELECT COUNT(*) FROM organizations WHERE id = @organizationId AND root_id = @home AND deleted_at IS NULL",
                    new { organizationId, home = access.OrganizationId },
                    transaction
                ) == 0
            )
                return Refusal.At(
                    "roles",
                    RefusalCode.InvalidRequest,
                    "an API key reaches its own organization and, from a root, its sub-organizations; one that you named is "
                        + "neither.",
                    "roles elsewhere"
                );
        }

        return null;
    }

    private static async Task<Outcome<string>> CheckNameAsync(DbTransaction transaction, Guid organizationId, string name, Guid except)
    {
        if (Checks.Name(name, "name", Keys.NameLengthMax, out name) is { } refusal)
            return refusal;
        return await ApiKeyRows.IsNameTakenAsync(transaction, organizationId, name, except) ? nameTaken : name;
    }

    private static bool IsOwner(ApiKeyEntry key) => key.Roles.Any(one => one.Roles.Contains(BuiltInRoles.Owner));

    private static IEnumerable<ApiKeyRoles> WithHome(Guid organizationId, IReadOnlyList<ApiKeyRoles> roles) =>
        roles.Any(one => one.OrganizationId == organizationId) ? roles : roles.Prepend(new ApiKeyRoles(organizationId, NameSet.Empty));

    private static string Describe(IReadOnlyList<ApiKeyRoles> roles) =>
        string.Join("; ", roles.Select(one => $"{one.OrganizationId}: {one.Roles}"));
}
