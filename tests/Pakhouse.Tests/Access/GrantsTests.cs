using System.Text.RegularExpressions;

namespace Pakhouse.Tests;

/// <summary>
/// R7: by what a key gives, nobody has authority that outlives the key; and an invitation is worth what its sender may give when it is
/// accepted.
/// </summary>
public static partial class GrantsTests
{
    private const string New = "new@elsewhere.example";

    /// <summary>Held of CVE lists: GHSA-683j-3ff6-hh2x (Gitea), CVE-2021-32688 (Nextcloud), CVE-2026-72828 (Grav).</summary>
    public class WithAKey
    {
        [Theory]
        [InlineData("owner")]
        [InlineData("organization-manager")]
        [InlineData("organization-viewer")]
        public async Task Authority_is_given_by_no_door(string role)
        {
            await using var server = await TestServer.StartAsync();
            foreach (var isApiKey in (bool[])[false, true])
            {
                var acme = await server.AddAcmeAsync();
                var key = await KeyAsync(server, acme, isApiKey);
                var member = await server.AddMemberAsync(acme.Root, "builder");
                var mixed = NameSet.Of("builder", role);
                OrganizationRoles[] wanted = [new(acme.Root, mixed)];
                Refused(await server.Invitations.InviteAsync(key, acme.Root, New, wanted));
                Refused(await server.Invitations.InviteAsync(key, acme.Root, New, [new(acme.Root, NameSet.Empty), new(acme.Sub, mixed)]));
                Refused(await server.Invitations.InviteAsync(key, acme.Sub, New, [new(acme.Sub, mixed)]));
                Refused(await server.Members.AddAsync(key, acme.Sub, member, mixed));
                Refused(await server.Members.SetRolesAsync(key, acme.Root, member, mixed));
                await server.Invitations.InviteAsync(Actor.Session(acme.Owner), acme.Root, New, wanted);
                Refused(await server.Invitations.SendAgainAsync(key, acme.Root, New)); // would prolong it
                Refused(await server.Invitations.SetRolesAsync(key, acme.Root, New, wanted));

                // The control: the same by a session, and with the platform's own roles by the key.
                Assert.False((await server.Members.SetRolesAsync(Actor.Session(acme.Owner), acme.Root, member, mixed)).IsRefused);
                Assert.False(
                    (
                        await server.Invitations.InviteAsync(key, acme.Root, "b@elsewhere.example", [new(acme.Root, NameSet.Of("builder"))])
                    ).IsRefused
                );
            }
        }

        /// <summary>CVE-2026-22640 (Grafana).</summary>
        [Theory]
        [InlineData("owner")]
        [InlineData("organization-manager")]
        [InlineData("organization-viewer")]
        public async Task Who_holds_authority_is_neither_removed_nor_demoted(string role)
        {
            await using var server = await TestServer.StartAsync();
            foreach (var isApiKey in (bool[])[false, true])
            {
                var acme = await server.AddAcmeAsync();
                var key = await KeyAsync(server, acme, isApiKey);
                var holder = await server.AddMemberAsync(acme.Root, role, "builder");
                await server.Members.AddAsync(Actor.Session(acme.Owner), acme.Sub, holder, NameSet.Of("builder"));
                Refused(await server.Members.RemoveAsync(key, acme.Root, holder));
                Refused(await server.Members.RemoveAsync(key, acme.Sub, holder)); // holds it there by the root
                Refused(await server.Members.SetRolesAsync(key, acme.Root, holder, NameSet.Of("builder")));
                Refused(await server.Members.SetRolesAsync(key, acme.Root, holder, NameSet.Empty));
                Assert.False((await server.Members.SetRolesAsync(key, acme.Root, holder, NameSet.Of(role, "viewer"))).IsRefused);
                Assert.False((await server.Members.RemoveAsync(Actor.Session(acme.Owner), acme.Root, holder)).IsRefused);
            }
        }

