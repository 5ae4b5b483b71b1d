using System.Net.Sockets;
using System.Text;

namespace Pakhouse.Tests;

/// <summary>Bytes over TCP, for requests that no client would send.</summary>
internal static class RawConnection
{
    /// <summary>
    /// Everything that the server answers until it closes the connection: the last request says <c>Connection: close</c>.
    /// </summary>
    /// <param name="text">Latin-1: each character is one byte.</param>
    public static async Task<string> SendAsync(TestServer server, string text, int answersMin = 1)
    {
        var address = new Uri(server.Address);
        using var client = new TcpClient();
        await client.ConnectAsync(address.Host, address.Port);
        await using var stream = client.GetStream();
        await stream.WriteAsync(Encoding.Latin1.GetBytes(text));
        using var reader = new StreamReader(stream, Encoding.Latin1);
        var answer = new StringBuilder();
        try
        {
            answer.Append(await reader.ReadToEndAsync().WaitAsync(TimeSpan.FromSeconds(30)));
        }
        catch (IOException) when (answersMin == 0)
        {
            // Reset: an answer too.
        }

        return answer.ToString();
    }

    public static int[] Statuses(string answers) => [.. answers.Split("HTTP/1.1 ").Skip(1).Select(one => int.Parse(one[..3]))];
}
