using System.Data.Common;
using System.Security.Cryptography;
using System.Xml.Linq;
using Dapper;
using Microsoft.AspNetCore.DataProtection;
using Microsoft.AspNetCore.DataProtection.Repositories;

namespace Pakhouse.Server;

/// <param name="KeyId">The id of the new key.</param>
/// <param name="Sessions">The number of ended sessions.</param>
/// <param name="Columns">What was encrypted again, and how many rows could not be read and stayed unchanged.</param>
public sealed record ProtectionRenewalReport(Guid KeyId, int Sessions, IReadOnlyList<(string What, int Rows, int Unreadable)> Columns);

/// <summary>
/// For a flaw of Data Protection, or when somebody saw its keys: creates a new key, encrypts everything stored with it, invalidates what
/// people hold (cookies, forms), and destroys the old keys. An interrupted run can be repeated.
/// <para>Invariant: old keys are destroyed only after the data that they encrypted has been encrypted again and committed.</para>
/// </summary>
public sealed class ProtectionRenewal(
    Database database, IDataProtectionProvider present, PakhouseOptions options, StateFile file, TimeProvider clock)
{
    private const int BatchRows = 500;

    /// <summary>Everything that is stored encrypted. A test compares it with the database and with every purpose in the program.</summary>
    internal static readonly IReadOnlyList<Column> Columns =
    [
        new("signing keys", SigningKeys.Purpose,
            "SELECT id, private_key AS content FROM signing_keys WHERE id > @after ORDER BY id LIMIT @count",
            "UPDATE signing_keys SET private_key = @content WHERE id = @id"),
        new("second factors", SecondFactor.Purpose,
            "SELECT user_id AS id, secret AS content FROM authenticators WHERE user_id > @after ORDER BY user_id LIMIT @count",
            "UPDATE authenticators SET secret = @content WHERE user_id = @id"),
        new("webhook secrets", WebhookSecrets.Purpose,
            "SELECT id, secret AS content FROM webhooks WHERE id > @after ORDER BY id LIMIT @count",
            "UPDATE webhooks SET secret = @content WHERE id = @id"),
        new("earlier webhook secrets", WebhookSecrets.Purpose,
            "SELECT id, old_secret AS content FROM webhooks WHERE id > @after AND old_secret IS NOT NULL ORDER BY id LIMIT @count",
            "UPDATE webhooks SET old_secret = @content WHERE id = @id"),
        new("waiting mails", Mails.Purpose,
            "SELECT id, content FROM mails WHERE id > @after ORDER BY id LIMIT @count",
            "UPDATE mails SET content = @content WHERE id = @id"),
    ];

    public async Task<ProtectionRenewalReport> RunAsync()
    {
        var made = new NewKey();
        var services = new ServiceCollection().AddLogging();
        ProtectionKeyRing.Configure(services, made, options.DataProtectionCertificate);
        await using var provider = services.BuildServiceProvider();
        var renewed = provider.GetRequiredService<IDataProtectionProvider>();
        // Its first use creates the key. It is stored before anything is encrypted with it.
        var keyId = ProtectionKeyRing.KeyOf(renewed.CreateProtector("first use").Protect([0]))!.Value;
        var (element, name) = made.Stored!.Value;
        database.ProtectionKeys.StoreElement(element, name);

        var (written, report) = await database.WriteExclusiveAsync(async transaction =>
        {
            var columns = new List<(string, int, int)>();
            foreach (var column in Columns) columns.Add(await EncryptAsync(transaction, column, renewed));
            // An attacker who could forge a cookie could read the content of a session, so the row and its saved form are deleted.
            var sessions = await transaction.Connection!.ExecuteAsync("DELETE FROM sessions WHERE id > ''", transaction: transaction);
            await ActivityLog.WriteAsync(transaction, clock, Actor.Operator, AuditAction.ProtectionKeysRenew, null, keyId.ToString());
            // Sign-in steps and idempotency tokens of forms include this number too. Servers that still run notice the change and stop.
            var old = await DatabaseState.ReadAsync(transaction.Connection!, transaction);
            var renewedAt = Math.Max(clock.GetUtcNow().ToUnixTimeMilliseconds(), old.RestoredAt + 1);
            await DatabaseState.WriteAsync(transaction, "restored_at", renewedAt.ToString());
            var state = await DatabaseState.ReadAsync(transaction.Connection!, transaction);
            return (state, new ProtectionRenewalReport(keyId, sessions, columns));
        });
        await database.ProtectionKeys.RemoveOthersAsync(name);
        try
        {
            file.Write(written);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The state is newer than the file, which is not an error. The next start writes the file.
        }

        return report;
    }

    private async Task<(string What, int Rows, int Unreadable)> EncryptAsync(
        DbTransaction transaction,
        Column column,
        IDataProtectionProvider renewed
    )
    {
        var (from, to) = (present.CreateProtector(column.Purpose), renewed.CreateProtector(column.Purpose));
        var (after, rows, unreadable) = ("", 0, 0);
        while (true)
        {
            var read = transaction.Connection!.QueryAsync<(string Id, byte[] Content)>(
                column.Read,
                new { after, count = BatchRows },
                transaction
            );
            var batch = (await read).AsList();
            foreach (var (id, content) in batch)
            {
                if (TryDecrypt(from, content) is not { } plain)
                {
                    unreadable++;
                    continue;
                }

                try
                {
                    rows += await transaction.Connection!.ExecuteAsync(column.Write, new { id, content = to.Protect(plain) }, transaction);
                }
                finally
                {
                    CryptographicOperations.ZeroMemory(plain);
                }
            }

            if (batch.Count < BatchRows)
                return (column.What, rows, unreadable);
            after = batch[^1].Id;
        }
    }

    /// <summary>Null: its key is gone, or it is damaged. The server could not read it either.</summary>
    private static byte[]? TryDecrypt(IDataProtector protector, byte[] content)
    {
        try
        {
            return protector.Unprotect(content);
        }
        catch (CryptographicException)
        {
            return null;
        }
    }

    /// <param name="What">The name for people.</param>
    /// <param name="Read">Reads the rows after an id, in order: id and content.</param>
    internal sealed record Column(string What, string Purpose, string Read, string Write);

    /// <summary>Holds the one key that the framework creates if there is none, so that nothing else is used for encryption.</summary>
    private sealed class NewKey : IXmlRepository
    {
        public (XElement Element, string Name)? Stored { get; private set; }

        public IReadOnlyCollection<XElement> GetAllElements() => Stored is { } key ? [new XElement(key.Element)] : [];

        public void StoreElement(XElement element, string friendlyName) => Stored = (new XElement(element), friendlyName);
    }
}