        [Fact]
        public async Task The_policy_decides_what_it_gives_and_the_root_bounds_its_sub_organizations()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await KeyAsync(server, acme, isApiKey: false);
            var number = 0;
            async Task<bool> MayAsync(Guid organization, params string[] roles) =>
                !(
                    await server.Invitations.InviteAsync(
                        key,
                        organization,
                        $"a{number++}@elsewhere.example",
                        [new(organization, NameSet.Of(roles))]
                    )
                ).IsRefused;
            foreach (
                var (root, sub, none, platform, authority) in new (KeysMayGrant?, KeysMayGrant?, bool, bool, bool)[]
                {
                    (null, null, true, true, false),
                    (KeysMayGrant.PlatformRoles, null, true, true, false),
                    (KeysMayGrant.None, null, false, false, false),
                    (KeysMayGrant.All, null, true, true, true),
                    (KeysMayGrant.All, KeysMayGrant.None, false, false, false),
                    (KeysMayGrant.None, KeysMayGrant.All, false, false, false),
                    (KeysMayGrant.PlatformRoles, KeysMayGrant.All, true, true, false),
                }
            )
            {
                await SetPolicyAsync(server, acme.Owner, acme.Root, new() { KeysMayGrant = root });
                await SetPolicyAsync(server, acme.Owner, acme.Sub, new() { KeysMayGrant = sub });
                Assert.Equal(
                    (none, platform, authority),
                    (await MayAsync(acme.Sub), await MayAsync(acme.Sub, "builder"), await MayAsync(acme.Sub, "owner"))
                );
            }
        }

        /// <summary>A role that enters the permission table is authority from then on.</summary>
        [Fact]
        public void Every_role_that_the_permission_table_names_is_authority()
        {
            foreach (var permission in Enum.GetValues<Permission>())
                Assert.All(Permissions.Of(permission).Roles, role => Assert.True(Permissions.IsAuthority(role)));
            Assert.All(BuiltInRoles.All, role => Assert.True(Permissions.IsAuthority(role)));
            Assert.False(Permissions.IsAuthority("builder"));
        }

        [Fact]
        public async Task Owners_learn_of_each_change_by_mail_record_and_webhook()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await KeyAsync(server, acme, isApiKey: false);
            await server.ExecuteAsync(
                $"INSERT INTO webhooks (id, organization_id, url, events, secret, created_at) SELECT '{Ids.New(server.Clock)}', "
                    + $"'{acme.Root}', 'https://hooks.example.com/', '*', hash, 1 FROM access_keys LIMIT 1"
            );
            await server.Invitations.InviteAsync(key, acme.Root, New, [new(acme.Root, NameSet.Of("builder"))]);
            var code = await CodeAsync(server);
            var user = (await server.Get<InvitationAnswers>().SignUpAsync(code, "New", TestServer.Password, null)).Value.Id;
            await server.Members.SetRolesAsync(key, acme.Root, user, NameSet.Of("viewer"));
            await server.Members.AddAsync(key, acme.Sub, user, NameSet.Empty);
            await server.Members.RemoveAsync(key, acme.Root, user);

            var mails = (await server.MailsToAsync("person1@acme.example"))
                .Where(mail => mail.Subject!.StartsWith("A key changed", StringComparison.Ordinal))
                .ToList();
            Assert.Equal(5, mails.Count);
            foreach (
                var words in (string[])
                    [
                        "invited new@ elsewhere. example (builder)",
                        "its invitation was accepted",
                        "changed the roles of New (builder → viewer)",
                        "made New a member (no roles)",
                        "removed New (viewer)",
                    ]
            )
                Assert.Single(
                    mails,
                    mail =>
                        mail.TextBody!.Contains(words, StringComparison.Ordinal)
                        && mail.TextBody.Contains(key.KeyId!, StringComparison.Ordinal)
                );
            Assert.Equal(
                5,
                await server.ScalarAsync<long>(
                    $"SELECT COUNT(*) FROM webhook_messages WHERE type = 'membership.changed_by_key' AND body LIKE '%{key.KeyId}%'"
                )
            );
            Assert.Equal(4, await server.ScalarAsync<long>($"SELECT COUNT(*) FROM activity WHERE actor_key_id = '{key.KeyId}'"));

