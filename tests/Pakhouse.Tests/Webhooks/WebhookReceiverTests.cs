using System.Diagnostics;
using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using System.Text.Json.Nodes;
using Dapper;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.Logging;

namespace Pakhouse.Tests;

/// <summary>
/// What receivers rely on: the libraries that they verify with, the schema, what they ask for, what they miss while they are off.
/// </summary>
public static class WebhookReceiverTests
{
    private static async Task<JsonElement> NodeAsync(object asked)
    {
        var start = new ProcessStartInfo("node") { UseShellExecute = false, RedirectStandardInput = true, RedirectStandardOutput = true };
        start.ArgumentList.Add(Path.Combine(Repository.Root, "tests", "webhooks.mjs"));
        using var node = Process.Start(start)!;
        await node.StandardInput.WriteAsync(JsonSerializer.Serialize(asked));
        node.StandardInput.Close();
        var said = await node.StandardOutput.ReadToEndAsync();
        await node.WaitForExitAsync();
        Assert.Equal(0, node.ExitCode);
        return JsonDocument.Parse(said).RootElement;
    }

    public class Libraries
    {
        [Fact]
        public async Task Svix_and_standardwebhooks_verify_a_delivery_and_refuse_it_with_another_secret_or_body()
        {
            await using var scene = await WebhooksTests.Scene.StartAtAsync(TimeProvider.System.GetUtcNow()); // both look at the time
            var key = new NewKey(KeyFormat.NewId(), "Zoë & “Söhne” 漢字", null, NameSet.All);
            (await scene.Server.Keys.GenerateAsync(scene.Owner, scene.Acme.Root, key)).Value.Dispose();
            await scene.SendAsync();
            var message = Assert.Single(scene.Receiver.All);
            Assert.Equal((true, true), await VerifyAsync(message, scene.Secret));
            Assert.Equal((false, false), await VerifyAsync(message, WebhookSignature.Text(WebhookSignature.NewSecret())));
            Assert.Equal(
                (false, false),
                await VerifyAsync(message with { Body = message.Body.Replace("Zoë", "Zoe", StringComparison.Ordinal) }, scene.Secret)
            );

            // Both secrets sign for a day after a change.
            var renewed = (await scene.Webhooks.RotateSecretAsync(scene.Owner, scene.Acme.Root, scene.Id)).Value.Secret;
            await scene.Webhooks.TestAsync(scene.Owner, scene.Acme.Root, scene.Id);
            await scene.SendAsync();
            foreach (var secret in new[] { scene.Secret, renewed })
                Assert.Equal((true, true), await VerifyAsync(scene.Receiver.All[1], secret));
        }

        private static async Task<(bool Svix, bool Standard)> VerifyAsync(WebhooksTests.Received message, string secret)
        {
            var headers = new Dictionary<string, string>
            {
                ["webhook-id"] = message.Id,
                ["webhook-timestamp"] = message.Timestamp,
                ["webhook-signature"] = message.Signature,
            };
            var said = await NodeAsync(new { verify = new { secret, headers, body = message.Body } });
            return (said.GetProperty("svix").GetBoolean(), said.GetProperty("standardwebhooks").GetBoolean());
        }
    }

    public class Schema
    {
        [Fact]
        public async Task Every_message_fits_the_schema_in_the_docs_and_the_schema_has_every_event()
        {
            List<string> messages = [];
            var schema = JsonNode.Parse(await File.ReadAllTextAsync(Path.Combine(Repository.Root, "docs", "webhooks.schema.json")))!;
            foreach (var way in KeyLifecycleTests.Ways.Values.DistinctBy(way => (way.Event, way.Reason)))
            {
                await using var scene = await KeyLifecycleTests.Scene.StartAsync();
                await way.Walk(scene);
                messages.AddRange(await BodiesAsync(scene.Server));
            }

            await using (var scene = await WebhooksTests.Scene.StartAsync())
            {
                var server = scene.Server;
                await server.ExchangeAsync(await server.AddKeyAsync(scene.Acme.Owner, scene.Acme.Root, TimeSpan.FromDays(10)));
                await server.Get<KeyUsage>().FlushAsync();
                server.Clock.Advance(TimeSpan.FromDays(4));
                await server.Get<KeyExpiryJob>().RunAsync();
                await scene.Webhooks.TestAsync(scene.Owner, scene.Acme.Root, scene.Id);
                var inviting = Actor.Key(
                    scene.Acme.Owner,
                    TestServer.IdOf(await server.AddKeyAsync(scene.Acme.Owner, scene.Acme.Root)),
                    TestServer.EveryScope
                );
                Assert.False(
                    (
                        await server.Invitations.InviteAsync(
                            inviting,
                            scene.Acme.Root,
                            "new@acme.example",
                            [new(scene.Acme.Root, NameSet.Of("builder"))]
                        )
                    ).IsRefused
                );
                var policies = server.Get<Policies>();
                var shown = (await policies.ViewAsync(scene.Owner, scene.Acme.Root)).Value;
                Assert.False(
                    (
                        await policies.ChangeAsync(
                            scene.Owner,
                            scene.Acme.Root,
                            new PolicyChange(new Policy { LifetimeMaxDays = 30 }, null, false, shown.Version)
                        )
                    ).IsRefused
                );
                messages.AddRange(await BodiesAsync(server));
            }

            Assert.Equal(
                EventTypes.All.Append(EventTypes.Test).Order(StringComparer.Ordinal),
                schema["properties"]!["type"]!["enum"]!.AsArray().Select(type => type!.GetValue<string>()).Order(StringComparer.Ordinal)
            );
            Assert.Equal(
                EventTypes.All.Append(EventTypes.Test).Order(StringComparer.Ordinal),
                messages.Select(message => JsonNode.Parse(message)!["type"]!.GetValue<string>()).Distinct().Order(StringComparer.Ordinal)
            );
            Assert.All(await ValidateAsync(schema, messages), fault => Assert.Equal("", fault));

            // The control: a member more, one less, and the data of another event.
            var message = JsonNode.Parse(messages.First(text => text.Contains("\"key.rotated\"", StringComparison.Ordinal)))!;
            string[] wrong =
            [
                Changed(data => data["more"] = 1),
                Changed(data => data.Remove("successorId")),
                message.ToJsonString().Replace("key.rotated", "key.deleted", StringComparison.Ordinal),
            ];
            Assert.All(await ValidateAsync(schema, wrong), fault => Assert.NotEqual("", fault));

            string Changed(Action<JsonObject> change)
            {
                var copy = message.DeepClone();
                change(copy["data"]!.AsObject());
                return copy.ToJsonString();
            }
        }

