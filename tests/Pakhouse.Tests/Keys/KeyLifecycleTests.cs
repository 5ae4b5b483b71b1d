using System.Net;
using System.Text.Json;
using System.Text.RegularExpressions;
using Dapper;

namespace Pakhouse.Tests;

/// <summary>Every way in which a key begins, ends, stops or works again, and all that each of them obliges to.</summary>
public static partial class KeyLifecycleTests
{
    /// <summary>Who must get a mail.</summary>
    public enum Told
    {
        Nobody,
        Holder,
        Owners,
    }

    /// <summary>What must be found after one way.</summary>
    /// <param name="Walk">Does it, after <see cref="Scene.MarkAsync"/>, and returns the key.</param>
    internal sealed record Way(
        KeyCause Cause,
        long Status,
        string Action,
        string Event,
        string? Reason,
        Told Told,
        Func<Scene, Task<string>> Walk
    );

    private const long Valid = KeyStatus.Valid,
        Invalid = KeyStatus.Invalid,
        Suspended = KeyStatus.Suspended;

    // Written out, and not taken from the program's own table: a row changed there by mistake is found here.
    internal static readonly Dictionary<string, Way> Ways = new(StringComparer.Ordinal)
    {
        ["generated"] = new(
            KeyCause.Created,
            Valid,
            "PAT Create",
            "key.created",
            null,
            Told.Nobody,
            async s =>
            {
                await s.MarkAsync();
                return await s.KeyAsync();
            }
        ),
        ["rotated"] = new(
            KeyCause.Rotated,
            Valid,
            "PAT Rotate",
            "key.rotated",
            null,
            Told.Nobody,
            s => s.AfterAsync(key => s.RotateAsync(key, TimeSpan.FromDays(1)))
        ),
        ["overlap over by itself"] = new(
            KeyCause.OverlapEnded,
            Invalid,
            "PAT Rotate",
            "key.deleted",
            "rotation",
            Told.Nobody,
            async s =>
            {
                var key = await s.KeyAsync();
                await s.RotateAsync(key, TimeSpan.FromHours(1));
                s.Server.Clock.Advance(TimeSpan.FromHours(2));
                await s.MarkAsync();
                await s.Server.Get<OverlapEndJob>().RunAsync();
                return key;
            }
        ),
        ["overlap finished by the holder"] = new(
            KeyCause.OverlapEnded,
            Invalid,
            "PAT Rotate",
            "key.deleted",
            "rotation",
            Told.Nobody,
            async s =>
            {
                var key = await s.KeyAsync();
                await s.RotateAsync(key, TimeSpan.FromHours(1));
                await s.MarkAsync();
                Good(await s.Server.Get<KeyRotation>().FinishAsync(s.Holder, s.Acme.Root, key));
                return key;
            }
        ),
        ["deleted by its holder"] = new(
            KeyCause.DeletedByHolder,
            Invalid,
            "PAT Revoke",
            "key.deleted",
            "holder",
            Told.Nobody,
            s => s.AfterAsync(async key => Good(await s.Server.Keys.DeleteAsync(s.Holder, s.Acme.Root, key)))
        ),
        ["deleted by an owner"] = new(
            KeyCause.DeletedByManager,
            Invalid,
            "PAT Revoke",
            "key.deleted",
            "manager",
            Told.Holder,
            s => s.AfterAsync(async key => Good(await s.Server.Get<MemberKeys>().DeleteAsync(s.Owner, s.Acme.Root, key)))
        ),
        ["deleted in the inventory"] = new(
            KeyCause.DeletedByManager,
            Invalid,
            "PAT Revoke",
            "key.deleted",
            "manager",
            Told.Holder,
            s => s.AfterAsync(key => s.ActAsync(KeyAction.Delete, key))
        ),
        ["deleted by the operator"] = new(
            KeyCause.DeletedByOperator,
            Invalid,
            "PAT Revoke",
            "key.deleted",
            "operator",
            Told.Holder,
            s => s.AfterAsync(async key => Good(await s.Server.Keys.DeleteByOperatorAsync(Actor.Operator, key)))
        ),
        ["revoked with its secret"] = new(
            KeyCause.RevokedWithSecret,
            Invalid,
            "PAT Revoke",
            "key.deleted",
            "secret",
            Told.Holder,
            s => s.AfterAsync(s.RevokeAsync)
        ),
        ["reported as leaked"] = new(
            KeyCause.Leaked,
            Invalid,
            "PAT Leak",
            "key.leaked",
            null,
            Told.Holder,
            s => s.AfterAsync(s.ReportAsync)
        ),
        ["member removed"] = new(
            KeyCause.MembershipEnded,
            Invalid,
            "PAT Revoke",
            "key.deleted",
            "membership",
            Told.Holder,
            s => s.AfterAsync(async _ => Good(await s.Server.Members.RemoveAsync(s.Owner, s.Acme.Root, s.Holder.UserId!.Value)))
        ),
        ["member left"] = new(
            KeyCause.MembershipEnded,
            Invalid,
            "PAT Revoke",
            "key.deleted",
            "membership",
            Told.Nobody,
            s => s.AfterAsync(async _ => Good(await s.Server.Members.LeaveAsync(s.Holder, s.Acme.Root)))
        ),
        ["user deleted"] = new(
            KeyCause.UserDeleted,
            Invalid,
            "PAT Revoke",
            "key.deleted",
            "user",
            Told.Nobody,
            s => s.AfterAsync(async _ => Good(await s.Server.Users.DeleteAsync(Actor.Operator, s.Holder.UserId!.Value)))
        ),
        ["user disabled"] = new(
            KeyCause.UserDisabled,
            Suspended,
            "PAT Suspend",
            "key.suspended",
            "user",
            Told.Nobody,
            s => s.AfterAsync(_ => s.DisableUserAsync(true))
        ),
        ["user enabled"] = new(
            KeyCause.UserEnabled,
            Valid,
            "PAT Resume",
            "key.resumed",
            "user",
            Told.Nobody,
            async s =>
            {
                var key = await s.KeyAsync();
                await s.DisableUserAsync(true);
                await s.MarkAsync();
                await s.DisableUserAsync(false);
                return key;
            }
        ),
        ["organization disabled"] = new(
            KeyCause.OrganizationDisabled,
            Suspended,
            "PAT Suspend",
            "key.suspended",
            "organization",
            Told.Nobody,
            s => s.AfterAsync(_ => s.DisableAsync(true))
        ),
        ["organization enabled"] = new(
            KeyCause.OrganizationEnabled,
            Valid,
            "PAT Resume",
            "key.resumed",
            "organization",
            Told.Nobody,
            async s =>
            {
                var key = await s.KeyAsync();
                await s.DisableAsync(true);
                await s.MarkAsync();
                await s.DisableAsync(false);
                return key;
            }
        ),
        ["organization deleted"] = new(
            KeyCause.OrganizationDeleted,
            Invalid,
            "PAT Revoke",
            "key.deleted",
            "organization",
            Told.Nobody,
            s => s.AfterAsync(async _ => Good(await s.Server.Organizations.DeleteAsync(s.Owner, s.Acme.Root, "Acme")))
        ),
        ["expired"] = new(
            KeyCause.Expired,
            Valid,
            "PAT Expire",
            "key.expired",
            null,
            Told.Holder,
            async s =>
            {
                var key = await s.KeyAsync(TimeSpan.FromDays(2));
                s.Server.Clock.Advance(TimeSpan.FromDays(2));
                await s.MarkAsync();
                await s.Server.Get<KeyExpiryJob>().RunAsync();
                return key;
            }
        ),
        ["suspended"] = new(
            KeyCause.SuspendedByManager,
            Suspended,
            "PAT Suspend",
            "key.suspended",
            "manager",
            Told.Holder,
            s => s.AfterAsync(key => s.ActAsync(KeyAction.Suspend, key))
        ),
        ["resumed"] = new(
            KeyCause.ResumedByManager,
            Valid,
            "PAT Resume",
            "key.resumed",
            "manager",
            Told.Holder,
            async s =>
            {
                var key = await s.KeyAsync();
                await s.ActAsync(KeyAction.Suspend, key);
                await s.MarkAsync();
                await s.ActAsync(KeyAction.Resume, key);
                return key;
            }
        ),
        ["used after its overlap"] = new(
            KeyCause.Frozen,
            Suspended,
            "PAT Suspend",
            "key.suspended",
            "used_after_overlap",
            Told.Holder,
            async s =>
            {
                var key = await s.KeyAsync();
                var successor = await s.RotateAsync(key, TimeSpan.FromHours(1));
                s.Server.Clock.Advance(TimeSpan.FromHours(2));
                await s.Server.Get<OverlapEndJob>().RunAsync();
                await s.MarkAsync();
                Assert.Equal(HttpStatusCode.Unauthorized, (await s.Server.ExchangeAsync(s.Secrets[key])).Status);
                return successor;
            }
        ),

        ["API key created"] = new(
            KeyCause.Created,
            Valid,
            "API Key Create",
            "key.created",
            null,
            Told.Nobody,
            async s =>
            {
                await s.MarkAsync();
                return await s.ApiKeyAsync();
            }
        ),
        ["API key rotated"] = new(
            KeyCause.Rotated,
            Valid,
            "API Key Rotate",
            "key.rotated",
            null,
            Told.Nobody,
            s => s.AfterApiAsync(key => s.RotateApiAsync(key, TimeSpan.FromDays(1)))
        ),
        ["API key rotated again"] = new(
            KeyCause.Replaced,
            Invalid,
            "API Key Revoke",
            "key.deleted",
            "rotation",
            Told.Nobody,
            async s =>
            {
                var first = await s.ApiKeyAsync();
                var second = await s.RotateApiAsync(first, TimeSpan.FromDays(1));
                await s.MarkAsync();
                await s.RotateApiAsync(second, TimeSpan.FromDays(1));
                return first;
            }
        ),
        ["API key's overlap over"] = new(
            KeyCause.OverlapEnded,
            Invalid,
            "API Key Rotate",
            "key.deleted",
            "rotation",
            Told.Nobody,
            async s =>
            {
                var key = await s.ApiKeyAsync();
                await s.RotateApiAsync(key, TimeSpan.FromHours(1));
                s.Server.Clock.Advance(TimeSpan.FromHours(2));
                await s.MarkAsync();
                await s.Server.Get<OverlapEndJob>().RunAsync();
                return key;
            }
        ),
        ["API key deleted"] = new(
            KeyCause.DeletedByManager,
            Invalid,
            "API Key Revoke",
            "key.deleted",
            "manager",
            Told.Nobody,
            s => s.AfterApiAsync(async key => Good(await s.Server.Get<ApiKeys>().DeleteAsync(s.Owner, s.Acme.Root, key)))
        ),
        ["API key deleted in the inventory"] = new(
            KeyCause.DeletedByManager,
            Invalid,
            "API Key Revoke",
            "key.deleted",
            "manager",
            Told.Nobody,
            s => s.AfterApiAsync(key => s.ActAsync(KeyAction.Delete, key))
        ),

        ["API key deleted by the operator"] = new(
            KeyCause.DeletedByOperator,
            Invalid,
            "API Key Revoke",
            "key.deleted",
            "operator",
            Told.Owners,
            s => s.AfterApiAsync(async key => Good(await s.Server.Keys.DeleteByOperatorAsync(Actor.Operator, key)))
        ),
        ["API key revoked with its secret"] = new(
            KeyCause.RevokedWithSecret,
            Invalid,
            "API Key Revoke",
            "key.deleted",
            "secret",
            Told.Owners,
            s => s.AfterApiAsync(s.RevokeAsync)
        ),
        ["API key reported as leaked"] = new(
            KeyCause.Leaked,
            Invalid,
            "PAT Leak",
            "key.leaked",
            null,
            Told.Owners,
            s => s.AfterApiAsync(s.ReportAsync)
        ),
        ["earlier secret of an API key that ended"] = new(
            KeyCause.ApiKeyEnded,
            Invalid,
            "API Key Revoke",
            "key.deleted",
            "api_key",
            Told.Nobody,
            async s =>
            {
                var earlier = await s.ApiKeyAsync();
                var key = await s.RotateApiAsync(earlier, TimeSpan.FromDays(1));
                await s.MarkAsync();
                Good(await s.Server.Get<ApiKeys>().DeleteAsync(s.Owner, s.Acme.Root, key));
                return earlier;
            }
        ),

        ["organization of an API key deleted"] = new(
            KeyCause.OrganizationDeleted,
            Invalid,
            "API Key Revoke",
            "key.deleted",
            "organization",
            Told.Nobody,
            s => s.AfterApiAsync(async _ => Good(await s.Server.Organizations.DeleteAsync(s.Owner, s.Acme.Root, "Acme")))
        ),
        ["API key expired"] = new(
            KeyCause.Expired,
            Valid,
            "API Key Expire",
            "key.expired",
            null,
            Told.Owners,
            async s =>
            {
                var key = await s.ApiKeyAsync(TimeSpan.FromDays(2));
                s.Server.Clock.Advance(TimeSpan.FromDays(2));
                await s.MarkAsync();
                await s.Server.Get<KeyExpiryJob>().RunAsync();
                return key;
            }
        ),
        ["API key suspended"] = new(
            KeyCause.SuspendedByManager,
            Suspended,
            "PAT Suspend",
            "key.suspended",
            "manager",
            Told.Nobody,
            s => s.AfterApiAsync(key => s.ActAsync(KeyAction.Suspend, key))
        ),
    };

