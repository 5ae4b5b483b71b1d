using System.Data.Common;
using System.Security.Cryptography;
using Dapper;

namespace Pakhouse.Server;

/// <summary>The operator's choices for a restore.</summary>
/// <param name="EndedKeys">Ids of keys that were ended since the back-up.</param>
/// <param name="NewSigningKey">Destroy the signing keys of the back-up, and sign with a new one at once.</param>
public sealed record RestoreOrder(IReadOnlyList<string> EndedKeys, bool NewSigningKey);

/// <summary>What a restore did, and what it cannot know.</summary>
public sealed record RestoreReport
{
    /// <summary>The time of the restored state; later changes are unknown.</summary>
    public required DateTimeOffset? StateOf { get; init; }

    public required long FirstUnknownIndex { get; init; }
    public required long NextIndex { get; init; }
    public required int EndedKeys { get; init; }
    public required int UnknownKeys { get; init; }
    public required string? SigningKeyId { get; init; }

    /// <summary>What was revoked, by table.</summary>
    public required IReadOnlyList<(string Table, int Rows)> Voided { get; init; }

    public required long LivingKeys { get; init; }

    /// <summary>
    /// The newest active keys of the restored state, with their organization: they are the likeliest to have been ended since.
    /// </summary>
    public required IReadOnlyList<(string Id, string Name, string Organization)> NewestKeys { get; init; }
}

/// <summary>
/// Makes a restored state of the database safe, in one transaction (R12). Status entries of keys that it does not know become invalid, and
/// the next key gets an entry in a fresh list. Every list gets a higher number, so verifiers accept it. Sessions, codes and links of people
/// are revoked.
/// </summary>
public sealed class Restore(Database database, KeyLifecycle lifecycle, SigningKeys signingKeys, StateFile file, TimeProvider clock)
{
    /// <summary>
    /// How many keys at least may have been created since the back-up, if this machine has no state file, which holds the number.
    /// </summary>
    private const long UnknownKeysMin = StatusLists.EntriesPerList / 2;

    private const int BatchKeys = 200;
    private const int NewestKeysMax = 50;

    /// <summary>Codes, links, sessions and messages of the restored state. Some were used, ended or sent since, and would work
    /// again.</summary>
    private static readonly string[] voided =
    [
        "sessions",
        "setup_codes",
        "spent_challenges",
        "invitation_parts",
        "invitations",
        "password_resets",
        "recovery_codes",
        "mails",
    ];

