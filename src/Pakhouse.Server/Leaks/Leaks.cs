using System.Data.Common;
using System.Net;
using System.Security.Cryptography;
using Dapper;

namespace Pakhouse.Server;

/// <summary>
/// A key that was found in a wrong place. The hash of the whole key is the proof; the key itself is already wiped.
/// </summary>
/// <param name="FoundAt">Where it was found, in the reporter's words; null: unknown.</param>
internal sealed record ReportedKey(string Id, byte[] Hash, string? FoundAt = null);

/// <summary>
/// Leaked keys: anybody who presents a complete key ends it, and its owner is notified. This class never holds a key, only what identifies
/// and proves one.
/// <para>Invariant: without the secret, an id ends nothing and reveals nothing. After <see cref="RevokeAsync"/> has returned, no exchange
/// of a reported key succeeds (R5).</para>
/// </summary>
internal sealed class Leaks(Database database, KeyLifecycle lifecycle)
{
    /// <summary>Keys in one statement and one transaction. Small, so that a deletion never waits behind a long transaction.</summary>
    private const int BatchKeys = 100;

    private static readonly byte[] nobody = new byte[SHA256.HashSizeInBytes];

    /// <summary>Ends the keys that are real.</summary>
    /// <param name="reporter">The reporter, in our words.</param>
    /// <returns>For each report, in order, whether it is or was a real key.</returns>
    public async Task<bool[]> RevokeAsync(IReadOnlyList<ReportedKey> reported, string reporter, IPAddress? from)
    {
        var isReal = new bool[reported.Count];
        var index = 0;
        foreach (var batch in reported.Chunk(BatchKeys))
        {
            var known = await database.ReadAsync(connection => FindAsync(connection, batch));
            var living = new Dictionary<string, string?>(StringComparer.Ordinal); // with the place where each was found
            foreach (var one in batch)
            {
                var found = known.GetValueOrDefault(one.Id);
                isReal[index] = CryptographicOperations.FixedTimeEquals(one.Hash, found?.Hash ?? nobody);
                if (isReal[index++] && found is { DeletedAt: null }) living.TryAdd(found.Id, one.FoundAt);
            }

            if (living.Count > 0) await database.WriteAsync(transaction => EndAsync(transaction, living, reporter, from));
        }

        return isReal;
    }

    private static async Task<Dictionary<string, Found>> FindAsync(DbConnection connection, ReportedKey[] batch)
    {
        var keys = KeySet.Of([.. batch.Select(one => one.Id).Distinct(StringComparer.Ordinal)]);
        var found = await connection.QueryAsync<Found>(
            $"""
            SELECT k.id, k.hash, k.deleted_at FROM access_keys k WHERE {keys.Where}
            """, keys.With(new { }));
        return found.ToDictionary(key => key.Id, StringComparer.Ordinal);
    }

    private Task<int> EndAsync(DbTransaction transaction, Dictionary<string, string?> found, string reporter, IPAddress? from) =>
        // There is no actor and no permission check: the secret is the permission.
        lifecycle.EndAsync(transaction, Actor.Operator with { Address = from }, KeyCause.Leaked, KeySet.Of([.. found.Keys]),
            new() { Detail = reporter, Reporter = reporter, FoundAt = found });

    private sealed record Found
    {
        public string Id { get; init; } = "";
        public byte[] Hash { get; init; } = [];
        public DateTimeOffset? DeletedAt { get; init; }
    }
}
