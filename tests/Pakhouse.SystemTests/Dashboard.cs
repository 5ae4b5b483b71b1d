using Microsoft.Playwright;

[assembly: AssemblyFixture(typeof(Pakhouse.SystemTests.Browser))]

namespace Pakhouse.SystemTests;

/// <summary>One Chromium for all tests; each test has a profile of its own in it.</summary>
public sealed class Browser : IAsyncLifetime
{
    private IPlaywright? playwright;
    private IBrowser? chromium;

    public async ValueTask InitializeAsync()
    {
        playwright = await Playwright.CreateAsync();
        chromium = await playwright.Chromium.LaunchAsync(
            new BrowserTypeLaunchOptions
            {
                ExecutablePath = Tool.Chromium,
                Headless = true,
                Args =
                [
                    "--no-sandbox",
                    "--disable-gpu",
                    "--disable-quic",
                    "--no-first-run",
                    "--disable-background-networking",
                    "--disable-component-update",
                    "--disable-sync",
                ],
            }
        );
    }

    public async ValueTask DisposeAsync()
    {
        if (chromium is not null) await chromium.DisposeAsync();
        playwright?.Dispose();
    }

    /// <summary>A page in a fresh profile. What breaks the content security policy is collected, and fails the test at the end.</summary>
    internal async Task<Tab> OpenAsync(RunningServer server, bool javaScript = true)
    {
        var context = await chromium!.NewContextAsync(new BrowserNewContextOptions
        {
            BaseURL = server.Address,
            JavaScriptEnabled = javaScript,
            ReducedMotion = ReducedMotion.Reduce,
            ViewportSize = new ViewportSize { Width = 1280, Height = 900 },
            Permissions = ["clipboard-read", "clipboard-write"],
        });
        context.SetDefaultTimeout(20_000);
        return new Tab(context, await context.NewPageAsync());
    }
}

/// <summary>A browser's tab, and what a person does in it.</summary>
internal sealed class Tab : IAsyncDisposable
{
    private readonly IBrowserContext context;
    private readonly System.Collections.Concurrent.ConcurrentQueue<string> violations = new();

    public Tab(IBrowserContext context, IPage page)
    {
        (this.context, Page) = (context, page);
        page.Console += (_, message) =>
        {
            if (
                message.Text.Contains("Content Security Policy", StringComparison.OrdinalIgnoreCase)
                || message.Text.Contains("Refused to", StringComparison.Ordinal)
            )
                violations.Enqueue($"{page.Url}: {message.Text}");
        };
        page.PageError += (_, error) => violations.Enqueue($"{page.Url}: {error}");
    }

    public IPage Page { get; }

    public ILocator Rows => Page.GetByTestId("key-row");

    public ILocator NewKey => Page.GetByTestId("new-key");

    public ILocator Alert => Page.GetByRole(AriaRole.Alert);

    public ILocator Button(string name) => Page.GetByRole(AriaRole.Button, new() { Name = name, Exact = true });

    public ILocator Field(string label) => Page.GetByLabel(label, new() { Exact = true });

    public Task GoAsync(string path) => Page.GotoAsync(path);

    public async Task SignInAsync(Person person, string password = Seed.Password)
    {
        await GoAsync("/sign-in");
        await Field("E-mail address").FillAsync(person.Email);
        await Field("Password").FillAsync(password);
        await Button("Sign in").ClickAsync();
    }

    /// <summary>The key as it is shown.</summary>
    public async Task<string> GenerateAsync(string name)
    {
        await Field("Name").FillAsync(name);
        await Button("Generate Key").ClickAsync();
        return (await NewKey.TextContentAsync())!;
    }

    public ILocator Row(string key) => Page.Locator($"[data-testid=key-row][data-key-id='{Seed.IdOf(key)}']");

    public async ValueTask DisposeAsync()
    {
        await context.DisposeAsync();
        Assert.Empty(violations);
    }
}

/// <summary>A running server with people in it: Acme and its sub-organization Mobile, and Umbra, who are strangers to them.</summary>
public sealed class Dashboard : IAsyncLifetime
{
    internal RunningServer Server { get; private set; } = null!;

    internal Acme Acme { get; private set; } = null!;

    internal Person Stranger { get; private set; } = null!;

    internal Guid Umbra { get; private set; }

    public async ValueTask InitializeAsync()
    {
        Server = await RunningServer.StartAsync("--Pakhouse:FailuresPerMinuteMax", "100000");
        await using var seed = Seed.Open(Server.DataFolder);
        Acme = await seed.AddAcmeAsync();
        Stranger = await seed.AddPersonAsync("Sam Stranger");
        Umbra = (await seed.Organizations.CreateRootAsync(Actor.Operator, "Umbra", Stranger.Id)).Value;
    }

    /// <summary>A new member of Acme, with no keys yet: tests share the server, and not people.</summary>
    internal async Task<Person> AddMemberAsync(string name = "Devin Developer")
    {
        await using var seed = Seed.Open(Server.DataFolder);
        var person = await seed.AddPersonAsync(name);
        Assert.False((await seed.Members.AddAsync(Actor.Operator, Acme.Root, person.Id, NameSet.Of("build-operator"))).IsRefused);
        return person;
    }

    public ValueTask DisposeAsync() => Server.DisposeAsync();
}
