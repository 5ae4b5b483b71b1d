using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using Dapper;

namespace Pakhouse.Server;

/// <summary>
/// The first start: while there is no user, the holder of a code can create the first user and root organization, once. A start at a
/// terminal prints a code, and so does the command <c>set-up</c>. The database has the hash of the code, so it works on every process that
/// shares the database.
/// </summary>
public sealed class SetUp(Database database, Users users, Organizations organizations, TimeProvider clock)
{
    public static readonly TimeSpan CodeLifetime = TimeSpan.FromHours(24);

    private const int CodeLengthMax = 64;

    internal static readonly Refusal CodeRefused = new(
        RefusalCode.NotFound,
        "This set-up URL does not work: it was used, it is older than a day, or it is mistyped. The command set-up prints a new one; "
            + "once there is a user, sign in instead.",
        "set-up code unknown, expired or used"
    );

    /// <summary>Returns a new code, or null if there is already a user.</summary>
    public async Task<string?> NewCodeAsync()
    {
        if (await users.AnyAsync())
            return null;
        var code = Base64Url.EncodeToString(RandomNumberGenerator.GetBytes(32));
        await database.WriteAsync(transaction =>
            transaction.Connection!.ExecuteAsync(
                "INSERT INTO setup_codes (hash, created_at) VALUES (@hash, @now)",
                new { hash = Hash(code), now = clock.GetUtcNow() },
                transaction
            )
        );
        return code;
    }

    public Task<bool> IsValidAsync(string code) =>
        database.ReadAsync(async connection =>
            code.Length <= CodeLengthMax
            && await connection.ExecuteScalarAsync<long>(
                "SELECT COUNT(*) FROM setup_codes WHERE hash = @hash AND created_at > @since AND NOT EXISTS (SELECT 1 FROM users)",
                new { hash = Hash(code), since = clock.GetUtcNow() - CodeLifetime }
            ) == 1
        );

    /// <summary>Creates the first user and organization. A refused entry keeps the code valid.</summary>
    public async Task<Outcome<User>> CompleteAsync(string code, string organizationName, string userName, string email, string password)
    {
        if (!await IsValidAsync(code))
            return CodeRefused;
        var made = await database.ChangeAsync<Guid>(async transaction =>
        {
            // Checked again inside the transaction: of two people with the URL, only one succeeds.
            var taken = await transaction.Connection!.ExecuteAsync(
                "DELETE FROM setup_codes WHERE hash = @hash AND NOT EXISTS (SELECT 1 FROM users)",
                new { hash = Hash(code) },
                transaction
            );
            if (taken == 0)
                return CodeRefused;
            await transaction.Connection!.ExecuteAsync("DELETE FROM setup_codes", transaction: transaction);

            var userId = await users.CreateAsync(transaction, Actor.Operator, email, userName, password);
            if (userId.IsRefused)
                return userId;
            var organizationId = await organizations.CreateRootAsync(transaction, Actor.Operator, organizationName, userId.Value);
            return organizationId.Refusal is { } refusal ? refusal : userId;
        });
        if (made.Refusal is { } refused)
            return refused;
        return (await users.FindAsync(made.Value))!;
    }

    private static byte[] Hash(string code) => SHA256.HashData(Encoding.UTF8.GetBytes(code));
}
