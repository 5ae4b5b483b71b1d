using System.Data.Common;
using Dapper;

namespace Pakhouse.Server;

/// <summary>Limits the inventory to some keys.</summary>
public enum KeyFilter
{
    All,
    NeverUsed,

    /// <summary>Not used for <see cref="Inventory.UnusedDays"/> days, or never.</summary>
    Unused,

    /// <summary>Expiring within the next <see cref="Inventory.ExpiringDays"/> days.</summary>
    Expiring,
    Expired,
    NoExpiry,

    /// <summary>The policy would refuse an exchange like the last one.</summary>
    BeyondPolicy,

    /// <summary>The holder is disabled.</summary>
    HolderInactive,
    Suspended,

    /// <summary>API keys, which belong to the organization and to no person.</summary>
    ApiKeys,
}

/// <summary>A query of the inventory.</summary>
/// <param name="Search">Part of a holder's name or address, or of a key's name or id; empty: everything.</param>
/// <param name="After"><see cref="InventoryKey.Cursor"/> of the last row of the previous page; empty: start with the newest.</param>
public sealed record InventoryQuery(KeyFilter Filter = KeyFilter.All, string Search = "", string After = "");

/// <summary>A key with what an owner needs to know about it, without its secret and its hash.</summary>
/// <param name="BeyondPolicy">The rule that an exchange like its last one would break now.</param>
public sealed record InventoryKey(KeySnapshot Key, PolicyRule? BeyondPolicy)
{
    /// <summary>The position after which the next page starts.</summary>
    public string Cursor => $"{Key.Facts.CreatedAt.ToUnixTimeMilliseconds()}-{Key.Id}";
}

public enum KeyAction
{
    Delete,
    Suspend,
    Resume,
}

/// <summary>
/// All keys of an organization and its sub-organizations, of people and of the organizations themselves, for the owners and managers who
/// are responsible for them. They can see, suspend, resume and end keys; they can never read a secret, change a key or extend its life. The
/// holder of a key is notified by mail.
/// </summary>
public sealed class Inventory(Database database, KeyExchange exchange, KeyLifecycle lifecycle, TimeProvider clock)
{
    public const int PageLength = 50,
        PageLengthMax = 1_000,
        SearchLengthMax = 100,
        UnusedDays = 90,
        ExpiringDays = 30;

    /// <summary>The most keys in one call of <see cref="ActAsync"/>.</summary>
    public const int KeysMax = 100;

    /// <summary>Keys read at once if a policy decides which of them are shown.</summary>
    private const int EvaluatedAtOnce = 1_000;

    private static readonly Refusal badAfter = Refusal.At(
        "after",
        RefusalCode.InvalidRequest,
        "give the value of next from the previous page.",
        "cursor out of form"
    );

    /// <summary>Returns one page, the newest keys first.</summary>
    /// <param name="limit">The most rows; see <see cref="PageLengthMax"/>. An export uses longer pages.</param>
    public Task<Outcome<IReadOnlyList<InventoryKey>>> ListAsync(Actor actor, Guid organizationId, InventoryQuery query, int limit) =>
        database.ReadAsync<Outcome<IReadOnlyList<InventoryKey>>>(async connection =>
        {
            var access = await Guard.AuthorizeAsync(connection, null, actor, Permission.ListMemberKeys, organizationId);
            if (access.Refusal is { } refused)
                return refused;
            if (limit is < 1 or (> PageLengthMax and not CsvExport.PageLength))
                return Refusal.At("limit", RefusalCode.InvalidRequest, $"give a number from 1 to {PageLengthMax}.", "limit out of bounds");
            if (query.Search.Length > SearchLengthMax)
                return Refusal.At("search", RefusalCode.InvalidRequest, $"give at most {SearchLengthMax} characters.", "search too long");
            if (ReadCursor(query.After) is not { } after)
                return badAfter;

            var now = clock.GetUtcNow();
            var sql = Page(query.Filter, access.Value.RootId is null && WithSubs(actor) == 1);
            var search = Checks.Normalize(query.Search).Trim() is { Length: > 0 } text ? $"%{Escape(text.ToLowerInvariant())}%" : "";
            // A violation of the policy cannot be expressed in SQL, so all keys are read in batches and evaluated.
            var isEvaluated = query.Filter == KeyFilter.BeyondPolicy;
            var length = isEvaluated ? EvaluatedAtOnce : limit;
            var rows = new List<InventoryKey>();
            for (var (isEnd, read) = (false, 0); !isEnd && rows.Count < limit; isEnd = read < length)
            {
                read = 0;
                var parameters = new
                {
                    organizationId,
                    afterAt = after.At,
                    afterId = after.Id,
                    search,
                    byAddress = actor.ShowsAddresses() ? 1L : 0, // a search must not reveal an address that is not shown
                    now,
                    soon = now.AddDays(ExpiringDays),
                    usedHour = now.AddDays(-UnusedDays).ToUnixTimeSeconds() / 3600,
                    limit = length,
                };
                await foreach (var key in KeySnapshots.ReadAsync(connection, null, sql, parameters))
                {
                    read++;
                    after = (key.Facts.CreatedAt.ToUnixTimeMilliseconds(), key.Id);
                    var row = new InventoryKey(key, FirstViolation(key, now));
                    if (!isEvaluated || row.BeyondPolicy is not null)
                        rows.Add(row);
                    if (rows.Count == limit)
                        break;
                }
            }

            return rows;
        });

