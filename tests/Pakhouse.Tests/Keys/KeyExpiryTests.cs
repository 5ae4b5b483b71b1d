using System.Net;

namespace Pakhouse.Tests;

/// <summary>Expiry without a cliff: who holds a key or uses it hears of its end in time.</summary>
public static class KeyExpiryTests
{
    public class Telling
    {
        [Fact]
        public async Task The_holder_is_told_30_7_and_1_day_before_and_on_the_day_each_once_by_two_processes()
        {
            var first = await TestServer.StartAsync();
            await using var second = await TestServer.StartOnAsync(first.Place, first.Clock);
            var acme = await first.AddAcmeAsync();
            await first.AddKeyAsync(acme.Owner, acme.Root, TimeSpan.FromDays(90));
            var subjects = new List<(int Day, string Subject)>();
            for (var day = 0; day <= 100; day++)
            {
                await Task.WhenAll(Task.Run(first.Get<KeyExpiryJob>().RunAsync), Task.Run(second.Get<KeyExpiryJob>().RunAsync));
                await first.Get<KeyExpiryJob>().RunAsync();
                var mails = await KeyRotationTests.MailsAsync(first);
                subjects.AddRange(mails.Skip(subjects.Count).Select(mail => (day, mail.Subject)));
                first.Clock.Advance(TimeSpan.FromDays(1));
            }

            Assert.Equal(
                [
                    (60, "Your key “Key 1” expires in 30 days"),
                    (83, "Your key “Key 1” expires in 7 days"),
                    (89, "Your key “Key 1” expires in 1 day"),
                    (90, "Your key “Key 1” has expired"),
                ],
                subjects
            );
            await first.StopAsync();
        }

        [Theory]
        [InlineData(0.5, "")]
        [InlineData(1.5, "0")]
        [InlineData(7, "1 0")]
        [InlineData(30, "7 1 0")]
        [InlineData(31, "30 7 1 0")]
        public async Task A_key_made_with_a_short_life_causes_no_burst(double days, string told)
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            await server.AddKeyAsync(acme.Owner, acme.Root, TimeSpan.FromDays(days));
            for (var halfDay = 0; halfDay <= 2 * days + 2; halfDay++)
            {
                await server.Get<KeyExpiryJob>().RunAsync();
                server.Clock.Advance(TimeSpan.FromHours(12));
            }

            Assert.Equal(
                told,
                string.Join(
                    ' ',
                    (await KeyRotationTests.MailsAsync(server)).Select(mail =>
                        mail.Subject.Split("expires in ") is [_, var left] ? left.Split(' ')[0] : "0"
                    )
                )
            );
        }

        [Fact]
        public async Task Who_was_stopped_for_weeks_tells_what_is_due_now_and_not_what_was()
        {
            var first = await TestServer.StartAsync();
            var acme = await first.AddAcmeAsync();
            await first.AddKeyAsync(acme.Owner, acme.Root, TimeSpan.FromDays(90));
            await first.StopAsync();
            first.Clock.Advance(TimeSpan.FromDays(85));
            await using var second = await TestServer.StartOnAsync(first.Place, first.Clock);
            await second.Get<KeyExpiryJob>().RunAsync();
            Assert.Equal("Your key “Key 1” expires in 5 days", Assert.Single(await KeyRotationTests.MailsAsync(second)).Subject);
        }

        [Fact]
        public async Task Nobody_is_told_of_a_key_that_was_replaced_deleted_or_is_frozen_or_whose_holder_is_gone()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var gone = await server.AddMemberAsync(acme.Root);
            var (replaced, deleted, frozen) = (await KeyAsync(acme.Owner), await KeyAsync(acme.Owner), await KeyAsync(acme.Owner));
            await KeyAsync(gone);
            await server.Members.RemoveAsync(Actor.Session(acme.Owner), acme.Root, gone);
            await server.Keys.DeleteAsync(Actor.Session(acme.Owner), acme.Root, TestServer.IdOf(deleted));
            await server.ExecuteAsync($"UPDATE access_keys SET suspended_at = 1 WHERE id = '{TestServer.IdOf(frozen)}'");
            server.Clock.Advance(TimeSpan.FromDays(52));
            await KeyRotationTests.RotateAsync(server, acme, replaced);
            server.Clock.Advance(TimeSpan.FromDays(1));
            await server.Get<KeyExpiryJob>().RunAsync();
            Assert.Empty(await KeyRotationTests.MailsAsync(server));

