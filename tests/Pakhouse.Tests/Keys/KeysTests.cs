using System.Data.Common;
using System.Net;
using System.Text;
using Dapper;

namespace Pakhouse.Tests;

public static class KeysTests
{
    public class Generating
    {
        [Fact]
        public async Task The_secret_is_stored_as_a_hash_and_returned_once()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = (await server.Keys.GenerateAsync(Actor.Session(acme.Owner), acme.Root, AKey())).Value;
            var text = key.Reveal();
            Assert.Throws<ObjectDisposedException>(key.Reveal);
            Assert.Throws<ObjectDisposedException>(key.Hash);
            Assert.DoesNotContain(text[^49..], key.ToString(), StringComparison.Ordinal);

            var stored = await server
                .Get<Database>()
                .ReadAsync(connection => connection.QuerySingleAsync<byte[]>("SELECT hash FROM access_keys"));
            Assert.Equal(System.Security.Cryptography.SHA256.HashData(Encoding.ASCII.GetBytes(text)), stored);
        }

        [Fact]
        public async Task The_same_form_sent_twice_makes_one_key()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var wanted = AKey();
            using var first = (await server.Keys.GenerateAsync(Actor.Session(acme.Owner), acme.Root, wanted)).Value;
            Assert.Equal(
                RefusalCode.Conflict,
                (await server.Keys.GenerateAsync(Actor.Session(acme.Owner), acme.Root, wanted)).Refusal!.Code
            );
            Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(first.Reveal())).Status); // and the first is the one that works
        }

        [Theory]
        [InlineData("", 1, "name")]
        [InlineData("   ", 1, "name")]
        [InlineData("line\nbreak", 1, "name")]
        [InlineData("LONG", 1, "name")]
        [InlineData("Key", 0, "expiry")]
        [InlineData("Key", -1, "expiry")]
        [InlineData("Key", 3654, "expiry")]
        public async Task What_is_out_of_bounds_is_refused_with_the_field_named(string name, int days, string field)
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var wanted = new NewKey(
                KeyFormat.NewId(),
                name == "LONG" ? new string('x', 101) : name,
                server.Clock.GetUtcNow().AddDays(days),
                NameSet.All
            );
            var refusal = (await server.Keys.GenerateAsync(Actor.Session(acme.Owner), acme.Root, wanted)).Refusal!;
            Assert.Equal(RefusalCode.InvalidRequest, refusal.Code);
            Assert.StartsWith($"{field}:", refusal.Description);
        }

        [Fact]
        public async Task A_scope_that_is_not_in_the_catalogue_is_refused()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            Assert.Equal(
                RefusalCode.InvalidScope,
                (await server.Keys.GenerateAsync(Actor.Session(acme.Owner), acme.Root, AKey() with { Scopes = NameSet.Of("admin") }))
                    .Refusal!
                    .Code
            );
        }

        [Fact]
        public async Task A_member_holds_so_many_keys_and_no_more()
        {
            await using var server = await TestServer.StartAsync("--Pakhouse:KeysPerMemberMax=3");
            var acme = await server.AddAcmeAsync();
            var keys = new List<string>();
            for (var i = 0; i < 3; i++)
                keys.Add(await server.AddKeyAsync(acme.Owner, acme.Root));
            Assert.Equal(
                RefusalCode.Conflict,
                (await server.Keys.GenerateAsync(Actor.Session(acme.Owner), acme.Root, AKey())).Refusal!.Code
            );
            await server.Keys.DeleteAsync(Actor.Session(acme.Owner), acme.Root, TestServer.IdOf(keys[0]));
            Assert.False((await server.Keys.GenerateAsync(Actor.Session(acme.Owner), acme.Root, AKey())).IsRefused);
        }

        [Fact]
        public async Task The_limit_holds_for_requests_that_come_at_once()
        {
            await using var server = await TestServer.StartAsync("--Pakhouse:KeysPerMemberMax=5");
            var acme = await server.AddAcmeAsync();
            var outcomes = await Task.WhenAll(
                Enumerable.Range(0, 30).Select(_ => Task.Run(() => server.Keys.GenerateAsync(Actor.Session(acme.Owner), acme.Root, AKey())))
            );
            Assert.Equal(5, outcomes.Count(outcome => !outcome.IsRefused));
        }

        [Fact]
        public async Task The_brand_is_the_deployments_and_keys_of_an_earlier_brand_go_on_working()
        {
            var first = await TestServer.StartAsync("--Pakhouse:Brand=acme");
            var acme = await first.AddAcmeAsync();
            var key = await first.AddKeyAsync(acme.Owner, acme.Root);
            Assert.StartsWith("acme_pak1_", key);
            await first.StopAsync();
            await using var second = await TestServer.StartOnAsync(first.Place, first.Clock, "--Pakhouse:Brand=newname");
            Assert.Equal(HttpStatusCode.OK, (await second.ExchangeAsync(key)).Status);
        }
    }

    public class Listing
    {
        [Fact]
        public async Task Several_keys_of_one_member_are_listed_newest_first_and_nobody_elses()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var other = await server.AddMemberAsync(acme.Root);
            await server.AddKeyAsync(other, acme.Root);
            var ids = new List<string>();
            for (var i = 0; i < 3; i++)
            {
                ids.Add(TestServer.IdOf(await server.AddKeyAsync(acme.Owner, acme.Root)));
                server.Clock.Advance(TimeSpan.FromSeconds(1));
            }

            var listed = (await server.Keys.ListAsync(Actor.Session(acme.Owner), acme.Root)).Value;
            Assert.Equal(Enumerable.Reverse(ids), listed.Select(key => key.Id));
        }

        [Fact]
        public void The_name_offered_is_the_first_number_that_is_free()
        {
            Assert.Equal("Key 1", Server.Keys.SuggestName([]));
            Assert.Equal("Key 2", Server.Keys.SuggestName([new KeyEntry { Name = "Key 1" }, new KeyEntry { Name = "Key 3" }]));
        }
    }

    public class Deleting
    {
        [Fact]
        public async Task Nobody_deletes_the_key_of_somebody_else_or_learns_that_it_exists()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var other = await server.AddMemberAsync(acme.Root, "owner");
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            var theirs = (await server.Keys.DeleteAsync(Actor.Session(other), acme.Root, TestServer.IdOf(key))).Refusal;
            var unknown = (await server.Keys.DeleteAsync(Actor.Session(other), acme.Root, KeyFormat.NewId())).Refusal;
            Assert.Equal(RefusalCode.NotFound, theirs!.Code);
            Assert.Equal(unknown, theirs);
            Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(key)).Status);
        }

        [Fact]
        public async Task The_operator_ends_a_key_whoever_holds_it_and_nobody_else_can()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            Assert.Equal(
                RefusalCode.AccessDenied,
                (await server.Keys.DeleteByOperatorAsync(Actor.Session(acme.Owner), TestServer.IdOf(key))).Refusal!.Code
            );
            Assert.False((await server.Keys.DeleteByOperatorAsync(Actor.Operator, TestServer.IdOf(key))).IsRefused);
            Assert.Equal(HttpStatusCode.Unauthorized, (await server.ExchangeAsync(key)).Status);
            Assert.Equal(
                RefusalCode.NotFound,
                (await server.Keys.DeleteByOperatorAsync(Actor.Operator, TestServer.IdOf(key))).Refusal!.Code
            );
        }

        [Fact]
        public async Task A_key_is_deleted_in_its_own_organization_only()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            await server.Members.AddAsync(Actor.Operator, acme.Sub, acme.Owner, NameSet.Empty);
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            Assert.Equal(
                RefusalCode.NotFound,
                (await server.Keys.DeleteAsync(Actor.Session(acme.Owner), acme.Sub, TestServer.IdOf(key))).Refusal!.Code
            );
        }
    }

    public class Recording
    {
        [Fact]
        public async Task Each_change_writes_one_activity_row_without_a_secret()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            await server.Keys.DeleteAsync(Actor.Session(acme.Owner, IPAddress.Parse("198.51.100.7")), acme.Root, TestServer.IdOf(key));
            var rows = (
                await server
                    .Get<Database>()
                    .ReadAsync(connection =>
                        connection.QueryAsync<(string Action, string Target, string User, string? Address)>(
                            "SELECT action, target, actor_user_id, address FROM activity WHERE action LIKE 'PAT%' ORDER BY action"
                        )
                    )
            ).ToList();
            Assert.Equal(
                [
                    ("PAT Create", TestServer.IdOf(key), acme.Owner.ToString(), null),
                    ("PAT Revoke", TestServer.IdOf(key), acme.Owner.ToString(), "198.51.100.7"),
                ],
                rows
            );
        }

        [Fact]
        public async Task A_change_whose_row_cannot_be_written_does_not_happen()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            await server.BreakInsertsAsync("activity");
            await Assert.ThrowsAnyAsync<DbException>(() =>
                server.Keys.DeleteAsync(Actor.Session(acme.Owner), acme.Root, TestServer.IdOf(key))
            );
            Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(key)).Status);
        }

        [Theory, InlineData("UPDATE activity SET action = 'x'"), InlineData("DELETE FROM activity")]
        public async Task The_record_cannot_be_changed(string sql)
        {
            await using var server = await TestServer.StartAsync();
            await server.AddAcmeAsync();
            var e = await Assert.ThrowsAnyAsync<DbException>(() => server.ExecuteAsync(sql));
            Assert.Contains("append-only", e.Message, StringComparison.Ordinal);
        }
    }

    public class Use
    {
        [Fact]
        public async Task An_exchange_writes_nothing_before_it_answers_and_the_flush_writes_once()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            string[] tables = ["key_use_hours", "activity"];
            foreach (var table in tables)
                await server.BreakInsertsAsync(table);
            for (var i = 0; i < 25; i++)
                Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(key, i % 2 == 0 ? acme.Sub : null)).Status);
            await Assert.ThrowsAnyAsync<DbException>(server.Get<KeyUsage>().FlushAsync); // a write would have been found

            foreach (var table in tables)
                await server.MendInsertsAsync(table);
            await server.Get<KeyUsage>().FlushAsync();
            var entry = (await server.Keys.ListAsync(Actor.Session(acme.Owner), acme.Root)).Value.Single();
            Assert.Equal(server.Clock.GetUtcNow(), entry.LastUsedAt);
            Assert.Equal("127.0.0.1", entry.LastUsedAddress);
            Assert.Equal(25, await CountAsync(server));
        }

        [Fact]
        public async Task The_timer_flushes()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            await server.ExchangeAsync(await server.AddKeyAsync(acme.Owner, acme.Root));
            await Eventually.TrueAsync(async () =>
            {
                server.Clock.Advance(TimeSpan.FromSeconds(5));
                return await CountAsync(server) == 1;
            });
        }

        [Fact]
        public async Task An_orderly_stop_loses_no_count()
        {
            var first = await TestServer.StartAsync();
            var acme = await first.AddAcmeAsync();
            await first.ExchangeAsync(await first.AddKeyAsync(acme.Owner, acme.Root));
            await first.StopAsync();
            await using var second = await TestServer.StartOnAsync(first.Place, first.Clock);
            Assert.Equal(1, await CountAsync(second));
        }

        [Fact]
        public async Task Counts_that_could_not_be_written_are_written_later_and_none_twice()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            await server.BreakInsertsAsync("key_use_hours");
            await server.ExchangeAsync(key);
            await Assert.ThrowsAnyAsync<DbException>(server.Get<KeyUsage>().FlushAsync);
            await server.ExchangeAsync(key);
            await server.MendInsertsAsync("key_use_hours");
            await server.Get<KeyUsage>().FlushAsync();
            await server.Get<KeyUsage>().FlushAsync();
            Assert.Equal(2, await CountAsync(server));
        }

        [Fact]
        public async Task Counts_fall_into_the_hour_of_their_use()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            await server.ExchangeAsync(key);
            server.Get<KeyUsage>().Record(TestServer.IdOf(key), acme.Root.ToString(), server.Clock.GetUtcNow().AddHours(1), null, null);
            await server.Get<KeyUsage>().FlushAsync();
            Assert.Equal(
                2,
                await server
                    .Get<Database>()
                    .ReadAsync(connection => connection.ExecuteScalarAsync<long>("SELECT COUNT(*) FROM key_use_hours WHERE count = 1"))
            );
        }

        [Fact]
        public async Task The_last_use_is_the_latest_in_whatever_order_uses_are_counted()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var id = TestServer.IdOf(await server.AddKeyAsync(acme.Owner, acme.Root));
            var now = server.Clock.GetUtcNow();
            var use = server.Get<KeyUsage>();
            foreach (var (seconds, address) in ((int, string)[])[(20, "198.51.100.7"), (0, "203.0.113.5"), (10, "198.51.100.9")])
                use.Record(id, acme.Root.ToString(), now.AddSeconds(seconds), IPAddress.Parse(address), null);
            await use.FlushAsync();
            var entry = (await server.Keys.ListAsync(Actor.Session(acme.Owner), acme.Root)).Value.Single();
            Assert.Equal(now.AddSeconds(20), entry.LastUsedAt);
            Assert.Equal("198.51.100.7", entry.LastUsedAddress);
            Assert.Equal(3, await CountAsync(server));
        }

        [Fact]
        public async Task A_long_user_agent_is_not_kept_until_the_flush()
        {
            await using var server = await TestServer.StartAsync();
            var use = server.Get<KeyUsage>();
            var held = new List<string>();
            Assert.True(IsKept(Hold(held.Add))); // the control: what is held is found
            GC.KeepAlive(held);
            Assert.False(IsKept(Hold(text => use.Record("0123456789abcdef", "", server.Clock.GetUtcNow(), null, text))));
            Assert.False(IsKept(Hold(text => use.RecordLate("0123456789abcdef", server.Clock.GetUtcNow(), null, text))));

            [System.Runtime.CompilerServices.MethodImpl(System.Runtime.CompilerServices.MethodImplOptions.NoInlining)]
            static WeakReference Hold(Action<string> count)
            {
                var text = new string('x', 30_000);
                count(text);
                return new WeakReference(text);
            }

            static bool IsKept(WeakReference text)
            {
                GC.Collect();
                return text.IsAlive;
            }
        }

        [Fact]
        public async Task A_key_sent_as_the_user_agent_is_withheld()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            using var request = new HttpRequestMessage(HttpMethod.Post, new Uri($"{server.Address}/auth/v3/token"))
            {
                Content = new FormUrlEncodedContent([new("pat", key)]),
            };
            request.Headers.TryAddWithoutValidation("User-Agent", $"curl {key}");
            using var response = await server.Http.SendAsync(request);
            await server.Get<KeyUsage>().FlushAsync();
            Assert.Equal(
                "(withheld because it contained a key)",
                (await server.Keys.ListAsync(Actor.Session(acme.Owner), acme.Root)).Value.Single().LastUsedUserAgent
            );
        }

        private static Task<long> CountAsync(TestServer server) =>
            server
                .Get<Database>()
                .ReadAsync(connection =>
                    connection.ExecuteScalarAsync<long>("SELECT CAST(COALESCE(SUM(count), 0) AS BIGINT) FROM key_use_hours")
                );
    }

    private static NewKey AKey() => new(KeyFormat.NewId(), "Key 1", null, NameSet.All);
}

/// <summary>
/// Waits for something that another thread does, by asking again; fails after a generous while. The clock is the test's, so nothing is
/// timed.
/// </summary>
internal static class Eventually
{
    public static async Task TrueAsync(Func<Task<bool>> condition)
    {
        for (var attempt = 0; attempt < 2000; attempt++)
        {
            if (await condition()) return;
            await Task.Yield();
        }

        Assert.Fail("It did not happen.");
    }
}
