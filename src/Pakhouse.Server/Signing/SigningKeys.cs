using System.Buffers.Text;
using System.Data.Common;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Serialization;
using Dapper;
using Microsoft.AspNetCore.DataProtection;
using Microsoft.IdentityModel.Tokens;

namespace Pakhouse.Server;

/// <summary>
/// The keys that sign tokens. They are created at the first start, published before they sign, kept until the last token they signed has
/// expired, and then destroyed. Private keys are stored in the database, encrypted by Data Protection; in clear text they exist in memory
/// only.
/// <para>Invariant: the youngest key whose start time has passed signs. Before that it was in the JWKS for <see
/// cref="PakhouseOptions.SigningKeyPublication"/>, so a verifier never meets a key that it could not have fetched.</para>
/// </summary>
public sealed partial class SigningKeys(
    Database database,
    IDataProtectionProvider protection,
    ProtectionKeyRing protectionKeys,
    PakhouseOptions options,
    TimeProvider clock,
    ILogger<SigningKeys> log
) : BackgroundService
{
    /// <summary>
    /// How often a process checks for keys that another process created. After a leak, all processes must sign with the new key within this
    /// time.
    /// </summary>
    public static readonly TimeSpan RefreshInterval = TimeSpan.FromSeconds(5);

    /// <summary>The usual allowance for verifiers whose clocks are late.</summary>
    private static readonly TimeSpan clockSkew = TimeSpan.FromMinutes(5);

    /// <summary>The Data Protection purpose of stored private keys. The command <c>protection-keys renew</c> encrypts them again.</summary>
    internal const string Purpose = "Pakhouse.SigningKeys.v1";

    private readonly IDataProtector protector = protection.CreateProtector(Purpose);
    private readonly CryptoProviderFactory signatures = new();
    private volatile IReadOnlyList<SigningKey> ring = [];

    /// <summary>Oldest first, with the keys that do not sign yet.</summary>
    public IReadOnlyList<SigningKey> Published => ring;

    /// <summary>The key that signs at this moment.</summary>
    public SigningKey Current(DateTimeOffset now)
    {
        var keys = ring;
        for (var i = keys.Count - 1; i >= 0; i--)
            if (keys[i].ActivatesAt <= now) return keys[i];
        return keys.Count > 0 ? keys[0] : throw new InvalidOperationException("No signing key is loaded.");
    }

    /// <summary>Creates the successor of the current key. Refused if one is already waiting.</summary>
    public async Task<Outcome<SigningKey>> RotateAsync(Actor actor)
    {
        if (Guard.Demand(actor, Permission.RotateSigningKeys) is { } refused)
            return refused;
        var rotated = await database.ChangeAsync<string>(async transaction =>
        {
            var now = clock.GetUtcNow();
            var rows = await ReadRowsAsync(transaction.Connection!, transaction);
            return rows.FirstOrDefault(row => row.ActivatesAt > now) is { } waiting
                ? new Refusal(
                    RefusalCode.Conflict,
                    $"Key {waiting.Id} is already waiting and will sign from {waiting.ActivatesAt:u}: verifiers need that time to fetch "
                        + $"it. Nothing was changed. If it should never sign: signing-keys abandon {waiting.Id}",
                    "a successor waits"
                )
                : await InsertAsync(transaction, actor, now, isFirst: rows.Count == 0);
        });
        if (rotated.Refusal is { } refusal)
            return refusal;
        await RefreshAsync();
        return ring.Single(key => key.Public.Id == rotated.Value);
    }

    /// <summary>
    /// For a leaked key: a new key signs at once, and every other key is destroyed and leaves the JWKS. Verifiers refuse their tokens as
    /// soon as they fetch the JWKS again.
    /// </summary>
    public async Task<Outcome<SigningKey>> RotateNowAsync(Actor actor)
    {
        if (Guard.Demand(actor, Permission.RotateSigningKeys) is { } refused) return refused;
        var id = await database.WriteExclusiveAsync(transaction => ReplaceAllAsync(transaction, actor));
        await LoadAsync();
        return ring.Single(key => key.Public.Id == id);
    }

    /// <summary>Destroys every key and creates a new one that signs at once.</summary>
    internal async Task<string> ReplaceAllAsync(DbTransaction transaction, Actor actor)
    {
        // No key is read, so keys that nothing can decrypt any more are destroyed too.
        foreach (
            var id in await transaction.Connection!.QueryAsync<string>("SELECT id FROM signing_keys ORDER BY id", transaction: transaction)
        )
            await DestroyAsync(transaction, actor, id, "replaced at once");
        return await InsertAsync(transaction, actor, clock.GetUtcNow(), isFirst: true);
    }

    /// <summary>Destroys a key that does not sign yet. It has signed nothing.</summary>
    public async Task<Outcome<bool>> AbandonAsync(Actor actor, string id)
    {
        if (Guard.Demand(actor, Permission.RotateSigningKeys) is { } refused)
            return refused;
        return await database.ChangeAsync<bool>(async transaction =>
        {
            var rows = await ReadRowsAsync(transaction.Connection!, transaction);
            if (rows.FirstOrDefault(row => row.Id == id) is not { } row)
                return new Refusal(
                    RefusalCode.NotFound,
                    "There is no such signing key. The command signing-keys list shows all keys.",
                    "no such signing key"
                );
            if (row.ActivatesAt <= clock.GetUtcNow())
                return new Refusal(
                    RefusalCode.Conflict,
                    "This key signs or has signed, and its tokens are in use. If it has leaked, run signing-keys rotate --now.",
                    "the key does not wait"
                );
            await DestroyAsync(transaction, actor, id, "abandoned");
            return true;
        });
    }

    private async Task DestroyAsync(DbTransaction transaction, Actor actor, string id, string why)
    {
        await transaction.Connection!.ExecuteAsync("DELETE FROM signing_keys WHERE id = @id", new { id }, transaction);
        await ActivityLog.WriteAsync(transaction, clock, actor, AuditAction.SigningKeyDelete, null, id, detail: why);
    }

    /// <summary>
    /// Synchronizes memory and database: creates the first key, creates a successor for a key that is due or uses another algorithm than
    /// the setting, destroys keys whose last token has expired, and loads the rest.
    /// </summary>
    public async Task RefreshAsync()
    {
        var now = clock.GetUtcNow();
        var rows = await LoadAsync(); // a process that cannot read the stored keys must not add any
        if (IsSuccessorDue(rows, now) || rows.Any(row => IsDead(row, rows, now)))
        {
            await database.WriteExclusiveAsync(async transaction =>
            {
                // Read again: two processes may have seen the same state, and only one may act on it.
                var newest = await ReadRowsAsync(transaction.Connection!, transaction);
                foreach (var dead in newest.Where(row => IsDead(row, newest, now)).ToList())
                    await transaction.Connection!.ExecuteAsync("DELETE FROM signing_keys WHERE id = @Id", new { dead.Id }, transaction);
                if (IsSuccessorDue(newest, now)) await InsertAsync(transaction, Actor.Operator, now, isFirst: newest.Count == 0);
                return true;
            });
            await LoadAsync();
        }
    }

    /// <summary>Loads the keys from the database and changes nothing there.</summary>
    internal async Task<IReadOnlyList<Row>> LoadAsync()
    {
        var rows = await database.ReadAsync(connection => ReadRowsAsync(connection, null));
        var known = ring;
        if (!rows.Select(row => row.Id).SequenceEqual(known.Select(key => key.Public.Id)))
            ring = [.. rows.Select(row => known.FirstOrDefault(key => key.Public.Id == row.Id) ?? Load(row))];
        return rows;
    }

    public override async Task StartAsync(CancellationToken cancellationToken)
    {
        await RefreshAsync(); // before the server listens, so that the first exchange finds a key
        await base.StartAsync(cancellationToken);
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(RefreshInterval, clock);
        try
        {
            while (await timer.WaitForNextTickAsync(stoppingToken))
            {
                try
                {
                    await RefreshAsync();
                }
                catch (UnfitException)
                {
                    // The failure was logged where it was found. Nothing is rotated or destroyed.
                }
                catch (Exception e) when (e is not OperationCanceledException)
                {
                    if (!OutageLog.IsTold(e)) LogNotRefreshed(e); // any failure: the keys in memory continue to sign
                }
            }
        }
        catch (OperationCanceledException)
        {
            // The server is stopping.
        }
    }

    private bool IsSuccessorDue(IReadOnlyList<Row> rows, DateTimeOffset now) =>
        rows.Count == 0 || rows[^1].CreatedAt + options.SigningKeyRotation <= now
        // Not while a key waits: during a rolling change, two processes with different settings would otherwise replace each other's key
        // for ever.
        || (rows[^1].ActivatesAt <= now && rows[^1].Algorithm != options.SigningAlgorithm);

    /// <summary>A key signs until its successor does. Its last token then lives at most as long as the settings allow.</summary>
    private static bool IsDead(Row row, IReadOnlyList<Row> rows, DateTimeOffset now) =>
        rows.FirstOrDefault(other => other.ActivatesAt > row.ActivatesAt) is { } successor
        && successor.ActivatesAt + PakhouseOptions.TokenLifetimeMax + clockSkew < now;

    private async Task<string> InsertAsync(DbTransaction transaction, Actor actor, DateTimeOffset now, bool isFirst)
    {
        using AsymmetricAlgorithm algorithm =
            options.SigningAlgorithm == "RS256" ? RSA.Create(2048) : ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var id = Describe(algorithm).Id;
        var plain = algorithm.ExportPkcs8PrivateKey();
        try
        {
            await transaction.Connection!.ExecuteAsync(
                "INSERT INTO signing_keys (id, algorithm, private_key, created_at, activates_at) VALUES (@id, @SigningAlgorithm, @sealed, "
                    + "@now, @activatesAt)",
                new
                {
                    id,
                    options.SigningAlgorithm,
                    @sealed = protector.Protect(plain),
                    now,
                    activatesAt = isFirst ? now : now + options.SigningKeyPublication,
                },
                transaction
            );
        }
        finally
        {
            CryptographicOperations.ZeroMemory(plain);
        }

        await ActivityLog.WriteAsync(transaction, clock, actor, AuditAction.SigningKeyCreate, null, id);
        return id;
    }

    private SigningKey Load(Row row)
    {
        byte[] plain;
        try
        {
            plain = protector.Unprotect(row.PrivateKey);
        }
        catch (CryptographicException e)
        {
            throw new StartupException($"Signing key {row.Id} cannot be decrypted. {protectionKeys.Explain(row.PrivateKey)}", e);
        }

        try
        {
            AsymmetricAlgorithm algorithm = row.Algorithm == "RS256" ? RSA.Create() : ECDsa.Create();
            algorithm.ImportPkcs8PrivateKey(plain, out _);
            SecurityKey key = algorithm is RSA rsa ? new RsaSecurityKey(rsa) : new ECDsaSecurityKey((ECDsa)algorithm);
            key.KeyId = row.Id;
            key.CryptoProviderFactory = signatures;
            return new SigningKey(Describe(algorithm), new SigningCredentials(key, row.Algorithm), row.CreatedAt, row.ActivatesAt)
            {
                Signer = new TokenSigner(algorithm),
            };
        }
        finally
        {
            CryptographicOperations.ZeroMemory(plain);
        }
    }

    private static PublicKey Describe(AsymmetricAlgorithm algorithm)
    {
        var key = algorithm is RSA rsa
            ? JsonWebKeyConverter.ConvertFromRSASecurityKey(new RsaSecurityKey(rsa.ExportParameters(includePrivateParameters: false)))
            : JsonWebKeyConverter.ConvertFromECDsaSecurityKey(new ECDsaSecurityKey((ECDsa)algorithm));
        var isRsa = algorithm is RSA;
        return new PublicKey
        {
            KeyType = key.Kty,
            Algorithm = isRsa ? "RS256" : "ES256",
            Id = Base64UrlEncoder.Encode(key.ComputeJwkThumbprint()),
            Curve = isRsa ? null : key.Crv,
            X = isRsa ? null : key.X,
            Y = isRsa ? null : key.Y,
            Modulus = isRsa ? key.N : null,
            Exponent = isRsa ? key.E : null,
        };
    }

    private static async Task<IReadOnlyList<Row>> ReadRowsAsync(DbConnection connection, DbTransaction? transaction) =>
        (
            await connection.QueryAsync<Row>(
                "SELECT id, algorithm, private_key, created_at, activates_at FROM signing_keys ORDER BY activates_at, id",
                transaction: transaction
            )
        ).AsList();

    internal sealed record Row
    {
        public string Id { get; init; } = "";
        public string Algorithm { get; init; } = "";
        public byte[] PrivateKey { get; init; } = [];
        public DateTimeOffset CreatedAt { get; init; }
        public DateTimeOffset ActivatesAt { get; init; }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "Signing keys could not be refreshed; the keys in memory stay in use")]
    private partial void LogNotRefreshed(Exception exception);
}
