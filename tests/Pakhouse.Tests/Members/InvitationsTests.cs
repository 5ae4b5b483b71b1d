using System.Diagnostics;
using System.Net;
using System.Text.RegularExpressions;

namespace Pakhouse.Tests;

public static partial class InvitationsTests
{
    private const string New = "new@elsewhere.example";

    [GeneratedRegex("/invitations/(?<code>[A-Za-z0-9_-]{43})", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex Link();

    public class Inviting
    {
        [Fact]
        public async Task The_message_names_who_where_as_what_and_until_when_and_of_its_link_only_a_hash_is_kept()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var invited = await server.Invitations.InviteAsync(
                Actor.Session(acme.Owner),
                acme.Root,
                $" {New} ",
                [new(acme.Root, NameSet.Empty), new(acme.Sub, NameSet.Of("builder", "viewer"))]
            );
            Assert.Equal(["Acme", "Mobile"], invited.Value.OrganizationsAndRoles.Select(one => one.OrganizationName));

            var mail = (await server.MailsToAsync(New)).Single();
            Assert.Equal("Person 1 invites you to Acme", mail.Subject);
            foreach (
                var part in (string[])
                    [
                        "Person 1 (person1@ acme. example)",
                        "Acme: member",
                        "Mobile: Builder, Viewer",
                        "9 Nov 2026, 09:00 UTC",
                        $"{server.Address}/invitations/",
                    ]
            )
                Assert.Contains(part, mail.TextBody, StringComparison.Ordinal);
            var code = await CodeAsync(server);
            Assert.DoesNotContain(
                server.Log.Lines,
                line => line.Contains(code, StringComparison.Ordinal) || line.Contains(New, StringComparison.OrdinalIgnoreCase)
            );
            Assert.Equal(
                0,
                await server.ScalarAsync<long>($"SELECT COUNT(*) FROM activity WHERE target LIKE '%{code}%' OR detail LIKE '%@%'")
            );
            Assert.Equal(
                2,
                await server.ScalarAsync<long>(
                    $"SELECT COUNT(*) FROM activity WHERE action = 'Invite Create' AND target = '{invited.Value.Id}'"
                )
            );
        }

        /// <summary>The attack: find out who has an account by inviting.</summary>
        [Fact]
        public async Task An_address_with_an_account_and_one_without_get_the_same_answer_message_and_record()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            await server.AddUserAsync(); // person2
            var answers = new List<(string, string, string?)>();
            foreach (var email in (string[])["person2@acme.example", New])
            {
                var invitation = (
                    await server.Invitations.InviteAsync(
                        Actor.Session(acme.Owner),
                        acme.Root,
                        email,
                        [new(acme.Root, NameSet.Of("viewer"))]
                    )
                ).Value;
                var mail = (await server.MailsToAsync(email)).Single();
                answers.Add(
                    (
                        Link().Replace(mail.TextBody!, "LINK"),
                        string.Join(' ', invitation.OrganizationsAndRoles.Select(one => one.Roles)),
                        await server.ScalarAsync<string>(
                            $"SELECT action || COALESCE(subject_user_id, '') || detail FROM activity WHERE target = '{invitation.Id}'"
                        )
                    )
                );
            }

            Assert.Single(answers.Distinct());
        }

        /// <summary>Medians of tries that take turns; the control of this measure stands with that of the sign-in.</summary>
        [Fact]
        public async Task They_take_the_same_time()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var times = new Dictionary<bool, List<double>> { [true] = [], [false] = [] };
            for (var i = 0; i < 30; i++)
            {
                await server.AddUserAsync(); // person2, person3, …
                foreach (var isKnown in (bool[])[true, false])
                {
                    var start = Stopwatch.GetTimestamp();
                    await server.Invitations.InviteAsync(
                        Actor.Session(acme.Owner),
                        acme.Root,
                        isKnown ? $"person{i + 2}@acme.example" : $"nobody{i + 2}@acme.example",
                        [new(acme.Root, NameSet.Empty)]
                    );
                    if (i >= 5)
                        times[isKnown].Add(Stopwatch.GetElapsedTime(start).TotalMilliseconds);
                }
            }

            Assert.InRange(times[true].Order().ElementAt(12) / times[false].Order().ElementAt(12), 0.67, 1.5);
        }

