using Microsoft.Playwright;
using static Microsoft.Playwright.Assertions;

namespace Pakhouse.SystemTests;

/// <summary>What a person does at the dashboard, in a real browser.</summary>
public sealed class UseDashboard(Browser browser, Dashboard dashboard) : IClassFixture<Dashboard>
{
    private RunningServer Server => dashboard.Server;

    private string Security => Visitor.SecurityUrl(dashboard.Acme.Root);

    [Fact]
    public async Task Set_up_address_makes_the_first_user_and_organization_once()
    {
        await using var server = await RunningServer.StartAsync();
        var address = await server.SetUpPathAsync();
        await using (var tab = await browser.OpenAsync(server))
        {
            await tab.GoAsync(address);
            await tab.Field("Organization name").FillAsync("Acme");
            await tab.Field("Your name").FillAsync("Olivia Owner");
            await tab.Field("E-mail address").FillAsync("olivia@acme.example");
            await tab.Field("Password").FillAsync("password"); // too short
            await tab.Page.EvaluateAsync("document.querySelector('form[action^=\"/setup\"]').noValidate = true");
            await tab.Button("Create organization").ClickAsync();
            await Expect(tab.Alert).ToContainTextAsync("12");
            await Expect(tab.Field("Organization name")).ToHaveValueAsync("Acme");
            await Expect(tab.Field("E-mail address")).ToHaveValueAsync("olivia@acme.example");
            await Expect(tab.Field("Password")).ToHaveValueAsync("");

            await tab.Field("Password").FillAsync(Seed.Password);
            await tab.Button("Create organization").ClickAsync();
            await Expect(tab.Page.GetByRole(AriaRole.Heading, new() { Name = "Security", Exact = true, Level = 1 })).ToBeVisibleAsync();
            Assert.Matches("/organizations/[0-9a-f-]{36}/security$", tab.Page.Url);
            Assert.Equal(200, (await server.ExchangeAsync(await tab.GenerateAsync("First"))).Status);
        }

        await using var late = await browser.OpenAsync(server);
        var answer = await late.Page.GotoAsync(address);
        Assert.Equal(404, answer!.Status);
        await Expect(late.Button("Create organization")).Not.ToBeVisibleAsync();
        await Expect(late.Page.GetByRole(AriaRole.Main)).ToContainTextAsync("sign in", new() { IgnoreCase = true });
    }

