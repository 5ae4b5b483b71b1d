using System.Data.Common;
using Dapper;

namespace Pakhouse.Server;

/// <summary>A key as it is stored, without its secret.</summary>
internal sealed record NewKeyRow(
    string Id, KeyKind Kind, Guid MembershipId, string Name, byte[] Hash, NameSet Scopes, DateTimeOffset? ExpiresAt)
{
    /// <summary>The person who created an API key.</summary>
    public Guid? CreatedBy { get; init; }

    /// <summary>The key that this key replaces; set for a successor only.</summary>
    public string? FamilyId { get; init; }
}

/// <summary>Details of a change besides its cause.</summary>
internal sealed record KeyRow
{
    public static readonly KeyRow None = new();

    /// <summary>The detail of the audit record; null: the text of <see cref="KeyDuties"/>.</summary>
    public string? Detail { get; init; }

    /// <summary>Further members of the webhook messages.</summary>
    public IReadOnlyList<(string Name, object? Value)> Data { get; init; } = [];

    /// <summary>The organization whose owner or manager acted.</summary>
    public string? OrganizationName { get; init; }

    /// <summary>Who reported a leak, in our words, and where each key was found, in the reporter's words.</summary>
    public string? Reporter { get; init; }

    public IReadOnlyDictionary<string, string?> FoundAt { get; init; } = new Dictionary<string, string?>();

    /// <summary>The replaced key whose use froze its family.</summary>
    public string? UsedKeyId { get; init; }
}

/// <summary>
/// The life cycle of keys, personal keys and API keys: created, replaced, ended, suspended, resumed. Only this class writes the table
/// <c>access_keys</c>. A caller says which keys change (<see cref="KeySet"/>), who changes them and why (<see cref="KeyCause"/>). This
/// class does what follows from the cause in the caller's transaction: the entry in the status lists (IETF Token Status List), the audit
/// record, the webhooks, the mails. The caller has already authorized the actor.
/// <para>Invariant: when the transaction is committed, a key that was ended or suspended is refused (R5). A key that has ended never
/// changes again. A change takes a fixed number of statements, and one message for each key if there are subscribers.</para>
/// </summary>
public sealed class KeyLifecycle(Mails mails, PublicAddress address, TimeProvider clock)
{
    private readonly KeyAnnouncements announcements = new(mails, address, clock);

    /// <returns>False: the id was used before.</returns>
    internal async Task<bool> CreateAsync(DbTransaction transaction, Actor actor, NewKeyRow key, KeyRow? facts = null)
    {
        if (!await InsertAsync(transaction, key))
            return false;
        await announcements.WriteAsync(transaction, actor, KeyCause.Created, KeySet.Of(key.Id), facts ?? KeyRow.None);
        return true;
    }

    /// <summary>Replaces a key by a successor; the replaced key keeps working for the overlap.</summary>
    /// <returns>False: the successor's id was used before.</returns>
    internal async Task<bool> ReplaceAsync(
        DbTransaction transaction,
        Actor actor,
        string keyId,
        NewKeyRow successor,
        DateTimeOffset overlapEndsAt
    )
    {
        if (!await InsertAsync(transaction, successor))
            return false;
        var keys = KeySet.Of(keyId);
        await transaction.Connection!.ExecuteAsync(
            $"""
            UPDATE access_keys AS k SET successor_id = @Id, family_id = @FamilyId, overlap_ends_at = @overlapEndsAt
            WHERE {keys.Where} AND k.deleted_at IS NULL
            """,
            keys.With(
                new
                {
                    successor.Id,
                    successor.FamilyId,
                    overlapEndsAt,
                }
            ),
            transaction
        );
        await announcements.WriteAsync(
            transaction,
            actor,
            KeyCause.Rotated,
            keys,
            new() { Detail = successor.Id, Data = [("successorId", successor.Id), ("overlapEndsAt", overlapEndsAt)] }
        );
        if (overlapEndsAt <= clock.GetUtcNow())
            await EndAsync(transaction, actor, successor.Kind == KeyKind.Personal ? KeyCause.OverlapEnded : KeyCause.Replaced, keys);
        return true;
    }

    /// <summary>Ends keys for good. If the current secret of an API key ends, the whole API key ends.</summary>
    /// <returns>How many of them had not ended before.</returns>
    internal async Task<int> EndAsync(DbTransaction transaction, Actor actor, KeyCause cause, KeySet keys, KeyRow? facts = null)
    {
        TransactionNotes.Of(transaction).IsUrgent = true;
        // A replaced key is not deleted: it stays in its holder's list after its overlap.
        var (end, also) =
            cause == KeyCause.OverlapEnded
                ? (
                    "overlap_ends_at = CASE WHEN k.overlap_ends_at > @now THEN @now ELSE k.overlap_ends_at END",
                    $"AND k.successor_id IS NOT NULL AND k.status <> {KeyStatus.Invalid}"
                )
                : ("deleted_at = @now", "");
        return await ChangeAsync(
            transaction,
            actor,
            cause,
            keys,
            facts,
            $"""
            UPDATE access_keys AS k SET {end}, status = {KeyStatus.Invalid}, status_version = @version
            WHERE {keys.Where} AND k.deleted_at IS NULL {also}
            """
        );
    }

