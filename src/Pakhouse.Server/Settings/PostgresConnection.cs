using System.Data.Common;
using Npgsql;

namespace Pakhouse.Server;

/// <summary>The setting <c>PostgresConnection</c>, with safe values for everything that it omits.</summary>
public static class PostgresConnection
{
    /// <summary>
    /// Reads a connection string and completes it: TLS with a verified certificate and name unless the host is this machine, limits on
    /// waiting, no session state to reset.
    /// </summary>
    /// <exception cref="ArgumentException">It is not a connection string, or names no host or database.</exception>
    public static NpgsqlConnectionStringBuilder Parse(string connectionString)
    {
        var given = new DbConnectionStringBuilder { ConnectionString = connectionString };
        var read = new NpgsqlConnectionStringBuilder(connectionString);
        if (string.IsNullOrEmpty(read.Host) || string.IsNullOrEmpty(read.Database))
            throw new ArgumentException("Host or database is missing.", nameof(connectionString));

        bool IsOpen(params string[] names) => !names.Any(given.ContainsKey);
        if (IsOpen("SSL Mode", "SslMode") && !read.Host.Split(',').All(IsThisMachine))
            read.SslMode = SslMode.VerifyFull;
        if (IsOpen("Timeout"))
            read.Timeout = 3; // to connect, and to wait for a free connection
        if (IsOpen("Command Timeout", "CommandTimeout"))
            read.CommandTimeout = 3;
        if (IsOpen("Host Recheck Seconds", "HostRecheckSeconds"))
            read.HostRecheckSeconds = 1; // a promoted standby is found within this time
        if (IsOpen("Application Name", "ApplicationName"))
            read.ApplicationName = "pakhouse";
        read.NoResetOnClose = true; // nothing here changes a session, and every exchange would send the reset
        read.PersistSecurityInfo = false;
        return read;
    }

    private static bool IsThisMachine(string host) =>
        host.StartsWith('/') || host is "localhost" || host.StartsWith("localhost:", StringComparison.Ordinal)
        || (System.Net.IPEndPoint.TryParse(host, out var address) && System.Net.IPAddress.IsLoopback(address.Address));
}
