using System.Net;
using System.Reflection;

namespace Pakhouse.Tests;

/// <summary>The attack: a session that was left open, or stolen, is made into a secret that outlives it.</summary>
public class FreshSignInTests
{
    private const string Email = "person1@acme.example";

    private static readonly TimeSpan stale = TimeSpan.FromHours(2);

    /// <summary>Every operation whose answer holds a secret, by the name of its method.</summary>
    private static readonly Dictionary<string, Func<TestServer, Acme, Actor, Task<Refusal?>>> operations = new(StringComparer.Ordinal)
    {
        ["Keys.GenerateAsync"] = async (server, acme, actor) =>
            (
                await server.Keys.GenerateAsync(actor, acme.Root, new NewKey(KeyFormat.NewId(), KeyFormat.NewId(), null, NameSet.All))
            ).Refusal,
        ["KeyRotation.RotateAsync"] = async (server, acme, actor) =>
            (
                await server
                    .Get<KeyRotation>()
                    .RotateAsync(
                        actor,
                        acme.Root,
                        TestServer.IdOf(await server.AddKeyAsync(acme.Owner, acme.Root)),
                        KeyFormat.NewId(),
                        TimeSpan.Zero
                    )
            ).Refusal,
        ["ApiKeys.CreateAsync"] = async (server, acme, actor) =>
            (await server.Get<ApiKeys>().CreateAsync(actor, acme.Root, ApiKey(acme))).Refusal,
        ["ApiKeys.RotateAsync"] = async (server, acme, actor) =>
        {
            using var made = (await server.Get<ApiKeys>().CreateAsync(Actor.Session(acme.Owner), acme.Root, ApiKey(acme))).Value;
            return (await server.Get<ApiKeys>().RotateAsync(actor, acme.Root, made.Id, KeyFormat.NewId(), TimeSpan.Zero)).Refusal;
        },
        ["Webhooks.CreateAsync"] = async (server, acme, actor) =>
            (await server.Get<Server.Webhooks>().CreateAsync(actor, acme.Root, "https://hooks.example.com/", NameSet.All)).Refusal,
        ["Webhooks.RotateSecretAsync"] = async (server, acme, actor) =>
        {
            var made = (
                await server
                    .Get<Server.Webhooks>()
                    .CreateAsync(Actor.Session(acme.Owner), acme.Root, "https://hooks.example.com/", NameSet.All)
            ).Value;
            return (await server.Get<Server.Webhooks>().RotateSecretAsync(actor, acme.Root, made.Id)).Refusal;
        },
        ["SecondFactor.AddAsync"] = async (server, _, actor) =>
            (
                await server.Get<SecondFactor>().AddAsync(actor, server.Get<SecondFactor>().Offer(actor.UserId!.Value).Secret, "000000")
            ).Refusal,
        ["SecondFactor.RenewCodesAsync"] = async (server, _, actor) => (await server.Get<SecondFactor>().RenewCodesAsync(actor)).Refusal,
    };

    private static NewApiKey ApiKey(Acme acme) =>
        new(KeyFormat.NewId(), KeyFormat.NewId(), null, NameSet.All, [new ApiKeyRoles(acme.Root, NameSet.Of("viewer"))]);

    [Fact]
    public async Task Every_operation_that_answers_a_secret_asks_for_a_fresh_sign_in()
    {
        await using var server = await TestServer.StartAsync();
        var acme = await server.AddAcmeAsync();
        foreach (var (name, operation) in operations)
        {
            var old = await operation(server, acme, Actor.Session(acme.Owner) with { Freshness = Freshness.Any });
            Assert.True(old?.Code == RefusalCode.SignInNotFresh, $"{name}: {old?.Reason ?? "done"}");
            var fresh = await operation(server, acme, Actor.Session(acme.Owner));
            Assert.True(fresh?.Code != RefusalCode.SignInNotFresh, name); // the control
        }
    }

