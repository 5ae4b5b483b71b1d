using System.Data.Common;
using System.Globalization;
using Dapper;
using Microsoft.AspNetCore.Identity;

namespace Pakhouse.Server;

/// <summary>One row of the audit record, with the current names of its ids. Deleted objects have no name.</summary>
public sealed record ActivityEntry
{
    public Guid Id { get; init; }
    public DateTimeOffset At { get; init; }
    public string Action { get; init; } = "";
    public Guid? OrganizationId { get; init; }
    public string? OrganizationName { get; init; }

    /// <summary>Null: the operator or the program; for a failed sign-in: unknown.</summary>
    public Guid? ActorId { get; init; }

    public string? ActorName { get; init; }
    public string? ActorKeyId { get; init; }
    public string? ActorKeyName { get; init; }

    /// <summary>Null: on the server's machine, or hidden from this reader.</summary>
    public string? Address { get; init; }

    public string Target { get; init; } = "";
    public string? TargetName { get; init; }

    /// <summary>The affected person, if it is not the target.</summary>
    public Guid? SubjectId { get; init; }

    public string? SubjectName { get; init; }
    public string? Detail { get; init; }
}

/// <summary>Selects rows of the audit record.</summary>
public sealed record ActivityFilter
{
    /// <summary>True: sign-ins and related actions. False: actions on the organization.</summary>
    public bool IsAuth { get; init; }

    public DateTimeOffset? From { get; init; }

    /// <summary>Exclusive.</summary>
    public DateTimeOffset? To { get; init; }

    /// <summary>Only this organization: the organization itself or one of its sub-organizations. Null: all of them.</summary>
    public Guid? OrganizationId { get; init; }

    /// <summary>One of <see cref="AuditAction"/>.</summary>
    public string? Action { get; init; }

    /// <summary>The actor or the affected person: an e-mail address or an id.</summary>
    public string? Person { get; init; }

    /// <summary>Only rows older than this one.</summary>
    public Guid? Before { get; init; }

    private const string DayFormat = "yyyy-MM-dd"; // the format that a date input sends

    /// <summary>Parses the texts of a form or a query; empty counts as absent. Days are UTC days, both included.</summary>
    public static Outcome<ActivityFilter> Read(
        bool isAuth,
        string? from,
        string? to,
        string? organization,
        string? action,
        string? person,
        string? before
    )
    {
        DateTimeOffset? since = null,
            until = null;
        Guid? organizationId = null,
            beforeId = null;
        if (!string.IsNullOrEmpty(from))
        {
            if (Day(from) is not { } day)
                return Fault("from", "enter a day such as 2031-12-24.");
            since = day;
        }

        if (!string.IsNullOrEmpty(to))
        {
            if (Day(to) is not { } day)
                return Fault("to", "enter a day such as 2031-12-24.");
            until = day.AddDays(1);
        }

        if (!string.IsNullOrEmpty(organization))
        {
            if (!Guid.TryParse(organization, out var id))
                return Fault("organization", "give the id of this organization or of one of its sub-organizations.");
            organizationId = id;
        }

        if (!string.IsNullOrEmpty(before))
        {
            if (!Guid.TryParse(before, out var id))
                return Fault("before", "give the id of the last row of the previous page.");
            beforeId = id;
        }

        if (!string.IsNullOrEmpty(action) && !ActivityFeed.Actions(isAuth).Contains(action, StringComparer.Ordinal))
            return Fault("action", "give an action of the audit record, such as \"Member Remove\".");
        if (person?.Length > Users.EmailLengthMax)
            return Fault("person", $"enter at most {Users.EmailLengthMax} characters.");
        return new ActivityFilter
        {
            IsAuth = isAuth,
            From = since,
            To = until,
            OrganizationId = organizationId,
            Before = beforeId,
            Action = string.IsNullOrEmpty(action) ? null : action,
            Person = string.IsNullOrWhiteSpace(person) ? null : person.Trim(),
        };

        // The last days of the calendar have no next day.
        static DateTimeOffset? Day(string text) =>
            DateTime.TryParseExact(text, DayFormat, CultureInfo.InvariantCulture, DateTimeStyles.None, out var day)
            && day.Year is > 1970 and < 9999
                ? new DateTimeOffset(day, TimeSpan.Zero)
                : null;

        static Refusal Fault(string field, string words) =>
            Refusal.At(field, RefusalCode.InvalidRequest, words, "filter of the record out of bounds");
    }
}

