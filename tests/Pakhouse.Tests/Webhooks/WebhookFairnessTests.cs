using System.Net;
using System.Net.Sockets;
using Microsoft.Extensions.Logging.Abstractions;

namespace Pakhouse.Tests;

/// <summary>Receivers that hang, against those that answer.</summary>
public sealed class WebhookFairnessTests
{
    /// <summary>Takes connections and never answers.</summary>
    private sealed class Tarpit : IAsyncDisposable
    {
        private readonly TcpListener listener = new(IPAddress.Loopback, 0);
        private readonly List<TcpClient> held = [];
        private readonly TaskCompletionSource full = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly Task accepting;
        private readonly int expected;

        public Tarpit(int expected)
        {
            this.expected = expected;
            listener.Start();
            accepting = AcceptAsync();
        }

        public string Url => $"http://{listener.LocalEndpoint}/hook";

        /// <summary>As many hang here as are expected.</summary>
        public Task Full => full.Task;

        public async ValueTask DisposeAsync()
        {
            listener.Stop();
            await accepting;
            foreach (var client in held) client.Dispose();
        }

        private async Task AcceptAsync()
        {
            try
            {
                while (true)
                {
                    held.Add(await listener.AcceptTcpClientAsync());
                    if (held.Count == expected) full.TrySetResult();
                }
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                // Over.
            }
        }
    }

    /// <summary>A sender that waits ten minutes for an answer: what arrives beside a tarpit did not wait for it.</summary>
    private static WebhookSender PatientSender(TestServer server) =>
        new(
            server.Get<Database>(),
            server.Get<WebhookSecrets>(),
            new WebhookTarget(server.Get<PakhouseOptions>()) { Timeout = TimeSpan.FromMinutes(10) },
            server.Get<Mails>(),
            server.Get<PublicAddress>(),
            server.Clock,
            NullLogger<WebhookSender>.Instance
        );

    private static readonly TimeSpan patience = TimeSpan.FromMinutes(2);

    [Fact]
    public async Task Two_receivers_that_hang_do_not_hold_up_a_third_of_the_same_organization()
    {
        await using var scene = await WebhooksTests.Scene.StartAsync();
        await using var tarpit = new Tarpit(2);
        for (var i = 0; i < 2; i++)
            Assert.False((await scene.Webhooks.CreateAsync(scene.Owner, scene.Acme.Root, tarpit.Url, NameSet.All)).IsRefused);
        var arrived = Count(scene.Receiver, 50);
        for (var i = 0; i < 50; i++)
            await scene
                .Server.Get<Database>()
                .WriteAsync(async transaction =>
                {
                    await Events.WriteAsync(transaction, scene.Server.Clock, EventTypes.PolicyChanged, scene.Acme.Root);
                    return true;
                });
        using var sender = PatientSender(scene.Server);
        var sending = sender.RunAsync();
        await Task.WhenAll(arrived, tarpit.Full).WaitAsync(patience);
        Assert.False(sending.IsCompleted); // the control: they hang still
        await tarpit.DisposeAsync();
        await sending.WaitAsync(patience);
        Assert.Equal(50, scene.Receiver.All.Count);
    }

    [Fact]
    public async Task What_one_tenants_receivers_hold_open_delays_no_message_of_another_even_one_written_later()
    {
        await using var scene = await WebhooksTests.Scene.StartAsync();
        await using var tarpit = new Tarpit(10);
        var villain = await scene.Server.AddUserAsync();
        var other = (await scene.Server.Organizations.CreateRootAsync(Actor.Operator, "Other", villain)).Value;
        for (var i = 0; i < 10; i++)
        {
            var made = (await scene.Webhooks.CreateAsync(Actor.Session(villain), other, tarpit.Url, NameSet.All)).Value;
            for (var j = 0; j < 5; j++) Assert.False((await scene.Webhooks.TestAsync(Actor.Session(villain), other, made.Id)).IsRefused);
        }

        using var sender = PatientSender(scene.Server);
        var sending = sender.RunAsync();
        await tarpit.Full.WaitAsync(patience);
        var arrived = Count(scene.Receiver, 1);
        await scene.Webhooks.TestAsync(scene.Owner, scene.Acme.Root, scene.Id); // while all ten hang
        while (!arrived.IsCompleted)
        {
            scene.Server.Clock.Advance(TimeSpan.FromSeconds(2)); // the sender looks again
            await Task.WhenAny(arrived, Task.Run(static () => Thread.Yield())).WaitAsync(patience);
        }

        Assert.False(sending.IsCompleted);
        await tarpit.DisposeAsync();
        await sending.WaitAsync(patience);
    }

