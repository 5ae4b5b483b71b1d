using System.Net;
using Dapper;

namespace Pakhouse.Server;

/// <summary>
/// The audit record of failed sign-ins. Attempts of strangers are combined, because the record keeps every row: one row for each network,
/// method and hour, and at most <see cref="StrangersPerHourMax"/> rows in an hour. Attempts on a person are bounded by the lock, and all of
/// them are recorded.
/// </summary>
public sealed class SignInFailures(Database database, TimeProvider clock)
{
    public const int StrangersPerHourMax = 100;

    private static readonly TimeSpan kept = TimeSpan.FromHours(24);

    /// <summary>
    /// Runs the same statements in one transaction whether or not the address has an account, so the time reveals nothing; only the subject
    /// names the person. Nobody is authenticated, so there is no actor.
    /// </summary>
    /// <param name="user">Null: a stranger.</param>
    /// <param name="method">One of <see cref="SignInMethod"/>.</param>
    public Task RecordAsync(User? user, IPAddress? address, string method) =>
        database.WriteAsync(async transaction =>
        {
            var now = clock.GetUtcNow();
            var hour = now.ToUnixTimeSeconds() / 3600;
            var network = address is null ? "" : FailureLimit.Network(address).ToString();
            var connection = transaction.Connection!;
            await connection.ExecuteAsync(
                "DELETE FROM sign_in_failures WHERE hour <= @oldest",
                new { oldest = hour - (long)kept.TotalHours },
                transaction
            );
            var isKnown =
                await connection.ExecuteScalarAsync<long>(
                    "SELECT COUNT(*) FROM (SELECT 1 FROM sign_in_failures WHERE hour = @hour LIMIT @max) AS known",
                    new { hour, max = StrangersPerHourMax },
                    transaction
                ) < StrangersPerHourMax;
            var failed = await connection.ExecuteScalarAsync<long?>(
                """
                INSERT INTO sign_in_failures (hour, network, method, failed) VALUES (@hour, @network, @method, 1)
                ON CONFLICT (hour, network, method) DO UPDATE SET failed = sign_in_failures.failed + 1
                RETURNING failed
                """,
                new
                {
                    hour,
                    network,
                    method,
                },
                transaction
            );
            if (user is not null || isKnown && failed == 1)
            {
                var nobody = new Actor(Credential.Session, null, NameSet.Empty, Address: address);
                await ActivityLog.WriteAsync(
                    transaction,
                    clock,
                    nobody,
                    AuditAction.LoginFailed,
                    null,
                    user?.Id.ToString() ?? "",
                    user?.Id,
                    method
                );
            }

            return true;
        });
}
