using System.Net;
using System.Text;
using System.Text.RegularExpressions;
using OtpNet;

namespace Pakhouse.Tests;

public static class SecondFactorTests
{
    private const string Email = "person1@acme.example";
    private static readonly IPAddress here = IPAddress.Parse("198.51.100.7");

    private static string CodeAt(string secret, DateTimeOffset time) =>
        new Totp(Base32Encoding.ToBytes(secret)).ComputeTotp(time.UtcDateTime);

    /// <summary>Turned on, and half an hour later: the code that turned it on is past.</summary>
    private static async Task<(User User, string Secret, string[] Recovery)> AddAsync(TestServer server)
    {
        var user = (await server.Users.FindAsync((await server.AddAcmeAsync()).Owner))!;
        var (secret, _) = server.Get<SecondFactor>().Offer(user.Id);
        var codes = (
            await server.Get<SecondFactor>().AddAsync(Actor.Session(user.Id), secret, CodeAt(secret, server.Clock.GetUtcNow()))
        ).Value;
        server.Clock.Advance(TimeSpan.FromMinutes(30));
        return (user, secret, codes);
    }

    public class Codes
    {
        /// <summary>RFC 6238, Appendix B, SHA-1; the last six of its eight digits.</summary>
        [
            Theory,
            InlineData(59, "287082"),
            InlineData(1111111109, "081804"),
            InlineData(1111111111, "050471"),
            InlineData(1234567890, "005924"),
            InlineData(2000000000, "279037"),
            InlineData(20000000000, "353130")
        ]
        public void The_library_computes_the_codes_of_the_standard(long time, string code) =>
            Assert.Equal(
                code,
                new Totp(Encoding.ASCII.GetBytes("12345678901234567890")).ComputeTotp(DateTimeOffset.FromUnixTimeSeconds(time).UtcDateTime)
            );

        [Fact]
        public async Task A_code_of_now_or_of_a_neighbouring_half_minute_works_once_and_never_one_before_it()
        {
            await using var server = await TestServer.StartAsync();
            var (user, secret, _) = await AddAsync(server);
            var (factor, now) = (server.Get<SecondFactor>(), server.Clock.GetUtcNow());
            Assert.True((await factor.CheckAsync(user, CodeAt(secret, now.AddSeconds(-60)), here)).IsRefused);
            Assert.True((await factor.CheckAsync(user, CodeAt(secret, now.AddSeconds(60)), here)).IsRefused);
            Assert.Equal(SignInMethod.PasswordAndCode, (await factor.CheckAsync(user, CodeAt(secret, now), here)).Value);
            Assert.True((await factor.CheckAsync(user, CodeAt(secret, now), here)).IsRefused); // seen over the shoulder
            Assert.True((await factor.CheckAsync(user, CodeAt(secret, now.AddSeconds(-30)), here)).IsRefused);
            Assert.False((await factor.CheckAsync(user, CodeAt(secret, now.AddSeconds(30)).Insert(3, " "), here)).IsRefused);
        }

        [Fact]
        public async Task Of_many_who_come_with_one_code_at_once_one_is_let_in()
        {
            await using var server = await TestServer.StartAsync("--Pakhouse:SignInAttemptsMax=100");
            var (user, secret, recovery) = await AddAsync(server);
            foreach (var code in (string[])[CodeAt(secret, server.Clock.GetUtcNow()), recovery[0]])
            {
                var outcomes = await Task.WhenAll(
                    Enumerable.Range(0, 8).Select(_ => Task.Run(() => server.Get<SecondFactor>().CheckAsync(user, code, here)))
                );
                Assert.Single(outcomes, outcome => !outcome.IsRefused);
            }
        }

