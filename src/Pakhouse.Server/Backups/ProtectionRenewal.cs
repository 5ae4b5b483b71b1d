using System.Data.Common;
using System.Security.Cryptography;
using System.Xml.Linq;
using Dapper;
using Microsoft.AspNetCore.DataProtection;
using Microsoft.AspNetCore.DataProtection.Repositories;

namespace Pakhouse.Server;

/// <param name="KeyId">Of the new key.</param>
/// <param name="Sessions">How many were voided.</param>
/// <param name="Columns">What was encrypted anew, and how many rows could not be read and were left.</param>
public sealed record ProtectionRenewalReport(Guid KeyId, int Sessions, IReadOnlyList<(string What, int Rows, int Unreadable)> Columns);

/// <summary>
/// After a flaw of Data Protection, or when its keys were seen by somebody: a new key, everything that is stored is encrypted with it, what
/// people hold (cookies, forms) is void, and the old keys are destroyed. A run that broke off is run again.
/// <para>Invariant: old keys are destroyed after what they encrypted has been encrypted anew and committed, never before.</para>
/// </summary>
public sealed class ProtectionRenewal(
    Database database, IDataProtectionProvider present, PakhouseOptions options, StateFile file, TimeProvider clock)
{
    private const int BatchRows = 500;

    /// <summary>Everything that is stored encrypted. A test compares it with the database, and with every purpose in the program.</summary>
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
        // Its first use makes the key. It is stored before anything is encrypted with it.
        var keyId = ProtectionKeyRing.KeyOf(renewed.CreateProtector("first use").Protect([0]))!.Value;
        var (element, name) = made.Stored!.Value;
        database.ProtectionKeys.StoreElement(element, name);

        var (written, report) = await database.WriteExclusiveAsync(async transaction =>
        {
            var columns = new List<(string, int, int)>();
            foreach (var column in Columns) columns.Add(await EncryptAsync(transaction, column, renewed));
            // Whoever could forge a cookie could read what a session keeps: the row goes, and with it the form that it kept.
            var sessions = await transaction.Connection!.ExecuteAsync("DELETE FROM sessions WHERE id > ''", transaction: transaction);
            await ActivityLog.WriteAsync(transaction, clock, Actor.Operator, AuditAction.ProtectionKeysRenew, null, keyId.ToString());
            // Sign-in steps and tickets of forms are sealed with this number too. Servers that still run see it change, and end.
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
            // The state is newer than the file says, which is no fault. The next start writes it.
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

    /// <summary>Null: its key is gone, or it is damaged. It is of no use to the server either.</summary>
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

    /// <param name="What">For people.</param>
    /// <param name="Read">Rows after an id, in order: id and content.</param>
    internal sealed record Column(string What, string Purpose, string Read, string Write);

    /// <summary>Holds the one key that the framework makes where there is none, so that nothing else is encrypted with.</summary>
    private sealed class NewKey : IXmlRepository
    {
        public (XElement Element, string Name)? Stored { get; private set; }

        public IReadOnlyCollection<XElement> GetAllElements() => Stored is { } key ? [new XElement(key.Element)] : [];

        public void StoreElement(XElement element, string friendlyName) => Stored = (new XElement(element), friendlyName);
    }
}