    /// <summary>Suspends keys until they are resumed.</summary>
    /// <returns>How many were not suspended before.</returns>
    internal Task<int> SuspendAsync(DbTransaction transaction, Actor actor, KeyCause cause, KeySet keys, KeyRow? facts = null)
    {
        TransactionNotes.Of(transaction).IsUrgent = true;
        return ChangeAsync(
            transaction,
            actor,
            cause,
            keys,
            facts,
            $"""
            UPDATE access_keys AS k SET suspended_at = @now, frozen_at = {(cause == KeyCause.Frozen ? "@now" : "k.frozen_at")},
                status = CASE k.status WHEN {KeyStatus.Valid} THEN {KeyStatus.Suspended} ELSE k.status END, status_version = @version
            WHERE {keys.Where} AND k.deleted_at IS NULL AND k.suspended_at IS NULL
            """
        );
    }

    /// <summary>Resumes suspended or frozen keys. A key whose user or organization is disabled stays suspended.</summary>
    /// <returns>How many were suspended.</returns>
    internal Task<int> ResumeAsync(DbTransaction transaction, Actor actor, KeySet keys, KeyRow? facts = null) =>
        ChangeAsync(
            transaction,
            actor,
            KeyCause.ResumedByManager,
            keys,
            facts,
            Follow(keys, "suspended_at = NULL, frozen_at = NULL, ", "", "AND k.suspended_at IS NOT NULL", "")
        );

    /// <summary>Updates the keys of a user or an organization that was disabled or enabled in this transaction.</summary>
    internal Task<int> FollowAsync(DbTransaction transaction, Actor actor, KeyCause cause, KeySet keys)
    {
        TransactionNotes.Of(transaction).IsUrgent = true;
        return ChangeAsync(
            transaction,
            actor,
            cause,
            keys,
            null,
            Follow(keys, "", "k.suspended_at, ", "", "AND actual.status <> changed.status")
        );
    }

    /// <summary>Announces that a key has expired. Since that instant it is refused and its tokens have expired, so its status entry needs
    /// no change.</summary>
    internal Task ExpireAsync(DbTransaction transaction, string keyId) =>
        announcements.WriteAsync(transaction, Actor.Operator, KeyCause.Expired, KeySet.Of(keyId), KeyRow.None);

    /// <summary>Renames every secret of an API key.</summary>
    internal static Task RenameAsync(DbTransaction transaction, Guid userId, string name)
    {
        var keys = KeySet.OfUser(userId);
        return transaction.Connection!.ExecuteAsync(
            $"UPDATE access_keys AS k SET name = @name WHERE {keys.Where} AND k.deleted_at IS NULL",
            keys.With(new { name }),
            transaction
        );
    }

    /// <summary>Records that the owners were notified of the expiry of API keys.</summary>
    internal Task MarkNotifiedAsync(DbTransaction transaction, IReadOnlyList<string> keyIds)
    {
        var keys = KeySet.Of(keyIds);
        return transaction.Connection!.ExecuteAsync(
            $"UPDATE access_keys AS k SET told_at = @now WHERE {keys.Where}",
            keys.With(new { now = clock.GetUtcNow() }),
            transaction
        );
    }

    /// <summary>Deletes keys that ended long ago, with their usage. Their status entries are never assigned again.</summary>
    internal static async Task ForgetAsync(DbTransaction transaction, IReadOnlyList<string> keyIds)
    {
        var keys = KeySet.Of(keyIds);
        foreach (var table in (string[])["key_use_hours", "key_networks", "key_late_uses", "key_expiry_notices"])
            await transaction.Connection!.ExecuteAsync(
                $"DELETE FROM {table} WHERE key_id IN (SELECT k.id FROM access_keys k WHERE {keys.Where})",
                keys.With(new { }),
                transaction
            );
        await transaction.Connection!.ExecuteAsync($"DELETE FROM access_keys AS k WHERE {keys.Where}", keys.With(new { }), transaction);
    }

