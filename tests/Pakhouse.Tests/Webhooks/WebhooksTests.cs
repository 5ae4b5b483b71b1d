using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json;
using Dapper;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace Pakhouse.Tests;

public static class WebhooksTests
{
    /// <summary>A server, a webhook of Acme's root, and who it calls. Nothing is sent but when a test says so.</summary>
    internal sealed class Scene : IAsyncDisposable
    {
        public required TestServer Server { get; init; }
        public required Acme Acme { get; init; }
        public required Receiver Receiver { get; init; }
        public required Guid Id { get; init; }
        public required string Secret { get; init; }

        public Actor Owner => Actor.Session(Acme.Owner);

        public Server.Webhooks Webhooks => Server.Get<Server.Webhooks>();

        public static Task<Scene> StartAsync(params string[] events) => StartAtAsync(null, events);

        /// <param name="now">For receivers that look at the time; null: the tests' own.</param>
        public static async Task<Scene> StartAtAsync(DateTimeOffset? now, params string[] events)
        {
            var receiver = await Receiver.StartAsync();
            var server = await TestServer.StartOnAsync(
                null,
                now is { } at ? new MovedClock(at) : null,
                "--Pakhouse:WebhookNetworksAllowed=127.0.0.0/8"
            );
            await server.Get<WebhookSender>().StopAsync(CancellationToken.None);
            var acme = await server.AddAcmeAsync();
            var made = (
                await server
                    .Get<Server.Webhooks>()
                    .CreateAsync(Actor.Session(acme.Owner), acme.Root, receiver.Url, events.Length == 0 ? NameSet.All : NameSet.Of(events))
            ).Value;
            return new Scene
            {
                Server = server,
                Acme = acme,
                Receiver = receiver,
                Id = made.Id,
                Secret = made.Secret,
            };
        }

        public Task SendAsync() => Server.Get<WebhookSender>().RunAsync();

        public async Task<WebhookDelivery> LastAsync() => (await Webhooks.DeliveriesAsync(Owner, Acme.Root, Id, 0, 1)).Value.Part.Single();

        public async Task<Webhook> FindAsync() => (await Webhooks.FindAsync(Owner, Acme.Root, Id)).Value;

        public async ValueTask DisposeAsync()
        {
            await Server.DisposeAsync();
            await Receiver.DisposeAsync();
        }
    }

    internal sealed record Received(string Id, string Timestamp, string Signature, string Body)
    {
        public JsonElement Json => JsonDocument.Parse(Body).RootElement;

        public string Type => Json.GetProperty("type").GetString()!;

        public JsonElement Data => Json.GetProperty("data");
    }

    internal sealed class Receiver : IAsyncDisposable
    {
        private readonly WebApplication app;
        private readonly ConcurrentQueue<Received> received = new();

        private Receiver(WebApplication app) => this.app = app;

        public IReadOnlyList<Received> All => [.. received];

        public int Status { get; set; } = 204;

        public string? RetryAfter { get; set; }

        /// <summary>For each message, before it is answered.</summary>
        public Action<Received> Arrived { get; set; } = _ => { };

        public string Url => $"{app.Urls.Single()}/hook";

        public static async Task<Receiver> StartAsync()
        {
            var builder = WebApplication.CreateSlimBuilder();
            builder.Logging.ClearProviders();
            var receiver = new Receiver(builder.Build());
            receiver.app.Urls.Add("http://127.0.0.1:0");
            receiver.app.MapFallback(async context =>
            {
                using var reader = new StreamReader(context.Request.Body);
                var headers = context.Request.Headers;
                Assert.Equal("application/json", context.Request.ContentType);
                var message = new Received(headers["webhook-id"].ToString(), headers["webhook-timestamp"].ToString(),
                    headers["webhook-signature"].ToString(), await reader.ReadToEndAsync());
                receiver.received.Enqueue(message);
                receiver.Arrived(message);
                context.Response.StatusCode = receiver.Status;
                if (receiver.RetryAfter is { } seconds) context.Response.Headers.RetryAfter = seconds;
                if (receiver.Status == 302) context.Response.Headers.Location = "/elsewhere";
                if (receiver.Status != 204) await context.Response.WriteAsync("the receiver's own words");
            });
            await receiver.app.StartAsync();
            return receiver;
        }

        public ValueTask DisposeAsync() => app.DisposeAsync();
    }

