using System.Net;

namespace Pakhouse.Server;

/// <summary>Reads settings one by one and collects their errors, so that the operator sees all of them at once.</summary>
internal sealed partial class SettingReader(IConfigurationSection section)
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

    /// <summary>Days; 0: for ever. At least a month: a token lives a day at most, and people must be able to look back.</summary>
    public TimeSpan? Retention(string name, int fallback)
    {
        var days = Number(name, fallback, 0, 36500);
        if (days is > 0 and < 30)
            Fault(name, "0, which keeps for ever, or 30 and more", days.ToString());
        return days == 0 ? null : TimeSpan.FromDays(days);
    }

    public TimeSpan Seconds(string name, int fallback, int min, int max) => TimeSpan.FromSeconds(Number(name, fallback, min, max));

    /// <summary>An http or https URL of a host, without user, path, query or fragment.</summary>
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

    /// <summary>TLS is never optional: either it is used, or nothing is sent.</summary>
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

    public static bool IsThisMachine(string? host) =>
        host == "localhost" || (IPAddress.TryParse(host, out var address) && IPAddress.IsLoopback(address));

    /// <summary>An https URL, or the absolute path of a file.</summary>
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

    /// <summary>A secret: the given value is never shown.</summary>
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
            // Neither the given value nor the parser's message is shown: both can contain the password.
            faults.Add(
                $"{Full(name)} must be a connection string of PostgreSQL that names host and database, such as "
                    + $"Host=db.example.com;Database=pakhouse;Username=pakhouse;Password=…; what was given is not shown, because it can "
                    + $"hold a password"
            );
            return null;
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

    /// <summary>The given value, or null. An empty value counts as absent, because scripts and unit files pass empty variables.</summary>
    private string? Given(string name, string fallback)
    {
        defaults[name] = fallback;
        return section[name] is { } text && !string.IsNullOrWhiteSpace(text) ? text.Trim() : null;
    }

    private static string Full(string name) => $"{PakhouseOptions.Section}:{name}";
}
