using System.Net;
using System.Security.Cryptography.X509Certificates;
using Microsoft.IdentityModel.Tokens;

namespace Pakhouse.Server;

/// <summary>
/// Every setting, with its unit in its name, its default and its bounds. Settings come from the section <c>Pakhouse</c> of the usual
/// ASP.NET Core configuration: environment (<c>Pakhouse__TokenLifetimeSeconds=600</c>), command line (<c>--Pakhouse:TokenLifetimeSeconds
/// 600</c>), <c>appsettings.json</c>. All configuration errors are reported together, before the server starts listening.
/// </summary>
public sealed partial class PakhouseOptions
{
    public const string Section = "Pakhouse";

    /// <summary>The longest possible lifetime of a token; also how long a replaced signing key stays published.</summary>
    public static readonly TimeSpan TokenLifetimeMax = TimeSpan.FromHours(24);

    /// <summary>Address and port to listen on.</summary>
    public required Uri Listen { get; init; }

    /// <summary>The public URL of this server: the issuer of its tokens. Null: the address that it listens on.</summary>
    public required Uri? PublicAddress { get; init; }

    /// <summary>Folder of the database and of the Data Protection keys. Absolute; created with mode 0700 if it is missing.</summary>
    public required string DataFolder { get; init; }

    /// <summary>
    /// PostgreSQL instead of SQLite; null: SQLite. <see cref="PostgresConnection.Parse"/> completes it. It contains a password.
    /// </summary>
    public required Npgsql.NpgsqlConnectionStringBuilder? Postgres { get; init; }

    /// <summary>
    /// Whether statements are prepared on PostgreSQL. Turn it off behind a pooler that reassigns connections between transactions and does
    /// not support prepared statements (PgBouncer before 1.21).
    /// </summary>
    public required bool PostgresPrepare { get; init; }

    /// <summary>First part of every key: 2 to 16 of <c>[a-z0-9]</c>, starting with a letter. Keys of an earlier brand keep
    /// working.</summary>
    public required string Brand { get; init; }

    /// <summary>Earlier brands of this deployment. Their keys still work, so scan rules and leak endpoints must know them.</summary>
    public required IReadOnlyList<string> EarlierBrands { get; init; }

    /// <summary>The <c>aud</c> of tokens. Null: the issuer.</summary>
    public required string? Audience { get; init; }

    public required TimeSpan TokenLifetime { get; init; }

    /// <summary>
    /// How long a verifier may use a status list before it must fetch it again. Within this time it refuses the tokens of a deleted key.
    /// </summary>
    public required TimeSpan StatusTtl { get; init; }

    /// <summary>APIs and gateways that may introspect tokens and keys.</summary>
    public required IReadOnlyDictionary<string, IReadOnlyList<byte[]>> ResourceServers { get; init; }

    /// <summary><c>ES256</c>, or <c>RS256</c> for older verifiers (a sixth of the rate).</summary>
    public required string SigningAlgorithm { get; init; }

    /// <summary>Age at which a signing key is replaced.</summary>
    public required TimeSpan SigningKeyRotation { get; init; }

    /// <summary>How long a new signing key is in the JWKS before it signs.</summary>
    public required TimeSpan SigningKeyPublication { get; init; }

    /// <summary>
    /// Encrypts the Data Protection keys, and so the signing keys, at rest. Null: only the mode of the data folder protects them.
    /// </summary>
    public required X509Certificate2? DataProtectionCertificate { get; init; }

    /// <summary>Proxies whose <c>X-Forwarded-For</c> is trusted. Empty: none.</summary>
    public required IReadOnlyList<IPNetwork> TrustedProxies { get; init; }

    /// <summary>Every scope that can limit a key or be requested.</summary>
    public required NameSet Scopes { get; init; }

    /// <summary>Scopes of the platform that have texts for people; their names are in <see cref="Scopes"/> too.</summary>
    public required IReadOnlyList<ScopeEntry> ScopeEntries { get; init; }

    /// <summary>The roles that members can hold.</summary>
    public required RoleCatalogue Roles { get; init; }

    public required int KeysPerMemberMax { get; init; }

    /// <summary>The most API keys of one organization.</summary>
    public required int ApiKeysMax { get; init; }
    /// <summary>The most root organizations that one person can create.</summary>
    public required int OrganizationsPerPersonMax { get; init; }