        /// <summary>The attack: this server's good name, and a link of one's own.</summary>
        [Fact]
        public async Task A_name_that_is_an_address_becomes_no_link_in_the_message()
        {
            await using var server = await TestServer.StartAsync();
            var owner = await server.AddUserAsync("www.evil.example");
            var root = (await server.Organizations.CreateRootAsync(Actor.Operator, "Prize at https://evil.example/x", owner)).Value;
            await server.Invitations.InviteAsync(Actor.Session(owner), root, New, [new(root, NameSet.Empty)]);
            var mail = (await server.MailsToAsync(New)).Single();
            Assert.DoesNotContain("evil.example", mail.Subject + mail.TextBody, StringComparison.Ordinal);
            Assert.Equal("www. evil. example invites you to Prize at https: / / evil. example/ x", mail.Subject);
        }

        [Fact]
        public async Task Who_may_invite_and_give_what_is_decided_in_each_organization()
        {
            await using var server = await TestServer.StartAsync();
            var (acme, other) = (await server.AddAcmeAsync(), await server.AddAcmeAsync());
            var (manager, subManager, viewer) = (
                await server.AddMemberAsync(acme.Root, "organization-manager"),
                await server.AddMemberAsync(acme.Sub, "organization-manager"),
                await server.AddMemberAsync(acme.Root, "organization-viewer")
            );
            async Task<RefusalCode?> InviteAsync(Actor actor, Guid from, Guid to, params string[] roles) =>
                (await server.Invitations.InviteAsync(actor, from, New, [new(to, NameSet.Of(roles))])).Refusal?.Code;

            // the command line does
            Assert.Null(await InviteAsync(Actor.Key(manager, "0000000000000000", TestServer.EveryScope), acme.Root, acme.Sub, "builder"));
            Assert.Null(await InviteAsync(Actor.Session(acme.Owner), acme.Sub, acme.Sub, "owner")); // an owner of the root is one below
            Assert.Equal(RefusalCode.AccessDenied, await InviteAsync(Actor.Session(manager), acme.Root, acme.Sub, "owner"));
            Assert.Equal(RefusalCode.AccessDenied, await InviteAsync(Actor.Session(manager), acme.Root, acme.Root, "owner"));
            Assert.Equal(RefusalCode.AccessDenied, await InviteAsync(Actor.Session(viewer), acme.Root, acme.Root));
            Assert.Equal(RefusalCode.NotFound, await InviteAsync(Actor.Session(subManager), acme.Sub, acme.Root)); // upwards
            // not below where it is done
            Assert.Equal(RefusalCode.NotFound, await InviteAsync(Actor.Session(acme.Owner), acme.Sub, acme.Root));
            Assert.Equal(RefusalCode.NotFound, await InviteAsync(Actor.Session(acme.Owner), acme.Root, other.Root));
            Assert.Equal(RefusalCode.NotFound, await InviteAsync(Actor.Session(acme.Owner), acme.Root, other.Sub));
            Assert.Equal(RefusalCode.InvalidRequest, await InviteAsync(Actor.Session(acme.Owner), acme.Root, acme.Root, "no-such-role"));
        }

