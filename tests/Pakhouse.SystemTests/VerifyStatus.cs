using System.Net;
using System.Net.Http.Headers;
using System.Text.Json;

namespace Pakhouse.SystemTests;

/// <summary>
/// The end of a key, seen by those who never ask whether a token is good: another language, and the sample API in processes of its own.
/// </summary>
public sealed class VerifyStatus
{
    [Fact]
    public async Task Python_reads_valid_invalid_and_suspended_out_of_the_signed_list()
    {
        await using var server = await RunningServer.StartAsync();
        await using var seed = Seed.Open(server.DataFolder);
        var acme = await seed.AddAcmeAsync();
        var other = await seed.AddPersonAsync();
        await seed.Members.AddAsync(Actor.Operator, acme.Root, other.Id, NameSet.Empty);
        var tokens = new List<string>();
        var deleted = "";
        foreach (var (person, name) in ((Person, string)[])[(acme.Owner, "kept"), (acme.Owner, "deleted"), (other, "suspended")])
        {
            var key = await seed.AddKeyAsync(person, acme.Root, name);
            if (name == "deleted") deleted = key;
            tokens.Add((await server.ExchangeAsync(key)).Token);
        }

        Assert.Equal(["0", "0", "0"], await ReadAsync(server, tokens));
        Assert.Equal(200, (await server.PostAsync("/oauth/revoke", $"token={deleted}")).Status);
        Assert.Equal(0, (await RunningServer.RunAsync(["users", "disable", other.Email], server.DataFolder)).ExitCode);
        Assert.Equal(["0", "1", "2"], await ReadAsync(server, tokens));

        // Control: the signature is what it believes.
        var parts = tokens[0].Split('.');
        Assert.Equal(["InvalidSignatureError"], await ReadAsync(server, [$"{parts[0]}.{parts[1]}.{parts[2][..^4]}AAAA"]));
    }

    [Fact]
    public async Task The_sample_in_three_processes_refuses_a_deleted_keys_token_within_the_ttl_and_after_the_server_was_killed()
    {
        await using var server = await RunningServer.StartAsync(
            "--Pakhouse:StatusTtlSeconds=2",
            "--Pakhouse:Scopes=orders:read orders:write"
        );
        await using var seed = Seed.Open(server.DataFolder);
        var acme = await seed.AddAcmeAsync();
        var (key, kept) = (await seed.AddKeyAsync(acme.Owner, acme.Root), await seed.AddKeyAsync(acme.Owner, acme.Root, "Key 2"));
        var (token, good) = ((await server.ExchangeAsync(key)).Token, (await server.ExchangeAsync(kept)).Token);
        await using var apis = new Apis();
        for (var i = 0; i < 3; i++)
            await apis.StartAsync(server.Address);

        foreach (var api in apis.Addresses)
        {
            Assert.Equal(HttpStatusCode.OK, await Apis.AskAsync(api, token, """{"article":"Tea","count":2}"""));
            Assert.Equal(HttpStatusCode.OK, await Apis.AskAsync(api, token));
            Assert.Equal(HttpStatusCode.Unauthorized, await Apis.AskAsync(api, "x"));
        }

        Assert.Equal(200, (await server.PostAsync("/oauth/revoke", $"token={key}")).Status);
        var acknowledged = TimeProvider.System.GetTimestamp();
        foreach (var api in apis.Addresses)
        {
            while (await Apis.AskAsync(api, token) == HttpStatusCode.OK)
                Assert.True(
                    TimeProvider.System.GetElapsedTime(acknowledged) < TimeSpan.FromSeconds(30),
                    "The token of a deleted key goes on being accepted."
                ); // far beyond the ttl: the machine may be busy
            Assert.Contains(await Apis.AskAsync(api, good), (HttpStatusCode[])[HttpStatusCode.OK, HttpStatusCode.ServiceUnavailable]);
        }

        await server.StopAsync(Tool.SIGKILL);
        foreach (var api in apis.Addresses)
            for (var i = 0; i < 20; i++)
                Assert.Contains(
                    await Apis.AskAsync(api, token),
                    (HttpStatusCode[])[HttpStatusCode.Unauthorized, HttpStatusCode.ServiceUnavailable]
                );
    }

    private static async Task<string[]> ReadAsync(RunningServer server, IEnumerable<string> tokens)
    {
        var question = JsonSerializer.Serialize(new { jwks = $"{server.Address}/.well-known/jwks.json", issuer = server.Address, tokens });
        var python = await Tool.RunAsync(Tool.Python, [Tool.Script("status.py")], question);
        Assert.True(python.ExitCode == 0, python.All);
        return [.. JsonSerializer.Deserialize<JsonElement[]>(python.Output)!.Select(status => status.ToString())];
    }

    /// <summary>samples/OrdersApi, as a platform would run it.</summary>
    private sealed class Apis : IAsyncDisposable
    {
        private static readonly HttpClient http = new(new SocketsHttpHandler { UseProxy = false });
        private readonly List<System.Diagnostics.Process> processes = [];

        public List<string> Addresses { get; } = [];

        public async Task StartAsync(string issuer)
        {
            var process = Tool.Start(
                "dotnet",
                [Path.Combine(AppContext.BaseDirectory, "OrdersApi.dll"), "--Issuer", issuer, "--urls", "http://127.0.0.1:0"]
            );
            processes.Add(process);
            process.StandardInput.Close();
            const string says = "Now listening on: ";
            while (await process.StandardOutput.ReadLineAsync().WaitAsync(Tool.Patience) is { } line)
            {
                if (!line.Contains(says, StringComparison.Ordinal))
                    continue;
                Addresses.Add(line[(line.IndexOf(says, StringComparison.Ordinal) + says.Length)..].Trim());
                // so that it never waits for a reader
                _ = Task.WhenAll(process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
                return;
            }

            throw new InvalidOperationException($"The sample ended: {await process.StandardError.ReadToEndAsync()}");
        }

        public static async Task<HttpStatusCode> AskAsync(string api, string token, string? order = null)
        {
            using var request = new HttpRequestMessage(order is null ? HttpMethod.Get : HttpMethod.Post, $"{api}/orders")
            {
                Content = order is null ? null : new StringContent(order, new MediaTypeHeaderValue("application/json")),
                Headers = { Authorization = new AuthenticationHeaderValue("Bearer", token) },
            };
            using var response = await http.SendAsync(request);
            return response.StatusCode;
        }

        public async ValueTask DisposeAsync()
        {
            foreach (var process in processes)
            {
                if (!process.HasExited) Tool.Signal(process, Tool.SIGTERM);
                await Tool.EndAsync(process);
                process.Dispose();
            }
        }
    }
}
