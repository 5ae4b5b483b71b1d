using System.Globalization;
using System.Net.Sockets;
using System.Text;
using Dapper;

namespace Pakhouse.SystemTests;

/// <summary>
/// The secret of a key leaves the server once, in the answer that makes it. Afterwards it stands nowhere: not in a log at any
/// level, not in a file, not in an answer, and, when it was sent as the contract says, not in the memory of the process.
/// </summary>
public sealed class KeepSecrets
{
    private const int Keys = 1000;

    // Every way that logging can be turned up: by category and by provider.
    private static readonly string[] everyLog =
    [
        "--Pakhouse:FailuresPerMinuteMax", "100000", "--Pakhouse:KeysPerMemberMax", "10000", "--Pakhouse:UsageFlushSeconds", "1",
        "--Logging:LogLevel:Default", "Trace", "--Logging:LogLevel:Microsoft", "Trace", "--Logging:LogLevel:Microsoft.AspNetCore", "Trace",
        "--Logging:LogLevel:Microsoft.AspNetCore.Hosting.Diagnostics", "Trace", "--Logging:Console:LogLevel:Default", "Trace",
        "--Logging:Console:LogLevel:Microsoft.AspNetCore.Hosting.Diagnostics", "Trace", "--Logging:Console:IncludeScopes", "true",
    ];

