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
/// The keys that sign tokens: made at the first start, published before they sign, kept until the last token they signed has
/// expired, then destroyed. Private keys stand in the database encrypted by Data Protection; in clear they exist in memory only.
/// <para>Invariant: the key that signs is the youngest whose time has come. It stood in the JWKS for
/// <see cref="PakhouseOptions.SigningKeyPublication"/> before, so a verifier never meets a key it could not have fetched.</para>
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
    /// How often a process looks for keys that another has made. As soon must all processes sign with another key when one has leaked.
    /// </summary>
    public static readonly TimeSpan RefreshInterval = TimeSpan.FromSeconds(5);

    /// <summary>Clocks of verifiers may lag; the usual allowance.</summary>
    private static readonly TimeSpan clockSkew = TimeSpan.FromMinutes(5);

    /// <summary>Of what is stored encrypted. The command <c>protection-keys renew</c> encrypts it anew.</summary>
    internal const string Purpose = "Pakhouse.SigningKeys.v1";

    private readonly IDataProtector protector = protection.CreateProtector(Purpose);
    private readonly CryptoProviderFactory signatures = new();
    private volatile IReadOnlyList<SigningKey> ring = [];

    /// <summary>Oldest first, the ones that wait for their time included.</summary>
    public IReadOnlyList<SigningKey> Published => ring;

    /// <summary>The key that signs at this moment.</summary>
    public SigningKey Current(DateTimeOffset now)
    {
        var keys = ring;
        for (var i = keys.Count - 1; i >= 0; i--)
            if (keys[i].ActivatesAt <= now) return keys[i];
        return keys.Count > 0 ? keys[0] : throw new InvalidOperationException("No signing key is loaded.");
    }

    /// <summary>Makes the successor of the current key. Refused while one is waiting already.</summary>
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
                    $"Key {waiting.Id} is waiting already and will sign from {waiting.ActivatesAt:u}: verifiers need that time to fetch "
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
    /// For a key that has leaked: a new key signs at once, and every other one is destroyed and leaves the JWKS. What they signed is
    /// refused by whoever fetches the JWKS again.
    /// </summary>
    public async Task<Outcome<SigningKey>> RotateNowAsync(Actor actor)
    {
        if (Guard.Demand(actor, Permission.RotateSigningKeys) is { } refused) return refused;
        var id = await database.WriteExclusiveAsync(transaction => ReplaceAllAsync(transaction, actor));
        await LoadAsync();
        return ring.Single(key => key.Public.Id == id);
    }

    /// <summary>Destroys every key and makes a new one that signs at once.</summary>
    internal async Task<string> ReplaceAllAsync(DbTransaction transaction, Actor actor)
    {
        // No key is read: also those go that nothing can decrypt any more.
        foreach (
            var id in await transaction.Connection!.QueryAsync<string>("SELECT id FROM signing_keys ORDER BY id", transaction: transaction)
        )
            await DestroyAsync(transaction, actor, id, "replaced at once");
        return await InsertAsync(transaction, actor, clock.GetUtcNow(), isFirst: true);
    }

    /// <summary>Destroys a key that waits for its time. It has signed nothing.</summary>
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
                    "There is no such signing key; signing-keys list names those that are.",
                    "no such signing key"
                );
            if (row.ActivatesAt <= clock.GetUtcNow())
                return new Refusal(
                    RefusalCode.Conflict,
                    "This key signs, or has signed, and its tokens are in use. If it has leaked: signing-keys rotate --now.",
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
    /// Brings memory and database together: makes the first key, a successor for one that is due or of another algorithm than the
    /// setting asks for, destroys keys whose last token is dead, and loads the rest.
    /// </summary>
    public async Task RefreshAsync()
    {
        var now = clock.GetUtcNow();
        var rows = await LoadAsync(); // a process that cannot read what is there must not add to it
        if (IsSuccessorDue(rows, now) || rows.Any(row => IsDead(row, rows, now)))
        {
            await database.WriteExclusiveAsync(async transaction =>
            {
                // Read again: of two processes that saw the same, one is first.
                var newest = await ReadRowsAsync(transaction.Connection!, transaction);
                foreach (var dead in newest.Where(row => IsDead(row, newest, now)).ToList())
                    await transaction.Connection!.ExecuteAsync("DELETE FROM signing_keys WHERE id = @Id", new { dead.Id }, transaction);
                if (IsSuccessorDue(newest, now)) await InsertAsync(transaction, Actor.Operator, now, isFirst: newest.Count == 0);
                return true;
            });
            await LoadAsync();
        }
    }

    /// <summary>Takes into memory what the database holds, and changes nothing there.</summary>
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
        await RefreshAsync(); // before the port opens: the first exchange finds a key
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
                    // Said where it was found. Nothing is rotated or destroyed.
                }
                catch (Exception e) when (e is not OperationCanceledException)
                {
                    if (!OutageLog.IsTold(e)) LogNotRefreshed(e); // whatever it is: the keys in memory go on signing
                }
            }
        }
        catch (OperationCanceledException)
        {
            // Stopping.
        }
    }

    private bool IsSuccessorDue(IReadOnlyList<Row> rows, DateTimeOffset now) =>
        rows.Count == 0 || rows[^1].CreatedAt + options.SigningKeyRotation <= now
        // Not while one waits: two processes with different settings, as in a rolling change, would outbid each other without end.
        || (rows[^1].ActivatesAt <= now && rows[^1].Algorithm != options.SigningAlgorithm);

    /// <summary>A key signs until its successor does; the last token then lives at most as long as the settings can make it live.</summary>
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

    [LoggerMessage(Level = LogLevel.Warning, Message = "Signing keys could not be brought up to date; those in memory stay in use")]
    private partial void LogNotRefreshed(Exception exception);
}
