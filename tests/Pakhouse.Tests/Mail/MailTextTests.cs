using System.Data.Common;
using System.Net;
using System.Reflection;
using System.Runtime.CompilerServices;
using System.Text.RegularExpressions;
using Dapper;

namespace Pakhouse.Tests;

/// <summary>What strangers chose is no link in any mail that the program can send.</summary>
public static partial class MailTextTests
{
    private const string Hostile =
        "http://evil.example \u202E www.evil.example evil.example/x ada@evil.example //evil "
            + "\u2066evil\u3002example\n\u2028evil\uFF0Eexample.";

    public static class Text
    {
        [Fact, SqliteOnly("it needs no database")]
        public static void Foreign_text_is_no_link_and_stays_on_its_line()
        {
            var content = new MailContent(
                $"“{Hostile}”",
                $"Hello {Hostile}{"example"}, {MailText.Network(Hostile)}, {MailText.Join(Hostile, [MailText.Of($"{Hostile}")])}."
            );
            AssertHarmless(content, "");
            Assert.Equal("ﬀ مرحبا नमस्ते क्\u200Dष", new MailContent($"{"ﬀ مرحبا नमस्ते क्\u200Dष"}", $"").Subject);
        }

        [Fact, SqliteOnly("it needs no database")]
        public static void Times_numbers_ids_and_network_addresses_stay_as_they_are()
        {
            var id = Guid.Parse("0190d4e2-0000-7000-8000-000000000001");
            var content = new MailContent(
                $"",
                $"{new DateTimeOffset(2031, 1, 2, 3, 4, 5, TimeSpan.Zero)}, {12}, {id}, {IPAddress.Parse("2001:db8::1")}, "
                    + $"{MailText.Network("192.0.2.7")}, {TimeSpan.FromHours(2)}"
            );
            Assert.Equal($"2 Jan 2031, 03:04 UTC, 12, {id}, 2001:db8::1, 192.0.2.7, 2 hours", content.Text);
        }

        [Theory, SqliteOnly("it needs no database")]
        [InlineData("http://evil.example")]
        [InlineData("www.evil")]
        [InlineData("evil.example")]
        [InlineData("ada@evil")]
        [InlineData("a\u202Eb")]
        public static void Control_what_must_not_come_out_is_seen(string text)
        {
            var literal = new MailText(0, 0);
            literal.AppendLiteral(text);
            Assert.ThrowsAny<Exception>(() => AssertHarmless(new MailContent($"x", literal), ""));
        }
    }

    public static class The_only_way
    {
        [Fact, SqliteOnly("it reads source files")]
        public static void A_mail_is_made_of_this_text_alone_and_raw_text_has_one_door()
        {
            Assert.All(
                typeof(MailContent).GetConstructors(),
                constructor => Assert.All(constructor.GetParameters(), parameter => Assert.Equal(typeof(MailText), parameter.ParameterType))
            );
            Assert.Equal(
                ["DateTimeOffset", "Guid", "IPAddress", "Int64", "MailText", "String", "TimeSpan"],
                typeof(MailText)
                    .GetMethods()
                    .Where(method => method.Name == "AppendFormatted")
                    .Select(method => method.GetParameters().Single().ParameterType.Name)
                    .Order(StringComparer.Ordinal)
            );
            var sources = Directory
                .GetFiles(Path.Combine(Repository.Root, "src", "Pakhouse.Server"), "*.cs", SearchOption.AllDirectories)
                .Where(file => !file.Contains("/obj/", StringComparison.Ordinal))
                .Select(file => (Key: Path.GetFileName(file), Value: File.ReadAllText(file)))
                .ToList();
            Assert.Equal(["MailText.cs"], Named("AppendLiteral(").Union(Named("new MailText(")));

            // Where a new mail is written, its words are walked below; add it there too.
            Assert.Equal(["ApiKeyNotices.cs", "InvitationMessages.cs", "SignInMails.cs", "WebhookSender.cs"], Named("new MailContent("));
            Assert.Equal(
                [
                    "KeyExpiryJob.Mail",
                    "KeyMails.Changed",
                    "KeyMails.Expired",
                    "KeyMails.Frozen",
                    "KeyMails.Leaked",
                    "KeyMails.ToHolder",
                    "KeyMails.ToOwners",
                    "KeyNotices.Mail",
                    "LostMails.Mail",
                    "Mails.Open",
                    "MemberMails.Disabled",
                    "MemberMails.Enabled",
                    "MemberMails.Removed",
                    "MemberMails.RolesChanged",
                    "PolicyText.Warning",
                    "SignInMails.Bound",
                    "SignInMails.Connect",
                    "SignInMails.Connected",
                    "SignInMails.MemberConnected",
                    "SignInMails.NewPlace",
                    "SignInMails.Reset",
                    "SignInMails.Unbound",
                    "WebhookMakers.Mail",
                ],
                typeof(MailContent)
                    .Assembly.GetTypes()
                    .SelectMany(type =>
                        type.GetMethods(
                            BindingFlags.Static
                                | BindingFlags.Instance
                                | BindingFlags.Public
                                | BindingFlags.NonPublic
                                | BindingFlags.DeclaredOnly
                        )
                    )
                    .Where(method =>
                        method.ReturnType == typeof(MailContent)
                        && method.DeclaringType != typeof(MailContent)
                        && !method.Name.Contains('<', StringComparison.Ordinal)
                    )
                    .Select(method => $"{method.DeclaringType!.Name}.{method.Name}")
                    .Order(StringComparer.Ordinal)
            );

            IEnumerable<string> Named(string words) =>
                sources
                    .Where(file => file.Value.Contains(words, StringComparison.Ordinal))
                    .Select(file => file.Key)
                    .Order(StringComparer.Ordinal);
        }
    }

