using System.Collections.Concurrent;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using Microsoft.Playwright;
using static Microsoft.Playwright.Assertions;

namespace Pakhouse.SystemTests;

/// <summary>Webhooks in the browser: made, tested, failing, renewed, deleted.</summary>
public sealed class UseWebhooks(Browser browser)
{
    [Fact]
    public async Task An_owner_makes_a_webhook_sees_what_is_delivered_and_deletes_it()
    {
        var (received, status) = (new ConcurrentQueue<string>(), 204);
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        await using var receiver = builder.Build();
        receiver.Urls.Add("http://127.0.0.1:0");
        receiver.MapFallback(async context =>
        {
            using var reader = new StreamReader(context.Request.Body);
            received.Enqueue(await reader.ReadToEndAsync());
            context.Response.StatusCode = status;
        });
        await receiver.StartAsync();

        await using var server = await RunningServer.StartAsync("--Pakhouse:WebhookNetworksAllowed=127.0.0.1");
        Acme acme;
        await using (var seed = Seed.Open(server.DataFolder))
            acme = await seed.AddAcmeAsync();
        await using var tab = await browser.OpenAsync(server);
        await tab.SignInAsync(acme.Owner);
        await tab.GoAsync(Visitor.SecurityUrl(acme.Root));
        await tab.Page.GetByRole(AriaRole.Link, new() { Name = "Manage webhooks" }).ClickAsync();

        await tab.Field("Address").FillAsync("https://10.0.0.1/hook");
        await tab.Button("Create Webhook").ClickAsync();
        await Expect(tab.Alert).ToContainTextAsync("not public");
        await Expect(tab.Field("Address")).ToHaveValueAsync("https://10.0.0.1/hook");

        await tab.Field("Address")
            .FillAsync($"{receiver.Urls.Single()}/a/rather/long/path/that/has/no/place/to/break/{new string('x', 120)}");
        await tab.Button("Create Webhook").ClickAsync();
        var secret = await tab.Page.GetByTestId("new-secret").InnerTextAsync();
        Assert.StartsWith("whsec_", secret, StringComparison.Ordinal);
        await SeeEveryPage.AuditAsync(tab);

        await tab.Page.GetByRole(AriaRole.Link, new() { Name = "Test the webhook" }).ClickAsync();
        Assert.DoesNotContain(secret, await tab.Page.ContentAsync(), StringComparison.Ordinal); // shown once
        await tab.Button("Send a test").ClickAsync();
        var rows = tab.Page.GetByTestId("delivery-row");
        await Expect(rows).ToHaveCountAsync(1);
        await Expect(rows.First).ToContainTextAsync("204");
        Assert.Contains("webhook.test", Assert.Single(received), StringComparison.Ordinal);

        status = 500;
        await tab.Button("Send a test").ClickAsync();
        await Expect(rows.First).ToContainTextAsync("500");
        await Expect(tab.Page.GetByText("No attempt has succeeded since")).ToBeVisibleAsync();
        await SeeEveryPage.AuditAsync(tab);

        await tab.Button("New secret").ClickAsync();
        Assert.NotEqual(secret, await tab.Page.GetByTestId("new-secret").InnerTextAsync());

        await tab.Page.GetByLabel("Enabled", new() { Exact = true }).UncheckAsync();
        await tab.Button("Save").ClickAsync();
        await Expect(tab.Page.GetByText("Disabled since")).ToBeVisibleAsync();

        await tab.Page.GetByText("Delete this webhook").ClickAsync();
        await tab.Button("Delete Webhook").ClickAsync();
        await Expect(tab.Page.GetByText("No webhooks yet.")).ToBeVisibleAsync();
    }

    [Fact]
    public async Task To_who_is_no_owner_there_is_no_way_in()
    {
        await using var server = await RunningServer.StartAsync();
        Acme acme;
        Person member;
        await using (var seed = Seed.Open(server.DataFolder))
        {
            acme = await seed.AddAcmeAsync();
            member = await seed.AddPersonAsync();
            await seed.Members.AddAsync(Actor.Operator, acme.Root, member.Id, NameSet.Of("organization-manager"));
        }

        var visitor = await Visitor.SignInAsync(server, member);
        Assert.DoesNotContain("/webhooks", (await visitor.GetAsync(Visitor.SecurityUrl(acme.Root))).Body, StringComparison.Ordinal);
        Assert.Equal(403, (await visitor.GetAsync($"/organizations/{acme.Root}/webhooks")).Status);
    }
}
