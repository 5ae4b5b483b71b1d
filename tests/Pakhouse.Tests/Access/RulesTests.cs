using System.Collections.Concurrent;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using Dapper;

namespace Pakhouse.Tests;

/// <summary>The access rules of docs/protocol.md, by number, over HTTP where a token shows them.</summary>
public static class RulesTests
{
    public class R1_Effective_roles
    {
        [Fact]
        public async Task In_a_root_they_are_the_roles_held_there()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var user = await server.AddMemberAsync(acme.Root, "builder", "viewer");
            Assert.Equal(["builder", "viewer"], (await server.ExchangeAsync(await server.AddKeyAsync(user, acme.Root))).Roles);
        }

        [Fact]
        public async Task In_a_sub_organization_they_are_the_roles_held_there_and_those_held_in_its_root()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var user = await server.AddMemberAsync(acme.Root, "viewer");
            await server.Members.AddAsync(Actor.Operator, acme.Sub, user, NameSet.Of("builder", "viewer"));

            string[] expected = ["builder", "viewer"];
            // a key of the sub-organization
            Assert.Equal(expected, (await server.ExchangeAsync(await server.AddKeyAsync(user, acme.Sub))).Roles.Order());
            // a key of the root, exchanged for it
            Assert.Equal(expected, (await server.ExchangeAsync(await server.AddKeyAsync(user, acme.Root), acme.Sub)).Roles.Order());
            // and nothing flows upwards
            Assert.Equal(["viewer"], (await server.ExchangeAsync(await server.AddKeyAsync(user, acme.Root))).Roles);
        }

        [Fact]
        public async Task A_direct_membership_with_no_roles_leaves_just_the_inherited_ones()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var user = await server.AddMemberAsync(acme.Root, "viewer");
            await server.Members.AddAsync(Actor.Operator, acme.Sub, user, NameSet.Empty);
            var answer = await server.ExchangeAsync(await server.AddKeyAsync(user, acme.Sub));
            Assert.Equal(["viewer"], answer.Roles);
            Assert.Equal("member", answer.Claims.GetProperty("membership").GetString());
        }

        [Fact]
        public async Task The_list_of_members_tells_direct_and_inherited_apart()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var both = await server.AddMemberAsync(acme.Root, "viewer");
            await server.Members.AddAsync(Actor.Operator, acme.Sub, both, NameSet.Of("builder"));
            var subOnly = await server.AddMemberAsync(acme.Sub, "tester");

            var inSub = (await server.Members.ListAsync(Actor.Session(acme.Owner), acme.Sub)).Value.ToDictionary(member => member.UserId);
            Assert.Equal(3, inSub.Count);
            Assert.True(inSub[acme.Owner].IsInherited);
            Assert.Equal("owner", inSub[acme.Owner].EffectiveRoles.ToString());
            Assert.False(inSub[both].IsInherited);
            Assert.Equal(["builder", "viewer"], inSub[both].EffectiveRoles.Order());
            Assert.False(inSub[subOnly].IsInherited);

            var inRoot = (await server.Members.ListAsync(Actor.Session(acme.Owner), acme.Root)).Value;
            Assert.DoesNotContain(inRoot, member => member.UserId == subOnly);
        }
    }

    public class R2_Only_a_direct_member_may_generate
    {
        [Fact]
        public async Task An_inherited_member_is_refused_and_told_both_ways_out()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var outcome = await server.Keys.GenerateAsync(Actor.Session(acme.Owner), acme.Sub, AKey());
            Assert.Equal(RefusalCode.AccessDenied, outcome.Refusal!.Code);
            Assert.Contains("Ask an owner to add you to Mobile as a member", outcome.Refusal.Description, StringComparison.Ordinal);
            Assert.Contains(
                $"generate the key in Acme and exchange it with subOrganization={acme.Sub}",
                outcome.Refusal.Description,
                StringComparison.Ordinal
            );
            await AssertNoKeysAsync(server);
        }

        [Fact]
        public async Task A_member_needs_no_role_at_all()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var user = await server.AddMemberAsync(acme.Sub);
            Assert.False((await server.Keys.GenerateAsync(Actor.Session(user), acme.Sub, AKey())).IsRefused);
        }

        [Fact]
        public async Task To_somebody_from_elsewhere_the_organization_does_not_exist()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var stranger = (await server.AddAcmeAsync()).Owner;
            var subOnly = await server.AddMemberAsync(acme.Sub, "owner");
            var unknown = (await server.Keys.GenerateAsync(Actor.Session(stranger), Ids.New(server.Clock), AKey())).Refusal;
            Assert.Equal(RefusalCode.NotFound, unknown!.Code);
            Assert.Equal(unknown, (await server.Keys.GenerateAsync(Actor.Session(stranger), acme.Root, AKey())).Refusal);
            // a sub-organization does not open its root
            Assert.Equal(unknown, (await server.Keys.GenerateAsync(Actor.Session(subOnly), acme.Root, AKey())).Refusal);
            await AssertNoKeysAsync(server);
        }
    }

    public class R3_The_organization_asked_for
    {
        [Fact]
        public async Task A_key_may_name_its_own_organization_to_no_effect()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var user = await server.AddMemberAsync(acme.Sub, "builder");
            var (rootKey, subKey) = (await server.AddKeyAsync(acme.Owner, acme.Root), await server.AddKeyAsync(user, acme.Sub));
            Assert.Equal(acme.Root.ToString(), (await server.ExchangeAsync(rootKey, acme.Root)).Claims.GetProperty("org_id").GetString());
            var answer = await server.ExchangeAsync(subKey, acme.Sub);
            Assert.Equal(acme.Sub.ToString(), answer.Claims.GetProperty("org_id").GetString());
            Assert.Equal(acme.Root.ToString(), answer.Claims.GetProperty("root_org_id").GetString());
            Assert.Equal("member", answer.Claims.GetProperty("membership").GetString());
        }

        [Fact]
        public async Task A_key_of_a_root_reaches_its_sub_organizations_as_inherited_or_direct_member()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var user = await server.AddMemberAsync(acme.Root, "viewer");
            var key = await server.AddKeyAsync(user, acme.Root);
            Assert.Equal("inherited", (await server.ExchangeAsync(key, acme.Sub)).Claims.GetProperty("membership").GetString());
            await server.Members.AddAsync(Actor.Operator, acme.Sub, user, NameSet.Empty);
            Assert.Equal("member", (await server.ExchangeAsync(key, acme.Sub)).Claims.GetProperty("membership").GetString());
        }

        /// <summary>
        /// Every pair of key and target among two roots with two sub-organizations each; the allowed pairs stand here by hand.
        /// </summary>
        [Fact]
        public async Task Of_all_pairs_of_key_and_target_just_the_allowed_ones_work()
        {
            await using var server = await TestServer.StartAsync();
            var (a, b) = (await server.AddAcmeAsync(), await server.AddAcmeAsync());
            var names = new Dictionary<string, Guid>(StringComparer.Ordinal)
            {
                ["A"] = a.Root,
                ["A1"] = a.Sub,
                ["A2"] = (await server.Organizations.CreateSubAsync(Actor.Operator, a.Root, "Second")).Value,
                ["B"] = b.Root,
                ["B1"] = b.Sub,
                ["B2"] = (await server.Organizations.CreateSubAsync(Actor.Operator, b.Root, "Second")).Value,
            };
            // One user, member everywhere: only the rule can refuse.
            var user = await server.AddUserAsync();
            foreach (var id in names.Values)
                await server.Members.AddAsync(Actor.Operator, id, user, NameSet.Of("viewer"));

            string[] allowed = ["A>A", "A>A1", "A>A2", "A1>A1", "A2>A2", "B>B", "B>B1", "B>B2", "B1>B1", "B2>B2"];
            var worked = new List<string>();
            foreach (var (keyName, keyOrganization) in names)
            {
                var key = await server.AddKeyAsync(user, keyOrganization);
                foreach (var (targetName, target) in names)
                {
                    var answer = await server.ExchangeAsync(key, target);
                    if (answer.Status == HttpStatusCode.OK)
                    {
                        worked.Add($"{keyName}>{targetName}");
                        Assert.Equal(target.ToString(), answer.Claims.GetProperty("org_id").GetString());
                    }
                    else
                    {
                        Assert.Equal(HttpStatusCode.Forbidden, answer.Status);
                    }
                }
            }

            Assert.Equal(allowed.Order(), worked.Order());
        }

        [Theory, InlineData("disabled"), InlineData("deleted")]
        public async Task A_sub_organization_that_is_closed_is_refused_like_an_unknown_one(string how)
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            var unknown = await server.ExchangeAsync(key, Ids.New(server.Clock));
            if (how == "disabled") await server.Organizations.SetDisabledAsync(Actor.Session(acme.Owner), acme.Sub, disabled: true);
            else await server.Organizations.DeleteAsync(Actor.Session(acme.Owner), acme.Sub, "Mobile");
            var closed = await server.ExchangeAsync(key, acme.Sub);
            Assert.Equal((unknown.Status, unknown.Body), (closed.Status, closed.Body));
            Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(key)).Status);
        }
    }

    public class R4_The_token_carries_what_the_user_may_do_at_that_moment
    {
        [Fact]
        public async Task A_change_of_roles_is_in_the_next_token()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var user = await server.AddMemberAsync(acme.Root, "builder");
            var key = await server.AddKeyAsync(user, acme.Root);
            Assert.Equal(["builder"], (await server.ExchangeAsync(key)).Roles);
            await server.Members.SetRolesAsync(Actor.Session(acme.Owner), acme.Root, user, NameSet.Of("viewer"));
            Assert.Equal(["viewer"], (await server.ExchangeAsync(key)).Roles);
            Assert.Equal(["viewer"], (await server.ExchangeAsync(key, acme.Sub)).Roles);
            await server.Members.SetRolesAsync(Actor.Session(acme.Owner), acme.Root, user, NameSet.Empty);
            Assert.Empty((await server.ExchangeAsync(key)).Roles);
        }

        [Fact]
        public async Task The_end_of_a_membership_in_the_root_takes_the_inherited_roles_out_of_the_next_token()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var user = await server.AddMemberAsync(acme.Root, "viewer");
            await server.Members.AddAsync(Actor.Operator, acme.Sub, user, NameSet.Of("builder"));
            var key = await server.AddKeyAsync(user, acme.Sub);
            Assert.Equal(["builder", "viewer"], (await server.ExchangeAsync(key)).Roles.Order());
            await server.Members.RemoveAsync(Actor.Session(acme.Owner), acme.Root, user);
            Assert.Equal(["builder"], (await server.ExchangeAsync(key)).Roles);
        }
    }

    public class R5_A_key_stops_at_the_instant_it_is_acknowledged
    {
        public static TheoryData<string, bool> Ends =>
            new()
            {
                // what happens, whether it can be undone
                { "key deleted", false },
                { "key expires", false },
                { "user disabled", true },
                { "user deleted", false },
                { "membership ends", false },
                { "organization disabled", true },
                { "root disabled", true },
                { "organization deleted", false },
                { "root deleted", false },
            };

        [Theory, MemberData(nameof(Ends))]
        public async Task Each_end_ends_the_key_and_only_disabling_can_be_undone(string end, bool canBeUndone)
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var user = await server.AddMemberAsync(acme.Sub, "builder");
            var key = await server.AddKeyAsync(user, acme.Sub, TimeSpan.FromDays(1));
            var bystander = await server.AddKeyAsync(acme.Owner, acme.Root);
            Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(key)).Status);

            Outcome<bool> happened = end switch
            {
                "key deleted" => await server.Keys.DeleteAsync(Actor.Session(user), acme.Sub, TestServer.IdOf(key)),
                "user disabled" => await server.Users.SetDisabledAsync(Actor.Operator, user, disabled: true),
                "user deleted" => await server.Users.DeleteAsync(Actor.Operator, user),
                "membership ends" => await server.Members.RemoveAsync(Actor.Session(acme.Owner), acme.Sub, user),
                "organization disabled" => await server.Organizations.SetDisabledAsync(Actor.Session(acme.Owner), acme.Sub, disabled: true),
                "root disabled" => await server.Organizations.SetDisabledAsync(Actor.Session(acme.Owner), acme.Root, disabled: true),
                "organization deleted" => await server.Organizations.DeleteAsync(Actor.Session(acme.Owner), acme.Sub, "Mobile"),
                "root deleted" => await server.Organizations.DeleteAsync(Actor.Session(acme.Owner), acme.Root, "Acme"),
                _ => Expire(server),
            };
            Assert.False(happened.IsRefused);

            Assert.Equal(HttpStatusCode.Unauthorized, (await server.ExchangeAsync(key)).Status);
            Assert.Equal(
                end is "root disabled" or "root deleted" ? HttpStatusCode.Unauthorized : HttpStatusCode.OK,
                (await server.ExchangeAsync(bystander)).Status
            );

            // Undoing what can be undone: a disabled thing is enabled, a member is added again.
            await server.Users.SetDisabledAsync(Actor.Operator, user, disabled: false);
            await server.Organizations.SetDisabledAsync(Actor.Operator, acme.Sub, disabled: false);
            await server.Organizations.SetDisabledAsync(Actor.Operator, acme.Root, disabled: false);
            await server.Members.AddAsync(Actor.Operator, acme.Sub, user, NameSet.Of("builder"));
            Assert.Equal(canBeUndone ? HttpStatusCode.OK : HttpStatusCode.Unauthorized, (await server.ExchangeAsync(key)).Status);
        }

        [Fact]
        public async Task A_key_works_until_the_last_moment_before_its_expiry()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root, TimeSpan.FromDays(1));
            server.Clock.Advance(TimeSpan.FromDays(1) - TimeSpan.FromMilliseconds(1));
            Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(key)).Status);
            server.Clock.Advance(TimeSpan.FromMilliseconds(1));
            Assert.Equal(HttpStatusCode.Unauthorized, (await server.ExchangeAsync(key)).Status);
        }

        [Fact]
        public async Task The_member_who_comes_back_holds_no_keys_and_may_generate_new_ones()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var user = await server.AddMemberAsync(acme.Root, "builder");
            var old = await server.AddKeyAsync(user, acme.Root);
            await server.Members.RemoveAsync(Actor.Session(acme.Owner), acme.Root, user);
            await server.Members.AddAsync(Actor.Operator, acme.Root, user, NameSet.Of("builder"));
            Assert.Empty((await server.Keys.ListAsync(Actor.Session(user), acme.Root)).Value);
            Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(await server.AddKeyAsync(user, acme.Root))).Status);
            Assert.Equal(HttpStatusCode.Unauthorized, (await server.ExchangeAsync(old)).Status);
        }

        // On PostgreSQL the race across processes has twenty thousand (ShareDatabase).
        private static readonly int rounds = TestDatabase.IsPostgres ? 1_000 : 10_000;

        /// <summary>
        /// Deletions, each with exchanges of the same key around it, in parallel over HTTP. An exchange looks, before it
        /// begins, whether the deletion was acknowledged; then it may not succeed.
        /// </summary>
        [Fact]
        public async Task No_exchange_that_begins_after_the_acknowledgement_succeeds()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var (before, late) = await RaceAsync(
                server,
                acme,
                (id, _) => server.Keys.DeleteAsync(Actor.Session(acme.Owner), acme.Root, id)
            );
            Assert.NotEqual(0, before); // the race was one
            Assert.Equal(0, late);
        }

        /// <summary>The control: the deletion is acknowledged before it is made, which the race must find.</summary>
        [Fact]
        public async Task The_race_finds_a_deletion_that_is_acknowledged_too_early()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var (_, late) = await RaceAsync(
                server,
                acme,
                async (id, acknowledge) =>
                {
                    acknowledge();
                    return await server.Keys.DeleteAsync(Actor.Session(acme.Owner), acme.Root, id);
                },
                times: 500
            );
            Assert.NotEqual(0, late);
        }

        /// <returns>Exchanges that succeeded before the acknowledgement, and after it.</returns>
        private static async Task<(int Before, int Late)> RaceAsync(
            TestServer server,
            Acme acme,
            Func<string, Action, Task<Outcome<bool>>> delete,
            int? times = null
        )
        {
            var keys = await SeedKeysAsync(server, acme, times ?? rounds);
            var acknowledged = new ConcurrentDictionary<string, bool>(StringComparer.Ordinal);
            var (before, late) = (0, 0);

            var deleting = Task.Run(async () =>
            {
                foreach (var key in keys)
                {
                    var outcome = await delete(TestServer.IdOf(key), () => acknowledged[key] = true);
                    Assert.False(outcome.IsRefused);
                    acknowledged[key] = true;
                }
            });

            // Each reader walks along with the deletions and stays with a key until it was asked for after its end.
            await Task.WhenAll(
                Enumerable
                    .Range(0, 3)
                    .Select(_ =>
                        Task.Run(async () =>
                        {
                            foreach (var key in keys)
                            {
                                bool isOver;
                                do
                                {
                                    isOver = acknowledged.ContainsKey(key);
                                    var succeeded = (await server.ExchangeAsync(key)).Status == HttpStatusCode.OK;
                                    if (succeeded)
                                        Interlocked.Increment(ref isOver ? ref late : ref before);
                                } while (!isOver && !deleting.IsFaulted);
                            }
                        })
                    )
                    .Append(deleting)
            );
            return (before, late);
        }

        /// <summary>Many keys in one transaction; made one by one they would take longer than the race.</summary>
        private static async Task<string[]> SeedKeysAsync(TestServer server, Acme acme, int count)
        {
            var keys = Enumerable.Range(0, count).Select(_ => KeyFormat.Create("ph", KeyFormat.NewId())).ToArray();
            await server
                .Get<Database>()
                .WriteAsync(transaction =>
                    transaction.Connection!.ExecuteAsync(
                        """
                        INSERT INTO access_keys (id, membership_id, name, hash, scopes, created_at, status_index)
                        SELECT @id, id, 'Key', @hash, '*', 0, @number FROM memberships WHERE user_id = @owner AND organization_id = @root
                        """,
                        keys.Select(
                            (key, i) =>
                                new
                                {
                                    number = 1_000_000L + i,
                                    id = TestServer.IdOf(Encoding.ASCII.GetString(key)),
                                    hash = SHA256.HashData(key),
                                    owner = acme.Owner,
                                    root = acme.Root,
                                }
                        ),
                        transaction
                    )
                );
            return [.. keys.Select(Encoding.ASCII.GetString)];
        }
    }

    public class R6_Nothing_that_decides_is_cached
    {
        /// <summary>Another process changes the database behind the server's back; the next exchange knows.</summary>
        [Fact]
        public async Task A_change_made_by_another_process_is_in_the_next_answer()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            await using var other = server.Place.Connect();
            Assert.Equal(["owner"], (await server.ExchangeAsync(key)).Roles);
            await other.ExecuteAsync("UPDATE memberships SET roles = 'viewer'");
            Assert.Equal(["viewer"], (await server.ExchangeAsync(key)).Roles);
            await other.ExecuteAsync("UPDATE users SET name = 'Renamed'");
            Assert.Equal("Renamed", (await server.ExchangeAsync(key)).Claims.GetProperty("name").GetString());
            await other.ExecuteAsync("UPDATE organizations SET disabled_at = 1 WHERE root_id IS NULL");
            Assert.Equal(HttpStatusCode.Unauthorized, (await server.ExchangeAsync(key)).Status);
            await other.ExecuteAsync("UPDATE organizations SET disabled_at = NULL");
            Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(key)).Status);
            await other.ExecuteAsync("UPDATE access_keys SET deleted_at = 1");
            Assert.Equal(HttpStatusCode.Unauthorized, (await server.ExchangeAsync(key)).Status);
        }
    }

    public class R7_Keys_cannot_breed
    {
        [Fact]
        public async Task Who_came_with_a_key_lists_and_deletes_keys_but_makes_none()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var id = TestServer.IdOf(await server.AddKeyAsync(acme.Owner, acme.Root));
            var thief = Actor.Key(acme.Owner, id, TestServer.EveryScope);
            Assert.Equal(RefusalCode.AccessDenied, (await server.Keys.GenerateAsync(thief, acme.Root, AKey())).Refusal!.Code);
            Assert.Single((await server.Keys.ListAsync(thief, acme.Root)).Value);
            Assert.False((await server.Keys.DeleteAsync(thief, acme.Root, id)).IsRefused);
        }

        [Fact]
        public async Task The_operator_cannot_make_a_key_in_the_name_of_a_person()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            Assert.Equal(RefusalCode.AccessDenied, (await server.Keys.GenerateAsync(Actor.Operator, acme.Root, AKey())).Refusal!.Code);
        }

        [Fact]
        public void Nothing_that_creates_a_key_is_allowed_with_a_key()
        {
            // A key that rotates itself is no exception to this: it gets no more and lives no longer, and only where the policy allows it.
            Permission[] makers =
            [
                Permission.GenerateOwnKey,
                Permission.RotateOwnKey,
                Permission.CreateApiKey,
                Permission.ChangeApiKey,
                Permission.RotateApiKey,
            ];
            foreach (var permission in makers)
                Assert.Equal([Credential.Session], Permissions.Of(permission).With);
            // What no session opens is what a key does to itself, who its bearer is, and the operator's own.
            Permission[] others = [Permission.RotateItself, Permission.RevokeItself, Permission.ReadUserInfo];
            foreach (
                var permission in Enum.GetValues<Permission>()
                    .Except(others)
                    .Where(permission => Permissions.Of(permission).With.Length > 0)
            )
                Assert.Contains(Credential.Session, Permissions.Of(permission).With);
        }
    }

    public class R8_Every_organization_keeps_an_owner
    {
        [Fact]
        public async Task The_last_owner_cannot_be_removed_demoted_or_deleted()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            Assert.Equal(
                RefusalCode.Conflict,
                (await server.Members.RemoveAsync(Actor.Session(acme.Owner), acme.Root, acme.Owner)).Refusal!.Code
            );
            Assert.Equal(
                RefusalCode.Conflict,
                (await server.Members.SetRolesAsync(Actor.Session(acme.Owner), acme.Root, acme.Owner, NameSet.Of("viewer"))).Refusal!.Code
            );
            Assert.Equal(RefusalCode.Conflict, (await server.Users.DeleteAsync(Actor.Operator, acme.Owner)).Refusal!.Code);

            var second = await server.AddMemberAsync(acme.Root, "owner");
            await server.Users.SetDisabledAsync(Actor.Operator, second, disabled: true); // an owner who cannot sign in is none
            Assert.Equal(
                RefusalCode.Conflict,
                (await server.Members.RemoveAsync(Actor.Session(acme.Owner), acme.Root, acme.Owner)).Refusal!.Code
            );
            await server.Users.SetDisabledAsync(Actor.Operator, second, disabled: false);
            Assert.False((await server.Members.RemoveAsync(Actor.Session(acme.Owner), acme.Root, acme.Owner)).IsRefused);
        }

        [Fact]
        public async Task A_role_that_is_owner_in_another_case_makes_no_owner()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            await server.AddMemberAsync(acme.Root, "OWNER");
            await server.AddMemberAsync(acme.Root, "co-owner");
            Assert.Equal(
                RefusalCode.Conflict,
                (await server.Members.RemoveAsync(Actor.Session(acme.Owner), acme.Root, acme.Owner)).Refusal!.Code
            );
        }

        [Fact]
        public async Task Two_owners_who_remove_each_other_at_once_leave_one()
        {
            await using var server = await TestServer.StartAsync();
            for (var round = 0; round < 50; round++)
            {
                var acme = await server.AddAcmeAsync();
                var second = await server.AddMemberAsync(acme.Root, "owner");
                var outcomes = await Task.WhenAll(
                    Task.Run(() => server.Members.RemoveAsync(Actor.Session(acme.Owner), acme.Root, second)),
                    Task.Run(() => server.Members.RemoveAsync(Actor.Session(second), acme.Root, acme.Owner)));
                Assert.Single(outcomes, outcome => outcome.IsRefused);
            }
        }

        [Fact]
        public async Task A_manager_neither_grants_nor_removes_owner()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            await server.AddMemberAsync(acme.Root, "owner");
            var manager = Actor.Session(await server.AddMemberAsync(acme.Root, "organization-manager"));
            var member = await server.AddMemberAsync(acme.Root);
            Assert.Equal(
                RefusalCode.AccessDenied,
                (await server.Members.SetRolesAsync(manager, acme.Root, member, NameSet.Of("owner"))).Refusal!.Code
            );
            Assert.Equal(
                RefusalCode.AccessDenied,
                (await server.Members.SetRolesAsync(manager, acme.Root, acme.Owner, NameSet.Empty)).Refusal!.Code
            );
            Assert.Equal(RefusalCode.AccessDenied, (await server.Members.RemoveAsync(manager, acme.Root, acme.Owner)).Refusal!.Code);
            Assert.Equal(
                RefusalCode.AccessDenied,
                (await server.Members.AddAsync(manager, acme.Sub, member, NameSet.Of("owner"))).Refusal!.Code
            );
            Assert.False((await server.Members.SetRolesAsync(manager, acme.Root, member, NameSet.Of("viewer"))).IsRefused);
        }
    }

    public class R9_To_everybody_else_it_does_not_exist
    {
        [Fact]
        public async Task A_user_sees_the_organizations_of_the_memberships_and_the_sub_organizations_of_their_roots()
        {
            await using var server = await TestServer.StartAsync();
            var (acme, other) = (await server.AddAcmeAsync(), await server.AddAcmeAsync());
            var subOnly = await server.AddMemberAsync(acme.Sub);
            Assert.Equal(
                [acme.Root, acme.Sub],
                (await server.Organizations.ListAsync(Actor.Session(acme.Owner))).Select(organization => organization.Id)
            );
            Assert.Equal(
                [acme.Sub],
                (await server.Organizations.ListAsync(Actor.Session(subOnly))).Select(organization => organization.Id)
            );
            Assert.Equal(RefusalCode.NotFound, (await server.Members.ListAsync(Actor.Session(acme.Owner), other.Root)).Refusal!.Code);
            Assert.Equal(
                RefusalCode.NotFound,
                (await server.Organizations.RenameAsync(Actor.Session(acme.Owner), other.Root, "Mine")).Refusal!.Code
            );
            await server.Users.SetDisabledAsync(Actor.Operator, subOnly, disabled: true);
            Assert.Equal(RefusalCode.NotFound, (await server.Members.ListAsync(Actor.Session(subOnly), acme.Sub)).Refusal!.Code);
        }

        [Fact]
        public async Task The_name_of_another_tenant_cannot_be_found_out_by_taking_it()
        {
            await using var server = await TestServer.StartAsync();
            Assert.NotEqual((await server.AddAcmeAsync()).Root, (await server.AddAcmeAsync()).Root); // both are called Acme
        }
    }

    public class R10_Ids_stay_and_names_change
    {
        [Fact]
        public async Task A_rename_leaves_the_id_and_the_keys_alone()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            Assert.False((await server.Organizations.RenameAsync(Actor.Session(acme.Owner), acme.Root, "Acme Corporation")).IsRefused);
            Assert.Equal("Acme Corporation", (await server.Organizations.ListAsync(Actor.Session(acme.Owner)))[0].Name);
            Assert.Equal(acme.Root.ToString(), (await server.ExchangeAsync(key)).Claims.GetProperty("org_id").GetString());
        }

        [Fact]
        public async Task A_name_is_unique_among_its_siblings_in_any_case_and_free_again_after_deletion()
        {
            await using var server = await TestServer.StartAsync();
            var (acme, other) = (await server.AddAcmeAsync(), await server.AddAcmeAsync());
            var owner = Actor.Session(acme.Owner);
            Assert.Equal(RefusalCode.Conflict, (await server.Organizations.CreateSubAsync(owner, acme.Root, " MOBILE ")).Refusal!.Code);
            var second = (await server.Organizations.CreateSubAsync(owner, acme.Root, "Web")).Value;
            Assert.Equal(RefusalCode.Conflict, (await server.Organizations.RenameAsync(owner, second, "Mobile")).Refusal!.Code);
            Assert.False((await server.Organizations.RenameAsync(owner, second, "WEB")).IsRefused); // its own name in another case
            Assert.False((await server.Organizations.CreateSubAsync(Actor.Session(other.Owner), other.Root, "Web")).IsRefused);

            await server.Organizations.DeleteAsync(owner, acme.Sub, "Mobile");
            var again = (await server.Organizations.CreateSubAsync(owner, acme.Root, "Mobile")).Value;
            Assert.NotEqual(acme.Sub, again);
        }

        [Fact]
        public async Task The_row_of_a_deleted_organization_stays_so_its_id_is_never_used_again()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            await server.Organizations.DeleteAsync(Actor.Session(acme.Owner), acme.Root, "Acme");
            var rows = await server
                .Get<Database>()
                .ReadAsync(connection =>
                    connection.ExecuteScalarAsync<long>("SELECT COUNT(*) FROM organizations WHERE deleted_at IS NOT NULL")
                );
            Assert.Equal(2, rows);
            Assert.Empty(await server.Organizations.ListAsync(Actor.Session(acme.Owner)));
        }

        [Fact]
        public async Task There_are_two_levels_and_no_more()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            Assert.Equal(
                RefusalCode.InvalidRequest,
                (await server.Organizations.CreateSubAsync(Actor.Session(acme.Owner), acme.Sub, "Third")).Refusal!.Code
            );
        }
    }

    private static NewKey AKey() => new(KeyFormat.NewId(), "Key 1", null, NameSet.All);

    private static Outcome<bool> Expire(TestServer server)
    {
        server.Clock.Advance(TimeSpan.FromDays(1));
        return true;
    }

    private static async Task AssertNoKeysAsync(TestServer server) =>
        Assert.Equal(
            0,
            await server.Get<Database>().ReadAsync(connection => connection.ExecuteScalarAsync<long>("SELECT COUNT(*) FROM access_keys"))
        );
}
