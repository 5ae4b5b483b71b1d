using System.Net;
using System.Net.Sockets;

namespace Pakhouse.SystemTests;

/// <summary>What somebody tries who is no friend: at the pages, without a browser's good manners.</summary>
public sealed class GuardDashboard(Dashboard dashboard) : IClassFixture<Dashboard>
{
    private RunningServer Server => dashboard.Server;

    [Fact]
    public async Task Session_cookie_is_out_of_reach_of_scripts_and_other_sites()
    {
        var visitor = new Visitor(Server);
        var page = await visitor.GetAsync("/sign-in");
        var form = Assert.Single(Visitor.SetCookies(page), cookie => cookie.StartsWith("pakhouse-form=", StringComparison.Ordinal));
        Assert.Contains("httponly", form, StringComparison.OrdinalIgnoreCase);
        Assert.Contains("samesite=strict", form, StringComparison.OrdinalIgnoreCase);

        var answer = await visitor.SendAsync(page, "/sign-in", ("Email", dashboard.Acme.Owner.Email), ("Password", Seed.Password));
        var session = Assert.Single(Visitor.SetCookies(answer), cookie => cookie.StartsWith("pakhouse=", StringComparison.Ordinal));
        Assert.Contains("httponly", session, StringComparison.OrdinalIgnoreCase);
        Assert.Contains("samesite=lax", session, StringComparison.OrdinalIgnoreCase);
        Assert.Contains("path=/", session, StringComparison.OrdinalIgnoreCase);
    }

    [Fact]
    public async Task Behind_https_the_cookies_are_bound_to_this_host_and_to_https()
    {
        // What it says it serves is the public address, so the port is chosen here.
        int port;
        using (var free = new TcpListener(IPAddress.Loopback, 0))
        {
            free.Start();
            port = ((IPEndPoint)free.LocalEndpoint).Port;
        }

        await using var server = await RunningServer.StartAsync(
            "--Pakhouse:PublicAddress",
            "https://keys.acme.example",
            "--Pakhouse:Listen",
            $"http://127.0.0.1:{port}"
        );
        Assert.Equal("https://keys.acme.example", server.Address);
        server.UseAddress($"http://127.0.0.1:{port}");
        await using var seed = Seed.Open(server.DataFolder);
        var acme = await seed.AddAcmeAsync();
        var visitor = new Visitor(server);
        var page = await visitor.GetAsync("/sign-in");
        var answer = await visitor.SendAsync(page, "/sign-in", ("Email", acme.Owner.Email), ("Password", Seed.Password));
        Assert.Equal(303, answer.Status);

        string[] cookies = [.. Visitor.SetCookies(page), .. Visitor.SetCookies(answer)];
        Assert.Contains(cookies, cookie => cookie.StartsWith("__Host-pakhouse=", StringComparison.Ordinal));
        Assert.Contains(cookies, cookie => cookie.StartsWith("__Host-pakhouse-form=", StringComparison.Ordinal));
        Assert.All(cookies, cookie =>
        {
            Assert.StartsWith("__Host-", cookie, StringComparison.Ordinal);
            Assert.Contains("; secure", cookie, StringComparison.OrdinalIgnoreCase);
            Assert.Contains("; path=/;", cookie + ";", StringComparison.OrdinalIgnoreCase);
            Assert.DoesNotContain("domain=", cookie, StringComparison.OrdinalIgnoreCase);
        });
        Assert.Contains(
            "max-age=",
            answer.Header("Strict-Transport-Security") ?? page.Header("Strict-Transport-Security"),
            StringComparison.Ordinal
        );
        Assert.Equal(200, (await visitor.GetAsync(Visitor.SecurityUrl(acme.Root))).Status);
    }

