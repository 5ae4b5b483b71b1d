using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Microsoft.IdentityModel.Tokens;

namespace Pakhouse.Server;

/// <summary>
/// Every setting, with its unit in its name, its default and its bounds. Read from the section <c>Pakhouse</c> of the usual
/// ASP.NET Core configuration: environment (<c>Pakhouse__TokenLifetimeSeconds=600</c>), command line
/// (<c>--Pakhouse:TokenLifetimeSeconds 600</c>), <c>appsettings.json</c>. All faults are found at once, before a port opens.
/// </summary>
public sealed class PakhouseOptions
{
    public const string Section = "Pakhouse";

    /// <summary>The longest a token can be made to live; also how long a replaced signing key stays published.</summary>
    public static readonly TimeSpan TokenLifetimeMax = TimeSpan.FromHours(24);

    /// <summary>Address and port to listen on.</summary>
    public required Uri Listen { get; init; }

    /// <summary>The address the world knows this server by: the issuer of its tokens. Null: the address listened on.</summary>
    public required Uri? PublicAddress { get; init; }

    /// <summary>Folder of the database and of the Data Protection keys. Absolute; made with mode 0700 where it is missing.</summary>
    public required string DataFolder { get; init; }

    /// <summary>
    /// PostgreSQL instead of SQLite; null: SQLite. Completed by <see cref="PostgresConnection.Parse"/>. Holds a password.
    /// </summary>
    public required Npgsql.NpgsqlConnectionStringBuilder? Postgres { get; init; }

    /// <summary>
    /// Whether statements are prepared on PostgreSQL. Off behind a pooler that gives a connection away between transactions and does not
    /// know prepared statements (PgBouncer before 1.21).
    /// </summary>
    public required bool PostgresPrepare { get; init; }

    /// <summary>First part of every key: 2 to 16 of <c>[a-z0-9]</c>, a letter first. Keys of an earlier brand go on working.</summary>
    public required string Brand { get; init; }

    /// <summary>Brands that this deployment had before. Their keys still work, so scan rules and leak endpoints must know them.</summary>
    public required IReadOnlyList<string> EarlierBrands { get; init; }

    /// <summary>The <c>aud</c> of tokens. Null: the issuer.</summary>
    public required string? Audience { get; init; }

    public required TimeSpan TokenLifetime { get; init; }

    /// <summary>
    /// How long a verifier may go on with a status list before it must ask again: a deleted key's tokens are refused within it.
    /// </summary>
    public required TimeSpan StatusTtl { get; init; }

    /// <summary>APIs and gateways that may introspect tokens and keys.</summary>
    public required IReadOnlyDictionary<string, IReadOnlyList<byte[]>> ResourceServers { get; init; }

    /// <summary><c>ES256</c>, or <c>RS256</c> for verifiers that know nothing newer (a sixth of the rate).</summary>
    public required string SigningAlgorithm { get; init; }

    /// <summary>Age at which a signing key is replaced.</summary>
    public required TimeSpan SigningKeyRotation { get; init; }

    /// <summary>How long a new signing key stands in the JWKS before it signs.</summary>
    public required TimeSpan SigningKeyPublication { get; init; }

    /// <summary>
    /// Encrypts the Data Protection keys, and so the signing keys, at rest. Null: the mode of the data folder protects them.
    /// </summary>
    public required X509Certificate2? DataProtectionCertificate { get; init; }

    /// <summary>Proxies whose <c>X-Forwarded-For</c> is believed. Empty: nobody's.</summary>
    public required IReadOnlyList<IPNetwork> TrustedProxies { get; init; }

    /// <summary>Every scope that a key can be limited to and a request can ask for.</summary>
    public required NameSet Scopes { get; init; }

    /// <summary>Scopes of the platform that have words for people; their names are in <see cref="Scopes"/> too.</summary>
    public required IReadOnlyList<ScopeEntry> ScopeEntries { get; init; }

    /// <summary>The roles that members can hold.</summary>
    public required RoleCatalogue Roles { get; init; }

