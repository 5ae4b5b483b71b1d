namespace Pakhouse.Tests;

/// <summary>People learn what others did to their memberships and accounts: by whom, when, and where to look.</summary>
public static class MemberMailTests
{
    public class Told
    {
        [Fact]
        public async Task Who_is_removed_or_gets_other_roles_learns_by_whom_and_when_and_who_does_it_themselves_does_not()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var member = await server.AddMemberAsync(acme.Root, "organization-viewer");
            var owner = Actor.Session(acme.Owner);
            foreach (var _ in (int[])[1, 2]) // the second changes nothing
                Assert.False((await server.Members.SetRolesAsync(owner, acme.Root, member, NameSet.Of("organization-manager"))).IsRefused);
            Assert.False(
                (await server.Members.SetRolesAsync(Actor.Session(member), acme.Root, member, NameSet.Of("organization-viewer"))).IsRefused
            );
            Assert.False((await server.Members.RemoveAsync(owner, acme.Root, member)).IsRefused);

            var mails = await server.MailsToAsync("person2@acme.example");
            Assert.Equal(
                ["Your roles in Acme were changed", "You are no longer a member of Acme"],
                mails.Select(mail => mail.Subject).OrderDescending(StringComparer.Ordinal)
            );
            Assert.All(mails, mail => Assert.Contains(TimeText.Exact(server.Clock.GetUtcNow()), mail.TextBody, StringComparison.Ordinal));
            Assert.All(mails, mail => Assert.Contains("Person 1 ", mail.TextBody, StringComparison.Ordinal));
            Assert.Contains(
                $"{server.Address}/organizations/{acme.Root}/security",
                mails.Single(mail => mail.Subject!.StartsWith("Your roles", StringComparison.Ordinal)).TextBody!,
                StringComparison.Ordinal
            );
            Assert.Empty(await server.MailsToAsync("person1@acme.example"));
        }

        [Fact]
        public async Task Who_is_removed_and_had_keys_gets_one_mail_that_names_those_that_worked()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var member = await server.AddMemberAsync(acme.Root);
            var expired = TestServer.IdOf(await server.AddKeyAsync(member, acme.Root, TimeSpan.FromHours(30)));
            server.Clock.Advance(TimeSpan.FromHours(31));
            var deleted = TestServer.IdOf(await server.AddKeyAsync(member, acme.Root));
            Assert.False((await server.Keys.DeleteAsync(Actor.Session(member), acme.Root, deleted)).IsRefused);
            string[] keys =
            [
                TestServer.IdOf(await server.AddKeyAsync(member, acme.Root)),
                TestServer.IdOf(await server.AddKeyAsync(member, acme.Root)),
            ];
            Assert.False((await server.Members.RemoveAsync(Actor.Session(acme.Owner), acme.Root, member)).IsRefused);

            var mail = Assert.Single(
                await server.MailsToAsync("person2@acme.example"),
                mail => mail.Subject!.Contains("Acme", StringComparison.Ordinal)
            );
            Assert.Equal("You are no longer a member of Acme, and 2 keys of yours ended", mail.Subject);
            foreach (var part in (string[])[.. keys, "Person 1 removed you", "It was never used.", "ask an owner of Acme"])
                Assert.Contains(part, mail.TextBody, StringComparison.Ordinal);
            foreach (var part in (string[])[expired, deleted])
                Assert.DoesNotContain(part, mail.TextBody, StringComparison.Ordinal);
        }

        [Fact]
        public async Task Whose_account_is_disabled_or_enabled_learns_of_it_once()
        {
            await using var server = await TestServer.StartAsync();
            var user = await server.AddUserAsync();
            foreach (var isDisabled in (bool[])[false, true, true, false, false])
                Assert.False((await server.Users.SetDisabledAsync(Actor.Operator, user, isDisabled)).IsRefused);
            var mails = await server.MailsToAsync("person1@acme.example");
            Assert.Equal(
                ["Your account was disabled", "Your account was enabled"],
                mails.Select(mail => mail.Subject).Order(StringComparer.Ordinal)
            );
            Assert.All(mails, mail => Assert.Contains(TimeText.Exact(server.Clock.GetUtcNow()), mail.TextBody, StringComparison.Ordinal));
        }

        [Fact]
        public async Task Whose_key_is_suspended_learns_when_by_whom_and_where_to_look()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var member = await server.AddMemberAsync(acme.Root);
            var key = TestServer.IdOf(await server.AddKeyAsync(member, acme.Root));
            Assert.False(
                (await server.Get<Inventory>().ActAsync(Actor.Session(acme.Owner), acme.Root, KeyAction.Suspend, [key])).IsRefused
            );
            var text = Assert.Single(await server.MailsToAsync("person2@acme.example")).TextBody;
            foreach (
                var part in (string[])
                    [
                        "Person 1, an owner or manager of Acme,",
                        TimeText.Exact(server.Clock.GetUtcNow()),
                        $"{server.Address}/organizations/{acme.Root}/security/keys/{key}",
                    ]
            )
                Assert.Contains(part, text, StringComparison.Ordinal);
        }
    }
}
