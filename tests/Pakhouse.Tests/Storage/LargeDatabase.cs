using System.Data.Common;
using System.Text.RegularExpressions;
using Dapper;

namespace Pakhouse.Tests;

/// <summary>
/// Every table that grows with use, filled in SQL with as many rows as a large deployment has. Its ids have no form that the program
/// makes: nothing reads them but the planner of the database.
/// </summary>
internal static partial class LargeDatabase
{
    /// <summary>Tables that stay small whatever the use, and why: reading them whole costs nothing.</summary>
    public static readonly IReadOnlyDictionary<string, string> Small = new Dictionary<string, string>(StringComparer.OrdinalIgnoreCase)
    {
        ["counters"] = "a row for each thing that is counted",
        ["signing_keys"] = "a few, and old ones are deleted",
        ["setup_codes"] = "while there is no user",
        ["data_protection_keys"] = "one in 90 days",
        ["deployment"] = "four rows",
        ["status_gaps"] = "a row for each restore",
        ["schemaversions"] = "a row for each schema step",
    };

    private const int Many = 100_000,
        Some = 20_000;

    private const string Numbers =
        "(WITH RECURSIVE c(i) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT i + 1 FROM c WHERE i < @rows) SELECT i FROM c) AS n";

    /// <summary>
    /// Tables, columns, values: <c>n.i</c> counts the rows, <c>blob(…)</c> makes bytes of a text. <c>@now</c> is the time of the walk.
    /// What jobs delete by age is younger than that age, as it is where the jobs run.
    /// </summary>
    private static readonly (string Table, int Rows, string Columns, string Values)[] seeds =
    [
        (
            "users",
            Many,
            "id, email, email_normalized, name, security_stamp, created_at, kind",
            """
            'u' || n.i, 'p' || n.i || '@example.com', 'P' || n.i || '@EXAMPLE.COM', 'Person ' || n.i, 's', @now - n.i * 1000,
            CASE WHEN n.i % 20 = 0 THEN 'service' ELSE 'person' END
            """
        ),
        (
            "organizations",
            Many,
            "id, root_id, name, name_normalized, created_at, created_by",
            """
            'o' || n.i, CASE WHEN n.i % 10 = 1 THEN NULL ELSE 'o' || (n.i - (n.i + 9) % 10) END, 'O' || n.i, 'O' || n.i, @now - n.i * 1000,
            CASE WHEN n.i % 10 = 1 THEN 'u' || n.i END
            """
        ),
        (
            "memberships",
            Many,
            "id, organization_id, user_id, roles, created_at, ended_at",
            """
            'm' || n.i, 'o' || (1 + n.i % 20000), 'u' || (1 + n.i * 7 % 100000), 'owner', @now - n.i * 1000,
            CASE WHEN n.i % 10 = 0 THEN @now - n.i END
            """
        ),
        (
            "access_keys",
            Many,
            """
            id, kind, membership_id, organization_id, root_id, name, hash, scopes, created_at, expires_at, status, status_index,
            status_version,
            family_id, successor_id, overlap_ends_at, deleted_at
            """,
            """
            'k' || n.i, CASE WHEN n.i % 20 = 0 THEN 'oak' ELSE 'pak' END, 'm' || n.i,
            'o' || (1 + n.i % 20000), 'o' || (1 + n.i % 20000 / 10 * 10),
            'Key', blob('h'), '',
            @now - n.i * 1000, @now + n.i * 100000,
            CASE WHEN n.i % 10 = 0 THEN 1 ELSE 0 END, n.i, CASE WHEN n.i % 10 = 0 THEN n.i ELSE 0 END,
            CASE WHEN n.i % 5 = 0 THEN 'k' || n.i END, CASE WHEN n.i % 50 = 0 THEN 'k' || (n.i + 1) END,
            CASE WHEN n.i % 50 = 0 THEN @now - n.i END, CASE WHEN n.i % 10 = 0 THEN @now - n.i END
            """
        ),
        (
            "key_use_hours",
            Many,
            "key_id, hour, count, last_used_at, address, user_agent, organization_id",
            "'k' || (n.i / 4), @now / 3600000 - n.i % 1000, 1, @now - n.i * 1000, '192.0.2.1', 'curl', 'o' || (1 + n.i % 5000)"
        ),
        ("key_networks", Some, "key_id, network, first_used_at, last_used_at", "'k' || n.i, '192.0.2.0/24', @now - n.i, @now - n.i"),
        ("key_late_uses", Some, "key_id, count, first_at, last_at, address, user_agent", "'k' || n.i, 1, @now - n.i, @now - n.i, '', ''"),
        ("key_expiry_notices", Some, "key_id, days, told_at", "'k' || n.i, 7, @now - n.i"),
        (
            "activity",
            Many,
            "id, at, organization_id, actor_user_id, actor_key_id, action, target, subject_user_id",
            """
            'a' || n.i, @now - n.i * 1000, 'o' || (1 + n.i % 5000), 'u' || (n.i % 50000),
            CASE WHEN n.i % 4 = 0 THEN 'k' || (n.i % 3000) END,
                CASE n.i % 7 WHEN 0 THEN 'Invite Create' WHEN 1 THEN 'Invite Accept' ELSE 'PAT Create' END, 'k' || n.i,
            CASE WHEN n.i % 3 = 0 THEN 'u' || (n.i % 20000) END
            """
        ),
        (
            "mails",
            Some,
            "id, recipient, content, created_at, due_at, attempts",
            "'l' || n.i, 'p@example.com', blob('x'), @now - n.i, @now + n.i * 1000, 0"
        ),
        (
            "sessions",
            Some,
            "id, hash, user_id, security_stamp, method, created_at, proved_at, last_seen_at, address, user_agent, ended_at",
            """
            's' || n.i, blob('s' || n.i), 'u' || n.i, 's', 'password', @now - n.i, @now - n.i, @now - n.i, '', '',
            CASE WHEN n.i % 2 = 0 THEN @now END
            """
        ),
        (
            "invitations",
            Some,
            "id, root_id, email, email_normalized, code_hash, created_at, sent_at",
            "'i' || n.i, 'o' || (1 + 10 * (n.i % 5000)), 'x' || n.i, 'X' || n.i, blob('c' || n.i), @now, @now"
        ),
        (
            "invitation_parts",
            Some,
            "invitation_id, organization_id, roles, invited_by, expires_at",
            "'i' || n.i, 'o' || (1 + 10 * (n.i % 5000)), '', 'u' || n.i, @now + n.i"
        ),
        ("invitation_counts", Some, "target, day, count", "'t' || n.i, @now / 86400000, 1"),
        ("sign_in_attempts", Some, "email_hash, failed, last_at", "blob('e' || n.i), 1, @now - n.i"),
        ("sign_in_failures", Some, "hour, network, method, failed", "@now / 3600000 - n.i % 100, 'net' || n.i, 'password', 1"),
        ("authenticators", Some, "user_id, secret, last_step, created_at", "'u' || n.i, blob('x'), 0, @now"),
        ("recovery_codes", Some, "user_id, hash", "'u' || (n.i / 10 + 1), blob('r' || n.i)"),
        (
            "passkeys",
            Some,
            """
            id, user_id, credential_id, public_key, name, sign_count, transports, is_backup_eligible, is_backed_up,
            attestation, client_data, created_at
            """,
            "'y' || n.i, 'u' || n.i, blob('y' || n.i), blob('x'), 'p', 0, '', 0, 0, blob('x'), blob('x'), @now"
        ),
        ("provider_subjects", Some, "issuer, subject, user_id, created_at", "'https://idp.example', 's' || n.i, 'u' || n.i, @now"),
        ("provider_logouts", Some, "hash, provider_session, kept_until", "blob('j' || n.i), blob('sid' || n.i), @now + n.i"),
        ("password_resets", Some, "hash, user_id, created_at", "blob('p' || n.i), 'u' || n.i, @now - n.i"),
        ("spent_challenges", Some, "hash, spent_at", "blob('c' || n.i), @now - n.i"),
        (
            "webhooks",
            Some,
            "id, organization_id, url, events, secret, created_at, disabled_at",
            "'w' || n.i, 'o' || n.i, 'https://h.example', '', blob('x'), @now, CASE WHEN n.i % 10 = 0 THEN @now END"
        ),
        (
            "webhook_messages",
            Many,
            "webhook_id, id, type, body, created_at, due_at, attempts",
            """
            'w' || (1 + n.i % 5000), 'g' || n.i, 'key.created', '{}', @now - n.i * 1000,
            CASE WHEN n.i % 1000 = 0 THEN @now + n.i * 1000 END, 1
            """
        ),
        (
            "webhook_attempts",
            Many,
            "webhook_id, message_id, number, at, milliseconds, status, error",
            "'w' || (1 + n.i % 5000), 'g' || n.i, 1, @now - n.i * 1000, 5, 204, ''"
        ),
    ];