    public static TheoryData<string> AllWays => [.. Ways.Keys];

    public class Duties
    {
        [Fact]
        public void Every_cause_is_tried_in_a_way() =>
            Assert.Equal(Enum.GetValues<KeyCause>().Order(), Ways.Values.Select(way => way.Cause).Distinct().Order());

        [Theory, MemberData(nameof(AllWays), MemberType = typeof(KeyLifecycleTests))]
        public async Task Every_change_of_a_key_sets_its_entry_and_is_recorded_once_and_told_to_webhooks_and_to_whoever_must_learn(
            string name
        )
        {
            var way = Ways[name];
            await using var scene = await Scene.StartAsync();
            var key = await way.Walk(scene);

            var server = scene.Server;
            Assert.Equal(way.Status, await server.ScalarAsync<long>($"SELECT status FROM access_keys WHERE id = '{key}'"));
            var since = scene.Marked.ToUnixTimeMilliseconds();
            var recorded = await server
                .Get<Database>()
                .ReadAsync(connection =>
                    connection.QueryAsync<string>("SELECT action FROM activity WHERE target = @key AND at >= @since", new { key, since })
                );
            Assert.Equal([way.Action], recorded);
            var told = await server
                .Get<Database>()
                .ReadAsync(connection =>
                    connection.QueryAsync<string>("SELECT body FROM webhook_messages WHERE created_at >= @since", new { since })
                );
            var message = Assert.Single(
                told.Select(body => JsonDocument.Parse(body).RootElement),
                body => body.GetProperty("data").GetProperty("keyId").GetString() == key
            );
            Assert.Equal(
                (way.Event, way.Reason),
                (
                    message.GetProperty("type").GetString(),
                    message.GetProperty("data").TryGetProperty("reason", out var reason) ? reason.GetString() : null
                )
            );
            // What happens to an account is told by a mail of its own: MemberMailTests.
            var mails = (
                await server
                    .Get<Database>()
                    .ReadAsync(connection =>
                        connection.QueryAsync<(string Recipient, byte[] Content)>("SELECT recipient, content FROM mails")
                    )
            ).Where(mail =>
                server.Get<Mails>().Open(mail.Content).Subject is { } subject
                && !subject.StartsWith("Your account was", StringComparison.Ordinal)
            );
            string[] expected = way.Told switch
            {
                Told.Nobody => [],
                Told.Holder => [scene.HolderEmail],
                Told.Owners => [scene.OwnerEmail],
            };
            Assert.Equal(expected, mails.Select(mail => mail.Recipient));
            // Of a family that was frozen, the mail names the key that was used.
            if (way.Cause != KeyCause.Frozen)
                Assert.All(mails, mail => Assert.Contains(key, server.Get<Mails>().Open(mail.Content).Text, StringComparison.Ordinal));
        }

