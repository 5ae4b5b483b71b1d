using System.Net;

namespace Pakhouse.Tests;

public static class SessionsTests
{
    private const string Email = "person1@acme.example";

    private static async Task<HttpStatusCode> StatusAsync(Visitor visitor) =>
        (await visitor.GetAsync("/")).Status switch
        {
            HttpStatusCode.Redirect or HttpStatusCode.OK => (await visitor.GetAsync("/sign-in")).Status == HttpStatusCode.Redirect
                ? HttpStatusCode.OK
                : HttpStatusCode.Unauthorized,
            var other => other,
        };

    private static async Task AssertAliveAsync(Visitor visitor) => Assert.Equal(HttpStatusCode.OK, await StatusAsync(visitor));

    private static async Task AssertDeadAsync(Visitor visitor) => Assert.Equal(HttpStatusCode.Unauthorized, await StatusAsync(visitor));

    public class Lifetime
    {
        [Fact]
        public async Task Signing_out_ends_this_session_with_every_copy_of_its_cookie_and_no_other()
        {
            await using var server = await TestServer.StartAsync();
            await server.AddAcmeAsync();
            var (visitor, other) = (await Visitor.SignInAsync(server, Email), await Visitor.SignInAsync(server, Email));
            var thief = visitor.Copy();
            await AssertAliveAsync(thief);
            var page = await visitor.GetAsync((await visitor.GetAsync("/")).Header("Location")!);
            Assert.Equal(HttpStatusCode.SeeOther, (await visitor.PostAsync("/sign-out", [.. Visitor.Hidden(page, "/sign-out")])).Status);
            await AssertDeadAsync(thief);
            await AssertAliveAsync(other);
        }

        [Fact]
        public async Task Disabling_the_user_ends_every_session_with_the_next_request_and_enabling_revives_none()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var (visitor, other) = (await Visitor.SignInAsync(server, Email), await Visitor.SignInAsync(server, Email));
            await server.Users.SetDisabledAsync(Actor.Operator, acme.Owner, disabled: true);
            await AssertDeadAsync(visitor.Copy());
            await server.Users.SetDisabledAsync(Actor.Operator, acme.Owner, disabled: false);
            await AssertDeadAsync(visitor);
            await AssertDeadAsync(other);
        }

        [Fact]
        public async Task Use_keeps_a_session_alive_and_silence_ends_it()
        {
            await using var server = await TestServer.StartAsync("--Pakhouse:SessionIdleMinutes=10");
            await server.AddAcmeAsync();
            var visitor = await Visitor.SignInAsync(server, Email);
            for (var i = 0; i < 4; i++)
            {
                server.Clock.Advance(TimeSpan.FromMinutes(9));
                await AssertAliveAsync(visitor);
            }

            var thief = visitor.Copy();
            server.Clock.Advance(TimeSpan.FromMinutes(10));
            await AssertDeadAsync(thief);
        }

        [Fact]
        public async Task However_often_it_is_used_a_session_ends_thirty_days_after_sign_in()
        {
            await using var server = await TestServer.StartAsync("--Pakhouse:SessionIdleMinutes=43200");
            await server.AddAcmeAsync();
            var visitor = await Visitor.SignInAsync(server, Email);
            server.Clock.Advance(TimeSpan.FromDays(29));
            await AssertAliveAsync(visitor);
            server.Clock.Advance(TimeSpan.FromDays(1));
            await AssertDeadAsync(visitor);
        }

