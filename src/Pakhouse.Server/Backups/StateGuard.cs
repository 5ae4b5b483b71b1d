using System.Security.Cryptography;

namespace Pakhouse.Server;

/// <summary>
/// Detects an older state of the database (R12): it refuses to start on one, and stops the process when the database is replaced by one
/// while it runs. It uses the state file of this machine, the memory of this process, and on PostgreSQL the numbers that PostgreSQL gave to
/// cluster and table.
/// <para>It cannot detect a whole machine, with its data folder, that was set back to an earlier day while no other process ran;
/// docs/operations.md says so. Verifiers notice: they refuse lists that are older than those they have seen.</para>
/// </summary>
public sealed partial class StateGuard(
    Database database,
    StateFile file,
    Deployment deployment,
    Fitness fitness,
    IHostApplicationLifetime lifetime,
    TimeProvider clock,
    ILogger<StateGuard> log
) : PeriodicJob(TimeSpan.FromSeconds(5), clock, log)
{
    internal const string Remedy =
        "If it was restored from a back-up, run the command \"restore finish\", which makes the old state safe. "
        + "If nothing was lost (the database was moved, or PostgreSQL was upgraded), run \"restore finish --moved\". Nothing is served "
        + "until then.";

    private DatabaseState? seen;
    private bool isFileFaulty;

    public override async Task StartAsync(CancellationToken cancellationToken)
    {
        var identity = await database.ReadIdentityAsync();
        // The file is read before the database, because the work of another process between the two reads would look like a loss.
        var (written, state) = (file.Read(), await ReadAsync());
        // Twice, because another process may write the first file between the two reads.
        if (FaultOf(state, written, identity) is not null)
            (written, state) = (file.Read(), await ReadAsync());
        if (FaultOf(state, written, identity) is { } fault)
            throw new StartupException($"{fault} {Remedy}");
        if (state.Deployment.Length == 0 || state.Place.Length == 0)
            state = await AdoptAsync(identity, written);
        (seen, deployment.RestoredAt) = (state, state.RestoredAt);
        Write(state);
        await base.StartAsync(cancellationToken);
    }

    public override async Task StopAsync(CancellationToken cancellationToken)
    {
        await base.StopAsync(cancellationToken);
        try
        {
            await RunAsync();
        }
        catch (Exception e) when (Database.IsUnavailable(e))
        {
            // The last write stays.
        }
    }

    public override async Task RunAsync()
    {
        if (seen is null || fitness.IsStateAtFault)
            return;
        var state = await ReadAsync();
        if (state == seen)
            return;
        if (
            state.Deployment != seen.Deployment
            || state.Place != seen.Place
            || state.RestoredAt != seen.RestoredAt
            || state.IsOlderThan(seen)
        )
        {
            fitness.SetStateFault("The database was restored or replaced while this process ran.");
            LogReplaced();
            lifetime.StopApplication(); // its memory belongs to another state; the next start checks again
            return;
        }

        Write(state);
        seen = state;
    }

    /// <summary>The evidence that this is an older state or a copy; null: there is none.</summary>
    /// <param name="written">The content of the state file of this machine.</param>
    /// <param name="identity">From <see cref="Server.Database.ReadIdentityAsync"/>.</param>
    internal string? FaultOf(DatabaseState state, DatabaseState? written, string? identity)
    {
        var here = identity ?? written?.Place;
        if (state.Place.Length > 0 && state.Place != here)
            return $"The database {database.DisplayName} was copied or restored here: it was served at another location "
                + $"before{(here is null ? $", and there is no {file.FilePath}" : "")}.";
        // On PostgreSQL one data folder can have served several databases.
        var isOurs =
            written is not null
            && (file.IsNeeded || (state.IsUsed && (written.Place == identity || written.Deployment == state.Deployment)));
        return isOurs && state.IsOlderThan(written!)
            ? $"The database {database.DisplayName} is older than the served one: {(state.NewestAt is { } at ? $"its newest record "
                + $"is of {at:u}" : "it is empty")}, and this machine has seen one of {written!.NewestAt:u}."
            : null;
    }

    /// <summary>
    /// Records in a database where it is served: a new database, one of an earlier version, or one that <c>storage copy</c> moved.
    /// </summary>
    internal Task<DatabaseState> AdoptAsync(string? identity, DatabaseState? written) =>
        database.WriteExclusiveAsync(async transaction =>
        {
            var state = await DatabaseState.ReadAsync(transaction.Connection!, transaction);
            if (state.Deployment.Length > 0 && state.Place.Length > 0)
                return state; // another process was first
            var place = identity ?? written?.Place ?? Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(16));
            state = state with { Deployment = state.Deployment.Length > 0 ? state.Deployment : Ids.New(Clock).ToString(), Place = place };
            await DatabaseState.WriteAsync(transaction, "id", state.Deployment);
            await DatabaseState.WriteAsync(transaction, "place", state.Place);
            if (file.IsNeeded)
                file.Write(state); // before the commit, so that a process that sees the location finds the file
            return state;
        });

    private Task<DatabaseState> ReadAsync() => database.ReadAsync(connection => DatabaseState.ReadAsync(connection));

    private void Write(DatabaseState state)
    {
        try
        {
            file.Write(state);
            isFileFaulty = false;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            if (!isFileFaulty)
                LogNotWritten(file.FilePath, e.Message);
            isFileFaulty = true;
        }
    }

    [LoggerMessage(
        Level = LogLevel.Critical,
        Message = "The database was restored or replaced while this process ran. The process stops; "
            + "start it again"
    )]
    private partial void LogReplaced();

    [LoggerMessage(
        Level = LogLevel.Warning,
        Message = "The state file {File} could not be written ({Reason}), so it would not detect an older state of the database"
    )]
    private partial void LogNotWritten(string file, string reason);
}