    [Fact]
    public async Task Every_form_has_an_antiforgery_token_and_without_it_nothing_happens()
    {
        var visitor = await Visitor.SignInAsync(Server, dashboard.Acme.Owner);
        var security = Visitor.SecurityUrl(dashboard.Acme.Root);
        var key = await visitor.GenerateAsync(dashboard.Acme.Root, "Stays");
        var delete = $"{security}/keys/{Seed.IdOf(key)}/delete";

        var pages = new List<Answer>
        {
            await new Visitor(Server).GetAsync("/sign-in"),
            await visitor.GetAsync(security),
            await visitor.GetAsync(delete),
        };
        var forms = pages.SelectMany(Visitor.Forms).ToList();
        Assert.Superset(
            new HashSet<string>(["/sign-in", "/sign-out", security, delete], StringComparer.Ordinal),
            forms.Select(form => form.Action.Split('#')[0]).ToHashSet(StringComparer.Ordinal)
        );
        foreach (var (action, hidden) in forms)
        {
            Assert.Contains(hidden, field => field is { Name: Visitor.Token, Value.Length: > 20 });
            var without = hidden.Where(field => field.Name != Visitor.Token).ToArray();
            Assert.Equal(
                400,
                (await visitor.PostAsync(action.Split('#')[0], [.. without, ("Name", "Forged"), ("Expires", "never")])).Status
            );
            Assert.Equal(
                400,
                (
                    await visitor.PostAsync(
                        action.Split('#')[0],
                        [.. without, (Visitor.Token, "forged"), ("Name", "Forged"), ("Expires", "never")]
                    )
                ).Status
            );
        }

        var after = await visitor.GetAsync(security); // still signed in
        Assert.Equal(200, after.Status);
        Assert.DoesNotContain("Forged", after.Body, StringComparison.Ordinal);
        Assert.Equal(200, (await Server.ExchangeAsync(key)).Status);
    }

    [Fact]
    public async Task Antiforgery_token_of_somebody_else_does_not_help()
    {
        var other = await Visitor.SignInAsync(Server, dashboard.Stranger);
        var theirs = Visitor
            .Forms(await other.GetAsync(Visitor.SecurityUrl(dashboard.Umbra)))
            .SelectMany(form => form.Hidden)
            .First(field => field.Name == Visitor.Token);
        var visitor = await Visitor.SignInAsync(Server, dashboard.Acme.Owner);

        var answer = await visitor.PostAsync(Visitor.SecurityUrl(dashboard.Acme.Root), theirs, ("Name", "Forged"), ("Expires", "never"));
        Assert.Equal(400, answer.Status);
    }

    [Fact]
    public async Task Anothers_organization_and_key_are_not_there_and_look_like_none_at_all()
    {
        var visitor = await Visitor.SignInAsync(Server, dashboard.Stranger);
        var unknown = Ids.New(TimeProvider.System);
        var owner = await Visitor.SignInAsync(Server, dashboard.Acme.Owner);
        var key = await owner.GenerateAsync(dashboard.Acme.Root, "Not yours");

        foreach (var path in (string[])["", $"/keys/{Seed.IdOf(key)}/delete"])
        {
            var theirs = await visitor.GetAsync(Visitor.SecurityUrl(dashboard.Acme.Root) + path);
            var none = await visitor.GetAsync(Visitor.SecurityUrl(unknown) + path);
            Assert.Equal(404, theirs.Status);
            Assert.Equal(404, none.Status);
            Assert.Equal(none.Body, theirs.Body);
            Assert.DoesNotContain("Acme", theirs.Body, StringComparison.Ordinal);
        }

        // With a token of their own, from a page of their own.
        var token = Visitor
            .Forms(await visitor.GetAsync(Visitor.SecurityUrl(dashboard.Umbra)))
            .SelectMany(form => form.Hidden)
            .First(field => field.Name == Visitor.Token);
        Assert.Equal(
            404,
            (await visitor.PostAsync($"{Visitor.SecurityUrl(dashboard.Acme.Root)}/keys/{Seed.IdOf(key)}/delete", token)).Status
        );
        Assert.Equal(404, (await visitor.PostAsync($"{Visitor.SecurityUrl(dashboard.Umbra)}/keys/{Seed.IdOf(key)}/delete", token)).Status);
        Assert.Equal(
            404,
            (await visitor.PostAsync(Visitor.SecurityUrl(dashboard.Acme.Root), token, ("Name", "Forged"), ("Expires", "never"))).Status
        );
        Assert.Equal(200, (await Server.ExchangeAsync(key)).Status);
    }

