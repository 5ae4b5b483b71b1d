using System.Collections.Concurrent;
using System.Net;
using System.Net.ServerSentEvents;
using System.Runtime.CompilerServices;
using System.Text.Json.Serialization;
using System.Threading.Channels;

namespace Pakhouse.Server;

/// <summary>
/// Pushes changes of the status lists to clients (HTML, "Server-sent events"). One poll of the database in each <see cref="LookInterval"/>,
/// and only while there are clients, serves all streams of this process. Events are not signed: they tell a verifier to act early, and the
/// list remains authoritative.
/// <para>Bounds: the number of streams in all and for one address. A client that falls behind by <see cref="BehindMax"/> changes is
/// disconnected and returns with <c>Last-Event-ID</c>; one that reads nothing is disconnected by the server's least data rate.</para>
/// </summary>
public sealed class StatusStreams : PeriodicJob
{
    public static readonly TimeSpan LookInterval = TimeSpan.FromSeconds(1);

    /// <summary>Regular heartbeats show both sides that the connection works. Counted in polls.</summary>
    private const int PollsPerHeartbeat = 15;

    public const int ListenersMax = 1000;
    public const int ListenersPerAddressMax = 50;
    public const int BehindMax = 10_000;

    private readonly StatusLists lists;
    private readonly CancellationToken stopping;
    private readonly ConcurrentDictionary<Listener, bool> listeners = new();
    private readonly Lock gate = new();
    private int looks;

    public StatusStreams(StatusLists lists, IHostApplicationLifetime lifetime, TimeProvider clock, ILogger<StatusStreams> log)
        : base(LookInterval, clock, log)
    {
        (this.lists, stopping) = (lists, lifetime.ApplicationStopping);
        lists.OnChanged = changes =>
        {
            foreach (var listener in listeners.Keys) listener.Tell(changes);
        };
        lists.OnReplaced = () =>
        {
            foreach (var listener in listeners.Keys) listener.End(); // they reconnect and reload the lists
        };
    }

    /// <summary>The number of streams of this process.</summary>
    public int Listeners => listeners.Count;

    private sealed record Data(
        [property: JsonPropertyName("list")] string List,
        [property: JsonPropertyName("idx"), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] int? Entry = null,
        [property: JsonPropertyName("status"), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] int? Status = null
    );

    /// <summary>Null: a heartbeat.</summary>
    private sealed class Listener(int number, IPAddress? address)
    {
        private readonly Channel<StatusChange?> waiting = Channel.CreateBounded<StatusChange?>(BehindMax);

        public IPAddress? Address => address;

        public ChannelReader<StatusChange?> Waiting => waiting.Reader;

        public void Tell(IEnumerable<StatusChange> changes)
        {
            foreach (var change in changes)
                if (change.List == number && !waiting.Writer.TryWrite(change))
                    waiting.Writer.TryComplete(); // too slow: the stream ends, so no change is skipped silently
        }

        public void End() => waiting.Writer.TryComplete();

        public void SendHeartbeat() => waiting.Writer.TryWrite(null);
    }

    public override async Task StartAsync(CancellationToken cancellationToken)
    {
        await lists.RefreshAsync(); // before the server listens, so that the first verifier does not wait for all lists
        await base.StartAsync(cancellationToken);
    }

    public override async Task RunAsync()
    {
        if (listeners.IsEmpty) return;
        await lists.RefreshAsync();
        if (++looks % PollsPerHeartbeat != 0) return;
        foreach (var listener in listeners.Keys) listener.SendHeartbeat();
    }

    /// <summary>Sends a stream that ends when the client leaves, falls behind, or the server stops.</summary>
    public async Task WriteAsync(HttpContext context, int number)
    {
        var listener = new Listener(number, context.Connection.RemoteIpAddress);
        lock (gate)
        {
            if (
                listeners.Count < ListenersMax
                && listeners.Keys.Count(other => Equals(other.Address, listener.Address)) < ListenersPerAddressMax
            )
                listeners[listener] = true;
        }

        try
        {
            if (!listeners.ContainsKey(listener))
            {
                await RefusalWriter.WriteAsync(context, tooMany);
                return;
            }

            await lists.RefreshAsync();
            if (number >= lists.Count)
            {
                await RefusalWriter.WriteAsync(context, StatusListEndpoint.NoSuchList);
                return;
            }

            context.Response.Headers["X-Accel-Buffering"] = "no"; // otherwise nginx buffers events
            if (HttpMethods.IsHead(context.Request.Method))
            {
                context.Response.ContentType = StatusListEndpoint.StreamType;
                return;
            }

            using var end = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted, stopping);
            var list = StatusLists.Address(context.RequestServices.GetRequiredService<PublicAddress>().Value, number);
            // Several changes can have one number, and the client may have seen some of them: those of its last number are sent again.
            var since = long.TryParse(context.Request.Headers["Last-Event-ID"], out var last) && last > 0 ? last - 1 : lists.Version;
            await TypedResults.ServerSentEvents(ReadAsync(listener, list, number, since, end.Token)).ExecuteAsync(context);
        }
        catch (OperationCanceledException)
        {
            // The client has disconnected, or the server stops.
        }
        finally
        {
            listeners.TryRemove(listener, out _);
        }
    }

    private async IAsyncEnumerable<SseItem<Data>> ReadAsync(
        Listener listener,
        string list,
        int number,
        long since,
        [EnumeratorCancellation] CancellationToken end
    )
    {
        // Missed changes come from the database and new ones from the channel, which was opened before: a change can come twice, but none
        // can be lost.
        var missed = await lists.ReadChangesAsync(since, BehindMax + 1);
        if (missed.Count > BehindMax || await lists.IsReplacedSinceAsync(since))
        {
            yield return new SseItem<Data>(new Data(list), "reload") { EventId = lists.Version.ToString() };
        }
        else
        {
            yield return new SseItem<Data>(new Data(list), "open") { EventId = since.ToString() };
            foreach (var change in missed.Where(change => change.List == number))
                yield return Item(change);
        }

        await foreach (var change in listener.Waiting.ReadAllAsync(end))
        {
            if (change is null)
                yield return new SseItem<Data>(new Data(list), "alive");
            else if (change.Value.Version > since)
                yield return Item(change.Value);
        }

        SseItem<Data> Item(StatusChange change) =>
            new(new Data(list, change.Entry, change.Status), "change") { EventId = change.Version.ToString() };
    }

    private static readonly Refusal tooMany = new(
        RefusalCode.SlowDown,
        "Too many streams are open. Fetch the list at intervals instead, or try again as Retry-After says.",
        "too many status streams"
    )
    {
        RetryAfterSeconds = 30,
    };
}
