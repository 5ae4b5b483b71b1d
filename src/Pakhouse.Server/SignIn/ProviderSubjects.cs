using System.Net;
using Dapper;

namespace Pakhouse.Server;

/// <summary>
/// Whom the platform's own OpenID Connect provider means. The first time a person is found by an address that the provider has verified; from
/// then on by issuer and subject alone (OpenID Connect Core §5.7): addresses change hands, and a person can change theirs at the provider.
/// <para>Invariant: a subject is one person for ever, and a person has one subject of an issuer.</para>
/// </summary>
public sealed class ProviderSubjects(Database database, Users users, SignInFailures failures, PakhouseOptions options, TimeProvider clock)
{
    private const int LengthMax = 255; // OpenID Connect Core §2, of a subject

    private static readonly Refusal unknown = new(RefusalCode.AccessDenied, "Nobody here has the address that your identity provider gave. Ask an owner of your organization to invite it.", "unknown address");
    private static readonly Refusal unverified = new(RefusalCode.AccessDenied, "Your identity provider has not verified your e-mail address, so it opens no account here. Verify it there, then sign in again.", "address not verified");
    private static readonly Refusal unsaid = new(RefusalCode.AccessDenied,
        "Your identity provider does not say whether it has verified your e-mail address, so it opens no account here. "
        + "The operator of this server can believe its addresses: setting OidcEmailIssuers.", "address not said to be verified");
    private static readonly Refusal unnamed = new(RefusalCode.AccessDenied,
        "Your identity provider gave no e-mail address, so nobody here can be found by it. Ask the operator of your identity provider to give it.", "no address");
    private static readonly Refusal other = new(RefusalCode.AccessDenied, "The person with this address signs in here with another account of your identity provider. Ask the operator of this server.", "address of a person with another subject");
    private static readonly Refusal disabled = new(RefusalCode.AccessDenied, "Your account here is suspended. Ask the operator of this server.", "disabled");

    /// <param name="email">As the provider gave it.</param>
    /// <param name="isVerified">Whether the provider says, in the same place, that the address is this person's. Null: it does not say (Entra ID).</param>
    public async Task<Outcome<User>> FindAsync(string issuer, string subject, string? email, bool? isVerified, IPAddress? address)
    {
        if (issuer.Length is 0 or > 2048 || subject.Length is 0 or > LengthMax) return unknown with { Reason = "issuer or subject out of bounds" };
        var found = await database.ChangeAsync<Guid>(async transaction =>
        {
            var known = await transaction.Connection!.QuerySingleOrDefaultAsync<Guid?>("SELECT user_id FROM provider_subjects WHERE issuer = @issuer AND subject = @subject", new { issuer, subject }, transaction);
            if (known is { } id) return id;
            if (email is null or { Length: 0 or > Users.EmailLengthMax }) return unnamed;
            if (isVerified == false) return unverified; // a no is a no, whoever is believed
            if (isVerified is null && !options.OidcEmailIssuers.Contains(issuer, StringComparer.Ordinal)) return unsaid;
            if (await users.FindByEmailAsync(email) is not { } user) return unknown;
            if (user.DisabledAt is not null) return disabled;
            var added = await transaction.Connection!.ExecuteAsync(
                "INSERT INTO provider_subjects (issuer, subject, user_id, created_at) VALUES (@issuer, @subject, @Id, @now) ON CONFLICT DO NOTHING", new { issuer, subject, user.Id, now = clock.GetUtcNow() }, transaction);
            return added == 1 ? user.Id : other;
        });
        if (found.Refusal is { } refusal)
        {
            await failures.RecordAsync(null, address, SignInMethod.Provider);
            return refusal;
        }

        return await users.FindAsync(found.Value) switch
        {
            null => unknown,
            { DisabledAt: not null } => disabled,
            var user => user,
        };
    }
}
