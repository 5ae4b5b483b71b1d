using System.Net;
using System.Text.RegularExpressions;
using OtpNet;

namespace Pakhouse.Tests;

public static partial class RealProviderTests
{
    /// <summary>
    /// An owner sends a link, and the person connects the two accounts. Written from the side of an owner who wants more than that.
    /// </summary>
    public class Connecting
    {
        private const string Ada = "person2@acme.example";

        /// <summary>As Entra ID has it: the address is there, and no word on whether it is verified.</summary>
        private static async Task<(TestServer Server, Acme Acme, Guid Ada)> StartAsync(NodeProvider provider, params string[] settings)
        {
            var server = await RealProviderTests.StartAsync(provider, settings);
            var owner = await IdAsync(server, "person1@acme.example");
            var root = Guid.Parse((await server.ScalarAsync<string>("SELECT id FROM organizations WHERE root_id IS NULL"))!);
            var sub = Guid.Parse((await server.ScalarAsync<string>("SELECT id FROM organizations WHERE root_id IS NOT NULL"))!);
            var ada = await server.AddMemberAsync(root);
            await BeAsync(server, provider, "subject-ada", Ada);
            return (server, new Acme(owner, root, sub), ada);
        }

        private static async Task<Guid> IdAsync(TestServer server, string email) =>
            Guid.Parse((await server.ScalarAsync<string>($"SELECT id FROM users WHERE email = '{email}'"))!);

        private static Task<string[]> BeAsync(TestServer server, NodeProvider provider, string subject, string email) =>
            RegisterAsync(
                server,
                provider,
                new()
                {
                    ["account"] = subject,
                    ["email"] = email,
                    ["emailVerified"] = null!,
                }
            );

        private static async Task<string> SendAsync(TestServer server, Acme acme, Guid member, string email = Ada)
        {
            Assert.Null((await server.Get<ProviderConnections>().SendAsync(Actor.Session(acme.Owner), acme.Root, member)).Refusal);
            return await LinkAsync(server, email);
        }

        /// <summary>Mails of one instant are in no order.</summary>
        private static async Task<string> LinkAsync(TestServer server, string email, string pattern = @"/sign-in/connect\?code=\S+") =>
            (await server.MailsToAsync(email))
                .Select(mail => Regex.Match(mail.TextBody!, pattern, RegexOptions.None, TimeSpan.FromSeconds(1)))
                .Last(match => match.Success)
                .Value;

        private static async Task AssertMailAsync(TestServer server, string email, string subject) =>
            Assert.Contains(subject, (await server.MailsToAsync(email)).Select(mail => mail.Subject));

        /// <summary>From the link to the page that asks for the yes.</summary>
        private static async Task<Answer> GoAsync(Visitor visitor, NodeProvider provider, string link)
        {
            Assert.Equal(HttpStatusCode.OK, (await visitor.GetAsync(link)).Status);
            return await ThroughAsync(visitor, provider, link);
        }

        private static async Task<Answer> ThroughAsync(Visitor visitor, NodeProvider provider, string link)
        {
            var away = await visitor.GetAsync($"/sign-in/provider?connect={link.Split('=')[1]}");
            var back = await visitor.GetAsync((await provider.FollowAsync(away.Header("Location")!)).PathAndQuery);
            Assert.Equal("/sign-in/connect", back.Header("Location"));
            return await visitor.GetAsync("/sign-in/connect");
        }

        private static Task<long> BoundAsync(TestServer server) => server.ScalarAsync<long>("SELECT COUNT(*) FROM provider_subjects");