    [Fact]
    public async Task No_secret_stands_in_a_log_a_file_or_an_answer_however_wrongly_it_was_sent()
    {
        await using var server = await RunningServer.StartAsync(everyLog);
        var keys = await AddKeysAsync(server, Keys);
        var answers = new System.Collections.Concurrent.ConcurrentBag<string>();

        await Parallel.ForEachAsync(
            keys.Index(),
            new ParallelOptions { MaxDegreeOfParallelism = 4 },
            async (numbered, _) =>
            {
                var (number, key) = numbered;
                var right = await server.ExchangeAsync(key);
                Assert.Equal(200, right.Status);
                answers.Add(right.Text);
                answers.Add((await SendWronglyAsync(server, number, key)).Text);
            }
        );
        answers.Add(await SendRawAsync(server, $"POST /auth/v3/token?a={keys[0]}\x01 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
        answers.Add(await SendRawAsync(server, $"POST {keys[1]} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
        answers.Add(await SendRawAsync(server, $"{keys[2]}\r\n\r\n"));
        answers.Add(await SendRawAsync(server, $"POST /auth/v3/token HTTP/1.1\r\nHost: a\r\n{keys[3]}\r\n\r\n"));
        answers.Add(await SendRawAsync(server, $"POST /auth/v3/token HTTP/1.1\r\nHost: {keys[4]}:x\r\n\r\n"));
        answers.Add(await SendRawAsync(server, $"POST /auth/v3/token HTTP/1.1\r\nHost: a\r\nContent-Length: {keys[5]}\r\n\r\n"));
        answers.Add(
            await SendRawAsync(
                server,
                $"POST /auth/v3/token HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {keys[6]}\r\nConnection: close\r\n\r\n"
            )
        );

        // While it runs, so that the -wal and -shm are there, and when it has ended.
        var finder = new SecretFinder(keys.Select(Seed.SecretOf));
        Assert.NotEmpty(Directory.GetFiles(server.DataFolder, "*-wal"));
        AssertNoneInFiles(finder, server.DataFolder);
        Assert.Equal(0, await server.StopAsync());
        AssertNoneInFiles(finder, server.DataFolder);
        Assert.Contains("dbug: Pakhouse.Server.Requests", server.Output, StringComparison.Ordinal);
        AssertNone(finder.Find(server.Output), server.Output, "standard output");
        foreach (var answer in answers)
            AssertNone(finder.Find(answer), answer, "an answer");
    }

    [Fact]
    public async Task Control_a_planted_secret_is_found_in_a_file_and_in_a_log()
    {
        var key = Encoding.ASCII.GetString(KeyFormat.Create("ph", KeyFormat.NewId()));
        var finder = new SecretFinder([Seed.SecretOf(key)]);
        var folder = Directory.CreateTempSubdirectory("pakhouse-system-");
        try
        {
            await using (var server = await RunningServer.StartInAsync(Path.Combine(folder.FullName, "data")))
            {
                await using var seed = Seed.Open(server.DataFolder);
                var person = await seed.AddPersonAsync();
                // Past the check of names, which refuses a secret.
                await seed.Get<Database>().WriteAsync(transaction => transaction.Connection!.ExecuteAsync(
                    "UPDATE users SET name = @name WHERE id = @id", new { name = $"A person named {key}", id = person.Id }, transaction));
                Assert.NotEmpty(FindInFiles(finder, server.DataFolder)); // through the database itself, in its -wal
            }

            Assert.NotEmpty(FindInFiles(finder, folder.FullName));
        }
        finally
        {
            folder.Delete(recursive: true);
        }

        Assert.NotEmpty(finder.Find($"info: a key, {key}, was sent"));
        Assert.NotEmpty(finder.Find(Encoding.Unicode.GetBytes($"-{key}")));
        Assert.NotEmpty(finder.Find(Encoding.Unicode.GetBytes(key).Prepend((byte)7).ToArray()));
        Assert.NotEmpty(finder.Find($"half of it: {Seed.SecretOf(key)[..20]}"));
        Assert.Empty(finder.Find($"the public part: {key[..^49]}"));
    }

    [Fact]
    public async Task Memory_of_the_server_holds_nothing_of_the_secrets_that_were_exchanged()
    {
        await using var server = await RunningServer.StartAsync(
            "--Pakhouse:FailuresPerMinuteMax",
            "100000",
            "--Pakhouse:KeysPerMemberMax",
            "10000"
        );
        var keys = await AddKeysAsync(server, Keys);
        var unknown = Enumerable.Range(0, 50).Select(_ => Encoding.ASCII.GetString(KeyFormat.Create("ph", KeyFormat.NewId()))).ToList();
        var inHeader = Encoding.ASCII.GetString(KeyFormat.Create("ph", KeyFormat.NewId()));

        await Parallel.ForEachAsync(
            keys.SkipLast(100),
            new ParallelOptions { MaxDegreeOfParallelism = 4 },
            async (key, _) => Assert.Equal(200, (await server.ExchangeAsync(key)).Status)
        );
        foreach (var key in unknown)
            Assert.Equal(401, (await server.ExchangeAsync(key)).Status);

        // The last hundred side by side: each connection holds a buffer of its own while all of them wait for their second half, so
        // that nothing is overwritten by the next request before it is looked for.
        var connections = new List<RawConnection>();
        try
        {
            foreach (var key in keys.TakeLast(100))
            {
                var connection = await RawConnection.OpenAsync(server);
                connections.Add(connection);
                await connection.SendAsync(Request(connections.Count, key)[..^30]);
            }

            foreach (var (number, key) in keys.TakeLast(100).Index())
                await connections[number].SendAsync(Request(number + 1, key)[^30..]);
            foreach (var (number, _) in connections.Index())
                Assert.StartsWith(
                    $"HTTP/1.1 {(number % 5) switch { 2 => 403, 3 => 400, _ => 200 }} ",
                    await connections[number].ReceiveAsync(),
                    StringComparison.Ordinal
                );
            await AssertMemoryIsCleanAsync();
        }
        finally
        {
            foreach (var connection in connections)
                connection.Dispose();
        }

        // Plain; encoded; refused after it was proven; refused before it was read through; in chunks.
        static string Request(int number, string key)
        {
            const string head = "POST /auth/v3/token HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n";
            var body = (number % 5) switch
            {
                2 => $"pat={key.Replace("_", "%5f", StringComparison.Ordinal)}",
                3 => $"subOrganization={Guid.Empty}&personalAccessKey={key}",
                4 => $"scope=a&scope=b&personalAccessKey={key}",
                _ => $"personalAccessKey={key}",
            };
            return number % 5 == 0
                ? $"{head}Transfer-Encoding: chunked\r\n\r\n14\r\n{body[..20]}\r\n{body.Length - 20:x}\r\n{body[20..]}\r\n0\r\n\r\n"
                : $"{head}Content-Length: {body.Length}\r\n\r\n{body}";
        }

        // The control is in the same scan: what was sent where a header is read as text is there, and is found. The collector may come
        // between.
        async Task AssertMemoryIsCleanAsync()
        {
            var finder = new SecretFinder(keys.Concat(unknown).Append(inHeader).Select(Seed.SecretOf));
            var found = new List<(string Secret, string Encoding, string Region)>();
            for (var attempt = 0; attempt < 5 && found.TrueForAll(piece => piece.Secret != Seed.SecretOf(inHeader)); attempt++)
            {
                using var request = new HttpRequestMessage(HttpMethod.Get, new Uri("/.well-known/jwks.json", UriKind.Relative))
                {
                    Headers = { { "X-Note", inHeader } },
                };
                (await server.Http.SendAsync(request)).Dispose();
                found.AddRange(Memory.Find(server.ProcessId, finder));
            }

            Assert.Contains(found, piece => piece.Secret == Seed.SecretOf(inHeader));
            var left = found.Where(piece => piece.Secret != Seed.SecretOf(inHeader)).ToList();
            var secrets = left.Select(piece => piece.Secret).Distinct(StringComparer.Ordinal).ToList();
            Assert.True(
                left.Count == 0,
                $"{left.Count} pieces of {secrets.Count} secrets are in memory: "
                    + string.Join(
                        ", ",
                        left.Take(40)
                            .Select(piece =>
                                $"key {keys.FindIndex(key => Seed.SecretOf(key) == piece.Secret)}, {piece.Encoding}, at {piece.Region}"
                            )
                    )
            );
        }
    }

    private static async Task<List<string>> AddKeysAsync(RunningServer server, int count)
    {
        await using var seed = Seed.Open(server.DataFolder, "--Pakhouse:KeysPerMemberMax=10000");
        var acme = await seed.AddAcmeAsync();
        var keys = new List<string>();
        for (var i = 0; i < count; i++) keys.Add(await seed.AddKeyAsync(acme.Owner, acme.Root));
        return keys;
    }

    /// <summary>Every place where a mistaken caller has put a key, one after another.</summary>
    private static async Task<Answer> SendWronglyAsync(RunningServer server, int number, string key)
    {
        var encoded = string.Concat(key.Select(c => $"%{(int)c:X2}"));
        switch (number % 16)
        {
            case 0:
                return await server.PostAsync($"/auth/v3/token?personalAccessKey={key}", "");
            case 1:
                return await server.PostAsync($"/auth/v3/token?{key}", $"personalAccessKey={key}");
            case 2:
                return await server.PostAsync($"/auth/v3/{key}", $"personalAccessKey={key}");
            case 3:
                return await server.PostAsync("/auth/v3/token", $"{key}={key}");
            case 4:
                return await server.PostAsync("/auth/v3/token", $$"""{"personalAccessKey":"{{key}}"}""", "application/json");
            case 5:
                return await server.PostAsync("/auth/v3/token", $"personalAccessKey={key}&personalAccessKey={key}");
            case 6:
                return await server.PostAsync("/auth/v3/token", $"personalAccessKey={key}x");
            case 7:
                return await server.PostAsync("/auth/v3/token", $"scope={key}&subOrganization={key}&personalAccessKey={key}");
            case 8:
                return await server.PostAsync("/auth/v3/token", $"personalAccessKey={encoded}&{encoded}={encoded}&{encoded}=1");
            case 9:
                return await server.PostAsync($"/auth/v3/token?q={encoded}", $"pat={key}");
            case 10:
                return await server.GetAsync($"/organizations/{key}/security?from={key}");
            case 11:
                return await server.GetAsync($"/setup?code={key}");
            case 12:
                return await server.PostAsync("/auth/v3/token", $"personalAccessKey={key}&subOrganization={key}");
            case 13:
                return await server.PostAsync("/auth/v3/token", $"personalAccessKey={key}&pat={key[..^1]}x");
            case 14:
                return await server.PostAsync("/sign-in", $"email={key}&password={key}");
            default:
                using (
                    var request = new HttpRequestMessage(HttpMethod.Post, new Uri("/auth/v3/token", UriKind.Relative))
                    {
                        Content = new StringContent($"personalAccessKey={key}", Encoding.ASCII, "application/x-www-form-urlencoded"),
                    }
                )
                {
                    foreach (
                        var header in (string[])
                            [
                                "User-Agent",
                                "Authorization",
                                "Referer",
                                "Cookie",
                                "X-Forwarded-For",
                                "X-Request-Id",
                                "Accept",
                                "Accept-Language",
                                "traceparent",
                            ]
                    )
                        request.Headers.TryAddWithoutValidation(
                            header,
                            header == "Authorization" ? $"Bearer {key}"
                                : header == "Cookie" ? $"pakhouse={key}; pakhouse-form={key}"
                                : key
                        );
                    return await Answer.OfAsync(await server.Http.SendAsync(request));
                }
        }
    }

    /// <summary>Bytes as they are; the whole answer as text.</summary>
    private static async Task<string> SendRawAsync(RunningServer server, string text)
    {
        using var connection = await RawConnection.OpenAsync(server);
        await connection.SendAsync(text);
        return await connection.ReceiveToEndAsync();
    }

    private static List<(string Secret, string Where)> FindInFiles(SecretFinder finder, string folder)
    {
        var found = new List<(string, string)>();
        foreach (var file in Directory.GetFiles(folder, "*", SearchOption.AllDirectories))
        {
            using var stream = new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            var content = new byte[stream.Length];
            stream.ReadExactly(content);
            found.AddRange(finder.Find(content).Select(piece => (piece.Secret, file)));
        }

        return found;
    }

    private static void AssertNoneInFiles(SecretFinder finder, string folder) =>
        Assert.Empty(FindInFiles(finder, folder).Select(piece => $"{Path.GetFileName(piece.Where)} holds a secret"));

    private static void AssertNone(List<(string Secret, int At, string Encoding)> found, string text, string where)
    {
        if (found.Count == 0)
            return;
        // Context, so that the place can be found; these keys die with the test.
        var examples = found
            .Select(piece => text.IndexOf(piece.Secret[..SecretFinder.PieceLength], StringComparison.Ordinal))
            .Where(at => at >= 0)
            .Take(5)
            .Select(at => text[Math.Max(0, at - 200)..Math.Min(text.Length, at + 20)]);
        Assert.Fail(
            $"{found.Count} pieces of secrets stand in {where}, such as:{string.Concat(examples.Select(example => $"{Environment.NewLine}--- {example}"))}"
        );
    }
}

/// <summary>A connection on which a test says what it likes.</summary>
internal sealed class RawConnection : IDisposable
{
    private readonly TcpClient client = new() { NoDelay = true };

    public static async Task<RawConnection> OpenAsync(RunningServer server)
    {
        var connection = new RawConnection();
        var address = new Uri(server.Address);
        await connection.client.ConnectAsync(address.Host, address.Port);
        return connection;
    }

    public Task SendAsync(string text) => client.GetStream().WriteAsync(Encoding.Latin1.GetBytes(text)).AsTask();

    /// <summary>What has come; the server writes an answer at once.</summary>
    public async Task<string> ReceiveAsync()
    {
        var buffer = new byte[16 * 1024];
        return Encoding.Latin1.GetString(buffer, 0, await client.GetStream().ReadAsync(buffer).AsTask().WaitAsync(Tool.Patience));
    }

    /// <summary>All that comes until the server closes.</summary>
    public async Task<string> ReceiveToEndAsync()
    {
        using var reader = new StreamReader(client.GetStream(), Encoding.Latin1);
        return await reader.ReadToEndAsync().WaitAsync(Tool.Patience);
    }

    public void Dispose() => client.Dispose();
}

/// <summary>The memory of another process, as its debugger sees it.</summary>
internal static class Memory
{
    public static List<(string Secret, string Encoding, string Region)> Find(int processId, SecretFinder finder)
    {
        var found = new List<(string, string, string)>();
        using var memory = new FileStream($"/proc/{processId}/mem", FileMode.Open, FileAccess.Read, FileShare.ReadWrite, bufferSize: 0);
        var buffer = new byte[4 * 1024 * 1024];
        foreach (var line in File.ReadAllLines($"/proc/{processId}/maps"))
        {
            var words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (words[1][0] != 'r' || words[^1] is "[vvar]" or "[vsyscall]" or "[vvar_vclock]")
                continue;
            var ends = words[0].Split('-').Select(end => ulong.Parse(end, NumberStyles.HexNumber)).ToArray();
            // Overlapping by more than a secret: none is cut where two reads meet.
            for (var at = ends[0]; at < ends[1]; at += (ulong)buffer.Length - 256)
            {
                var wanted = (int)Math.Min((ulong)buffer.Length, ends[1] - at);
                int read;
                try
                {
                    read = RandomAccess.Read(memory.SafeFileHandle, buffer.AsSpan(0, wanted), (long)at);
                }
                catch (IOException)
                {
                    break; // reserved and never used, or gone since
                }

                var start = at;
                found.AddRange(
                    finder
                        .Find(buffer.AsSpan(0, read))
                        .Select(piece => (piece.Secret, piece.Encoding, $"{start + (ulong)piece.At:x} {line}"))
                );
            }
        }

        return found;
    }
}