    public required int KeysPerMemberMax { get; init; }

    /// <summary>API keys of one organization.</summary>
    public required int ApiKeysMax { get; init; }
    /// <summary>Root organizations that one person can make.</summary>
    public required int OrganizationsPerPersonMax { get; init; }

    /// <summary>Sub-organizations of one root.</summary>
    public required int SubOrganizationsMax { get; init; }

    public required TimeSpan InvitationLifetime { get; init; }

    /// <summary>Invitations that go out for one root organization in one day (UTC).</summary>
    public required int InvitationsPerDayMax { get; init; }

    /// <summary>Failed exchanges allowed per address (IPv6: per /64) and minute; also failed sign-ins.</summary>
    public required int FailuresPerMinuteMax { get; init; }

    public required int SignInAttemptsMax { get; init; }

    /// <summary>The server that sends messages. Null: they are written to <see cref="MailFolder"/>.</summary>
    public required string? SmtpHost { get; init; }

    public required int SmtpPort { get; init; }

    /// <summary>Null: the server asks nobody who they are.</summary>
    public required string? SmtpUser { get; init; }

    public required string? SmtpPassword { get; init; }

    public required MailKit.Security.SecureSocketOptions SmtpTls { get; init; }

    /// <summary>
    /// Authorities that the certificate of <see cref="SmtpHost"/> may come from, beside those of the system. Empty: only those.
    /// </summary>
    public required X509Certificate2Collection SmtpAuthorities { get; init; }

    public required MimeKit.MailboxAddress MailFrom { get; init; }

    public string MailFolder => Path.Combine(DataFolder, "mails");

    public required TimeSpan SignInLockout { get; init; }

    /// <summary>GitHub's public keys of secret scanning: an https address or a file. Null: its reports are not taken.</summary>
    public required Uri? LeakGitHubKeys { get; init; }

    /// <summary>What GitLab proves itself with when it asks for the end of a leaked key. A secret; null: it is not asked.</summary>
    public required string? LeakGitLabToken { get; init; }

    /// <summary>Networks that webhooks may go to beside public addresses, also by http. Empty: none.</summary>
    public required IReadOnlyList<IPNetwork> WebhookNetworksAllowed { get; init; }

    /// <summary>A session ends after this much time without a request.</summary>
    public required TimeSpan SessionIdle { get; init; }

    /// <summary>How long after a sign-in its session makes and shows secrets; then the person confirms that it is they.</summary>
    public required TimeSpan FreshSignIn { get; init; }

    public required int PasswordLengthMin { get; init; }

    /// <summary>The platform's own OpenID Connect provider: its issuer. Null: nobody signs in through one.</summary>
    public required Uri? OidcAuthority { get; init; }

    public required string? OidcClientId { get; init; }

    public required string? OidcClientSecret { get; init; }

    /// <summary>
    /// Proves this server to the provider instead of <see cref="OidcClientSecret"/> (<c>private_key_jwt</c>): RSA, or EC on P-256.
    /// </summary>
    public required SecurityKey? OidcClientKey { get; init; }

    /// <summary>The <c>aud</c> of that proof: the provider's token endpoint instead of its issuer.</summary>
    public required bool OidcClientKeyForTokenEndpoint { get; init; }

    /// <summary>What people call the provider; stands on the button.</summary>
    public required string OidcName { get; init; }

    /// <summary>
    /// Issuers whose addresses of mail are believed although they do not say <c>email_verified</c>. A <c>false</c> is never overruled.
    /// </summary>
    public required IReadOnlyList<string> OidcEmailIssuers { get; init; }

    /// <summary>The provider is the only way to sign in: passwords, passkeys and resets are off.</summary>
    public required bool OidcOnly { get; init; }

    /// <summary>Counts of use are written this often; a crash loses at most this much of them.</summary>
    public required TimeSpan UsageFlush { get; init; }

    /// <summary>Rows of the record are deleted at this age. Null: never.</summary>
    public required TimeSpan? ActivityRetention { get; init; }