        [Fact]
        public async Task A_person_whom_the_provider_does_not_vouch_for_connects_by_the_link_of_an_owner_and_everybody_concerned_is_told()
        {
            await using var provider = await NodeProvider.StartAsync();
            var (server, acme, ada) = await StartAsync(provider);
            await using var _ = server;
            Assert.Contains("An owner of your organization can send you a link", (await SignInAsync(server, provider)).Answer.Body);
            var other = await server.AddUserAsync("Owner of Umbra");
            var umbra = (await server.Organizations.CreateRootAsync(Actor.Operator, "Umbra", other)).Value;
            await server.Members.AddAsync(Actor.Operator, umbra, ada, NameSet.Empty);

            var owner = await Visitor.SignInAsync(server, "person1@acme.example");
            var page = $"/organizations/{acme.Root}/team/members/{ada}";
            var sent = await owner.SubmitToAsync(page, $"{page}?handler=Connect");
            Assert.Equal($"{page}?sent=true", sent.Header("Location"));
            Assert.Contains($"on its way to {Ada}", (await owner.GetAsync($"{page}?sent=true")).Body);
            var link = await LinkAsync(server, Ada);

            var visitor = new Visitor(server);
            var asked = await GoAsync(visitor, provider, link);
            foreach (var shown in (string[])["subject-ada", Ada, "Person 2"])
                Assert.Contains(shown, asked.Body);
            Assert.Equal(0, await BoundAsync(server)); // whatever was opened so far
            Assert.Equal("/", (await visitor.SubmitAsync("/sign-in/connect")).Header("Location"));
            Assert.Contains(Ada, (await visitor.GetAsync("/account")).Body);
            await AssertSignsInAsync(server, provider);
            Assert.Equal(HttpStatusCode.NotFound, (await new Visitor(server).GetAsync(link)).Status); // once

            await AssertMailAsync(server, Ada, "Pakhouse: single sign-on now opens your account");
            foreach (var told in (string[])["person1@acme.example", "person3@acme.example"])
                await AssertMailAsync(server, told, "Pakhouse: single sign-on now opens the account of Person 2");
            Assert.Equal(
                1,
                await server.ScalarAsync<long>(
                    $"SELECT COUNT(*) FROM activity WHERE action = 'Provider Link Send' AND organization_id = '{acme.Root}' AND "
                        + $"actor_user_id = '{acme.Owner}' AND target = '{ada}'"
                )
            );
            Assert.Equal(
                1,
                await server.ScalarAsync<long>($"SELECT COUNT(*) FROM activity WHERE action = 'Provider Bind' AND actor_user_id = '{ada}'")
            );

            // And undone, by the person.
            Assert.Equal(HttpStatusCode.SeeOther, (await visitor.SubmitToAsync("/account", "/account?handler=Disconnect")).Status);
            Assert.False(await IsSignedInAsync(visitor));
            Assert.Equal(HttpStatusCode.Forbidden, (await SignInAsync(server, provider)).Answer.Status);
            await AssertMailAsync(server, Ada, "Pakhouse: the identity provider no longer opens your account");
        }

        [Fact]
        public async Task Only_an_owner_of_an_organization_of_the_person_sends_it_with_a_fresh_sign_in_and_no_key_does()
        {
            await using var provider = await NodeProvider.StartAsync();
            var (server, acme, ada) = await StartAsync(provider);
            await using var _ = server;
            var connections = server.Get<ProviderConnections>();
            var manager = await server.AddMemberAsync(acme.Root, "organization-manager");
            var stranger = await server.AddUserAsync();
            await server.Organizations.CreateRootAsync(Actor.Operator, "Umbra", stranger);
            var owner = Actor.Session(acme.Owner);
            foreach (
                var (actor, code) in (IEnumerable<(Actor, RefusalCode)>)
                    [
                        (Actor.Session(manager), RefusalCode.AccessDenied),
                        (Actor.Session(ada), RefusalCode.AccessDenied),
                        (Actor.Session(stranger), RefusalCode.NotFound),
                        (Actor.Key(acme.Owner, "0000000000000000", TestServer.EveryScope, acme.Root), RefusalCode.AccessDenied),
                        (owner with { Freshness = Freshness.Recent }, RefusalCode.SignInNotFresh),
                    ]
            )
                Assert.Equal(code, (await connections.SendAsync(actor, acme.Root, ada)).Refusal!.Code);

            // Seen from the sub-organization Ada is an inherited member: she belongs to the root, whose owners may.
            var below = await server.AddMemberAsync(acme.Sub, "owner");
            Assert.Equal(RefusalCode.NotFound, (await connections.SendAsync(Actor.Session(below), acme.Sub, ada)).Refusal!.Code);
            Assert.Equal(RefusalCode.NotFound, (await connections.SendAsync(owner, acme.Root, stranger)).Refusal!.Code);
            await server.Users.SetDisabledAsync(Actor.Operator, ada, disabled: true);
            Assert.Equal(RefusalCode.Conflict, (await connections.SendAsync(owner, acme.Root, ada)).Refusal!.Code);
            Assert.Equal(0, await server.ScalarAsync<long>("SELECT COUNT(*) FROM password_resets"));
        }

