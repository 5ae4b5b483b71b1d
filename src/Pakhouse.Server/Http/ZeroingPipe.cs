using System.Buffers;
using System.IO.Pipelines;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Pakhouse.Server;

/// <summary>
/// The input of a connection. It erases received bytes as soon as they are consumed. <see cref="ZeroingMemoryPool"/> erases a buffer only
/// when the buffer is returned, and an open connection may return it with its next request: a body that was sent in chunks, which Kestrel
/// copies before an endpoint sees it, would stay in memory until then.
/// </summary>
internal sealed class ZeroingPipe(IDuplexPipe inner) : IDuplexPipe
{
    public PipeReader Input { get; } = new Reader(inner.Input);

    public PipeWriter Output => inner.Output;

    private sealed class Reader(PipeReader inner) : PipeReader
    {
        private ReadOnlySequence<byte> read;

        // Pooled, so that waiting for the next request allocates nothing.
        [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
        public override async ValueTask<ReadResult> ReadAsync(CancellationToken cancellationToken = default)
        {
            var task = inner.ReadAsync(cancellationToken);
            var result = task.IsCompletedSuccessfully ? task.Result : await task;
            read = result.Buffer;
            return result;
        }

        public override bool TryRead(out ReadResult result)
        {
            if (!inner.TryRead(out result))
                return false;
            read = result.Buffer;
            return true;
        }

        public override void AdvanceTo(SequencePosition consumed) => AdvanceTo(consumed, consumed);

        public override void AdvanceTo(SequencePosition consumed, SequencePosition examined)
        {
            if (!read.IsEmpty)
            {
                foreach (var segment in read.Slice(0, consumed))
                    MemoryMarshal.AsMemory(segment).Span.Clear();
            }

            read = default;
            inner.AdvanceTo(consumed, examined);
        }

        public override void CancelPendingRead() => inner.CancelPendingRead();

        public override void Complete(Exception? exception = null) => inner.Complete(exception);

        public override ValueTask CompleteAsync(Exception? exception = null) => inner.CompleteAsync(exception);
    }
}