    public sealed class Every_mail : IAsyncLifetime
    {
        private TestServer server = null!;
        private Acme acme = null!;
        private string ownersKey = "";

        public async ValueTask InitializeAsync()
        {
            // Nobody listens there, so the messages stay in the table, where the tests read them.
            server = await TestServer.StartAsync(
                "--Pakhouse:SmtpHost=127.0.0.1",
                "--Pakhouse:SmtpPort=1",
                "--Pakhouse:MailFrom=keys@acme.example"
            );
            acme = await server.AddAcmeAsync();
            ownersKey = TestServer.IdOf(await server.AddKeyAsync(acme.Owner, acme.Root));
        }

        public ValueTask DisposeAsync() => server.DisposeAsync();

        /// <summary>As an earlier version may have stored them.</summary>
        private async Task RenameAsync()
        {
            foreach (var table in (string[])["users", "organizations", "access_keys"])
                await server.ExecuteAsync($"UPDATE {table} SET name = '{Hostile}'");
        }

        private Task<List<MailContent>> SentAsync() =>
            server
                .Get<Database>()
                .ReadAsync(async connection =>
                    (await connection.QueryAsync<byte[]>("SELECT content FROM mails ORDER BY id")).Select(server.Get<Mails>().Open).ToList()
                );

        [Fact]
        public async Task Of_members_and_invitations_is_harmless()
        {
            var members = new List<Guid>();
            for (var i = 0; i < 3; i++)
                members.Add(await server.AddMemberAsync(acme.Root, "organization-viewer"));
            await server.AddKeyAsync(members[0], acme.Root);
            await RenameAsync();
            var owner = Actor.Session(acme.Owner);
            var invited = (
                await server.Invitations.InviteAsync(
                    owner,
                    acme.Root,
                    "new@evil.example",
                    [new(acme.Root, NameSet.Empty), new(acme.Sub, NameSet.Empty)]
                )
            ).Value;
            Assert.False((await server.Members.SetRolesAsync(owner, acme.Root, members[0], NameSet.Empty)).IsRefused);
            Assert.False(
                (await server.Members.RemoveAsync(Actor.Key(acme.Owner, ownersKey, TestServer.EveryScope), acme.Root, members[0])).IsRefused
            );
            foreach (var isDisabled in (bool[])[true, false])
                Assert.False((await server.Users.SetDisabledAsync(Actor.Operator, members[1], isDisabled)).IsRefused);
            await server
                .Get<Database>()
                .WriteAsync(async transaction =>
                {
                    await server
                        .Get<IMailLoss>()
                        .NotifyAsync(transaction, new LostMail("new@evil.example", invited.Id, server.Clock.GetUtcNow(), "why"));
                    return true;
                });

            var sent = await SentAsync();
            // Invitation, roles, removal with the keys that ended, notice to the owner, disabled, enabled, given up.
            Assert.True(sent.Count >= 7, $"{sent.Count} mails");
            Assert.Contains(sent, mail => mail.Text.Contains("Keys that you had there", StringComparison.Ordinal));
            Assert.All(sent, mail => AssertHarmless(mail, server.Address));
        }

        [Fact]
        public void Of_accounts_of_the_provider_is_harmless()
        {
            var (here, now) = (server.Get<PublicAddress>(), server.Clock.GetUtcNow());
            var by = MailText.Of($"{Hostile}");
            MailContent[] made =
            [
                SignInMails.Bound(now, here),
                SignInMails.Unbound(by, now, here),
                SignInMails.Connect(by, Hostile, Hostile, KeyFormat.NewId(), TimeSpan.FromDays(1), here),
                SignInMails.Connected(Hostile, null, now, here),
                SignInMails.MemberConnected(Hostile, "ada@evil.example", Hostile, now),
            ];
            Assert.All(made, mail => AssertHarmless(mail, server.Address));
        }