        [Theory, InlineData(true), InlineData(false)]
        public async Task A_change_whose_duties_cannot_be_written_does_not_happen(bool isWebhook)
        {
            await using var scene = await Scene.StartAsync();
            var key = await scene.KeyAsync();
            await scene.Server.BreakInsertsAsync(isWebhook ? "webhook_messages" : "activity");
            await Assert.ThrowsAnyAsync<System.Data.Common.DbException>(() =>
                scene.Server.Keys.DeleteAsync(scene.Holder, scene.Acme.Root, key)
            );
            Assert.Equal(HttpStatusCode.OK, (await scene.Server.ExchangeAsync(scene.Secrets[key])).Status);
        }
    }

    public class ApiKeysEnd
    {
        [Theory, InlineData("revoke"), InlineData("leak"), InlineData("operator"), InlineData("inventory"), InlineData("owner")]
        public async Task An_API_key_that_ends_leaves_no_open_membership_and_no_service_user(string how)
        {
            await using var scene = await Scene.StartAsync();
            var key = await scene.ApiKeyAsync();
            await (
                how switch
                {
                    "revoke" => scene.RevokeAsync(key),
                    "leak" => scene.ReportAsync(key),
                    "operator" => scene.Server.Keys.DeleteByOperatorAsync(Actor.Operator, key),
                    "inventory" => scene.ActAsync(KeyAction.Delete, key),
                    _ => scene.Server.Get<ApiKeys>().DeleteAsync(scene.Owner, scene.Acme.Root, key),
                }
            );
            Assert.Equal(
                0,
                await scene.Server.ScalarAsync<long>(
                    "SELECT COUNT(*) FROM memberships m JOIN users u ON u.id = m.user_id WHERE u.kind = 'service' AND m.ended_at IS NULL"
                )
            );
            Assert.Equal(
                0,
                await scene.Server.ScalarAsync<long>("SELECT COUNT(*) FROM users WHERE kind = 'service' AND deleted_at IS NULL")
            );
        }

