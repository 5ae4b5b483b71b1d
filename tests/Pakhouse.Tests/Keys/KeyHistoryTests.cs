using System.Net;
using Dapper;

namespace Pakhouse.Tests;

/// <summary>Use is visible: when, from where, how often, and after the end.</summary>
public static class KeyHistoryTests
{
    public class Networks
    {
        [Theory]
        [InlineData("198.51.100.7", "198.51.100.0/24")]
        [InlineData("198.51.100.255", "198.51.100.0/24")]
        [InlineData("198.51.101.0", "198.51.101.0/24")]
        [InlineData("0.0.0.0", "0.0.0.0/24")]
        [InlineData("255.255.255.255", "255.255.255.0/24")]
        [InlineData("::ffff:198.51.100.7", "198.51.100.0/24")] // the same caller on a socket for both families
        [InlineData("2001:db8:7:1::1", "2001:db8:7::/48")]
        [InlineData("2001:db8:7:ffff:ffff:ffff:ffff:ffff", "2001:db8:7::/48")]
        [InlineData("2001:db8:8::1", "2001:db8:8::/48")]
        [InlineData("::1", "::/48")]
        [InlineData("fe80::1%3", "fe80::/48")]
        public void IPv4_is_told_apart_by_24_bits_and_IPv6_by_48(string address, string network) =>
            Assert.Equal(network, KeyNetwork.Of(IPAddress.Parse(address)).ToString());

        [Fact]
        public void A_caller_without_an_address_has_no_network()
        {
            Assert.False(KeyNetwork.Of(null).IsKnown);
            Assert.True(KeyNetwork.Of(IPAddress.Any).IsKnown);
        }

        [Fact]
        public async Task The_first_use_from_a_new_network_is_marked_once_and_another_address_of_it_is_none()
        {
            await using var server = await TestServer.StartAsync();
            var (acme, id) = await AKeyAsync(server);
            await UseAsync(server, acme, id, "198.51.100.7");
            await UseAsync(server, acme, id, "198.51.100.8");
            Assert.Equal(["198.51.100.0/24"], (await ReadAsync(server, acme, id)).Networks.Select(one => one.Network));
            Assert.DoesNotContain(await ChipsAsync(server, acme), chip => chip == "new network"); // the first is no change

            server.Clock.Advance(TimeSpan.FromMinutes(1));
            var at = server.Clock.GetUtcNow();
            await UseAsync(server, acme, id, "2001:db8:7::1", "198.51.100.7");
            var networks = (await ReadAsync(server, acme, id)).Networks;
            Assert.Equal(["2001:db8:7::/48", "198.51.100.0/24"], networks.Select(one => one.Network));
            Assert.Equal(at, networks[0].FirstUsedAt);
            Assert.Contains(await ChipsAsync(server, acme), chip => chip == "new network");

            server.Clock.Advance(TimeSpan.FromDays(8));
            await UseAsync(server, acme, id, "2001:db8:7::1");
            Assert.DoesNotContain(await ChipsAsync(server, acme), chip => chip == "new network");
            Assert.Equal(server.Clock.GetUtcNow(), (await ReadAsync(server, acme, id)).Networks[0].LastUsedAt);
        }

        [Fact]
        public async Task Of_a_key_that_changes_its_network_all_the_time_so_many_are_kept_and_no_more()
        {
            await using var server = await TestServer.StartAsync();
            var (acme, id) = await AKeyAsync(server);
            for (var round = 0; round < 3; round++)
                await UseAsync(server, acme, id, [.. Enumerable.Range(0, KeyUsage.NetworksMax).Select(i => $"10.{round}.{i}.1")]);
            Assert.Equal(KeyUsage.NetworksMax, (await ReadAsync(server, acme, id)).Networks.Count);
            Assert.Equal(3 * KeyUsage.NetworksMax, (await ReadAsync(server, acme, id)).Hours.Sum(hour => hour.Count));
        }