    [Fact]
    public void No_operation_that_answers_a_secret_is_missing_here()
    {
        Type[] secrets = [typeof(PersonalAccessKey), typeof(WebhookWithSecret), typeof(Rotated), typeof(string[])];
        var found = typeof(Server.Program)
            .Assembly.GetTypes()
            .SelectMany(type =>
                type.GetMethods(
                    BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Instance | BindingFlags.Static | BindingFlags.DeclaredOnly
                )
            )
            .Where(method =>
                !method.IsPrivate
                && !method.Name.StartsWith('<')
                && method.GetParameters().Any(parameter => parameter.ParameterType == typeof(Actor))
                && Types(method.ReturnType).Any(secrets.Contains)
            )
            .Select(method => $"{method.DeclaringType!.Name}.{method.Name}")
            .Distinct(StringComparer.Ordinal)
            .Order(StringComparer.Ordinal);
        // With the key itself and no session: the successor is as narrow as it is (R7).
        Assert.Equal(operations.Keys.Append("KeyRotation.RotateSelfAsync").Order(StringComparer.Ordinal), found);
    }

    private static IEnumerable<Type> Types(Type type) => type.IsGenericType ? type.GetGenericArguments().SelectMany(Types) : [type];

    [Fact, SqliteOnly("it reads source files")]
    public void The_actor_of_a_request_is_made_in_one_place()
    {
        // Everywhere else somebody has signed in at this moment, or nobody is asked for freshness.
        var source = Path.Combine(Repository.Root, "src", "Pakhouse.Server");
        var made = Directory
            .GetFiles(source, "*.cs", SearchOption.AllDirectories)
            .Where(file => !file.Contains("/obj/") && !file.Contains("/bin/"))
            .Where(file => File.ReadAllText(file).Contains("Actor.Session(", StringComparison.Ordinal))
            .Select(Path.GetFileName)
            .Order(StringComparer.Ordinal);
        Assert.Equal(
            [
                "Demo.cs",
                "InvitationAnswers.cs",
                "Passwords.cs",
                "ProviderConnections.cs",
                "Senders.cs",
                "SessionCookie.cs",
                "SessionStore.cs",
                "SetUp.cshtml.cs",
            ],
            made
        );
    }

    [Fact]
    public async Task The_setting_says_how_old_a_sign_in_may_be_and_the_API_says_what_to_do()
    {
        await using var server = await TestServer.StartAsync("--Pakhouse:FreshSignInHours=3");
        var acme = await server.AddAcmeAsync();
        var owner = await ApiClient.SignInAsync(server, acme.Owner);
        var path = $"/identity/v1/organizations/{acme.Root}/personal-access-keys";
        server.Clock.Advance(TimeSpan.FromMinutes(179));
        Assert.True((await owner.SendAsync("POST", path, """{"name":"One"}""")).Response.IsSuccessStatusCode);
        server.Clock.Advance(TimeSpan.FromMinutes(1));
        var refused = await owner.SendAsync("POST", path, """{"name":"Two"}""");
        Assert.Equal((HttpStatusCode.Unauthorized, "insufficient_user_authentication"), (refused.Status, refused.Error));
        Assert.Contains("error=\"insufficient_user_authentication\"", refused.Header("WWW-Authenticate"), StringComparison.Ordinal);
        Assert.Contains("/account/confirm", refused.Json.GetProperty("message").GetString(), StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.OK, (await owner.GetAsync(path)).Status); // reading goes on
        Assert.Equal(1, await server.ScalarAsync<long>("SELECT COUNT(*) FROM access_keys"));
    }