    [Theory]
    [InlineData("https://evil.example")]
    [InlineData("//evil.example")]
    [InlineData("/\\evil.example")]
    [InlineData("\\\\evil.example")]
    [InlineData("/%09/evil.example")]
    [InlineData("/\t/evil.example")]
    [InlineData("javascript:alert(1)")]
    [InlineData("http:evil.example")]
    public async Task Sign_in_leads_nowhere_else(string from)
    {
        var visitor = new Visitor(Server);
        var page = await visitor.GetAsync($"/sign-in?from={Uri.EscapeDataString(from)}");
        var answer = await visitor.SendAsync(page, "/sign-in", ("Email", dashboard.Acme.Owner.Email), ("Password", Seed.Password));

        Assert.Equal(303, answer.Status);
        // As a browser reads it: white space in an address is dropped, a backslash is a slash.
        var location = answer.Header("Location")!;
        var target = new Uri(new Uri(Server.Address), location.Replace("\t", "", StringComparison.Ordinal).Replace('\\', '/'));
        Assert.Equal(Server.Address, target.GetLeftPart(UriPartial.Authority));
    }

    [Fact]
    public async Task Sign_in_leads_back_to_the_page_that_asked_for_it()
    {
        var visitor = new Visitor(Server);
        var refused = await visitor.GetAsync(Visitor.SecurityUrl(dashboard.Acme.Root));
        Assert.Equal(302, refused.Status);
        var page = await visitor.GetAsync(refused.Header("Location")!.Replace(Server.Address, "", StringComparison.Ordinal));
        var answer = await visitor.SendAsync(page, "/sign-in", ("Email", dashboard.Acme.Owner.Email), ("Password", Seed.Password));
        Assert.Equal(Visitor.SecurityUrl(dashboard.Acme.Root), answer.Header("Location"));
    }

    [Fact]
    public async Task Signing_out_ends_the_session_of_the_browser()
    {
        var visitor = await Visitor.SignInAsync(Server, dashboard.Acme.Owner);
        var page = await visitor.GetAsync(Visitor.SecurityUrl(dashboard.Acme.Root));
        var form = Visitor.Forms(page).First(form => form.Action == "/sign-out");
        Assert.Equal(303, (await visitor.PostAsync("/sign-out", [.. form.Hidden])).Status);
        Assert.DoesNotContain("pakhouse", visitor.Cookies.Keys);
        Assert.Equal(302, (await visitor.GetAsync(Visitor.SecurityUrl(dashboard.Acme.Root))).Status);
    }

    [Fact]
    public async Task Pages_forbid_storing_framing_and_foreign_scripts()
    {
        var visitor = await Visitor.SignInAsync(Server, dashboard.Acme.Owner);
        foreach (
            var path in (string[])
                ["/sign-in", Visitor.SecurityUrl(dashboard.Acme.Root), Visitor.SecurityUrl(Guid.Empty), "/setup?code=x", "/nothing-here"]
        )
        {
            var page = await visitor.GetAsync(path);
            Assert.Contains("frame-ancestors 'none'", page.Header("Content-Security-Policy"), StringComparison.Ordinal);
            Assert.Contains("default-src 'none'", page.Header("Content-Security-Policy"), StringComparison.Ordinal);
            Assert.DoesNotContain("unsafe", page.Header("Content-Security-Policy"), StringComparison.Ordinal);
            Assert.Equal("nosniff", page.Header("X-Content-Type-Options"));
            Assert.Equal("no-referrer", page.Header("Referrer-Policy"));
            if (page.Status != 302) Assert.Contains("no-store", page.Header("Cache-Control"), StringComparison.Ordinal);
        }
    }
}