    /// <summary>Keys that have ended are forgotten so long after their end. Null: never.</summary>
    public required TimeSpan? EndedKeyRetention { get; init; }

    /// <summary>Between being told to stop and stopping; see <see cref="Draining"/>. As long as a load balancer takes to notice.</summary>
    public required TimeSpan ShutdownDelay { get; init; }

    /// <summary>Whether browsers reach this server by HTTPS.</summary>
    public bool IsHttps => (PublicAddress ?? Listen).Scheme == Uri.UriSchemeHttps;

    /// <exception cref="StartupException">Lists every fault: the setting, what was expected, what was given.</exception>
    public static PakhouseOptions Read(IConfiguration configuration) => Read(new SettingReader(configuration.GetSection(Section)));

    /// <summary>Every setting with its default as text, from the code that reads them; the documentation is held against it.</summary>
    internal static IReadOnlyDictionary<string, string> Defaults()
    {
        var read = new SettingReader(new ConfigurationBuilder().Build().GetSection(Section));
        Read(read);
        return read.Defaults;
    }

    private static PakhouseOptions Read(SettingReader read)
    {
        var listen = read.Address("Listen", "http://127.0.0.1:8420", portRequired: true)!;
        var publicAddress = read.Address("PublicAddress", null);
        var scopes = read.Scopes("ScopesFile");
        var options = new PakhouseOptions
        {
            Listen = listen,
            PublicAddress = publicAddress,
            DataFolder = read.Folder("DataFolder", DefaultDataFolder),
            Postgres = read.Postgres("PostgresConnection"),
            PostgresPrepare = read.Flag("PostgresPrepare", true),
            Brand = read.Text("Brand", "ph", "2 to 16 characters of [a-z0-9], the first a letter", text => KeyFormat.IsBrand(text))!,
            EarlierBrands =
            [
                .. read.List(
                        "EarlierBrands",
                        "brands of 2 to 16 characters of [a-z0-9], the first a letter",
                        text => KeyFormat.IsBrand(text)
                    )
                    .Distinct(StringComparer.Ordinal),
            ],
            Audience = read.Text(
                "Audience",
                null,
                "at most 256 characters without spaces",
                text => text.Length <= 256 && !text.Any(char.IsWhiteSpace)
            ),
            TokenLifetime = read.Seconds("TokenLifetimeSeconds", 3600, 60, (int)TokenLifetimeMax.TotalSeconds),
            StatusTtl = read.Seconds("StatusTtlSeconds", 5, 1, 300),
            ResourceServers = read.ResourceServers("ResourceServers"),
            SigningAlgorithm = read.Text("SigningAlgorithm", "ES256", "ES256 or RS256", text => text is "ES256" or "RS256")!,
            SigningKeyRotation = TimeSpan.FromDays(read.Number("SigningKeyRotationDays", 90, 1, 3650)),
            SigningKeyPublication = TimeSpan.FromMinutes(read.Number("SigningKeyPublicationMinutes", 60, 5, 10080)),
            DataProtectionCertificate = read.Certificate("DataProtectionCertificateFile", "DataProtectionCertificatePassword"),
            TrustedProxies =
            [
                .. read.List("TrustedProxies", "addresses or networks such as 10.0.0.7 or 10.0.0.0/8", text => Network(text) is not null)
                    .Select(text => Network(text)!.Value),
            ],
            Scopes = NameSet.Of(
                ScopeCatalogue
                    .Standard.Concat(scopes)
                    .Select(scope => scope.Name)
                    .Concat(read.List("Scopes", "names of 1 to 64 characters of [A-Za-z0-9._:-]", NameSet.IsName))
            ),
            ScopeEntries = scopes,
            Roles = read.Roles("RolesFile"),
            KeysPerMemberMax = read.Number("KeysPerMemberMax", 50, 1, 10000),
            ApiKeysMax = read.Number("ApiKeysMax", 100, 1, 10000),
            OrganizationsPerPersonMax = read.Number("OrganizationsPerPersonMax", 10, 0, 1000),
            SubOrganizationsMax = read.Number("SubOrganizationsMax", 1000, 0, 100000),
            InvitationLifetime = TimeSpan.FromDays(read.Number("InvitationLifetimeDays", 7, 1, 90)),
            InvitationsPerDayMax = read.Number("InvitationsPerDayMax", 250, 1, 100000),
            FailuresPerMinuteMax = read.Number("FailuresPerMinuteMax", 30, 1, 100000),
            SmtpHost = read.Text(
                "SmtpHost",
                null,
                "the name or address of a host",
                text => Uri.CheckHostName(text) != UriHostNameType.Unknown
            ),
            SmtpPort = read.Number("SmtpPort", 587, 1, 65535),
            SmtpUser = read.Text("SmtpUser", null, "at most 256 characters", text => text.Length <= 256),
            SmtpPassword = read.Text("SmtpPassword", null, "", _ => true), // whatever it is: what is at fault is shown
            SmtpTls = read.SmtpTls("SmtpTls", "SmtpHost", "SmtpPort"),
            SmtpAuthorities = read.Authorities("SmtpCaFile"),
            MailFrom = MimeKit.MailboxAddress.Parse(
                read.Text(
                    "MailFrom",
                    "Pakhouse <pakhouse@localhost>",
                    "an address of mail, such as Pakhouse <keys@example.com>",
                    text => MimeKit.MailboxAddress.TryParse(text, out _)
                )!
            ),
            SignInAttemptsMax = read.Number("SignInAttemptsMax", 5, 1, 100),
            SignInLockout = TimeSpan.FromMinutes(read.Number("SignInLockoutMinutes", 15, 1, 1440)),
            SessionIdle = TimeSpan.FromMinutes(read.Number("SessionIdleMinutes", 480, 5, 43200)),
            FreshSignIn = TimeSpan.FromHours(read.Number("FreshSignInHours", 2, 1, 720)),
            PasswordLengthMin = read.Number("PasswordLengthMin", 12, 8, 64),
            OidcAuthority = read.Address("OidcAuthority", null, pathAllowed: true),
            OidcClientId = read.Text("OidcClientId", null, "at most 256 characters", text => text.Length <= 256),
            OidcClientSecret = read.Secret("OidcClientSecret"),
            OidcClientKey = read.PrivateKey("OidcClientKeyFile"),
            OidcClientKeyForTokenEndpoint =
                read.Text("OidcClientKeyAudience", "issuer", "issuer or token-endpoint", text => text is "issuer" or "token-endpoint")
                == "token-endpoint",
            OidcName = read.Text(
                "OidcName",
                "single sign-on",
                "1 to 40 characters",
                text => text.Length <= 40 && !text.Any(char.IsControl)
            )!,
            OidcEmailIssuers = read.List(
                "OidcEmailIssuers",
                "issuers as their tokens have them, such as https://login.microsoftonline.com/TENANT/v2.0",
                text =>
                    Uri.TryCreate(text, UriKind.Absolute, out var issuer)
                    && issuer is { Query: "", Fragment: "", UserInfo: "" }
                    && (issuer.Scheme == Uri.UriSchemeHttps || issuer is { IsLoopback: true, Scheme: "http" })
            ),
            OidcOnly = read.Flag("OidcOnly", false),
            ActivityRetention = read.Retention("ActivityRetentionDays", 400),
            EndedKeyRetention = read.Retention("EndedKeyRetentionDays", 400),
            UsageFlush = read.Seconds("UsageFlushSeconds", 5, 1, 60),
            LeakGitHubKeys = read.Source("LeakGitHubKeys"),
            LeakGitLabToken = read.Secret("LeakGitLabToken", 32),
            WebhookNetworksAllowed =
            [
                .. read.List(
                        "WebhookNetworksAllowed",
                        "addresses or networks such as 10.0.0.7 or 10.0.0.0/8",
                        text => Network(text) is not null
                    )
                    .Select(text => Network(text)!.Value),
            ],
            ShutdownDelay = read.Seconds("ShutdownDelaySeconds", (publicAddress ?? listen).IsLoopback ? 0 : 5, 0, 25),
        };

        // Keys and passwords would travel in clear. Loopback is the exception because nothing leaves the machine.
        var seen = publicAddress ?? listen;
        if (seen.Scheme != Uri.UriSchemeHttps && !seen.IsLoopback)
            read.Fault(
                "PublicAddress",
                "an https address unless the host is loopback: set it to the address that users and machines come by, and let a proxy end "
                    + "TLS",
                seen.ToString()
            );

        if ((options.SmtpUser is null) != (options.SmtpPassword is null))
            read.Fault("SmtpUser", "set together with SmtpPassword, or neither", options.SmtpUser ?? "");
        if (options is { SmtpHost: not null, MailFrom.Address: "pakhouse@localhost" })
            read.Fault("MailFrom", "set together with SmtpHost: an address that the server may send from", "");
        if (
            options is { SmtpPassword: not null, SmtpTls: MailKit.Security.SecureSocketOptions.None }
            && !SettingReader.IsThisMachine(options.SmtpHost)
        )
            read.Fault("SmtpTls", "starttls or implicit: without it the password would travel in clear", "none");
        if (options.OidcAuthority is null != options.OidcClientId is null)
            read.Fault("OidcAuthority", "set together with OidcClientId, or neither", options.OidcAuthority?.ToString() ?? "");
        if (options.OidcAuthority is { IsLoopback: false } authority && authority.Scheme != Uri.UriSchemeHttps)
            read.Fault("OidcAuthority", "an https address unless the host is loopback", authority.ToString());
        if (options is { OidcClientKey: not null, OidcClientSecret: not null })
            read.Fault("OidcClientKeyFile", "set instead of OidcClientSecret: the provider is shown one proof", "both");
        if (options.OidcClientKey is not null && options.OidcAuthority is null)
            read.Fault("OidcClientKeyFile", "set together with OidcAuthority", "");
        // Its metadata names an issuer that is a template, so whoever has any tenant at all could come as anybody.
        if (
            options.OidcAuthority is { } many
            && (
                many.AbsoluteUri.Contains("%7B", StringComparison.OrdinalIgnoreCase)
                || many.Host.StartsWith("login.microsoftonline.", StringComparison.OrdinalIgnoreCase)
                    && many.Segments.Length > 1
                    && many.Segments[1].Trim('/').ToLowerInvariant() is "common" or "organizations" or "consumers"
            )
        )
            read.Fault(
                "OidcAuthority",
                "the issuer of one tenant, such as https://login.microsoftonline.com/TENANT/v2.0: an address for many tenants is not taken",
                many.ToString()
            );
        if (options.OidcOnly && options.OidcAuthority is null)
            read.Fault("OidcOnly", "false as long as OidcAuthority is not set: nobody could sign in", "true");

        read.ThrowIfFaulty();
        return options;
    }

