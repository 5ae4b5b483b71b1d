using System.Text.RegularExpressions;

namespace Pakhouse.Tests;

/// <summary>
/// The real question: who found a key walked every route with it, accepted every invitation and opened every link. The key ends. What can
/// they still do?
/// </summary>
public partial class BreedingTests
{
    [Fact]
    public async Task Who_found_a_key_can_do_nothing_more_when_it_has_ended()
    {
        await using var server = await TestServer.StartAsync();
        foreach (var kind in (string[])["token", "API key's token", "key itself"])
            foreach (var role in (string[])["owner", "organization-manager", "organization-viewer", "builder"])
            {
                var found = await FindAsync(server, kind);
                await WalkAsync(server, found, role, null);
                var left = await LeftAsync(server, found);
                Assert.True(left.Count == 0, $"{kind}, {role}: {string.Join("; ", left)}");
            }
    }

    /// <summary>Kept back until the key has ended, a link is worth nothing either.</summary>
    [Fact]
    public async Task A_link_that_waited_for_the_end_of_the_key_is_worth_nothing()
    {
        await using var server = await TestServer.StartAsync();
        var found = await FindAsync(server, "token");
        var links = new List<string>();
        await WalkAsync(server, found, "builder", links);
        Assert.NotEmpty(links);
        await EndAsync(server, found);
        foreach (var link in links)
            Assert.True((await server.Get<InvitationAnswers>().SignUpAsync(link, "Bred", TestServer.Password, null)).IsRefused);
        Assert.Equal(0, await server.ScalarAsync<long>($"SELECT COUNT(*) FROM users WHERE email = '{Bred}'"));
    }

    /// <summary>The control: where the policy lets keys grant all, their finder stays, and this test sees it.</summary>
    [Fact]
    public async Task With_the_policy_all_the_finder_would_be_found_to_stay()
    {
        await using var server = await TestServer.StartAsync();
        var found = await FindAsync(server, "token");
        await server.ExecuteAsync(
            $"UPDATE organizations SET policy = '{new PolicyPlan(new Policy { KeysMayGrant = KeysMayGrant.All })}' WHERE id = "
                + $"'{found.Acme.Root}'"
        );
        await WalkAsync(server, found, "owner", null);
        Assert.NotEmpty(await LeftAsync(server, found));
    }

    /// <summary>A caller whose routes name a friend: a member without authority, who gains by what is done to that user.</summary>
    private static async Task<Caller> FindAsync(TestServer server, string kind)
    {
        await server.ExecuteAsync(
            $"UPDATE users SET email = id || '@gone.example', email_normalized = UPPER(id) || '@GONE.EXAMPLE' WHERE email = '{Bred}'"
        );
        var caller = await AddCallerAsync(server, kind, []);
        return caller with { User = await server.AddMemberAsync(caller.Acme.Root, "viewer") };
    }

    /// <param name="kept">Links are put here; null: each is opened at once, and accepted.</param>
    private static async Task WalkAsync(TestServer server, Caller caller, string role, List<string>? kept)
    {
        var seen = (await server.MailsToAsync(Bred)).Count;
        var walked = 0;
        // What ends the key or the organization comes last, so that all else is tried.
        foreach (
            var (method, pattern) in Routes(server)
                .OrderBy(route => route.Method == "DELETE" || route.Pattern.Text.Contains("revoke", StringComparison.Ordinal))
        )
        {
            foreach (var isForm in (bool[])[false, true])
            {
                using var request = Request(method, pattern, caller, isForm, role);
                request.Headers.TryAddWithoutValidation("Authorization", caller.Authorization);
                (await server.Http.SendAsync(request)).Dispose();
                walked++;
            }

            if (method is "GET" or "HEAD" || await server.ScalarAsync<long>("SELECT COUNT(*) FROM mails") == 0)
                continue;
            var mails = await server.MailsToAsync(Bred);
            foreach (
                var link in mails
                    .Skip(seen)
                    .SelectMany(mail => InvitationLink().Matches(mail.TextBody!))
                    .Select(match => match.Groups["code"].Value)
            )
            {
                kept?.Add(link);
                if (kept is not null)
                    continue;
                var answers = server.Get<InvitationAnswers>();
                if ((await server.Users.FindByEmailAsync(Bred)) is { } known)
                    await answers.AcceptAsync(Actor.Session(known.Id), link);
                else
                    await answers.SignUpAsync(link, "Bred", TestServer.Password, null);
            }

            seen = mails.Count;
        }

        Assert.True(walked > 100, $"{walked}");
    }

    /// <summary>
    /// Ends the key, and asks the one place that says yes: what of the organization is open to the finder and the friend?
    /// </summary>
    private static async Task<List<string>> LeftAsync(TestServer server, Caller caller)
    {
        await EndAsync(server, caller);
        var left = new List<string>();
        var people = new List<(string Name, Guid Id)> { ("friend", caller.User) };
        if (await server.Users.FindByEmailAsync(Bred) is { } bred)
            people.Add(("finder", bred.Id));
        foreach (var (name, id) in people)
            foreach (
                var permission in Enum.GetValues<Permission>().Where(permission => Permissions.Of(permission).Requirement == Requirement.Role)
            )
                foreach (var organization in (Guid[])[caller.Acme.Root, caller.Acme.Sub])
                    if (
                        !(
                            await server
                                .Get<Database>()
                                .ReadAsync(connection => Guard.AuthorizeAsync(connection, null, Actor.Session(id), permission, organization))
                        ).IsRefused
                    )
                        left.Add($"{name} may {permission}");
        using var request = new HttpRequestMessage(HttpMethod.Get, "/identity/v1/organizations");
        request.Headers.TryAddWithoutValidation("Authorization", caller.Authorization);
        if ((await server.Http.SendAsync(request)).IsSuccessStatusCode)
            left.Add("the token opens the API");

        // What is left is membership with the platform's own roles; the page of the ended key takes all of it back.
        var deeds = server.Get<KeyChanges>();
        var owner = Actor.Session(caller.Acme.Owner);
        foreach (
            var deed in (await deeds.ListAsync(owner, caller.Acme.Root, caller.KeyId)).Value.DistinctBy(deed =>
                (deed.Undo, deed.PersonId, deed.OrganizationId)
            )
        )
            if (deed.Undo == Undo.RemoveMember)
                await server.Members.RemoveAsync(owner, deed.OrganizationId, deed.PersonId!.Value);
        if (
            people.Count > 1
            && await server.ScalarAsync<long>(
                $"SELECT COUNT(*) FROM memberships m JOIN organizations o ON o.id = m.organization_id WHERE m.user_id = '{people[1].Id}' "
                    + $"AND m.ended_at IS NULL AND '{caller.Acme.Root}' IN (o.id, o.root_id)"
            ) > 0
        )
            left.Add("finder is a member, and no undo ends it");
        return left;
    }

    private static async Task EndAsync(TestServer server, Caller caller)
    {
        await server.Keys.DeleteByOperatorAsync(Actor.Operator, caller.KeyId);
        Assert.False(await IsAliveAsync(server, caller));
    }

    [GeneratedRegex("/invitations/(?<code>[A-Za-z0-9_-]{43})", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex InvitationLink();
}
