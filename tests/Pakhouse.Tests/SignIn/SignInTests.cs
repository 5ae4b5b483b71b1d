using System.Net;
using Microsoft.AspNetCore.Identity;

namespace Pakhouse.Tests;

public static class SignInTests
{
    private const string Email = "person1@acme.example";
    private static readonly IPAddress here = IPAddress.Parse("198.51.100.7");

    public class Passwords
    {
        [Fact]
        public async Task The_right_password_signs_in_whatever_the_case_of_the_address()
        {
            await using var server = await TestServer.StartAsync();
            var id = await server.AddUserAsync();
            Assert.Equal(
                id,
                (await server.Get<PasswordSignIn>().SignInAsync(" PERSON1@acme.EXAMPLE ", TestServer.Password, here)).Value.Id
            );
        }

        [Fact]
        public async Task Every_reason_gets_one_and_the_same_answer()
        {
            await using var server = await TestServer.StartAsync();
            await server.AddUserAsync();
            var disabled = await server.AddUserAsync();
            await server.Users.SetDisabledAsync(Actor.Operator, disabled, disabled: true);
            var signIn = server.Get<PasswordSignIn>();
            string[] answers =
            [
                (await signIn.SignInAsync(Email, "wrong", here)).Refusal!.Description,
                (await signIn.SignInAsync("nobody@acme.example", "wrong", here)).Refusal!.Description,
                (await signIn.SignInAsync("person2@acme.example", TestServer.Password, here)).Refusal!.Description,
                (await signIn.SignInAsync("", "", here)).Refusal!.Description,
                (await signIn.SignInAsync("a\0b@acme.example", "x", here)).Refusal!.Description,
                (await signIn.SignInAsync(new string('x', 300), "x", here)).Refusal!.Description,
            ];
            Assert.Single(answers.Distinct());
        }

        [Fact]
        public async Task After_five_failures_the_right_password_is_refused_until_the_lock_ends_by_itself()
        {
            await using var server = await TestServer.StartAsync();
            await server.AddUserAsync();
            var signIn = server.Get<PasswordSignIn>();
            for (var i = 0; i < 5; i++) Assert.True((await signIn.SignInAsync(Email, "wrong", here)).IsRefused);
            Assert.Equal("locked", (await signIn.SignInAsync(Email, TestServer.Password, here)).Refusal!.Reason);
            server.Clock.Advance(TimeSpan.FromMinutes(15) - TimeSpan.FromSeconds(1));
            Assert.True((await signIn.SignInAsync(Email, TestServer.Password, here)).IsRefused); // and asking does not prolong it
            server.Clock.Advance(TimeSpan.FromSeconds(1));
            Assert.False((await signIn.SignInAsync(Email, TestServer.Password, here)).IsRefused);
        }

        [Fact]
        public async Task An_address_that_nobody_has_is_locked_alike()
        {
            await using var server = await TestServer.StartAsync();
            var signIn = server.Get<PasswordSignIn>();
            for (var i = 0; i < 5; i++)
                Assert.Equal("unknown address", (await signIn.SignInAsync("nobody@acme.example", "wrong", here)).Refusal!.Reason);
            Assert.Equal("locked", (await signIn.SignInAsync("nobody@acme.example", "wrong", here)).Refusal!.Reason);
        }

        [Fact]
        public async Task A_success_forgets_the_failures_before_it()
        {
            await using var server = await TestServer.StartAsync();
            await server.AddUserAsync();
            var signIn = server.Get<PasswordSignIn>();
            for (var round = 0; round < 3; round++)
            {
                for (var i = 0; i < 4; i++) await signIn.SignInAsync(Email, "wrong", here);
                Assert.False((await signIn.SignInAsync(Email, TestServer.Password, here)).IsRefused);
            }
        }

