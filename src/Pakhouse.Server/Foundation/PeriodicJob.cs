namespace Pakhouse.Server;

/// <summary>
/// Work that every process repeats in the background. If only one process may do it at a time, it uses <see
/// cref="Database.WriteExclusiveAsync{T}"/>, so there is no leader that could fail. A failed run is logged, and the next run tries again.
/// </summary>
/// <remarks>The first run starts soon after the process, so a server that restarts every day runs it too. Nothing runs in a process that is
/// not fit (<see cref="Fitness"/>).</remarks>
public abstract partial class PeriodicJob(TimeSpan interval, TimeProvider clock, ILogger log) : BackgroundService
{
    private static readonly TimeSpan firstRun = TimeSpan.FromSeconds(15);

    protected TimeProvider Clock { get; } = clock;

    /// <summary>One run. The server calls it at every tick, and tests call it directly.</summary>
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
                    // Logged where it was found.
                }
                // a timeout of the job's own request also cancels, and must not end the job
                catch (Exception e) when (!stoppingToken.IsCancellationRequested)
                {
                    if (!OutageLog.IsTold(e)) LogFailed(e, GetType().Name);
                }
            }
            while (await timer.WaitForNextTickAsync(stoppingToken));
        }
        catch (OperationCanceledException)
        {
            // The server is stopping.
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Work} failed; it runs again at its next interval")]
    private partial void LogFailed(Exception exception, string work);
}

public static class HostedServices
{
    /// <summary>Registers one instance, both as a service and as hosted.</summary>
    public static IServiceCollection AddHosted<T>(this IServiceCollection services) where T : class, IHostedService =>
        services.AddSingleton<T>().AddHostedService(provider => provider.GetRequiredService<T>());
}