    private static Task Count(WebhooksTests.Receiver receiver, int expected)
    {
        var (done, count) = (new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously), 0);
        receiver.Arrived = _ =>
        {
            if (Interlocked.Increment(ref count) == expected) done.TrySetResult();
        };
        return done.Task;
    }

    public class Slots
    {
        private static readonly DateTimeOffset now = DateTimeOffset.UnixEpoch.AddYears(50);

        private static List<DueWebhook> Many(int organizations, int each, bool isFailing = false, string? host = null) =>
            [
                .. from organization in Enumerable.Range(0, organizations).Select(_ => Ids.New(TimeProvider.System))
                from i in Enumerable.Range(0, each)
                select new DueWebhook
                {
                    Id = Ids.New(TimeProvider.System),
                    OrganizationId = organization,
                    Url = $"https://{host ?? Ids.New(TimeProvider.System).ToString("N") + ".example"}/",
                    DueAt = now,
                    Messages = 8,
                    FailingSince = isFailing ? now : null,
                },
            ];

        private static int Taken(IReadOnlyList<(DueWebhook Webhook, int Count)> taken) => taken.Sum(one => one.Count);

        private static List<DueWebhook> Learn(WebhookSlots slots, List<DueWebhook> due, int deliveries, long milliseconds = 5)
        {
            for (var i = 0; i < deliveries; i++)
                foreach (var (webhook, count) in slots.Take(due))
                    for (var j = 0; j < count; j++)
                        slots.Finished(webhook.Id, isDelivered: true, milliseconds);
            return due;
        }

        [Fact]
        public void Failing_and_unknown_receivers_leave_places_for_quick_ones_however_many_they_are()
        {
            var slots = new WebhookSlots();
            var quick = Learn(slots, Many(1, 1), 5);
            Assert.Equal(WebhookSlots.SlowMax, Taken(slots.Take(Many(200, 5, isFailing: true))));
            Assert.Equal(WebhookSlots.UnknownMax, Taken(slots.Take(Many(200, 5))));
            Assert.Equal(WebhookSlots.PerWebhookMax, Taken(slots.Take(quick)));
        }

        [Fact]
        public void A_receiver_that_answers_slowly_gets_one_at_a_time_and_counts_as_slow()
        {
            var slots = new WebhookSlots();
            var slow = Learn(slots, Many(30, 1), 4, milliseconds: 9_000);
            Assert.Equal(WebhookSlots.SlowMax, Taken(slots.Take(slow)));
        }

        [Fact]
        public void The_organization_with_fewest_under_way_comes_first_and_none_has_more_than_its_bound()
        {
            var slots = new WebhookSlots();
            var many = Learn(slots, Many(1, 10), 40);
            Assert.Equal(WebhookSlots.PerOrganizationMax, Taken(slots.Take(many)));
            var late = Many(40, 1); // each younger than what the first has
            var taken = slots.Take([.. many, .. late.Select(webhook => webhook with { DueAt = now.AddHours(1) })]);
            Assert.Equal(
                (WebhookSlots.UnknownMax, WebhookSlots.UnknownMax),
                (Taken(taken), taken.Select(one => one.Webhook.OrganizationId).Distinct().Count())
            );
        }

        [Fact]
        public void One_host_has_no_more_than_its_bound_and_places_come_back()
        {
            var slots = new WebhookSlots();
            var due = Many(60, 1, host: "hooks.example");
            var taken = slots.Take(due);
            Assert.Equal(WebhookSlots.PerHostMax, Taken(taken));
            Assert.Empty(slots.Take(due));
            foreach (var (webhook, count) in taken)
                slots.Return(webhook.Id, count);
            Assert.Equal(WebhookSlots.PerHostMax, Taken(slots.Take(due)));
        }
    }
}
