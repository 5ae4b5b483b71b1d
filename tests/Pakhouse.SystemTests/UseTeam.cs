using System.Text.RegularExpressions;
using Microsoft.Playwright;
using static Microsoft.Playwright.Assertions;

namespace Pakhouse.SystemTests;

/// <summary>People and organizations at the dashboard, in a real browser.</summary>
public sealed partial class UseTeam(Browser browser, Dashboard dashboard) : IClassFixture<Dashboard>
{
    private RunningServer Server => dashboard.Server;

    private static string TeamUrl(Guid organization) => $"/organizations/{organization}/team";

    private static ILocator Member(Tab tab, string name) => tab.Page.GetByTestId("member-row").Filter(new() { HasText = name });

    [Fact]
    public async Task Developer_is_invited_follows_the_mails_link_generates_and_exchanges_a_key_is_removed_and_the_key_is_dead_at_once()
    {
        var email = $"{Ids.New(TimeProvider.System):N}@example.org";
        await using var owner = await browser.OpenAsync(Server);
        await owner.SignInAsync(dashboard.Acme.Owner);
        await owner.GoAsync(TeamUrl(dashboard.Acme.Sub));
        await owner.Page.GetByRole(AriaRole.Link, new() { Name = "Invite", Exact = true }).ClickAsync();
        await owner.Field("E-mail address").FillAsync(email);
        await owner.Field("Build Operator").CheckAsync();
        await owner.Button("Send invitation").ClickAsync();
        await Expect(owner.Page.GetByTestId("invitation-row").Filter(new() { HasText = email })).ToContainTextAsync("Build Operator");

        await using var developer = await browser.OpenAsync(Server);
        await developer.GoAsync(await LinkAsync(email));
        await SeeEveryPage.AuditAsync(developer);
        await developer.Field("Your name").FillAsync("Devin Developer");
        await developer.Field("Choose a password").FillAsync(Seed.Password);
        await developer.Button("Create account and join").ClickAsync();
        await developer.GoAsync(Visitor.SecurityUrl(dashboard.Acme.Sub));
        var key = await developer.GenerateAsync("Laptop");
        var exchanged = await Server.ExchangeAsync(key);
        Assert.Equal(200, exchanged.Status);
        Assert.Equal(dashboard.Acme.Sub.ToString(), exchanged.Json.GetProperty("organization_id").GetString());

        await owner.GoAsync($"{TeamUrl(dashboard.Acme.Sub)}?search={email}");
        await Expect(owner.Page.GetByTestId("member-row")).ToHaveCountAsync(1);
        await Member(owner, "Devin Developer").GetByRole(AriaRole.Link, new() { Name = "Remove" }).ClickAsync();
        await Expect(owner.Page.GetByTestId("ending-keys")).ToContainTextAsync("Laptop");
        await owner.Button("Remove").ClickAsync();
        await Expect(owner.Page.GetByRole(AriaRole.Heading, new() { Name = "Members" })).ToBeVisibleAsync();
        Assert.Equal(401, (await Server.ExchangeAsync(key)).Status);

        await developer.GoAsync(Visitor.SecurityUrl(dashboard.Acme.Sub));
        await Expect(developer.Page.GetByRole(AriaRole.Heading, new() { Name = "Not found" })).ToBeVisibleAsync(); // R9
        await owner.GoAsync($"/organizations/{dashboard.Acme.Sub}/activity?person={email}");
        await Expect(owner.Page.GetByTestId("activity-row").First).ToContainTextAsync("Member Remove");
        Assert.DoesNotContain(Seed.SecretOf(key), await owner.Page.ContentAsync(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Roles_are_changed_and_an_inherited_member_is_added_without_scripts()
    {
        var person = await dashboard.AddMemberAsync("Rita Roles");
        await using var tab = await browser.OpenAsync(Server, javaScript: false);
        await tab.SignInAsync(dashboard.Acme.Owner);
        await tab.GoAsync($"{TeamUrl(dashboard.Acme.Root)}?search={person.Email}");
        await Expect(Member(tab, "Rita Roles")).ToContainTextAsync("Build Operator");
        await Member(tab, "Rita Roles").GetByRole(AriaRole.Link, new() { Name = "Manage Roles" }).ClickAsync();
        await tab.Field("Build Operator").UncheckAsync();
        await tab.Field("Report Viewer").CheckAsync();
        await tab.Button("Save roles").ClickAsync();
        await tab.GoAsync($"{TeamUrl(dashboard.Acme.Root)}?search={person.Email}");
        await Expect(Member(tab, "Rita Roles")).ToContainTextAsync("Report Viewer");
        await Expect(Member(tab, "Rita Roles")).Not.ToContainTextAsync("Build Operator");

        await tab.GoAsync($"{TeamUrl(dashboard.Acme.Sub)}?search={person.Email}");
        await Expect(Member(tab, "Rita Roles")).ToContainTextAsync("Inherited");
        await Member(tab, "Rita Roles").GetByRole(AriaRole.Link, new() { Name = "Add as member" }).ClickAsync();
        await tab.Button("Add as member").ClickAsync();
        await tab.GoAsync($"{TeamUrl(dashboard.Acme.Sub)}?search={person.Email}");
        await Expect(Member(tab, "Rita Roles").Locator(".chip").First).ToHaveTextAsync("Member");
    }

    [Fact]
    public async Task Organization_is_made_renamed_disabled_and_deleted_only_by_its_typed_name_without_scripts()
    {
        Person person;
        await using (var seed = Seed.Open(Server.DataFolder))
            person = await seed.AddPersonAsync("Nora Newcomer");
        await using var tab = await browser.OpenAsync(Server, javaScript: false);
        await tab.SignInAsync(person);
        await tab.Page.GetByRole(AriaRole.Link, new() { Name = "New organization" }).ClickAsync();
        await tab.Field("Organization name").FillAsync("Newly made");
        await tab.Button("Create organization").ClickAsync();
        await tab.Field("New sub-organization").FillAsync("Below");
        await tab.Button("Create").ClickAsync();
        await Expect(tab.Page.GetByRole(AriaRole.Navigation, new() { Name = "Breadcrumb" })).ToContainTextAsync("Newly made");
        await tab.Page.GetByRole(AriaRole.Navigation, new() { Name = "Breadcrumb" }).GetByRole(AriaRole.Link).ClickAsync();

        await Link(tab, "Rename").ClickAsync();
        await tab.Field("New name").FillAsync("Better named");
        await tab.Button("Rename").ClickAsync();
        await Link(tab, "Disable").ClickAsync();
        await tab.Button("Disable").ClickAsync();
        await Expect(tab.Page.Locator("main")).ToContainTextAsync("This organization is disabled");

        await Link(tab, "Delete").ClickAsync();
        await tab.Field("Type the name to delete it").FillAsync("Newly made");
        await tab.Button("Delete").ClickAsync();
        await Expect(tab.Alert).ToContainTextAsync("not the organization's name");
        await tab.Field("Type the name to delete it").FillAsync("Better named");
        await tab.Button("Delete").ClickAsync();
        await Expect(tab.Page.GetByRole(AriaRole.Heading, new() { Level = 1 })).ToContainTextAsync("no organization yet");
    }

    [Fact]
    public async Task Name_with_markup_in_the_record_is_shown_as_it_is_and_the_csv_has_no_formula()
    {
        Person owner;
        Guid root;
        await using (var seed = Seed.Open(Server.DataFolder))
        {
            owner = await seed.AddPersonAsync("=<b>Mallory</b>");
            root = (await seed.Organizations.CreateRootAsync(Actor.Operator, "<i>Umbra</i>", owner.Id)).Value;
            await seed.AddKeyAsync(owner, root, "<script>alert(1)</script>");
        }

        await using var tab = await browser.OpenAsync(Server);
        await tab.SignInAsync(owner);
        await tab.GoAsync($"/organizations/{root}/activity");
        await Expect(tab.Page.GetByTestId("activity-row").First)
            .ToContainTextAsync("=<b>Mallory</b> generated key <script>alert(1)</script>");
        Assert.Equal(0, await tab.Page.Locator("main b, main i").CountAsync());
        var download = await tab.Page.RunAndWaitForDownloadAsync(() => Link(tab, "Export CSV").ClickAsync());
        var csv = await File.ReadAllTextAsync((await download.PathAsync())!);
        Assert.Contains(",\"'=<b>Mallory</b>\",", csv, StringComparison.Ordinal);
    }

    private static ILocator Link(Tab tab, string name) =>
        tab.Page.GetByRole(AriaRole.Main).GetByRole(AriaRole.Link, new() { Name = name, Exact = true });

    /// <summary>The link in the message that the server has written for this address.</summary>
    private async Task<string> LinkAsync(string email)
    {
        var folder = Path.Combine(Server.DataFolder, "mails");
        using var patience = new CancellationTokenSource(Tool.Patience);
        using var again = new PeriodicTimer(TimeSpan.FromMilliseconds(100));
        do
        {
            foreach (var file in Directory.Exists(folder) ? Directory.GetFiles(folder, "*.eml") : [])
            {
                var message = (await File.ReadAllTextAsync(file, patience.Token))
                    .Replace("\r\n", "\n", StringComparison.Ordinal)
                    .Replace("=\n", "", StringComparison.Ordinal); // lines that quoted-printable broke
                if (message.Contains($"To: {email}", StringComparison.Ordinal))
                    return Invitation().Match(message).Value;
            }
        } while (await again.WaitForNextTickAsync(patience.Token));
        throw new InvalidOperationException("the timer has ended");
    }

    [GeneratedRegex("https?://\\S+/invitations/\\S+", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex Invitation();
}