    /// <summary>
    /// Null where the user has no home: a temporary folder would be anybody's, and gone with the next start of the machine.
    /// </summary>
    private static string? DefaultDataFolder =>
        Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData, Environment.SpecialFolderOption.DoNotVerify)
            is { Length: > 0 } home
        && Path.IsPathFullyQualified(home)
            ? Path.Combine(home, "pakhouse")
            : null;

    private static IPNetwork? Network(string text) =>
        IPNetwork.TryParse(text, out var network) ? network
        : IPAddress.TryParse(text, out var address) ? new IPNetwork(address, address.GetAddressBytes().Length * 8)
        : null;
}

/// <summary>The program cannot start, and the message says to the operator what to do. Shown without a stack trace.</summary>
public sealed class StartupException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>Reads settings one by one and collects what is wrong with them, so that the operator sees every fault at once.</summary>
internal sealed class SettingReader(IConfigurationSection section)
{
    private readonly List<string> faults = [];
    private readonly Dictionary<string, string> defaults = new(StringComparer.OrdinalIgnoreCase);

    public IReadOnlyDictionary<string, string> Defaults => defaults;

    public string? Text(string name, string? fallback, string expected, Func<string, bool> isValid)
    {
        var given = Given(name, fallback ?? "");
        if (given is null)
            return fallback;
        if (isValid(given))
            return given;
        Fault(name, expected, given);
        return fallback;
    }

