using System.Diagnostics;

namespace Pakhouse.Tests;

public static class MembersTests
{
    public class Leaving
    {
        [Fact]
        public async Task Ends_the_membership_and_its_keys_and_nothing_else()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var user = await server.AddMemberAsync(acme.Root, "builder");
            await server.Members.AddAsync(Actor.Operator, acme.Sub, user, NameSet.Empty);
            var (rootKey, subKey) = (await server.AddKeyAsync(user, acme.Root), await server.AddKeyAsync(user, acme.Sub));

            Assert.False((await server.Members.LeaveAsync(Actor.Session(user), acme.Root)).IsRefused);
            Assert.Equal(401, (int)(await server.ExchangeAsync(rootKey)).Status);
            Assert.Equal(200, (int)(await server.ExchangeAsync(subKey)).Status);
            Assert.Equal(
                "builder",
                await server.ScalarAsync<string>(
                    $"SELECT detail FROM activity WHERE action = 'Member Leave' AND subject_user_id = '{user}' AND actor_user_id = '{user}'"
                )
            );
        }

        [Fact]
        public async Task Is_not_for_the_last_owner_an_inherited_member_or_a_key()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            Assert.Equal(RefusalCode.Conflict, (await server.Members.LeaveAsync(Actor.Session(acme.Owner), acme.Root)).Refusal!.Code);
            Assert.Equal(RefusalCode.AccessDenied, (await server.Members.LeaveAsync(Actor.Session(acme.Owner), acme.Sub)).Refusal!.Code);
            var user = await server.AddMemberAsync(acme.Root);
            Assert.Equal(
                RefusalCode.AccessDenied,
                (await server.Members.LeaveAsync(Actor.Key(user, "0000000000000000", TestServer.EveryScope), acme.Root)).Refusal!.Code
            );
        }
    }

    public class R8_Two_owners_at_once
    {
        /// <summary>Each takes the other, or both themselves, away: one of them succeeds, whatever the order, and an owner stays.</summary>
        [Theory]
        [InlineData("remove")]
        [InlineData("demote")]
        [InlineData("leave")]
        public async Task One_stays(string how)
        {
            await using var server = await TestServer.StartAsync();
            var first = await server.AddUserAsync();
            for (var round = 0; round < 5; round++)
            {
                var root = (await server.Organizations.CreateRootAsync(Actor.Operator, $"Acme {round}", first)).Value;
                var second = await server.AddMemberAsync(root, "owner");
                var outcomes = await Task.WhenAll(
                    Enumerable.Select<(Guid By, Guid Whom), Task<Outcome<bool>>>(
                        [(first, second), (second, first)],
                        pair =>
                            Task.Run(() =>
                                how switch
                                {
                                    "remove" => server.Members.RemoveAsync(Actor.Session(pair.By), root, pair.Whom),
                                    "demote" => server.Members.SetRolesAsync(Actor.Session(pair.By), root, pair.Whom, NameSet.Of("viewer")),
                                    _ => server.Members.LeaveAsync(Actor.Session(pair.By), root),
                                }
                            )
                    )
                );
                Assert.Single(outcomes, outcome => !outcome.IsRefused);
                Assert.Equal(
                    1,
                    await server.ScalarAsync<long>(
                        $"SELECT COUNT(*) FROM memberships WHERE organization_id = '{root}' AND ended_at IS NULL AND roles = 'owner'"
                    )
                );
            }
        }

        [Fact]
        public async Task A_service_user_with_the_role_is_no_owner_who_could_stay()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            await OrganizationsTests.ServiceAsync(server, acme.Root);
            Assert.Equal(RefusalCode.Conflict, (await server.Members.LeaveAsync(Actor.Session(acme.Owner), acme.Root)).Refusal!.Code);
        }
    }

    public class Adding
    {
        /// <summary>The attack: make somebody a member who never agreed, or find out by an id who has an account.</summary>
        [Fact]
        public async Task Somebody_from_elsewhere_is_not_added_and_not_told_from_nobody()
        {
            await using var server = await TestServer.StartAsync();
            var (acme, stranger) = (await server.AddAcmeAsync(), await server.AddUserAsync());
            var owner = Actor.Session(acme.Owner);
            var refusal = (await server.Members.AddAsync(owner, acme.Root, stranger, NameSet.Empty)).Refusal;
            Assert.Equal(RefusalCode.NotFound, refusal!.Code);
            Assert.Equal(refusal, (await server.Members.AddAsync(owner, acme.Root, Ids.New(server.Clock), NameSet.Empty)).Refusal);
        }

        [Fact]
        public async Task An_inherited_member_becomes_a_direct_one_and_one_from_below_a_member_of_the_root()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var owner = Actor.Session(acme.Owner);
            var (above, below) = (await server.AddMemberAsync(acme.Root), await server.AddMemberAsync(acme.Sub));
            Assert.False((await server.Members.AddAsync(owner, acme.Sub, above, NameSet.Of("builder"))).IsRefused);
            Assert.True((await server.Members.FindAsync(owner, acme.Root, below)).Value.IsOnlyInSubOrganization);
            Assert.False((await server.Members.AddAsync(owner, acme.Root, below, NameSet.Empty)).IsRefused);
            Assert.False((await server.Members.FindAsync(owner, acme.Root, below)).Value.IsOnlyInSubOrganization);
        }
    }

    public class Listing
    {
        [Fact]
        public async Task Pages_hold_everybody_once_in_the_order_of_names_also_where_some_are_inherited()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            await FillAsync(server, acme.Root, 70, "root");
            await FillAsync(server, acme.Sub, 60, "sub");
            await server.ExecuteAsync(
                $"INSERT INTO memberships (id, organization_id, user_id, roles, created_at) SELECT 'b' || SUBSTR(id, 2), '{acme.Sub}', "
                    + $"id, 'viewer', 0 FROM users WHERE id LIKE '%-00000000000_' AND name LIKE 'root%'"
            );
            await OrganizationsTests.ServiceAsync(server, acme.Sub);

            var seen = new List<Member>();
            for (Guid? after = null; ;)
            {
                var page = (await server.Members.PageAsync(Actor.Session(acme.Owner), acme.Sub, after: after)).Value;
                Assert.InRange(page.Members.Count, 1, Members.PageSize);
                seen.AddRange(page.Members);
                if ((after = page.Next) is null) break;
            }

            Assert.Equal(131, seen.Count);
            Assert.Equal(131, seen.DistinctBy(member => member.UserId).Count());
            Assert.Equal(
                seen.Select(member => member.Name.ToUpperInvariant()).Order(StringComparer.Ordinal),
                seen.Select(member => member.Name.ToUpperInvariant())
            );
            Assert.Equal(71 - 9, seen.Count(member => member.IsInherited));
            Assert.Equal(
                seen.Select(member => member.UserId),
                (await server.Members.ListAsync(Actor.Session(acme.Owner), acme.Sub)).Value.Select(member => member.UserId)
            );
        }

        [Fact]
        public async Task Of_a_root_the_list_can_hold_people_who_are_only_below()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var below = await server.AddMemberAsync(acme.Sub, "builder");
            var owner = Actor.Session(acme.Owner);
            Assert.Equal([acme.Owner], (await server.Members.ListAsync(owner, acme.Root)).Value.Select(member => member.UserId));
            var found = (await server.Members.ListAsync(owner, acme.Root, below: true)).Value.Single(member => member.UserId == below);
            Assert.True(found.IsOnlyInSubOrganization);
            Assert.False(found.IsInherited);
            Assert.Empty(found.EffectiveRoles);
        }

        [Theory]
        [InlineData("lovelace", 1)]
        [InlineData("ADA love", 1)]
        [InlineData("acme.example ada", 1)]
        [InlineData("person2@acme.example", 1)]
        [InlineData("Person2@ lovelace", 1)]
        [InlineData("person2@ şahin", 0)]
        [InlineData("@acme", 3)]
        [InlineData("özgür", 1)]
        [InlineData("ÖZGÜR", 1)]
        [InlineData("%", 0)]
        [InlineData("_", 0)]
        [InlineData("' OR 1=1 --", 0)]
        [InlineData("person", 3)]
        [InlineData("  ", 3)]
        public async Task A_search_finds_words_in_names_and_addresses_and_takes_nothing_for_a_pattern(string search, int expected)
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            foreach (var name in (string[])["Ada Lovelace", "Özgür Şahin"])
                await server.Members.AddAsync(Actor.Operator, acme.Root, await server.AddUserAsync(name), NameSet.Empty);
            Assert.Equal(expected, (await server.Members.PageAsync(Actor.Session(acme.Owner), acme.Root, search)).Value.Members.Count);
        }

        [Fact]
        public async Task A_new_name_moves_its_person_and_an_ended_membership_keeps_none()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var user = await server.AddMemberAsync(acme.Root);
            await server.ExecuteAsync($"UPDATE users SET name = 'Zoe' WHERE id = '{user}'");
            Assert.Equal(user, (await server.Members.PageAsync(Actor.Session(acme.Owner), acme.Root, "zoe")).Value.Members.Single().UserId);
            await server.Users.DeleteAsync(Actor.Operator, user);
            Assert.Equal(
                0,
                await server.ScalarAsync<long>($"SELECT COUNT(*) FROM memberships WHERE user_id = '{user}' AND listed_as IS NOT NULL")
            );
        }

        [Fact]
        public async Task Changed_roles_are_recorded_before_and_after()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var user = await server.AddMemberAsync(acme.Root, "viewer");
            await server.Members.SetRolesAsync(Actor.Session(acme.Owner), acme.Root, user, NameSet.Of("builder", "tester"));
            Assert.Equal(
                "viewer → builder tester",
                await server.ScalarAsync<string>(
                    $"SELECT detail FROM activity WHERE action = 'Member Role Update' AND subject_user_id = '{user}'"
                )
            );
        }
    }

    public class With_ten_thousand_members_and_a_thousand_sub_organizations
    {
        /// <summary>
        /// The quickest of interleaved rounds, because other programs run beside the test; half as slow again as the rule allows.
        /// </summary>
        [Fact]
        public async Task Lists_and_exchanges_stay_as_quick_as_with_few()
        {
            await using var server = await TestServer.StartAsync("--Pakhouse:SubOrganizationsMax=2000");
            var (small, large) = (await server.AddAcmeAsync(), await server.AddAcmeAsync());
            await FillAsync(server, small.Root, 50, "small");
            await FillAsync(server, large.Root, 10_000, "large");
            await server.ExecuteAsync(
                $"""
                INSERT INTO organizations (id, root_id, name, name_normalized, created_at)
                WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
                SELECT '{large.Root.ToString()[
                    ..24
                ]}' || SUBSTR('000000000000' || i, LENGTH('000000000000' || i) - 11, 12), '{large.Root}', 'Sub ' || i, 'SUB ' || i, 0 FROM n
                """
            );
            if (TestDatabase.IsPostgres)
                await server.ExecuteAsync("ANALYZE users, organizations, memberships"); // as its autovacuum does; SQLite goes without

            var (smallKey, largeKey) = (
                await server.AddKeyAsync(small.Owner, small.Root),
                await server.AddKeyAsync(large.Owner, large.Root)
            );
            var middle = Guid.Parse((await server.ScalarAsync<string>($"SELECT id FROM users WHERE name = 'large 5000'"))!);
            await RatioAsync("list", () => PageAsync(small, ""), () => PageAsync(large, ""));
            await RatioAsync(
                "a later page",
                () => PageAsync(small, ""),
                () => server.Members.PageAsync(Actor.Session(large.Owner), large.Root, after: middle)
            );
            await RatioAsync(
                "list in a sub-organization",
                () => PageAsync(small with { Root = small.Sub }, ""),
                () => PageAsync(large with { Root = large.Sub }, "")
            );
            await RatioAsync("search that finds many", () => PageAsync(small, "acme"), () => PageAsync(large, "acme"));
            await RatioAsync("exchange", () => server.ExchangeAsync(smallKey), () => server.ExchangeAsync(largeKey));
            await RatioAsync(
                "exchange for a sub-organization",
                () => server.ExchangeAsync(smallKey, small.Sub),
                () => server.ExchangeAsync(largeKey, large.Sub)
            );

            Assert.Single((await PageAsync(large, "large7777@")).Value.Members);
            await RatioAsync("search for an address", () => PageAsync(small, "small33@"), () => PageAsync(large, "large7777@"));
            // A search for one of many by name reads the names of all in the index: no constant time, and still short of a person's notice.
            Assert.Single((await PageAsync(large, "7777")).Value.Members);
            await RatioAsync("search that finds one name", () => PageAsync(small, "33"), () => PageAsync(large, "7777"), max: 30);

            Task<Outcome<MemberPage>> PageAsync(Acme acme, string search) =>
                server.Members.PageAsync(Actor.Session(acme.Owner), acme.Root, search);

            static async Task RatioAsync(string what, Func<Task> few, Func<Task> many, double max = 3)
            {
                var (fewTimes, manyTimes) = (new List<long>(), new List<long>());
                for (var round = 0; round < 25; round++)
                {
                    foreach (var (work, times) in ((Func<Task>, List<long>)[])[(few, fewTimes), (many, manyTimes)])
                    {
                        var start = Stopwatch.GetTimestamp();
                        await work();
                        times.Add(Stopwatch.GetTimestamp() - start);
                    }
                }

                var ratio = (double)manyTimes.Min() / fewTimes.Min();
                TestContext.Current.TestOutputHelper?.WriteLine(
                    $"{what}: {ratio:0.00}, {Stopwatch.GetElapsedTime(0, manyTimes.Min()).TotalMilliseconds:0.0} ms"
                );
                Assert.True(ratio < max, $"{what}: {ratio:0.00} times as long");
            }
        }
    }

    /// <summary>Many people in few statements.</summary>
    private static Task<int> FillAsync(TestServer server, Guid organization, int count, string name)
    {
        var prefix = Ids.New(server.Clock).ToString()[..24];
        return server.ExecuteAsync(
            $"""
            INSERT INTO users (id, email, email_normalized, name, security_stamp, created_at)
            WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
            SELECT '{prefix}' || SUBSTR('000000000000' || i, LENGTH('000000000000' || i) - 11, 12), '{name}' || i || '@acme.example',
                '{name.ToUpperInvariant()}' || i || '@ACME.EXAMPLE', '{name} ' || i, 'x', 0 FROM n;
            INSERT INTO memberships (id, organization_id, user_id, roles, created_at)
                SELECT 'a' || SUBSTR(id, 2), '{organization}', id, 'viewer', 0 FROM users WHERE id LIKE '{prefix}%';
            """
        );
    }
}