    /// <summary>The most sub-organizations of one root.</summary>
    public required int SubOrganizationsMax { get; init; }

    public required TimeSpan InvitationLifetime { get; init; }

    /// <summary>The most invitations sent for one root organization in one day (UTC).</summary>
    public required int InvitationsPerDayMax { get; init; }

    /// <summary>Failed exchanges allowed per address (IPv6: per /64) and minute; also failed sign-ins.</summary>
    public required int FailuresPerMinuteMax { get; init; }

    public required int SignInAttemptsMax { get; init; }

    /// <summary>The server that sends mails. Null: they are written to <see cref="MailFolder"/>.</summary>
    public required string? SmtpHost { get; init; }

    public required int SmtpPort { get; init; }

    /// <summary>Null: the server requires no login.</summary>
    public required string? SmtpUser { get; init; }

    public required string? SmtpPassword { get; init; }

    public required MailKit.Security.SecureSocketOptions SmtpTls { get; init; }

    /// <summary>
    /// Certificate authorities accepted for <see cref="SmtpHost"/>, besides those of the system. Empty: only those of the system.
    /// </summary>
    public required X509Certificate2Collection SmtpAuthorities { get; init; }

    public required MimeKit.MailboxAddress MailFrom { get; init; }

    public string MailFolder => Path.Combine(DataFolder, "mails");

    public required TimeSpan SignInLockout { get; init; }

    /// <summary>GitHub's public keys of secret scanning: an https URL or a file. Null: its reports are refused.</summary>
    public required Uri? LeakGitHubKeys { get; init; }

    /// <summary>The token with which GitLab authenticates when it revokes a leaked key. A secret; null: GitLab's reports are
    /// refused.</summary>
    public required string? LeakGitLabToken { get; init; }

    /// <summary>Networks that webhooks may reach besides public addresses, also by http. Empty: none.</summary>
    public required IReadOnlyList<IPNetwork> WebhookNetworksAllowed { get; init; }

    /// <summary>A session ends after this much time without a request.</summary>
    public required TimeSpan SessionIdle { get; init; }

    /// <summary>How long after a sign-in its session can create and show secrets; later the person must confirm the sign-in.</summary>
    public required TimeSpan FreshSignIn { get; init; }

    public required int PasswordLengthMin { get; init; }

    /// <summary>The platform's own OpenID Connect provider: its issuer. Null: sign-in through a provider is off.</summary>
    public required Uri? OidcAuthority { get; init; }

    public required string? OidcClientId { get; init; }

    public required string? OidcClientSecret { get; init; }

    /// <summary>
    /// Authenticates this server at the provider instead of <see cref="OidcClientSecret"/> (<c>private_key_jwt</c>): RSA, or EC on P-256.
    /// </summary>
    public required SecurityKey? OidcClientKey { get; init; }

    /// <summary>Whether the <c>aud</c> of that assertion is the provider's token endpoint instead of its issuer.</summary>
    public required bool OidcClientKeyForTokenEndpoint { get; init; }

    /// <summary>The provider's name, on the sign-in button.</summary>
    public required string OidcName { get; init; }

    /// <summary>
    /// Issuers whose e-mail addresses are trusted although they do not send <c>email_verified</c>. A <c>false</c> is never overruled.
    /// </summary>
    public required IReadOnlyList<string> OidcEmailIssuers { get; init; }

    /// <summary>The provider is the only way to sign in: passwords, passkeys and resets are off.</summary>
    public required bool OidcOnly { get; init; }

    /// <summary>How often usage is written; a crash loses at most this much of it.</summary>
    public required TimeSpan UsageFlush { get; init; }

    /// <summary>Rows of the audit record are deleted at this age. Null: never.</summary>
    public required TimeSpan? ActivityRetention { get; init; }

    /// <summary>Keys are deleted this long after their end. Null: never.</summary>
    public required TimeSpan? EndedKeyRetention { get; init; }

    /// <summary>The time between the signal to stop and the stop; see <see cref="Draining"/>. As long as a load balancer needs to
    /// notice.</summary>
    public required TimeSpan ShutdownDelay { get; init; }

    /// <summary>Whether browsers reach this server by HTTPS.</summary>
    public bool IsHttps => (PublicAddress ?? Listen).Scheme == Uri.UriSchemeHttps;
}
