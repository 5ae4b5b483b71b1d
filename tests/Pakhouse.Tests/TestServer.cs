using System.Net;
using System.Net.Http.Headers;
using System.Text.Json;
using Dapper;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Identity;
using Microsoft.AspNetCore.Mvc.ModelBinding;
using Microsoft.AspNetCore.Mvc.ModelBinding.Metadata;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Time.Testing;

namespace Pakhouse.Tests;

/// <summary>
/// The real server: Kestrel on a free loopback port, a database of its own, and a clock that only the test moves.
/// </summary>
public sealed class TestServer : IAsyncDisposable
{
    private readonly WebApplication app;

    private TestServer(TestDatabase place, WebApplication app, FakeTimeProvider clock, RecordedLog log)
    {
        (Place, this.app, Clock, Log) = (place, app, clock, log);
        Address = app.Urls.Single();
        // One connection pool, no cookies, no redirects: a test sees what the wire carries.
        Http = new HttpClient(new SocketsHttpHandler { UseCookies = false, AllowAutoRedirect = false }) { BaseAddress = new Uri(Address) };
    }

    public FakeTimeProvider Clock { get; }

    public RecordedLog Log { get; }

    public string Address { get; }

    /// <summary>Where its data is, for a second server on the same.</summary>
    public TestDatabase Place { get; }

    public string DataFolder => Place.Folder;

    public HttpClient Http { get; }

    public Organizations Organizations => Get<Organizations>();

    public Members Members => Get<Members>();

    public Users Users => Get<Users>();

    public Keys Keys => Get<Keys>();

    public Invitations Invitations => Get<Invitations>();

    /// <summary>The messages to an address, oldest first, as their files hold them; what waits is sent before.</summary>
    public async Task<IReadOnlyList<MimeKit.MimeMessage>> MailsToAsync(string email)
    {
        await Get<MailSender>().RunAsync();
        var folder = Get<PakhouseOptions>().MailFolder;
        return Directory.Exists(folder)
            ?
            [
                .. Directory
                    .GetFiles(folder, "*.eml")
                    .Order()
                    .Select(file => MimeKit.MimeMessage.Load(file))
                    .Where(mail => mail.To.Mailboxes.Single().Address == email),
            ]
            : [];
    }

    /// <summary>SQL from outside: as another process would, or an injected fault.</summary>
    public Task<int> ExecuteAsync(string sql) =>
        Get<Database>().WriteAsync(transaction => transaction.Connection!.ExecuteAsync(sql, transaction: transaction));

    public Task<T?> ScalarAsync<T>(string sql) => Get<Database>().ReadAsync(connection => connection.ExecuteScalarAsync<T>(sql));

    /// <summary>From now on no row can be added to the table: the fault lies in the database, not in a stand-in for it.</summary>
    public Task<int> BreakInsertsAsync(string table) =>
        ExecuteAsync(
            TestDatabase.IsPostgres
                ? $"CREATE OR REPLACE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'injected'; END $$; "
                    + $"CREATE TRIGGER fault_{table} BEFORE INSERT ON {table} EXECUTE FUNCTION fault()"
                : $"CREATE TRIGGER {FileOf(table)}.fault_{table} BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'injected'); END"
        );

    /// <summary>On SQLite: what the file that holds a table is called in statements.</summary>
    public static string FileOf(string table) => SqliteUsage.Tables.Contains(table) ? "usage" : "main";

    public Task<int> MendInsertsAsync(string table) =>
        ExecuteAsync(TestDatabase.IsPostgres ? $"DROP TRIGGER fault_{table} ON {table}" : $"DROP TRIGGER fault_{table}");

    public T Get<T>()
        where T : notnull => app.Services.GetRequiredService<T>();

    /// <param name="settings">As on the command line: <c>--Pakhouse:Name=value</c>.</param>
    public static Task<TestServer> StartAsync(params string[] settings) => StartOnAsync(null, null, settings);

    /// <param name="place">Of an earlier server; null: a new one. Either is deleted at the end.</param>
    public static Task<TestServer> StartOnAsync(TestDatabase? place, FakeTimeProvider? clock, params string[] settings) =>
        // The test's clock is right, whatever the machine's says; ClockTests has others.
        StartOnAsync(place, clock, () => Task.FromResult(TimeBounds.Any), settings);

