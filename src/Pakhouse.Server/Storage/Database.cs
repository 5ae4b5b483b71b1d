using System.Collections.Concurrent;
using System.Data.Common;
using Npgsql;

namespace Pakhouse.Server;

/// <summary>
/// Access to the database: connections, transactions, and prepared reads on kept connections. It contains no SQL of the product: each
/// folder has its own, one text for SQLite and PostgreSQL. What differs between the two is abstract here.
/// <para>Invariant: what <see cref="WriteAsync{T}"/> has returned is durable, and every later read in any process sees it. A transaction
/// behaves as if no other ran at the same time.</para>
/// </summary>
public abstract class Database : IAsyncDisposable
{
    private readonly ConcurrentBag<PreparedRead> preparedReads = [];

    /// <summary>Called for every opened connection. A test that reads the plans of all statements uses it.</summary>
    internal Func<DbConnection, DbConnection> Opened { get; set; } = connection => connection;

    /// <summary>
    /// Receives every failure because the database cannot be used. Null: in commands, which print it themselves.
    /// </summary>
    internal OutageLog? Outages { get; set; }

    /// <summary>Receives the audit records of a change after its commit.</summary>
    internal Action<TransactionNotes>? Committed { get; set; }

    static Database() => ColumnTypes.Register();

    /// <summary>The location, for people; without a password.</summary>
    public abstract string DisplayName { get; }

    /// <summary>
    /// Where Data Protection keeps its keys: stored with the database, so all processes that share the database share the keys.
    /// </summary>
    public abstract ProtectionKeyStore ProtectionKeys { get; }

    /// <summary>Whether there is a database: a command with a mistyped location must fail, and not create an empty one.</summary>
    public abstract bool IsMade { get; }

    /// <summary>Whether no change is possible because a disk is full, as far as this process can see.</summary>
    public virtual bool IsDiskFull => false;

    /// <summary>
    /// Creates what the database needs and updates its schema, unless a newer program has used it.
    /// </summary>
    /// <exception cref="StartupException">It cannot be used; the message says why and what to do.</exception>
    public abstract void Prepare();

    /// <summary>What distinguishes this database from every copy of it; null: only the file of <see cref="StateFile"/> does.</summary>
    public virtual Task<string?> ReadIdentityAsync() => Task.FromResult<string?>(null);

    /// <summary>The interval of a correct clock, as far as this database can tell.</summary>
    public abstract Task<TimeBounds> ReadTimeBoundsAsync();

    /// <summary>Records the time, if the database has no clock of its own.</summary>
    /// <param name="accept">Also if the time differs much from the last one.</param>
    public virtual Task WriteSeenTimeAsync(DateTimeOffset now, bool accept) => Task.CompletedTask;

    /// <summary>The database that the settings select.</summary>
    public static Database Of(PakhouseOptions options) =>
        options.Postgres is null ? new SqliteDatabase(options) : new PostgresDatabase(options);

    /// <summary>Runs reads that need no transaction.</summary>
    public Task<T> ReadAsync<T>(Func<DbConnection, Task<T>> read) =>
        ToldAsync(async () =>
        {
            await using var connection = await OpenAsync();
            return await read(connection);
        });

    /// <summary>
    /// Runs a change in one transaction and commits it; an exception rolls it back. What it reads stays true until the commit. After a
    /// conflict with another transaction it runs again from its start, so it must do nothing except use the database.
    /// </summary>
    public Task<T> WriteAsync<T>(Func<DbTransaction, Task<T>> change) => ToldAsync(() => WriteOwnAsync(change));

    /// <summary>
    /// Like <see cref="WriteAsync{T}"/>, but no two of these run at the same time in any process: for work that one process does for all.
    /// </summary>
    public Task<T> WriteExclusiveAsync<T>(Func<DbTransaction, Task<T>> change) => ToldAsync(() => WriteOwnAloneAsync(change));