    /// <summary>By Python's own hmac: one that shares no line with ours.</summary>
    private static async Task<bool> IsSignedAsync(Received message, string secret)
    {
        const string verify =
            """
            import base64, hashlib, hmac, json, sys
            m = json.load(sys.stdin)
            key = base64.b64decode(m["secret"].removeprefix("whsec_"), validate=True)
            content = f'{m["id"]}.{m["timestamp"]}.'.encode() + m["body"].encode()
            expected = "v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
            sys.exit(0 if any(hmac.compare_digest(expected, s) for s in m["signature"].split(" ")) else 1)
            """;
        var start = new ProcessStartInfo("/usr/bin/python3") { UseShellExecute = false, RedirectStandardInput = true };
        start.ArgumentList.Add("-c");
        start.ArgumentList.Add(verify);
        using var python = Process.Start(start)!;
        await python.StandardInput.WriteAsync(
            JsonSerializer.Serialize(
                new
                {
                    secret,
                    id = message.Id,
                    timestamp = message.Timestamp,
                    body = message.Body,
                    signature = message.Signature,
                }
            )
        );
        python.StandardInput.Close();
        await python.WaitForExitAsync();
        return python.ExitCode == 0;
    }

    public class Telling
    {
        [Fact]
        public async Task What_happens_to_a_key_is_told_with_ids_and_names_and_without_the_secret()
        {
            await using var scene = await Scene.StartAsync();
            var key = await scene.Server.AddKeyAsync(scene.Acme.Owner, scene.Acme.Root, TimeSpan.FromDays(3));
            await scene.Server.Keys.DeleteAsync(scene.Owner, scene.Acme.Root, TestServer.IdOf(key));
            await scene.SendAsync();

            Assert.Equal(["key.created", "key.deleted"], scene.Receiver.All.Select(message => message.Type).Order(StringComparer.Ordinal));
            var created = scene.Receiver.All.Single(message => message.Type == "key.created");
            Assert.Equal(TestServer.IdOf(key), created.Data.GetProperty("keyId").GetString());
            Assert.Equal("Key 1", created.Data.GetProperty("keyName").GetString());
            Assert.Equal(scene.Acme.Owner, created.Data.GetProperty("userId").GetGuid());
            Assert.Equal(scene.Acme.Root, created.Data.GetProperty("organizationId").GetGuid());
            Assert.Equal("2026-11-05T09:00:30Z", created.Data.GetProperty("expiresAt").GetString());
            Assert.Equal("2026-11-02T09:00:30Z", created.Json.GetProperty("timestamp").GetString());
            Assert.DoesNotContain(
                scene.Receiver.All,
                message =>
                    message.Body.Contains(key[^49..], StringComparison.Ordinal) || message.Body.Contains("_pak1_", StringComparison.Ordinal)
            );
        }

        [Fact]
        public async Task A_network_that_a_key_is_used_from_for_the_first_time_is_told_once()
        {
            await using var scene = await Scene.StartAsync("key.used_first_from_network");
            var key = await scene.Server.AddKeyAsync(scene.Acme.Owner, scene.Acme.Root);
            for (var use = 0; use < 2; use++)
            {
                await scene.Server.ExchangeAsync(key);
                await scene.Server.Get<KeyUsage>().FlushAsync();
                scene.Server.Clock.Advance(TimeSpan.FromDays(1)); // on another day the network is looked up, and known
            }

            await scene.SendAsync();
            var message = Assert.Single(scene.Receiver.All);
            Assert.Equal(
                (TestServer.IdOf(key), "127.0.0.0/24"),
                (message.Data.GetProperty("keyId").GetString(), message.Data.GetProperty("network").GetString())
            );
            Assert.Equal("2026-11-02T09:00:30Z", message.Data.GetProperty("firstUsedAt").GetString());
        }

        [Fact]
        public async Task Of_an_organization_that_is_disabled_and_enabled_and_a_member_who_goes_every_key_is_told()
        {
            await using var scene = await Scene.StartAsync("key.suspended", "key.resumed", "key.deleted");
            var member = await scene.Server.AddMemberAsync(scene.Acme.Sub);
            var key = await scene.Server.AddKeyAsync(member, scene.Acme.Sub);
            await scene.Server.Organizations.SetDisabledAsync(scene.Owner, scene.Acme.Root, true);
            await scene.Server.Organizations.SetDisabledAsync(scene.Owner, scene.Acme.Root, false);
            await scene.Server.Members.RemoveAsync(scene.Owner, scene.Acme.Sub, member);
            await scene.SendAsync();
            Assert.Equal(
                [("key.deleted", "membership"), ("key.resumed", "organization"), ("key.suspended", "organization")],
                scene
                    .Receiver.All.Select(message => (message.Type, message.Data.GetProperty("reason").GetString()!))
                    .OrderBy(told => told.Type, StringComparer.Ordinal)
            );
            Assert.All(scene.Receiver.All, message => Assert.Equal(TestServer.IdOf(key), message.Data.GetProperty("keyId").GetString()));
        }