    /// <summary>Ends, suspends or resumes keys of any holder.</summary>
    /// <returns>The keys that changed; keys that are gone or already in the requested state are skipped.</returns>
    public Task<Outcome<IReadOnlyList<string>>> ActAsync(
        Actor actor,
        Guid organizationId,
        KeyAction action,
        IReadOnlyCollection<string> keyIds
    ) =>
        database.ChangeAsync<IReadOnlyList<string>>(async transaction =>
        {
            var access = await Guard.AuthorizeAsync(
                transaction,
                actor,
                action == KeyAction.Delete ? Permission.DeleteMemberKey : Permission.SuspendMemberKey,
                organizationId
            );
            if (access.Refusal is { } refused)
                return refused;
            if (keyIds.Count is 0 or > KeysMax || !keyIds.All(id => KeyFormat.IsId(id)))
                return Refusal.At("keyIds", RefusalCode.InvalidRequest, $"give 1 to {KeysMax} ids of keys.", "key ids out of bounds");

            var named = KeySet.Of([.. keyIds.Distinct(StringComparer.Ordinal)]);
            var found = (
                await transaction.Connection!.QueryAsync<InventoryRow>(
                    $"""
                    SELECT k.id, k.kind, m.roles, rm.roles AS root_roles
                    FROM access_keys k
                    JOIN memberships m ON m.id = k.membership_id AND m.ended_at IS NULL
                    JOIN organizations o ON o.id = m.organization_id
                    LEFT JOIN memberships rm ON rm.user_id = m.user_id AND rm.organization_id = o.root_id AND rm.ended_at IS NULL
                    WHERE {named.Where} AND k.deleted_at IS NULL
                        AND (o.id = @organizationId OR (o.root_id = @organizationId AND @withSubs = 1)) AND o.deleted_at IS NULL
                      AND {action switch
                    {
                        KeyAction.Delete => "1 = 1",
                        KeyAction.Suspend => "k.suspended_at IS NULL",
                        KeyAction.Resume => "k.suspended_at IS NOT NULL",
                    }}
                    """,
                    named.With(new { organizationId, withSubs = WithSubs(actor) }),
                    transaction
                )
            ).AsList();
            if (found.Count == 0)
                return found.ConvertAll(key => key.Id);
            // R8: a manager could not grant what an owner's API key may do, and so cannot restore it either.
            if (
                !Permissions.MayGrantOwner(access.Value)
                && found.Exists(key =>
                    key.Kind == "oak" && (key.Roles.Contains(BuiltInRoles.Owner) || key.RootRoles?.Contains(BuiltInRoles.Owner) == true)
                )
            )
                return Refusal.At(
                    "keyIds",
                    RefusalCode.AccessDenied,
                    "only an owner can do this to an API key that has the role owner.",
                    "API key with owner by no owner (R8)"
                );

            // In the order of the request.
            var done = keyIds.Distinct(StringComparer.Ordinal).Where(id => found.Exists(key => key.Id == id)).ToList();
            var (keys, facts) = (KeySet.Of(done), new KeyRow { OrganizationName = access.Value.OrganizationName });
            _ = action switch
            {
                KeyAction.Delete => await lifecycle.EndAsync(transaction, actor, KeyCause.DeletedByManager, keys, facts),
                KeyAction.Suspend => await lifecycle.SuspendAsync(transaction, actor, KeyCause.SuspendedByManager, keys, facts),
                KeyAction.Resume => await lifecycle.ResumeAsync(transaction, actor, keys, facts),
            };
            return done;
        });

