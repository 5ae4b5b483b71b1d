using System.Data;
using System.Data.Common;
using System.Net.Sockets;
using Dapper;
using Npgsql;

namespace Pakhouse.Server;

/// <summary>
/// PostgreSQL, 15 or newer, shared by any number of processes. If the connection string names several hosts, only the primary is used (R6),
/// and is found again after a promotion.
/// </summary>
public sealed class PostgresDatabase : Database
{
    /// <summary>
    /// Number of the advisory lock for <see cref="Database.WriteExclusiveAsync{T}"/> and migrations. An arbitrary number of our own.
    /// </summary>
    private const long LockNumber = 0x50616B686F757365; // "Pakhouse"

    /// <summary>Number of the advisory lock for <see cref="Database.WriteUsageAsync{T}"/>.</summary>
    private const long UsageLockNumber = LockNumber + 1;

    /// <summary>A change that keeps conflicting with others is given up after this time.</summary>
    private static readonly TimeSpan retryMax = TimeSpan.FromSeconds(5);

    /// <summary>A start waits this long for a PostgreSQL that is not available yet: after a power cut both start at the same
    /// time.</summary>
    private static readonly TimeSpan startMax = TimeSpan.FromMinutes(1);

    /// <summary>The largest difference between this machine's clock and PostgreSQL's.</summary>
    private static readonly TimeSpan clockDifferenceMax = TimeSpan.FromHours(1);

    private readonly NpgsqlDataSource source;
    private readonly NpgsqlConnectionStringBuilder settings;
    private readonly bool isPrepared;

    public PostgresDatabase(PakhouseOptions options)
    {
        (settings, isPrepared) = (options.Postgres!, options.PostgresPrepare);
        ProtectionKeys = new SharedProtectionKeys(this);
        var builder = new NpgsqlDataSourceBuilder(settings.ConnectionString);
        source = settings.Host!.Contains(',', StringComparison.Ordinal)
            ? builder.BuildMultiHost().WithTargetSession(TargetSessionAttributes.Primary)
            : builder.Build();
    }

    public override string DisplayName => $"PostgreSQL {settings.Host}, database {settings.Database}";

    public override ProtectionKeyStore ProtectionKeys { get; }

    public override bool IsMade
    {
        get
        {
            try
            {
                WaitUntilThere();
                using var connection = source.OpenConnection();
                return connection.ExecuteScalar<bool>("SELECT to_regclass('schemaversions') IS NOT NULL");
            }
            catch (Exception e) when (IsUnavailableFault(e) || e is PostgresException)
            {
                throw new StartupException($"{DisplayName} cannot be used: {Describe(e)}", e);
            }
        }
    }

    public override void Prepare()
    {
        try
        {
            WaitUntilThere();
            if (isPrepared)
                PoolerProbe.Demand(source);
            using var connection = source.OpenConnection();
            if (connection.PostgreSqlVersion.Major < 15)
                throw new StartupException($"PostgreSQL 15 or newer is needed; {settings.Host} runs {connection.PostgreSqlVersion}.");
            if (Migrations.AreDone(connection, Schema.Postgres))
                return;
            using var transaction = connection.BeginTransaction();
            connection.Execute("SELECT pg_advisory_xact_lock(@LockNumber)", new { LockNumber }, transaction, commandTimeout: 120);
            Migrations.Apply(transaction, Schema.Postgres);
            transaction.Commit();
        }
        catch (Exception e) when (IsUnavailableFault(e) || e is PostgresException)
        {
            throw new StartupException($"{DisplayName} cannot be used: {Describe(e)}", e);
        }
    }

