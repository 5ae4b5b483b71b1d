using System.Data.Common;
using System.Text;
using Dapper;

namespace Pakhouse.Server;

/// <summary>A person as seen from one organization.</summary>
public sealed record Member
{
    public Guid UserId { get; init; }
    public string Name { get; init; } = "";
    public string Email { get; init; } = "";

    public bool IsDisabled { get; init; }

    /// <summary>Null: the person is not a direct member of the organization.</summary>
    public Guid? MembershipId { get; init; }

    /// <summary>Seen from a root: the person is only in one of its sub-organizations.</summary>
    public bool IsOnlyInSubOrganization { get; init; }

    /// <summary>The roles in this organization itself.</summary>
    public NameSet Roles { get; init; } = NameSet.Empty;

    /// <summary>The roles in the root, seen from a sub-organization.</summary>
    public NameSet InheritedRoles { get; init; } = NameSet.Empty;

    /// <summary>Seen from a sub-organization: the person is only in its root.</summary>
    public bool IsInherited => MembershipId is null && !IsOnlyInSubOrganization;

    /// <summary>The effective roles (R1).</summary>
    public NameSet EffectiveRoles => Roles.Union(InheritedRoles);
}

/// <param name="Next">The value that requests the next page; null: this is the last page.</param>
public sealed record MemberPage(IReadOnlyList<Member> Members, Guid? Next);

/// <summary>Finds people from the point of view of an organization: the SQL behind lists, pages and searches.</summary>
internal static class MemberRows
{
    private const int SearchWordsMax = 5;

    private const string Columns = """
        SELECT u.id AS user_id, u.name, u.email, CASE WHEN u.disabled_at IS NULL THEN 0 ELSE 1 END AS is_disabled, m.id AS membership_id,
               COALESCE(m.roles, '') AS roles, COALESCE(rm.roles, '') AS inherited_roles,
                   CASE WHEN m.id IS NULL AND rm.id IS NULL THEN 1 ELSE 0 END AS is_only_in_sub_organization
        """;

    private const string Joins =
        """
        LEFT JOIN memberships m ON m.user_id = u.id AND m.organization_id = @organizationId AND m.ended_at IS NULL
        LEFT JOIN memberships rm ON rm.user_id = u.id AND rm.organization_id = @rootId AND rm.ended_at IS NULL
        """;

    /// <param name="anybody">Also a person who is in none of these organizations.</param>
    public static Task<Member?> FindAsync(
        DbConnection connection,
        DbTransaction? transaction,
        OrganizationAccess access,
        Guid userId,
        bool anybody
    ) =>
        connection.QuerySingleOrDefaultAsync<Member>(
            $"""
            {Columns}
            FROM users u {Joins}
            WHERE u.id = @userId AND u.kind = 'person' AND u.deleted_at IS NULL AND (@anybody = 1 OR m.id IS NOT NULL OR rm.id IS NOT NULL
                OR EXISTS (SELECT 1 FROM memberships b JOIN organizations s ON s.id = b.organization_id WHERE b.user_id = u.id
                    AND b.ended_at IS NULL AND s.root_id = @organizationId))
            """,
            new
            {
                userId,
                organizationId = access.OrganizationId,
                rootId = access.RootId ?? Guid.Empty,
                anybody = anybody ? 1L : 0L,
            },
            transaction
        );

    /// <summary>
    /// Each source of people is one range of one index, cut when enough rows are found. A page out of ten thousand people takes no longer
    /// than one out of ten.
    /// </summary>
    public static Task<IEnumerable<Member>> SelectAsync(
        DbConnection connection,
        OrganizationAccess access,
        string search,
        Guid? after,
        int limit,
        bool below
    )
    {
        var parameters = new DynamicParameters(
            new
            {
                organizationId = access.OrganizationId,
                rootId = access.RootId ?? Guid.Empty,
                limit,
                after = after ?? Guid.Empty,
            }
        );
        var condition = "p.ended_at IS NULL AND p.listed_as IS NOT NULL";
        if (after is not null)
            condition +=
                " AND (p.listed_as, p.user_id) > (COALESCE((SELECT MAX(a.listed_as) FROM memberships a WHERE a.user_id = @after AND "
                    + "a.organization_id IN (@organizationId, @rootId) AND a.ended_at IS NULL), ''), @after)";
        var addressed = "";
        foreach (
            var (word, i) in Checks
                .Normalize(search)
                .Split(' ', StringSplitOptions.RemoveEmptyEntries)
                .Take(SearchWordsMax)
                .Select((word, i) => (word, i))
        )
        {
            if (word.IndexOf('@', StringComparison.Ordinal) > 0)
            {
                // The beginning of an address is one range of an index, so one of ten thousand is found as quickly as one of ten. SQLite
                // keeps the order of a CROSS JOIN. A domain with non-ASCII letters is stored as xn--…, and the beginning of its visible
                // form is not the beginning of that, so it is searched in the visible text.
                var domain = word.IndexOf('@', StringComparison.Ordinal) + 1;
                var beginning = Ascii.IsValid(word.AsSpan(domain)) ? word : word[..domain];
                parameters.Add($"from{i}", beginning.ToUpperInvariant());
                parameters.Add($"to{i}", beginning.ToUpperInvariant() + '\uFFFF');
                addressed += $"users s{i} CROSS JOIN ";
                condition +=
                    $" AND p.user_id = s{i}.id AND s{i}.email_normalized >= @from{i} AND s{i}.email_normalized < @to{i} AND "
                        + $"s{i}.deleted_at IS NULL AND s{i}.kind = 'person'";
                if (beginning.Length == word.Length)
                    continue;
            }

            var spellings = Spellings(word)
                .Select(
                    (spelling, j) =>
                    {
                        parameters.Add($"word{i}_{j}", spelling);
                        return $"REPLACE(p.listed_as, @word{i}_{j}, '') <> p.listed_as"; // contains, on both databases
                    }
                );
            condition += $" AND ({string.Join(" OR ", spellings)})";
        }

        string From(string organizations) =>
            $"SELECT * FROM (SELECT p.user_id, p.listed_as FROM {addressed}memberships p WHERE {organizations} AND {condition} ORDER BY "
                + $"p.listed_as, p.user_id LIMIT @limit) AS found";
        return connection.QueryAsync<Member>(
            $"""
            {Columns}
            FROM (
                {From("p.organization_id = @organizationId")}
                {(access.RootId is null ? "" : $"UNION {From("p.organization_id = @rootId")}")}
                {(
                access.RootId is null && below
                    ? $"UNION {From("p.organization_id IN (SELECT id FROM organizations WHERE root_id = @organizationId AND deleted_at IS "
                        + "NULL)")}"
                    : ""
            )}
                ORDER BY listed_as, user_id LIMIT @limit) AS page
            JOIN users u ON u.id = page.user_id {Joins}
            ORDER BY page.listed_as, page.user_id
            """,
            parameters
        );
    }

    /// <summary>The database upper-cases only A to Z. For a word with other letters, returns the forms in which it may be stored.</summary>
    private static IEnumerable<string> Spellings(string word)
    {
        string[] ways = Ascii.IsValid(word)
            ? [word]
            : [word, word.ToUpperInvariant(), word.ToLowerInvariant(), char.ToUpperInvariant(word[0]) + word[1..].ToLowerInvariant()];
        return ways.Select(way => string.Concat(way.Select(c => char.IsAsciiLetterLower(c) ? char.ToUpperInvariant(c) : c)))
            .Distinct(StringComparer.Ordinal);
    }
}
