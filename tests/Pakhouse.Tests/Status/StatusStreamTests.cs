using System.Net;
using System.Text.Json;

namespace Pakhouse.Tests;

public static class StatusStreamTests
{
    public class Listening
    {
        [Fact]
        public async Task A_change_in_another_process_is_pushed_at_the_next_look()
        {
            await using var server = await TestServer.StartAsync();
            var other = await TestServer.StartOnAsync(server.Place, server.Clock, $"--Pakhouse:PublicAddress={server.Address}");
            var acme = await server.AddAcmeAsync();
            var (first, second) = (await server.AddKeyAsync(acme.Owner, acme.Root), await server.AddKeyAsync(acme.Owner, acme.Root));
            using var stream = await Stream.OpenAsync(server);
            Assert.Equal("open", (await stream.NextAsync()).Type);

            await other.Keys.DeleteByOperatorAsync(Actor.Operator, TestServer.IdOf(second));
            await server.Get<StatusStreams>().RunAsync();
            var change = await stream.NextAsync();
            Assert.Equal("change", change.Type);
            Assert.Equal($"{server.Address}/status-lists/0", change.Data.GetProperty("list").GetString());
            Assert.Equal(StatusListTests.EntryOf(await server.ExchangeAsync(first)).Index + 1, change.Data.GetProperty("idx").GetInt64());
            Assert.Equal(1, change.Data.GetProperty("status").GetInt32());

            await other.Users.SetDisabledAsync(Actor.Operator, acme.Owner, true);
            await server.Get<StatusStreams>().RunAsync();
            var next = await stream.NextAsync();
            Assert.True(long.Parse(next.Id!) > long.Parse(change.Id!));
            Assert.Equal(2, next.Data.GetProperty("status").GetInt32());
            await other.StopAsync();
        }

        [Fact]
        public async Task Who_comes_back_with_the_last_id_is_told_what_was_missed()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var keys = new List<string>();
            for (var i = 0; i < 4; i++)
                keys.Add(await server.AddKeyAsync(acme.Owner, acme.Root));
            string last;
            using (var stream = await Stream.OpenAsync(server))
            {
                await stream.NextAsync();
                await server.Keys.DeleteByOperatorAsync(Actor.Operator, TestServer.IdOf(keys[0]));
                await server.Get<StatusStreams>().RunAsync();
                last = (await stream.NextAsync()).Id!;
            }

            foreach (var key in keys[1..])
                await server.Keys.DeleteByOperatorAsync(Actor.Operator, TestServer.IdOf(key));
            using var again = await Stream.OpenAsync(server, last);
            Assert.Equal("open", (await again.NextAsync()).Type);
            var told = new HashSet<long>();
            while (told.Count < 4)
                // the last one once more: one number can stand on many changes
                told.Add((await again.NextAsync()).Data.GetProperty("idx").GetInt64());
            Assert.Equal(4, told.Count);
        }

        [Fact]
        public async Task Signs_of_life_come_while_nothing_changes()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            await server.AddKeyAsync(acme.Owner, acme.Root);
            using var stream = await Stream.OpenAsync(server);
            await stream.NextAsync();
            for (var look = 0; look < 15; look++) await server.Get<StatusStreams>().RunAsync();
            Assert.Equal("alive", (await stream.NextAsync()).Type);
        }

        [Fact]
        public async Task A_stop_of_the_server_ends_the_streams_and_does_not_wait_for_them()
        {
            var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            await server.AddKeyAsync(acme.Owner, acme.Root);
            using var stream = await Stream.OpenAsync(server);
            await stream.NextAsync();
            var began = TimeProvider.System.GetTimestamp();
            await server.DisposeAsync();
            Assert.True(TimeProvider.System.GetElapsedTime(began) < TimeSpan.FromSeconds(10)); // the host would wait thirty
        }
    }

    public class On429
    {
        [Fact]
        public async Task One_address_opens_so_many_streams_and_no_more_and_gets_its_places_back()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            await server.AddKeyAsync(acme.Owner, acme.Root);
            var open = new List<Stream>();
            for (var i = 0; i < StatusStreams.ListenersPerAddressMax; i++) open.Add(await Stream.OpenAsync(server));
            using (var refused = await Stream.SendAsync(server, null)) Assert.Equal(HttpStatusCode.TooManyRequests, refused.StatusCode);
            Assert.Equal(HttpStatusCode.OK, (await server.GetAsync("/status-lists/0")).Status); // the list is still to be had

            foreach (var stream in open) stream.Dispose();
            while (server.Get<StatusStreams>().Listeners > 0) await Task.Yield();
            using var another = await Stream.OpenAsync(server);
        }
    }

    private sealed record Event(string Type, string? Id, JsonElement Data);

    private sealed class Stream(HttpResponseMessage response, StreamReader reader) : IDisposable
    {
        public static async Task<HttpResponseMessage> SendAsync(TestServer server, string? last)
        {
            var request = new HttpRequestMessage(HttpMethod.Get, "/status-lists/0") { Headers = { { "Accept", "text/event-stream" } } };
            if (last is not null) request.Headers.Add("Last-Event-ID", last);
            return await server.Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
        }

        public static async Task<Stream> OpenAsync(TestServer server, string? last = null)
        {
            var response = await SendAsync(server, last);
            Assert.Equal(HttpStatusCode.OK, response.StatusCode);
            Assert.Equal("text/event-stream", response.Content.Headers.ContentType?.MediaType);
            return new Stream(response, new StreamReader(await response.Content.ReadAsStreamAsync()));
        }

        public async Task<Event> NextAsync()
        {
            var (type, id, data) = ("message", (string?)null, "");
            while (await reader.ReadLineAsync().WaitAsync(TimeSpan.FromSeconds(20)) is { } line)
            {
                if (line.Length == 0)
                    return new Event(type, id, JsonDocument.Parse(data).RootElement);
                var (name, value) = (
                    line[..line.IndexOf(':', StringComparison.Ordinal)],
                    line[(line.IndexOf(':', StringComparison.Ordinal) + 1)..].TrimStart()
                );
                if (name == "event")
                    type = value;
                else if (name == "id")
                    id = value;
                else if (name == "data")
                    data += value;
            }

            throw new InvalidOperationException("The stream has ended.");
        }

        public void Dispose()
        {
            reader.Dispose();
            response.Dispose();
        }
    }
}
