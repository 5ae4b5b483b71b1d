using System.Net;
using System.Net.Sockets;

namespace Pakhouse.Tests;

/// <summary>No forged token opens anything: neither the server's own API, nor its introspection, nor an API with Pakhouse.AspNetCore. All
/// are caller's faults.</summary>
public sealed class ForgedTokensTests
{
    private static readonly (string Secret, string Hash) gateway = ResourceServers.NewSecret();

    [Theory]
    [InlineData("ES256")]
    [InlineData("RS256")]
    public async Task Every_forgery_is_refused_at_every_door_and_nothing_is_fetched(string algorithm)
    {
        await using var scene = await Scene.StartAsync(algorithm);
        using var forged = new ForgedTokens(scene.Server, scene.Token, scene.Watched.Address);
        var faults = new List<string>();
        var all = forged.All().ToList();
        Assert.True(all.Count > 250);
        foreach (var (name, token) in all)
            foreach (var door in Enum.GetValues<Door>())
                if (await scene.FaultAsync(door, token) is { } fault) faults.Add($"{name} at {door}: {fault}");
        Assert.True(faults.Count == 0,
            $"{faults.Count} of {all.Count}:{Environment.NewLine}{string.Join(Environment.NewLine, faults.Take(60))}");
        await scene.IsWellAsync();
    }

    [Fact]
    public async Task Cut_at_any_byte_or_with_any_character_changed_it_is_refused()
    {
        await using var scene = await Scene.StartAsync("ES256");
        using var forged = new ForgedTokens(scene.Server, scene.Token, scene.Watched.Address);
        var faults = new System.Collections.Concurrent.ConcurrentQueue<string>();
        await Parallel.ForEachAsync(forged.OfEachCharacter(), new ParallelOptions { MaxDegreeOfParallelism = 4 }, async (one, _) =>
        {
            foreach (var door in (Door[])[Door.Api, Door.Introspection, Door.Verifier])
                if (await scene.FaultAsync(door, one.Token) is { } fault) faults.Enqueue($"{one.Name} at {door}: {fault}");
        });
        Assert.True(faults.IsEmpty, string.Join(Environment.NewLine, faults.Take(40)));
        await scene.IsWellAsync();
    }

    /// <summary>Some hold bytes that a client library does not send.</summary>
    private static readonly string[] headers =
    [
        "Authorization: Bearer {token}\0",
        "Authorization: Bearer \0{token}",
        "Authorization: Bearer {half}\0{rest}",
        "Authorization: Bearer {half}\x01{rest}",
        "Authorization: Bearer {half}\x1B{rest}",
        "Authorization: Bearer {half}\x7F{rest}",
        "Authorization: Bearer {half}\x0B{rest}",
        "Authorization: Bearer {half}\xA0{rest}",
        "Authorization: Bearer {half}\t{rest}",
        "Authorization: Bearer {half}\r\n {rest}",
        "Authorization: Bearer {half}\rX: {rest}",
        "Authorization: Bearer {half}\nX: {rest}",
        "Authorization: Bearer {token}\xFF",
        "Authorization: Bearer {token}\r\nAuthorization: Bearer {token}",
        "Authorization: Bearer x\r\nAuthorization: Bearer {token}",
        "Authorization: Bearer {token}\r\nAuthorization: Basic eDp5",
        "Authorization: Bearer",
        "Authorization: Bearer ",
        "Authorization: Bearer Bearer {token}",
        "Authorization: Bearer{token}",
        "Authorization: Basic {token}",
        "Authorization: DPoP {token}",
        "Authorization : Bearer {token}",
        "X-Authorization: Bearer {token}",
        "Proxy-Authorization: Bearer {token}",
        "Cookie: Authorization=Bearer {token}",
    ];

    [Fact]
    public async Task A_header_out_of_form_is_no_credential()
    {
        await using var scene = await Scene.StartAsync("ES256");
        async Task<int[]> AskAsync(string header) =>
            RawConnection.Statuses(
                await RawConnection.SendAsync(
                    scene.Server,
                    $"GET /identity/v1/organizations HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{header.Replace("{token}", scene.Token, StringComparison.Ordinal)
                .Replace("{half}", scene.Token[..^40], StringComparison.Ordinal).Replace("{rest}", scene.Token[^40..],
                    StringComparison.Ordinal)}\r\n\r\n",
                    answersMin: 0
                )
            );
        foreach (var header in headers)
        {
            var statuses = await AskAsync(header);
            Assert.True(Array.TrueForAll(statuses, status => status is 400 or 401),
                $"{Uri.EscapeDataString(header)}: {string.Join(' ', statuses)}");
        }