    /// <param name="bounds">What the clock is compared with; null: the database.</param>
    public static async Task<TestServer> StartOnAsync(
        TestDatabase? place,
        FakeTimeProvider? clock,
        Func<Task<TimeBounds>>? bounds,
        params string[] settings
    )
    {
        place ??= await TestDatabase.CreateAsync();
        clock ??= new MovedClock(new DateTimeOffset(2026, 11, 2, 9, 0, 30, TimeSpan.Zero));
        var log = new RecordedLog();
        var server = Server.Program.Build(
            [
                "--Pakhouse:Listen=http://127.0.0.1:0",
                "--Pakhouse:ShutdownDelaySeconds=0",
                $"--Pakhouse:RolesFile={Path.Combine(Repository.Root, "tests", "roles.json")}",
                .. place.Settings,
                .. settings,
            ],
            clock,
            builder =>
            {
                builder.Logging.ClearProviders().AddProvider(log).SetMinimumLevel(LogLevel.Trace).AddFilter("", LogLevel.Trace);
                // The same hasher with less work: the tests make hundreds of users.
                builder.Services.Configure<PasswordHasherOptions>(hasher => hasher.IterationCount = 1000);
                // The models of the pages are the same in every server, and reading them costs more than half of a start.
                builder.Services.AddSingleton(services =>
                    pageModels ??= ActivatorUtilities.CreateInstance<DefaultModelMetadataProvider>(services)
                );
            },
            bounds
        );
        try
        {
            await server.StartAsync();
        }
        catch
        {
            await server.DisposeAsync(); // what was started goes on with the folder otherwise, while the test removes it
            throw;
        }

        return new TestServer(place, server, clock, log);
    }

    private static IModelMetadataProvider? pageModels;

    private bool isStopped;

    /// <summary>Stops the server and leaves its data for the next.</summary>
    public async Task StopAsync()
    {
        if (isStopped)
            return; // disposed of after a test that stopped it
        isStopped = true;
        await app.StopAsync();
        await app.DisposeAsync();
        Http.Dispose();
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        await Place.DeleteAsync();
    }

    /// <summary>What a token is granted of a key without limits.</summary>
    public static readonly NameSet EveryScope = NameSet.Of("openid", "profile", "email", "organization:read", "organization:write");

    /// <summary>Settings that map the routes of sign-in through a provider; nobody answers there.</summary>
    public static readonly string[] UnreachableProvider =
    [
        "--Pakhouse:OidcAuthority=http://127.0.0.1:9",
        "--Pakhouse:OidcClientId=pakhouse",
    ];

    public const string Password = "correct horse battery";

    private int people;

    public async Task<Guid> AddUserAsync(string? name = null)
    {
        var number = Interlocked.Increment(ref people);
        return (await Users.CreateAsync(Actor.Operator, $"person{number}@acme.example", name ?? $"Person {number}", Password)).Value;
    }

    /// <summary>Acme with its owner, and the sub-organization Mobile, in which the owner is an inherited member.</summary>
    public async Task<Acme> AddAcmeAsync()
    {
        var owner = await AddUserAsync();
        var root = (await Organizations.CreateRootAsync(Actor.Operator, "Acme", owner)).Value;
        var sub = (await Organizations.CreateSubAsync(Actor.Session(owner), root, "Mobile")).Value;
        return new Acme(owner, root, sub);
    }

    public async Task<Guid> AddMemberAsync(Guid organization, params string[] roles)
    {
        var user = await AddUserAsync();
        var added = await Members.AddAsync(Actor.Operator, organization, user, NameSet.Of(roles));
        Assert.False(added.IsRefused);
        return user;
    }

    /// <summary>The key as text.</summary>
    public async Task<string> AddKeyAsync(Guid user, Guid organization, TimeSpan? lifetime = null, params string[] scopes)
    {
        var outcome = await Keys.GenerateAsync(
            Actor.Session(user),
            organization,
            new NewKey(KeyFormat.NewId(), "Key 1", Clock.GetUtcNow() + lifetime, scopes.Length == 0 ? NameSet.All : NameSet.Of(scopes))
        );
        using var key = outcome.Value;
        return key.Reveal();
    }

    public static string IdOf(string key) => key.Split('_')[2];

    public Task<Answer> ExchangeAsync(string key, Guid? subOrganization = null, string? scope = null)
    {
        var fields = new List<(string, string)> { ("personalAccessKey", key) };
        if (subOrganization is { } id)
            fields.Add(("subOrganization", id.ToString()));
        if (scope is not null)
            fields.Add(("scope", scope));
        return PostAsync("/auth/v3/token", [.. fields]);
    }