        [Fact]
        public async Task The_end_of_an_API_key_is_told_once()
        {
            await using var scene = await Scene.StartAsync("key.deleted");
            var id = KeyFormat.NewId();
            (await scene.Server.Get<ApiKeys>().CreateAsync(scene.Owner, scene.Acme.Root,
                new NewApiKey(id, "Deploy", null, NameSet.All, [new(scene.Acme.Root, NameSet.Of("viewer"))]))).Value.Dispose();
            await scene.Server.Get<ApiKeys>().DeleteAsync(scene.Owner, scene.Acme.Root, id);
            await scene.SendAsync();
            Assert.Equal(id, Assert.Single(scene.Receiver.All).Data.GetProperty("keyId").GetString());
        }

        [Fact]
        public async Task A_leak_is_told_with_its_reporter()
        {
            await using var scene = await Scene.StartAsync("key.leaked");
            var key = await scene.Server.AddKeyAsync(scene.Acme.Owner, scene.Acme.Root);
            await scene.Server.PostBodyAsync("/leaks/revoke", JsonSerializer.Serialize(new { keys = new[] { key } }), "application/json");
            await scene.SendAsync();
            var message = Assert.Single(scene.Receiver.All);
            Assert.Equal("anonymous report", message.Data.GetProperty("reporter").GetString());
            Assert.DoesNotContain(key[^49..], message.Body, StringComparison.Ordinal);
        }

        [Fact]
        public async Task A_webhook_hears_of_its_organization_and_those_below_and_of_nobody_elses()
        {
            await using var scene = await Scene.StartAsync("key.created");
            var member = await scene.Server.AddMemberAsync(scene.Acme.Sub);
            var stranger = await scene.Server.AddUserAsync();
            var other = (await scene.Server.Organizations.CreateRootAsync(Actor.Operator, "Other", stranger)).Value;
            await scene.Server.AddKeyAsync(stranger, other);
            var below = await scene.Server.AddKeyAsync(member, scene.Acme.Sub);
            await scene.SendAsync();
            Assert.Equal(TestServer.IdOf(below), Assert.Single(scene.Receiver.All).Data.GetProperty("keyId").GetString());
        }

        [Fact]
        public async Task A_change_whose_message_cannot_be_written_does_not_happen()
        {
            await using var scene = await Scene.StartAsync();
            await scene.Server.BreakInsertsAsync("webhook_messages");
            await Assert.ThrowsAnyAsync<Exception>(() => scene.Server.AddKeyAsync(scene.Acme.Owner, scene.Acme.Root));
            Assert.Equal(0, await scene.Server.ScalarAsync<long>("SELECT COUNT(*) FROM access_keys"));
        }

        [Fact]
        public async Task Where_nobody_listens_nothing_is_written()
        {
            await using var scene = await Scene.StartAsync("policy.changed");
            await scene.Server.AddKeyAsync(scene.Acme.Owner, scene.Acme.Root);
            Assert.Equal(0, await scene.Server.ScalarAsync<long>("SELECT COUNT(*) FROM webhook_messages"));
        }
    }

    public class Signing
    {
        [Fact]
        public void The_test_vector_of_the_specification_comes_out() =>
            Assert.Equal(
                "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
                WebhookSignature.Of(
                    [Convert.FromBase64String("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")],
                    "msg_p5jXN8AQM9LWM0D4loKWxJek",
                    1614265330,
                    "{\"test\": 2432232314}"
                )
            );

        [Fact]
        public async Task A_message_is_signed_so_that_another_implementation_agrees_and_no_other_secret_fits()
        {
            await using var scene = await Scene.StartAsync();
            await scene.Server.AddUserAsync("Zoë & “Söhne” 漢字");
            await scene.Webhooks.TestAsync(scene.Owner, scene.Acme.Root, scene.Id);
            await scene.SendAsync();
            var message = Assert.Single(scene.Receiver.All);
            Assert.StartsWith("msg_", message.Id, StringComparison.Ordinal);
            Assert.Equal(scene.Server.Clock.GetUtcNow().ToUnixTimeSeconds().ToString(), message.Timestamp);
            Assert.True(await IsSignedAsync(message, scene.Secret));
            Assert.False(await IsSignedAsync(message, WebhookSignature.Text(WebhookSignature.NewSecret())));
            Assert.False(
                await IsSignedAsync(message with { Body = message.Body.Replace("test", "Test", StringComparison.Ordinal) }, scene.Secret)
            );
        }