    public async Task<RestoreReport> FinishAsync(RestoreOrder order)
    {
        var identity = await database.ReadIdentityAsync();
        var written = file.Read();
        var (state, report) = await database.WriteExclusiveAsync(async transaction =>
        {
            var (connection, now) = (transaction.Connection!, clock.GetUtcNow());
            var old = await DatabaseState.ReadAsync(connection, transaction);
            // The file of another installation says nothing about this one.
            var known = written is not null && (old.Deployment.Length == 0 || written.Deployment == old.Deployment) ? written : null;
            var next = NextIndex(old, known);
            var version = new[] { old.StatusVersion + 1, (known?.StatusVersion ?? 0) + 1, now.ToUnixTimeMilliseconds() }.Max();
            await SetCounterAsync(transaction, "access_keys.status_index", next - 1);
            await SetCounterAsync(transaction, "access_keys.status_version", version);
            await connection.ExecuteAsync(
                "INSERT INTO status_gaps (first_index, last_index, status_version) VALUES (@first, @last, @version)",
                new
                {
                    first = old.StatusIndex + 1,
                    last = next - 1,
                    version,
                },
                transaction
            );

            var gone = new List<(string, int)>();
            foreach (var table in voided)
                gone.Add((table, await connection.ExecuteAsync($"DELETE FROM {table}", transaction: transaction)));
            // A code of an authenticator works once, and the code of the current half minute may have been used.
            await connection.ExecuteAsync(
                "UPDATE authenticators SET last_step = @step WHERE last_step < @step",
                new { step = now.ToUnixTimeSeconds() / 30 + 1 },
                transaction
            );

            var (ended, found) = (0, 0);
            foreach (var batch in order.EndedKeys.Distinct(StringComparer.Ordinal).Chunk(BatchKeys))
            {
                var keys = KeySet.Of(batch);
                found += await connection.ExecuteScalarAsync<int>(
                    $"SELECT COUNT(*) FROM access_keys k WHERE {keys.Where}",
                    keys.With(new { }),
                    transaction
                );
                ended += await lifecycle.EndAsync(
                    transaction,
                    Actor.Operator,
                    KeyCause.DeletedByOperator,
                    keys,
                    new KeyRow { Detail = "ended before a restore" }
                );
            }

            var signingKey = order.NewSigningKey ? await signingKeys.ReplaceAllAsync(transaction, Actor.Operator) : null;
            await ActivityLog.WriteAsync(
                transaction,
                clock,
                Actor.Operator,
                AuditAction.DatabaseRestore,
                null,
                old.Deployment,
                detail: $"entries {old.StatusIndex + 1} to {next - 1} are invalid"
            );
            await PlaceAsync(
                transaction,
                old,
                identity,
                Math.Max(now.ToUnixTimeMilliseconds(), Math.Max(old.RestoredAt, known?.RestoredAt ?? 0) + 1)
            );
            return (
                await DatabaseState.ReadAsync(connection, transaction),
                new RestoreReport
                {
                    StateOf = old.NewestAt,
                    FirstUnknownIndex = old.StatusIndex + 1,
                    NextIndex = next,
                    EndedKeys = ended,
                    UnknownKeys = order.EndedKeys.Distinct(StringComparer.Ordinal).Count() - found,
                    SigningKeyId = signingKey,
                    Voided = [.. gone.Where(table => table.Item2 > 0)],
                    LivingKeys = await connection.ExecuteScalarAsync<long>(
                        "SELECT COUNT(*) FROM access_keys WHERE deleted_at IS NULL AND status = 0",
                        transaction: transaction
                    ),
                    NewestKeys = (
                        await connection.QueryAsync<(string, string, string)>(
                            $"""
                            SELECT k.id, k.name, o.name FROM access_keys k JOIN memberships m ON m.id = k.membership_id
                                JOIN organizations o ON o.id = m.organization_id
                            WHERE k.deleted_at IS NULL AND k.status = 0 ORDER BY k.created_at DESC, k.id LIMIT {NewestKeysMax}
                            """,
                            transaction: transaction
                        )
                    ).AsList(),
                }
            );
        });
        await AcceptAsync(state);
        return report;
    }

    /// <summary>Accepts this state as the newest: the database was moved, and nothing was lost.</summary>
    public async Task MovedAsync()
    {
        var identity = await database.ReadIdentityAsync();
        if (
            file.Read() is { } written
            && (await database.ReadAsync(connection => DatabaseState.ReadAsync(connection))).IsOlderThan(written)
        )
            throw new StartupException(
                "This state is older than what was served here, so something was lost. Run restore finish without --moved."
            );
        await AcceptAsync(
            await database.WriteExclusiveAsync(async transaction =>
            {
                var old = await DatabaseState.ReadAsync(transaction.Connection!, transaction);
                await PlaceAsync(transaction, old, identity, old.RestoredAt);
                return await DatabaseState.ReadAsync(transaction.Connection!, transaction);
            })
        );
    }

    private async Task AcceptAsync(DatabaseState state)
    {
        try
        {
            file.Write(state);
        }
        catch (Exception e) when (!file.IsNeeded && e is IOException or UnauthorizedAccessException)
        {
            // PostgreSQL identifies its own copies.
        }

        await database.WriteSeenTimeAsync(clock.GetUtcNow(), accept: true);
    }

    /// <summary>Returns the first entry of a list that no key can have.</summary>
    internal static long NextIndex(DatabaseState old, DatabaseState? known)
    {
        var last = known is null ? old.StatusIndex + UnknownKeysMin : Math.Max(old.StatusIndex, known.StatusIndex);
        return (Math.Max(last, 0) / StatusLists.EntriesPerList + 1) * StatusLists.EntriesPerList;
    }

    private async Task PlaceAsync(DbTransaction transaction, DatabaseState old, string? identity, long restoredAt)
    {
        if (old.Deployment.Length == 0)
            await DatabaseState.WriteAsync(transaction, "id", Ids.New(clock).ToString());
        await DatabaseState.WriteAsync(transaction, "place", identity ?? Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(16)));
        await DatabaseState.WriteAsync(transaction, "restored_at", restoredAt.ToString());
    }

    private static Task<int> SetCounterAsync(DbTransaction transaction, string name, long value) =>
        transaction.Connection!.ExecuteAsync(
            "INSERT INTO counters (name, value) VALUES (@name, @value) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            new { name, value },
            transaction
        );
}
