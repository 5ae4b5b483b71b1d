using System.Data.Common;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Xml.Linq;
using Dapper;

namespace Pakhouse.Server;

/// <summary>
/// Copies everything from one database to another, empty one: in one transaction there, from one consistent view here, verified row by row.
/// The source stays unchanged. Keys, sign-ins and sessions keep working with the copy.
/// </summary>
public static class StorageCopy
{
    private const int BatchRows = 200;

    /// <summary>
    /// The tables in the order of their references, each with the order of its rows: roots before their sub-organizations.
    /// </summary>
    private static readonly (string Table, string OrderBy)[] tables =
    [
        ("users", "id"),
        ("organizations", "CASE WHEN root_id IS NULL THEN 0 ELSE 1 END, id"),
        ("memberships", "id"),
        ("access_keys", "id"),
        ("counters", "name"),
        ("key_use_hours", "key_id, hour"),
        ("key_networks", "key_id, network"),
        ("key_late_uses", "key_id"),
        ("key_expiry_notices", "key_id, days"),
        ("invitations", "id"),
        ("invitation_parts", "invitation_id, organization_id"),
        ("invitation_counts", "target"),
        ("mails", "id"),
        ("webhooks", "id"),
        ("webhook_messages", "webhook_id, id"),
        ("webhook_attempts", "webhook_id, message_id, number"),
        ("signing_keys", "id"),
        ("sign_in_attempts", "email_hash"),
        ("sign_in_failures", "hour, network, method"),
        ("setup_codes", "hash"),
        ("sessions", "id"),
        ("authenticators", "user_id"),
        ("recovery_codes", "user_id, hash"),
        ("passkeys", "id"),
        ("provider_subjects", "issuer, subject"),
        ("provider_logouts", "hash"),
        ("password_resets", "hash"),
        ("spent_challenges", "hash"),
        ("activity", "id"),
        ("deployment", "name"),
        ("status_gaps", "first_index"),
    ];

    /// <summary>The result for one table after it was copied.</summary>
    public sealed record Table(string Name, long Rows, string Checksum);

    /// <param name="progress">Receives the table, the number of copied rows and the number of all rows.</param>
    /// <param name="place">The location to record in the target as the place where it is served; null: the first server that starts there
    /// records it.</param>
    /// <exception cref="StartupException">The target is not empty, or differs from the source after the copy; nothing was changed
    /// there.</exception>
    public static Task<IReadOnlyList<Table>> RunAsync(
        Database from,
        Database to,
        Action<string, long, long> progress,
        string? place = null
    ) =>
        from.SnapshotAsync(async source =>
        {
            var copied = await to.WriteAsync<IReadOnlyList<Table>>(async target =>
            {
                foreach (var (table, _) in tables)
                    if (await CountAsync(target, table) > 0)
                        throw new StartupException(
                            $"{to.DisplayName} is not empty: it has rows in {table}. Copy into a database that no server has been started "
                                + $"on. Nothing was changed."
                        );

                var done = new List<Table>();
                foreach (var (table, orderBy) in tables)
                    done.Add(await CopyAsync(source, target, table, orderBy, progress));

                if (place is null)
                    await target.Connection!.ExecuteAsync("DELETE FROM deployment WHERE name = 'place'", transaction: target);
                else
                    await DatabaseState.WriteAsync(target, "place", place);
                CopyProtectionKeys(from, to);
                return done;
            });
            return copied;
        });

    /// <summary>Without these, nothing encrypted can be read on the other side. Existing keys there stay.</summary>
    internal static void CopyProtectionKeys(Database from, Database to)
    {
        var there = to.ProtectionKeys.GetAllElements().Select(Name).ToHashSet(StringComparer.Ordinal);
        foreach (var element in from.ProtectionKeys.GetAllElements().Where(element => !there.Contains(Name(element))))
            to.ProtectionKeys.StoreElement(element, Name(element));
    }