        /// <summary>The attack: who has the password guesses codes, and signs in again in between to start the count anew.</summary>
        [Fact]
        public async Task Guesses_are_tried_five_times_and_the_right_password_does_not_forget_them()
        {
            await using var server = await TestServer.StartAsync("--Pakhouse:FailuresPerMinuteMax=1000");
            var (user, secret, recovery) = await AddAsync(server);
            var factor = server.Get<SecondFactor>();
            for (var i = 0; i < 5; i++)
            {
                Assert.Equal("wrong code", (await factor.CheckAsync(user, $"wrong{i}", here)).Refusal!.Reason);
                Assert.False((await server.Get<PasswordSignIn>().SignInAsync(Email, TestServer.Password, here)).IsRefused);
            }

            Assert.Equal("locked", (await factor.CheckAsync(user, CodeAt(secret, server.Clock.GetUtcNow()), here)).Refusal!.Reason);
            Assert.Equal("locked", (await factor.CheckAsync(user, recovery[0], here)).Refusal!.Reason);
            server.Clock.Advance(TimeSpan.FromMinutes(15));
            Assert.False((await factor.CheckAsync(user, recovery[0], here)).IsRefused);
            Assert.Equal(
                5,
                await server.ScalarAsync<long>(
                    "SELECT COUNT(*) FROM activity WHERE action = 'Login Failed' AND detail = 'password and code'"
                )
            );
        }

        [Fact]
        public async Task Ten_recovery_codes_work_once_each_and_renewing_ends_those_before()
        {
            await using var server = await TestServer.StartAsync(
                "--Pakhouse:FailuresPerMinuteMax=1000",
                "--Pakhouse:SignInAttemptsMax=100"
            );
            var (user, _, recovery) = await AddAsync(server);
            var factor = server.Get<SecondFactor>();
            Assert.Equal(10, recovery.Distinct().Count());
            foreach (var code in recovery.Take(9))
                Assert.Equal(
                    SignInMethod.PasswordAndRecoveryCode,
                    (await factor.CheckAsync(user, code.ToUpperInvariant().Replace('-', ' '), here)).Value
                );
            Assert.True((await factor.CheckAsync(user, recovery[0], here)).IsRefused);
            Assert.Equal(1, (await factor.StateAsync(user.Id)).RecoveryCodesLeft);
            var renewed = (await factor.RenewCodesAsync(Actor.Session(user.Id))).Value;
            Assert.True((await factor.CheckAsync(user, recovery[9], here)).IsRefused);
            Assert.False((await factor.CheckAsync(user, renewed[9], here)).IsRefused);
        }

        [Fact]
        public async Task Neither_secret_nor_recovery_codes_can_be_read_from_the_database()
        {
            await using var server = await TestServer.StartAsync();
            var (user, secret, recovery) = await AddAsync(server);
            var stored = await server.ScalarAsync<byte[]>($"SELECT secret FROM authenticators WHERE user_id = '{user.Id}'");
            Assert.Equal(-1, stored.AsSpan().IndexOf(Base32Encoding.ToBytes(secret)));
            Assert.Equal(10, await server.ScalarAsync<long>("SELECT COUNT(*) FROM recovery_codes WHERE LENGTH(hash) = 32"));
            Assert.DoesNotContain(server.Log.Lines, line => line.Contains(secret) || recovery.Any(line.Contains));
        }
    }

    public class Changes
    {
        [Fact]
        public async Task A_wrong_first_code_turns_nothing_on_and_a_second_app_does_not_replace_the_first()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var factor = server.Get<SecondFactor>();
            var (secret, _) = factor.Offer(acme.Owner);
            Assert.StartsWith("code:", (await factor.AddAsync(Actor.Session(acme.Owner), secret, "000000x")).Refusal!.Description);
            Assert.False((await factor.StateAsync(acme.Owner)).IsOn);
            var code = CodeAt(secret, server.Clock.GetUtcNow());
            Assert.False((await factor.AddAsync(Actor.Session(acme.Owner), secret, code)).IsRefused);
            Assert.Equal(RefusalCode.Conflict, (await factor.AddAsync(Actor.Session(acme.Owner), secret, code)).Refusal!.Code);
        }

