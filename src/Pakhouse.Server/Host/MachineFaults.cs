using System.Data.Common;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text.Json;
using Microsoft.AspNetCore.Connections;

namespace Pakhouse.Server;

/// <summary>
/// The reason for a failed start in one line for the operator: what is wrong and what to do. A stack trace helps a developer but hides that
/// line from an operator; the environment variable PAKHOUSE_STACK_TRACE=1 shows it.
/// </summary>
internal static class MachineFaults
{
    /// <summary>An error number of Linux.</summary>
    private const int TooManyOpenFiles = 24,
        TooManyOpenFilesOfSystem = 23,
        ReadOnlyFileSystem = 30;

    /// <summary>SQLite keeps up to 128 files open for exchanges, and every client connection is one more.</summary>
    public const int DescriptorsMin = 1024;

    public static string Describe(Exception exception)
    {
        for (
            Exception? e = exception;
            e is not null;
            e = e is AggregateException { InnerExceptions: [var first, ..] } ? first : e.InnerException
        )
            if (Known(e) is { } words)
                return words;
        return $"{Line(exception)} ({exception.GetType().Name}; set the environment variable PAKHOUSE_STACK_TRACE=1 to see where)";
    }

    /// <exception cref="StartupException">The process may open fewer files than a server needs.</exception>
    public static void DemandDescriptors()
    {
        const string limits = "/proc/self/limits";
        if (!File.Exists(limits))
            return;
        var words = File.ReadLines(limits)
            .FirstOrDefault(line => line.StartsWith("Max open files", StringComparison.Ordinal))
            ?.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        if (words is { Length: > 3 } && int.TryParse(words[3], out var allowed) && allowed < DescriptorsMin)
        {
            throw new StartupException(
                $"The process may have {allowed} files open; the server needs {DescriptorsMin} and more, one for each connection. "
                    + $"Raise the limit: LimitNOFILE= of systemd, --ulimit nofile= of a container, ulimit -n of a shell."
            );
        }
    }

    private static string? Known(Exception e) =>
        e switch
        {
            StartupException => e.Message,
            DiskFullException => $"{e.Message} Free some space.",
            IOException { InnerException: SocketException or AddressInUseException } =>
                $"{Line(e)} Stop the program that listens there, or choose another address: --Pakhouse:Listen http://127.0.0.1:8421",
            SocketException { SocketErrorCode: SocketError.AccessDenied } =>
                $"The address in Pakhouse:Listen is not allowed for this user ({Line(e)}). Ports below 1024 are reserved: choose "
                    + $"another.",
            SocketException { SocketErrorCode: SocketError.AddressNotAvailable } =>
                "The address in Pakhouse:Listen does not belong to this machine.",
            IOException io when DiskReserve.IsNoSpace(io) => $"A disk is full: {Line(e)} Free some space.",
            IOException { HResult: ReadOnlyFileSystem } =>
                $"{Line(e)} The data folder must be writable: set Pakhouse:DataFolder to a folder on another file system, or mount this "
                    + $"one for writing.",
            IOException { HResult: TooManyOpenFiles or TooManyOpenFilesOfSystem } =>
                $"{Line(e)} The server needs {DescriptorsMin} open files and more: raise the limit (ulimit -n).",
            UnauthorizedAccessException =>
                $"{Line(e)} It belongs to another user, or its mode forbids it; this process runs as user id {UserId}.",
            InvalidDataException when e.InnerException is { } cause => $"{Line(e)} {Place(cause)}",
            InvalidOperationException when e.Message.Contains("HTTPS endpoint", StringComparison.Ordinal) =>
                "Pakhouse:Listen is https, but there is no certificate. Set --Kestrel:Certificates:Default:Path to the absolute path of "
                    + "one, or use http behind a proxy that terminates TLS.",
            CryptographicException => $"A certificate or its key cannot be read: {Line(e)}",
            DbException => $"The database cannot be used: {Line(e)}",
            IOException => Line(e),
            _ => null,
        };

    /// <summary>Where a settings file is wrong, without its content.</summary>
    private static string Place(Exception e)
    {
        for (var cause = e; cause is not null; cause = cause.InnerException)
            if (cause is JsonException { LineNumber: { } line })
                return $"It is not JSON: see line {line + 1}.";
        return Line(e);
    }

    private static string Line(Exception e) => e.Message.ReplaceLineEndings(" ");

    private static string UserId => OperatingSystem.IsWindows() ? Environment.UserName : geteuid().ToString();

    [DllImport("libc"), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern uint geteuid();
}