        [Fact]
        public async Task Two_processes_that_see_one_network_write_it_once()
        {
            var first = await TestServer.StartAsync();
            await using var second = await TestServer.StartOnAsync(first.Place, first.Clock);
            var (acme, id) = await AKeyAsync(first);
            Count(first, acme, id, "198.51.100.7");
            Count(second, acme, id, "198.51.100.9");
            await Task.WhenAll(first.Get<KeyUsage>().FlushAsync(), second.Get<KeyUsage>().FlushAsync());
            var read = await ReadAsync(first, acme, id);
            Assert.Single(read.Networks);
            Assert.Equal(2, read.Hours.Single().Count);
            await first.StopAsync();
        }

        [Fact]
        public async Task A_flush_writes_one_row_a_key_however_often_it_was_used()
        {
            await using var server = await TestServer.StartAsync();
            var (acme, id) = await AKeyAsync(server);
            await UseAsync(server, acme, id, "198.51.100.7");
            await CountWritesAsync(server);
            await UseAsync(server, acme, id, [.. Enumerable.Repeat("198.51.100.7", 50)]);
            Assert.Equal(1, await server.ScalarAsync<long>("SELECT COUNT(*) FROM writes"));

            // Control: a network that is new to it is one more.
            await UseAsync(server, acme, id, "203.0.113.7");
            Assert.Equal(3, await server.ScalarAsync<long>("SELECT COUNT(*) FROM writes"));
        }

        private static async Task CountWritesAsync(TestServer server)
        {
            await server.ExecuteAsync($"CREATE TABLE {(TestDatabase.IsPostgres ? "" : "usage.")}writes (n BIGINT)");
            foreach (
                var (table, when) in ((string, string)[])
                    [("key_use_hours", "INSERT"), ("key_use_hours", "UPDATE"), ("key_networks", "INSERT"), ("key_networks", "UPDATE")]
            )
                await server.ExecuteAsync(
                    TestDatabase.IsPostgres
                        ? $"CREATE OR REPLACE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO writes VALUES (1); "
                            + $"RETURN NULL; END $$; CREATE TRIGGER note_{table}_{when} AFTER {when} ON {table} FOR EACH ROW EXECUTE "
                            + $"FUNCTION note()"
                        : $"CREATE TRIGGER usage.note_{table}_{when} AFTER {when} ON {table} BEGIN INSERT INTO writes VALUES (1); END"
                );
        }
    }

    public class Reading
    {
        [Fact]
        public async Task The_holder_sees_counts_by_the_hour_the_last_use_and_the_organization_it_was_for()
        {
            await using var server = await TestServer.StartAsync("--Pakhouse:TrustedProxies=127.0.0.1");
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            await ExchangeFromAsync(server, key, "203.0.113.7", "build/1.0");
            server.Clock.Advance(TimeSpan.FromHours(1));
            await ExchangeFromAsync(server, key, "203.0.113.8", "build/1.1");
            await ExchangeFromAsync(server, key, "203.0.113.8", "build/1.1", acme.Sub);
            await server.Get<KeyUsage>().FlushAsync();

            var read = await ReadAsync(server, acme, TestServer.IdOf(key));
            Assert.Equal(
                [
                    new UseHour(DateTimeOffset.Parse("2026-11-02T09:00:00Z"), 1),
                    new UseHour(DateTimeOffset.Parse("2026-11-02T10:00:00Z"), 2),
                ],
                read.Hours
            );
            Assert.Equal(
                ("203.0.113.8", "build/1.1", server.Clock.GetUtcNow()),
                (read.Key.LastUsedAddress, read.Key.LastUsedUserAgent, read.Key.LastUsedAt)
            );
            Assert.Equal((acme.Sub, "Mobile"), (read.LastUsedFor, read.LastUsedForName));
            Assert.Equal(["203.0.113.0/24"], read.Networks.Select(one => one.Network));
            Assert.True(read.IsOwn);
        }

