using System.IO.Pipelines;
using System.Text;

namespace Pakhouse.Tests;

public sealed class ZeroingPipeTests
{
    [Fact, SqliteOnly("it reads no database")]
    public async Task Received_bytes_are_erased_once_they_are_consumed_and_not_before()
    {
        var (plain, zeroed) = (await ConsumeAsync(isZeroed: false), await ConsumeAsync(isZeroed: true));
        Assert.Equal("personalAccessKey=secret&rest", plain); // the control: a pipe leaves its bytes in its buffers
        Assert.Equal($"{new string('\0', 24)}&rest", zeroed);
    }

    /// <summary>The bytes of the buffer after its first 24 were consumed.</summary>
    private static async Task<string> ConsumeAsync(bool isZeroed)
    {
        var received = new Pipe();
        IDuplexPipe connection = new Connection(received.Reader, received.Writer);
        var input = isZeroed ? new ZeroingPipe(connection).Input : connection.Input;
        await received.Writer.WriteAsync("personalAccessKey=secret&rest"u8.ToArray(), TestContext.Current.CancellationToken);
        var buffer = (await input.ReadAsync(TestContext.Current.CancellationToken)).Buffer;
        var memory = buffer.First;
        input.AdvanceTo(buffer.GetPosition(24), buffer.End);
        return Encoding.ASCII.GetString(memory.Span);
    }

    private sealed record Connection(PipeReader Input, PipeWriter Output) : IDuplexPipe;
}