        [Fact]
        public async Task After_a_change_both_secrets_sign_for_a_day_and_then_the_new_one_alone()
        {
            await using var scene = await Scene.StartAsync();
            var renewed = (await scene.Webhooks.RotateSecretAsync(scene.Owner, scene.Acme.Root, scene.Id)).Value;
            Assert.DoesNotContain(renewed.Secret, renewed.ToString(), StringComparison.Ordinal);
            await scene.Webhooks.TestAsync(scene.Owner, scene.Acme.Root, scene.Id);
            await scene.SendAsync();
            Assert.True(await IsSignedAsync(scene.Receiver.All[0], scene.Secret));
            Assert.True(await IsSignedAsync(scene.Receiver.All[0], renewed.Secret));

            scene.Server.Clock.Advance(TimeSpan.FromHours(24));
            await scene.Webhooks.TestAsync(scene.Owner, scene.Acme.Root, scene.Id);
            await scene.SendAsync();
            Assert.False(await IsSignedAsync(scene.Receiver.All[1], scene.Secret));
            Assert.True(await IsSignedAsync(scene.Receiver.All[1], renewed.Secret));
        }

        [Fact]
        public async Task The_secret_is_stored_encrypted()
        {
            await using var scene = await Scene.StartAsync();
            var stored = await scene
                .Server.Get<Database>()
                .ReadAsync(connection => connection.QuerySingleAsync<byte[]>("SELECT secret FROM webhooks"));
            Assert.True(stored.AsSpan().IndexOf(Convert.FromBase64String(scene.Secret[6..])) < 0);
        }
    }

    public class Retrying
    {
        [Fact]
        public async Task A_failed_message_comes_again_after_growing_pauses_with_the_same_id_until_it_is_taken()
        {
            await using var scene = await Scene.StartAsync();
            scene.Receiver.Status = 500;
            await scene.Webhooks.TestAsync(scene.Owner, scene.Acme.Root, scene.Id);
            await scene.SendAsync();
            for (var i = 0; i < 2; i++)
            {
                await scene.SendAsync();
                Assert.Equal(i + 1, scene.Receiver.All.Count); // not before its time
                scene.Server.Clock.Advance(WebhookSender.Pauses[i] * 1.1 + TimeSpan.FromMilliseconds(1));
                await scene.SendAsync();
            }

            Assert.Equal(3, scene.Receiver.All.Count);
            Assert.NotNull((await scene.FindAsync()).FailingSince);
            var failed = await scene.LastAsync();
            Assert.Equal((500, 3L), ((int)failed.Status!, failed.Attempts));
            Assert.DoesNotContain("own words", failed.Error, StringComparison.Ordinal);

            scene.Receiver.Status = 200;
            scene.Server.Clock.Advance(WebhookSender.Pauses[2] * 1.1 + TimeSpan.FromMilliseconds(1));
            await scene.SendAsync();
            Assert.Equal(4, scene.Receiver.All.Count);
            Assert.Single(scene.Receiver.All.Select(message => (message.Id, message.Body)).Distinct());
            Assert.True((await scene.LastAsync()).IsDelivered);
            Assert.Null((await scene.FindAsync()).FailingSince);
            scene.Server.Clock.Advance(TimeSpan.FromDays(1));
            await scene.SendAsync();
            Assert.Equal(4, scene.Receiver.All.Count);
        }