        [Fact]
        public async Task Owners_and_managers_see_the_use_of_a_members_key_and_other_members_do_not_learn_that_it_exists()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var (holder, manager, other) = (
                await server.AddMemberAsync(acme.Root),
                await server.AddMemberAsync(acme.Root, "organization-manager"),
                await server.AddMemberAsync(acme.Root)
            );
            var id = TestServer.IdOf(await server.AddKeyAsync(holder, acme.Root));
            var history = server.Get<KeyHistory>();
            foreach (var leader in (Guid[])[acme.Owner, manager])
                Assert.False((await history.ReadAsync(Actor.Session(leader), acme.Root, id)).Value.IsOwn);
            Assert.True((await history.ReadAsync(Actor.Session(holder), acme.Root, id)).Value.IsOwn);

            var theirs = (await history.ReadAsync(Actor.Session(other), acme.Root, id)).Refusal!;
            Assert.Equal((await history.ReadAsync(Actor.Session(other), acme.Root, KeyFormat.NewId())).Refusal, theirs);
            Assert.Equal(RefusalCode.NotFound, theirs.Code);
            // by another organization's address
            Assert.Equal(RefusalCode.NotFound, (await history.ReadAsync(Actor.Session(acme.Owner), acme.Sub, id)).Refusal!.Code);
            Assert.Equal(
                RefusalCode.NotFound,
                (await history.ReadAsync(Actor.Session(await server.AddUserAsync()), acme.Root, id)).Refusal!.Code
            );
        }
    }

    public class AfterTheEnd
    {
        [Theory, InlineData("deleted"), InlineData("expired")]
        public async Task Use_of_a_key_that_ended_by_who_proves_it_is_counted_and_shown(string end)
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root, TimeSpan.FromHours(1));
            if (end == "deleted")
                await server.Keys.DeleteAsync(Actor.Session(acme.Owner), acme.Root, TestServer.IdOf(key));
            else
                server.Clock.Advance(TimeSpan.FromHours(1));
            for (var i = 0; i < 3; i++)
                Assert.Contains(end, (await server.ExchangeAsync(key)).Description, StringComparison.Ordinal);
            await server.ExchangeAsync(ForgedOf(key)); // right id, wrong secret: proves nothing, counts nothing
            await server.Get<KeyUsage>().FlushAsync();
            server.Clock.Advance(TimeSpan.FromHours(1));
            await server.ExchangeAsync(key);
            await server.Get<KeyUsage>().FlushAsync();

            var read = await ReadAsync(server, acme, TestServer.IdOf(key));
            Assert.Equal(
                (4, "127.0.0.1", server.Clock.GetUtcNow(), server.Clock.GetUtcNow().AddHours(-1)),
                (read.AfterEnd!.Count, read.AfterEnd.Address, read.AfterEnd.LastAt, read.AfterEnd.FirstAt)
            );
            Assert.Empty(read.Hours);
            if (end == "expired")
                Assert.Contains("used after its end", await ChipsAsync(server, acme));
        }

        [Fact]
        public async Task Counts_that_could_not_be_written_are_written_later()
        {
            await using var server = await TestServer.StartAsync();
            var (acme, id) = await AKeyAsync(server);
            var use = server.Get<KeyUsage>();
            await server.BreakInsertsAsync("key_late_uses");
            use.RecordLate(id, server.Clock.GetUtcNow(), null, null);
            await Assert.ThrowsAnyAsync<System.Data.Common.DbException>(use.FlushAsync);
            use.RecordLate(id, server.Clock.GetUtcNow(), null, null);
            await server.MendInsertsAsync("key_late_uses");
            await use.FlushAsync();
            await use.FlushAsync();
            Assert.Equal(2, (await ReadAsync(server, acme, id)).AfterEnd!.Count);
        }
    }

    public class Forgetting
    {
        [Fact]
        public async Task Hours_and_networks_are_kept_for_90_days_and_the_last_use_for_good()
        {
            await using var server = await TestServer.StartAsync();
            var (acme, id) = await AKeyAsync(server);
            var (_, idle) = (0, TestServer.IdOf(await server.AddKeyAsync(acme.Owner, acme.Root)));
            var start = server.Clock.GetUtcNow();
            await UseAsync(server, acme, id, "198.51.100.7");
            await UseAsync(server, acme, idle, "198.51.100.7");
            server.Clock.Advance(TimeSpan.FromHours(1));
            await UseAsync(server, acme, id, "198.51.100.7");
            await server.Get<KeyHistoryJob>().RunAsync();
            Assert.Equal(3, await server.ScalarAsync<long>("SELECT COUNT(*) FROM key_use_hours"));

            server.Clock.Advance(KeyHistory.Kept);
            await server.Get<KeyHistoryJob>().RunAsync();
            await server.Get<KeyHistoryJob>().RunAsync();
            Assert.Equal(2, await server.ScalarAsync<long>("SELECT COUNT(*) FROM key_use_hours")); // the newest of each
            Assert.Equal(start, (await ReadAsync(server, acme, idle)).Key.LastUsedAt);
            Assert.Empty((await ReadAsync(server, acme, idle)).Hours);
            Assert.Equal(2, await server.ScalarAsync<long>("SELECT COUNT(*) FROM key_networks"));

            server.Clock.Advance(TimeSpan.FromDays(1));
            await server.Get<KeyHistoryJob>().RunAsync();
            Assert.Equal(0, await server.ScalarAsync<long>("SELECT COUNT(*) FROM key_networks"));
        }
    }

    /// <summary>The same key with another secret, check digits right.</summary>
    internal static string ForgedOf(string key)
    {
        var forged = KeyFormat.Create(key.Split('_')[0], TestServer.IdOf(key));
        return System.Text.Encoding.ASCII.GetString(forged);
    }

    private static async Task<(Acme Acme, string Id)> AKeyAsync(TestServer server)
    {
        var acme = await server.AddAcmeAsync();
        return (acme, TestServer.IdOf(await server.AddKeyAsync(acme.Owner, acme.Root)));
    }

    private static void Count(TestServer server, Acme acme, string keyId, params string[] addresses)
    {
        foreach (var address in addresses)
            server.Get<KeyUsage>().Record(keyId, acme.Root.ToString(), server.Clock.GetUtcNow(), IPAddress.Parse(address), "agent");
    }

    private static Task UseAsync(TestServer server, Acme acme, string keyId, params string[] addresses)
    {
        Count(server, acme, keyId, addresses);
        return server.Get<KeyUsage>().FlushAsync();
    }

    private static async Task<KeyRecord> ReadAsync(TestServer server, Acme acme, string keyId) =>
        (await server.Get<KeyHistory>().ReadAsync(Actor.Session(acme.Owner), acme.Root, keyId)).Value;

    private static async Task<List<string>> ChipsAsync(TestServer server, Acme acme) =>
        [
            .. (await server.Keys.ListAsync(Actor.Session(acme.Owner), acme.Root))
                .Value.SelectMany(key => KeyBadge.Of(key, server.Clock.GetUtcNow()))
                .Select(chip => chip.Text),
        ];

    private static async Task ExchangeFromAsync(
        TestServer server,
        string key,
        string address,
        string userAgent,
        Guid? subOrganization = null
    )
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, new Uri($"{server.Address}/auth/v3/token"))
        {
            Content = new FormUrlEncodedContent([new("personalAccessKey", key), new("subOrganization", subOrganization?.ToString() ?? "")]),
        };
        request.Headers.Add("X-Forwarded-For", address);
        request.Headers.TryAddWithoutValidation("User-Agent", userAgent);
        using var response = await server.Http.SendAsync(request);
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
    }
}
