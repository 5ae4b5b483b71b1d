using Microsoft.Playwright;
using OtpNet;
using static Microsoft.Playwright.Assertions;

namespace Pakhouse.SystemTests;

/// <summary>The ways in besides a password, in a real browser: passkeys of a virtual authenticator, and codes of an app.</summary>
public sealed class SignInWays(Browser browser) : IAsyncLifetime
{
    private RunningServer server = null!;
    private Acme acme = null!;

    public async ValueTask InitializeAsync()
    {
        // By name: no browser takes passkeys for an address of numbers.
        server = await RunningServer.StartAsync(
            "--Pakhouse:FailuresPerMinuteMax",
            "100000",
            "--Pakhouse:Listen",
            "http://localhost:" + FreePort()
        );
        await using var seed = Seed.Open(server.DataFolder);
        acme = await seed.AddAcmeAsync();
    }

    public ValueTask DisposeAsync() => server.DisposeAsync();

    [Fact]
    public async Task A_passkey_is_added_signs_in_by_itself_and_no_more_once_removed()
    {
        await using var tab = await browser.OpenAsync(server);
        var authenticator = await AddAuthenticatorAsync(tab, isUserVerified: true);
        await tab.SignInAsync(acme.Owner);
        await Expect(tab.Page)
            .Not.ToHaveURLAsync(
                new System.Text.RegularExpressions.Regex(
                    "/sign-in",
                    System.Text.RegularExpressions.RegexOptions.None,
                    TimeSpan.FromSeconds(1)
                )
            );
        await tab.GoAsync("/account/passkeys/add");
        await SeeEveryPage.AuditAsync(tab);
        await tab.Field("Name").FillAsync("Laptop");
        await tab.Button("Add a passkey").ClickAsync();
        await Expect(tab.Page.GetByText("The passkey was added.")).ToBeVisibleAsync();
        await ShootAsync(tab, "account");

        await SignOutAsync(tab);
        await tab.GoAsync("/sign-in?from=/account");
        await ShootAsync(tab, "sign-in");
        await tab.Button("Sign in with a passkey").ClickAsync();
        await Expect(tab.Page.GetByText("by passkey")).ToBeVisibleAsync();

        await tab.Page.GetByRole(AriaRole.Link, new() { Name = "Remove Laptop" }).ClickAsync();
        await SeeEveryPage.AuditAsync(tab);
        await tab.Button("Remove").ClickAsync();
        await Expect(tab.Page.GetByText("The passkey was removed.")).ToBeVisibleAsync();
        await SignOutAsync(tab);
        await tab.GoAsync("/sign-in");
        await tab.Button("Sign in with a passkey").ClickAsync();
        await Expect(tab.Alert.First).ToBeVisibleAsync();
        Assert.Contains("/sign-in", tab.Page.Url, StringComparison.Ordinal);
        await authenticator.SendAsync("WebAuthn.disable");
    }

    /// <summary>The attack: a stolen security key, whose thief knows no PIN, or a cookie and an answer that were copied.</summary>
    [Fact]
    public async Task Without_verifying_the_person_no_passkey_is_made_and_an_answer_works_once()
    {
        await using var tab = await browser.OpenAsync(server);
        var authenticator = await AddAuthenticatorAsync(tab, isUserVerified: false);
        await tab.SignInAsync(acme.Owner);
        await Expect(tab.Page)
            .Not.ToHaveURLAsync(
                new System.Text.RegularExpressions.Regex(
                    "/sign-in",
                    System.Text.RegularExpressions.RegexOptions.None,
                    TimeSpan.FromSeconds(1)
                )
            );
        await tab.GoAsync("/account/passkeys/add");
        await tab.Button("Add a passkey").ClickAsync();
        await Expect(tab.Page.GetByText("No passkey was created.")).ToBeVisibleAsync();
        await authenticator.SendAsync("WebAuthn.disable");

        await AddAuthenticatorAsync(tab, isUserVerified: true);
        await tab.GoAsync("/account/passkeys/add");
        await tab.Button("Add a passkey").ClickAsync();
        await Expect(tab.Page.GetByText("The passkey was added.")).ToBeVisibleAsync();
        await SignOutAsync(tab);
        await tab.GoAsync("/sign-in");
        var cookies = (await tab.Page.Context.CookiesAsync()).ToDictionary(
            cookie => cookie.Name,
            cookie => cookie.Value,
            StringComparer.Ordinal
        );
        var sent = await tab.Page.RunAndWaitForRequestAsync(
            () => tab.Button("Sign in with a passkey").ClickAsync(),
            request => request.Method == "POST"
        );
        await Expect(tab.Page)
            .Not.ToHaveURLAsync(
                new System.Text.RegularExpressions.Regex(
                    "/sign-in",
                    System.Text.RegularExpressions.RegexOptions.None,
                    TimeSpan.FromSeconds(1)
                )
            );

        var thief = new Visitor(server);
        foreach (var (name, value) in cookies)
            thief.Cookies[name] = value;
        var form = sent.PostData!.Split('&')
            .Select(pair => pair.Split('=', 2))
            .Select(pair => (Uri.UnescapeDataString(pair[0].Replace('+', ' ')), Uri.UnescapeDataString(pair[1].Replace('+', ' '))))
            .ToArray();
        var answer = await thief.PostAsync("/sign-in?handler=Passkey", form);
        Assert.Equal(400, answer.Status);
        Assert.DoesNotContain("pakhouse", thief.Cookies.Keys);
    }

