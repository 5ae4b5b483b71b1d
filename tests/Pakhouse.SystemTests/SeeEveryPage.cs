using System.Runtime.CompilerServices;
using Deque.AxeCore.Commons;
using Microsoft.Playwright;
using static Microsoft.Playwright.Assertions;

namespace Pakhouse.SystemTests;

/// <summary>
/// Every page, light and dark, narrow and wide: no finding of axe-core, nothing to scroll sideways, no breach of the content security
/// policy.
/// </summary>
public sealed class SeeEveryPage : IClassFixture<Dashboard>, IClassFixture<EveryPage>
{
    private readonly Browser browser;
    private readonly Dashboard dashboard;

    public SeeEveryPage(Browser browser, Dashboard dashboard, EveryPage pages)
    {
        (this.browser, this.dashboard) = (browser, dashboard);
        pages.Begin();
    }

    // Run in the page itself: the package's own call opens another page for each run, which takes longer than the run.
    private static readonly string axe = $"{new BundledAxeScriptProvider().GetScript()}; null";
    private const string Violations =
        "only => axe.run(document, { resultTypes: ['violations'], ...(only ? { runOnly: [only] } : {}) }).then(found => "
            + "found.violations.map(one => `${one.id}, ${one.help}: ${one.nodes.map(node => node.html).join(' | ')}`))";

    private string Security => Visitor.SecurityUrl(dashboard.Acme.Root);

    [Fact]
    public async Task Set_up()
    {
        await using var server = await RunningServer.StartAsync();
        await using var tab = await browser.OpenAsync(server);
        await tab.GoAsync(await server.SetUpPathAsync());
        await AuditAsync(tab);
        await tab.Page.EvaluateAsync("document.querySelector('form[action^=\"/setup\"]').noValidate = true");
        await tab.Button("Create organization").ClickAsync();
        await Expect(tab.Alert).ToBeVisibleAsync();
        await AuditAsync(tab);
        await tab.GoAsync("/setup?code=used");
        await AuditAsync(tab);
        await tab.GoAsync("/sign-in"); // of a server without users
        await AuditAsync(tab);
    }

    [Fact]
    public async Task Sign_in_and_what_is_not_there()
    {
        await using var tab = await browser.OpenAsync(dashboard.Server);
        await tab.GoAsync("/sign-in");
        await AuditAsync(tab);
        await tab.SignInAsync(await dashboard.AddMemberAsync(), "wrong horse battery");
        await Expect(tab.Alert).ToBeVisibleAsync();
        await AuditAsync(tab);
        await tab.GoAsync("/nothing-here");
        await AuditAsync(tab);
    }

    [Fact]
    public async Task Security_empty_with_a_new_key_with_keys_with_an_error_and_deletion()
    {
        await using var tab = await browser.OpenAsync(dashboard.Server);
        await tab.SignInAsync(await dashboard.AddMemberAsync());
        await AuditAsync(tab);

        // As long as names can be, without a place to break.
        var key = await tab.GenerateAsync(new string('W', 100));
        await AuditAsync(tab);
        await tab.GoAsync(Security);
        await AuditAsync(tab);
        await tab.Page.EvaluateAsync("document.getElementById('name').removeAttribute('maxlength')");
        await tab.Field("Name").FillAsync(new string('n', 101));
        await tab.Button("Generate Key").ClickAsync();
        await Expect(tab.Alert).ToBeVisibleAsync();
        await AuditAsync(tab);

        var page = $"{Security}/keys/{key.Split('_')[2]}";
        await tab.GoAsync(page);
        await AuditAsync(tab);
        await tab.GoAsync($"{page}/rotate");
        await AuditAsync(tab);
        await tab.Button("Rotate Key").ClickAsync();
        await AuditAsync(tab);
        await tab.GoAsync(page);
        await AuditAsync(tab);
        await tab.GoAsync(Security);

        await tab.Row(key).GetByRole(AriaRole.Link, new() { Name = "Delete Key" }).ClickAsync();
        await AuditAsync(tab);
        await tab.Button("Delete Key").ClickAsync();
        await Expect(tab.Rows).ToHaveCountAsync(1); // its successor
        await AuditAsync(tab);
    }