    public static IReadOnlyCollection<string> Large => [.. seeds.Select(seed => seed.Table)];

    public static async Task FillAsync(DbConnection connection, DateTimeOffset now)
    {
        // No foreign keys and no triggers, and nothing that would survive a power cut.
        await connection.ExecuteAsync(
            TestDatabase.IsPostgres
                ? "SET session_replication_role = replica; SET synchronous_commit = off; SET work_mem = '64MB'"
                : "PRAGMA foreign_keys = 0; PRAGMA synchronous = 0; PRAGMA journal_mode = MEMORY; PRAGMA cache_size = -200000"
        );
        await using (var transaction = await connection.BeginTransactionAsync())
        {
            foreach (var (table, rows, columns, values) in seeds)
            {
                var select = Blob()
                    .Replace(values, TestDatabase.IsPostgres ? "convert_to(${text}, 'UTF8')" : "CAST(${text} AS BLOB)")
                    .Replace("@now", "CAST(@now AS BIGINT)", StringComparison.Ordinal);
                await connection.ExecuteAsync(
                    $"INSERT INTO {table} ({columns}) SELECT {select} FROM {Numbers}",
                    new { now = now.ToUnixTimeMilliseconds(), rows },
                    transaction,
                    commandTimeout: 120
                );
            }

            await transaction.CommitAsync();
        }

        // PostgreSQL does this by itself. SQLite has no statistics in a deployment either.
        if (TestDatabase.IsPostgres)
            await connection.ExecuteAsync("ANALYZE;", commandTimeout: 120);
    }

    [GeneratedRegex(@"blob\((?<text>[^)]*)\)", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex Blob();
}