        /// <summary>The attack: many guesses at once, so that all are looked at before the first is counted.</summary>
        [Fact]
        public async Task Guesses_that_come_at_once_are_tried_five_times_and_no_more()
        {
            await using var server = await TestServer.StartAsync("--Pakhouse:FailuresPerMinuteMax=1000");
            await server.AddUserAsync();
            var signIn = server.Get<PasswordSignIn>();
            var reasons = await Task.WhenAll(
                Enumerable.Range(0, 40).Select(_ => Task.Run(async () => (await signIn.SignInAsync(Email, "wrong", here)).Refusal!.Reason))
            );
            Assert.Equal(5, reasons.Count(reason => reason == "wrong password"));
            // The rest finds the lock, or the queue of PasswordWork full; none is tried beyond.
            Assert.Equal(35, reasons.Count(reason => reason is "locked" or "queue of password hashing full"));
        }

        /// <summary>The attack: a burst that is through before the first of it is counted.</summary>
        [Fact]
        public async Task A_burst_from_one_address_is_limited_too()
        {
            await using var server = await TestServer.StartAsync("--Pakhouse:FailuresPerMinuteMax=10");
            var signIn = server.Get<PasswordSignIn>();
            var codes = await Task.WhenAll(
                Enumerable
                    .Range(0, 60)
                    .Select(i =>
                        Task.Run(async () => (await signIn.SignInAsync($"victim{i}@acme.example", "Password1234", here)).Refusal!.Code)
                    )
            );
            Assert.InRange(codes.Count(code => code != RefusalCode.SlowDown), 10, 20); // 10, and what was between check and count
        }

        [Fact]
        public async Task Sign_ins_that_succeed_are_not_counted()
        {
            await using var server = await TestServer.StartAsync("--Pakhouse:FailuresPerMinuteMax=3");
            await server.AddUserAsync();
            for (var i = 0; i < 10; i++)
                Assert.False((await server.Get<PasswordSignIn>().SignInAsync(Email, TestServer.Password, here)).IsRefused);
        }

        [Fact]
        public async Task One_address_cannot_try_its_way_through_many_accounts()
        {
            await using var server = await TestServer.StartAsync("--Pakhouse:FailuresPerMinuteMax=10");
            var signIn = server.Get<PasswordSignIn>();
            for (var i = 0; i < 10; i++)
                await signIn.SignInAsync($"victim{i}@acme.example", "Password1234", here);
            var refusal = (await signIn.SignInAsync("victim10@acme.example", "Password1234", here)).Refusal!;
            Assert.Equal(RefusalCode.SlowDown, refusal.Code);
            Assert.NotNull(refusal.RetryAfterSeconds);
            Assert.NotEqual(
                RefusalCode.SlowDown,
                (await signIn.SignInAsync("victim10@acme.example", "x", IPAddress.Parse("198.51.100.8"))).Refusal!.Code
            );
        }

        [Theory, InlineData("short"), InlineData("aaaaaaaaaaaaaaaa"), InlineData("elevenchars"), InlineData("LONG")]
        public async Task A_weak_password_is_refused_in_words(string password)
        {
            await using var server = await TestServer.StartAsync();
            var refusal = (
                await server.Users.CreateAsync(Actor.Operator, Email, "Ada", password == "LONG" ? new string('a', 257) : password)
            ).Refusal!;
            Assert.StartsWith("password:", refusal.Description);
        }

        [
            Theory,
            InlineData(""),
            InlineData("ada"),
            InlineData("@"),
            InlineData("a@"),
            InlineData("@b"),
            InlineData("a@b@c"),
            InlineData("a b@c"),
            InlineData("a\n@b.c")
        ]
        public async Task What_is_no_address_is_refused(string email)
        {
            await using var server = await TestServer.StartAsync();
            Assert.StartsWith(
                "email:",
                (await server.Users.CreateAsync(Actor.Operator, email, "Ada", TestServer.Password)).Refusal!.Description
            );
        }