        [Fact]
        public async Task A_webhook_that_fails_for_days_is_disabled_and_the_owners_are_told()
        {
            await using var scene = await Scene.StartAsync();
            scene.Receiver.Status = 503;
            var began = scene.Server.Clock.GetUtcNow();
            for (var day = 0; (await scene.FindAsync()).DisabledAt is null; day++)
            {
                Assert.True(day < 8);
                await scene.Server.AddKeyAsync(scene.Acme.Owner, scene.Acme.Root);
                // Time in which nobody sends does not count, so the sender runs through the day.
                for (var hour = 0.0; hour < 24; hour += 0.2)
                {
                    await scene.SendAsync();
                    scene.Server.Clock.Advance(TimeSpan.FromHours(0.2));
                }
            }

            Assert.True(scene.Server.Clock.GetUtcNow() - began >= WebhookSender.PatienceMax);
            Assert.Single(await scene.Server.MailsToAsync("person1@acme.example"));
            Assert.Equal(0, await scene.Server.ScalarAsync<long>("SELECT COUNT(*) FROM webhook_messages WHERE due_at IS NOT NULL"));
            Assert.Equal(RefusalCode.Conflict, (await scene.Webhooks.TestAsync(scene.Owner, scene.Acme.Root, scene.Id)).Refusal!.Code);

            // Enabled again it is as new, and what it missed can be sent.
            scene.Receiver.Status = 200;
            await scene.Webhooks.UpdateAsync(scene.Owner, scene.Acme.Root, scene.Id, scene.Receiver.Url, NameSet.All, isEnabled: true);
            var missed = await scene.LastAsync();
            Assert.False((await scene.Webhooks.ResendAsync(scene.Owner, scene.Acme.Root, scene.Id, missed.Id)).IsRefused);
            await scene.SendAsync();
            Assert.True((await scene.LastAsync()).IsDelivered);
            Assert.Null((await scene.FindAsync()).DisabledAt);
        }

        /// <summary>It failed a week ago, for as long as its one message was tried, and nothing was sent to it since.</summary>
        [Fact]
        public async Task A_webhook_with_few_messages_is_not_disabled_by_one_that_fails_once()
        {
            await using var scene = await Scene.StartAsync();
            async Task FailAsync(int attempts)
            {
                scene.Receiver.Status = 503;
                await scene.Webhooks.TestAsync(scene.Owner, scene.Acme.Root, scene.Id);
                for (var i = 0; i < attempts; i++)
                {
                    await scene.SendAsync();
                    scene.Server.Clock.Advance(WebhookSender.Pauses[i] * 1.1 + TimeSpan.FromMilliseconds(1));
                }
            }

            Task<int> BeforeAsync(TimeSpan time) =>
                scene.Server.ExecuteAsync($"UPDATE webhooks SET failing_since = failing_since - {(long)time.TotalMilliseconds}");

            await FailAsync(1);
            await scene.Server.ExecuteAsync("UPDATE webhook_messages SET due_at = NULL"); // given up
            await BeforeAsync(WebhookSender.PatienceMax + TimeSpan.FromDays(1));
            await FailAsync(1);
            Assert.Null((await scene.FindAsync()).DisabledAt);
            scene.Receiver.Status = 200;
            await scene.SendAsync();
            Assert.Null((await scene.FindAsync()).FailingSince);

            // The control: one whose message fails again and again is.
            await FailAsync(WebhookSender.AttemptsMin - 1);
            await BeforeAsync(WebhookSender.PatienceMax + TimeSpan.FromDays(1));
            Assert.Null((await scene.FindAsync()).DisabledAt);
            await scene.SendAsync();
            Assert.NotNull((await scene.FindAsync()).DisabledAt);
        }

        [Fact]
        public async Task Another_address_begins_anew_whatever_the_one_before_asked_for_or_failed()
        {
            await using var scene = await Scene.StartAsync();
            (scene.Receiver.Status, scene.Receiver.RetryAfter) = (503, "36000");
            await scene.Webhooks.TestAsync(scene.Owner, scene.Acme.Root, scene.Id);
            await scene.SendAsync();
            (scene.Receiver.Status, scene.Receiver.RetryAfter) = (204, null);
            var changed = await scene.Webhooks.UpdateAsync(
                scene.Owner, scene.Acme.Root, scene.Id, $"{scene.Receiver.Url}?new", NameSet.All, isEnabled: true);
            Assert.False(changed.IsRefused);
            Assert.Null((await scene.FindAsync()).FailingSince);
            await scene.Server.AddKeyAsync(scene.Acme.Owner, scene.Acme.Root);
            await scene.SendAsync();
            Assert.Equal(2, scene.Receiver.All.Select(message => message.Id).Distinct().Count()); // without waiting ten hours
        }

        [Fact]
        public async Task Who_answers_410_is_not_called_again()
        {
            await using var scene = await Scene.StartAsync();
            scene.Receiver.Status = 410;
            await scene.Webhooks.TestAsync(scene.Owner, scene.Acme.Root, scene.Id);
            await scene.SendAsync();
            Assert.NotNull((await scene.FindAsync()).DisabledAt);
        }

