using System.Net;

namespace Pakhouse.Server;

/// <summary>Reads each setting, with its default and its bounds, and checks which settings require each other.</summary>
public sealed partial class PakhouseOptions
{
    /// <exception cref="StartupException">Lists every error: the setting, what was expected, what was given.</exception>
    public static PakhouseOptions Read(IConfiguration configuration) => Read(new SettingReader(configuration.GetSection(Section)));

    /// <summary>Every setting with its default as text, from the code that reads them. A test compares the documentation with it.</summary>
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
            SmtpPassword = read.Text("SmtpPassword", null, "", _ => true), // any text, because a fault would print it
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

        // Keys and passwords would be sent in clear text. Loopback is an exception, because nothing leaves the machine.
        var seen = publicAddress ?? listen;
        if (seen.Scheme != Uri.UriSchemeHttps && !seen.IsLoopback)
            read.Fault(
                "PublicAddress",
                "an https address unless the host is loopback: set it to the public URL for users and clients, and let a proxy terminate "
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
            read.Fault("OidcClientKeyFile", "set instead of OidcClientSecret: use only one way of client authentication", "both");
        if (options.OidcClientKey is not null && options.OidcAuthority is null)
            read.Fault("OidcClientKeyFile", "set together with OidcAuthority", "");
        // The issuer in its metadata is a template, so a user of any tenant could sign in as anybody.
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
                "the issuer of one tenant, such as https://login.microsoftonline.com/TENANT/v2.0: an address for many tenants is refused",
                many.ToString()
            );
        if (options.OidcOnly && options.OidcAuthority is null)
            read.Fault("OidcOnly", "false as long as OidcAuthority is not set: nobody could sign in", "true");

        read.ThrowIfFaulty();
        return options;
    }

    /// <summary>
    /// Null if the user has no home folder. A temporary folder would be open to others and lost at the next restart of the machine.
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