    public int Number(string name, int fallback, int min, int max)
    {
        var given = Given(name, fallback.ToString());
        if (given is null)
            return fallback;
        if (int.TryParse(given, out var number) && number >= min && number <= max)
            return number;
        Fault(name, $"a whole number from {min} to {max}", given);
        return fallback;
    }

    /// <summary>Days; 0: for ever. Not less than a month: a token lives a day at most, and people must be able to look back.</summary>
    public TimeSpan? Retention(string name, int fallback)
    {
        var days = Number(name, fallback, 0, 36500);
        if (days is > 0 and < 30)
            Fault(name, "0, which keeps for ever, or 30 and more", days.ToString());
        return days == 0 ? null : TimeSpan.FromDays(days);
    }

    public TimeSpan Seconds(string name, int fallback, int min, int max) => TimeSpan.FromSeconds(Number(name, fallback, min, max));

    /// <summary>An http or https address of a host, without user, path, query or fragment.</summary>
    public Uri? Address(string name, string? fallback, bool portRequired = false, bool pathAllowed = false)
    {
        var given = Given(name, fallback ?? "");
        var fallbackAddress = fallback is null ? null : new Uri(fallback);
        if (given is null)
            return fallbackAddress;
        if (
            Uri.TryCreate(given, UriKind.Absolute, out var address)
            && (address.Scheme == Uri.UriSchemeHttp || address.Scheme == Uri.UriSchemeHttps)
            && address is { Query: "", Fragment: "", UserInfo: "" }
            && (pathAllowed || address.AbsolutePath == "/")
        )
            return address;
        Fault(
            name,
            portRequired
                ? "an http or https address with a port and nothing behind it, such as http://127.0.0.1:8420"
                : "an http or https address with no path, such as https://keys.example.com",
            given
        );
        return fallbackAddress;
    }

