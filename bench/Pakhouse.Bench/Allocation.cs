using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Pakhouse.Bench;

/// <summary>
/// What one exchange allocates: the server in this process, and one connection that itself allocates nothing. Beside it the processor time,
/// of both ends and the system between them.
/// </summary>
internal static class Allocation
{
    private const int WarmUp = 20_000;

    public static async Task RunAsync(string folder, string? postgres, int requests)
    {
        string[] settings =
        [
            $"--Pakhouse:DataFolder={folder}",
            "--Pakhouse:Listen=http://127.0.0.1:0",
            "--Pakhouse:UsageFlushSeconds=60",
            .. postgres is null ? Array.Empty<string>() : [$"--Pakhouse:PostgresConnection={postgres}"],
        ];
        await using var app = Server.Program.Build(settings);
        await app.StartAsync();
        var address = new Uri(app.Urls.First());
        var keys = File.ReadLines(Path.Combine(folder, Seed.SampleFile)).Take(1000).Select(Request).ToArray();
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        socket.Connect(new IPEndPoint(IPAddress.Loopback, address.Port));
        var answer = new byte[8192];
        Send(socket, keys, answer, WarmUp);
        var (bytes, time) = (GC.GetTotalAllocatedBytes(precise: true), Environment.CpuUsage.TotalTime);
        Send(socket, keys, answer, requests);
        var (used, cpu) = (GC.GetTotalAllocatedBytes(precise: true) - bytes, Environment.CpuUsage.TotalTime - time);
        Console.WriteLine(
            $"{used / (double)requests:0} bytes an exchange, {cpu.TotalMicroseconds / requests:0.0} µs of processor time; "
                + $"{requests} of them, one by one");
        await app.StopAsync();
    }

    private static void Send(Socket socket, byte[][] requests, byte[] answer, int count)
    {
        for (var i = 0; i < count; i++)
        {
            socket.Send(requests[i % requests.Length]);
            var length = socket.Receive(answer);
            if (!answer.AsSpan(0, length).StartsWith("HTTP/1.1 200 "u8))
                throw new InvalidOperationException(Encoding.ASCII.GetString(answer, 0, length));
        }
    }

    private static byte[] Request(string key)
    {
        var body = $"personalAccessKey={key}";
        return Encoding.ASCII.GetBytes(
            "POST /auth/v3/token HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\n"
                + $"Content-Length: {body.Length}\r\n\r\n{body}");
    }
}
