using Microsoft.AspNetCore.Identity;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;

namespace Pakhouse.Server;

/// <summary>
/// The rules for a password: ASP.NET Core Identity's validator, set to require length instead of kinds of characters (NIST SP 800-63B-4
/// §3.1.1.2).
/// </summary>
public sealed class PasswordRules : IDisposable
{
    /// <summary>Characters. The cost of the hash grows with them.</summary>
    public const int LengthMax = 256;

    private readonly PasswordValidator<User> validator = new();
    private readonly UserManager<User> manager;

    public PasswordRules(IOptions<IdentityOptions> identity) =>
        // The validator takes its rules from a UserManager and uses nothing else of it.
        manager = new(
            new NoStore(),
            identity,
            null!,
            [],
            [],
            null!,
            new IdentityErrorDescriber(),
            null!,
            NullLogger<UserManager<User>>.Instance
        );

    public static void Configure(IdentityOptions identity, PakhouseOptions options)
    {
        identity.Password.RequiredLength = options.PasswordLengthMin;
        identity.Password.RequiredUniqueChars = 4;
        identity.Password.RequireDigit =
            identity.Password.RequireLowercase =
            identity.Password.RequireUppercase =
            identity.Password.RequireNonAlphanumeric =
                false;
        identity.Lockout.MaxFailedAccessAttempts = options.SignInAttemptsMax;
        identity.Lockout.DefaultLockoutTimeSpan = options.SignInLockout;
    }

    public async Task<Refusal?> CheckAsync(string password)
    {
        if (password.Length > LengthMax)
            return Refusal.At("password", RefusalCode.InvalidRequest, $"use at most {LengthMax} characters.", "password too long");
        var result = await validator.ValidateAsync(manager, new User(), password);
        return result.Succeeded
            ? null
            : Refusal.At(
                "password",
                RefusalCode.InvalidRequest,
                $"{string.Join(' ', result.Errors.Select(error => error.Description))}",
                "password against the rules"
            );
    }

    public void Dispose() => manager.Dispose();

    /// <summary>A UserManager requires a store; this one is never called.</summary>
    private sealed class NoStore : IUserStore<User>
    {
        public Task<IdentityResult> CreateAsync(User user, CancellationToken cancellationToken) => throw new NotSupportedException();

        public Task<IdentityResult> DeleteAsync(User user, CancellationToken cancellationToken) => throw new NotSupportedException();

        public Task<IdentityResult> UpdateAsync(User user, CancellationToken cancellationToken) => throw new NotSupportedException();

        public Task<User?> FindByIdAsync(string userId, CancellationToken cancellationToken) => throw new NotSupportedException();

        public Task<User?> FindByNameAsync(string normalizedUserName, CancellationToken cancellationToken) =>
            throw new NotSupportedException();

        public Task<string?> GetNormalizedUserNameAsync(User user, CancellationToken cancellationToken) =>
            throw new NotSupportedException();

        public Task<string> GetUserIdAsync(User user, CancellationToken cancellationToken) => throw new NotSupportedException();

        public Task<string?> GetUserNameAsync(User user, CancellationToken cancellationToken) => throw new NotSupportedException();

        public Task SetNormalizedUserNameAsync(User user, string? normalizedName, CancellationToken cancellationToken) =>
            throw new NotSupportedException();

        public Task SetUserNameAsync(User user, string? userName, CancellationToken cancellationToken) => throw new NotSupportedException();

        public void Dispose() { }
    }
}
