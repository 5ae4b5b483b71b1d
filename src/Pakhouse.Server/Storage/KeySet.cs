using Dapper;

namespace Pakhouse.Server;

/// <summary>
/// Selects one key or many, as a condition on <c>access_keys k</c>. Each condition is a fixed text whose plan starts at an index: the cost
/// of a change depends on the number of changed keys, not of all keys. The text contains no values.
/// </summary>
internal sealed record KeySet(string Where, params (string Name, object Value)[] Values)
{
    public static KeySet Of(string keyId) => new("k.id = @keyId", ("@keyId", keyId));

    /// <param name="keyIds">One page at most, because each is a parameter.</param>
    public static KeySet Of(IReadOnlyList<string> keyIds) => new(
        // Written out, because the two databases pass lists differently.
        $"k.id IN ({string.Join(", ", keyIds.Select((_, i) => $"@k{i}"))})", [.. keyIds.Select((id, i) => ($"@k{i}", (object)id))]);

    /// <summary>A key, if it belongs to this membership.</summary>
    public static KeySet OfMembership(string keyId, Guid membershipId) =>
        new("k.id = @keyId AND k.membership_id = @membershipId", ("@keyId", keyId), ("@membershipId", membershipId));

    /// <summary>A personal key, if it belongs to this organization.</summary>
    public static KeySet OfMember(string keyId, Guid organizationId) => new(
        """
        k.id = @keyId AND k.kind = 'pak'
        AND EXISTS (SELECT 1 FROM memberships m WHERE m.id = k.membership_id AND m.organization_id = @organizationId AND m.ended_at IS NULL)
        """, ("@keyId", keyId), ("@organizationId", organizationId));

    public static KeySet OfMembership(Guid membershipId) => new("k.membership_id = @membershipId", ("@membershipId", membershipId));

    /// <summary>The keys of a person or a service whose memberships are still open.</summary>
    public static KeySet OfUser(Guid userId) =>
        new("k.membership_id IN (SELECT m.id FROM memberships m WHERE m.user_id = @userId AND m.ended_at IS NULL)", ("@userId", userId));

    /// <summary>The keys of an organization and its sub-organizations whose memberships are still open.</summary>
    public static KeySet OfOrganization(Guid organizationId) => new(
        """
        k.membership_id IN (
            SELECT m.id FROM memberships m WHERE m.ended_at IS NULL AND m.organization_id IN (
                SELECT id FROM organizations WHERE id = @organizationId
                UNION ALL SELECT id FROM organizations WHERE root_id = @organizationId))
        """, ("@organizationId", organizationId));

    /// <summary>Keys that followed one another by rotation.</summary>
    public static KeySet OfFamily(string familyId) => new("k.family_id = @familyId", ("@familyId", familyId));

    /// <summary>The earlier secrets of an API key.</summary>
    public static KeySet EarlierSecrets(Guid membershipId) =>
        new("k.membership_id = @membershipId AND k.successor_id IS NOT NULL", ("@membershipId", membershipId));

    /// <summary>The earlier secrets of the API keys whose current secret changed with this number.</summary>
    public static KeySet SecretsBeside(long version) => new(
        """
        k.membership_id IN (
            SELECT c.membership_id FROM access_keys c
            WHERE c.status_version > 0 AND c.status_version = @changed AND c.kind = 'oak' AND c.successor_id IS NULL)
        """, ("@changed", version));

    /// <summary>Replaced keys whose overlap has ended but whose entry does not show it yet, the oldest first.</summary>
    public static KeySet OverlapsOver(DateTimeOffset now, long limit) => new(
        """
        k.id IN (
            SELECT due.id FROM access_keys due
            WHERE due.overlap_ends_at IS NOT NULL AND due.overlap_ends_at <= @due AND due.status <> 1
            ORDER BY due.overlap_ends_at LIMIT @limit)
        """, ("@due", now), ("@limit", limit));

    /// <summary>The keys of one change; no two changes have the same number.</summary>
    public static KeySet ChangedBy(long version) => new("k.status_version > 0 AND k.status_version = @changed", ("@changed", version));

    /// <summary>The values of this set and further values.</summary>
    public DynamicParameters With(object others)
    {
        var parameters = new DynamicParameters(others);
        foreach (var (name, value) in Values) parameters.Add(name, value);
        return parameters;
    }
}