    [Theory]
    [InlineData("key", "access_keys")]
    [InlineData("rotate", "access_keys")]
    [InlineData("API key", "access_keys")]
    [InlineData("rotate API key", "access_keys")]
    [InlineData("webhook", "webhooks")]
    [InlineData("webhook secret", "webhooks")]
    public async Task The_form_comes_back_as_it_was_filled_and_only_the_person_sends_it(string which, string table)
    {
        await using var server = await TestServer.StartAsync();
        var acme = await server.AddAcmeAsync();
        var key = TestServer.IdOf(await server.AddKeyAsync(acme.Owner, acme.Root));
        using var api = (await server.Get<ApiKeys>().CreateAsync(Actor.Session(acme.Owner), acme.Root, ApiKey(acme))).Value;
        var hook = (
            await server.Get<Server.Webhooks>().CreateAsync(Actor.Session(acme.Owner), acme.Root, "https://hooks.example.com/", NameSet.All)
        )
            .Value
            .Id;
        var home = $"/organizations/{acme.Root}";
        var (page, action, fields, shown) = which switch
        {
            "key" => (
                $"{home}/security",
                "#new-key",
                [("Name", "Night build"), ("Expires", "30-days"), ("Scopes", "openid")],
                "value=\"Night build\""
            ),
            "rotate" => ($"{home}/security/keys/{key}/rotate", "", [("Overlap", "604800")], "value=\"604800\" selected"),
            "API key" => (
                $"{home}/security/api-keys/new",
                "#new-key",
                [("Name", "Night build"), ("ExpiresInDays", "30"), ("roles.core", "viewer")],
                "value=\"Night build\""
            ),
            "rotate API key" => (
                $"{home}/security/api-keys/{api.Id}",
                "?handler=Rotate#new-key",
                [("OverlapHours", "168")],
                "value=\"168\" selected"
            ),
            "webhook" => (
                $"{home}/webhooks",
                "",
                [("Address", "https://night.example.com/"), ("Events", "key.created")],
                "value=\"https://night.example.com/\""
            ),
            _ => ($"{home}/webhooks/{hook}", "?handler=Secret#new-secret", Array.Empty<(string, string)>(), "https://hooks.example.com/"),
        };
        var visitor = await Visitor.SignInAsync(server, Email);
        var before = await server.ScalarAsync<long>($"SELECT COUNT(*) FROM {table}");
        server.Clock.Advance(stale);

        var asked = await visitor.SubmitToAsync(page, page + action, fields);
        var confirm = asked.Header("Location")!;
        Assert.Equal(
            (HttpStatusCode.SeeOther, $"/account/confirm?from={Uri.EscapeDataString($"{page}?kept=true")}"),
            (asked.Status, confirm)
        );
        Assert.Equal(before, await server.ScalarAsync<long>($"SELECT COUNT(*) FROM {table}"));

        var back = await visitor.SubmitAsync(confirm, ("Password", TestServer.Password));
        Assert.Equal((HttpStatusCode.SeeOther, $"{page}?kept=true"), (back.Status, back.Header("Location")));
        Assert.Equal(before, await server.ScalarAsync<long>($"SELECT COUNT(*) FROM {table}")); // nothing is sent in their name
        var form = await visitor.GetAsync(back.Header("Location")!);
        Assert.Contains("filled in again", form.Body, StringComparison.Ordinal);
        Assert.Contains(shown, form.Body, StringComparison.Ordinal);
        // once
        Assert.DoesNotContain("filled in again", (await visitor.GetAsync(back.Header("Location")!)).Body, StringComparison.Ordinal);

        var done = await visitor.PostAsync(page + action.Split('#')[0], [.. Visitor.Hidden(form, page + action), .. fields]);
        Assert.True(
            done.Status == HttpStatusCode.OK && done.Body.Contains("only time you will see it", StringComparison.Ordinal),
            $"{done.Status} {done.Body}"
        );
    }