        [Fact]
        public async Task The_end_of_an_earlier_secret_leaves_the_API_key()
        {
            await using var scene = await Scene.StartAsync();
            var earlier = await scene.ApiKeyAsync();
            var key = await scene.RotateApiAsync(earlier, TimeSpan.FromDays(1));
            await scene.ReportAsync(earlier);
            Assert.Equal(
                HttpStatusCode.OK,
                (await scene.Server.PostAsync("/auth/v1/api-key/token", ("name", "Robot 0"), ("secret", scene.Secrets[key]))).Status
            );
        }
    }

    public class OnePlace
    {
        /// <summary>Files of the program that write the table, with white space and case as they may be.</summary>
        private static IEnumerable<string> Writers(string folder) =>
            from file in Directory.EnumerateFiles(folder, "*.cs", SearchOption.AllDirectories)
            where
                !file.Contains($"{Path.DirectorySeparatorChar}obj{Path.DirectorySeparatorChar}", StringComparison.Ordinal)
                && Writing().IsMatch(File.ReadAllText(file))
            select Path.GetFileName(file);

        [Fact]
        public void No_other_file_writes_the_table_of_keys() =>
            Assert.Equal(["KeyLifecycle.cs"], Writers(Path.Combine(Repository.Root, "src")));

        [Theory]
        [InlineData("UPDATE access_keys SET status = 1")]
        [InlineData("update  access_keys\n   set status = 1")]
        [InlineData("INSERT INTO\n    access_keys (id) VALUES (1)")]
        [InlineData("INSERT OR REPLACE INTO access_keys VALUES (1)")]
        [InlineData("DELETE FROM access_keys WHERE 1 = 1")]
        [InlineData("DELETE FROM ONLY \"access_keys\"")]
        [InlineData("UPDATE [access_keys] SET name = ''")]
        [InlineData("MERGE INTO access_keys USING x ON 1 = 1")]
        [InlineData("WITH x AS (SELECT 1) UPDATE access_keys SET name = ''")]
        public void Control_a_file_that_writes_it_is_found(string sql)
        {
            var folder = Directory.CreateTempSubdirectory("pakhouse-writers-");
            try
            {
                File.WriteAllText(
                    Path.Combine(folder.CreateSubdirectory("Keys").FullName, "Planted.cs"),
                    $"class Planted {{ const string Sql = @\"{sql}\"; }}"
                );
                File.WriteAllText(
                    Path.Combine(folder.FullName, "Reader.cs"),
                    "class Reader { const string Sql = \"SELECT id FROM access_keys FOR UPDATE\"; }"
                );
                Assert.Equal(["Planted.cs"], Writers(folder.FullName));
            }
            finally
            {
                folder.Delete(recursive: true);
            }
        }
    }

