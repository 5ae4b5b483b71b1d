namespace Pakhouse.Server;

/// <summary>
/// Limits password hashing in the whole process, however many addresses request it: hashing is slow by design, and would take every
/// processor from the exchanges. At most half of the processors hash; a short queue waits; beyond it the response is 503.
/// </summary>
/// <remarks>The limit per address (<see cref="SignInLimit"/>) is not enough: an attacker has many addresses.</remarks>
public sealed class PasswordWork : IDisposable
{
    /// <summary>A caller in the queue gets a response within about two seconds.</summary>
    public const int WaitingMax = 16;

    public static readonly int AtOnceMax = Math.Max(1, Environment.ProcessorCount / 2);

    private static readonly Refusal busy = new(RefusalCode.TemporarilyUnavailable,
        "This server is checking as many passwords as it can at once. Try again in a few seconds.", "queue of password hashing full")
    {
        RetryAfterSeconds = 5,
    };

    private readonly SemaphoreSlim slots = new(AtOnceMax);
    private int waiting;

    /// <param name="work">The hashing. It must not call this method again, because it would wait for itself.</param>
    public async Task<Outcome<T>> RunAsync<T>(Func<Task<Outcome<T>>> work)
    {
        if (!slots.Wait(0))
        {
            try
            {
                if (Interlocked.Increment(ref waiting) > WaitingMax) return busy;
                await slots.WaitAsync();
            }
            finally
            {
                Interlocked.Decrement(ref waiting);
            }
        }

        try
        {
            return await work();
        }
        finally
        {
            slots.Release();
        }
    }

    public void Dispose() => slots.Dispose();
}
