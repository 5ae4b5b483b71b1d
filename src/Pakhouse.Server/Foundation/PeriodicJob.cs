namespace Pakhouse.Server;

/// <summary>
/// Work that is done again and again beside the requests, in every process. Where only one may do it, it takes its turn by
/// <see cref="Database.WriteExclusiveAsync{T}"/>: there is no leader that could die. A run that fails is logged, and the next one tries
/// again.
/// </summary>
/// <remarks>The first run comes soon after the start: a server that is restarted every day does it too. In a process that is not fit
/// (<see cref="Fitness"/>) nothing runs.</remarks>
public abstract partial class PeriodicJob(TimeSpan interval, TimeProvider clock, ILogger log) : BackgroundService
{
    private static readonly TimeSpan firstRun = TimeSpan.FromSeconds(15);

    protected TimeProvider Clock { get; } = clock;

    /// <summary>One run. Tests call it; the server does at every tick.</summary>
    public abstract Task RunAsync();

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        try
        {
            await Task.Delay(interval < firstRun ? interval : firstRun, Clock, stoppingToken);
            using var timer = new PeriodicTimer(interval, Clock);
            do
            {
                try
                {
                    if (Clock is not GuardedClock { IsFit: false }) await RunAsync();
                }
                catch (UnfitException)
                {
                    // Said where it was found.
                }
                // a request of its own that timed out is cancelled too, and no reason to end
                catch (Exception e) when (!stoppingToken.IsCancellationRequested)
                {
                    if (!OutageLog.IsTold(e)) LogFailed(e, GetType().Name);
                }
            }
            while (await timer.WaitForNextTickAsync(stoppingToken));
        }
        catch (OperationCanceledException)
        {
            // Stopping.
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Work} failed; it is tried again at its next turn")]
    private partial void LogFailed(Exception exception, string work);
}

public static class HostedServices
{
    /// <summary>One instance, both to be asked for and run by the host.</summary>
    public static IServiceCollection AddHosted<T>(this IServiceCollection services) where T : class, IHostedService =>
        services.AddSingleton<T>().AddHostedService(provider => provider.GetRequiredService<T>());
}