    /// <summary>
    /// Runs a change of only the tables that hold the usage of keys. No two of these run at the same time in any process, and they never
    /// block other changes.
    /// </summary>
    public Task<T> WriteUsageAsync<T>(Func<DbTransaction, Task<T>> change) => ToldAsync(() => WriteOwnUsageAsync(change));

    /// <summary>The history of key usage was missing at the start, and a new one was started.</summary>
    public bool IsUsageLost { get; private protected set; }

    /// <summary>Runs reads of one consistent view, while others write.</summary>
    public Task<T> SnapshotAsync<T>(Func<DbTransaction, Task<T>> read) => ToldAsync(() => SnapshotOwnAsync(read));

    /// <summary>Runs a change that may be refused: a refusal rolls it back, everything else is committed.</summary>
    public async Task<Outcome<T>> ChangeAsync<T>(Func<DbTransaction, Task<Outcome<T>>> change)
    {
        try
        {
            return await WriteAsync(async transaction =>
            {
                var outcome = await change(transaction);
                return outcome.Refusal is { } refusal ? throw new RolledBackException(refusal) : outcome;
            });
        }
        catch (RolledBackException e)
        {
            return e.Refusal;
        }
    }

    /// <summary>A statement that is prepared once for each connection and kept; see <see cref="PreparedRead"/>.</summary>
    /// <param name="keptMax">The most connections for it; the database may allow fewer.</param>
    public PreparedRead PrepareRead(string sql, int keptMax, params string[] parameters)
    {
        var read = MakeRead(sql, Math.Min(keptMax, PreparedConnectionsMax), parameters);
        preparedReads.Add(read);
        return read;
    }

    public virtual async ValueTask DisposeAsync()
    {
        foreach (var read in preparedReads)
            await read.DisposeAsync();
        GC.SuppressFinalize(this);
    }

    /// <summary>Whether the exception means "the database cannot be reached or used now", which is a 503 and not a 500.</summary>
    public static bool IsUnavailable(Exception exception) =>
        exception is DiskFullException || SqliteDatabase.IsUnavailableFault(exception) || PostgresDatabase.IsUnavailableFault(exception);

    /// <summary>
    /// Whether the database cannot store a text, such as one with NUL: the caller's fault. Endpoints refuse what they check; this catches
    /// the rest.
    /// </summary>
    // character_not_in_repertoire, untranslatable_character
    public static bool IsUnstorableText(Exception exception) => exception is PostgresException { SqlState: "22021" or "22P05" };

    /// <summary>
    /// Rows of one INSERT for many rows: few if each parameter is looked up by name, many if each statement is a round trip to a server.
    /// </summary>
    public abstract int InsertBatchRows { get; }

    protected abstract Task<T> WriteOwnAsync<T>(Func<DbTransaction, Task<T>> change);

    protected abstract Task<T> WriteOwnAloneAsync<T>(Func<DbTransaction, Task<T>> change);

    protected abstract Task<T> WriteOwnUsageAsync<T>(Func<DbTransaction, Task<T>> change);

    protected abstract Task<T> SnapshotOwnAsync<T>(Func<DbTransaction, Task<T>> read);

    /// <summary>
    /// How many connections prepared reads may keep, so that changes and pages get a connection however many exchanges there are.
    /// </summary>
    protected abstract int PreparedConnectionsMax { get; }

    protected abstract PreparedRead MakeRead(string sql, int keptMax, string[] parameters);

    /// <summary>An open connection; disposing it returns it to its pool.</summary>
    protected abstract Task<DbConnection> OpenAsync();

    /// <summary>Reported here and not in each catch, so that no job or request can forget to keep the log short.</summary>
    private async Task<T> ToldAsync<T>(Func<Task<T>> work)
    {
        try
        {
            var result = await work();
            Outages?.End();
            return result;
        }
        catch (Exception e) when (IsUnavailable(e))
        {
            Outages?.Tell(e, isWhole: e is not DiskFullException);
            throw;
        }
    }

    private sealed class RolledBackException(Refusal refusal) : Exception
    {
        public Refusal Refusal { get; } = refusal;
    }
}