    [Fact]
    public async Task Security_of_an_inherited_member_with_long_names_and_the_start_of_a_person_without_organization()
    {
        Person owner,
            nobody;
        Guid sub;
        await using (var seed = Seed.Open(dashboard.Server.DataFolder))
        {
            owner = await seed.AddPersonAsync(new string('W', 100));
            var root = (await seed.Organizations.CreateRootAsync(Actor.Operator, new string('M', 100), owner.Id)).Value;
            sub = (await seed.Organizations.CreateSubAsync(Actor.Operator, root, new string('Q', 100))).Value;
            nobody = await seed.AddPersonAsync("Nora Nobody");
        }

        await using (var tab = await browser.OpenAsync(dashboard.Server))
        {
            await tab.SignInAsync(owner);
            await tab.GoAsync(Visitor.SecurityUrl(sub));
            await Expect(tab.Page.GetByTestId("inherited-reason")).ToBeVisibleAsync();
            await AuditAsync(tab);
            await tab.GoAsync(Security); // not theirs
            await AuditAsync(tab);
        }

        await using var start = await browser.OpenAsync(dashboard.Server);
        await start.SignInAsync(nobody);
        await Expect(start.Page.GetByRole(AriaRole.Heading, new() { Level = 1 })).ToBeVisibleAsync();
        await AuditAsync(start);
    }

    [Fact]
    public async Task The_description_of_the_API()
    {
        await using var tab = await browser.OpenAsync(dashboard.Server);
        await tab.GoAsync("/docs/api");
        await AuditAsync(tab);
    }

    [Fact]
    public async Task Profile_and_Team_with_people_and_invitations_and_every_page_below_it()
    {
        Person owner;
        Guid root,
            member;
        await using (var seed = Seed.Open(dashboard.Server.DataFolder))
        {
            owner = await seed.AddPersonAsync("Wanda Wide");
            root = (await seed.Organizations.CreateRootAsync(Actor.Operator, "Wide", owner.Id)).Value;
            for (var i = 0; i < Switcher.LinesMax + 2; i++)
                await seed.Organizations.CreateSubAsync(Actor.Session(owner.Id), root, i == 0 ? new string('Q', 100) : $"Team {i}");
            var person = await seed.AddPersonAsync(new string('W', 100));
            member = person.Id;
            Assert.False(
                (
                    await seed.Members.AddAsync(Actor.Operator, root, member, NameSet.Of("owner", "build-operator", "report-viewer"))
                ).IsRefused
            );
            await seed.AddKeyAsync(person, root, new string('K', 100));
        }

        await using var tab = await browser.OpenAsync(dashboard.Server);
        await tab.SignInAsync(owner);
        var team = $"/organizations/{root}/team";
        await tab.GoAsync($"{team}/invite");
        await tab.Field("E-mail address").FillAsync($"{new string('i', 60)}@acme.example");
        await tab.Button("Send invitation").ClickAsync();
        await Expect(tab.Page.GetByTestId("invitation-row")).ToHaveCountAsync(1);
        await tab.GoAsync(team);
        await tab.Page.EvaluateAsync("document.querySelectorAll('.switcher, .bar-menu').forEach(menu => menu.open = true)");
        await AuditAsync(tab);
        foreach (
            var page in (string[])
                [
                    $"{team}?search=nobody",
                    $"{team}/rename",
                    $"{team}/leave",
                    $"{team}/delete",
                    $"{team}/members/{member}",
                    $"{team}/members/{member}/remove",
                    $"{team}/invite",
                    "/organizations?find=team",
                ]
        )
        {
            await tab.GoAsync(page);
            await AuditAsync(tab);
        }

        await tab.GoAsync(team);
        await tab.Page.GetByRole(AriaRole.Link, new() { Name = "Change iii" }).ClickAsync();
        await AuditAsync(tab);
        await tab.GoAsync("/organizations/new");
        await AuditAsync(tab);
        await tab.Page.EvaluateAsync("document.querySelector('form[action=\"/organizations/new\"]').noValidate = true");
        await tab.Button("Create organization").ClickAsync();
        await Expect(tab.Alert).ToBeVisibleAsync();
        await AuditAsync(tab);
    }