        [Fact]
        public async Task An_owner_who_sends_it_gets_nothing_that_opens_the_account()
        {
            await using var provider = await NodeProvider.StartAsync();
            var (server, acme, ada) = await StartAsync(provider);
            await using var _ = server;
            var code = (await SendAsync(server, acme, ada)).Split('=')[1];
            Assert.Empty(await server.MailsToAsync("person1@acme.example"));
            Assert.DoesNotContain(server.Log.Lines, line => line.Contains(code, StringComparison.Ordinal));
            Assert.Equal(
                0,
                await server.ScalarAsync<long>($"SELECT COUNT(*) FROM activity WHERE target LIKE '%{code}%' OR detail LIKE '%{code}%'")
            );

            // With an account of the provider of their own, and everything that they can see, sign-in stays theirs.
            await BeAsync(server, provider, "subject-owner-2", Ada);
            Assert.Equal(HttpStatusCode.Forbidden, (await SignInAsync(server, provider)).Answer.Status);
            foreach (var guess in (string[])[$"{ada}", "subject-ada", new string('A', 43), new string('A', 65), ""])
                Assert.Equal(HttpStatusCode.NotFound, (await new Visitor(server).GetAsync($"/sign-in/connect?code={guess}")).Status);
            Assert.Equal(0, await BoundAsync(server));
        }

        [Fact]
        public async Task Who_is_led_to_the_link_of_somebody_else_connects_nothing()
        {
            await using var provider = await NodeProvider.StartAsync();
            var (server, acme, ada) = await StartAsync(provider);
            await using var _ = server;
            var eve = await server.AddMemberAsync(acme.Root);
            var link = await SendAsync(server, acme, eve, "person3@acme.example");

            // Ada's browser is sent to the provider with Eve's code, and back: a page asks, and names Eve's account.
            var victim = new Visitor(server);
            Assert.Contains("person3@acme.example", (await ThroughAsync(victim, provider, link)).Body);
            Assert.Equal(HttpStatusCode.BadRequest, (await victim.PostAsync("/sign-in/connect")).Status); // another site has no form
            Assert.Equal(0, await BoundAsync(server));
            // And a yes is none: the address that came along is another person's.
            Assert.Equal(HttpStatusCode.Conflict, (await victim.SubmitAsync("/sign-in/connect")).Status);
            Assert.Equal(0, await BoundAsync(server));
            Assert.False(await IsSignedInAsync(victim));

            // The answer of the provider to another browser is none.
            var away = await new Visitor(server).GetAsync($"/sign-in/provider?connect={link.Split('=')[1]}");
            var back = await provider.FollowAsync(away.Header("Location")!);
            Assert.Equal(HttpStatusCode.Forbidden, (await victim.GetAsync(back.PathAndQuery)).Status);
            Assert.Equal(HttpStatusCode.NotFound, (await new Visitor(server).GetAsync("/sign-in/connect")).Status);
        }

