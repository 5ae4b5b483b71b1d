using Dapper;
using Microsoft.AspNetCore.Identity;

namespace Pakhouse.Server;

/// <summary>
/// Reads the rows of people and passkeys for ASP.NET Core Identity's passkey handler. It only reads; <see cref="Passkeys"/> writes.
/// </summary>
public sealed class PasskeyStore(Database database, Users users) : IUserPasskeyStore<User>
{
    private sealed record Row
    {
        public byte[] CredentialId { get; init; } = [];
        public byte[] PublicKey { get; init; } = [];
        public string Name { get; init; } = "";
        public long SignCount { get; init; }
        public string Transports { get; init; } = "";
        public long IsBackupEligible { get; init; }
        public long IsBackedUp { get; init; }
        public byte[] Attestation { get; init; } = [];
        public byte[] ClientData { get; init; } = [];
        public DateTimeOffset CreatedAt { get; init; }

        public UserPasskeyInfo ToInfo() =>
            new(
                CredentialId,
                PublicKey,
                CreatedAt,
                (uint)SignCount,
                Transports.Split(' ', StringSplitOptions.RemoveEmptyEntries),
                isUserVerified: true,
                IsBackupEligible == 1,
                IsBackedUp == 1,
                Attestation,
                ClientData
            )
            {
                Name = Name,
            };
    }

    public Task<User?> FindByIdAsync(string userId, CancellationToken cancellationToken) =>
        Guid.TryParse(userId, out var id) ? users.FindAsync(id) : Task.FromResult<User?>(null);

    public async Task<IList<UserPasskeyInfo>> GetPasskeysAsync(User user, CancellationToken cancellationToken) =>
        [.. (await ReadAsync("user_id = @Id", new { user.Id })).Select(row => row.ToInfo())];

    public async Task<UserPasskeyInfo?> FindPasskeyAsync(User user, byte[] credentialId, CancellationToken cancellationToken) =>
        (await ReadAsync("user_id = @Id AND credential_id = @credentialId", new { user.Id, credentialId })).SingleOrDefault()?.ToInfo();

    public async Task<User?> FindByPasskeyIdAsync(byte[] credentialId, CancellationToken cancellationToken)
    {
        var id = await database.ReadAsync(connection =>
            connection.QuerySingleOrDefaultAsync<Guid?>(
                "SELECT user_id FROM passkeys WHERE credential_id = @credentialId",
                new { credentialId }
            )
        );
        return id is null ? null : await users.FindAsync(id.Value);
    }

    public Task<string> GetUserIdAsync(User user, CancellationToken cancellationToken) => Task.FromResult(user.Id.ToString());

    public Task<string?> GetUserNameAsync(User user, CancellationToken cancellationToken) => Task.FromResult<string?>(user.Email);

    private async Task<List<Row>> ReadAsync(string condition, object parameters) =>
        (
            await database.ReadAsync(connection =>
                connection.QueryAsync<Row>(
                    $"SELECT credential_id, public_key, name, sign_count, transports, is_backup_eligible, is_backed_up, attestation, "
                        + $"client_data, created_at FROM passkeys WHERE {condition}",
                    parameters
                )
            )
        ).AsList();

    // The handler writes nothing, and nothing else uses this store.
    public Task AddOrUpdatePasskeyAsync(User user, UserPasskeyInfo passkey, CancellationToken cancellationToken) =>
        throw new NotSupportedException();

    public Task RemovePasskeyAsync(User user, byte[] credentialId, CancellationToken cancellationToken) =>
        throw new NotSupportedException();

    public Task<IdentityResult> CreateAsync(User user, CancellationToken cancellationToken) => throw new NotSupportedException();

    public Task<IdentityResult> DeleteAsync(User user, CancellationToken cancellationToken) => throw new NotSupportedException();

    public Task<IdentityResult> UpdateAsync(User user, CancellationToken cancellationToken) => throw new NotSupportedException();

    public Task<User?> FindByNameAsync(string normalizedUserName, CancellationToken cancellationToken) => throw new NotSupportedException();

    public Task<string?> GetNormalizedUserNameAsync(User user, CancellationToken cancellationToken) => throw new NotSupportedException();

    public Task SetNormalizedUserNameAsync(User user, string? normalizedName, CancellationToken cancellationToken) =>
        throw new NotSupportedException();

    public Task SetUserNameAsync(User user, string? userName, CancellationToken cancellationToken) => throw new NotSupportedException();

    public void Dispose() { }
}