        [Fact]
        public async Task Of_keys_is_harmless_whatever_the_cause()
        {
            var key = new MailedKey
            {
                Id = KeyFormat.NewId(),
                Name = Hostile,
                UserName = Hostile,
                OrganizationName = Hostile,
                Kind = "pak",
                LastUsedAddress = Hostile,
                LastUsedAt = default(DateTimeOffset),
                ExpiresAt = DateTimeOffset.UnixEpoch.AddYears(90),
                OverlapEndsAt = DateTimeOffset.UnixEpoch.AddYears(90),
            };
            var facts = new KeyRow
            {
                OrganizationName = Hostile,
                UsedKeyId = key.Id,
                Reporter = Hostile,
                Data = [("address", Hostile)],
                FoundAt = new Dictionary<string, string?> { [key.Id] = Hostile },
            };
            var made = 0;
            foreach (var cause in Enum.GetValues<KeyCause>().Where(cause => KeyDuties.Of(cause).Mail != KeyMail.None))
            {
                var mails = new KeyMails(cause, facts, MailText.Of($"{Hostile}"), DateTimeOffset.UnixEpoch, server.Get<PublicAddress>());
                var both = new List<MailContent?> { mails.ToHolder([key]), mails.ToHolder([key, key]) };
                if (KeyDuties.Of(cause).Mail == KeyMail.HolderOrOwners)
                    both.Add(mails.ToOwners([key with { Kind = "oak" }]));
                Assert.All(both, mail => AssertHarmless(mail!, server.Address));
                made += both.Count;
            }

            Assert.True(made > 15, $"{made} mails");
            await Task.CompletedTask;
        }

        [Fact]
        public async Task Of_keys_that_expire_and_of_policies_is_harmless()
        {
            await server.AddKeyAsync(acme.Owner, acme.Root, TimeSpan.FromDays(60));
            var made = await server
                .Get<ApiKeys>()
                .CreateAsync(
                    Actor.Session(acme.Owner),
                    acme.Root,
                    new(KeyFormat.NewId(), "Service", server.Clock.GetUtcNow().AddDays(60), NameSet.All, [new(acme.Root, NameSet.Empty)])
                );
            Assert.False(made.IsRefused);
            made.Value.Dispose();
            await RenameAsync();
            Assert.False(
                (
                    await server
                        .Get<Policies>()
                        .ChangeAsync(
                            Actor.Session(acme.Owner),
                            acme.Root,
                            new(
                                new Policy { Holders = NameSet.Of("organization-manager") },
                                server.Clock.GetUtcNow().AddDays(3),
                                true,
                                (await server.Get<Policies>().ViewAsync(Actor.Session(acme.Owner), acme.Root)).Value.Version
                            )
                        )
                ).IsRefused
            );
            var warnings = await SentAsync(); // before the clock lets the sender work
            server.Clock.Advance(TimeSpan.FromDays(56));
            await server.Get<KeyExpiryJob>().RunAsync();
            await server.Get<ApiKeyNotices>().RunAsync();
            List<MailContent> sent = [.. warnings, .. await SentAsync()];
            Assert.Contains(sent, mail => mail.Subject.StartsWith("API key", StringComparison.Ordinal));
            Assert.Contains(sent, mail => mail.Subject.StartsWith("Your key", StringComparison.Ordinal));
            Assert.Contains(sent, mail => mail.Subject.EndsWith("policy", StringComparison.Ordinal));
            Assert.All(sent, mail => AssertHarmless(mail, server.Address));
        }
    }

    private static void AssertHarmless(MailContent mail, string ours)
    {
        Assert.DoesNotContain(mail.Subject + mail.Text, c => c is '\u202E' or '\u2066' or '\u2028');
        Assert.DoesNotContain('\n', mail.Subject);
        Assert.DoesNotMatch(Linked(), mail.Subject);
        Assert.DoesNotMatch(
            Linked(),
            ours.Length == 0
                ? mail.Text
                : Regex.Replace(mail.Text, Regex.Escape(ours) + @"[\w/?=-]*", "", RegexOptions.None, TimeSpan.FromSeconds(1))
        );
    }

    [GeneratedRegex(@"://|//\S|www\.\S|\w[.\u3002\uFF0E]\w|\w@\w", RegexOptions.None, matchTimeoutMilliseconds: 1000)]
    private static partial Regex Linked();
}