        [Fact]
        public async Task An_offer_is_one_persons()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var (secret, offer) = server.Get<SecondFactor>().Offer(acme.Owner);
            Assert.Equal(secret, server.Get<SecondFactor>().ReadOffer(acme.Owner, offer));
            Assert.Null(server.Get<SecondFactor>().ReadOffer(await server.AddUserAsync(), offer));
            Assert.Null(server.Get<SecondFactor>().ReadOffer(acme.Owner, "forged"));
        }

        [Fact]
        public async Task Each_change_is_in_the_record_and_its_owner_is_told_by_mail()
        {
            await using var server = await TestServer.StartAsync();
            var (user, _, _) = await AddAsync(server);
            await server.Get<SecondFactor>().RenewCodesAsync(Actor.Session(user.Id));
            await server.Get<SecondFactor>().RemoveAsync(Actor.Session(user.Id));
            foreach (var action in (string[])[AuditAction.SecondFactorAdd, AuditAction.RecoveryCodes, AuditAction.SecondFactorRemove])
                Assert.Equal(
                    1,
                    await server.ScalarAsync<long>(
                        $"SELECT COUNT(*) FROM activity WHERE action = '{action}' AND actor_user_id = '{user.Id}'"
                    )
                );
            Assert.Equal(3, (await server.MailsToAsync(Email)).Count);
            Assert.Equal(0, await server.ScalarAsync<long>("SELECT COUNT(*) FROM recovery_codes"));
        }

        /// <summary>R7. The attack: the thief of a key makes the account their own.</summary>
        [Fact]
        public async Task No_key_touches_the_ways_to_sign_in()
        {
            await using var server = await TestServer.StartAsync();
            var (user, _, _) = await AddAsync(server);
            var (key, factor) = (Actor.Key(user.Id, "key", TestServer.EveryScope), server.Get<SecondFactor>());
            Assert.Equal(RefusalCode.AccessDenied, (await factor.RemoveAsync(key)).Refusal!.Code);
            Assert.Equal(RefusalCode.AccessDenied, (await factor.RenewCodesAsync(key)).Refusal!.Code);
            Assert.Equal(RefusalCode.AccessDenied, (await factor.AddAsync(key, factor.Offer(user.Id).Secret, "000000")).Refusal!.Code);
            Assert.Equal(RefusalCode.AccessDenied, (await server.Get<Passkeys>().RemoveAsync(key, Guid.Empty)).Refusal!.Code);
            Assert.Equal(
                RefusalCode.AccessDenied,
                (
                    await server
                        .Get<Passwords>()
                        .ChangeAsync(key, new Session { UserId = user.Id, Email = Email }, TestServer.Password, "another horse battery")
                )
                    .Refusal!
                    .Code
            );
        }
    }

    public class Pages
    {
        [Fact]
        public async Task Sign_in_takes_two_steps_and_the_first_opens_nothing()
        {
            await using var server = await TestServer.StartAsync();
            var (_, secret, _) = await AddAsync(server);
            var visitor = new Visitor(server);
            var first = await visitor.SubmitAsync("/sign-in?from=/account", ("Email", Email), ("Password", TestServer.Password));
            Assert.Equal("/sign-in/code?from=%2Faccount", first.Header("Location"));
            Assert.False(visitor.Cookies.ContainsKey("pakhouse"));
            Assert.Equal(HttpStatusCode.Redirect, (await visitor.GetAsync("/account")).Status);
            Assert.Equal(0, await server.ScalarAsync<long>("SELECT COUNT(*) FROM sessions"));

            Assert.Equal(HttpStatusCode.BadRequest, (await visitor.SubmitAsync("/sign-in/code?from=/account", ("Code", "123"))).Status);
            var second = await visitor.SubmitAsync("/sign-in/code?from=/account", ("Code", CodeAt(secret, server.Clock.GetUtcNow())));
            Assert.Equal((HttpStatusCode.SeeOther, "/account"), (second.Status, second.Header("Location")));
            var page = await visitor.GetAsync("/account");
            Assert.Equal(HttpStatusCode.OK, page.Status);
            Assert.Contains("password and code", page.Body);
            Assert.False(visitor.Cookies.ContainsKey("pakhouse-code"));
        }

        [Fact]
        public async Task The_step_between_ends_after_a_quarter_of_an_hour_and_with_the_password_that_opened_it()
        {
            await using var server = await TestServer.StartAsync();
            await AddAsync(server);
            var visitor = new Visitor(server);
            await visitor.SubmitAsync("/sign-in", ("Email", Email), ("Password", TestServer.Password));
            Assert.Equal(HttpStatusCode.OK, (await visitor.GetAsync("/sign-in/code")).Status);
            server.Clock.Advance(TimeSpan.FromMinutes(15));
            Assert.Equal(HttpStatusCode.Redirect, (await visitor.GetAsync("/sign-in/code")).Status);
            await visitor.SubmitAsync("/sign-in", ("Email", Email), ("Password", TestServer.Password));
            await server.ExecuteAsync("UPDATE users SET security_stamp = 'changed'");
            Assert.Equal(HttpStatusCode.Redirect, (await visitor.GetAsync("/sign-in/code")).Status);
        }

        [Fact]
        public async Task It_is_added_on_its_page_and_the_codes_are_shown_once()
        {
            await using var server = await TestServer.StartAsync();
            await server.AddAcmeAsync();
            var visitor = await Visitor.SignInAsync(server, Email);
            var page = await visitor.GetAsync("/account/second-factor");
            Assert.Contains("<svg class=\"qr\"", page.Body);
            Assert.Contains("no-store", page.Header("Cache-Control"));
            var secret = Regex
                .Match(
                    page.Body,
                    "data-testid=\"totp-secret\">(?<secret>[A-Z2-7]{32})<",
                    RegexOptions.ExplicitCapture,
                    TimeSpan.FromSeconds(1)
                )
                .Groups["secret"]
                .Value;
            var hidden = Visitor.Hidden(page, "/account/second-factor").ToArray();
            var wrong = await visitor.PostAsync("/account/second-factor", [.. hidden, ("Code", "000")]);
            Assert.Equal(HttpStatusCode.BadRequest, wrong.Status);
            Assert.Contains(secret, wrong.Body); // scanned already: it stays
            var added = await visitor.PostAsync("/account/second-factor", [.. hidden, ("Code", CodeAt(secret, server.Clock.GetUtcNow()))]);
            Assert.Equal(HttpStatusCode.OK, added.Status);
            var codes = Regex
                .Matches(added.Body, "[a-z2-7]{4}(-[a-z2-7]{4}){3}", RegexOptions.ExplicitCapture, TimeSpan.FromSeconds(1))
                .Select(match => match.Value)
                .ToArray();
            Assert.Equal(10, codes.Length);
            Assert.DoesNotContain(codes[0], (await visitor.GetAsync("/account/second-factor")).Body);
            Assert.Equal(
                HttpStatusCode.SeeOther,
                (await visitor.SubmitToAsync("/account/second-factor", "/account/second-factor?handler=Remove")).Status
            );
        }

        /// <summary>The attack: a session left open, or stolen, used to change how its owner signs in.</summary>
        [Theory, InlineData("/account/second-factor"), InlineData("/account/passkeys/019a0000-0000-7000-8000-000000000000/remove")]
        public async Task What_changes_sign_in_asks_again_who_one_is_after_ten_minutes(string path)
        {
            await using var server = await TestServer.StartAsync();
            await server.AddAcmeAsync();
            var visitor = await Visitor.SignInAsync(server, Email);
            server.Clock.Advance(TimeSpan.FromMinutes(10));
            var asked = await visitor.GetAsync(path);
            var confirm = $"/account/confirm?from={Uri.EscapeDataString(path)}";
            Assert.Equal((HttpStatusCode.SeeOther, confirm), (asked.Status, asked.Header("Location")));
            var token = Visitor
                .Hidden(await visitor.GetAsync("/account/confirm"), "/account/confirm")
                .First(field => field.Name.StartsWith("__", StringComparison.Ordinal));
            Assert.Equal(HttpStatusCode.SeeOther, (await visitor.PostAsync(path, token)).Status); // and so does its form

            Assert.Equal(HttpStatusCode.BadRequest, (await visitor.SubmitAsync(confirm, ("Password", "wrong"))).Status);
            Assert.Equal(HttpStatusCode.SeeOther, (await visitor.GetAsync(path)).Status);
            Assert.Equal(path, (await visitor.SubmitAsync(confirm, ("Password", TestServer.Password))).Header("Location"));
            Assert.NotEqual(HttpStatusCode.SeeOther, (await visitor.GetAsync(path)).Status);
        }

        /// <summary>R7 at the pages: a token is no session.</summary>
        [
            Theory,
            InlineData("/account"),
            InlineData("/account/second-factor"),
            InlineData("/account/password"),
            InlineData("/account/passkeys/add"),
            InlineData("/account/confirm")
        ]
        public async Task A_token_does_not_open_them(string path)
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var token = (await server.ExchangeAsync(await server.AddKeyAsync(acme.Owner, acme.Root))).Token;
            using var request = new HttpRequestMessage(HttpMethod.Get, path);
            request.Headers.Authorization = new("Bearer", token);
            Assert.Equal(HttpStatusCode.Redirect, (await server.Http.SendAsync(request)).StatusCode);
        }
    }
}
