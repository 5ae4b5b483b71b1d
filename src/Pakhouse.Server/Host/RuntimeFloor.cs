using System.Reflection;
using Microsoft.AspNetCore.DataProtection;

namespace Pakhouse.Server;

/// <summary>The lowest patch version of ASP.NET Core with which this server should be on a network.</summary>
internal static class RuntimeFloor
{
    /// <summary>
    /// Before 10.0.13 callers can crash the process (CVE-2026-96233). Before 10.0.7 Data Protection accepted forged cookies
    /// (CVE-2026-40372). Raise it with the next relevant advisory.
    /// </summary>
    public static readonly Version Lowest = new(10, 0, 13);

    /// <summary>The shared framework, and Data Protection, which a package can replace by another version.</summary>
    private static readonly Assembly[] parts = [typeof(WebApplication).Assembly, typeof(DataProtectionOptions).Assembly];

    public static string Present { get; } = VersionOf(parts[0]) ?? "of an unknown version";

    public static string? Warning { get; } = parts.Select(part => Warn(VersionOf(part))).FirstOrDefault(warning => warning is not null);

    /// <param name="version">As the framework names it: <c>10.0.12+a3f0…</c>.</param>
    /// <returns>Null: the version has no known flaw.</returns>
    internal static string? Warn(string? version)
    {
        if (!Version.TryParse((version ?? "").Split('+', '-')[0], out var present))
            return $"The version of ASP.NET Core is unknown. Make sure that it is {Lowest} or newer.";
        return present >= Lowest
            ? null
            : $"ASP.NET Core {present} has published flaws that callers can use to stop this server (CVE-2026-96233). " +
              (present < new Version(10, 0, 7)
                  ? "Its Data Protection believes forged cookies (CVE-2026-40372): after the update run protection-keys renew. " : "") +
              $"Install {Lowest} or newer, and start again.";
    }

    private static string? VersionOf(Assembly part) =>
        part.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion.Split('+')[0];
}
