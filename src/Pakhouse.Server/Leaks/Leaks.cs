using System.Data.Common;
using System.Net;
using System.Security.Cryptography;
using Dapper;

namespace Pakhouse.Server;

/// <summary>A key that somebody found where it does not belong. The hash of the whole key is the proof; the key itself is gone already.</summary>
/// <param name="FoundAt">Where, in the reporter's words; null: not told.</param>
internal sealed record ReportedKey(string Id, byte[] Hash, string? FoundAt = null);

/// <summary>
/// Leaked keys: whoever shows one whole ends it, and its owner hears of it. It never holds a key, only what identifies and proves one.
/// <para>Invariant: without the secret an id ends nothing and tells nothing; when <see cref="RevokeAsync"/> has returned, no exchange with a key that
/// was reported succeeds (R5).</para>
/// </summary>
internal sealed class Leaks(Database database, Mails mails, PublicAddress address, TimeProvider clock)
{
    /// <summary>Keys in one statement and one transaction: a deletion never waits behind a longer one.</summary>
    private const int BatchKeys = 100;

    private static readonly byte[] nobody = new byte[SHA256.HashSizeInBytes];

    /// <summary>Ends those of the keys that are real.</summary>
    /// <param name="reporter">Who says so, in our words.</param>
    /// <returns>For each in turn whether it is, or was, a real key.</returns>
    public async Task<bool[]> RevokeAsync(IReadOnlyList<ReportedKey> reported, string reporter, IPAddress? from)
    {
        var isReal = new bool[reported.Count];
        var index = 0;
        foreach (var batch in reported.Chunk(BatchKeys))
        {
            var known = await database.ReadAsync(connection => FindAsync(connection, batch));
            var living = new List<(ReportedKey Reported, Found Key)>();
            foreach (var one in batch)
            {
                var found = known.GetValueOrDefault(one.Id);
                isReal[index] = CryptographicOperations.FixedTimeEquals(one.Hash, found?.Hash ?? nobody);
                if (isReal[index++] && found is { DeletedAt: null } && living.TrueForAll(other => other.Key.Id != found.Id)) living.Add((one, found));
            }

            if (living.Count > 0) await database.WriteAsync(transaction => EndAsync(transaction, living, reporter, from));
        }

        return isReal;
    }

    private static async Task<Dictionary<string, Found>> FindAsync(DbConnection connection, ReportedKey[] batch)
    {
        // Written out: lists are passed differently on the two databases.
        var parameters = new DynamicParameters();
        for (var i = 0; i < batch.Length; i++) parameters.Add($"@p{i}", batch[i].Id);
        var found = await connection.QueryAsync<Found>(
            $"""
            SELECT k.id, k.hash, k.deleted_at, k.name, k.kind, m.organization_id, o.name AS organization_name, o.root_id,
                   u.id AS user_id, CASE WHEN u.deleted_at IS NULL THEN u.email ELSE '' END AS email
            FROM access_keys k
            JOIN memberships m ON m.id = k.membership_id
            JOIN organizations o ON o.id = m.organization_id
            JOIN users u ON u.id = m.user_id
            WHERE k.id IN ({string.Join(", ", Enumerable.Range(0, batch.Length).Select(i => $"@p{i}"))})
            """, parameters);
        return found.ToDictionary(key => key.Id, StringComparer.Ordinal);
    }

    private async Task<int> EndAsync(DbTransaction transaction, List<(ReportedKey Reported, Found Key)> living, string reporter, IPAddress? from)
    {
        var ended = new List<(ReportedKey Reported, Found Key)>();
        var actor = Actor.Operator with { Address = from }; // nobody's person, and nobody is asked: the secret is the permission
        foreach (var (reported, key) in living)
        {
            if (await transaction.Connection!.ExecuteAsync("UPDATE access_keys SET deleted_at = @now WHERE id = @Id AND deleted_at IS NULL", new { key.Id, now = clock.GetUtcNow() }, transaction) == 0) continue;
            await KeyStatus.OfKeyAsync(transaction, clock, key.Id);
            await ActivityLog.WriteAsync(transaction, clock, actor, Did.KeyLeak, key.OrganizationId, key.Id, key.IsPersonal ? key.UserId : null, reporter);
            await Events.OfKeyAsync(transaction, clock, EventTypes.KeyLeaked, key.Id, ("reporter", reporter), ("foundAt", reported.FoundAt));
            ended.Add((reported, key));
        }

        foreach (var personal in ended.Where(one => one.Key is { IsPersonal: true, Email.Length: > 0 }).GroupBy(one => one.Key.Email, StringComparer.Ordinal))
            await mails.EnqueueAsync(transaction, personal.Key, Message([.. personal], reporter));
        // Nobody reads the mail of a service: the owners of the organization answer for its keys.
        foreach (var own in ended.Where(one => !one.Key.IsPersonal).GroupBy(one => (one.Key.OrganizationId, one.Key.RootId)))
            foreach (var owner in await Owners.EmailsAsync(transaction, own.Key.OrganizationId))
                await mails.EnqueueAsync(transaction, owner, Message([.. own], reporter));
        return ended.Count;
    }

    private MailContent Message(IReadOnlyList<(ReportedKey Reported, Found Key)> ended, string reporter)
    {
        var keys = ended.Select(one =>
            $"""
            {one.Key.Name} ({one.Key.Id})
              Organization: {one.Key.OrganizationName}
              Found at:     {one.Reported.FoundAt ?? "not told"}
              {address.Value}{OrganizationPage.SecurityUrl(one.Key.OrganizationId)}
            """);
        var (subject, what) = ended.Count == 1 ? ("A key leaked and was deleted", "A key") : ($"{ended.Count} keys leaked and were deleted", $"{ended.Count} keys");
        return new MailContent(subject,
            $"""
            {what} that you answer for got into other hands. Reported by: {reporter}.
            Whoever reported it had it whole, so it was deleted at once: it gets no token any more, and the programs that use it stop.

            {string.Join("\n\n", keys)}

            What to do: generate another key, put it where this one was needed and nowhere else, and look at what this one was last used for.
            """);
    }

    private sealed record Found
    {
        public string Id { get; init; } = "";
        public byte[] Hash { get; init; } = [];
        public DateTimeOffset? DeletedAt { get; init; }
        public string Name { get; init; } = "";
        public string Kind { get; init; } = "";
        public Guid OrganizationId { get; init; }
        public string OrganizationName { get; init; } = "";
        public Guid? RootId { get; init; }
        public Guid UserId { get; init; }
        public string Email { get; init; } = "";

        public bool IsPersonal => Kind == "pak";
    }
}