    [Fact]
    public async Task Policy_inventory_explanation_API_keys_and_webhooks_of_an_owner()
    {
        Person owner;
        Guid root,
            webhook;
        string key,
            apiKey = KeyFormat.NewId();
        await using (var seed = Seed.Open(dashboard.Server.DataFolder))
        {
            owner = await seed.AddPersonAsync("Rita Ruler");
            root = (await seed.Organizations.CreateRootAsync(Actor.Operator, new string('R', 100), owner.Id)).Value;
            var actor = Actor.Session(owner.Id);
            key = Seed.IdOf(await seed.AddKeyAsync(owner, root, new string('K', 100)));
            (
                await seed.Get<ApiKeys>()
                    .CreateAsync(
                        actor,
                        root,
                        new NewApiKey(apiKey, new string('A', 100), null, NameSet.All, [new(root, NameSet.Of("build-operator"))])
                    )
            ).Value.Dispose();
            webhook = (await seed.Get<Webhooks>().CreateAsync(actor, root, $"https://hooks.example/{new string('w', 100)}", NameSet.All))
                .Value
                .Id;
            await seed.Get<Webhooks>().TestAsync(actor, root, webhook);
        }

        await using var tab = await browser.OpenAsync(dashboard.Server);
        await tab.SignInAsync(owner);
        var organization = $"/organizations/{root}";
        foreach (
            var page in (string[])
                [
                    "security",
                    "security/api-keys/new",
                    $"security/api-keys/{apiKey}",
                    $"security/keys/{key}/explain",
                    $"security/keys/{key}/changes",
                    "keys",
                    "keys?filter=neverUsed",
                    "webhooks",
                    $"webhooks/{webhook}",
                    "policy",
                ]
        )
        {
            await tab.GoAsync($"{organization}/{page}");
            await AuditAsync(tab);
        }

        // What a change would do, before it is made; and what cannot be.
        await tab.Page.Locator("[name=LifetimeMaxDays]").FillAsync("30");
        await tab.Button("Preview the Change").ClickAsync();
        await AuditAsync(tab);
        await tab.GoAsync($"{organization}/policy");
        await tab.Page.Locator("[name=Networks]").FillAsync("everywhere");
        await tab.Button("Preview the Change").ClickAsync();
        await Expect(tab.Alert).ToBeVisibleAsync();
        await AuditAsync(tab);
    }

    [Fact]
    public async Task Account_passwords_and_codes()
    {
        await using (var tab = await browser.OpenAsync(dashboard.Server))
        {
            foreach (var page in (string[])["/forgot-password", "/reset-password?code=used", "/sign-in/code", "/invitations/used"])
            {
                await tab.GoAsync(page);
                await AuditAsync(tab);
            }
        }

        var person = await dashboard.AddMemberAsync(new string('W', 100));
        await using (var forgetful = await browser.OpenAsync(dashboard.Server))
        {
            await forgetful.GoAsync(await ResetLinkAsync(person));
            await AuditAsync(forgetful);
        }

        await using var account = await browser.OpenAsync(dashboard.Server);
        await account.SignInAsync(person);
        await Expect(account.Page.GetByRole(AriaRole.Heading, new() { Level = 1 })).ToBeVisibleAsync();
        foreach (
            var page in (string[])["/account", "/account/password", "/account/second-factor", "/account/passkeys/add", "/account/confirm"]
        )
        {
            await account.GoAsync(page);
            await AuditAsync(account);
        }
    }

    [Fact]
    public async Task Organization_and_auth_activity_full_empty_with_a_fault_and_of_somebody_who_sees_their_own()
    {
        await using var tab = await browser.OpenAsync(dashboard.Server);
        await tab.SignInAsync(dashboard.Acme.Owner);
        var activity = $"/organizations/{dashboard.Acme.Root}/activity";
        foreach (
            var page in (string[])
                [activity, $"{activity}?to=2020-01-01", $"{activity}?from=yesterday", $"/organizations/{dashboard.Acme.Root}/auth-activity"]
        )
        {
            await tab.GoAsync(page);
            await AuditAsync(tab);
        }

        await using var member = await browser.OpenAsync(dashboard.Server);
        await member.SignInAsync(await dashboard.AddMemberAsync(new string('W', 100)));
        await member.GoAsync(activity);
        await Expect(member.Page.Locator("#own-only")).ToBeVisibleAsync();
        await AuditAsync(member);
    }

