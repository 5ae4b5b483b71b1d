using System.Buffers;
using System.IO.Pipelines;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Pakhouse.Server;

/// <summary>
/// What a connection receives, wiped as soon as it was read. <see cref="ZeroingMemoryPool"/> wipes a buffer when it is given back, which
/// for an open connection can be at its next request: a body in chunks, which is copied before anybody sees it, would stand there until then.
/// </summary>
internal sealed class ZeroingPipe(IDuplexPipe inner) : IDuplexPipe
{
    public PipeReader Input { get; } = new Reader(inner.Input);

    public PipeWriter Output => inner.Output;

    private sealed class Reader(PipeReader inner) : PipeReader
    {
        private ReadOnlySequence<byte> read;

        // Pooled: a connection that waits for its next request allocates nothing for it.
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
