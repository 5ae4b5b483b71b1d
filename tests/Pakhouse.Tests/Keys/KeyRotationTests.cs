using System.Net;
using Dapper;

namespace Pakhouse.Tests;

/// <summary>A key is replaced without an outage, and who uses the old one afterwards is found out.</summary>
public static class KeyRotationTests
{
    public class Rotating
    {
        [Fact]
        public async Task The_successor_has_the_same_name_scopes_and_lifetime_and_both_work_for_the_overlap()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var old = await server.AddKeyAsync(acme.Owner, acme.Root, TimeSpan.FromDays(60), "openid", "email");
            server.Clock.Advance(TimeSpan.FromDays(50));
            var key = await RotateAsync(server, acme, old);

            var entries = (await server.Keys.ListAsync(Actor.Session(acme.Owner), acme.Root)).Value;
            var (successor, predecessor) = (
                entries.Single(one => one.Id == TestServer.IdOf(key)),
                entries.Single(one => one.Id == TestServer.IdOf(old))
            );
            Assert.Equal(
                (predecessor.Name, predecessor.Scopes.ToString(), server.Clock.GetUtcNow().AddDays(60)),
                (successor.Name, successor.Scopes.ToString(), successor.ExpiresAt)
            );
            Assert.Equal((successor.Id, server.Clock.GetUtcNow().AddDays(1)), (predecessor.SuccessorId, predecessor.OverlapEndsAt));
            Assert.Equal("openid email", (await server.ExchangeAsync(key)).Json.GetProperty("scope").GetString());
            Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(old)).Status);

            server.Clock.Advance(TimeSpan.FromDays(1));
            Assert.Contains("was rotated", (await server.ExchangeAsync(old)).Description, StringComparison.Ordinal);
        }

        [Fact]
        public async Task The_overlap_never_goes_beyond_the_old_keys_own_expiry()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var old = await server.AddKeyAsync(acme.Owner, acme.Root, TimeSpan.FromDays(3));
            using var rotated = (
                await server
                    .Get<KeyRotation>()
                    .RotateAsync(Actor.Session(acme.Owner), acme.Root, TestServer.IdOf(old), KeyFormat.NewId(), TimeSpan.FromDays(30))
            ).Value;
            Assert.Equal(server.Clock.GetUtcNow().AddDays(3), rotated.OldEndsAt);
        }

        [Fact]
        public async Task Rotation_works_when_every_place_is_taken_and_an_expired_key_takes_none()
        {
            await using var server = await TestServer.StartAsync("--Pakhouse:KeysPerMemberMax=2");
            var acme = await server.AddAcmeAsync();
            var old = await server.AddKeyAsync(acme.Owner, acme.Root);
            await server.AddKeyAsync(acme.Owner, acme.Root, TimeSpan.FromDays(1));
            await RotateAsync(server, acme, old);
            Assert.Equal(
                RefusalCode.Conflict,
                (
                    await server.Keys.GenerateAsync(
                        Actor.Session(acme.Owner),
                        acme.Root,
                        new NewKey(KeyFormat.NewId(), "One more", null, NameSet.All)
                    )
                )
                    .Refusal!
                    .Code
            );
            server.Clock.Advance(TimeSpan.FromDays(1));
            await server.AddKeyAsync(acme.Owner, acme.Root);
        }

        [Theory, InlineData(-1), InlineData(30 * 86400 + 1)]
        public async Task An_overlap_out_of_bounds_is_refused(int seconds)
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var old = TestServer.IdOf(await server.AddKeyAsync(acme.Owner, acme.Root));
            Assert.StartsWith(
                "overlap:",
                (
                    await server
                        .Get<KeyRotation>()
                        .RotateAsync(Actor.Session(acme.Owner), acme.Root, old, KeyFormat.NewId(), TimeSpan.FromSeconds(seconds))
                )
                    .Refusal!
                    .Description,
                StringComparison.Ordinal
            );
        }

        [Fact]
        public async Task What_cannot_be_rotated_is_refused_and_told_what_to_do()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var other = await server.AddMemberAsync(acme.Root, "owner");
            var rotation = server.Get<KeyRotation>();
            async Task<Refusal> RefusalAsync(string key, Guid? user = null, string? newId = null) =>
                (
                    await rotation.RotateAsync(
                        Actor.Session(user ?? acme.Owner),
                        acme.Root,
                        TestServer.IdOf(key),
                        newId ?? KeyFormat.NewId(),
                        TimeSpan.Zero
                    )
                ).Refusal!;

            var first = await server.AddKeyAsync(acme.Owner, acme.Root);
            Assert.Equal(Server.Keys.NoSuchKey, await RefusalAsync(first, other)); // somebody else's
            var second = await RotateAsync(server, acme, first);
            Assert.Equal(Server.Keys.DuplicateId, await RefusalAsync(second, newId: TestServer.IdOf(first))); // the form, sent again
            Assert.Equal("rotated before", (await RefusalAsync(first)).Reason);
            Assert.Equal("two overlaps at once", (await RefusalAsync(second)).Reason);
            Assert.False((await rotation.FinishAsync(Actor.Session(acme.Owner), acme.Root, TestServer.IdOf(first))).IsRefused);
            await RotateAsync(server, acme, second);

            var expired = await server.AddKeyAsync(acme.Owner, acme.Root, TimeSpan.FromHours(1));
            server.Clock.Advance(TimeSpan.FromHours(1));
            Assert.Equal("rotation of an expired key", (await RefusalAsync(expired)).Reason);
            var deleted = await server.AddKeyAsync(acme.Owner, acme.Root);
            await server.Keys.DeleteAsync(Actor.Session(acme.Owner), acme.Root, TestServer.IdOf(deleted));
            Assert.Equal(Server.Keys.NoSuchKey, await RefusalAsync(deleted));
        }

        [Fact]
        public async Task Nobody_rotates_with_a_key_or_a_token_got_from_one()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var id = TestServer.IdOf(await server.AddKeyAsync(acme.Owner, acme.Root));
            var actor = Actor.Key(acme.Owner, id, TestServer.EveryScope, acme.Root);
            Assert.Equal(
                RefusalCode.AccessDenied,
                (await server.Get<KeyRotation>().RotateAsync(actor, acme.Root, id, KeyFormat.NewId(), TimeSpan.Zero)).Refusal!.Code
            );
            Assert.Equal(RefusalCode.AccessDenied, (await server.Get<KeyRotation>().FinishAsync(actor, acme.Root, id)).Refusal!.Code);
        }

        [Fact]
        public async Task Two_rotations_at_once_make_one_successor()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var id = TestServer.IdOf(await server.AddKeyAsync(acme.Owner, acme.Root));
            var outcomes = await Task.WhenAll(
                Enumerable
                    .Range(0, 10)
                    .Select(_ =>
                        Task.Run(() =>
                            server
                                .Get<KeyRotation>()
                                .RotateAsync(Actor.Session(acme.Owner), acme.Root, id, KeyFormat.NewId(), TimeSpan.FromDays(1))
                        )
                    )
            );
            Assert.Single(outcomes, outcome => !outcome.IsRefused);
            Assert.Equal(2, await server.ScalarAsync<long>("SELECT COUNT(*) FROM access_keys"));
        }
    }

    public class Overlapping
    {
        [Fact]
        public async Task Fifty_clients_that_switch_at_random_times_during_the_overlap_are_never_refused()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var old = await server.AddKeyAsync(acme.Owner, acme.Root, TimeSpan.FromDays(90));
            var key = await RotateAsync(server, acme, old);
            var switches = Enumerable
                .Range(0, 50)
                .Select(_ => System.Security.Cryptography.RandomNumberGenerator.GetInt32(24 * 60))
                .ToArray(); // minutes after the rotation
            var end = server.Clock.GetUtcNow().AddDays(1);
            for (var minute = 0; minute < 24 * 60; minute += 120)
            {
                // At the last instant of the overlap too.
                server.Clock.SetUtcNow(end.AddMinutes(minute - 24 * 60));
                foreach (var answer in await Task.WhenAll(switches.Select(at => server.ExchangeAsync(at <= minute ? key : old))))
                    Assert.True(answer.Status == HttpStatusCode.OK, $"switched after {string.Join(' ', switches)} minutes: {answer.Body}");
            }

            server.Clock.SetUtcNow(end.AddMilliseconds(-1));
            Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(old)).Status);
            server.Clock.SetUtcNow(end);
            Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(key)).Status);

            // And the same key used after it: the family is frozen.
            Assert.Equal(HttpStatusCode.Unauthorized, (await server.ExchangeAsync(old)).Status);
            Assert.Equal(HttpStatusCode.Unauthorized, (await server.ExchangeAsync(key)).Status);
        }

        [Fact]
        public async Task Who_still_uses_the_old_key_is_seen_and_that_it_has_been_silent()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var old = await server.AddKeyAsync(acme.Owner, acme.Root);
            await UseAsync(server, old);
            var key = await RotateAsync(server, acme, old);
            Assert.False((await ReadAsync(server, acme, old)).IsSilent);
            await UseAsync(server, key);
            Assert.True((await ReadAsync(server, acme, old)).IsSilent);
            await UseAsync(server, old); // a program that was forgotten
            var read = await ReadAsync(server, acme, old);
            Assert.False(read.IsSilent);
            Assert.Equal(("127.0.0.1", server.Clock.GetUtcNow()), (read.Key.LastUsedAddress, read.Key.LastUsedAt));
        }

        [Fact]
        public async Task Finishing_ends_the_old_key_at_once_and_no_token_of_it_counts_any_more()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var old = await server.AddKeyAsync(acme.Owner, acme.Root);
            var key = await RotateAsync(server, acme, old);
            var rotation = server.Get<KeyRotation>();
            Assert.Equal(
                RefusalCode.Conflict,
                (await rotation.FinishAsync(Actor.Session(acme.Owner), acme.Root, TestServer.IdOf(key))).Refusal!.Code
            );
            Assert.False((await rotation.FinishAsync(Actor.Session(acme.Owner), acme.Root, TestServer.IdOf(old))).IsRefused);
            Assert.Equal(KeyStatus.Invalid, await StatusAsync(server, old));
            Assert.Equal(KeyStatus.Valid, await StatusAsync(server, key));
            Assert.Equal(
                RefusalCode.Conflict,
                (await rotation.FinishAsync(Actor.Session(acme.Owner), acme.Root, TestServer.IdOf(old))).Refusal!.Code
            );
            Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(key)).Status);
            Assert.Equal(HttpStatusCode.Unauthorized, (await server.ExchangeAsync(old)).Status);
        }

        [Fact]
        public async Task The_end_of_an_overlap_reaches_the_status_entry_too()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var old = await server.AddKeyAsync(acme.Owner, acme.Root);
            await RotateAsync(server, acme, old, TimeSpan.FromMinutes(10)); // shorter than a token of the day before
            await server.Get<OverlapEndJob>().RunAsync();
            Assert.Equal(KeyStatus.Valid, await StatusAsync(server, old));
            server.Clock.Advance(TimeSpan.FromMinutes(10));
            await server.Get<OverlapEndJob>().RunAsync();
            Assert.Equal(KeyStatus.Invalid, await StatusAsync(server, old));
        }

        [Fact]
        public async Task A_replaced_key_is_listed_for_90_days_after_its_end()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var old = await server.AddKeyAsync(acme.Owner, acme.Root);
            await RotateAsync(server, acme, old);
            server.Clock.Advance(TimeSpan.FromDays(90));
            Assert.Equal(2, (await server.Keys.ListAsync(Actor.Session(acme.Owner), acme.Root)).Value.Count);
            server.Clock.Advance(TimeSpan.FromDays(1));
            Assert.Single((await server.Keys.ListAsync(Actor.Session(acme.Owner), acme.Root)).Value);
        }
    }

    public class Freezing
    {
        [Fact]
        public async Task Use_of_an_old_key_after_its_overlap_freezes_the_family_and_its_holder_is_told_once()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var old = await server.AddKeyAsync(acme.Owner, acme.Root);
            var bystander = await server.AddKeyAsync(acme.Owner, acme.Root);
            var key = await RotateAsync(server, acme, old);
            server.Clock.Advance(TimeSpan.FromDays(1));
            await server.ExchangeAsync(KeyHistoryTests.ForgedOf(old)); // who proves nothing freezes nothing
            Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(key)).Status);

            var answers = await Task.WhenAll(Enumerable.Range(0, 5).Select(_ => server.ExchangeAsync(old)));
            Assert.All(answers, answer => Assert.Equal((HttpStatusCode.Unauthorized, "invalid_grant"), (answer.Status, answer.Error)));
            // at once, not in some seconds
            Assert.Contains("suspended", (await server.ExchangeAsync(key)).Description, StringComparison.Ordinal);
            Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(bystander)).Status);
            Assert.Equal(KeyStatus.Suspended, await StatusAsync(server, key));

            var mail = Assert.Single(await MailsAsync(server));
            Assert.Contains("is frozen", mail.Subject, StringComparison.Ordinal);
            Assert.Contains("from 127.0.0.1", mail.Text, StringComparison.Ordinal);
            Assert.Contains($"/security/keys/{TestServer.IdOf(old)}", mail.Text, StringComparison.Ordinal);
            var rows = (
                await server
                    .Get<Database>()
                    .ReadAsync(connection =>
                        connection.QueryAsync<(string Target, string Key, string Address)>(
                            "SELECT target, actor_key_id, address FROM activity WHERE action = 'PAT Suspend' ORDER BY target"
                        )
                    )
            ).ToList();
            Assert.Equal(
                new[] { TestServer.IdOf(old), TestServer.IdOf(key) }
                    .Order(StringComparer.Ordinal)
                    .Select(id => (id, TestServer.IdOf(old), "127.0.0.1")),
                rows
            );

            var entries = (await server.Keys.ListAsync(Actor.Session(acme.Owner), acme.Root)).Value;
            Assert.Contains(
                KeyBadge.Of(entries.Single(one => one.Id == TestServer.IdOf(key)), server.Clock.GetUtcNow()),
                chip => chip.Text == "frozen"
            );
            await server.Get<KeyUsage>().FlushAsync();
            Assert.Equal(5, (await ReadAsync(server, acme, old)).AfterEnd!.Count);
        }

        [Fact]
        public async Task It_freezes_all_that_came_after_it_also_when_it_has_expired_since()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var first = await server.AddKeyAsync(acme.Owner, acme.Root, TimeSpan.FromDays(60));
            var second = await RotateAsync(server, acme, first);
            server.Clock.Advance(TimeSpan.FromDays(30));
            var third = await RotateAsync(server, acme, second);
            server.Clock.Advance(TimeSpan.FromDays(31)); // the first has expired besides
            Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(third)).Status);
            await server.ExchangeAsync(first);
            Assert.Equal(HttpStatusCode.Unauthorized, (await server.ExchangeAsync(third)).Status);
        }

        [Fact]
        public async Task A_deleted_old_key_freezes_nothing()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var old = await server.AddKeyAsync(acme.Owner, acme.Root);
            var key = await RotateAsync(server, acme, old);
            await server.Keys.DeleteAsync(Actor.Session(acme.Owner), acme.Root, TestServer.IdOf(old));
            server.Clock.Advance(TimeSpan.FromDays(1));
            await server.ExchangeAsync(old);
            Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(key)).Status);
            Assert.Empty(await MailsAsync(server));
        }

        [Fact]
        public async Task After_a_family_was_resumed_its_ended_key_does_not_freeze_it_again()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var old = await server.AddKeyAsync(acme.Owner, acme.Root);
            var key = await RotateAsync(server, acme, old, TimeSpan.Zero);
            await server.ExchangeAsync(old);
            Assert.Equal(HttpStatusCode.Unauthorized, (await server.ExchangeAsync(key)).Status);
            Assert.Equal(
                [TestServer.IdOf(key)],
                (
                    await server.Get<Inventory>().ActAsync(Actor.Session(acme.Owner), acme.Root, KeyAction.Resume, [TestServer.IdOf(key)])
                ).Value
            );
            await server.ExchangeAsync(old);
            Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(key)).Status);
            var entry = (await server.Keys.ListAsync(Actor.Session(acme.Owner), acme.Root)).Value.Single(one =>
                one.Id == TestServer.IdOf(key)
            );
            Assert.DoesNotContain(KeyBadge.Of(entry, server.Clock.GetUtcNow()), chip => chip.Text == "frozen");
        }

        [Fact]
        public async Task A_freeze_that_cannot_be_recorded_does_not_happen_and_the_next_use_tries_again()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var old = await server.AddKeyAsync(acme.Owner, acme.Root);
            var key = await RotateAsync(server, acme, old, TimeSpan.Zero);
            await server.BreakInsertsAsync("activity");
            Assert.Equal(HttpStatusCode.InternalServerError, (await server.ExchangeAsync(old)).Status);
            Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(key)).Status);
            await server.MendInsertsAsync("activity");
            Assert.Equal(HttpStatusCode.Unauthorized, (await server.ExchangeAsync(old)).Status);
            Assert.Equal(HttpStatusCode.Unauthorized, (await server.ExchangeAsync(key)).Status);
        }
    }

    internal static async Task<string> RotateAsync(TestServer server, Acme acme, string key, TimeSpan? overlap = null)
    {
        using var rotated = (
            await server
                .Get<KeyRotation>()
                .RotateAsync(
                    Actor.Session(acme.Owner),
                    acme.Root,
                    TestServer.IdOf(key),
                    KeyFormat.NewId(),
                    overlap ?? KeyRotation.OverlapDefault
                )
        ).Value;
        return rotated.Key.Reveal();
    }

    /// <summary>All that was written to the owner of Acme.</summary>
    internal static async Task<List<(string Subject, string Text)>> MailsAsync(TestServer server) =>
        [.. (await server.MailsToAsync("person1@acme.example")).Select(mail => (mail.Subject!, mail.TextBody!))];

    private static async Task UseAsync(TestServer server, string key)
    {
        server.Clock.Advance(TimeSpan.FromMinutes(1));
        Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(key)).Status);
        await server.Get<KeyUsage>().FlushAsync();
    }

    private static async Task<KeyRecord> ReadAsync(TestServer server, Acme acme, string key) =>
        (await server.Get<KeyHistory>().ReadAsync(Actor.Session(acme.Owner), acme.Root, TestServer.IdOf(key))).Value;

    private static Task<long> StatusAsync(TestServer server, string key) =>
        server.ScalarAsync<long>($"SELECT status FROM access_keys WHERE id = '{TestServer.IdOf(key)}'")!;
}
