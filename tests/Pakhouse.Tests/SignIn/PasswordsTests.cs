using System.Diagnostics;
using System.Net;
using System.Text.RegularExpressions;
using Dapper;

namespace Pakhouse.Tests;

public static class PasswordsTests
{
    private const string Email = "person1@acme.example";
    private const string New = "another horse battery";
    private static readonly IPAddress here = IPAddress.Parse("198.51.100.7");

    private static async Task<List<(string Recipient, MailContent Content)>> MailsAsync(TestServer server) =>
        [
            .. (
                await server
                    .Get<Database>()
                    .ReadAsync(connection =>
                        connection.QueryAsync<(string Recipient, byte[] Content)>("SELECT recipient, content FROM mails ORDER BY id")
                    )
            ).Select(row => (row.Recipient, server.Get<Mails>().Open(row.Content))),
        ];

    private static async Task<string> LinkAsync(TestServer server)
    {
        await server.ExecuteAsync("DELETE FROM mails");
        await server.Get<Passwords>().RequestResetAsync(Email, here);
        var mail = Assert.Single(await MailsAsync(server));
        Assert.Equal(Email, mail.Recipient);
        return Regex
            .Match(
                mail.Content.Text,
                "/reset-password\\?code=(?<code>[A-Za-z0-9_-]{43})\\s",
                RegexOptions.ExplicitCapture,
                TimeSpan.FromSeconds(1)
            )
            .Groups["code"]
            .Value;
    }

    public class Reset
    {
        [Fact]
        public async Task The_link_sets_a_password_once_ends_every_session_and_lifts_the_lock()
        {
            await using var server = await TestServer.StartAsync("--Pakhouse:FailuresPerMinuteMax=1000");
            await server.AddAcmeAsync();
            var before = await Visitor.SignInAsync(server, Email);
            for (var i = 0; i < 6; i++)
                await server.Get<PasswordSignIn>().SignInAsync(Email, "wrong", here);
            var code = await LinkAsync(server);

            var visitor = new Visitor(server);
            Assert.Equal(
                HttpStatusCode.BadRequest,
                (await visitor.SubmitAsync($"/reset-password?code={code}", ("Password", "short"))).Status
            );
            var answer = await visitor.SubmitAsync($"/reset-password?code={code}", ("Password", New));
            Assert.Equal((HttpStatusCode.SeeOther, "/sign-in?reset=true"), (answer.Status, answer.Header("Location")));
            Assert.Equal(HttpStatusCode.NotFound, (await visitor.GetAsync($"/reset-password?code={code}")).Status);
            Assert.Equal("/sign-in", new Uri((await before.GetAsync("/account")).Header("Location")!).AbsolutePath);
            Assert.True((await server.Get<PasswordSignIn>().SignInAsync(Email, TestServer.Password, here)).IsRefused);
            Assert.False((await server.Get<PasswordSignIn>().SignInAsync(Email, New, here)).IsRefused);
            Assert.Equal(1, await server.ScalarAsync<long>("SELECT COUNT(*) FROM activity WHERE action = 'Password Reset'"));
            Assert.Contains(await MailsAsync(server), mail => mail.Recipient == Email && mail.Content.Text.Contains("was reset"));
            Assert.DoesNotContain(server.Log.Lines, line => line.Contains(code));
        }

        [Fact]
        public async Task A_second_factor_stays()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var (secret, _) = server.Get<SecondFactor>().Offer(acme.Owner);
            await server
                .Get<SecondFactor>()
                .AddAsync(
                    Actor.Session(acme.Owner),
                    secret,
                    new OtpNet.Totp(OtpNet.Base32Encoding.ToBytes(secret)).ComputeTotp(server.Clock.GetUtcNow().UtcDateTime)
                );
            Assert.False((await server.Get<Passwords>().ResetAsync(await LinkAsync(server), New, here)).IsRefused);
            Assert.StartsWith(
                "/sign-in/code",
                (await new Visitor(server).SubmitAsync("/sign-in", ("Email", Email), ("Password", New))).Header("Location")
            );
        }