    protected override async Task<T> WriteOwnAsync<T>(Func<DbTransaction, Task<T>> change)
    {
        var deadline = TimeProvider.System.GetTimestamp();
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                return await RunAsync(IsolationLevel.Serializable, change);
            }
            catch (PostgresException e)
                when (e.SqlState is PostgresErrorCodes.SerializationFailure or PostgresErrorCodes.DeadlockDetected
                    && TimeProvider.System.GetElapsedTime(deadline) < retryMax
                )
            {
                // It conflicted with another transaction and was rolled back. Wait a little, with a random delay, and run it again.
                await Task.Delay(System.Security.Cryptography.RandomNumberGenerator.GetInt32(1, 4 * Math.Min(attempt, 16)));
            }
        }
    }

    protected override Task<T> WriteOwnAloneAsync<T>(Func<DbTransaction, Task<T>> change) => RunLockedAsync(LockNumber, change);

    protected override Task<T> WriteOwnUsageAsync<T>(Func<DbTransaction, Task<T>> change) => RunLockedAsync(UsageLockNumber, change);

    private Task<T> RunLockedAsync<T>(long number, Func<DbTransaction, Task<T>> change) =>
        // Not serializable: the snapshot would be older than the lock that it waited for.
        RunAsync(IsolationLevel.ReadCommitted, async transaction =>
        {
            await transaction.Connection!.ExecuteAsync("SELECT pg_advisory_xact_lock(@number)", new { number }, transaction);
            return await change(transaction);
        });

    protected override Task<T> SnapshotOwnAsync<T>(Func<DbTransaction, Task<T>> read) => RunAsync(IsolationLevel.RepeatableRead, read);

    /// <summary>
    /// Identifies the cluster and the table: a loaded dump has other numbers, here or elsewhere, and a standby has the same. If the server
    /// may not read the cluster's number, the table's is used.
    /// </summary>
    public override Task<string?> ReadIdentityAsync() =>
        ReadAsync(async connection =>
        {
            var table = await connection.ExecuteScalarAsync<string?>(
                "SELECT CAST(CAST('deployment' AS regclass) AS oid) || '/' || oid FROM pg_database WHERE datname = current_database()"
            );
            var isAllowed = await connection.ExecuteScalarAsync<bool>("SELECT has_function_privilege('pg_control_system()', 'EXECUTE')");
            return isAllowed
                ? $"{await connection.ExecuteScalarAsync<long>("SELECT system_identifier FROM pg_control_system()")}/{table}"
                : table;
        });

    public override async Task<TimeBounds> ReadTimeBoundsAsync()
    {
        var now = DateTimeOffset.FromUnixTimeMilliseconds(
            await ReadAsync(connection =>
                connection.ExecuteScalarAsync<long>("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)")
            )
        );
        return new TimeBounds(now - clockDifferenceMax, now + clockDifferenceMax, $"the clock of PostgreSQL, {now:u},");
    }

    public override async ValueTask DisposeAsync()
    {
        await base.DisposeAsync();
        await source.DisposeAsync();
    }

    internal static bool IsUnavailableFault(Exception exception) =>
        exception switch
        {
            // connection, resources, operator's intervention, its system
            PostgresException e => e.SqlState[..2] is "08" or "53" or "57" or "58"
                || e.SqlState
                    is PostgresErrorCodes.SerializationFailure
                        or PostgresErrorCodes.DeadlockDetected
                        or PostgresErrorCodes.ReadOnlySqlTransaction
                || PoolerProbe.IsItsWork(e),
            NpgsqlException => true, // no answer, broken connection, no free connection, timeout
            SocketException or TimeoutException => true,
            _ => false,
        };

    public override int InsertBatchRows => 50;

    /// <summary>Half of the pool.</summary>
    protected override int PreparedConnectionsMax => Math.Max(1, settings.MaxPoolSize / 2);

    protected override PreparedRead MakeRead(string sql, int keptMax, string[] parameters) =>
        new(OpenAsync, sql, parameters, keptMax, isPrepared);

    protected override async Task<DbConnection> OpenAsync() => Opened(await source.OpenConnectionAsync());

    private async Task<T> RunAsync<T>(IsolationLevel isolation, Func<DbTransaction, Task<T>> change)
    {
        await using var connection = await OpenAsync();
        await using var transaction = await connection.BeginTransactionAsync(isolation);
        var notes = TransactionNotes.Begin(transaction);
        var result = await change(transaction);
        await transaction.CommitAsync();
        Committed?.Invoke(notes);
        return result;
    }

    private void WaitUntilThere()
    {
        var start = TimeProvider.System.GetTimestamp();
        for (var isTold = false; ; isTold = true)
        {
            try
            {
                using var connection = source.OpenConnection();
                return;
            }
            catch (Exception e) when (IsNotThereYet(e) && TimeProvider.System.GetElapsedTime(start) < startMax)
            {
                if (!isTold)
                    Console.Error.WriteLine(
                        $"pakhouse: {DisplayName} is not available ({Describe(e)}); waiting up to {startMax.TotalSeconds:0} seconds for it."
                    );
                Task.Delay(TimeSpan.FromMilliseconds(500)).GetAwaiter().GetResult();
            }
        }
    }

    /// <summary>
    /// No response, an unknown name, a server that starts or stops or has no free connection. A wrong password or certificate is final.
    /// </summary>
    private static bool IsNotThereYet(Exception? e) =>
        e switch
        {
            PostgresException refused => refused.SqlState
                is PostgresErrorCodes.CannotConnectNow
                    or PostgresErrorCodes.TooManyConnections
                    or PostgresErrorCodes.AdminShutdown,
            AggregateException several => several.InnerExceptions.Any(IsNotThereYet),
            SocketException or TimeoutException or EndOfStreamException => true,
            NpgsqlException or IOException => IsNotThereYet(e.InnerException),
            _ => false,
        };

    /// <summary>The server's text. Npgsql's own messages name hosts but never a password.</summary>
    private static string Describe(Exception e) =>
        e is PostgresException { SqlState: PostgresErrorCodes.InsufficientPrivilege } refused
            ? $"{refused.MessageText}. Run the command migrate with a role that may change the schema; the serving role then needs no "
                + $"such right."
        : e.InnerException is { } inner and not PostgresException ? $"{e.Message} ({inner.Message})"
        : e.Message;
}