/// <param name="Next">The value that requests the next page; null: this is the last page.</param>
/// <param name="IsOwnOnly">The reader sees only own actions and actions on the reader.</param>
public sealed record ActivityPage(IReadOnlyList<ActivityEntry> Entries, Guid? Next, bool IsOwnOnly);

/// <summary>
/// Reads the audit record. For a root it includes its sub-organizations, also deleted ones.
/// <para>Invariant: a reader without the permission to see activity gets only the rows in which the reader is actor or subject, and not the
/// address of other people's actions. An organization's readers see sign-ins of people only while those people were its members, and never
/// what they did elsewhere.</para>
/// </summary>
public sealed class ActivityFeed(Database database, ILookupNormalizer normalizer)
{
    public const int PageSize = 50;

    private static readonly string[] auth =
    [
        AuditAction.Login,
        AuditAction.LoginFailed,
        AuditAction.Logout,
        AuditAction.SwitchOrganization,
        AuditAction.PasswordReset,
        AuditAction.PasswordChange,
        AuditAction.SecondFactorAdd,
        AuditAction.SecondFactorRemove,
        AuditAction.PasskeyAdd,
        AuditAction.PasskeyRemove,
        AuditAction.SessionEnd,
        AuditAction.RecoveryCodes,
        AuditAction.ProviderBind,
        AuditAction.ProviderUnbind,
        AuditAction.MailUndelivered,
    ];

    /// <summary>Written into the statement, because the two databases treat a list parameter differently.</summary>
    private static readonly string authSql = string.Join(", ", auth.Select(action => $"'{action}'"));

    private static readonly string[] ofNoOrganization =
    [
        AuditAction.SigningKeyCreate,
        AuditAction.SigningKeyDelete,
        AuditAction.DatabaseRestore,
        AuditAction.UserCreate,
        AuditAction.UserDisable,
        AuditAction.UserEnable,
        AuditAction.UserDelete,
        AuditAction.ProtectionKeysRenew,
    ];

    private static readonly string[] ofOrganizations =
    [
        .. typeof(AuditAction)
            .GetFields()
            .Select(field => (string)field.GetRawConstantValue()!)
            .Except([.. auth, .. ofNoOrganization], StringComparer.Ordinal),
    ];

    /// <summary>The actions that such rows can have.</summary>
    public static IReadOnlyList<string> Actions(bool isAuth) => isAuth ? auth : ofOrganizations;

    /// <summary>Newest first, at most <paramref name="size"/> rows.</summary>
    public Task<Outcome<ActivityPage>> PageAsync(Actor actor, Guid organizationId, ActivityFilter filter, int size = PageSize) =>
        database.ReadAsync<Outcome<ActivityPage>>(async connection =>
        {
            var all = await Guard.AuthorizeAsync(connection, null, actor, Permission.SeeActivity, organizationId);
            if (
                all.IsRefused
                && (await Guard.AuthorizeAsync(connection, null, actor, Permission.SeeOrganization, organizationId)).Refusal is { } refusal
            )
                return refusal;
            // A filter must not reveal what is not shown.
            if (filter.Person is { } asked && !Guid.TryParse(asked, out _) && !actor.ShowsAddresses())
                return Guard.Narrow(ScopeCatalogue.Email, "person by address");

            var parameters = new DynamicParameters(
                new
                {
                    organizationId,
                    me = actor.UserId?.ToString() ?? "",
                    isOwnOnly = all.IsRefused ? 1L : 0L,
                    limit = size + 1,
                }
            );
            // The page comes first: PostgreSQL keeps the order of so many joins, and would join every row before it selects the rows of the
            // page.
            var entries = (
                await connection.QueryAsync<ActivityEntry>(
                    $"""
                    SELECT a.id, a.at, a.action, a.organization_id, o.name AS organization_name, a.actor_user_id AS actor_id,
                        NULLIF(au.name, '') AS actor_name,
                           a.actor_key_id, ak.name AS actor_key_name,
                               CASE WHEN @isOwnOnly = 1 AND COALESCE(a.actor_user_id, '') <> @me THEN NULL ELSE a.address END AS address,
                           a.target, COALESCE(NULLIF(tu.name, ''), tk.name, t.name) AS target_name, a.subject_user_id AS subject_id,
                               NULLIF(su.name, '') AS subject_name, a.detail
                    FROM ({await WhichAsync(connection, parameters, filter, all.IsRefused)}) AS page
                    JOIN activity a ON a.id = page.id
                    LEFT JOIN organizations o ON o.id = a.organization_id
                    LEFT JOIN users au ON au.id = a.actor_user_id
                    LEFT JOIN access_keys ak ON ak.id = a.actor_key_id
                    LEFT JOIN users su ON su.id = a.subject_user_id
                    LEFT JOIN users tu ON tu.id = a.target
                    LEFT JOIN access_keys tk ON tk.id = a.target
                    LEFT JOIN organizations t ON t.id = a.target
                    ORDER BY a.id DESC
                    """,
                    parameters
                )
            ).AsList();
            return entries.Count <= size
                ? new ActivityPage(entries, null, all.IsRefused)
                : new ActivityPage(entries[..size], entries[size - 1].Id, all.IsRefused);
        });