        [Fact]
        public async Task Of_processes_that_send_at_the_same_moment_one_does()
        {
            await using var scene = await Scene.StartAsync();
            var second = await TestServer.StartOnAsync(
                scene.Server.Place,
                scene.Server.Clock,
                "--Pakhouse:WebhookNetworksAllowed=127.0.0.0/8"
            );
            await second.Get<WebhookSender>().StopAsync(CancellationToken.None);
            for (var i = 0; i < 20; i++)
                await scene.Webhooks.TestAsync(scene.Owner, scene.Acme.Root, scene.Id);
            await Task.WhenAll(
                Enumerable.Range(0, 4).Select(i => Task.Run(() => (i % 2 == 0 ? scene.Server : second).Get<WebhookSender>().RunAsync()))
            );
            var errors = (await scene.Webhooks.DeliveriesAsync(scene.Owner, scene.Acme.Root, scene.Id, 0, 50))
                .Value.Part.Select(delivery => delivery.Error)
                .Distinct();
            Assert.True(scene.Receiver.All.Count == 20, $"{scene.Receiver.All.Count}: {string.Join(", ", errors)}");
            Assert.Equal(20, scene.Receiver.All.Select(message => message.Id).Distinct().Count());
            await second.StopAsync();
        }

        [Fact]
        public async Task What_a_dead_process_had_claimed_is_sent_by_another_after_a_while()
        {
            await using var scene = await Scene.StartAsync();
            await scene.Webhooks.TestAsync(scene.Owner, scene.Acme.Root, scene.Id);
            await scene.Server.ExecuteAsync("UPDATE webhook_messages SET due_at = due_at + 120000, attempts = 1"); // as a claim does
            await scene.SendAsync();
            Assert.Empty(scene.Receiver.All);
            scene.Server.Clock.Advance(TimeSpan.FromMinutes(2));
            await scene.SendAsync();
            Assert.Single(scene.Receiver.All);
        }

        [Fact]
        public async Task The_log_goes_back_thirty_days()
        {
            await using var scene = await Scene.StartAsync();
            await scene.Webhooks.TestAsync(scene.Owner, scene.Acme.Root, scene.Id);
            await scene.SendAsync();
            scene.Server.Clock.Advance(TimeSpan.FromDays(29));
            await scene.SendAsync();
            Assert.Equal(1, await scene.Server.ScalarAsync<long>("SELECT COUNT(*) FROM webhook_attempts"));
            scene.Server.Clock.Advance(TimeSpan.FromDays(2));
            await scene.SendAsync();
            Assert.Equal(0, await scene.Server.ScalarAsync<long>("SELECT COUNT(*) FROM webhook_messages"));
            Assert.Equal(0, await scene.Server.ScalarAsync<long>("SELECT COUNT(*) FROM webhook_attempts"));
        }
    }

    public class GoingNowhereElse
    {
        [Theory]
        [InlineData("8.8.8.8", true)]
        [InlineData("2606:4700::1", true)]
        [InlineData("0.0.0.0", false)]
        [InlineData("10.1.2.3", false)]
        [InlineData("100.64.0.1", false)]
        [InlineData("127.0.0.1", false)]
        [InlineData("169.254.169.254", false)] // metadata of a cloud
        [InlineData("172.31.255.255", false)]
        [InlineData("192.168.0.1", false)]
        [InlineData("198.18.0.1", false)]
        [InlineData("224.0.0.1", false)]
        [InlineData("255.255.255.255", false)]
        [InlineData("::", false)]
        [InlineData("::1", false)]
        [InlineData("::ffff:127.0.0.1", false)]
        [InlineData("::ffff:10.0.0.1", false)]
        [InlineData("::127.0.0.1", false)]
        [InlineData("64:ff9b::a00:1", false)] // NAT64: 10.0.0.1
        [InlineData("2002:a00:1::", false)] // 6to4: 10.0.0.1
        [InlineData("2001::1", false)] // Teredo
        [InlineData("fc00::1", false)]
        [InlineData("fe80::1", false)]
        [InlineData("ff02::1", false)]
        public void Only_what_is_reachable_globally_is_public(string address, bool isPublic) =>
            Assert.Equal(isPublic, WebhookTarget.IsPublic(IPAddress.Parse(address)));