        Assert.Equal(200, Assert.Single(await AskAsync("Authorization: Bearer {token}"))); // the control
    }

    private enum Door
    {
        Api,
        UserInfo,
        Introspection,
        Verifier,
    }

    private sealed class Scene : IAsyncDisposable
    {
        public TestServer Server { get; private init; } = null!;

        public VerifyingApi Verifier { get; private init; } = null!;

        public Watch Watched { get; } = new();

        public string Token { get; private init; } = "";

        public static async Task<Scene> StartAsync(string algorithm)
        {
            var server = await TestServer.StartAsync($"--Pakhouse:SigningAlgorithm={algorithm}", "--Pakhouse:FailuresPerMinuteMax=100000",
                $"--Pakhouse:ResourceServers:gateway:SecretHash={gateway.Hash}");
            var acme = await server.AddAcmeAsync();
            var scene = new Scene
            {
                Server = server,
                Verifier = await VerifyingApi.StartAsync(server),
                Token = (await server.ExchangeAsync(await server.AddKeyAsync(acme.Owner, acme.Root))).Token,
            };
            await scene.IsWellAsync();
            return scene;
        }

        /// <summary>The control: the good token is good everywhere. And nobody was called.</summary>
        public async Task IsWellAsync()
        {
            foreach (var door in Enum.GetValues<Door>())
            {
                Assert.Equal(HttpStatusCode.OK, (await SendAsync(door, Token)).Status);
                Assert.NotNull(await FaultAsync(door, Token)); // one that is accepted would be found
            }

            Assert.Contains("\"active\":true", (await SendAsync(Door.Introspection, Token)).Body, StringComparison.Ordinal);
            Assert.Equal(0, Watched.Connections);
        }

        /// <summary>Null: it was refused as it should be.</summary>
        public async Task<string?> FaultAsync(Door door, string token)
        {
            var answer = await SendAsync(door, token);
            if (door == Door.Introspection)
                return (answer.Status == HttpStatusCode.OK && answer.Body == "{\"active\":false}")
                    || (token.Length == 0 && answer.Status == HttpStatusCode.BadRequest) ? null : $"{(int)answer.Status} {answer.Body}";
            return answer.Status == HttpStatusCode.Unauthorized
                && answer.Header("WWW-Authenticate")?.StartsWith("Bearer", StringComparison.Ordinal) == true ? null
                    : $"{(int)answer.Status} {answer.Body}";
        }

        private async Task<Answer> SendAsync(Door door, string token)
        {
            if (door == Door.Introspection) return await Server.PostAsync("/oauth/introspect", ("token", token), ("client_id", "gateway"),
                ("client_secret", gateway.Secret));
            if (door == Door.Verifier) return await Verifier.AskRawAsync(token);
            using var request = new HttpRequestMessage(HttpMethod.Get, Server.Address
                + (door == Door.Api ? "/identity/v1/organizations" : "/userinfo"));
            request.Headers.TryAddWithoutValidation("Authorization", $"Bearer {token}");
            return await Answer.OfAsync(await Server.Http.SendAsync(request));
        }

        public async ValueTask DisposeAsync()
        {
            await Verifier.DisposeAsync();
            await Server.DisposeAsync();
            Watched.Dispose();
        }
    }

    /// <summary>A port that counts who connects.</summary>
    private sealed class Watch : IDisposable
    {
        private readonly TcpListener listener = new(IPAddress.Loopback, 0);
        private int connections;

        public Watch()
        {
            listener.Start();
            _ = CountAsync();
        }

        public string Address => $"http://{listener.LocalEndpoint}";

        public int Connections => Volatile.Read(ref connections);

        public void Dispose() => listener.Dispose();

        private async Task CountAsync()
        {
            try
            {
                while (true)
                {
                    using var client = await listener.AcceptTcpClientAsync();
                    Interlocked.Increment(ref connections);
                }
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                // Stopped.
            }
        }
    }
}