            // Control: one that is none of these.
            await KeyAsync(acme.Owner);
            server.Clock.Advance(TimeSpan.FromDays(53));
            await server.Get<KeyExpiryJob>().RunAsync();
            Assert.Equal(2, (await KeyRotationTests.MailsAsync(server)).Count); // and the successor of the first

            Task<string> KeyAsync(Guid user) => server.AddKeyAsync(user, acme.Root, TimeSpan.FromDays(60));
        }

        [Fact]
        public async Task More_keys_than_one_batch_that_expire_in_the_same_instant_are_all_told_and_none_twice()
        {
            await using var server = await TestServer.StartAsync("--Pakhouse:KeysPerMemberMax=1000");
            var acme = await server.AddAcmeAsync();
            await server.AddKeyAsync(acme.Owner, acme.Root, TimeSpan.FromDays(60));
            await server.ExecuteAsync(
                """
                INSERT INTO access_keys (id, membership_id, name, hash, scopes, created_at, expires_at, status_index)
                WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 450)
                SELECT 'copy' || (100000000000 + n), membership_id, name, hash, scopes, created_at, expires_at, 1000 + n
                    FROM access_keys, numbers
                """
            );
            server.Clock.Advance(TimeSpan.FromDays(53));
            for (var run = 0; run < 3; run++)
                await server.Get<KeyExpiryJob>().RunAsync();
            Assert.Equal(451, await server.ScalarAsync<long>("SELECT COUNT(*) FROM key_expiry_notices"));
        }
    }

    public class Answering
    {
        [Theory]
        [InlineData(14 * 24 + 1, null)]
        [InlineData(14 * 24, "This key expires on ")]
        [InlineData(1, "This key expires on ")]
        public async Task Every_exchange_says_when_the_key_expires_and_warns_inside_the_last_14_days(int hours, string? warning)
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var answer = await server.ExchangeAsync(await server.AddKeyAsync(acme.Owner, acme.Root, TimeSpan.FromHours(hours)));
            var end = server.Clock.GetUtcNow().AddHours(hours);
            Assert.Equal(end.ToString("R"), answer.Header("Personal-Access-Key-Expires"));
            Assert.Equal(end.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'"), answer.Json.GetProperty("key_expires_at").GetString());
            Assert.Equal(warning is not null, answer.Json.TryGetProperty("warning", out var said));
            if (warning is not null) Assert.StartsWith(warning, said.GetString(), StringComparison.Ordinal);
        }

        [Fact]
        public async Task A_key_without_expiry_has_neither_and_a_replaced_one_says_when_it_stops()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            var answer = await server.ExchangeAsync(key);
            Assert.False(answer.Json.TryGetProperty("key_expires_at", out _) || answer.Json.TryGetProperty("warning", out _));
            await KeyRotationTests.RotateAsync(server, acme, key);
            answer = await server.ExchangeAsync(key);
            Assert.Equal("2026-11-03T09:00:30Z", answer.Json.GetProperty("key_expires_at").GetString());
            Assert.Equal(
                "This key was rotated and ends on 3 Nov 2026, 09:00 UTC. Use the key that replaced it.",
                answer.Json.GetProperty("warning").GetString()
            );
        }

        [Fact]
        public async Task An_expired_key_says_so_to_who_proves_it_and_stays_listed_for_90_days()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root, TimeSpan.FromDays(1));
            server.Clock.Advance(TimeSpan.FromDays(1));
            Assert.Contains("has expired", (await server.ExchangeAsync(key)).Description, StringComparison.Ordinal);
            Assert.DoesNotContain(
                "expired",
                (await server.ExchangeAsync(KeyHistoryTests.ForgedOf(key))).Description,
                StringComparison.Ordinal
            );
            server.Clock.Advance(TimeSpan.FromDays(90) - TimeSpan.FromMilliseconds(1));
            Assert.Single((await server.Keys.ListAsync(Actor.Session(acme.Owner), acme.Root)).Value);
            server.Clock.Advance(TimeSpan.FromMilliseconds(1));
            Assert.Empty((await server.Keys.ListAsync(Actor.Session(acme.Owner), acme.Root)).Value);
            Assert.Contains("has expired", (await server.ExchangeAsync(key)).Description, StringComparison.Ordinal);
        }
    }
}