        [Theory]
        [InlineData("http://hooks.example.com/")]
        [InlineData("ftp://hooks.example.com/")]
        [InlineData("file:///etc/passwd")]
        [InlineData("https://user:password@hooks.example.com/")]
        [InlineData("https://127.0.0.1/")]
        [InlineData("https://[::1]/")]
        [InlineData("https://[::ffff:10.0.0.1]/")]
        [InlineData("https://2130706433/")] // 127.0.0.1 as one number
        [InlineData("https://0x7f.1/")]
        [InlineData("https://169.254.169.254/latest/meta-data/")]
        [InlineData("not an address")]
        [InlineData("")]
        public async Task Such_an_address_is_refused_when_it_is_entered(string url)
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var made = await server.Get<Server.Webhooks>().CreateAsync(Actor.Session(acme.Owner), acme.Root, url, NameSet.All);
            Assert.StartsWith("url: ", made.Refusal!.Description, StringComparison.Ordinal);
        }

        /// <summary>The name is resolved when it is called. In the control the same address is allowed and reached.</summary>
        [Theory]
        [InlineData("127.0.0.0/8", true)]
        [InlineData("10.0.0.0/8", false)]
        public async Task A_name_that_resolves_to_a_private_address_is_not_called_unless_the_operator_allows_it(
            string allowed,
            bool isCalled
        )
        {
            await using var receiver = await Receiver.StartAsync();
            await using var server = await TestServer.StartAsync($"--Pakhouse:WebhookNetworksAllowed={allowed}");
            await server.Get<WebhookSender>().StopAsync(CancellationToken.None);
            var acme = await server.AddAcmeAsync();
            var (webhooks, owner) = (server.Get<Server.Webhooks>(), Actor.Session(acme.Owner));
            var made = (
                await webhooks.CreateAsync(
                    owner,
                    acme.Root,
                    receiver.Url.Replace("127.0.0.1", "localhost", StringComparison.Ordinal),
                    NameSet.All
                )
            ).Value;
            await webhooks.TestAsync(owner, acme.Root, made.Id);
            await server.Get<WebhookSender>().RunAsync();
            Assert.Equal(isCalled ? 1 : 0, receiver.All.Count);
            var delivery = (await webhooks.DeliveriesAsync(owner, acme.Root, made.Id, 0, 1)).Value.Part.Single();
            Assert.Equal(isCalled ? "" : "The name resolves to no public address, so it is not called.", delivery.Error);
        }