    /// <summary>A list: one text separated by spaces or commas, or indexed entries (<c>Name:0</c>, <c>Name:1</c>).</summary>
    public IReadOnlyList<string> List(string name, string expected, Func<string, bool> isValid)
    {
        var entries = section
            .GetSection(name)
            .GetChildren()
            .Select(child => child.Value ?? "")
            .Concat([Given(name, "") ?? ""])
            .SelectMany(text => text.Split([' ', ','], StringSplitOptions.RemoveEmptyEntries));
        var (valid, faulty) = (new List<string>(), new List<string>());
        foreach (var entry in entries)
            (isValid(entry) ? valid : faulty).Add(entry);
        foreach (var entry in faulty)
            Fault(name, expected, entry);
        return valid;
    }

    /// <summary>A text that no message repeats.</summary>
    public string? Secret(string name)
    {
        var given = Given(name, "");
        if (given is null or { Length: <= 1024 })
            return given;
        faults.Add($"{Full(name)} must be at most 1024 characters; what was given is not shown");
        return null;
    }

    public bool Flag(string name, bool fallback)
    {
        var given = Given(name, fallback ? "true" : "false");
        if (given is null)
            return fallback;
        if (bool.TryParse(given, out var flag))
            return flag;
        Fault(name, "true or false", given);
        return fallback;
    }

    /// <summary>TLS is not tried and done without: either it is there, or nothing is sent.</summary>
    public MailKit.Security.SecureSocketOptions SmtpTls(string name, string hostName, string portName)
    {
        var given = Text(name, null, "starttls, implicit or none", text => text is "starttls" or "implicit" or "none");
        var byDefault =
            IsThisMachine(section[hostName]) ? "none"
            : section[portName] == "465" ? "implicit"
            : "starttls";
        return (given ?? byDefault) switch
        {
            "implicit" => MailKit.Security.SecureSocketOptions.SslOnConnect,
            "none" => MailKit.Security.SecureSocketOptions.None,
            _ => MailKit.Security.SecureSocketOptions.StartTls,
        };
    }

