using System.Security.Cryptography;
using System.Text.Json;
using Dapper;
using Microsoft.AspNetCore.DataProtection;

namespace Pakhouse.Server;

/// <summary>
/// Keeps the form that a person filled in before they had to confirm a sign-in, until they return to it.
/// <para>Invariant: one form for each session, encrypted for that session only, for <see cref="Lifetime"/>, read once. It ends with the
/// session. Passwords and one-time codes and tokens are not kept.</para>
/// </summary>
public sealed class KeptForms(Database database, IDataProtectionProvider protection, TimeProvider clock)
{
    public static readonly TimeSpan Lifetime = TimeSpan.FromMinutes(30);

    /// <summary>The most bytes of a form; a larger one is not kept.</summary>
    public const int LengthMax = 16 * 1024;

    private static readonly string[] once = ["Ticket", "Code", "Credential"];

    private sealed record Form(string Path, long Until, Dictionary<string, string[]> Fields);

    public Task KeepAsync(Guid sessionId, string path, IFormCollection fields)
    {
        var kept = fields
            .Where(field => !IsSecret(field.Key))
            .ToDictionary(field => field.Key, field => field.Value.Select(value => value ?? "").ToArray(), StringComparer.Ordinal);
        var json = JsonSerializer.SerializeToUtf8Bytes(new Form(path, (clock.GetUtcNow() + Lifetime).ToUnixTimeMilliseconds(), kept));
        var form = json.Length > LengthMax ? null : Protector(sessionId).Protect(json);
        return database.WriteAsync(transaction =>
            transaction.Connection!.ExecuteAsync(
                "UPDATE sessions SET kept_form = @form WHERE id = @sessionId AND ended_at IS NULL",
                new { form, sessionId },
                transaction
            )
        );
    }

    /// <summary>Returns and deletes the form for this page; null: there is none, or it is too old.</summary>
    public async Task<IReadOnlyDictionary<string, string[]>?> TakeAsync(Guid sessionId, string path)
    {
        var kept = await database.ReadAsync(connection =>
            connection.ExecuteScalarAsync<byte[]?>("SELECT kept_form FROM sessions WHERE id = @sessionId", new { sessionId })
        );
        if (kept is null)
            return null;
        await database.WriteAsync(transaction =>
            transaction.Connection!.ExecuteAsync(
                "UPDATE sessions SET kept_form = NULL WHERE id = @sessionId",
                new { sessionId },
                transaction
            )
        );
        try
        {
            var form = JsonSerializer.Deserialize<Form>(Protector(sessionId).Unprotect(kept))!;
            return form.Path == path && DateTimeOffset.FromUnixTimeMilliseconds(form.Until) > clock.GetUtcNow() ? form.Fields : null;
        }
        catch (CryptographicException)
        {
            return null;
        }
    }

    private static bool IsSecret(string name) =>
        once.Contains(name, StringComparer.OrdinalIgnoreCase)
        || name.StartsWith("__", StringComparison.Ordinal)
        || name.Contains("password", StringComparison.OrdinalIgnoreCase);

    private IDataProtector Protector(Guid sessionId) => protection.CreateProtector("Pakhouse.KeptForms.v1", sessionId.ToString());
}