    public Task<Answer> PostAsync(string path, params (string Name, string Value)[] fields) =>
        PostBodyAsync(
            path,
            string.Join('&', fields.Select(field => $"{Uri.EscapeDataString(field.Name)}={Uri.EscapeDataString(field.Value)}"))
        );

    public async Task<Answer> PostBodyAsync(string path, string body, string? contentType = "application/x-www-form-urlencoded")
    {
        using var content = new StringContent(body);
        content.Headers.ContentType = contentType is null ? null : MediaTypeHeaderValue.Parse(contentType);
        // Path as it is: HttpClient would tidy //auth away.
        using var request = new HttpRequestMessage(
            HttpMethod.Post,
            new Uri(Address + path, new UriCreationOptions { DangerousDisablePathAndQueryCanonicalization = true })
        )
        {
            Content = content,
        };
        return await Answer.OfAsync(await Http.SendAsync(request));
    }

    public async Task<Answer> GetAsync(string path) => await Answer.OfAsync(await Http.GetAsync(path));
}

/// <summary>
/// A clock that only the test moves, and in which a move of ninety days is one tick of a timer of five seconds, as a sleeping machine has
/// it. The framework's own would tick a million and a half times.
/// </summary>
public sealed class MovedClock(DateTimeOffset start) : FakeTimeProvider(start)
{
    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) =>
        period <= TimeSpan.Zero ? base.CreateTimer(callback, state, dueTime, period) : new Periodic(this, callback, state, dueTime, period);

    private ITimer Once(TimerCallback callback, TimeSpan dueTime) => base.CreateTimer(callback, null, dueTime, Timeout.InfiniteTimeSpan);

    private sealed class Periodic : ITimer
    {
        private readonly ITimer timer;
        private TimeSpan period;

        public Periodic(MovedClock clock, TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
        {
            this.period = period;
            timer = clock.Once(
                _ =>
                {
                    timer!.Change(this.period, Timeout.InfiniteTimeSpan); // from where the clock stands now
                    callback(state);
                }, dueTime);
        }

        public bool Change(TimeSpan dueTime, TimeSpan newPeriod)
        {
            period = newPeriod;
            return timer.Change(dueTime, Timeout.InfiniteTimeSpan);
        }

        public void Dispose() => timer.Dispose();

        public ValueTask DisposeAsync() => timer.DisposeAsync();
    }
}

public sealed record Acme(Guid Owner, Guid Root, Guid Sub);

/// <summary>An answer, read whole.</summary>
public sealed record Answer(HttpStatusCode Status, HttpResponseMessage Response, string Body)
{
    public static async Task<Answer> OfAsync(HttpResponseMessage response) =>
        new(response.StatusCode, response, await response.Content.ReadAsStringAsync());

    public JsonElement Json => JsonDocument.Parse(Body).RootElement;

    public string? Error => Json.GetProperty("error").GetString();

    public string Description => Json.GetProperty("error_description").GetString()!;

    public string Token => Json.GetProperty("access_token").GetString()!;

    /// <summary>The claims, unverified; verification is tested on its own.</summary>
    public JsonElement Claims => JsonDocument.Parse(System.Buffers.Text.Base64Url.DecodeFromChars(Token.Split('.')[1])).RootElement;

    public string[] Roles => [.. Claims.GetProperty("roles").EnumerateArray().Select(role => role.GetString()!)];

    public string? Header(string name) =>
        Response.Headers.TryGetValues(name, out var values) || Response.Content.Headers.TryGetValues(name, out values)
            ? string.Join(", ", values)
            : null;
}

/// <summary>Everything that was logged, at every level, as text.</summary>
public sealed class RecordedLog : ILoggerProvider
{
    private readonly System.Collections.Concurrent.ConcurrentQueue<string> lines = new();

    public IReadOnlyCollection<string> Lines => lines;

    public ILogger CreateLogger(string categoryName) => new Logger(categoryName, lines);

    public void Dispose()
    {
    }

    private sealed class Logger(string category, System.Collections.Concurrent.ConcurrentQueue<string> lines) : ILogger
    {
        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(
            LogLevel logLevel,
            EventId eventId,
            TState state,
            Exception? exception,
            Func<TState, Exception?, string> formatter
        )
        {
            // The values behind the message too: a structured sink stores them.
            var values = state is IEnumerable<KeyValuePair<string, object?>> pairs
                ? string.Join(' ', pairs.Select(pair => $"{pair.Key}={pair.Value}"))
                : "";
            lines.Enqueue($"{logLevel} {category}: {formatter(state, exception)} {values} {exception}");
        }
    }
}