    [Fact]
    public async Task An_authenticator_app_is_added_and_asked_for()
    {
        await using var tab = await browser.OpenAsync(server);
        await tab.SignInAsync(acme.Owner);
        await tab.GoAsync("/account/second-factor");
        await ShootAsync(tab, "second-factor");
        var secret = Base32Encoding.ToBytes((await tab.Page.GetByTestId("totp-secret").TextContentAsync())!);
        await tab.Field("Code").FillAsync("000");
        await tab.Button("Add the app").ClickAsync();
        await Expect(tab.Alert).ToBeVisibleAsync();
        await ShootAsync(tab, "second-factor-wrong");
        await tab.Field("Code").FillAsync(new Totp(secret).ComputeTotp());
        await tab.Button("Add the app").ClickAsync();
        var recovery = (await tab.Page.GetByTestId("recovery-codes").TextContentAsync())!.Split('\n');
        await ShootAsync(tab, "recovery-codes");
        await SignOutAsync(tab);

        await tab.SignInAsync(acme.Owner);
        await SeeEveryPage.AuditAsync(tab);
        await ShootAsync(tab, "code");
        await tab.Field("Code").FillAsync(recovery[3]);
        await tab.Button("Sign in").ClickAsync();
        await tab.GoAsync("/account");
        await Expect(tab.Page.GetByText("9 recovery codes left.")).ToBeVisibleAsync();
        await ShootAsync(tab, "account-second-factor");
    }

    private static async Task SignOutAsync(Tab tab)
    {
        await tab.Button("Sign out").First.ClickAsync();
        await Expect(tab.Page.GetByRole(AriaRole.Heading, new() { Name = "Sign in" })).ToBeVisibleAsync();
    }

    private static async Task<ICDPSession> AddAuthenticatorAsync(Tab tab, bool isUserVerified)
    {
        var session = await tab.Page.Context.NewCDPSessionAsync(tab.Page);
        await session.SendAsync("WebAuthn.enable");
        await session.SendAsync(
            "WebAuthn.addVirtualAuthenticator",
            new Dictionary<string, object>
            {
                ["options"] = new
                {
                    protocol = "ctap2",
                    transport = "internal",
                    hasResidentKey = true,
                    hasUserVerification = true,
                    isUserVerified,
                    automaticPresenceSimulation = true,
                },
            }
        );
        return session;
    }

    /// <summary>For people to look at, where PAKHOUSE_SCREENSHOTS names a folder.</summary>
    private static async Task ShootAsync(Tab tab, string name)
    {
        if (Environment.GetEnvironmentVariable("PAKHOUSE_SCREENSHOTS") is not { Length: > 0 } folder) return;
        foreach (var (width, scheme) in ((int, ColorScheme)[])[(1440, ColorScheme.Light), (360, ColorScheme.Dark)])
        {
            await tab.Page.SetViewportSizeAsync(width, 900);
            await tab.Page.EmulateMediaAsync(new() { ColorScheme = scheme });
            await tab.Page.ScreenshotAsync(new() { Path = Path.Combine(folder, $"{name}-{width}.png"), FullPage = true });
        }

        await tab.Page.SetViewportSizeAsync(1280, 900);
    }

    internal static int FreePort()
    {
        using var free = new System.Net.Sockets.TcpListener(System.Net.IPAddress.Loopback, 0);
        free.Start();
        return ((System.Net.IPEndPoint)free.LocalEndpoint).Port;
    }
}