        [Fact]
        public async Task An_address_belongs_to_one_user_and_is_free_after_deletion()
        {
            await using var server = await TestServer.StartAsync();
            var first = (await server.Users.CreateAsync(Actor.Operator, "Ada@acme.example", "Ada", TestServer.Password)).Value;
            Assert.Equal(
                RefusalCode.Conflict,
                (await server.Users.CreateAsync(Actor.Operator, "ada@ACME.example", "Ada", TestServer.Password)).Refusal!.Code
            );
            await server.Users.DeleteAsync(Actor.Operator, first);
            Assert.False((await server.Users.CreateAsync(Actor.Operator, "ada@acme.example", "Ada", TestServer.Password)).IsRefused);
        }

        [Fact]
        public async Task The_stored_hash_is_identitys()
        {
            await using var server = await TestServer.StartAsync();
            var user = (await server.Users.FindAsync(await server.AddUserAsync()))!;
            Assert.NotEqual(
                PasswordVerificationResult.Failed,
                new PasswordHasher<User>().VerifyHashedPassword(user, user.PasswordHash!, TestServer.Password)
            );
        }
    }

    public class FirstStart
    {
        [Fact]
        public async Task The_code_makes_the_first_user_and_root_organization_once()
        {
            await using var server = await TestServer.StartAsync();
            var setUp = server.Get<SetUp>();
            var code = (await setUp.NewCodeAsync())!;
            Assert.True(await setUp.IsValidAsync(code));
            var user = (await setUp.CompleteAsync(code, "Acme", "Ada", Email, TestServer.Password)).Value;
            var organization = (await server.Organizations.ListAsync(Actor.Session(user.Id))).Single();
            Assert.True(organization is { Name: "Acme", RootId: null, IsDirectMember: true });

            Assert.False(await setUp.IsValidAsync(code));
            Assert.Equal(
                RefusalCode.NotFound,
                (await setUp.CompleteAsync(code, "Acme", "Eve", "eve@acme.example", TestServer.Password)).Refusal!.Code
            );
            Assert.Null(await setUp.NewCodeAsync());
        }

        [Fact]
        public async Task A_refused_entry_makes_nothing_and_leaves_the_code_good()
        {
            await using var server = await TestServer.StartAsync();
            var setUp = server.Get<SetUp>();
            var code = (await setUp.NewCodeAsync())!;
            Assert.StartsWith("name:", (await setUp.CompleteAsync(code, "", "Ada", Email, TestServer.Password)).Refusal!.Description);
            Assert.StartsWith("password:", (await setUp.CompleteAsync(code, "Acme", "Ada", Email, "short")).Refusal!.Description);
            Assert.False(await server.Users.AnyAsync());
            Assert.False((await setUp.CompleteAsync(code, "Acme", "Ada", Email, TestServer.Password)).IsRefused);
        }

        [Fact]
        public async Task Two_people_with_the_address_make_one_user()
        {
            await using var server = await TestServer.StartAsync();
            var setUp = server.Get<SetUp>();
            var code = (await setUp.NewCodeAsync())!;
            var outcomes = await Task.WhenAll(
                Enumerable
                    .Range(0, 8)
                    .Select(i => Task.Run(() => setUp.CompleteAsync(code, "Acme", "Ada", $"ada{i}@acme.example", TestServer.Password)))
            );
            Assert.Single(outcomes, outcome => !outcome.IsRefused);
        }

        [Fact]
        public async Task A_code_lives_a_day()
        {
            await using var server = await TestServer.StartAsync();
            var code = (await server.Get<SetUp>().NewCodeAsync())!;
            server.Clock.Advance(SetUp.CodeLifetime);
            Assert.False(await server.Get<SetUp>().IsValidAsync(code));
        }

        [Theory, InlineData(""), InlineData("x"), InlineData("LONG")]
        public async Task A_wrong_code_is_refused(string code)
        {
            await using var server = await TestServer.StartAsync();
            await server.Get<SetUp>().NewCodeAsync();
            Assert.False(await server.Get<SetUp>().IsValidAsync(code == "LONG" ? new string('x', 100_000) : code));
        }
    }
}