        [Fact]
        public async Task A_link_lives_an_hour_and_goes_with_a_later_one_that_was_used()
        {
            await using var server = await TestServer.StartAsync();
            await server.AddAcmeAsync();
            var (first, second) = (await LinkAsync(server), await LinkAsync(server));
            var passwords = server.Get<Passwords>();
            Assert.False((await passwords.ResetAsync(second, New, here)).IsRefused);
            Assert.Equal(RefusalCode.NotFound, (await passwords.ResetAsync(first, New, here)).Refusal!.Code);
            var third = await LinkAsync(server);
            server.Clock.Advance(Passwords.LinkLifetime);
            Assert.False(await passwords.IsLinkGoodAsync(third));
            foreach (var code in (string[])["", "x", new string('x', 100_000)]) Assert.False(await passwords.IsLinkGoodAsync(code));
        }

        [Fact]
        public async Task Two_with_one_link_set_one_password()
        {
            await using var server = await TestServer.StartAsync();
            await server.AddAcmeAsync();
            var code = await LinkAsync(server);
            var outcomes = await Task.WhenAll(
                Enumerable.Range(0, 6).Select(i => Task.Run(() => server.Get<Passwords>().ResetAsync(code, $"{New} {i}", here)))
            );
            Assert.Single(outcomes, outcome => !outcome.IsRefused);
        }

