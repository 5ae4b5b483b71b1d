using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Runtime.Versioning;

// Signals, file modes, /proc: what these tests look at is a Linux machine.
[assembly: SupportedOSPlatform("linux")]

namespace Pakhouse.SystemTests;

/// <summary>What a program said and how it ended.</summary>
internal sealed record Ended(int ExitCode, string Output, string Errors)
{
    public string All => Output + Errors;
}

/// <summary>
/// Programs of the machine that these tests work with. A missing one is a failure that says what to install, never a skip.
/// </summary>
internal static class Tool
{
    public const int SIGINT = 2;
    public const int SIGKILL = 9;
    public const int SIGTERM = 15;

    /// <summary>Far beyond what any step takes; reached only when something hangs.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    public static string Bash => Require("bash", "bash");

    public static string Curl => Require("curl", "curl");

    /// <summary>The distribution's Python, because its library is the distribution's: another on the PATH does not see it.</summary>
    public static string Python => File.Exists("/usr/bin/python3") ? "/usr/bin/python3" : throw Missing("/usr/bin/python3", "python3");

    public static string Chromium => Require("chromium", "chromium");

    public static string Require(string program, string package) =>
        (Environment.GetEnvironmentVariable("PATH") ?? "")
            .Split(':')
            .Select(folder => Path.Combine(folder, program))
            .FirstOrDefault(File.Exists)
        ?? throw Missing(program, package);

    public static InvalidOperationException Missing(string what, string package) =>
        new($"These tests need {what}, and it is not here. Install the package {package}: apt-get install {package}");

    /// <summary>A script that lies beside the tests.</summary>
    public static string Script(string name) => Path.Combine(AppContext.BaseDirectory, name);

    public static Process Start(string program, IEnumerable<string> arguments, IReadOnlyDictionary<string, string>? environment = null)
    {
        var start = new ProcessStartInfo(program, arguments)
        {
            UseShellExecute = false,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment["NO_PROXY"] = start.Environment["no_proxy"] = "127.0.0.1";
        foreach (var (name, value) in environment ?? new Dictionary<string, string>(StringComparer.Ordinal))
            start.Environment[name] = value;
        return Process.Start(start)!;
    }

    public static async Task<Ended> RunAsync(string program, IEnumerable<string> arguments, string input = "")
    {
        using var process = Start(program, arguments);
        var (output, errors) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
        await process.StandardInput.WriteAsync(input);
        process.StandardInput.Close();
        await EndAsync(process);
        return new Ended(process.ExitCode, await output, await errors);
    }

    /// <summary>Waits for the end; a program that hangs is killed.</summary>
    public static async Task EndAsync(Process process)
    {
        try
        {
            await process.WaitForExitAsync().WaitAsync(Patience);
        }
        catch (TimeoutException)
        {
            process.Kill(entireProcessTree: true);
            throw;
        }
    }

    public static void Signal(Process process, int signal)
    {
        if (kill(process.Id, signal) != 0)
            throw new InvalidOperationException($"kill({process.Id}, {signal}): error {Marshal.GetLastPInvokeError()}");
    }

    [DllImport("libc", SetLastError = true), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int kill(int pid, int signal);
}