        [Fact]
        public async Task A_redirect_is_not_followed()
        {
            await using var scene = await Scene.StartAsync();
            scene.Receiver.Status = 302;
            await scene.Webhooks.TestAsync(scene.Owner, scene.Acme.Root, scene.Id);
            await scene.SendAsync();
            Assert.Single(scene.Receiver.All);
            Assert.False((await scene.LastAsync()).IsDelivered);
        }
    }

    public class Access
    {
        [Fact]
        public async Task Owners_alone_see_and_change_them_and_to_strangers_there_are_none()
        {
            await using var scene = await Scene.StartAsync();
            var manager = Actor.Session(await scene.Server.AddMemberAsync(scene.Acme.Root, "organization-manager"));
            var stranger = Actor.Session(await scene.Server.AddUserAsync());
            foreach (
                var (actor, code) in new[]
                {
                    (manager, RefusalCode.AccessDenied),
                    (stranger, RefusalCode.NotFound),
                    (Actor.Key(scene.Acme.Owner, "k", TestServer.EveryScope), RefusalCode.AccessDenied),
                }
            )
            {
                Assert.Equal(code, (await scene.Webhooks.ListAsync(actor, scene.Acme.Root)).Refusal!.Code);
                Assert.Equal(
                    code,
                    (await scene.Webhooks.CreateAsync(actor, scene.Acme.Root, scene.Receiver.Url, NameSet.All)).Refusal!.Code
                );
                var updated = await scene.Webhooks.UpdateAsync(actor, scene.Acme.Root, scene.Id, scene.Receiver.Url, NameSet.All, false);
                Assert.Equal(code, updated.Refusal!.Code);
                Assert.Equal(code, (await scene.Webhooks.RotateSecretAsync(actor, scene.Acme.Root, scene.Id)).Refusal!.Code);
                Assert.Equal(code, (await scene.Webhooks.TestAsync(actor, scene.Acme.Root, scene.Id)).Refusal!.Code);
                Assert.Equal(code, (await scene.Webhooks.DeliveriesAsync(actor, scene.Acme.Root, scene.Id, 0, 1)).Refusal!.Code);
                Assert.Equal(code, (await scene.Webhooks.ResendAsync(actor, scene.Acme.Root, scene.Id, "m")).Refusal!.Code);
                Assert.Equal(code, (await scene.Webhooks.DeleteAsync(actor, scene.Acme.Root, scene.Id)).Refusal!.Code);
            }

            // The id of another organization's webhook opens nothing either, for an owner of one's own.
            var other = (await scene.Server.Organizations.CreateRootAsync(Actor.Operator, "Other", stranger.UserId!.Value)).Value;
            Assert.Equal(RefusalCode.NotFound, (await scene.Webhooks.FindAsync(stranger, other, scene.Id)).Refusal!.Code);
            Assert.Equal(
                RefusalCode.NotFound,
                (await scene.Webhooks.UpdateAsync(stranger, other, scene.Id, scene.Receiver.Url, NameSet.All, false)).Refusal!.Code
            );
            Assert.Equal(RefusalCode.NotFound, (await scene.Webhooks.RotateSecretAsync(stranger, other, scene.Id)).Refusal!.Code);
            Assert.Equal(RefusalCode.NotFound, (await scene.Webhooks.TestAsync(stranger, other, scene.Id)).Refusal!.Code);
            Assert.Equal(RefusalCode.NotFound, (await scene.Webhooks.DeliveriesAsync(stranger, other, scene.Id, 0, 1)).Refusal!.Code);
            Assert.Equal(RefusalCode.NotFound, (await scene.Webhooks.DeleteAsync(stranger, other, scene.Id)).Refusal!.Code);
            Assert.Null((await scene.FindAsync()).DisabledAt);
        }

        [Fact]
        public async Task Every_change_is_on_record_and_none_with_a_secret()
        {
            await using var scene = await Scene.StartAsync();
            await scene.Webhooks.UpdateAsync(scene.Owner, scene.Acme.Root, scene.Id, scene.Receiver.Url, NameSet.Of("key.leaked"), true);
            var renewed = (await scene.Webhooks.RotateSecretAsync(scene.Owner, scene.Acme.Root, scene.Id)).Value;
            await scene.Webhooks.DeleteAsync(scene.Owner, scene.Acme.Root, scene.Id);
            var rows = (
                await scene
                    .Server.Get<Database>()
                    .ReadAsync(connection =>
                        connection.QueryAsync<(string Action, string? Detail)>(
                            "SELECT action, detail FROM activity WHERE action LIKE 'Webhook%'"
                        )
                    )
            ).ToList();
            Assert.Equal(
                ["Webhook Create", "Webhook Delete", "Webhook Update", "Webhook Update"],
                rows.Select(row => row.Action).Order(StringComparer.Ordinal)
            );
            Assert.DoesNotContain(rows, row => row.Detail?.Contains("whsec_", StringComparison.Ordinal) == true);
            Assert.DoesNotContain(
                scene.Server.Log.Lines,
                line =>
                    line.Contains(renewed.Secret[6..], StringComparison.Ordinal)
                    || line.Contains(scene.Secret[6..], StringComparison.Ordinal)
            );
            Assert.Equal(0, await scene.Server.ScalarAsync<long>("SELECT COUNT(*) FROM webhooks"));
        }

        [Fact]
        public async Task With_a_token_got_from_a_key_none_can_be_made()
        {
            await using var scene = await Scene.StartAsync();
            var token = (await scene.Server.ExchangeAsync(await scene.Server.AddKeyAsync(scene.Acme.Owner, scene.Acme.Root))).Token;
            using var request = new HttpRequestMessage(HttpMethod.Post, $"/identity/v1/organizations/{scene.Acme.Root}/webhooks")
            {
                Content = JsonContent.Create(new { url = scene.Receiver.Url }),
            };
            request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token);
            Assert.Equal(HttpStatusCode.Forbidden, (await scene.Server.Http.SendAsync(request)).StatusCode);
        }

        [Fact]
        public async Task An_organization_has_at_most_ten()
        {
            await using var scene = await Scene.StartAsync();
            for (var i = 1; i < Server.Webhooks.PerOrganizationMax; i++)
                Assert.False((await scene.Webhooks.CreateAsync(scene.Owner, scene.Acme.Root, scene.Receiver.Url, NameSet.All)).IsRefused);
            Assert.Equal(RefusalCode.Conflict,
                (await scene.Webhooks.CreateAsync(scene.Owner, scene.Acme.Root, scene.Receiver.Url, NameSet.All)).Refusal!.Code);
        }
    }
}