    /// <summary>Certificates in PEM, one or many in a file. Without certificates among them a mistake would mean "trust nothing".</summary>
    public X509Certificate2Collection Authorities(string name)
    {
        X509Certificate2Collection authorities = [];
        if (Given(name, "") is not { } file)
            return authorities;
        try
        {
            authorities.ImportFromPemFile(file);
        }
        catch (Exception e) when (e is CryptographicException or IOException or UnauthorizedAccessException)
        {
            authorities.Clear();
        }

        if (authorities.Count == 0)
            Fault(name, "a readable file with certificates in PEM (-----BEGIN CERTIFICATE-----)", file);
        return authorities;
    }

    public static bool IsThisMachine(string? host) =>
        host == "localhost" || (IPAddress.TryParse(host, out var address) && IPAddress.IsLoopback(address));

    /// <summary>An https address, or an absolute path of a file.</summary>
    public Uri? Source(string name)
    {
        var given = Given(name, "");
        if (given is null)
            return null;
        if (
            Uri.TryCreate(given, UriKind.Absolute, out var address)
            && (
                address.IsFile
                || address is { UserInfo: "" } && (address.Scheme == Uri.UriSchemeHttps || address is { IsLoopback: true, Scheme: "http" })
            )
        )
            return address;
        Fault(name, "an https address or the absolute path of a file", given);
        return null;
    }

    /// <summary>A secret: what was given is never shown.</summary>
    public string? Secret(string name, int lengthMin)
    {
        var given = Given(name, "");
        if (given is null || given.Length >= lengthMin && given.All(char.IsAscii))
            return given;
        faults.Add($"{Full(name)} must be at least {lengthMin} characters of ASCII; what was given is not shown, because it is a secret");
        return null;
    }

    public Npgsql.NpgsqlConnectionStringBuilder? Postgres(string name)
    {
        var given = Given(name, "");
        if (given is null)
            return null;
        try
        {
            return PostgresConnection.Parse(given);
        }
        catch (Exception e) when (e is ArgumentException or FormatException or InvalidCastException or OverflowException)
        {
            // Neither what was given nor the parser's words: both can hold the password.
            faults.Add(
                $"{Full(name)} must be a connection string of PostgreSQL that names host and database, such as "
                    + $"Host=db.example.com;Database=pakhouse;Username=pakhouse;Password=…; what was given is not shown, because it can "
                    + $"hold a password"
            );
            return null;
        }
    }

    /// <summary>An absolute path: a relative one would depend on where the process was started, which of a service is anywhere.</summary>
    public string Folder(string name, string? fallback)
    {
        if (GivenPath(name, fallback ?? "") is { } given)
            return given;
        if (fallback is null && Given(name, "") is null)
            faults.Add($"{Full(name)} must be set, because this user has no home folder");
        return fallback ?? "";
    }

    private string? GivenPath(string name, string fallback = "")
    {
        var given = Given(name, fallback);
        if (given is null || (Path.IsPathFullyQualified(given) && given.Length <= 1024))
            return given;
        Fault(name, "an absolute path", given);
        return null;
    }

    public IReadOnlyList<ScopeEntry> Scopes(string name)
    {
        var file = GivenPath(name);
        if (file is null)
            return [];
        try
        {
            return ScopeCatalogue.Parse(File.ReadAllBytes(file));
        }
        catch (Exception e) when (e is FormatException or IOException or UnauthorizedAccessException)
        {
            Fault(name, $"a readable list of scopes such as GET /scopes.json shows, without the standard ones ({e.Message})", file);
            return [];
        }
    }

    public RoleCatalogue Roles(string name)
    {
        var file = GivenPath(name);
        if (file is null)
            return RoleCatalogue.Default;
        try
        {
            return RoleCatalogue.Parse(File.ReadAllBytes(file));
        }
        catch (Exception e) when (e is FormatException or IOException or UnauthorizedAccessException)
        {
            Fault(name, $"a readable catalogue of roles such as GET /roles.json shows ({e.Message})", file);
            return RoleCatalogue.Default;
        }
    }

