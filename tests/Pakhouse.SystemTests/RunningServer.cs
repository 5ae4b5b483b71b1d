using System.Diagnostics;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;

namespace Pakhouse.SystemTests;

/// <summary>
/// The built program as a process of its own: on a free loopback port, with a data folder of its own. Ready when it says that
/// it serves; ended by SIGTERM as a service manager does.
/// </summary>
internal sealed class RunningServer : IAsyncDisposable
{
    private static readonly string program = Path.Combine(AppContext.BaseDirectory, "Pakhouse.Server.dll");

    private readonly Process process;
    private readonly Lock gate = new();
    private readonly StringBuilder log = new();
    private readonly List<string> lines = [];
    private readonly Task reading;
    private readonly DirectoryInfo? ownFolder;
    private readonly string[] settings;
    private TaskCompletionSource changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private bool isOver;

    private RunningServer(Process process, string dataFolder, string[] settings, DirectoryInfo? ownFolder)
    {
        (this.process, DataFolder, this.settings, this.ownFolder) = (process, dataFolder, settings, ownFolder);
        process.StandardInput.Close();
        reading = Task.WhenAll(ReadAsync(process.StandardOutput), ReadAsync(process.StandardError))
            .ContinueWith(_ => Change(() => isOver = true), TaskScheduler.Default);
    }

    public string DataFolder { get; }

    public string DatabaseFile => Path.Combine(DataFolder, "pakhouse.db");

    public int ProcessId => process.Id;

    /// <summary>Where it serves, and the issuer of its tokens.</summary>
    public string Address { get; private set; } = "";

    /// <summary>One connection pool, no cookies, no redirects: a test sees what the wire carries.</summary>
    public HttpClient Http { get; } =
        new(
            new SocketsHttpHandler
            {
                UseCookies = false,
                AllowAutoRedirect = false,
                UseProxy = false,
            }
        )
        {
            Timeout = Tool.Patience,
        };

    /// <summary>Everything that was written to standard output and standard error.</summary>
    public string Output
    {
        get
        {
            lock (gate)
                return log.ToString();
        }
    }

    /// <param name="settings">As on the command line: <c>--Pakhouse:Name=value</c>.</param>
    public static Task<RunningServer> StartAsync(params string[] settings) => StartInAsync(null, settings);

    /// <param name="folder">An existing data folder, which is left as it is at the end; null: a new one.</param>
    public static async Task<RunningServer> StartInAsync(string? folder, params string[] settings)
    {
        var server = Launch([], folder, settings);
        try
        {
            await server.ServingAsync();
            return server;
        }
        catch
        {
            await server.DisposeAsync();
            throw;
        }
    }

    /// <summary>Starts the program and waits for nothing.</summary>
    /// <param name="words">The command; empty: serve.</param>
    /// <param name="around">A command that runs another one: <c>prlimit … --</c>.</param>
    public static RunningServer Launch(
        string[] words,
        string? folder,
        string[] settings,
        IReadOnlyDictionary<string, string>? environment = null,
        string[]? around = null
    )
    {
        var own = folder is null ? Directory.CreateTempSubdirectory("pakhouse-system-") : null;
        folder ??= Path.Combine(own!.FullName, "data");
        string[] command = [.. around ?? [], "dotnet", program, .. words, .. Defaults(folder), .. settings];
        return new RunningServer(Tool.Start(command[0], command[1..], environment), folder, settings, own);
    }

    /// <summary>Runs a command of the program to its end.</summary>
    public static Task<Ended> RunAsync(string[] words, string folder, params string[] settings) =>
        Tool.RunAsync("dotnet", [program, .. words, .. Defaults(folder), .. settings]);

    /// <summary>The same inside another command.</summary>
    public static Task<Ended> RunAroundAsync(string[] around, string[] words, string folder, params string[] settings)
    {
        string[] command = [.. around, "dotnet", program, .. words, .. Defaults(folder), .. settings];
        return Tool.RunAsync(command[0], command[1..]);
    }

    /// <summary>Waits until it says that it serves, and where.</summary>
    public async Task ServingAsync() => UseAddress((await LineAsync("Pakhouse serves ")).Split(' ')[2]);