        [Fact]
        public async Task One_subject_is_one_person_and_one_person_has_one_subject()
        {
            await using var provider = await NodeProvider.StartAsync();
            var (server, acme, ada) = await StartAsync(provider);
            await using var _ = server;
            var subjects = server.Get<ProviderSubjects>();
            await subjects.BindAsync(Actor.Operator, "person1@acme.example", provider.Address, "subject-ada"); // the owner's
            var visitor = new Visitor(server);
            await GoAsync(visitor, provider, await SendAsync(server, acme, ada));
            Assert.Equal(HttpStatusCode.Conflict, (await visitor.SubmitAsync("/sign-in/connect")).Status);

            await subjects.UnbindAsync(Actor.Operator, "person1@acme.example");
            await subjects.BindAsync(Actor.Operator, Ada, provider.Address, "subject-ada-1");
            await GoAsync(visitor, provider, await SendAsync(server, acme, ada));
            Assert.Equal(HttpStatusCode.Conflict, (await visitor.SubmitAsync("/sign-in/connect")).Status);
            Assert.Equal("subject-ada-1", await server.ScalarAsync<string>("SELECT subject FROM provider_subjects"));

            // Already connected: the link just signs in.
            await BeAsync(server, provider, "subject-ada-1", "elsewhere@acme.example");
            await GoAsync(visitor, provider, await SendAsync(server, acme, ada));
            Assert.Equal(HttpStatusCode.SeeOther, (await visitor.SubmitAsync("/sign-in/connect")).Status);
            Assert.Equal(1, await BoundAsync(server));
        }

        [Fact]
        public async Task A_mail_does_not_replace_the_second_factor()
        {
            await using var provider = await NodeProvider.StartAsync();
            var (server, acme, ada) = await StartAsync(provider);
            await using var _ = server;
            var signedIn = await Visitor.SignInAsync(server, Ada);
            var factor = server.Get<SecondFactor>();
            var (secret, _) = factor.Offer(ada);
            var code = new Totp(Base32Encoding.ToBytes(secret)).ComputeTotp(server.Clock.GetUtcNow().UtcDateTime);
            Assert.Null((await factor.AddAsync(Actor.Session(ada), secret, code)).Refusal);

            var link = await SendAsync(server, acme, ada);
            var visitor = new Visitor(server);
            await GoAsync(visitor, provider, link);
            Assert.Equal(HttpStatusCode.Forbidden, (await visitor.SubmitAsync("/sign-in/connect")).Status);
            var owner = await Visitor.SignInAsync(server, "person1@acme.example"); // somebody else's session is none
            await GoAsync(owner, provider, link);
            Assert.Equal(HttpStatusCode.Forbidden, (await owner.SubmitAsync("/sign-in/connect")).Status);
            Assert.Equal(0, await BoundAsync(server));

            await GoAsync(signedIn, provider, link); // with a session in which she has just proved who she is
            Assert.Equal(HttpStatusCode.SeeOther, (await signedIn.SubmitAsync("/sign-in/connect")).Status);
        }

        [Theory, InlineData("disabled"), InlineData("deleted"), InlineData("old"), InlineData("used")]
        public async Task A_link_is_worth_nothing_once_its_account_is_closed_a_day_has_passed_or_it_was_used(string state)
        {
            await using var provider = await NodeProvider.StartAsync();
            var (server, acme, ada) = await StartAsync(provider);
            await using var _ = server;
            var link = await SendAsync(server, acme, ada);
            var visitor = new Visitor(server);
            var form = Visitor.Hidden(await GoAsync(visitor, provider, link), "/sign-in/connect").ToArray();
            if (state == "disabled")
                await server.Users.SetDisabledAsync(Actor.Operator, ada, disabled: true);
            if (state == "deleted")
                await server.Users.DeleteAsync(Actor.Operator, ada);
            if (state == "old")
                await server.ExecuteAsync($"UPDATE password_resets SET created_at = created_at - {24 * 3600 * 1000}");
            if (state == "used")
            {
                var copies = new[] { visitor.Copy(), visitor.Copy(), visitor.Copy(), visitor.Copy() };
                var answers = await Task.WhenAll(copies.Select(copy => copy.PostAsync("/sign-in/connect", form)));
                Assert.Single(answers, answer => answer.Status == HttpStatusCode.SeeOther);
                Assert.Equal(1, await server.ScalarAsync<long>("SELECT COUNT(*) FROM activity WHERE action = 'Provider Bind'"));
            }

            Assert.Equal(HttpStatusCode.NotFound, (await visitor.PostAsync("/sign-in/connect", form)).Status);
            Assert.Equal(HttpStatusCode.NotFound, (await new Visitor(server).GetAsync(link)).Status);
            Assert.Equal(state == "used" ? 1 : 0, await BoundAsync(server));
        }