        private static Task<IEnumerable<string>> BodiesAsync(TestServer server) =>
            server.Get<Database>().ReadAsync(connection => connection.QueryAsync<string>("SELECT body FROM webhook_messages"));

        private static async Task<IEnumerable<string>> ValidateAsync(JsonNode schema, IEnumerable<string> messages) =>
            (await NodeAsync(new { schema, messages })).EnumerateArray().Select(fault => fault.GetString()!);
    }

    public class RetryAfter
    {
        [Theory]
        [InlineData(503, "3600", 1.0)]
        [InlineData(429, "3600", 1.0)]
        [InlineData(503, "99999999", 10.0)] // bounded
        public async Task What_the_receiver_asks_for_is_kept_by_all_its_messages(int status, string asked, double hours)
        {
            await using var scene = await WebhooksTests.Scene.StartAsync();
            (scene.Receiver.Status, scene.Receiver.RetryAfter) = (status, asked);
            await scene.Server.AddKeyAsync(scene.Acme.Owner, scene.Acme.Root);
            await scene.SendAsync();
            (scene.Receiver.Status, scene.Receiver.RetryAfter) = (204, null);
            await scene.Server.AddKeyAsync(scene.Acme.Owner, scene.Acme.Root);
            scene.Server.Clock.Advance(TimeSpan.FromHours(hours) - TimeSpan.FromSeconds(1));
            await scene.SendAsync();
            Assert.Single(scene.Receiver.All);
            scene.Server.Clock.Advance(TimeSpan.FromSeconds(1));
            await scene.SendAsync();
            Assert.Equal(2, scene.Receiver.All.Select(message => message.Id).Distinct().Count());
            Assert.Equal(3, scene.Receiver.All.Count);
        }

        [Fact]
        public async Task A_shorter_one_does_not_use_up_the_attempts()
        {
            await using var scene = await WebhooksTests.Scene.StartAsync();
            (scene.Receiver.Status, scene.Receiver.RetryAfter) = (503, "1");
            await scene.Webhooks.TestAsync(scene.Owner, scene.Acme.Root, scene.Id);
            await scene.SendAsync();
            scene.Server.Clock.Advance(TimeSpan.FromSeconds(4));
            await scene.SendAsync();
            Assert.Single(scene.Receiver.All);
        }
    }

    public class Off
    {
        [Fact]
        public async Task What_happens_while_a_webhook_is_off_is_in_its_list_unsent_and_can_be_sent_when_it_is_on()
        {
            await using var scene = await WebhooksTests.Scene.StartAsync("key.created");
            await scene.Webhooks.UpdateAsync(
                scene.Owner,
                scene.Acme.Root,
                scene.Id,
                scene.Receiver.Url,
                NameSet.Of("key.created"),
                isEnabled: false
            );
            await scene.Server.AddKeyAsync(scene.Acme.Owner, scene.Acme.Root);
            await scene.SendAsync();
            var missed = await scene.LastAsync();
            Assert.Equal(("key.created", 0L, null), (missed.Type, missed.Attempts, missed.DueAt));
            await scene.Webhooks.UpdateAsync(
                scene.Owner,
                scene.Acme.Root,
                scene.Id,
                scene.Receiver.Url,
                NameSet.Of("key.created"),
                isEnabled: true
            );
            await scene.SendAsync();
            Assert.Empty(scene.Receiver.All); // only where it is asked for
            Assert.False((await scene.Webhooks.ResendAsync(scene.Owner, scene.Acme.Root, scene.Id, missed.Id)).IsRefused);
            await scene.SendAsync();
            Assert.Equal(missed.Id, Assert.Single(scene.Receiver.All).Id);
        }

