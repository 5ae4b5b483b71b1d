using System.Buffers;
using System.Collections.Concurrent;
using Microsoft.AspNetCore.Connections;

namespace Pakhouse.Server;

/// <summary>
/// The buffers that Kestrel receives into and sends from, wiped when they are returned. <see cref="SecretForm"/> wipes the buffers that it
/// reads, but a chunked body was copied before, and a body that is refused unread never reaches it. Either would stay in the pool until a
/// later request overwrites it.
/// </summary>
public sealed class ZeroingMemoryPool : IMemoryPoolFactory<byte>
{
    public MemoryPool<byte> Create(MemoryPoolOptions? options = null) => new Pool();

    private sealed class Pool : MemoryPool<byte>
    {
        private const int BlockLength = 4096; // a page, like the framework's own pool

        /// <summary>Blocks kept for reuse: 16 MB. The garbage collector frees blocks beyond that; they are wiped too.</summary>
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
            // Pinned: the garbage collector does not move it, so it leaves no copies.
            public Memory<byte> Memory { get; } = GC.AllocateUninitializedArray<byte>(BlockLength, pinned: true);

            public void Dispose()
            {
                Memory.Span.Clear();
                if (pool.idle.Count < IdleMax) pool.idle.Enqueue(this);
            }
        }
    }
}
