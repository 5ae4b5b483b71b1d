using System.Collections.Concurrent;
using System.Data.Common;
using Npgsql;

namespace Pakhouse.Server;

/// <summary>
/// The way to the database: connections, transactions, and prepared reads on kept connections. It owns no SQL of the
/// product: each room holds its own, one text for SQLite and PostgreSQL. What differs between the two is what stands abstract here.
/// <para>Invariant: what <see cref="WriteAsync{T}"/> has returned is durable, and every read that begins afterwards, in any
/// process, sees it. A transaction sees and leaves the database as if no other ran beside it.</para>
/// </summary>
public abstract class Database : IAsyncDisposable
{
    private readonly ConcurrentBag<PreparedRead> preparedReads = [];

    /// <summary>Called with every connection that is opened. A test that reads the plans of all statements listens here.</summary>
    internal Func<DbConnection, DbConnection> Opened { get; set; } = connection => connection;

    /// <summary>
    /// Is told of everything that could not be done because the database cannot be used. Null: in commands, which say it themselves.
    /// </summary>
    internal OutageLog? Outages { get; set; }

    /// <summary>Is given what a change wrote into the record, once it is committed.</summary>
    internal Action<TransactionNotes>? Committed { get; set; }

    static Database() => ColumnTypes.Register();

    /// <summary>Where it is, for people; without a password.</summary>
    public abstract string DisplayName { get; }

    /// <summary>
    /// Where Data Protection keeps its keys: stored with the database, so all processes that share the database share the keys.
    /// </summary>
    public abstract ProtectionKeyStore ProtectionKeys { get; }

    /// <summary>Whether there is a database: whoever mistypes its place is to be told, and not given an empty one.</summary>
    public abstract bool IsMade { get; }

    /// <summary>Whether nothing can be changed because a disk is full, as far as this process can see it.</summary>
    public virtual bool IsDiskFull => false;

    /// <summary>
    /// Makes what is missing around the database and brings its schema up to date, unless a newer program has been there.
    /// </summary>
    /// <exception cref="StartupException">It cannot be used; the message says why and what to do.</exception>
    public abstract void Prepare();

    /// <summary>What tells this database from every copy of it; null: nothing but the file of <see cref="StateFile"/>.</summary>
    public virtual Task<string?> ReadIdentityAsync() => Task.FromResult<string?>(null);

    /// <summary>Between which times a right clock stands now, as far as this database can tell.</summary>
    public abstract Task<TimeBounds> ReadTimeBoundsAsync();

    /// <summary>Writes down the time, where the database has no clock of its own.</summary>
    /// <param name="accept">Also where that is a long time after, or before, the last one.</param>
    public virtual Task WriteSeenTimeAsync(DateTimeOffset now, bool accept) => Task.CompletedTask;

    /// <summary>The one of the two that the settings ask for.</summary>
    public static Database Of(PakhouseOptions options) =>
        options.Postgres is null ? new SqliteDatabase(options) : new PostgresDatabase(options);

    /// <summary>Runs reads that need no transaction of their own.</summary>
    public Task<T> ReadAsync<T>(Func<DbConnection, Task<T>> read) =>
        ToldAsync(async () =>
        {
            await using var connection = await OpenAsync();
            return await read(connection);
        });

    /// <summary>
    /// Runs a change in one transaction and commits it; a throw rolls it back. What it reads stays true until it commits: it may be
    /// run again from its start where another transaction was in its way, so it does nothing but talk to the database.
    /// </summary>
    public Task<T> WriteAsync<T>(Func<DbTransaction, Task<T>> change) => ToldAsync(() => WriteOwnAsync(change));

    /// <summary>
    /// As <see cref="WriteAsync{T}"/>, and no two of these run at the same time, in whatever process: for work that one does for all.
    /// </summary>
    public Task<T> WriteExclusiveAsync<T>(Func<DbTransaction, Task<T>> change) => ToldAsync(() => WriteOwnAloneAsync(change));

    /// <summary>
    /// Runs a change of the tables that hold the use of keys, and of no others. No two of these run at the same time, in whatever process,
    /// and none is in the way of other changes.
    /// </summary>
    public Task<T> WriteUsageAsync<T>(Func<DbTransaction, Task<T>> change) => ToldAsync(() => WriteOwnUsageAsync(change));

    /// <summary>The history of key use was missing at the start and has begun anew.</summary>
    public bool IsUsageLost { get; private protected set; }

    /// <summary>Runs reads of one unchanging view, beside whoever writes.</summary>
    public Task<T> SnapshotAsync<T>(Func<DbTransaction, Task<T>> read) => ToldAsync(() => SnapshotOwnAsync(read));

    /// <summary>Runs a change that may be refused: committed when it is not, rolled back when it is.</summary>
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

    /// <summary>A statement that is prepared once per connection and kept; see <see cref="PreparedRead"/>.</summary>
    /// <param name="keptMax">Connections for it at most; the database may spare fewer.</param>
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

    /// <summary>Whether the exception means "the database cannot be reached or used now", to be answered 503 and not 500.</summary>
    public static bool IsUnavailable(Exception exception) =>
        exception is DiskFullException || SqliteDatabase.IsUnavailableFault(exception) || PostgresDatabase.IsUnavailableFault(exception);

    /// <summary>
    /// Whether it is a text that this database cannot hold, as one with NUL: the caller's fault. The doors refuse what they know of; this
    /// is for what they do not.
    /// </summary>
    // character_not_in_repertoire, untranslatable_character
    public static bool IsUnstorableText(Exception exception) => exception is PostgresException { SqlState: "22021" or "22P05" };

    /// <summary>
    /// Rows of one INSERT where many are written: few where each parameter is looked up by its name, many where each statement is a trip to
    /// a server.
    /// </summary>
    public abstract int InsertBatchRows { get; }

    protected abstract Task<T> WriteOwnAsync<T>(Func<DbTransaction, Task<T>> change);

    protected abstract Task<T> WriteOwnAloneAsync<T>(Func<DbTransaction, Task<T>> change);

    protected abstract Task<T> WriteOwnUsageAsync<T>(Func<DbTransaction, Task<T>> change);

    protected abstract Task<T> SnapshotOwnAsync<T>(Func<DbTransaction, Task<T>> read);

    /// <summary>
    /// How many connections prepared reads may keep, so that changes and pages find one however many exchanges there are.
    /// </summary>
    protected abstract int PreparedConnectionsMax { get; }

    protected abstract PreparedRead MakeRead(string sql, int keptMax, string[] parameters);

    /// <summary>An open connection; disposing it gives it back to its pool.</summary>
    protected abstract Task<DbConnection> OpenAsync();

    /// <summary>Here and not where it is caught, so that no job or request can forget to be brief.</summary>
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
