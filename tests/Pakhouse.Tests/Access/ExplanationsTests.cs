using System.Net;

namespace Pakhouse.Tests;

/// <summary>The explanation says what the exchange does, and to whom it may be said.</summary>
public static class ExplanationsTests
{
    [Fact]
    public static async Task It_ends_at_the_step_that_an_exchange_is_refused_at_with_the_same_words()
    {
        await using var server = await TestServer.StartAsync();
        var acme = await server.AddAcmeAsync();
        var member = await server.AddMemberAsync(acme.Root, "viewer");
        foreach (
            var (step, policy, change) in new (ExchangeStep, Policy, Func<string, Task>)[]
            {
                (
                    ExchangeStep.NotDeleted,
                    Policy.None,
                    key => server.Keys.DeleteAsync(Actor.Session(member), acme.Root, TestServer.IdOf(key))
                ),
                (
                    ExchangeStep.NotSuspended,
                    Policy.None,
                    key => server.Get<Inventory>().ActAsync(Actor.Session(acme.Owner), acme.Root, KeyAction.Suspend, [TestServer.IdOf(key)])
                ),
                (ExchangeStep.Holders, new() { Holders = NameSet.Of("owner") }, _ => Task.CompletedTask),
                (ExchangeStep.RootKeys, new() { RootKeys = false }, _ => Task.CompletedTask),
                (
                    ExchangeStep.Networks,
                    new() { Networks = NetworkSet.TryParse(["10.0.0.0/8"], out var set) ? set : null },
                    _ => Task.CompletedTask
                ),
                (ExchangeStep.Scopes, Policy.None, _ => Task.CompletedTask),
                (ExchangeStep.NotExpired, Policy.None, _ => Task.CompletedTask),
            }
        )
        {
            await PoliciesTests.SetAsync(server, acme.Owner, acme.Root, Policy.None);
            var key = await server.AddKeyAsync(member, acme.Root, TimeSpan.FromDays(1), "openid");
            await PoliciesTests.SetAsync(server, acme.Owner, acme.Root, policy);
            await change(key);
            if (step == ExchangeStep.NotExpired)
                server.Clock.Advance(TimeSpan.FromDays(1));
            var scope = step == ExchangeStep.Scopes ? "email" : null;
            var target = step == ExchangeStep.RootKeys ? acme.Sub : (Guid?)null;

            var exchanged = await server.ExchangeAsync(key, target, scope);
            var explained = (
                await server
                    .Get<Explanations>()
                    .ExplainAsync(
                        Actor.Session(member),
                        acme.Root,
                        TestServer.IdOf(key),
                        target,
                        ScopeRequest.Of(NameSet.Parse(scope ?? "")),
                        IPAddress.Loopback
                    )
            ).Value;
            Assert.Equal(step, explained.Steps[^1].Step);
            Assert.All(explained.Steps, one => Assert.Equal(one.Step != step, one.IsPassed));
            // The wire names its own field in front of the same words.
            Assert.Equal(exchanged.Description.Split(": ", 2)[1], explained.Outcome.Refusal!.Description.Split(": ", 2)[1]);
        }
    }

    [Fact]
    public static async Task Of_a_key_that_gets_a_token_every_step_is_passed_and_the_roles_are_those_of_the_token()
    {
        await using var server = await TestServer.StartAsync();
        var acme = await server.AddAcmeAsync();
        var key = await server.AddKeyAsync(acme.Owner, acme.Root);
        var explained = (
            await server
                .Get<Explanations>()
                .ExplainAsync(
                    Actor.Session(acme.Owner),
                    acme.Root,
                    TestServer.IdOf(key),
                    acme.Sub,
                    ScopeRequest.Everything,
                    IPAddress.Loopback
                )
        ).Value;
        Assert.Equal(Enum.GetValues<ExchangeStep>(), explained.Steps.Select(step => step.Step));
        Assert.All(explained.Steps, step => Assert.True(step.IsPassed));
        Assert.Equal((await server.ExchangeAsync(key, acme.Sub)).Roles, explained.Outcome.Value.Roles);
    }

    [Fact]
    public static async Task Owners_and_managers_ask_about_keys_of_members_others_only_about_their_own_and_nobody_with_a_key()
    {
        await using var server = await TestServer.StartAsync();
        var acme = await server.AddAcmeAsync();
        var (manager, viewer, holder) = (
            await server.AddMemberAsync(acme.Root, "organization-manager"),
            await server.AddMemberAsync(acme.Root, "organization-viewer"),
            await server.AddMemberAsync(acme.Root)
        );
        var key = await server.AddKeyAsync(holder, acme.Root);
        foreach (var (user, isTold) in new[] { (acme.Owner, true), (manager, true), (viewer, false), (holder, true) })
            Assert.Equal(isTold ? null : RefusalCode.NotFound, (await ExplainAsync(Actor.Session(user)))?.Code);
        // A key of nobody and a key of somebody else are one answer.
        Assert.Equal(
            await ExplainAsync(Actor.Session(viewer)),
            (
                await server
                    .Get<Explanations>()
                    .ExplainAsync(Actor.Session(viewer), acme.Root, KeyFormat.NewId(), null, ScopeRequest.Everything, null)
            ).Refusal
        );

        var answer = await PoliciesTests.SendAsync(
            server,
            HttpMethod.Get,
            $"/identity/v1/organizations/{acme.Root}/personal-access-keys/{TestServer.IdOf(key)}/explain",
            (await server.ExchangeAsync(key)).Token
        );
        Assert.Equal(HttpStatusCode.Forbidden, answer.Status);

        async Task<Refusal?> ExplainAsync(Actor actor) =>
            (
                await server.Get<Explanations>().ExplainAsync(actor, acme.Root, TestServer.IdOf(key), null, ScopeRequest.Everything, null)
            ).Refusal;
    }
}