        /// <summary>The attack: a cookie planted before sign-in, to be shared by thief and victim afterwards.</summary>
        [Fact]
        public async Task Sign_in_draws_a_new_secret_and_the_database_holds_only_its_hash()
        {
            await using var server = await TestServer.StartAsync();
            await server.AddAcmeAsync();
            var user = (await server.Users.FindByEmailAsync(Email))!;
            var table = server.Get<SessionStore>();
            var secrets = new[]
            {
                await table.BeginAsync(user, SignInMethod.Password, null, null),
                await table.BeginAsync(user, SignInMethod.Password, null, null),
            };
            Assert.NotEqual(secrets[0], secrets[1]);
            Assert.All(secrets, secret => Assert.Equal(43, secret!.Length));
            Assert.Equal(2, await server.ScalarAsync<long>("SELECT COUNT(*) FROM sessions WHERE LENGTH(hash) = 32"));
            Assert.Null(await table.FindAsync(new string('A', 43)));
        }
    }

    public class Listed
    {
        [Theory]
        [InlineData(
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, "
                + "like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0",
            "Edge on Windows"
        )]
        [InlineData(
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like " + "Gecko) Chrome/140.0.0.0 Safari/537.36 OPR/120.0.0.0",
            "Opera on Linux"
        )]
        [InlineData("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux")]
        [InlineData(
            "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 " + "(KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
            "Chrome on ChromeOS"
        )]
        [InlineData(
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) "
                + "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/604.1",
            "Safari on iPhone"
        )]
        [InlineData("curl/8.5.0", "curl")]
        [InlineData("", "Unknown browser")]
        public void A_session_names_its_browser_as_people_know_it(string userAgent, string name) =>
            Assert.Equal(name, AccountModel.BrowserName(userAgent));

        [Fact]
        public async Task A_session_says_from_where_with_what_and_when_it_was_last_used_to_the_minute()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var visitor = await Visitor.SignInAsync(server, Email);
            var began = server.Clock.GetUtcNow();
            server.Clock.Advance(TimeSpan.FromSeconds(59));
            await AssertAliveAsync(visitor);
            var session = Assert.Single(await server.Get<SessionStore>().ListAsync(acme.Owner));
            Assert.True(
                session is { Method: SignInMethod.Password, Address: "127.0.0.1" }
                    && session.LastSeenAt == began
                    && session.CreatedAt == began
            );
            Assert.Contains("Firefox/140.0", session.UserAgent);
            server.Clock.Advance(TimeSpan.FromSeconds(1));
            await AssertAliveAsync(visitor);
            Assert.Equal(server.Clock.GetUtcNow(), Assert.Single(await server.Get<SessionStore>().ListAsync(acme.Owner)).LastSeenAt);
        }

        [Fact]
        public async Task What_a_browser_calls_itself_is_cut_and_never_holds_a_key()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var user = (await server.Users.FindAsync(acme.Owner))!;
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            await server.Get<SessionStore>().BeginAsync(user, SignInMethod.Password, null, $"curl {key}");
            await server.Get<SessionStore>().BeginAsync(user, SignInMethod.Password, null, "a\r\nb" + new string('x', 5000));
            var agents = (await server.Get<SessionStore>().ListAsync(acme.Owner)).Select(session => session.UserAgent).ToArray();
            Assert.All(agents, agent => Assert.True(agent.Length <= 200 && !agent.Contains(key) && !agent.Any(char.IsControl)));
        }

        [Fact]
        public async Task One_is_ended_or_all_but_this_one_and_each_end_is_in_the_record()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var table = server.Get<SessionStore>();
            var visitors = new List<Visitor>();
            for (var i = 0; i < 4; i++, server.Clock.Advance(TimeSpan.FromSeconds(1)))
                visitors.Add(await Visitor.SignInAsync(server, Email));
            var sessions = (await table.ListAsync(acme.Owner)).OrderBy(session => session.CreatedAt).ToList();
            Assert.False((await table.EndAsync(Actor.Session(acme.Owner), sessions[3].Id, AuditAction.SessionEnd)).IsRefused);
            await AssertDeadAsync(visitors[3]);
            Assert.Equal(2, (await table.EndOthersAsync(Actor.Session(acme.Owner), sessions[0].Id)).Value);
            await AssertAliveAsync(visitors[0]);
            await AssertDeadAsync(visitors[1]);
            Assert.Equal(
                RefusalCode.NotFound,
                (await table.EndAsync(Actor.Session(acme.Owner), sessions[3].Id, AuditAction.SessionEnd)).Refusal!.Code
            );
            Assert.Equal(
                3,
                await server.ScalarAsync<long>(
                    $"SELECT COUNT(*) FROM activity WHERE action = 'Session End' AND subject_user_id = '{acme.Owner}'"
                )
            );
        }

        /// <summary>The attacks: ending somebody else's session, and ending one with a stolen key (R7).</summary>
        [Fact]
        public async Task Nobody_else_ends_a_session_and_no_key_does()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var eve = await server.AddMemberAsync(acme.Root, BuiltInRoles.Owner);
            var visitor = await Visitor.SignInAsync(server, Email);
            var (table, id) = (server.Get<SessionStore>(), (await server.Get<SessionStore>().ListAsync(acme.Owner)).Single().Id);
            Assert.Equal(RefusalCode.NotFound, (await table.EndAsync(Actor.Session(eve), id, AuditAction.SessionEnd)).Refusal!.Code);
            Assert.Equal(
                RefusalCode.AccessDenied,
                (await table.EndAsync(Actor.Key(acme.Owner, "key", TestServer.EveryScope), id, AuditAction.SessionEnd)).Refusal!.Code
            );
            Assert.Equal(
                RefusalCode.AccessDenied,
                (await table.EndOthersAsync(Actor.Key(acme.Owner, "key", TestServer.EveryScope), Guid.Empty)).Refusal!.Code
            );
            await AssertAliveAsync(visitor);
        }
    }

    public class Record
    {
        [Fact]
        public async Task Sign_in_sign_out_and_failed_tries_are_in_the_record_and_a_lock_stops_it_growing()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var signIn = server.Get<PasswordSignIn>();
            for (var i = 0; i < 7; i++)
            {
                await signIn.SignInAsync("nobody@acme.example", "wrong", IPAddress.Loopback);
                await signIn.SignInAsync(Email, "wrong", IPAddress.Loopback);
            }

            Assert.Equal(
                5,
                await server.ScalarAsync<long>(
                    $"SELECT COUNT(*) FROM activity WHERE action = 'Login Failed' AND subject_user_id = '{acme.Owner}' AND actor_user_id "
                        + $"IS NULL AND address = '127.0.0.1'"
                )
            );
            // What a stranger tries is one row of an hour, however often.
            Assert.Equal(
                1,
                await server.ScalarAsync<long>(
                    "SELECT COUNT(*) FROM activity WHERE action = 'Login Failed' AND subject_user_id IS NULL AND target = ''"
                )
            );
            server.Clock.Advance(TimeSpan.FromMinutes(15));
            await Visitor.SignInAsync(server, Email);
            Assert.Equal(
                1,
                await server.ScalarAsync<long>(
                    $"SELECT COUNT(*) FROM activity WHERE action = 'Login' AND actor_user_id = '{acme.Owner}' AND detail = 'password'"
                )
            );
        }

        [Fact]
        public async Task A_sign_in_from_a_network_of_its_own_is_told_by_mail_and_one_from_a_known_one_is_not()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var (user, table) = ((await server.Users.FindAsync(acme.Owner))!, server.Get<SessionStore>());
            foreach (
                var (address, mails) in ((string, int)[])
                    [
                        ("198.51.100.7", 0),
                        ("198.51.100.200", 0),
                        ("203.0.113.1", 1),
                        ("203.0.113.9", 1),
                        ("2001:db8:1::1", 2),
                        ("2001:db8:1:2::1", 2),
                        ("::ffff:203.0.113.9", 2),
                    ]
            )
            {
                await table.BeginAsync(user, SignInMethod.Password, IPAddress.Parse(address), "Mozilla/5.0");
                var sent = (await server.MailsToAsync(Email))
                    .Where(mail => mail.Subject == "Pakhouse: sign-in from a new network")
                    .ToList();
                Assert.True(sent.Count == mails, $"{address}: {sent.Count}");
                if (sent.Count == 1)
                    Assert.Contains("203.0.113.1", sent[0].TextBody);
            }

            // What was seen longer ago than a session can last is new again.
            server.Clock.Advance(SessionStore.LifetimeMax + TimeSpan.FromHours(1));
            await table.BeginAsync(user, SignInMethod.Password, IPAddress.Parse("198.51.100.7"), "Mozilla/5.0");
            await table.BeginAsync(user, SignInMethod.Password, IPAddress.Parse("203.0.113.1"), "Mozilla/5.0");
            Assert.Equal(3, (await server.MailsToAsync(Email)).Count(mail => mail.Subject == "Pakhouse: sign-in from a new network"));
        }

        [Fact]
        public async Task Moving_to_another_organization_is_recorded_once()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var table = server.Get<SessionStore>();
            var secret = await table.BeginAsync((await server.Users.FindAsync(acme.Owner))!, SignInMethod.Password, null, null);
            foreach (var organization in (Guid[])[acme.Root, acme.Root, acme.Sub, acme.Sub, acme.Root])
                await table.NoteOrganizationAsync(Actor.Session(acme.Owner), (await table.FindAsync(secret!))!, organization);
            Assert.Equal(2, await server.ScalarAsync<long>("SELECT COUNT(*) FROM activity WHERE action = 'Switch Organization'"));
        }

        [Fact]
        public async Task Where_the_record_cannot_be_written_nobody_signs_in()
        {
            await using var server = await TestServer.StartAsync();
            await server.AddAcmeAsync();
            await server.BreakInsertsAsync("activity");
            var visitor = new Visitor(server);
            Assert.Equal(
                HttpStatusCode.InternalServerError,
                (await visitor.SubmitAsync("/sign-in", ("Email", Email), ("Password", TestServer.Password))).Status
            );
            Assert.Equal(0, await server.ScalarAsync<long>("SELECT COUNT(*) FROM sessions"));
        }
    }
}
