namespace Pakhouse.Tests;

public static class OrganizationsTests
{
    public class Creating
    {
        [Fact]
        public async Task Whoever_makes_a_root_is_its_owner()
        {
            await using var server = await TestServer.StartAsync();
            var person = Actor.Session(await server.AddUserAsync());
            var root = (await server.Organizations.CreateRootAsync(person, "Acme")).Value;
            Assert.Equal("owner", (await server.Members.ListAsync(person, root)).Value.Single().Roles.ToString());
            Assert.Equal(
                ("Acme", 1L, null),
                (
                    (await server.Organizations.FindAsync(person, root)).Value is var found
                        ? (found.Name, found.MemberCount, found.RootName)
                        : default
                )
            );
        }

        [Fact]
        public async Task A_key_an_API_key_and_somebody_disabled_make_none()
        {
            await using var server = await TestServer.StartAsync();
            var person = await server.AddUserAsync();
            Assert.Equal(
                RefusalCode.AccessDenied,
                (await server.Organizations.CreateRootAsync(Actor.Key(person, "0000000000000000", TestServer.EveryScope), "Acme"))
                    .Refusal!
                    .Code
            );
            Assert.Equal(
                RefusalCode.AccessDenied,
                (await server.Organizations.CreateRootAsync(Actor.ApiKey(person, "0000000000000000", TestServer.EveryScope), "Acme"))
                    .Refusal!
                    .Code
            );
            await server.Users.SetDisabledAsync(Actor.Operator, person, disabled: true);
            Assert.Equal(
                RefusalCode.AccessDenied,
                (await server.Organizations.CreateRootAsync(Actor.Session(person), "Acme")).Refusal!.Code
            );
        }

        /// <summary>The attack: rows without end, by making and deleting.</summary>
        [Fact]
        public async Task A_person_makes_so_many_and_deleting_makes_room_a_day_later()
        {
            await using var server = await TestServer.StartAsync(
                "--Pakhouse:OrganizationsPerPersonMax=2",
                "--Pakhouse:SubOrganizationsMax=1"
            );
            var person = Actor.Session(await server.AddUserAsync());
            var first = (await server.Organizations.CreateRootAsync(person, "One")).Value;
            await server.Organizations.CreateRootAsync(person, "Two");
            Assert.Equal(RefusalCode.Conflict, (await server.Organizations.CreateRootAsync(person, "Three")).Refusal!.Code);
            Assert.False((await server.Organizations.CreateSubAsync(person, first, "Sub")).IsRefused);
            Assert.Equal(RefusalCode.Conflict, (await server.Organizations.CreateSubAsync(person, first, "Sub 2")).Refusal!.Code);

            await server.Organizations.DeleteAsync(person, first, "One");
            Assert.True((await server.Organizations.CreateRootAsync(person, "Three")).IsRefused);
            server.Clock.Advance(TimeSpan.FromDays(1));
            Assert.False((await server.Organizations.CreateRootAsync(person, "Three")).IsRefused);
        }
    }

    public class Deleting
    {
        [Theory]
        [InlineData("")]
        [InlineData("acme")]
        [InlineData("Acme Inc")]
        public async Task Needs_the_name_as_it_stands(string typed)
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            Assert.Equal(
                RefusalCode.InvalidRequest,
                (await server.Organizations.DeleteAsync(Actor.Session(acme.Owner), acme.Root, typed)).Refusal!.Code
            );
            Assert.Equal(200, (int)(await server.ExchangeAsync(key)).Status);
        }

        [Fact]
        public async Task Takes_sub_organizations_keys_memberships_and_invitations_with_it_and_records_each_organization()
        {
            await using var server = await TestServer.StartAsync();
            var (acme, other) = (await server.AddAcmeAsync(), await server.AddAcmeAsync());
            var member = await server.AddMemberAsync(acme.Sub, "builder");
            string[] keys = [await server.AddKeyAsync(acme.Owner, acme.Root), await server.AddKeyAsync(member, acme.Sub)];
            var elsewhere = await server.AddKeyAsync(other.Owner, other.Root);
            await server.Invitations.InviteAsync(Actor.Session(acme.Owner), acme.Root, "new@acme.example", [new(acme.Sub, NameSet.Empty)]);

            Assert.False((await server.Organizations.DeleteAsync(Actor.Session(acme.Owner), acme.Root, " Acme ")).IsRefused);
            foreach (var key in keys)
                Assert.Equal(401, (int)(await server.ExchangeAsync(key)).Status);
            Assert.Equal(200, (int)(await server.ExchangeAsync(elsewhere)).Status);
            Assert.Equal(
                0,
                await server.ScalarAsync<long>(
                    $"SELECT COUNT(*) FROM memberships WHERE ended_at IS NULL AND organization_id IN ('{acme.Root}', '{acme.Sub}')"
                )
            );
            Assert.Equal(
                0,
                await server.ScalarAsync<long>("SELECT (SELECT COUNT(*) FROM invitations) + (SELECT COUNT(*) FROM invitation_parts)")
            );
            Assert.Equal(
                2,
                await server.ScalarAsync<long>(
                    $"SELECT COUNT(*) FROM activity WHERE action = 'Organization Delete' AND target IN ('{acme.Root}', '{acme.Sub}')"
                )
            );
            Assert.Empty(await server.Organizations.ListAsync(Actor.Session(acme.Owner)));
        }
    }

    public class Showing
    {
        [Fact]
        public async Task Members_are_counted_where_it_is_asked_for_and_service_users_are_none()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var member = await server.AddMemberAsync(acme.Root, "builder");
            await server.AddMemberAsync(acme.Sub);
            await ServiceAsync(server, acme.Root);
            var owner = Actor.Session(acme.Owner);
            Assert.Equal([2, 1], (await server.Organizations.ListAsync(owner, counted: true)).Select(one => (int)one.MemberCount!));
            Assert.Equal([null, "Acme"], (await server.Organizations.ListAsync(owner)).Select(one => one.RootName));
            Assert.Equal(2, (await server.Organizations.FindAsync(Actor.Session(member), acme.Root)).Value.MemberCount);
            Assert.Equal(
                RefusalCode.NotFound,
                (await server.Organizations.FindAsync(Actor.Session(await server.AddUserAsync()), acme.Root)).Refusal!.Code
            );
        }
    }

    /// <summary>The user behind an API key, in an organization.</summary>
    internal static async Task ServiceAsync(TestServer server, Guid organization)
    {
        var user = Ids.New(server.Clock);
        await server.ExecuteAsync(
            $"INSERT INTO users (id, email, email_normalized, name, security_stamp, created_at, kind) VALUES ('{user}', '', '{user}', "
                + $"'deploy', 'x', 0, 'service')"
        );
        await server.ExecuteAsync(
            $"INSERT INTO memberships (id, organization_id, user_id, roles, created_at) VALUES ('{Ids.New(server.Clock)}', "
                + $"'{organization}', '{user}', 'owner', 0)"
        );
    }
}