    public void UseAddress(string address)
    {
        Address = address;
        Http.BaseAddress = new Uri(address);
    }

    /// <summary>Where the first user is made, as the command <c>set-up</c> says it beside this server.</summary>
    /// <param name="around">A command that runs another one.</param>
    public async Task<string> SetUpPathAsync(params string[] around)
    {
        var ended = await RunAroundAsync([.. around, "env"], ["set-up"], DataFolder, settings);
        Assert.True(ended.ExitCode == 0, ended.All);
        var line = ended.Output.Split('\n').Single(line => line.TrimStart().StartsWith("http", StringComparison.Ordinal));
        return new Uri(line.Trim()).PathAndQuery;
    }

    /// <summary>The first line that begins with these words, once it is there.</summary>
    public async Task<string> LineAsync(string start)
    {
        while (true)
        {
            Task next;
            lock (gate)
            {
                if (lines.Find(line => line.TrimStart().StartsWith(start, StringComparison.Ordinal)) is { } found)
                    return found.Trim();
                if (isOver)
                    throw new InvalidOperationException($"The program ended without saying \"{start}\":{Environment.NewLine}{log}");
                next = changed.Task;
            }

            try
            {
                await next.WaitAsync(Tool.Patience);
            }
            catch (TimeoutException e)
            {
                throw new TimeoutException($"The program does not say \"{start}\":{Environment.NewLine}{Output}", e);
            }
        }
    }

    /// <summary>Sends a signal, waits for the end and returns the exit code.</summary>
    public async Task<int> StopAsync(int signal = Tool.SIGTERM)
    {
        Tool.Signal(process, signal);
        return await EndAsync();
    }

    public async Task<int> EndAsync()
    {
        await Tool.EndAsync(process);
        await reading;
        return process.ExitCode;
    }

    public async ValueTask DisposeAsync()
    {
        if (!process.HasExited)
            await StopAsync();
        await reading;
        process.Dispose();
        Http.Dispose();
        ownFolder?.Delete(recursive: true);
    }

    public Task<Answer> ExchangeAsync(string key, Guid? subOrganization = null) =>
        PostAsync("/auth/v3/token", $"personalAccessKey={key}" + (subOrganization is { } id ? $"&subOrganization={id}" : ""));

    public async Task<Answer> PostAsync(string path, string body, string contentType = "application/x-www-form-urlencoded")
    {
        using var content = new StringContent(body);
        content.Headers.ContentType = MediaTypeHeaderValue.Parse(contentType);
        using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(path, UriKind.Relative)) { Content = content };
        return await Answer.OfAsync(await Http.SendAsync(request));
    }

    public async Task<Answer> GetAsync(string path) => await Answer.OfAsync(await Http.GetAsync(new Uri(path, UriKind.Relative)));

    private static string[] Defaults(string folder) => ["--Pakhouse:Listen", "http://127.0.0.1:0", "--Pakhouse:DataFolder", folder];

    private async Task ReadAsync(StreamReader reader)
    {
        while (await reader.ReadLineAsync() is { } line)
        {
            Change(() =>
            {
                log.AppendLine(line);
                lines.Add(line);
            });
        }
    }

    private void Change(Action change)
    {
        lock (gate)
        {
            change();
            changed.SetResult();
            changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
        }
    }
}

/// <summary>An answer, read whole: what stands in <see cref="Text"/> is all that came over the wire.</summary>
internal sealed record Answer(int Status, HttpResponseMessage Response, string Body)
{
    public static async Task<Answer> OfAsync(HttpResponseMessage response) =>
        new((int)response.StatusCode, response, await response.Content.ReadAsStringAsync());

    public JsonElement Json => JsonDocument.Parse(Body).RootElement;

    public string? Error => Json.GetProperty("error").GetString();

    public string Description => Json.GetProperty("error_description").GetString()!;

    public string Token => Json.GetProperty("access_token").GetString()!;

    public string Text => $"{Response}{Environment.NewLine}{Body}";

    public string? Header(string name) =>
        Response.Headers.TryGetValues(name, out var values) || Response.Content.Headers.TryGetValues(name, out values)
            ? string.Join(", ", values)
            : null;
}