    private async Task<bool> InsertAsync(DbTransaction transaction, NewKeyRow key)
    {
        var statusIndex = await transaction.Connection!.ExecuteScalarAsync<long>(
            """
            INSERT INTO counters (name, value) VALUES ('access_keys.status_index', 0)
            ON CONFLICT (name) DO UPDATE SET value = counters.value + 1 RETURNING value
            """,
            transaction: transaction
        );
        return await transaction.Connection!.ExecuteAsync(
                """
                INSERT INTO access_keys
                    (id, kind, membership_id, name, hash, scopes, created_at, expires_at, created_by, family_id, status_index)
                VALUES (@Id, @kind, @MembershipId, @Name, @Hash, @Scopes, @now, @ExpiresAt, @CreatedBy, @FamilyId, @statusIndex)
                ON CONFLICT (id) DO NOTHING
                """,
                new
                {
                    key.Id,
                    kind = key.Kind == KeyKind.Personal ? "pak" : "oak",
                    key.MembershipId,
                    key.Name,
                    key.Hash,
                    key.Scopes,
                    now = clock.GetUtcNow(),
                    key.ExpiresAt,
                    key.CreatedBy,
                    key.FamilyId,
                    statusIndex,
                },
                transaction
            ) > 0;
    }

    /// <param name="update">Gives each key that it changes the number <c>@version</c>, by which the duties find them.</param>
    private async Task<int> ChangeAsync(DbTransaction transaction, Actor actor, KeyCause cause, KeySet keys, KeyRow? facts, string update)
    {
        var now = clock.GetUtcNow();
        // The counter's row stays locked until the commit, so numbers become visible in order: a reader that has seen a number has seen all
        // lower ones. The number is never below the time, so that after a restore from a back-up the next change is numbered above all
        // earlier ones.
        var version = await transaction.Connection!.ExecuteScalarAsync<long>(
            """
            INSERT INTO counters (name, value) VALUES ('access_keys.status_version', @now)
            ON CONFLICT (name) DO UPDATE SET value = CASE WHEN counters.value < @now THEN @now ELSE counters.value + 1 END RETURNING value
            """,
            new { now },
            transaction
        );
        var count = await transaction.Connection!.ExecuteAsync(update, keys.With(new { now, version }), transaction);
        if (count == 0)
            return 0;
        await announcements.WriteAsync(transaction, actor, cause, KeySet.ChangedBy(version), facts ?? KeyRow.None);
        // These end in the same transaction as the key.
        await SentInvitations.WithdrawAsync(transaction, clock, actor, KeySet.ChangedBy(version));
        await EndApiKeysAsync(transaction, actor, version, now);
        return count;
    }

    /// <summary>An API key is its current secret. When that secret has ended, its earlier secrets, its service user and the memberships of
    /// that user end too.</summary>
    private async Task EndApiKeysAsync(DbTransaction transaction, Actor actor, long version, DateTimeOffset now)
    {
        const string ended = """
            FROM access_keys k JOIN memberships s ON s.id = k.membership_id
            WHERE k.status_version > 0 AND k.status_version = @version
              AND k.kind = 'oak' AND k.successor_id IS NULL AND k.deleted_at IS NOT NULL
            """;
        if (await transaction.Connection!.ExecuteScalarAsync<long?>($"SELECT 1 {ended} LIMIT 1", new { version }, transaction) is null)
            return;
        await EndAsync(transaction, actor, KeyCause.ApiKeyEnded, KeySet.SecretsBeside(version));
        await transaction.Connection!.ExecuteAsync(
            $"""
            UPDATE memberships SET ended_at = @now WHERE ended_at IS NULL AND user_id IN (SELECT s.user_id {ended});
            UPDATE users SET deleted_at = @now WHERE deleted_at IS NULL AND kind = 'service' AND id IN (SELECT s.user_id {ended});
            """,
            new { version, now },
            transaction
        );
    }

    /// <summary>Updates keys to the status that follows from the key, its user and its organization.</summary>
    /// <param name="set">Further columns to set.</param>
    /// <param name="own">The key's own suspension, where that counts.</param>
    private static string Follow(KeySet keys, string set, string own, string which, string only) =>
            // A key whose overlap has ended keeps its entry; OverlapEndJob sets it.
            $"""
            UPDATE access_keys AS changed SET {set}status = actual.status, status_version = @version
            FROM (
                SELECT k.id, CASE
                    WHEN k.overlap_ends_at <= @now THEN k.status
                    WHEN COALESCE({own}u.disabled_at, o.disabled_at, r.disabled_at) IS NOT NULL THEN {KeyStatus.Suspended}
                    ELSE {KeyStatus.Valid} END AS status
                FROM access_keys k
                JOIN memberships m ON m.id = k.membership_id
                JOIN users u ON u.id = m.user_id
                JOIN organizations o ON o.id = m.organization_id
                LEFT JOIN organizations r ON r.id = o.root_id
                WHERE {keys.Where} AND k.deleted_at IS NULL {which}) AS actual
            WHERE actual.id = changed.id {only}
            """;
}
