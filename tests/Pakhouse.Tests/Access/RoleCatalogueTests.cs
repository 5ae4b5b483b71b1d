using System.Text;

namespace Pakhouse.Tests;

/// <summary>The roles that a deployment has: its file, and what happens to roles that leave it.</summary>
public static class RoleCatalogueTests
{
    [Theory]
    [InlineData("""[]""", "owner is missing")]
    [InlineData("""{}""", "not the form")]
    [InlineData("""[{"module":"a","title":"A","roles":[{"key":"no spaces","name":"B"}]}]""", "a role's key is")]
    [InlineData("""[{"module":"a","title":"A","roles":[{"key":"b","name":"B"},{"key":"b","name":"B"}]}]""", "role b occurs twice")]
    [InlineData("""[{"module":"a","title":"A","defaultRoles":["c"],"roles":[{"key":"b","name":"B"}]}]""", "default role c")]
    public static void A_file_that_is_no_catalogue_is_refused_with_the_place(string json, string expected) =>
        Assert.Contains(
            expected,
            Assert.Throws<FormatException>(() => RoleCatalogue.Parse(Encoding.UTF8.GetBytes(json))).Message,
            StringComparison.Ordinal
        );

    [Fact]
    public static void The_catalogue_of_a_deployment_that_sets_none_has_our_own_roles() =>
        Assert.All(BuiltInRoles.All, role => Assert.True(RoleCatalogue.Default.Contains(role)));

    [Fact]
    public static async Task An_unknown_role_is_refused()
    {
        await using var server = await TestServer.StartAsync();
        var acme = await server.AddAcmeAsync();
        var refused = await server.Members.AddAsync(Actor.Operator, acme.Root, await server.AddUserAsync(), NameSet.Of("invented"));
        Assert.Equal(RefusalCode.InvalidRequest, refused.Refusal!.Code);
        Assert.DoesNotContain("invented", refused.Refusal.Description, StringComparison.Ordinal);
    }

    [Fact]
    public static async Task A_role_that_has_left_the_catalogue_is_kept_and_stands_in_no_token()
    {
        await using var server = await TestServer.StartAsync();
        var acme = await server.AddAcmeAsync();
        var user = await server.AddMemberAsync(acme.Root, "viewer");
        await server.ExecuteAsync($"UPDATE memberships SET roles = 'retired viewer' WHERE user_id = '{user}'");
        Assert.Equal(["viewer"], (await server.ExchangeAsync(await server.AddKeyAsync(user, acme.Root))).Roles);
        Assert.False(
            (await server.Members.SetRolesAsync(Actor.Session(acme.Owner), acme.Root, user, NameSet.Of("retired", "builder"))).IsRefused
        );
        Assert.True(
            (await server.Members.SetRolesAsync(Actor.Session(acme.Owner), acme.Root, acme.Owner, NameSet.Of("retired", "owner"))).IsRefused
        ); // and nobody gets it anew
    }

    [Fact]
    public static async Task Of_a_module_that_allows_one_role_two_are_refused()
    {
        await using var server = await TestServer.StartAsync();
        var acme = await server.AddAcmeAsync();
        var user = await server.AddMemberAsync(acme.Root, "single-reader");
        Assert.True(
            (
                await server.Members.SetRolesAsync(Actor.Session(acme.Owner), acme.Root, user, NameSet.Of("single-reader", "single-writer"))
            ).IsRefused
        );
    }
}