        [Theory]
        [InlineData("")]
        [InlineData("no address")]
        [InlineData("a@b@c")]
        [InlineData("a@b\r\nBcc: c@d.example")]
        [InlineData("a,c@d.example")]
        [InlineData("<a@b.example>")]
        public async Task What_is_no_address_is_refused(string email)
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            Assert.Equal(
                RefusalCode.InvalidRequest,
                (await server.Invitations.InviteAsync(Actor.Session(acme.Owner), acme.Root, email, [new(acme.Root, NameSet.Empty)]))
                    .Refusal!
                    .Code
            );
        }

        /// <summary>The attack: make an organization, and have this server write to strangers.</summary>
        [Fact]
        public async Task So_many_go_out_in_a_day_for_a_root_and_for_an_address()
        {
            await using var server = await TestServer.StartAsync("--Pakhouse:InvitationsPerDayMax=22");
            var acme = await server.AddAcmeAsync();
            var owner = Actor.Session(acme.Owner);
            Task<Outcome<Invitation>> InviteAsync(string email) =>
                server.Invitations.InviteAsync(owner, acme.Root, email, [new(acme.Root, NameSet.Empty)]);
            for (var i = 0; i < InvitationMessages.MessagesPerAddressMax; i++)
            {
                Assert.False((await InviteAsync(New)).IsRefused);
                await server.Invitations.WithdrawAsync(owner, acme.Root, New); // to begin anew does not help
            }

            Assert.Equal(RefusalCode.SlowDown, (await InviteAsync(New)).Refusal!.Code);
            Assert.False((await InviteAsync("a@elsewhere.example")).IsRefused);
            Assert.False((await InviteAsync("b@elsewhere.example")).IsRefused);
            Assert.Equal(RefusalCode.SlowDown, (await InviteAsync("c@elsewhere.example")).Refusal!.Code);
            server.Clock.Advance(TimeSpan.FromDays(1));
            Assert.False((await InviteAsync(New)).IsRefused);
        }

        [Fact]
        public async Task A_sub_organization_sees_changes_sends_and_withdraws_its_part_alone()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var (owner, subManager) = (
                Actor.Session(acme.Owner),
                Actor.Session(await server.AddMemberAsync(acme.Sub, "organization-manager"))
            );
            await server.Invitations.InviteAsync(
                owner,
                acme.Root,
                New,
                [new(acme.Root, NameSet.Of("owner")), new(acme.Sub, NameSet.Of("viewer"))]
            );
            server.Clock.Advance(TimeSpan.FromDays(5));

            Assert.Equal(
                "viewer",
                (await server.Invitations.ListAsync(subManager, acme.Sub)).Value.Single().OrganizationsAndRoles.Single().Roles.ToString()
            );
            Assert.Equal(
                "tester",
                (await server.Invitations.SetRolesAsync(subManager, acme.Sub, New, [new(acme.Sub, NameSet.Of("tester"))]))
                    .Value.OrganizationsAndRoles.Single()
                    .Roles.ToString()
            );
            await server.Invitations.SendAgainAsync(subManager, acme.Sub, New);

            // The attack: from below, keep an invitation alive that makes an owner of the root.
            server.Clock.Advance(TimeSpan.FromDays(3));
            var opened = (await server.Get<InvitationAnswers>().OpenAsync(await CodeAsync(server))).Value;
            Assert.Equal([acme.Sub], opened.Invitation.OrganizationsAndRoles.Select(one => one.OrganizationId));

            Assert.False((await server.Invitations.WithdrawAsync(subManager, acme.Sub, New)).IsRefused);
            Assert.Equal(
                [acme.Root],
                (await server.Invitations.ListAsync(owner, acme.Root))
                    .Value.Single()
                    .OrganizationsAndRoles.Select(one => one.OrganizationId)
            );
            Assert.Equal(RefusalCode.NotFound, (await server.Invitations.SendAgainAsync(subManager, acme.Sub, New)).Refusal!.Code);
        }

        [Fact]
        public async Task A_manager_does_not_send_an_owners_invitation_again()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var manager = await server.AddMemberAsync(acme.Root, "organization-manager");
            await server.Invitations.InviteAsync(Actor.Session(acme.Owner), acme.Root, New, [new(acme.Root, NameSet.Of("owner"))]);
            Assert.Equal(
                RefusalCode.AccessDenied,
                (await server.Invitations.SendAgainAsync(Actor.Session(manager), acme.Root, New)).Refusal!.Code
            );
            Assert.Equal(
                RefusalCode.Conflict,
                (
                    await server.Invitations.InviteAsync(
                        Actor.Session(manager),
                        acme.Root,
                        "person2@acme.example",
                        [new(acme.Root, NameSet.Empty)]
                    )
                )
                    .Refusal!
                    .Code
            ); // a member already
        }
    }

    public class Accepting
    {
        [Fact]
        public async Task Somebody_new_signs_up_and_the_code_is_used()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var code = await InviteAsync(server, acme);
            var user = (await server.Get<InvitationAnswers>().SignUpAsync(code, "Nora New", TestServer.Password, IPAddress.Loopback)).Value;
            Assert.Equal((New, "Nora New"), (user.Email, user.Name));
            var member = (await server.Members.FindAsync(Actor.Session(acme.Owner), acme.Sub, user.Id)).Value;
            Assert.Equal("builder", member.Roles.ToString());
            Assert.Equal(
                $"{user.Id} builder",
                await server.ScalarAsync<string>("SELECT actor_user_id || ' ' || detail FROM activity WHERE action = 'Invite Accept'")
            );
            Assert.Equal(200, (int)(await server.ExchangeAsync(await server.AddKeyAsync(user.Id, acme.Sub))).Status);

            Assert.Equal(
                RefusalCode.NotFound,
                (await server.Get<InvitationAnswers>().AcceptAsync(Actor.Session(user.Id), code)).Refusal!.Code
            );
            Assert.Empty((await server.Invitations.ListAsync(Actor.Session(acme.Owner), acme.Root)).Value);
        }

        [Fact]
        public async Task Somebody_with_an_account_accepts_with_it_and_nobody_else_does()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var (person, other) = (await server.AddUserAsync(), await server.AddUserAsync());
            var code = await InviteAsync(server, acme, "PERSON2@acme.example");
            var answers = server.Get<InvitationAnswers>();
            Assert.Equal(RefusalCode.AccessDenied, (await answers.AcceptAsync(Actor.Session(other), code)).Refusal!.Code);
            Assert.Equal(
                RefusalCode.AccessDenied,
                (await answers.AcceptAsync(Actor.Key(person, "0000000000000000", TestServer.EveryScope), code)).Refusal!.Code
            );
            Assert.True((await answers.OpenAsync(code)).Value.HasAccount);
            Assert.Equal(RefusalCode.Conflict, (await answers.SignUpAsync(code, "Again", TestServer.Password, null)).Refusal!.Code);
            Assert.Equal(acme.Sub, (await answers.AcceptAsync(Actor.Session(person), code)).Value);
        }

        [Fact]
        public async Task Of_many_who_use_a_code_at_once_one_does()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var person = await server.AddUserAsync();
            var code = await InviteAsync(server, acme, "person2@acme.example");
            var outcomes = await Task.WhenAll(
                Enumerable.Range(0, 8).Select(_ => Task.Run(() => server.Get<InvitationAnswers>().AcceptAsync(Actor.Session(person), code)))
            );
            Assert.Single(outcomes, outcome => !outcome.IsRefused);
        }

        [Theory]
        [InlineData("expired")]
        [InlineData("withdrawn")]
        [InlineData("sent again")]
        [InlineData("organization deleted")]
        [InlineData("root deleted")]
        [InlineData("made up")]
        public async Task A_code_that_has_ended_and_one_that_never_was_get_one_answer(string how)
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var owner = Actor.Session(acme.Owner);
            var code = await InviteAsync(server, acme);
            switch (how)
            {
                case "expired":
                    server.Clock.Advance(TimeSpan.FromDays(7));
                    break;
                case "withdrawn":
                    await server.Invitations.WithdrawAsync(owner, acme.Root, New);
                    break;
                case "sent again":
                    await server.Invitations.SendAgainAsync(owner, acme.Root, New);
                    break;
                case "organization deleted":
                    await server.Organizations.DeleteAsync(owner, acme.Sub, "Mobile");
                    break;
                case "root deleted":
                    await server.Organizations.DeleteAsync(owner, acme.Root, "Acme");
                    break;
                default:
                    code = new string('x', 43);
                    break;
            }

            var answers = server.Get<InvitationAnswers>();
            var refusal = (await answers.OpenAsync(code)).Refusal!;
            Assert.Equal((await answers.OpenAsync("")).Refusal, refusal);
            Assert.Equal(refusal, (await answers.SignUpAsync(code, "Nora New", TestServer.Password, null)).Refusal);
            Assert.Null(await server.Users.FindByEmailAsync(New));
            if (how != "sent again")
                return;
            // Of two messages of one moment neither is the first; one of their links works.
            var links = (await server.MailsToAsync(New)).Select(mail => Link().Match(mail.TextBody!).Groups["code"].Value).ToList();
            Assert.Equal(2, links.Count);
            Assert.NotEqual((await answers.OpenAsync(links[0])).IsRefused, (await answers.OpenAsync(links[1])).IsRefused);
        }

        [Fact]
        public async Task While_an_organization_is_disabled_its_invitations_wait()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var code = await InviteAsync(server, acme);
            await server.Organizations.SetDisabledAsync(Actor.Session(acme.Owner), acme.Root, disabled: true);
            Assert.Equal(
                RefusalCode.Conflict,
                (await server.Get<InvitationAnswers>().SignUpAsync(code, "Nora New", TestServer.Password, null)).Refusal!.Code
            );
            await server.Organizations.SetDisabledAsync(Actor.Session(acme.Owner), acme.Root, disabled: false);
            Assert.False((await server.Get<InvitationAnswers>().SignUpAsync(code, "Nora New", TestServer.Password, null)).IsRefused);
        }
    }

    public class Page
    {
        [Fact]
        public async Task Opening_the_link_any_number_of_times_changes_nothing_and_a_form_without_its_page_is_refused()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var code = await InviteAsync(server, acme);
            for (var i = 0; i < 2; i++)
            {
                var answer = await server.GetAsync($"/invitations/{code}");
                Assert.Equal(HttpStatusCode.OK, answer.Status);
                Assert.Contains("Create account and join", answer.Body, StringComparison.Ordinal);
                Assert.Equal("no-referrer", answer.Header("Referrer-Policy"));
                Assert.Contains("no-store", answer.Header("Cache-Control"), StringComparison.Ordinal);
            }

            Assert.Equal(
                HttpStatusCode.BadRequest,
                (await server.PostAsync($"/invitations/{code}", ("UserName", "Nora"), ("Password", TestServer.Password))).Status
            );
            Assert.Null(await server.Users.FindByEmailAsync(New));
            Assert.Equal(HttpStatusCode.NotFound, (await server.GetAsync("/invitations/unknown")).Status);
            Assert.Equal(HttpStatusCode.NotFound, (await server.GetAsync($"/invitations/{new string('x', 65)}")).Status);
        }

        [Fact]
        public async Task An_address_that_has_an_account_is_asked_to_sign_in()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            await server.AddUserAsync();
            var code = await InviteAsync(server, acme, "person2@acme.example");
            Assert.Contains(
                $"/sign-in?from=%2Finvitations%2F{code}",
                (await server.GetAsync($"/invitations/{code}")).Body,
                StringComparison.Ordinal
            );
        }
    }

    private static async Task<string> InviteAsync(TestServer server, Acme acme, string email = New)
    {
        var invited = await server.Invitations.InviteAsync(
            Actor.Session(acme.Owner),
            acme.Root,
            email,
            [new(acme.Sub, NameSet.Of("builder"))]
        );
        Assert.False(invited.IsRefused);
        return await CodeAsync(server, email);
    }

    private static async Task<string> CodeAsync(TestServer server, string email = New) =>
        Link().Match((await server.MailsToAsync(email))[^1].TextBody!).Groups["code"].Value;
}
