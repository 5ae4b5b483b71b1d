namespace Pakhouse.Server;

/// <summary>
/// Work that is done again and again beside the requests, in every process. Where only one may do it, it takes its turn by
/// <see cref="Database.WriteAloneAsync{T}"/>: there is no leader that could die. A run that fails is logged, and the next one tries again.
/// </summary>
public abstract partial class Recurring(TimeSpan interval, TimeProvider clock, ILogger log) : BackgroundService
{
    protected TimeProvider Clock { get; } = clock;

    /// <summary>One run. Tests call it; the server does at every tick.</summary>
    public abstract Task RunAsync();

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        try
        {
            while (true)
            {
                await Task.Delay(interval, Clock, stoppingToken); // no periodic timer: a test that moves the clock by months would sit through its every tick
                try
                {
                    await RunAsync();
                }
                catch (Exception e) when (e is not OperationCanceledException)
                {
                    LogFailed(e, GetType().Name);
                }
            }
        }
        catch (OperationCanceledException)
        {
            // Stopping.
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Work} failed; it is tried again at its next turn")]
    private partial void LogFailed(Exception exception, string work);
}