    /// <summary>
    /// An API key reaches only the organizations that its roles name; a person's root role also applies to the sub-organizations (R1).
    /// </summary>
    private static long WithSubs(Actor actor) => actor.Credential == Credential.ApiKey ? 0 : 1;

    private PolicyRule? FirstViolation(KeySnapshot key, DateTimeOffset now)
    {
        var steps = new List<ExchangeStep>();
        return key.Evaluate(exchange, key.Facts, now, steps).IsRefused ? KeyExchange.RuleOf(steps[^1]) : null;
    }

    // One range of one index, from the newest on: a page costs the same wherever it stands. What a row shows is joined to those of one page
    // only.
    /// <param name="isTree">With the keys of the root's sub-organizations.</param>
    private static string Page(KeyFilter filter, bool isTree) =>
        $"""
            SELECT k.id FROM access_keys k
            JOIN memberships m ON m.id = k.membership_id AND m.ended_at IS NULL
            JOIN organizations o ON o.id = m.organization_id AND o.deleted_at IS NULL
            JOIN users u ON u.id = m.user_id
            WHERE k.{(
                isTree ? "root_id" : "organization_id"
            )} = @organizationId AND k.deleted_at IS NULL AND (k.created_at, k.id) < (@afterAt, @afterId)
              AND (@search = '' OR LOWER(u.name) LIKE @search ESCAPE '\' OR (@byAddress = 1 AND LOWER(u.email) LIKE @search ESCAPE '\')
                OR LOWER(k.name) LIKE @search ESCAPE '\' OR LOWER(k.id) LIKE @search ESCAPE '\')
              AND {Where(filter)}
            ORDER BY k.created_at DESC, k.id DESC LIMIT @limit
            """;

    private static string Where(KeyFilter filter) =>
        filter switch
        {
            KeyFilter.All or KeyFilter.BeyondPolicy => "1 = 1",
            KeyFilter.NeverUsed => "NOT EXISTS (SELECT 1 FROM key_use_hours h WHERE h.key_id = k.id)",
            KeyFilter.Unused => "NOT EXISTS (SELECT 1 FROM key_use_hours h WHERE h.key_id = k.id AND h.hour >= @usedHour)",
            KeyFilter.Expiring => "k.expires_at > @now AND k.expires_at <= @soon",
            KeyFilter.Expired => "k.expires_at <= @now",
            KeyFilter.NoExpiry => "k.expires_at IS NULL",
            KeyFilter.HolderInactive => "u.disabled_at IS NOT NULL",
            KeyFilter.Suspended => "k.suspended_at IS NOT NULL",
            KeyFilter.ApiKeys => "k.kind = 'oak'",
        };

    private static (long At, string Id)? ReadCursor(string text)
    {
        if (text.Length == 0)
            return (long.MaxValue, "");
        var dash = text.IndexOf('-');
        return
            dash > 0
            && long.TryParse(text.AsSpan(0, dash), System.Globalization.NumberStyles.None, null, out var at)
            && KeyFormat.IsId(text.AsSpan(dash + 1))
            ? (at, text[(dash + 1)..])
            : null;
    }

    private static string Escape(string text) =>
        text.Replace(@"\", @"\\", StringComparison.Ordinal)
            .Replace("%", @"\%", StringComparison.Ordinal)
            .Replace("_", @"\_", StringComparison.Ordinal);

    private sealed record InventoryRow
    {
        public string Id { get; init; } = "";
        public string Kind { get; init; } = "";
        public NameSet Roles { get; init; } = NameSet.Empty;
        public NameSet? RootRoles { get; init; }
    }
}
