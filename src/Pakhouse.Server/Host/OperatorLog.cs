namespace Pakhouse.Server;

/// <summary>
/// The log for the operator: start, stop, and a line for each committed row of the audit record. Lines contain the action and ids. Names,
/// addresses, details and secrets are never logged here, because logs are collected and read by more people than the audit record.
/// </summary>
internal sealed partial class OperatorLog(
    Database database, PublicAddress address, IHostApplicationLifetime lifetime, ILoggerFactory logs) : IHostedService
{
    private readonly ILogger log = logs.CreateLogger("Pakhouse.Server.Operator");

    public Task StartAsync(CancellationToken cancellationToken)
    {
        if (RuntimeFloor.Warning is { } warning) LogRuntime(warning);
        // Only while the server runs. A command prints its own result, and the audit record has its row.
        database.Committed = Tell;
        lifetime.ApplicationStarted.Register(() => LogStarted(RuntimeFloor.Present, database.DisplayName, address.Value));
        lifetime.ApplicationStopping.Register(LogStopping);
        return Task.CompletedTask;
    }

    public Task StopAsync(CancellationToken cancellationToken)
    {
        LogStopped();
        return Task.CompletedTask;
    }

    private void Tell(TransactionNotes notes)
    {
        foreach (var change in notes.Changes)
        {
            if (change.OrganizationId is { } organization) LogInOrganization(change.Action, change.Target, change.By, organization);
            else LogChange(change.Action, change.Target, change.By);
        }

        if (notes.MoreChanges > 0) LogMore(notes.MoreChanges, notes.Changes[^1].Action);
    }

    [LoggerMessage(Level = LogLevel.Critical, Message = "{Warning}")]
    private partial void LogRuntime(string warning);

    [LoggerMessage(Level = LogLevel.Information, Message = "Started on ASP.NET Core {Version}, with {Database}, at {Address}")]
    private partial void LogStarted(string version, string database, string address);

    [LoggerMessage(Level = LogLevel.Information, Message = "Stopping")]
    private partial void LogStopping();

    [LoggerMessage(Level = LogLevel.Information, Message = "Stopped")]
    private partial void LogStopped();

    [LoggerMessage(Level = LogLevel.Information, Message = "{Action}: {Target}, by {By}")]
    private partial void LogChange(string action, string target, string by);

    [LoggerMessage(Level = LogLevel.Information, Message = "{Action}: {Target}, by {By}, in organization {Organization}")]
    private partial void LogInOrganization(string action, string target, string by, Guid organization);

    [LoggerMessage(Level = LogLevel.Information,
        Message = "The same change made {Count} more records after {Action}; the audit record has them all")]
    private partial void LogMore(int count, string action);
}