    private static async Task<Table> CopyAsync(
        DbTransaction source,
        DbTransaction target,
        string table,
        string orderBy,
        Action<string, long, long> progress
    )
    {
        var (rows, total) = (0L, await CountAsync(source, table));
        progress(table, 0, total);
        using var read = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        string[] columns;
        await using (
            var reader = await source.Connection!.ExecuteReaderAsync(
                $"SELECT * FROM {table} ORDER BY {orderBy}",
                transaction: source,
                commandTimeout: 0
            )
        )
        {
            columns = [.. Enumerable.Range(0, reader.FieldCount).Select(reader.GetName)];
            var batch = new List<object[]>(BatchRows);
            while (await reader.ReadAsync())
            {
                var row = new object[columns.Length];
                reader.GetValues(row);
                Add(read, row);
                batch.Add(row);
                if (batch.Count < BatchRows)
                    continue;
                await InsertAsync(target, table, columns, batch);
                progress(table, rows += batch.Count, total);
                batch.Clear();
            }

            if (batch.Count > 0)
            {
                await InsertAsync(target, table, columns, batch);
                progress(table, rows += batch.Count, total);
            }
        }

        // Read back from the target: what is stored there, not what was sent.
        var back = 0L;
        using var written = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        await using (
            var reader = await target.Connection!.ExecuteReaderAsync(
                $"SELECT {string.Join(", ", columns)} FROM {table} ORDER BY {orderBy}",
                transaction: target,
                commandTimeout: 0
            )
        )
        {
            var row = new object[reader.FieldCount];
            for (; await reader.ReadAsync(); back++)
            {
                reader.GetValues(row);
                Add(written, row);
            }
        }

        var checksum = Convert.ToHexStringLower(read.GetHashAndReset());
        if (rows != total || back != total || Convert.ToHexStringLower(written.GetHashAndReset()) != checksum)
            throw new StartupException(
                $"The copy of {table} differs from the source ({total} rows there, {back} here). Nothing was changed in the target."
            );
        return new Table(table, total, checksum);
    }

    private static async Task InsertAsync(DbTransaction target, string table, string[] columns, List<object[]> rows)
    {
        await using var command = target.Connection!.CreateCommand();
        command.Transaction = target;
        var sql = new StringBuilder($"INSERT INTO {table} ({string.Join(", ", columns)}) VALUES ");
        for (var row = 0; row < rows.Count; row++)
        {
            sql.Append(row == 0 ? "(" : ", (");
            for (var column = 0; column < columns.Length; column++)
            {
                var parameter = command.CreateParameter();
                (parameter.ParameterName, parameter.Value) = ($"@p{command.Parameters.Count}", rows[row][column]);
                command.Parameters.Add(parameter);
                sql.Append(column == 0 ? "" : ", ").Append(parameter.ParameterName);
            }

            sql.Append(')');
        }

        command.CommandText = sql.ToString();
        await command.ExecuteNonQueryAsync();
    }

    /// <summary>A row as bytes, identical on every database: for each column its kind, its length and its content.</summary>
    private static void Add(IncrementalHash hash, object[] row)
    {
        foreach (var value in row)
        {
            var (kind, content) = value switch
            {
                DBNull => ((byte)0, (byte[])[]),
                string text => ((byte)1, Encoding.UTF8.GetBytes(text)),
                long number => ((byte)2, Encoding.ASCII.GetBytes(number.ToString(CultureInfo.InvariantCulture))),
                byte[] bytes => ((byte)3, bytes),
                _ => throw new NotSupportedException($"A column of type {value.GetType().Name}."),
            };
            hash.AppendData([kind, .. BitConverter.GetBytes(content.Length)]);
            hash.AppendData(content);
        }
    }

    private static Task<long> CountAsync(DbTransaction transaction, string table) =>
        transaction.Connection!.ExecuteScalarAsync<long>($"SELECT COUNT(*) FROM {table}", transaction: transaction, commandTimeout: 0);

    /// <summary>The names that Data Protection itself uses: <c>key-…</c>, <c>revocation-…</c>.</summary>
    private static string Name(XElement element) =>
        $"{element.Name.LocalName}-"
        + (element.Attribute("id")?.Value ?? Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(element.ToString())))[..16]);
}