    /// <summary>Entries <c>NAME:SecretHash</c>; two hashes while a secret is being replaced.</summary>
    public IReadOnlyDictionary<string, IReadOnlyList<byte[]>> ResourceServers(string name)
    {
        defaults[name] = "";
        var servers = new Dictionary<string, IReadOnlyList<byte[]>>(StringComparer.Ordinal);
        foreach (var entry in section.GetSection(name).GetChildren())
        {
            foreach (var stray in entry.GetChildren().Where(child => !child.Key.Equals("SecretHash", StringComparison.OrdinalIgnoreCase)))
                faults.Add($"{Full(name)}:{entry.Key}:{stray.Key} is not a setting. A resource server has SecretHash.");
            var hashes = (entry["SecretHash"] ?? "").Split([' ', ','], StringSplitOptions.RemoveEmptyEntries);
            if (
                NameSet.IsName(entry.Key)
                && hashes.Length is 1 or 2
                && hashes.All(hash => hash.Length == 64 && hash.All(char.IsAsciiHexDigit))
            )
                servers[entry.Key] = [.. hashes.Select(Convert.FromHexString)];
            else
                faults.Add(
                    $"{Full(name)}:{entry.Key}:SecretHash must be one or two SHA-256 hashes of 64 hexadecimal digits, under a name of 1 "
                        + $"to 64 characters of [A-Za-z0-9._-]; the command resource-servers new NAME makes a secret and prints the "
                        + $"setting. What was given is not shown, because it can be a secret"
                );
        }

        return servers;
    }

    public X509Certificate2? Certificate(string name, string passwordName)
    {
        var file = GivenPath(name);
        var password = Given(passwordName, "");
        if (file is null)
        {
            if (password is not null && Given(name, "") is null)
                faults.Add($"{Full(passwordName)} is set, but {Full(name)} is not: a password without a certificate.");
            return null;
        }

        try
        {
            var certificate = X509CertificateLoader.LoadPkcs12FromFile(file, password);
            if (certificate.HasPrivateKey && certificate.GetRSAPrivateKey() is not null)
                return certificate;
            Fault(name, "a PKCS#12 file with an RSA certificate and its private key", file);
        }
        catch (Exception e) when (e is CryptographicException or IOException or UnauthorizedAccessException)
        {
            // the password itself is never shown
            Fault(name, $"a readable PKCS#12 file (.pfx, .p12) that {Full(passwordName)} opens", file);
        }

        return null;
    }

    public SecurityKey? PrivateKey(string name)
    {
        if (GivenPath(name) is not { } file)
            return null;
        var key = PrivateKeyFile.Read(file);
        if (key is null)
            Fault(name, "a readable PEM file with one private key and no password: EC on P-256, or RSA of 2048 bits and more", file);
        return key;
    }

    public void Fault(string name, string expected, string given) =>
        faults.Add($"{Full(name)} must be {expected}; given: {(given.Length <= 200 ? given : given[..200] + "…")}");

    public void ThrowIfFaulty()
    {
        foreach (var child in section.GetChildren().Where(child => !defaults.ContainsKey(child.Key)))
            faults.Add($"{Full(child.Key)} is not a setting. The settings are {string.Join(", ", defaults.Keys)}.");
        if (faults.Count > 0)
            throw new StartupException(
                "The settings are not usable:" + string.Concat(faults.Select(fault => $"{Environment.NewLine}  - {fault}"))
            );
    }

    /// <summary>What was given, or null. An empty value counts as not given: scripts and unit files pass empty variables.</summary>
    private string? Given(string name, string fallback)
    {
        defaults[name] = fallback;
        return section[name] is { } text && !string.IsNullOrWhiteSpace(text) ? text.Trim() : null;
    }

    private static string Full(string name) => $"{PakhouseOptions.Section}:{name}";
}