    [GeneratedRegex(
        @"\b(INSERT\s+(OR\s+\w+\s+)?INTO|REPLACE\s+INTO|UPDATE(\s+OR\s+\w+)?|DELETE\s+FROM|MERGE\s+INTO|TRUNCATE)\s+(TABLE\s+|ONLY\s+)?[""\[]?access_keys\b",
        RegexOptions.IgnoreCase | RegexOptions.ExplicitCapture,
        matchTimeoutMilliseconds: 5000
    )]
    private static partial Regex Writing();

    public class Sets
    {
        [Fact]
        public async Task Ten_thousand_keys_are_suspended_with_a_number_of_statements_that_does_not_grow_with_each()
        {
            await using var scene = await Scene.StartAsync();
            var key = await scene.KeyAsync();
            async Task<int> CountAsync(int keys)
            {
                await scene.CopyAsync(key, keys);
                using var recorded = SqlRecorder.Record(scene.Server.Get<Database>());
                await scene.DisableAsync(true);
                await scene.DisableAsync(false);
                return recorded.Executed;
            }

            var (few, many) = (await CountAsync(100), await CountAsync(10_000));
            // One webhook listens: its messages are written forty at a time, its keys read four hundred at a time.
            Assert.InRange(many - few, 0, 2 * (10_100 / 40 + 10_100 / 400 + 4));
            Assert.Equal(
                2 * 10_101,
                await scene.Server.ScalarAsync<long>("SELECT COUNT(*) FROM activity WHERE action IN ('PAT Suspend', 'PAT Resume')")
                    - 2 * 101
            );
        }
    }