    [Fact]
    public async Task Key_is_shown_once_above_the_button_and_what_is_copied_can_be_exchanged()
    {
        var person = await dashboard.AddMemberAsync();
        await using var tab = await browser.OpenAsync(Server);
        await tab.SignInAsync(person);
        await Expect(
                tab.Page.GetByRole(
                    AriaRole.Heading,
                    new()
                    {
                        Name = "Personal Access Key",
                        Exact = true,
                        Level = 2,
                    }
                )
            )
            .ToBeVisibleAsync();
        await Expect(tab.Rows).ToHaveCountAsync(0);

        var key = await tab.GenerateAsync("Build machine");
        Assert.Matches("^ph_pak1_[0-9A-Za-z]{16}_[0-9A-Za-z]{49}$", key);
        var (shown, button) = (await tab.NewKey.BoundingBoxAsync(), await tab.Button("Generate Key").BoundingBoxAsync());
        Assert.True(shown!.Y + shown.Height <= button!.Y, "the key is not above the button");
        await Expect(tab.Rows).ToHaveCountAsync(1);
        await Expect(tab.Row(key)).ToContainTextAsync("Build machine");

        await tab.Page.GetByTestId("copy-key").ClickAsync();
        await Expect(tab.Page.GetByTestId("copy-key")).ToContainTextAsync("Copied");
        var copied = await tab.Page.EvaluateAsync<string>("navigator.clipboard.readText()");
        Assert.Equal(key, copied);
        Assert.Equal(200, (await Server.ExchangeAsync(copied)).Status);

        // The browser sends the form again; there is no second key, and the first is not shown again.
        await tab.Page.ReloadAsync();
        await Expect(tab.Rows).ToHaveCountAsync(1);
        await tab.Page.WaitForLoadStateAsync(); // a page that is on its way has no content to look at
        var content = "";
        await Eventually.TrueAsync(
            "The way back has ended",
            async () =>
            {
                try
                {
                    content = await tab.Page.ContentAsync();
                    return true;
                }
                catch (PlaywrightException e) when (e.Message.Contains("is navigating", StringComparison.Ordinal))
                {
                    return false;
                }
            }
        );
        Assert.DoesNotContain(Seed.SecretOf(key), content, StringComparison.Ordinal);
        await tab.GoAsync(Security);
        await Expect(tab.Rows).ToHaveCountAsync(1);
        Assert.DoesNotContain(Seed.SecretOf(key), await tab.Page.ContentAsync(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Going_back_does_not_show_the_key_again()
    {
        var person = await dashboard.AddMemberAsync();
        await using var tab = await browser.OpenAsync(Server);
        await tab.SignInAsync(person);
        var key = await tab.GenerateAsync("Shown once");
        await tab.Row(key).GetByRole(AriaRole.Link, new() { Name = "Delete Key Shown once" }).ClickAsync();
        await Expect(tab.Page.GetByRole(AriaRole.Heading, new() { Level = 1 })).ToContainTextAsync("Shown once");

        try
        {
            await tab.Page.GoBackAsync();
        }
        catch (PlaywrightException e) when (e.Message.Contains("ERR_CACHE_MISS", StringComparison.Ordinal))
        {
            // Chromium asks before it sends a form again: "Confirm Form Resubmission".
        }

        var content = "";
        await Eventually.TrueAsync("The way back has ended", async () =>
        {
            try
            {
                content = await tab.Page.ContentAsync();
                return true;
            }
            catch (PlaywrightException e) when (e.Message.Contains("is navigating", StringComparison.Ordinal))
            {
                return false;
            }
        });
        Assert.DoesNotContain(Seed.SecretOf(key), content, StringComparison.Ordinal);
        await tab.GoAsync(Security);
        await Expect(tab.Rows).ToHaveCountAsync(1);
    }

    [Fact]
    public async Task Deletion_asks_first_by_the_keys_name_and_then_the_key_is_refused()
    {
        var person = await dashboard.AddMemberAsync();
        await using var tab = await browser.OpenAsync(Server);
        await tab.SignInAsync(person);
        var kept = await tab.GenerateAsync("Kept");
        var doomed = await tab.GenerateAsync("Old laptop");

        await tab.Row(doomed).GetByRole(AriaRole.Link, new() { Name = "Delete Key" }).ClickAsync();
        await Expect(tab.Page.GetByRole(AriaRole.Heading, new() { Level = 1 })).ToContainTextAsync("Old laptop");
        await tab.Page.GetByRole(AriaRole.Link, new() { Name = "Cancel", Exact = true }).ClickAsync();
        await Expect(tab.Rows).ToHaveCountAsync(2);
        Assert.Equal(200, (await Server.ExchangeAsync(doomed)).Status);

        await tab.Row(doomed).GetByRole(AriaRole.Link, new() { Name = "Delete Key" }).ClickAsync();
        await tab.Button("Delete Key").ClickAsync();
        await Expect(tab.Rows).ToHaveCountAsync(1);
        await Expect(tab.Row(kept)).ToBeVisibleAsync();
        var answer = await Server.ExchangeAsync(doomed);
        Assert.Equal(401, answer.Status);
        Assert.Contains("was deleted", answer.Description, StringComparison.Ordinal);
        Assert.Equal(200, (await Server.ExchangeAsync(kept)).Status);
    }

    [Fact]
    public async Task Rotation_shows_the_new_key_once_and_both_work_during_the_overlap()
    {
        await using var tab = await browser.OpenAsync(Server);
        await tab.SignInAsync(await dashboard.AddMemberAsync());
        var old = await tab.GenerateAsync("Nightly build");
        await tab.Row(old).GetByRole(AriaRole.Link, new() { Name = "Nightly build", Exact = true }).ClickAsync();
        await Expect(tab.Page.GetByRole(AriaRole.Heading, new() { Level = 1 })).ToHaveTextAsync("Nightly build");
        await tab.Page.GetByRole(AriaRole.Link, new() { Name = "Rotate Key", Exact = true }).ClickAsync();
        await Expect(tab.Field("Overlap")).ToHaveValueAsync("86400");
        await tab.Button("Rotate Key").ClickAsync();
        var key = (await tab.NewKey.TextContentAsync())!;
        foreach (var one in (string[])[old, key]) Assert.Equal(200, (await Server.ExchangeAsync(one)).Status);

        await tab.Page.GetByRole(AriaRole.Link, new() { Name = "Follow the rotation", Exact = true }).ClickAsync();
        Assert.DoesNotContain(Seed.SecretOf(key), await tab.Page.ContentAsync(), StringComparison.Ordinal);
        await Expect(tab.Page.GetByRole(AriaRole.Main)).ToContainTextAsync("This key was replaced by");
        await tab.GoAsync(Security);
        await Expect(tab.Row(old)).ToContainTextAsync("rotating");
        await Expect(tab.Row(key)).ToContainTextAsync("Nightly build");
    }

    [Fact]
    public async Task Inherited_member_sees_the_button_off_the_reason_and_both_ways_out()
    {
        await using var tab = await browser.OpenAsync(Server);
        await tab.SignInAsync(await dashboard.AddMemberAsync());
        await tab.GoAsync(Visitor.SecurityUrl(dashboard.Acme.Sub));

        await Expect(tab.Button("Generate Key")).ToBeDisabledAsync();
        var reason = tab.Page.GetByTestId("inherited-reason");
        await Expect(reason).ToContainTextAsync("inherited member of Mobile");
        await Expect(reason).ToContainTextAsync("as a member");
        await Expect(reason).ToContainTextAsync("Olivia Owner"); // whom to ask
        await Expect(reason).ToContainTextAsync($"subOrganization={dashboard.Acme.Sub}");

        await reason.GetByRole(AriaRole.Link, new() { Name = "Generate the key in Acme" }).ClickAsync();
        await Expect(tab.Button("Generate Key")).ToBeEnabledAsync();
        var answer = await Server.ExchangeAsync(await tab.GenerateAsync("For both"), dashboard.Acme.Sub);
        Assert.Equal(200, answer.Status);
        Assert.Equal(dashboard.Acme.Sub.ToString(), answer.Json.GetProperty("organization_id").GetString());
    }

    [Fact]
    public async Task Wrong_password_unknown_address_and_lock_are_told_in_the_same_words_and_the_lock_refuses_the_right_password()
    {
        var person = await dashboard.AddMemberAsync();
        await using var tab = await browser.OpenAsync(Server);
        await tab.SignInAsync(new Person(Guid.Empty, "nobody@acme.example"));
        await Expect(tab.Alert).ToBeVisibleAsync();
        var words = (await tab.Alert.TextContentAsync())!.Trim();

        for (var attempt = 1; attempt <= 6; attempt++) // five, and one that is locked
        {
            await tab.SignInAsync(person, "wrong horse battery");
            await Expect(tab.Alert).ToHaveTextAsync(words);
            await Expect(tab.Field("E-mail address")).ToHaveValueAsync(person.Email);
            await Expect(tab.Field("Password")).ToHaveValueAsync("");
        }

        await tab.SignInAsync(person);
        await Expect(tab.Alert).ToHaveTextAsync(words);
        Assert.Contains("locked", words, StringComparison.Ordinal);
        await tab.GoAsync(Security);
        await Expect(tab.Button("Sign in")).ToBeVisibleAsync();
    }

    [Fact]
    public async Task Faulty_name_is_told_beside_its_field_and_what_was_typed_is_kept()
    {
        await using var tab = await browser.OpenAsync(Server);
        await tab.SignInAsync(await dashboard.AddMemberAsync());
        var name = new string('n', 101);
        await tab.Page.EvaluateAsync("document.getElementById('name').removeAttribute('maxlength')");
        await tab.Field("Expires").SelectOptionAsync("never");
        await tab.Field("Name").FillAsync(name);
        await tab.Button("Generate Key").ClickAsync();

        await Expect(tab.Alert).ToContainTextAsync("Name");
        await Expect(tab.Field("Name")).ToHaveValueAsync(name);
        await Expect(tab.Field("Name")).ToHaveAttributeAsync("aria-invalid", "true");
        var described = await tab.Field("Name").GetAttributeAsync("aria-describedby");
        await Expect(tab.Page.Locator($"#{described!.Split(' ')[0]}")).ToContainTextAsync("at most 100 characters");
        await Expect(tab.Field("Expires")).ToHaveValueAsync("never");
        await Expect(tab.Rows).ToHaveCountAsync(0);

        Assert.Equal(200, (await Server.ExchangeAsync(await tab.GenerateAsync("Shorter"))).Status);
    }

    [Fact]
    public async Task Name_with_markup_is_shown_as_it_is()
    {
        const string name = "<b>\"bold\"</b> & <script>alert(1)</script>";
        await using var tab = await browser.OpenAsync(Server);
        await tab.SignInAsync(await dashboard.AddMemberAsync("<i>Mallory</i>"));
        var key = await tab.GenerateAsync(name);

        await Expect(tab.Row(key)).ToContainTextAsync(name);
        Assert.Equal(0, await tab.Page.Locator("main b, main i").CountAsync());
        await tab.Row(key).GetByRole(AriaRole.Link, new() { Name = "Delete Key" }).ClickAsync();
        await Expect(tab.Page.GetByRole(AriaRole.Heading, new() { Level = 1 })).ToContainTextAsync(name);
    }

    [Fact]
    public async Task Everything_works_without_scripts()
    {
        await using var tab = await browser.OpenAsync(Server, javaScript: false);
        await tab.SignInAsync(await dashboard.AddMemberAsync());
        var key = await tab.GenerateAsync("Plain");
        Assert.Equal(200, (await Server.ExchangeAsync(key)).Status);

        await tab.Row(key).GetByRole(AriaRole.Link, new() { Name = "Delete Key" }).ClickAsync();
        await tab.Button("Delete Key").ClickAsync();
        await Expect(tab.Rows).ToHaveCountAsync(0);
        Assert.Equal(401, (await Server.ExchangeAsync(key)).Status);

        await tab.Page.GetByRole(AriaRole.Button, new() { Name = "Sign out" }).Locator("visible=true").ClickAsync();
        await Expect(tab.Button("Sign in")).ToBeVisibleAsync();
    }

    [Fact]
    public async Task Everything_works_with_the_keyboard_alone_and_the_focus_is_seen()
    {
        var person = await dashboard.AddMemberAsync();
        await using var tab = await browser.OpenAsync(Server);
        await tab.GoAsync("/sign-in");
        await TabToAsync(tab, "document.activeElement.id == 'email'");
        await tab.Page.Keyboard.TypeAsync(person.Email);
        await TabToAsync(tab, "document.activeElement.id == 'password'");
        await tab.Page.Keyboard.TypeAsync(Seed.Password);
        await tab.Page.Keyboard.PressAsync("Enter");
        await Expect(tab.Button("Generate Key")).ToBeVisibleAsync();

        await TabToAsync(tab, "document.activeElement.innerText?.trim() == 'Generate Key'");
        await tab.Page.Keyboard.PressAsync("Enter");
        await Expect(tab.NewKey).ToBeVisibleAsync();
        var key = (await tab.NewKey.TextContentAsync())!;
        Assert.Equal(200, (await Server.ExchangeAsync(key)).Status);

        await TabToAsync(tab, "document.activeElement.href?.endsWith('/delete')");
        await tab.Page.Keyboard.PressAsync("Enter");
        await Expect(tab.Page.GetByRole(AriaRole.Link, new() { Name = "Cancel", Exact = true })).ToBeVisibleAsync();
        await TabToAsync(tab, "document.activeElement.tagName == 'BUTTON' && document.activeElement.innerText.trim() == 'Delete Key'");
        await tab.Page.Keyboard.PressAsync("Enter");
        await Expect(tab.Rows).ToHaveCountAsync(0);
        Assert.Equal(401, (await Server.ExchangeAsync(key)).Status);

        await TabToAsync(tab, "document.activeElement.innerText?.trim() == 'Sign out'");
        await tab.Page.Keyboard.PressAsync("Enter");
        await Expect(tab.Button("Sign in")).ToBeVisibleAsync();
    }

    /// <summary>Presses Tab until the focus is there; on the way each thing that has the focus is seen to have it.</summary>
    private static async Task TabToAsync(Tab tab, string condition)
    {
        for (var presses = 0; presses < 100; presses++)
        {
            if (await tab.Page.EvaluateAsync<bool>($"!!({condition})")) return;
            await tab.Page.Keyboard.PressAsync("Tab");
            var unseen = await tab.Page.EvaluateAsync<string?>(
                """
                (() => {
                  const at = document.activeElement;
                  if (!at || at === document.body) return null;
                  const style = getComputedStyle(at);
                  const box = at.getBoundingClientRect();
                  const isSeen = (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0) || style.boxShadow !== 'none';
                  return isSeen && box.width > 0 ? null : at.outerHTML;
                })()
                """);
            Assert.True(unseen is null, $"it has the focus, and nobody sees it: {unseen}");
        }

        Assert.Fail($"Tab does not lead there: {condition}");
    }
}
