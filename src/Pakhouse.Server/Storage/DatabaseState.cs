using System.Data.Common;
using System.Text.Json;
using Dapper;

namespace Pakhouse.Server;

/// <summary>The progress of a database. Each of these numbers only grows, so a smaller one means an older state.</summary>
public sealed record DatabaseState
{
    /// <summary>The id of this installation, kept through moves and restores. Empty: no server has used it.</summary>
    public string Deployment { get; init; } = "";

    /// <summary>Where it was served. Empty: it was copied and not served since.</summary>
    public string Place { get; init; } = "";

    /// <summary>Unix milliseconds; 0: never.</summary>
    public long RestoredAt { get; init; }

    /// <summary>The number of the newest change in the status lists.</summary>
    public long StatusVersion { get; init; }

    /// <summary>The index of the newest key; -1: there was none.</summary>
    public long StatusIndex { get; init; } = -1;

    /// <summary>The id of the newest row of the audit record.</summary>
    public string Newest { get; init; } = "";

    /// <summary>A server has written to it.</summary>
    public bool IsUsed => Newest.Length > 0;

    /// <summary>When the newest row of the audit record was written; ids contain their time.</summary>
    public DateTimeOffset? NewestAt =>
        Guid.TryParse(Newest, out var id) ? DateTimeOffset.FromUnixTimeMilliseconds(Convert.ToInt64(id.ToString("N")[..12], 16)) : null;

    /// <summary>A state that was restored since has its own history and is not older.</summary>
    public bool IsOlderThan(DatabaseState other) =>
        RestoredAt < other.RestoredAt
        || (
            RestoredAt == other.RestoredAt
            && (StatusVersion < other.StatusVersion || StatusIndex < other.StatusIndex || string.CompareOrdinal(Newest, other.Newest) < 0)
        );

    /// <summary>In one statement, so it is of one moment.</summary>
    public static Task<DatabaseState> ReadAsync(DbConnection connection, DbTransaction? transaction = null) =>
        connection.QuerySingleAsync<DatabaseState>(
            """
            SELECT COALESCE((SELECT value FROM deployment WHERE name = 'id'), '') AS deployment,
                   COALESCE((SELECT value FROM deployment WHERE name = 'place'), '') AS place,
                   COALESCE((SELECT CAST(value AS BIGINT) FROM deployment WHERE name = 'restored_at'), 0) AS restored_at,
                   COALESCE((SELECT value FROM counters WHERE name = 'access_keys.status_version'), 0) AS status_version,
                   COALESCE((SELECT value FROM counters WHERE name = 'access_keys.status_index'), -1) AS status_index,
                   COALESCE((SELECT MAX(id) FROM activity), '') AS newest
            """,
            transaction: transaction
        );

    /// <summary>Writes one value of the table <c>deployment</c>.</summary>
    public static Task WriteAsync(DbTransaction transaction, string name, string value) =>
        transaction.Connection!.ExecuteAsync(
            "INSERT INTO deployment (name, value) VALUES (@name, @value) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            new { name, value },
            transaction
        );
}

/// <summary>What every process must know about its database and what does not change while the process runs.</summary>
public sealed class Deployment
{
    /// <summary>Everything issued before the last restore is invalid, because its encryption includes this number.</summary>
    public long RestoredAt { get; set; }
}

/// <summary>
/// The newest state that this machine has seen, in a small file in the data folder. A restore of the database does not change it. On SQLite
/// it also identifies the served file, so a copy of the database alone is recognized.
/// </summary>
public sealed class StateFile(PakhouseOptions options)
{
    /// <summary>Optional on PostgreSQL: a machine without a data folder of its own can run a server.</summary>
    public bool IsNeeded => options.Postgres is null;

    public string FilePath { get; } =
        Path.Combine(options.DataFolder, options.Postgres is null ? "pakhouse.state" : "pakhouse-postgres.state");

    /// <summary>Null: there is none, or it cannot be read.</summary>
    public DatabaseState? Read()
    {
        try
        {
            return File.Exists(FilePath) ? JsonSerializer.Deserialize<DatabaseState>(File.ReadAllBytes(FilePath)) : null;
        }
        catch (Exception e) when (e is JsonException or IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <summary>Writes it completely or not at all; it is on the disk when this returns.</summary>
    public void Write(DatabaseState state)
    {
        DataFolder.Create(options.DataFolder);
        var temporary = $"{FilePath}.{Path.GetRandomFileName()}";
        var how = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write };
        if (!OperatingSystem.IsWindows())
            how.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        try
        {
            using (var file = new FileStream(temporary, how))
            {
                JsonSerializer.Serialize(file, state);
                file.Flush(flushToDisk: true);
            }

            File.Move(temporary, FilePath, overwrite: true);
        }
        catch
        {
            File.Delete(temporary);
            throw;
        }
    }
}