    private static void Good<T>(Outcome<T> outcome) => Assert.False(outcome.IsRefused, outcome.Refusal?.Reason);

    /// <summary>Acme with an owner, a member who holds a key, and a webhook. Nothing is sent, and no job runs by itself.</summary>
    internal sealed class Scene : IAsyncDisposable
    {
        public required TestServer Server { get; init; }
        public required Acme Acme { get; init; }
        public required Actor Holder { get; init; }
        public required string HolderEmail { get; init; }
        public required string OwnerEmail { get; init; }
        public Dictionary<string, string> Secrets { get; } = new(StringComparer.Ordinal);
        public DateTimeOffset Marked { get; private set; }

        public Actor Owner => Actor.Session(Acme.Owner);

        public static async Task<Scene> StartAsync()
        {
            var server = await TestServer.StartAsync();
            await server.Get<WebhookSender>().StopAsync(CancellationToken.None);
            await server.Get<MailSender>().StopAsync(CancellationToken.None);
            await server.Get<OverlapEndJob>().StopAsync(CancellationToken.None);
            await server.Get<KeyExpiryJob>().StopAsync(CancellationToken.None);
            await server.Get<ApiKeyNotices>().StopAsync(CancellationToken.None);
            var acme = await server.AddAcmeAsync();
            var holder = await server.AddMemberAsync(acme.Root);
            Assert.False(
                (
                    await server
                        .Get<Server.Webhooks>()
                        .CreateAsync(Actor.Session(acme.Owner), acme.Root, "https://hooks.example.com/pakhouse", NameSet.All)
                ).IsRefused
            );
            async Task<string> EmailAsync(Guid user) => (await server.Users.FindAsync(user))!.Email;
            return new Scene
            {
                Server = server,
                Acme = acme,
                Holder = Actor.Session(holder),
                HolderEmail = await EmailAsync(holder),
                OwnerEmail = await EmailAsync(acme.Owner),
            };
        }

