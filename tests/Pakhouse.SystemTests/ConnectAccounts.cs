using System.Diagnostics;
using System.Net.Http.Json;
using System.Text.RegularExpressions;
using Microsoft.Playwright;
using static Microsoft.Playwright.Assertions;

namespace Pakhouse.SystemTests;

/// <summary>
/// An owner sends the link, and the member connects the two accounts, in a real browser with a certified OpenID provider
/// (tests/node/provider.mjs). The provider is another site than the server, by name: so the cookies of the way back are those of the real
/// thing.
/// </summary>
public sealed partial class ConnectAccounts(Browser browser)
{
    [Fact]
    public async Task A_member_connects_the_account_of_the_provider_by_the_link_of_an_owner_and_signs_in_with_it_from_then_on()
    {
        var start = new ProcessStartInfo("node", "provider.mjs")
        {
            WorkingDirectory = Path.Combine(Page.Root, "tests", "node"),
            UseShellExecute = false,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
        };
        using var provider = Process.Start(start)!;
        try
        {
            await GoAsync((await provider.StandardOutput.ReadLineAsync())!);
        }
        finally
        {
            provider.StandardInput.Close(); // it ends with its input
            await provider.WaitForExitAsync();
        }
    }

    private async Task GoAsync(string provider)
    {
        await using var server = await RunningServer.StartAsync(
            "--Pakhouse:Listen",
            "http://localhost:" + SignInWays.FreePort(),
            "--Pakhouse:OidcAuthority",
            provider,
            "--Pakhouse:OidcClientId",
            "pakhouse",
            "--Pakhouse:OidcClientSecret",
            "a secret of both",
            "--Pakhouse:OidcName",
            "Acme ID"
        );
        Acme acme;
        Person ada;
        await using (var seed = Seed.Open(server.DataFolder))
        {
            acme = await seed.AddAcmeAsync();
            ada = await seed.AddPersonAsync("Ada");
            await seed.Members.AddAsync(Actor.Operator, acme.Root, ada.Id, NameSet.Empty);
        }

        using var http = new HttpClient();
        using var set = await http.PostAsJsonAsync(
            $"{provider}/control",
            new
            {
                account = "subject-ada",
                email = ada.Email,
                emailVerified = (bool?)null,
                client = new { redirect_uris = new[] { $"{server.Address}/sign-in/provider/callback" } },
            }
        );
        set.EnsureSuccessStatusCode();

        await using (var tab = await browser.OpenAsync(server))
        {
            await tab.GoAsync("/sign-in");
            await Link(tab, "Sign in with Acme ID").ClickAsync();
            await Expect(tab.Page.GetByText("An owner of your organization can send you a link")).ToBeVisibleAsync();
        }

        await using (var tab = await browser.OpenAsync(server))
        {
            await tab.SignInAsync(acme.Owner);
            await tab.GoAsync($"/organizations/{acme.Root}/team/members/{ada.Id}");
            await SeeEveryPage.AuditAsync(tab);
            await tab.Button("Send a link").ClickAsync();
            await Expect(tab.Page.GetByText($"on its way to {ada.Email}")).ToBeVisibleAsync();
            await SeeEveryPage.AuditAsync(tab);
        }

        await using (var tab = await browser.OpenAsync(server))
        {
            await tab.GoAsync(await LinkAsync(server));
            await SeeEveryPage.AuditAsync(tab);
            await Link(tab, "Go on to Acme ID").ClickAsync();
            await Expect(tab.Page.GetByText("subject-ada")).ToBeVisibleAsync();
            await SeeEveryPage.AuditAsync(tab);
            await tab.Button("Both are mine: connect them").ClickAsync();
            await tab.GoAsync("/account");
            await Expect(tab.Page.GetByRole(AriaRole.Heading, new() { Name = "Acme ID" })).ToBeVisibleAsync();
            await SeeEveryPage.AuditAsync(tab);
        }

        await using (var tab = await browser.OpenAsync(server))
        {
            await tab.GoAsync("/sign-in?from=/account");
            await Link(tab, "Sign in with Acme ID").ClickAsync();
            await tab.Button("Disconnect Acme ID").ClickAsync();
            await Expect(tab.Page.GetByRole(AriaRole.Heading, new() { Name = "Sign in" })).ToBeVisibleAsync(); // the session ended with it
        }
    }

    private static ILocator Link(Tab tab, string name) =>
        tab.Page.GetByRole(AriaRole.Main).GetByRole(AriaRole.Link, new() { Name = name, Exact = true });

    private static async Task<string> LinkAsync(RunningServer server)
    {
        using var patience = new CancellationTokenSource(Tool.Patience);
        using var again = new PeriodicTimer(TimeSpan.FromMilliseconds(100));
        do
        {
            foreach (
                var file in Directory.Exists($"{server.DataFolder}/mails") ? Directory.GetFiles($"{server.DataFolder}/mails", "*.eml") : []
            )
            {
                // Lines that quoted-printable broke, and its form of the sign between name and value.
                var text = (await File.ReadAllTextAsync(file, patience.Token))
                    .Replace("\r\n", "\n", StringComparison.Ordinal)
                    .Replace("=\n", "", StringComparison.Ordinal);
                if (LinkInMail().Match(text.Replace("=3D", "=", StringComparison.Ordinal)) is { Success: true } match)
                    return match.Value;
            }
        } while (await again.WaitForNextTickAsync(patience.Token));
        throw new InvalidOperationException("the timer has ended");
    }

    [GeneratedRegex(@"/sign-in/connect\?code=\S+", RegexOptions.None, 1000)]
    private static partial Regex LinkInMail();
}
