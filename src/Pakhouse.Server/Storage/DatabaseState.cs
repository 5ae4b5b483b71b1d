using System.Data.Common;
using System.Text.Json;
using Dapper;

namespace Pakhouse.Server;

/// <summary>How far a database has come. Each of these numbers only ever grows, so a smaller one means an older state.</summary>
public sealed record DatabaseState
{
    /// <summary>Of this installation, through moves and restores. Empty: no server has been started on it.</summary>
    public string Deployment { get; init; } = "";

    /// <summary>Where it was served. Empty: it was copied, and not served since.</summary>
    public string Place { get; init; } = "";

    /// <summary>Unix milliseconds; 0: never.</summary>
    public long RestoredAt { get; init; }

    /// <summary>Of the newest change in the status lists.</summary>
    public long StatusVersion { get; init; }

    /// <summary>Of the newest key; -1: there was none.</summary>
    public long StatusIndex { get; init; } = -1;

    /// <summary>The id of the newest row of the record.</summary>
    public string Newest { get; init; } = "";

    /// <summary>A server has written here.</summary>
    public bool IsUsed => Newest.Length > 0;

    /// <summary>When the newest row of the record was written: ids hold their time.</summary>
    public DateTimeOffset? NewestAt =>
        Guid.TryParse(Newest, out var id) ? DateTimeOffset.FromUnixTimeMilliseconds(Convert.ToInt64(id.ToString("N")[..12], 16)) : null;

    /// <summary>What was restored since has a past of its own, and is not older.</summary>
    public bool IsOlderThan(DatabaseState other) =>
        RestoredAt < other.RestoredAt
        || (
            RestoredAt == other.RestoredAt
            && (StatusVersion < other.StatusVersion || StatusIndex < other.StatusIndex || string.CompareOrdinal(Newest, other.Newest) < 0)
        );

    /// <summary>In one statement: of one moment.</summary>
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

    /// <summary>Writes one of the facts that stand in the table <c>deployment</c>.</summary>
    public static Task WriteAsync(DbTransaction transaction, string name, string value) =>
        transaction.Connection!.ExecuteAsync(
            "INSERT INTO deployment (name, value) VALUES (@name, @value) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            new { name, value },
            transaction
        );
}

/// <summary>What every process must know of its database and nothing in it changes while the process runs.</summary>
public sealed class Deployment
{
    /// <summary>What was given out before is void: it is sealed with this number.</summary>
    public long RestoredAt { get; set; }
}

/// <summary>
/// The newest state that this machine has seen, in a small file in the data folder: what stands outside the database does not grow older
/// with it. On SQLite it also says which file is the served one, so a copy of the database alone is known for a copy.
/// </summary>
public sealed class StateFile(PakhouseOptions options)
{
    /// <summary>On PostgreSQL a help and no need: a machine without a data folder of its own can serve.</summary>
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

    /// <summary>Whole or not at all, and on the disk when this returns.</summary>
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
