using System.Buffers;
using System.Collections.Concurrent;
using Microsoft.AspNetCore.Connections;

namespace Pakhouse.Server;

/// <summary>
/// The buffers that Kestrel receives into and sends from, wiped when they are given back. <see cref="SecretForm"/> wipes what it
/// is handed, but a body in chunks was copied before that, and one that is refused unread is never handed to anybody: either
/// would stand in the pool until a later request happens to overwrite it.
/// </summary>
public sealed class ZeroingMemoryPool : IMemoryPoolFactory<byte>
{
    public MemoryPool<byte> Create(MemoryPoolOptions? options = null) => new Pool();

    private sealed class Pool : MemoryPool<byte>
    {
        private const int BlockLength = 4096; // a page, as the framework's own

        /// <summary>Blocks kept for reuse: 16 MB. Beyond it the collector takes them, and they are wiped.</summary>
        private const int IdleMax = 4096;

        private readonly ConcurrentQueue<Block> idle = new();

        public override int MaxBufferSize => BlockLength;

        public override IMemoryOwner<byte> Rent(int minBufferSize = -1)
        {
            ArgumentOutOfRangeException.ThrowIfGreaterThan(minBufferSize, BlockLength);
            return idle.TryDequeue(out var block) ? block : new Block(this);
        }

        protected override void Dispose(bool disposing) => idle.Clear();

        private sealed class Block(Pool pool) : IMemoryOwner<byte>
        {
            // Pinned: the collector does not move it, so it leaves no copies behind.
            public Memory<byte> Memory { get; } = GC.AllocateUninitializedArray<byte>(BlockLength, pinned: true);

            public void Dispose()
            {
                Memory.Span.Clear();
                if (pool.idle.Count < IdleMax) pool.idle.Enqueue(this);
            }
        }
    }
}