    /// <summary>The ids of the rows of a page.</summary>
    private async Task<string> WhichAsync(DbConnection connection, DynamicParameters parameters, ActivityFilter filter, bool isOwnOnly)
    {
        // Ids sort by time, so a time span is a range of ids.
        var before = filter.To is { } to ? Ids.First(to).ToString() : "g";
        if (filter.Before is { } last && string.CompareOrdinal(last.ToString(), before) < 0)
            before = last.ToString();
        parameters.AddDynamicParams(new { since = filter.From is { } from ? Ids.First(from).ToString() : "", before });
        var condition = "a.id >= @since AND a.id < @before";
        if (filter.Action is { } action)
        {
            parameters.Add("action", action);
            condition += " AND a.action = @action";
        }

        var concerned = isOwnOnly ? "@me" : null;
        if (filter.Person is { } person)
        {
            // An unknown address gets the same response as the address of a person who is not in these rows.
            var id =
                Guid.TryParse(person, out var known) ? known
                : await connection.ExecuteScalarAsync<string?>(
                    "SELECT id FROM users WHERE email_normalized = @normalized AND kind = 'person' AND deleted_at IS NULL",
                    new { normalized = normalizer.NormalizeEmail(person) }
                )
                    is { } found
                    ? Guid.Parse(found)
                : Guid.Empty;
            parameters.Add("person", id.ToString());
            if (isOwnOnly || filter.IsAuth)
                condition += Concerns("@person");
            concerned ??= "@person";
        }

        var organizations = "SELECT @organizationId UNION SELECT id FROM organizations WHERE root_id = @organizationId";
        if (filter.OrganizationId is { } only)
        {
            parameters.Add("only", only.ToString());
            organizations = "SELECT id FROM organizations WHERE id = @only AND (id = @organizationId OR root_id = @organizationId)";
        }

        if (isOwnOnly && filter.IsAuth)
            condition += Concerns("@me");

        string Rows(string which) =>
            $"""
                SELECT a.id FROM activity a
                WHERE {which}a.organization_id IN ({organizations}) AND a.action NOT IN ({authSql}) AND {condition} ORDER BY a.id DESC
                    LIMIT @limit
                """;
        // For one person: the newest rows of each of three indexes, instead of the whole record of the organization.
        string One(string column) => $"SELECT id FROM ({Rows($"a.{column} = {concerned} AND ")}) AS by_{column}";
        if (!filter.IsAuth)
            return concerned is null
                ? Rows("")
                : $"{One("actor_user_id")} UNION {One("subject_user_id")} UNION {One("target")} ORDER BY id DESC LIMIT @limit";

        string By(string column) =>
            $"""
                SELECT a.id AS id FROM memberships m JOIN activity a ON a.{column} = m.user_id AND a.at >= m.created_at
                    AND (m.ended_at IS NULL OR a.at <= m.ended_at)
                WHERE m.organization_id IN ({organizations}) AND (a.organization_id IS NULL OR a.organization_id IN ({organizations}))
                    AND a.action IN ({authSql}) AND {condition}
                """;
        return $"SELECT id FROM ({By("actor_user_id")} UNION {By("subject_user_id")}) AS page ORDER BY id DESC LIMIT @limit";
    }

    private static string Concerns(string person) =>
        $" AND (a.actor_user_id = {person} OR a.subject_user_id = {person} OR a.target = {person})";
}