    [
        Theory,
        InlineData("the same", true),
        InlineData("another session of the person", false),
        InlineData("another person", false),
        InlineData("too late", false),
        InlineData("another page", false),
        InlineData("too large", false)
    ]
    public async Task A_kept_form_is_for_one_session_and_page_and_a_short_time(string who, bool isShown)
    {
        await using var server = await TestServer.StartAsync();
        var acme = await server.AddAcmeAsync();
        await server.AddMemberAsync(acme.Root, BuiltInRoles.Owner);
        var page = $"/organizations/{acme.Root}/security";
        var visitor = await Visitor.SignInAsync(server, Email);
        server.Clock.Advance(stale);
        var name = who == "too large" ? new string('n', 99) : "Night build";
        (string, string)[] more = who == "too large" ? [("Filler", new string('x', KeptForms.LengthMax))] : [];
        var asked = await visitor.SubmitToAsync(
            page,
            $"{page}#new-key",
            [("Name", name), ("Expires", "30-days"), ("Scopes", "openid"), ("Password", "hunter2 hunter2"), .. more]
        );
        Assert.Equal(HttpStatusCode.SeeOther, asked.Status);
        var stored = await server.ScalarAsync<byte[]>("SELECT kept_form FROM sessions WHERE kept_form IS NOT NULL");
        Assert.DoesNotContain("Night build", stored is null ? "" : System.Text.Encoding.Latin1.GetString(stored), StringComparison.Ordinal);
        await visitor.SubmitAsync(asked.Header("Location")!, ("Password", TestServer.Password));

        if (who == "too late")
            server.Clock.Advance(KeptForms.Lifetime);
        var reader = who switch
        {
            "another session of the person" => await Visitor.SignInAsync(server, Email),
            "another person" => await Visitor.SignInAsync(server, "person2@acme.example"),
            _ => visitor,
        };
        var seen = await reader.GetAsync($"{(who == "another page" ? $"/organizations/{acme.Sub}/security" : page)}?kept=true");
        Assert.Equal(isShown, seen.Body.Contains($"value=\"{name}\"", StringComparison.Ordinal));
        Assert.DoesNotContain("hunter2", seen.Body, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Another_session_is_not_made_fresh_and_the_way_back_stays_on_this_server()
    {
        await using var server = await TestServer.StartAsync();
        var acme = await server.AddAcmeAsync();
        var (visitor, other) = (await Visitor.SignInAsync(server, Email), await Visitor.SignInAsync(server, Email));
        server.Clock.Advance(stale);
        foreach (var evil in (string[])["https://evil.example/", "//evil.example", "/\\evil.example"])
            Assert.Equal(
                "/",
                (
                    await visitor.SubmitAsync($"/account/confirm?from={Uri.EscapeDataString(evil)}", ("Password", TestServer.Password))
                ).Header("Location")
            );
        var page = $"/organizations/{acme.Root}/security";
        (string, string)[] form = [("Name", "One"), ("Expires", "30-days"), ("Scopes", "openid")];
        Assert.Equal(HttpStatusCode.SeeOther, (await other.SubmitToAsync(page, $"{page}#new-key", form)).Status);
        Assert.Equal(HttpStatusCode.OK, (await visitor.SubmitToAsync(page, $"{page}#new-key", form)).Status);
    }

    [Fact]
    public async Task A_password_alone_confirms_nothing_where_the_account_asks_for_a_code()
    {
        await using var server = await TestServer.StartAsync();
        var acme = await server.AddAcmeAsync();
        var visitor = await Visitor.SignInAsync(server, Email);
        var factor = server.Get<SecondFactor>();
        var secret = factor.Offer(acme.Owner).Secret;
        string Code() => new OtpNet.Totp(OtpNet.Base32Encoding.ToBytes(secret)).ComputeTotp(server.Clock.GetUtcNow().UtcDateTime);
        Assert.False((await factor.AddAsync(Actor.Session(acme.Owner), secret, Code())).IsRefused);
        server.Clock.Advance(stale);
        var proved = await server.ScalarAsync<long>("SELECT proved_at FROM sessions");
        Assert.Equal(HttpStatusCode.BadRequest, (await visitor.SubmitAsync("/account/confirm", ("Password", TestServer.Password))).Status);
        Assert.Equal(
            HttpStatusCode.BadRequest,
            (await visitor.SubmitAsync("/account/confirm", ("Password", TestServer.Password), ("Code", "000000x"))).Status
        );
        Assert.Equal(
            HttpStatusCode.BadRequest,
            (await visitor.SubmitAsync("/account/confirm", ("Password", "wrong"), ("Code", Code()))).Status
        );
        Assert.Equal(proved, await server.ScalarAsync<long>("SELECT proved_at FROM sessions"));
        Assert.Equal(
            HttpStatusCode.SeeOther,
            (await visitor.SubmitAsync("/account/confirm", ("Password", TestServer.Password), ("Code", Code()))).Status
        );
    }

    [Fact]
    public async Task Guesses_of_the_password_here_count_as_those_at_the_sign_in_page()
    {
        await using var server = await TestServer.StartAsync("--Pakhouse:SignInAttemptsMax=3");
        await server.AddAcmeAsync();
        var visitor = await Visitor.SignInAsync(server, Email);
        server.Clock.Advance(stale);
        for (var i = 0; i < 3; i++)
            Assert.Equal(HttpStatusCode.BadRequest, (await visitor.SubmitAsync("/account/confirm", ("Password", "wrong"))).Status);
        // locked
        Assert.Equal(HttpStatusCode.BadRequest, (await visitor.SubmitAsync("/account/confirm", ("Password", TestServer.Password))).Status);
        Assert.Equal(3, await server.ScalarAsync<long>("SELECT COUNT(*) FROM activity WHERE action = 'Login Failed'"));
    }
}