        [Fact]
        public async Task Nobody_who_is_disabled_or_unknown_gets_a_letter_and_a_mailbox_gets_five_at_most()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var passwords = server.Get<Passwords>();
            for (var i = 0; i < 8; i++)
                Assert.False((await passwords.RequestResetAsync(Email, here)).IsRefused);
            Assert.Equal(5, (await MailsAsync(server)).Count);
            await server.ExecuteAsync("DELETE FROM mails");
            server.Clock.Advance(TimeSpan.FromMinutes(15));
            await server.Users.SetDisabledAsync(Actor.Operator, acme.Owner, disabled: true);
            foreach (var email in (string[])[Email, "nobody@acme.example", "", "a\0b", new string('x', 300)])
                Assert.False((await passwords.RequestResetAsync(email, here)).IsRefused);
            Assert.DoesNotContain(await MailsAsync(server), mail => mail.Content.Subject != "Your account was disabled");
        }
    }

    public class Change
    {
        [Fact]
        public async Task It_asks_for_the_old_one_and_ends_every_other_session()
        {
            await using var server = await TestServer.StartAsync();
            await server.AddAcmeAsync();
            var (visitor, other) = (await Visitor.SignInAsync(server, Email), await Visitor.SignInAsync(server, Email));
            Assert.Equal(
                HttpStatusCode.BadRequest,
                (await visitor.SubmitAsync("/account/password", ("OldPassword", "wrong"), ("NewPassword", New))).Status
            );
            Assert.Equal(
                HttpStatusCode.BadRequest,
                (await visitor.SubmitAsync("/account/password", ("OldPassword", TestServer.Password), ("NewPassword", "short"))).Status
            );
            Assert.Equal(
                "/account?done=password",
                (await visitor.SubmitAsync("/account/password", ("OldPassword", TestServer.Password), ("NewPassword", New))).Header(
                    "Location"
                )
            );
            Assert.Equal(HttpStatusCode.OK, (await visitor.GetAsync("/account")).Status);
            Assert.Equal(HttpStatusCode.Redirect, (await other.GetAsync("/account")).Status);
            Assert.False((await server.Get<PasswordSignIn>().SignInAsync(Email, New, here)).IsRefused);
            Assert.Equal(1, await server.ScalarAsync<long>("SELECT COUNT(*) FROM activity WHERE action = 'Password Change'"));
            Assert.Single(await MailsAsync(server));
        }

        /// <summary>The attack: guessing the old password from a stolen session, past the lock.</summary>
        [Fact]
        public async Task Guessing_the_old_one_is_limited_like_signing_in()
        {
            await using var server = await TestServer.StartAsync();
            await server.AddAcmeAsync();
            var visitor = await Visitor.SignInAsync(server, Email);
            for (var i = 0; i < 5; i++)
                await visitor.SubmitAsync("/account/password", ("OldPassword", "wrong"), ("NewPassword", New));
            Assert.Equal(
                HttpStatusCode.BadRequest,
                (await visitor.SubmitAsync("/account/password", ("OldPassword", TestServer.Password), ("NewPassword", New))).Status
            );
            Assert.Equal("locked", (await server.Get<PasswordSignIn>().SignInAsync(Email, TestServer.Password, here)).Refusal!.Reason);
        }
    }

    /// <summary>Whether somebody has an address: neither words, status nor time tell.</summary>
    public class Enumeration
    {
        private const int Rounds = 40;

        [Theory, InlineData("/sign-in"), InlineData("/forgot-password")]
        public async Task Known_and_unknown_addresses_get_the_same_answer(string path)
        {
            await using var server = await TestServer.StartAsync();
            await server.AddAcmeAsync();
            var bodies = new List<string>();
            foreach (var email in (string[])[Email, "nobody1@acme.example"])
            {
                var answer = await new Visitor(server).SubmitAsync(path, ("Email", email), ("Password", "wrong"));
                bodies.Add(
                    $"{answer.Status} "
                        + $"{Regex.Replace(answer.Body.Replace(email, "EMAIL"), "value=\"CfDJ8[^\"]+\"", "", RegexOptions.None, TimeSpan.FromSeconds(1))}"
                );
            }

            Assert.Equal(bodies[0], bodies[1]);
        }

        [Fact]
        public async Task They_take_the_same_time()
        {
            await using var server = await TestServer.StartAsync(
                "--Pakhouse:FailuresPerMinuteMax=100000",
                "--Pakhouse:SignInAttemptsMax=100"
            );
            await server.AddAcmeAsync();
            var (signIn, passwords) = (server.Get<PasswordSignIn>(), server.Get<Passwords>());
            Assert.InRange(await RatioAsync(email => signIn.SignInAsync(email, "wrong", here)), 0.67, 1.5);
            Assert.InRange(await RatioAsync(email => passwords.RequestResetAsync(email, here)), 0.67, 1.5);
        }

        /// <summary>The same measure over a sign-in that stops where it finds nobody.</summary>
        [Fact]
        public async Task Control_a_sign_in_that_gives_up_early_is_found_out()
        {
            await using var server = await TestServer.StartAsync(
                "--Pakhouse:FailuresPerMinuteMax=100000",
                "--Pakhouse:SignInAttemptsMax=100"
            );
            await server.AddAcmeAsync();
            var signIn = server.Get<PasswordSignIn>();
            Assert.True(await RatioAsync(async email =>
            {
                if (await server.Users.FindByEmailAsync(email) is not null) await signIn.SignInAsync(email, "wrong", here);
            }) > 1.5);
        }

        /// <summary>
        /// Tries take turns. The quicker fifth of each is compared, as an attacker would: other programs slow down the rest.
        /// </summary>
        private static async Task<double> RatioAsync(Func<string, Task> tryAsync)
        {
            var times = new Dictionary<string, List<double>>(StringComparer.Ordinal) { [Email] = [], ["nobody@acme.example"] = [] };
            for (var round = -5; round < Rounds; round++)
            {
                foreach (var (email, list) in times)
                {
                    var start = Stopwatch.GetTimestamp();
                    await tryAsync(email);
                    if (round >= 0) list.Add(Stopwatch.GetElapsedTime(start).TotalMilliseconds);
                }
            }

            return Quick(times[Email]) / Quick(times["nobody@acme.example"]);
        }

        private static double Quick(List<double> times)
        {
            times.Sort();
            return times[times.Count / 5];
        }
    }
}