        [Fact]
        public async Task One_that_is_off_for_longer_than_the_list_goes_back_collects_nothing()
        {
            await using var scene = await WebhooksTests.Scene.StartAsync();
            await scene.Webhooks.UpdateAsync(scene.Owner, scene.Acme.Root, scene.Id, scene.Receiver.Url, NameSet.All, isEnabled: false);
            scene.Server.Clock.Advance(WebhookSender.Kept);
            await scene.Server.AddKeyAsync(scene.Acme.Owner, scene.Acme.Root);
            await scene.Webhooks.UpdateAsync(scene.Owner, scene.Acme.Root, scene.Id, scene.Receiver.Url, NameSet.All, isEnabled: false);
            Assert.Equal(0, await scene.Server.ScalarAsync<long>("SELECT COUNT(*) FROM webhook_messages"));
        }

        [Fact]
        public async Task Time_in_which_this_server_was_off_is_not_the_receivers_failure()
        {
            await using var scene = await WebhooksTests.Scene.StartAsync();
            scene.Receiver.Status = 500;
            await scene.Webhooks.TestAsync(scene.Owner, scene.Acme.Root, scene.Id);
            await scene.SendAsync();
            var began = (await scene.FindAsync()).FailingSince!.Value;
            scene.Server.Clock.Advance(WebhookSender.PatienceMax * 2); // nobody runs the sender
            using (
                var started = new WebhookSender(
                    scene.Server.Get<Database>(),
                    scene.Server.Get<WebhookSecrets>(),
                    scene.Server.Get<WebhookTarget>(),
                    scene.Server.Get<Mails>(),
                    scene.Server.Get<PublicAddress>(),
                    scene.Server.Clock,
                    Microsoft.Extensions.Logging.Abstractions.NullLogger<WebhookSender>.Instance
                )
            )
                await started.RunAsync();
            var webhook = await scene.FindAsync();
            Assert.Equal(2, scene.Receiver.All.Count);
            Assert.Null(webhook.DisabledAt);
            Assert.Equal(began + WebhookSender.PatienceMax * 2, webhook.FailingSince);
        }
    }

    public class Certificates
    {
        [Theory]
        [InlineData("127.0.0.1", false, "untrusted", null)]
        [InlineData("elsewhere.example", false, "untrusted", "for another name")]
        [InlineData("127.0.0.1", true, "untrusted", "has expired")]
        public async Task A_certificate_is_called_what_it_is(string name, bool isExpired, string expected, string? also)
        {
            var builder = WebApplication.CreateSlimBuilder();
            builder.Logging.ClearProviders();
            builder.WebHost.UseKestrelHttpsConfiguration();
            builder.WebHost.ConfigureKestrel(kestrel =>
                kestrel.Listen(IPAddress.Loopback, 0, listen => listen.UseHttps(Certificate(name, isExpired)))
            );
            await using var receiver = builder.Build();
            receiver.MapFallback(() => "hello");
            await receiver.StartAsync();
            var error = await ErrorAsync($"https://127.0.0.1:{new Uri(receiver.Urls.Single()).Port}/");
            Assert.Contains(expected, error, StringComparison.Ordinal);
            foreach (var words in new[] { "for another name", "has expired" })
                Assert.Equal(words == also, error.Contains(words, StringComparison.Ordinal));
        }

        [Fact]
        public async Task A_receiver_that_speaks_no_TLS_is_told_so()
        {
            await using var receiver = await WebhooksTests.Receiver.StartAsync();
            Assert.Contains(
                "TLS negotiation failed",
                await ErrorAsync(receiver.Url.Replace("http:", "https:", StringComparison.Ordinal)),
                StringComparison.Ordinal
            );
        }

        private static async Task<string> ErrorAsync(string url)
        {
            await using var scene = await WebhooksTests.Scene.StartAsync();
            Assert.False(
                (await scene.Webhooks.UpdateAsync(scene.Owner, scene.Acme.Root, scene.Id, url, NameSet.All, isEnabled: true)).IsRefused
            );
            await scene.Webhooks.TestAsync(scene.Owner, scene.Acme.Root, scene.Id);
            await scene.SendAsync();
            return (await scene.LastAsync()).Error!;
        }

        private static X509Certificate2 Certificate(string name, bool isExpired)
        {
            using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
            var request = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256);
            var names = new SubjectAlternativeNameBuilder();
            if (IPAddress.TryParse(name, out var address))
                names.AddIpAddress(address);
            else
                names.AddDnsName(name);
            request.CertificateExtensions.Add(names.Build());
            using var made = request.CreateSelfSigned(
                TimeProvider.System.GetUtcNow().AddDays(-20),
                TimeProvider.System.GetUtcNow().AddDays(isExpired ? -10 : 10)
            );
            return X509CertificateLoader.LoadPkcs12(made.Export(X509ContentType.Pkcs12), null);
        }
    }
}