    [Fact]
    public async Task Control_a_page_with_faults_is_found_out()
    {
        await using var tab = await browser.OpenAsync(dashboard.Server);
        await tab.GoAsync("/sign-in");
        await tab.Page.EvaluateAsync(
            "document.body.insertAdjacentHTML('beforeend', '<img src=\"/assets/icon.svg\"><pre>' + 'W'.repeat(400) + '</pre>')"
        );
        await tab.Page.EvaluateAsync(axe);
        Assert.Contains(
            await tab.Page.EvaluateAsync<string[]>(Violations),
            violation => violation.StartsWith("image-alt,", StringComparison.Ordinal)
        );
        Assert.False(await FitsAsync(tab));
    }

    /// <summary>Of the message that the person gets.</summary>
    private async Task<string> ResetLinkAsync(Person person)
    {
        await using var seed = Seed.Open(dashboard.Server.DataFolder);
        Assert.False((await seed.Get<Passwords>().RequestResetAsync(person.Email, null)).IsRefused);
        await seed.Get<MailSender>().RunAsync(); // or the server has sent it
        var texts = Directory
            .GetFiles(Path.Combine(dashboard.Server.DataFolder, "mails"), "*.eml")
            .Select(file => MimeKit.MimeMessage.Load(file))
            .Where(mail => mail.To.Mailboxes.Single().Address == person.Email)
            .Select(mail => mail.TextBody!);
        return texts
            .SelectMany(text => text.Split())
            .Select(word => word.IndexOf("/reset-password?", StringComparison.Ordinal) is var at and >= 0 ? word[at..] : null)
            .First(link => link is not null)!;
    }

    /// <summary>A folder to which every page that is audited is drawn, for people to look at; none: nothing is.</summary>
    private static readonly string? pictures = Environment.GetEnvironmentVariable("PAKHOUSE_PICTURES");

    private static int picture;

    internal static async Task AuditAsync(Tab tab, [CallerMemberName] string test = "")
    {
        var number = Interlocked.Increment(ref picture);
        var faults = new List<string>();
        await tab.Page.EvaluateAsync(axe);
        foreach (var width in (int[])[360, 1440])
        {
            await tab.Page.SetViewportSizeAsync(width, 900);
            if (!await FitsAsync(tab))
                faults.Add($"{width} px: the page scrolls sideways: {string.Join(" | ", await tab.Page.EvaluateAsync<string[]>(TooWide))}");
            foreach (var scheme in (ColorScheme[])[ColorScheme.Light, ColorScheme.Dark])
            {
                await tab.Page.EmulateMediaAsync(new() { ColorScheme = scheme });
                if (pictures is not null)
                    await tab.Page.ScreenshotAsync(
                        new() { Path = Path.Combine(pictures, $"{test}-{number}-{width}-{scheme}.png"), FullPage = true }
                    );
                // What the dark changes is colours.
                faults.AddRange(
                    (await tab.Page.EvaluateAsync<string[]>(Violations, scheme == ColorScheme.Dark ? "color-contrast" : null)).Select(
                        violation => $"{width} px, {scheme}: {violation}"
                    )
                );
            }
        }

        // What the server answered with an error is that page, and not the one at this address.
        if (await tab.Page.EvaluateAsync<int>("performance.getEntriesByType('navigation')[0].responseStatus") < 400)
            EveryPage.Seen(tab.Page.Url);
        Assert.True(faults.Count == 0, $"{tab.Page.Url}{Environment.NewLine}{string.Join(Environment.NewLine, faults)}");
    }

    private const string TooWide =
        "[...document.querySelectorAll('body *')].filter(one => one.getBoundingClientRect().right > "
            + "document.documentElement.clientWidth).slice(-3).map(one => one.outerHTML.slice(0, 200))";

    private static Task<bool> FitsAsync(Tab tab) =>
        tab.Page.EvaluateAsync<bool>("document.documentElement.scrollWidth <= document.documentElement.clientWidth");
}