            // The control: of what a person does with a session nobody is told so.
            await server.Members.SetRolesAsync(Actor.Session(acme.Owner), acme.Sub, user, NameSet.Of("viewer"));
            Assert.Equal(
                5,
                (await server.MailsToAsync("person1@acme.example")).Count(mail =>
                    mail.Subject!.StartsWith("A key changed", StringComparison.Ordinal)
                )
            );
        }
    }

    /// <summary>CVE-2026-72828 (Grav), CVE-2026-29061 (Gokapi), CVE-2026-33031 (nginx-ui).</summary>
    public class AnInvitation
    {
        public static TheoryData<string> Ends => ["demoted", "removed", "disabled", "owner's role taken"];

        [Theory]
        [MemberData(nameof(Ends))]
        public async Task Is_worth_nothing_when_the_person_who_sent_it_could_not_send_it_any_more(string end)
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var sender = await server.AddMemberAsync(acme.Root, "owner");
            await server.Invitations.InviteAsync(Actor.Session(sender), acme.Root, New, [new(acme.Root, NameSet.Of("owner"))]);
            var code = await CodeAsync(server);
            var owner = Actor.Session(acme.Owner);
            Assert.False((await server.Get<InvitationAnswers>().OpenAsync(code)).IsRefused);
            _ = end switch
            {
                "demoted" => await server.Members.SetRolesAsync(owner, acme.Root, sender, NameSet.Empty),
                "removed" => await server.Members.RemoveAsync(owner, acme.Root, sender),
                "disabled" => await server.Users.SetDisabledAsync(Actor.Operator, sender, true),
                // may invite, and not an owner
                _ => await server.Members.SetRolesAsync(owner, acme.Root, sender, NameSet.Of("organization-manager")),
            };
            await WorthNothingAsync(server, code);
        }

        public static TheoryData<string, bool> KeyEnds
        {
            get
            {
                var data = new TheoryData<string, bool>();
                foreach (var end in (string[])["deleted", "expired", "suspended", "holder demoted", "policy", "networks are not asked"])
                    foreach (var isApiKey in (bool[])[false, true])
                        if (end != "expired" || !isApiKey)
                            data.Add(end, isApiKey);
                return data;
            }
        }

        [Theory]
        [MemberData(nameof(KeyEnds))]
        public async Task Is_worth_nothing_when_the_key_that_sent_it_could_not_send_it_any_more(string end, bool isApiKey)
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await KeyAsync(server, acme, isApiKey);
            await server.Invitations.InviteAsync(key, acme.Root, New, [new(acme.Root, NameSet.Of("builder"))]);
            var code = await CodeAsync(server);
            Assert.False((await server.Get<InvitationAnswers>().OpenAsync(code)).IsRefused);
            switch (end)
            {
                case "deleted" when isApiKey:
                    Assert.False((await server.Get<ApiKeys>().DeleteAsync(Actor.Session(acme.Owner), acme.Root, key.KeyId!)).IsRefused);
                    break;
                case "deleted":
                    Assert.False((await server.Keys.DeleteAsync(Actor.Session(acme.Owner), acme.Root, key.KeyId!)).IsRefused);
                    break;
                case "expired":
                    await server.ExecuteAsync($"UPDATE access_keys SET expires_at = 1 WHERE id = '{key.KeyId}'");
                    break;
                case "suspended":
                    await server.ExecuteAsync($"UPDATE access_keys SET suspended_at = 1 WHERE id = '{key.KeyId}'");
                    break;
                case "holder demoted":
                    await server.ExecuteAsync(
                        $"UPDATE memberships SET roles = 'builder' WHERE id = (SELECT membership_id FROM access_keys WHERE id = "
                            + $"'{key.KeyId}')"
                    );
                    break;
                case "policy":
                    await SetPolicyAsync(server, acme.Owner, acme.Root, new() { KeysMayGrant = KeysMayGrant.None });
                    break;
                default:
                    await SetPolicyAsync(
                        server,
                        acme.Owner,
                        acme.Root,
                        new() { Networks = NetworkSet.TryParse(["192.0.2.0/24"], out var networks) ? networks : null }
                    );
                    Assert.False((await server.Get<InvitationAnswers>().OpenAsync(code)).IsRefused);
                    return;
            }

            await WorthNothingAsync(server, code);
        }

        [Fact]
        public async Task Of_owners_by_a_key_under_the_policy_all_ends_with_that_policy()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await KeyAsync(server, acme, isApiKey: false);
            await SetPolicyAsync(server, acme.Owner, acme.Root, new() { KeysMayGrant = KeysMayGrant.All });
            Assert.False((await server.Invitations.InviteAsync(key, acme.Root, New, [new(acme.Root, NameSet.Of("owner"))])).IsRefused);
            var code = await CodeAsync(server);
            await SetPolicyAsync(server, acme.Owner, acme.Root, new());
            await WorthNothingAsync(server, code);
        }

        [Fact]
        public async Task Of_several_senders_gives_what_those_may_who_still_may()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var sender = await server.AddMemberAsync(acme.Root, "organization-manager");
            await server.Invitations.InviteAsync(
                Actor.Session(sender),
                acme.Root,
                New,
                [new(acme.Root, NameSet.Of("organization-manager"))]
            );
            server.Clock.Advance(TimeSpan.FromSeconds(1));
            await server.Invitations.InviteAsync(Actor.Session(acme.Owner), acme.Root, New, [new(acme.Sub, NameSet.Of("builder"))]);
            await server.Members.RemoveAsync(Actor.Session(acme.Owner), acme.Root, sender);
            var code = await CodeAsync(server);
            Assert.Equal(
                [acme.Sub],
                (await server.Get<InvitationAnswers>().OpenAsync(code)).Value.Invitation.OrganizationsAndRoles.Select(one =>
                    one.OrganizationId
                )
            );
            var user = (await server.Get<InvitationAnswers>().SignUpAsync(code, "New", TestServer.Password, null)).Value;
            Assert.Equal("builder", await server.ScalarAsync<string>($"SELECT roles FROM memberships WHERE user_id = '{user.Id}'"));
            Assert.Equal(0, await server.ScalarAsync<long>("SELECT COUNT(*) FROM invitation_parts"));
        }

        [Fact]
        public async Task Of_a_key_that_ends_is_withdrawn_in_the_same_transaction()
        {
            await using var server = await TestServer.StartAsync();
            foreach (var end in (string[])["holder", "manager", "leak", "operator"])
            {
                var acme = await server.AddAcmeAsync();
                var text = await server.AddKeyAsync(acme.Owner, acme.Root);
                var (owner, keyId) = (Actor.Session(acme.Owner), TestServer.IdOf(text));
                await server.Invitations.InviteAsync(
                    Actor.Key(acme.Owner, keyId, TestServer.EveryScope),
                    acme.Root,
                    New,
                    [new(acme.Root, NameSet.Empty), new(acme.Sub, NameSet.Of("builder"))]
                );
                await server.Invitations.InviteAsync(owner, acme.Root, "kept@elsewhere.example", [new(acme.Root, NameSet.Empty)]);
                switch (end)
                {
                    case "holder":
                        await server.Keys.DeleteAsync(owner, acme.Root, keyId);
                        break;
                    case "manager":
                        await server.Get<Inventory>().ActAsync(owner, acme.Root, KeyAction.Delete, [keyId]);
                        break;
                    case "operator":
                        await server.Keys.DeleteByOperatorAsync(Actor.Operator, keyId);
                        break;
                    default:
                        await server
                            .Get<Leaks>()
                            .RevokeAsync(
                                [new(keyId, System.Security.Cryptography.SHA256.HashData(System.Text.Encoding.ASCII.GetBytes(text)))],
                                "a scanner",
                                null
                            );
                        break;
                }

                Assert.Equal(
                    ["kept@elsewhere.example"],
                    (await server.Invitations.ListAsync(owner, acme.Root)).Value.Select(one => one.Email)
                );
                Assert.Equal(
                    2,
                    await server.ScalarAsync<long>(
                        $"SELECT COUNT(*) FROM activity WHERE action = 'Invite Delete' AND detail LIKE '%key {keyId} ended'"
                    )
                );
            }
        }

        [Fact]
        public async Task Of_before_the_server_asked_is_known_by_the_record()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await KeyAsync(server, acme, isApiKey: false);
            await server.Invitations.InviteAsync(key, acme.Root, New, [new(acme.Root, NameSet.Empty)]);
            await server.ExecuteAsync("UPDATE invitation_parts SET key_id = NULL");
            var migration = await File.ReadAllTextAsync(
                Path.Combine(Repository.Root, "src", "Pakhouse.Server", "Storage", "schema", "unreleased", "012.sql")
            );
            await server.ExecuteAsync(Update().Match(migration).Value);
            Assert.Equal(key.KeyId, await server.ScalarAsync<string>("SELECT key_id FROM invitation_parts"));
        }
    }

    public class ThePageOfAKeyThatEnded
    {
        [Fact]
        public async Task Lists_all_that_it_did_with_an_undo_for_each_thing_that_it_gave()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await KeyAsync(server, acme, isApiKey: false);
            var (owner, deeds) = (Actor.Session(acme.Owner), server.Get<KeyChanges>());
            var member = await server.AddMemberAsync(acme.Root, "viewer");
            await server.Members.SetRolesAsync(key, acme.Root, member, NameSet.Of("builder"));
            await server.Members.AddAsync(key, acme.Sub, member, NameSet.Of("builder"));
            await server.Invitations.InviteAsync(key, acme.Root, New, [new(acme.Root, NameSet.Of("builder"))]);
            var invited = (await server.Get<InvitationAnswers>().SignUpAsync(await CodeAsync(server), "New", TestServer.Password, null))
                .Value
                .Id;
            await server.Invitations.InviteAsync(key, acme.Root, "b@elsewhere.example", [new(acme.Root, NameSet.Of("builder"))]);
            var sub = (await server.Organizations.CreateSubAsync(key, acme.Root, "Bred")).Value;

            async Task<string[]> UndosAsync() =>
                [
                    .. (await deeds.ListAsync(owner, acme.Root, key.KeyId!))
                        .Value.Select(deed => $"{deed.Undo} {deed.PersonId}".Trim())
                        .Order(StringComparer.Ordinal),
                ];
            string[] given = ["DeleteOrganization", "None", $"RemoveMember {invited}", $"RemoveMember {member}", $"RestoreRoles {member}"];
            Assert.Equal(given.Append("WithdrawInvitation").Order(StringComparer.Ordinal), await UndosAsync());
            await server.Keys.DeleteAsync(owner, acme.Root, key.KeyId!);
            Assert.Equal(given.Append("None").Order(StringComparer.Ordinal), await UndosAsync());

            // What was changed since stays: the key's part alone is taken back.
            await server.Members.SetRolesAsync(owner, acme.Root, member, NameSet.Of("builder", "organization-viewer"));
            var deed = (await deeds.ListAsync(owner, acme.Root, key.KeyId!)).Value.Single(one => one.Undo == Undo.RestoreRoles);
            Assert.Equal(
                RefusalCode.AccessDenied,
                (await deeds.RestoreRolesAsync(Actor.Session(member), acme.Root, key.KeyId!, deed.Id)).Refusal!.Code
            );
            Assert.False((await deeds.RestoreRolesAsync(owner, acme.Root, key.KeyId!, deed.Id)).IsRefused);
            Assert.Equal(
                "organization-viewer viewer",
                await server.ScalarAsync<string>(
                    $"SELECT roles FROM memberships WHERE organization_id = '{acme.Root}' AND user_id = '{member}'"
                )
            );
            await server.Members.RemoveAsync(owner, acme.Sub, member);
            await server.Members.RemoveAsync(owner, acme.Root, invited);
            await server.Organizations.DeleteAsync(owner, sub, "Bred");
            Assert.All(await UndosAsync(), undo => Assert.StartsWith("None", undo, StringComparison.Ordinal));
        }

        [Fact]
        public async Task Is_where_deleting_such_a_key_leads_and_its_button_works()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var member = await server.AddMemberAsync(acme.Root, "viewer");
            var browser = await ApiClient.SignInAsync(server, acme.Owner);
            var quiet = await KeyAsync(server, acme, isApiKey: false);
            Assert.EndsWith(
                $"/security?deleted={quiet.KeyId}",
                (await PostAsync($"/organizations/{acme.Root}/security/keys/{quiet.KeyId}/delete")).Header("Location"),
                StringComparison.Ordinal
            );

            var key = await KeyAsync(server, acme, isApiKey: false);
            await server.Members.SetRolesAsync(key, acme.Root, member, NameSet.Of("builder"));
            var page = $"/organizations/{acme.Root}/security/keys/{key.KeyId}/changes";
            Assert.Equal(
                $"{page}?deleted=true",
                (await PostAsync($"/organizations/{acme.Root}/security/keys/{key.KeyId}/delete")).Header("Location")
            );
            var shown = (await browser.GetAsync(page)).Body;
            Assert.Contains("Restore Roles", shown, StringComparison.Ordinal);
            Assert.Equal(303, (int)(await PostAsync(page, ("DeedId", Deed().Match(shown).Groups["id"].Value))).Status);
            Assert.Equal(
                "viewer",
                await server.ScalarAsync<string>(
                    $"SELECT roles FROM memberships WHERE organization_id = '{acme.Root}' AND user_id = '{member}'"
                )
            );

            var bulk = await KeyAsync(server, acme, isApiKey: false);
            await server.Members.SetRolesAsync(bulk, acme.Root, member, NameSet.Of("builder"));
            Assert.Equal(
                $"/organizations/{acme.Root}/keys?done=1&changed={bulk.KeyId}",
                (
                    await PostAsync(
                        $"/organizations/{acme.Root}/keys",
                        ("KeyIds", bulk.KeyId!),
                        ("Action", "Delete"),
                        ("Confirmed", "true")
                    )
                ).Header("Location")
            );
            Assert.Contains(
                $"keys/{bulk.KeyId}/changes",
                (await browser.GetAsync($"/organizations/{acme.Root}/keys?done=1&changed={bulk.KeyId}")).Body,
                StringComparison.Ordinal
            );

            async Task<Answer> PostAsync(string path, params (string, string)[] fields)
            {
                using var form = new FormUrlEncodedContent(fields.Select(field => KeyValuePair.Create(field.Item1, field.Item2)));
                return await browser.SendAsync(HttpMethod.Post, path, form);
            }
        }
    }

    private static void Refused<T>(Outcome<T> outcome) => Assert.Equal(RefusalCode.AccessDenied, outcome.Refusal?.Code);

    private static async Task WorthNothingAsync(TestServer server, string code)
    {
        var answers = server.Get<InvitationAnswers>();
        var known = await server.AddUserAsync();
        await server.ExecuteAsync($"UPDATE users SET email = '{New}', email_normalized = '{New.ToUpperInvariant()}' WHERE id = '{known}'");
        Assert.Equal(RefusalCode.NotFound, (await answers.OpenAsync(code)).Refusal?.Code);
        Assert.Equal(RefusalCode.NotFound, (await answers.SignUpAsync(code, "New", TestServer.Password, null)).Refusal?.Code);
        Assert.Equal(RefusalCode.NotFound, (await answers.AcceptAsync(Actor.Session(known), code)).Refusal?.Code);
        Assert.Equal(0, await server.ScalarAsync<long>($"SELECT COUNT(*) FROM memberships WHERE user_id = '{known}'"));
    }

    /// <summary>A key of the owner, or an API key with the role of one, as a caller.</summary>
    private static async Task<Actor> KeyAsync(TestServer server, Acme acme, bool isApiKey)
    {
        if (!isApiKey)
            return Actor.Key(
                acme.Owner,
                TestServer.IdOf(await server.AddKeyAsync(acme.Owner, acme.Root)),
                TestServer.EveryScope,
                acme.Root
            );
        var wanted = new NewApiKey(
            KeyFormat.NewId(),
            "Service",
            null,
            NameSet.All,
            [new(acme.Root, NameSet.Of("owner")), new(acme.Sub, NameSet.Of("owner"))]
        );
        using var made = (await server.Get<ApiKeys>().CreateAsync(Actor.Session(acme.Owner), acme.Root, wanted)).Value;
        var user = await server.ScalarAsync<string>(
            $"SELECT m.user_id FROM access_keys k JOIN memberships m ON m.id = k.membership_id WHERE k.id = '{made.Id}'"
        );
        return Actor.ApiKey(Guid.Parse(user!), made.Id, TestServer.EveryScope, acme.Root);
    }

    private static async Task SetPolicyAsync(TestServer server, Guid owner, Guid organization, Policy policy)
    {
        var policies = server.Get<Policies>();
        var version = (await policies.ViewAsync(Actor.Session(owner), organization)).Value.Version;
        Assert.False((await policies.ChangeAsync(Actor.Session(owner), organization, new(policy, null, false, version))).IsRefused);
    }

    private static async Task<string> CodeAsync(TestServer server, string email = New) =>
        Link().Match((await server.MailsToAsync(email))[^1].TextBody!).Groups["code"].Value;

    [GeneratedRegex("/invitations/(?<code>[A-Za-z0-9_-]{43})", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex Link();

    [GeneratedRegex("name=\"DeedId\" value=\"(?<id>[^\"]+)\"", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex Deed();

    [GeneratedRegex("UPDATE invitation_parts.*?;", RegexOptions.Singleline, 1000)]
    private static partial Regex Update();
}
