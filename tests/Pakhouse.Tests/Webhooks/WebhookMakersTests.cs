namespace Pakhouse.Tests;

/// <summary>The attack: who made a webhook leaves, and goes on hearing.</summary>
public class WebhookMakersTests
{
    [
        Theory,
        InlineData("removed", 1),
        InlineData("left", 1),
        InlineData("disabled", 1),
        InlineData("deleted", 1),
        InlineData("demoted", 0),
        InlineData("member of the root still", 0)
    ]
    public async Task Owners_are_told_when_the_maker_of_a_webhook_leaves(string how, int told)
    {
        await using var server = await TestServer.StartAsync();
        var acme = await server.AddAcmeAsync();
        var maker = await server.AddMemberAsync(acme.Root, BuiltInRoles.Owner);
        var actor = Actor.Session(maker);
        var place = how == "member of the root still" ? acme.Sub : acme.Root;
        if (place == acme.Sub)
            Assert.False((await server.Members.AddAsync(Actor.Operator, acme.Sub, maker, NameSet.Of(BuiltInRoles.Owner))).IsRefused);
        Assert.False((await server.Get<Server.Webhooks>().CreateAsync(actor, place, "https://hooks.example.com/", NameSet.All)).IsRefused);
        Assert.Equal($"{maker}", await server.ScalarAsync<string>("SELECT maker_id FROM webhooks"));
        Assert.False(
            how switch
            {
                "removed" => (await server.Members.RemoveAsync(Actor.Session(acme.Owner), acme.Root, maker)).IsRefused,
                "left" => (await server.Members.LeaveAsync(actor, acme.Root)).IsRefused,
                "disabled" => (await server.Users.SetDisabledAsync(Actor.Operator, maker, disabled: true)).IsRefused,
                "deleted" => (await server.Users.DeleteAsync(Actor.Operator, maker)).IsRefused,
                "demoted" => (
                    await server.Members.SetRolesAsync(Actor.Session(acme.Owner), acme.Root, maker, NameSet.Of("viewer"))
                ).IsRefused,
                _ => (await server.Members.RemoveAsync(Actor.Session(acme.Owner), acme.Sub, maker)).IsRefused,
            }
        );
        Assert.Equal(told, await server.ScalarAsync<long>("SELECT COUNT(*) FROM activity WHERE action = 'Webhook Maker Left'"));
        Assert.Equal(
            told,
            (await server.MailsToAsync("person1@acme.example")).Count(mail =>
                mail.Subject!.Contains("made a webhook", StringComparison.Ordinal)
            )
        );
    }
}