        /// <summary>What is written from now on counts.</summary>
        public async Task MarkAsync()
        {
            Server.Clock.Advance(TimeSpan.FromSeconds(1));
            Marked = Server.Clock.GetUtcNow();
            await using var beside = Server.Place.Connect(); // the server does not send this, so nobody has to explain its plan
            await beside.ExecuteAsync("DELETE FROM mails");
        }

        public async Task<string> KeyAsync(TimeSpan? lifetime = null) =>
            Keep(await Server.AddKeyAsync(Holder.UserId!.Value, Acme.Root, lifetime));

        public async Task<string> ApiKeyAsync(TimeSpan? lifetime = null)
        {
            using var made = (
                await Server
                    .Get<ApiKeys>()
                    .CreateAsync(
                        Owner,
                        Acme.Root,
                        new NewApiKey(
                            KeyFormat.NewId(),
                            $"Robot {Secrets.Count}",
                            Server.Clock.GetUtcNow() + lifetime,
                            NameSet.All,
                            [new(Acme.Root, NameSet.Empty), new(Acme.Sub, NameSet.Empty)]
                        )
                    )
            ).Value;
            return Keep(made.Reveal());
        }

        public async Task<string> RotateAsync(string key, TimeSpan overlap)
        {
            using var rotated = (await Server.Get<KeyRotation>().RotateAsync(Holder, Acme.Root, key, KeyFormat.NewId(), overlap)).Value;
            return Keep(rotated.Key.Reveal());
        }

        public async Task<string> RotateApiAsync(string key, TimeSpan overlap)
        {
            using var rotated = (await Server.Get<ApiKeys>().RotateAsync(Owner, Acme.Root, key, KeyFormat.NewId(), overlap)).Value;
            return Keep(rotated.Reveal());
        }

        public async Task RevokeAsync(string key) =>
            Assert.Equal(HttpStatusCode.OK, (await Server.PostAsync("/oauth/revoke", ("token", Secrets[key]))).Status);

        public async Task ReportAsync(string key) =>
            Assert.Equal(
                HttpStatusCode.Accepted,
                (
                    await Server.PostBodyAsync(
                        "/leaks/revoke",
                        JsonSerializer.Serialize(new { keys = new[] { Secrets[key] } }),
                        "application/json"
                    )
                ).Status
            );

        public async Task ActAsync(KeyAction action, string key) =>
            Assert.Equal([key], (await Server.Get<Inventory>().ActAsync(Owner, Acme.Root, action, [key])).Value);

        public async Task DisableUserAsync(bool disabled) =>
            Good(await Server.Users.SetDisabledAsync(Actor.Operator, Holder.UserId!.Value, disabled));

        public async Task DisableAsync(bool disabled) =>
            Good(await Server.Organizations.SetDisabledAsync(Actor.Operator, Acme.Root, disabled));

        public async Task<string> AfterAsync(Func<string, Task> change) => await AfterAsync(await KeyAsync(), change);

        public async Task<string> AfterApiAsync(Func<string, Task> change) => await AfterAsync(await ApiKeyAsync(), change);

        /// <summary>More keys like one.</summary>
        public Task<int> CopyAsync(string key, int count) =>
            Server.ExecuteAsync(
                $"""
                INSERT INTO access_keys (id, membership_id, name, hash, scopes, created_at, status_index)
                WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
                SELECT 'c{count}x' || CAST(i AS TEXT), k.membership_id, k.name, k.hash, k.scopes, k.created_at,
                    {count} * 1000 + i FROM n JOIN access_keys k ON k.id = '{key}'
                """
            );

        public ValueTask DisposeAsync() => Server.DisposeAsync();

        private async Task<string> AfterAsync(string key, Func<string, Task> change)
        {
            await MarkAsync();
            await change(key);
            return key;
        }

        private string Keep(string secret)
        {
            Secrets[TestServer.IdOf(secret)] = secret;
            return TestServer.IdOf(secret);
        }
    }
}
