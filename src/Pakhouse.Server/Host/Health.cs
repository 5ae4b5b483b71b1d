using Dapper;
using Microsoft.AspNetCore.Diagnostics.HealthChecks;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Pakhouse.Server;

/// <summary>
/// For load balancers and orchestrators. <c>/health/live</c>: the process responds. <c>/health/ready</c>: an exchange would work here,
/// because the database responds, a signing key is loaded, and the process is fit and not stopping. Each response is a fixed word and
/// nothing else. On a full disk it is <c>Degraded</c> with status 200: exchanges need no space, and no other process has this SQLite file.
/// </summary>
public sealed class Health(Database database, SigningKeys signingKeys, GuardedClock clock, Draining draining) : IHealthCheck
{
    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapHealthChecks("/health/live", new HealthCheckOptions { Predicate = _ => false }).ShortCircuit();
        routes
            .MapHealthChecks(
                "/health/ready",
                new HealthCheckOptions { ResponseWriter = (context, report) => context.Response.WriteAsync(Describe(report.Status)) }
            )
            .ShortCircuit();
    }

    private static string Describe(HealthStatus status) =>
        status switch
        {
            HealthStatus.Healthy => "Healthy",
            HealthStatus.Degraded => "Degraded: the disk is full, changes are impossible",
            HealthStatus.Unhealthy => "Unhealthy",
        };

    public async Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        if (draining.IsOn || !clock.IsFit || signingKeys.Published.Count == 0)
            return HealthCheckResult.Unhealthy();
        try
        {
            await database.ReadAsync(connection => connection.ExecuteScalarAsync<long>("SELECT COUNT(*) FROM signing_keys"));
            return database.IsDiskFull ? HealthCheckResult.Degraded() : HealthCheckResult.Healthy();
        }
        catch (Exception e) when (Database.IsUnavailable(e))
        {
            return HealthCheckResult.Unhealthy();
        }
    }
}

/// <summary>
/// The time between the signal to stop and the stop: <c>/health/ready</c> fails, so that the load balancer sends no new clients, every
/// response closes its connection, and requests that still arrive are answered.
/// </summary>
public sealed class Draining
{
    private volatile bool isOn;

    public Draining(IHostApplicationLifetime lifetime, PakhouseOptions options, TimeProvider clock) =>
        // The host stops its servers when this returns.
        lifetime.ApplicationStopping.Register(() =>
        {
            isOn = true;
            if (options.ShutdownDelay > TimeSpan.Zero) Task.Delay(options.ShutdownDelay, clock).Wait();
        });

    public bool IsOn => isOn;
}
