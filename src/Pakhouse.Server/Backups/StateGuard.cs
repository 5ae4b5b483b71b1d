using System.Security.Cryptography;

namespace Pakhouse.Server;

/// <summary>
/// Knows an older state of the database (R12): refuses to start on one, and ends the process when one is put beneath it. What it knows
/// comes from the state file of this machine, from the memory of this process, and on PostgreSQL from the numbers that PostgreSQL itself
/// gave to cluster and table.
/// <para>What nobody can know: a whole machine, its data folder included, that was set back to an earlier day while no other process ran.
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
        // The file before the database, or the work of another process between the two would look like a loss.
        var (written, state) = (file.Read(), await ReadAsync());
        // Twice, because another process may have written the first file between the two.
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
            // What was written last stays.
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
            fitness.SetStateFault("The database was put back, or another was put in its place, while this process ran.");
            LogReplaced();
            lifetime.StopApplication(); // its memory is of another past; the next start looks again
            return;
        }

        Write(state);
        seen = state;
    }

    /// <summary>What tells that this is an older state, or a copy; null: nothing does.</summary>
    /// <param name="written">What the state file of this machine says.</param>
    /// <param name="identity">Of <see cref="Server.Database.ReadIdentityAsync"/>.</param>
    internal string? FaultOf(DatabaseState state, DatabaseState? written, string? identity)
    {
        var here = identity ?? written?.Place;
        if (state.Place.Length > 0 && state.Place != here)
            return $"The database {database.DisplayName} was copied or restored here: it was served at another place "
                + $"before{(here is null ? $", and there is no {file.FilePath}" : "")}.";
        // On PostgreSQL one data folder can have served several databases.
        var isOurs =
            written is not null
            && (file.IsNeeded || (state.IsUsed && (written.Place == identity || written.Deployment == state.Deployment)));
        return isOurs && state.IsOlderThan(written!)
            ? $"The database {database.DisplayName} is older than what was served here: {(state.NewestAt is { } at ? $"its newest record "
                + $"is of {at:u}" : "it is empty")}, and this machine has seen one of {written!.NewestAt:u}."
            : null;
    }

    /// <summary>
    /// Writes down in a database where it is served: a new one, one of an earlier version, or one that was moved by <c>storage copy</c>.
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
                file.Write(state); // before the commit: who sees the place finds the file
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
        Message = "The database was put back, or another was put in its place, while this process ran. It serves nothing more and ends; "
            + "start it again"
    )]
    private partial void LogReplaced();

    [LoggerMessage(
        Level = LogLevel.Warning,
        Message = "The state file {File} could not be written ({Reason}): an older state of the database would not be noticed by it"
    )]
    private partial void LogNotWritten(string file, string reason);
}