        [Fact]
        public async Task Its_code_resets_no_password_and_a_code_that_does_connects_nothing()
        {
            await using var provider = await NodeProvider.StartAsync();
            var (server, acme, ada) = await StartAsync(provider);
            await using var _ = server;
            var code = (await SendAsync(server, acme, ada)).Split('=')[1];
            Assert.False(await server.Get<Passwords>().IsLinkGoodAsync(code));
            Assert.False(await server.Get<Passwords>().IsLinkGoodAsync($"connect {code}"));
            await server.Get<Passwords>().RequestResetAsync(Ada, null);
            var reset = (await LinkAsync(server, Ada, @"/reset-password\?code=\S+")).Split('=')[1];
            Assert.True(await server.Get<Passwords>().IsLinkGoodAsync(reset));
            Assert.True((await server.Get<ProviderConnections>().OpenAsync(reset)).IsRefused);

            // Both live as long as they say, though they stand in one table.
            server.Clock.Advance(TimeSpan.FromHours(2));
            await server.Get<Passwords>().RequestResetAsync("nobody@acme.example", null);
            Assert.False(await server.Get<Passwords>().IsLinkGoodAsync(reset));
            Assert.False((await server.Get<ProviderConnections>().OpenAsync(code)).IsRefused);
        }

        [Fact]
        public async Task Nobody_is_flooded_with_links_and_a_server_without_a_provider_sends_none()
        {
            await using var provider = await NodeProvider.StartAsync();
            var (server, acme, ada) = await StartAsync(provider);
            await using var _ = server;
            var connections = server.Get<ProviderConnections>();
            var answers = new List<Outcome<bool>>();
            for (var i = 0; i < 20; i++)
                answers.Add(await connections.SendAsync(Actor.Session(acme.Owner), acme.Root, ada));
            Assert.Equal(RefusalCode.SlowDown, answers[^1].Refusal!.Code);
            Assert.InRange((await server.MailsToAsync(Ada)).Count, 1, 10);

            await using var plain = await TestServer.StartAsync();
            var other = await plain.AddAcmeAsync();
            var member = await plain.AddMemberAsync(other.Root);
            Assert.Equal(
                RefusalCode.NotFound,
                (await plain.Get<ProviderConnections>().SendAsync(Actor.Session(other.Owner), other.Root, member)).Refusal!.Code
            );
            Assert.Equal(HttpStatusCode.NotFound, (await new Visitor(plain).GetAsync("/sign-in/connect?code=x")).Status);
            var owner = await Visitor.SignInAsync(plain, "person1@acme.example");
            Assert.DoesNotContain("Send a link", (await owner.GetAsync($"/organizations/{other.Root}/team/members/{member}")).Body);
        }

        [Fact]
        public async Task As_the_only_way_it_lets_in_who_was_invited_and_nobody_disconnects_themselves()
        {
            await using var provider = await NodeProvider.StartAsync();
            var (server, acme, ada) = await StartAsync(provider, "--Pakhouse:OidcOnly=true");
            await using var _ = server;
            var visitor = new Visitor(server);
            await GoAsync(visitor, provider, await SendAsync(server, acme, ada));
            Assert.Equal(HttpStatusCode.SeeOther, (await visitor.SubmitAsync("/sign-in/connect")).Status);
            Assert.Contains(Ada, (await visitor.GetAsync("/account")).Body);
            Assert.Equal(RefusalCode.Conflict, (await server.Get<ProviderSubjects>().DisconnectAsync(Actor.Session(ada))).Refusal!.Code);
        }
    }
}
