using System.Collections.Concurrent;
using System.Data;
using System.Data.Common;
using System.Diagnostics.CodeAnalysis;

namespace Pakhouse.Tests;

/// <summary>A statement as it was sent, with the values of its parameters that time.</summary>
internal sealed record SentSql(string Text, IReadOnlyList<(string Name, object? Value, DbType Type)> Parameters);

/// <summary>Listens to every statement of a database until it is disposed. Each text is kept once. Nothing is changed or held
/// back.</summary>
internal sealed class SqlRecorder : IDisposable
{
    private readonly Database database;
    private readonly ConcurrentDictionary<string, SentSql> sent = new(StringComparer.Ordinal);
    private int executed;

    private SqlRecorder(Database database) => this.database = database;

    public IReadOnlyCollection<SentSql> Sent => [.. sent.Values];

    /// <summary>Statements sent, the repeated ones too.</summary>
    public int Executed => executed;

    public static SqlRecorder Record(Database database)
    {
        var recorder = new SqlRecorder(database);
        database.Opened = connection => new Connection(connection, recorder);
        return recorder;
    }

    public void Dispose() => database.Opened = connection => connection;

    private void Add(DbCommand command)
    {
        Interlocked.Increment(ref executed);
        sent.TryAdd(command.CommandText, new SentSql(
            command.CommandText,
            [.. command.Parameters.Cast<DbParameter>().Select(one => (one.ParameterName, one.Value, one.DbType))]));
    }

    private sealed class Connection(DbConnection inner, SqlRecorder recorder) : DbConnection
    {
        [AllowNull]
        public override string ConnectionString
        {
            get => inner.ConnectionString;
            set => inner.ConnectionString = value;
        }

        public override string Database => inner.Database;

        public override string DataSource => inner.DataSource;

        public override string ServerVersion => inner.ServerVersion;

        public override ConnectionState State => inner.State;

        public override void ChangeDatabase(string databaseName) => inner.ChangeDatabase(databaseName);

        public override void Close() => inner.Close();

        public override void Open() => inner.Open();

        protected override DbTransaction BeginDbTransaction(IsolationLevel isolationLevel) =>
            new Transaction(inner.BeginTransaction(isolationLevel), this);

        protected override async ValueTask<DbTransaction> BeginDbTransactionAsync(
            IsolationLevel isolationLevel,
            CancellationToken cancellationToken
        ) => new Transaction(await inner.BeginTransactionAsync(isolationLevel, cancellationToken), this);

        protected override DbCommand CreateDbCommand() => new Command(inner.CreateCommand(), this, recorder);

        public override async ValueTask DisposeAsync()
        {
            await inner.DisposeAsync();
            await base.DisposeAsync();
        }

        protected override void Dispose(bool disposing)
        {
            if (disposing)
                inner.Dispose();
            base.Dispose(disposing);
        }
    }

    private sealed class Transaction(DbTransaction inner, Connection connection) : DbTransaction
    {
        public DbTransaction Inner => inner;

        public override IsolationLevel IsolationLevel => inner.IsolationLevel;

        protected override DbConnection DbConnection => connection;

        public override void Commit() => inner.Commit();

        public override Task CommitAsync(CancellationToken cancellationToken = default) => inner.CommitAsync(cancellationToken);

        public override void Rollback() => inner.Rollback();

        protected override void Dispose(bool disposing)
        {
            if (disposing) inner.Dispose();
            base.Dispose(disposing);
        }

        public override async ValueTask DisposeAsync()
        {
            await inner.DisposeAsync();
            await base.DisposeAsync();
        }
    }

    private sealed class Command(DbCommand inner, Connection connection, SqlRecorder recorder) : DbCommand
    {
        [AllowNull]
        public override string CommandText { get => inner.CommandText; set => inner.CommandText = value; }

        public override int CommandTimeout { get => inner.CommandTimeout; set => inner.CommandTimeout = value; }

        public override CommandType CommandType { get => inner.CommandType; set => inner.CommandType = value; }

        public override bool DesignTimeVisible { get => false; set { } }

        public override UpdateRowSource UpdatedRowSource { get => inner.UpdatedRowSource; set => inner.UpdatedRowSource = value; }

        protected override DbConnection? DbConnection { get => connection; set { } }

        protected override DbParameterCollection DbParameterCollection => inner.Parameters;

        protected override DbTransaction? DbTransaction { get => null; set => inner.Transaction = (value as Transaction)?.Inner; }

        public override void Cancel() => inner.Cancel();

        public override void Prepare() => inner.Prepare();

        public override Task PrepareAsync(CancellationToken cancellationToken = default) => inner.PrepareAsync(cancellationToken);

        protected override DbParameter CreateDbParameter() => inner.CreateParameter();

        public override int ExecuteNonQuery()
        {
            recorder.Add(inner);
            return inner.ExecuteNonQuery();
        }

        public override object? ExecuteScalar()
        {
            recorder.Add(inner);
            return inner.ExecuteScalar();
        }

        protected override DbDataReader ExecuteDbDataReader(CommandBehavior behavior)
        {
            recorder.Add(inner);
            return inner.ExecuteReader(behavior);
        }

        public override Task<int> ExecuteNonQueryAsync(CancellationToken cancellationToken)
        {
            recorder.Add(inner);
            return inner.ExecuteNonQueryAsync(cancellationToken);
        }

        public override Task<object?> ExecuteScalarAsync(CancellationToken cancellationToken)
        {
            recorder.Add(inner);
            return inner.ExecuteScalarAsync(cancellationToken);
        }

        protected override Task<DbDataReader> ExecuteDbDataReaderAsync(CommandBehavior behavior, CancellationToken cancellationToken)
        {
            recorder.Add(inner);
            return inner.ExecuteReaderAsync(behavior, cancellationToken);
        }

        protected override void Dispose(bool disposing)
        {
            if (disposing) inner.Dispose();
            base.Dispose(disposing);
        }
    }
}
