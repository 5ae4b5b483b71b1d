using System.Reflection;
using System.Security.Cryptography;
using System.Text.Json;
using Dapper;
using Microsoft.Data.Sqlite;

namespace Pakhouse.Server;

/// <summary>A file of a back-up.</summary>
public sealed record BackupFile(string Name, long Bytes, string Sha256);

/// <summary>The content of a back-up. It is written last: a folder without it is not a back-up.</summary>
public sealed record BackupManifest(
    int Format,
    DateTimeOffset MadeAt,
    string Program,
    string Database,
    DatabaseState State,
    IReadOnlyList<BackupFile> Files
);

/// <summary>
/// A folder with everything that a server needs to run again: a SQLite file, the Data Protection keys, and a manifest. Its format is the
/// same for both databases, and it can be restored to either. It is made while servers run, from one consistent moment.
/// </summary>
public static class Backup
{
    private const int Format = 1;
    /// <summary>A marker instead of a location: a server refuses to start on a restored database that was not made safe.</summary>
    private const string NotFinished = "restore not finished";

    private const string ManifestName = "manifest.json";

    private static readonly JsonSerializerOptions json = new(JsonSerializerDefaults.Web) { WriteIndented = true };

    public static string DatabaseFile(string folder) => Path.Combine(folder, "pakhouse.db");

    /// <summary>The history of key use. Back-ups of an earlier version have it in the other file.</summary>
    private static string UsageFile(string folder) => Path.Combine(folder, "usage.db");

    public static async Task<BackupManifest> MakeAsync(
        Database source,
        string folder,
        TimeProvider clock,
        Action<string, long, long> progress
    )
    {
        if (Directory.Exists(folder) && Directory.EnumerateFileSystemEntries(folder).Any())
            throw new StartupException($"{folder} is not empty. Give a new folder for each back-up. Nothing was changed.");
        DataFolder.Create(folder);
        var copy = new SqliteDatabase(folder);
        await using (copy)
        {
            if (source is SqliteDatabase sqlite)
            {
                await sqlite.CopyToAsync(DatabaseFile(folder), UsageFile(folder));
                StorageCopy.CopyProtectionKeys(source, copy);
            }
            else
            {
                copy.Prepare();
                await StorageCopy.RunAsync(source, copy, progress);
            }
        }

        var state = await CheckDatabaseAsync(DatabaseFile(folder));
        await (await CheckFileAsync(UsageFile(folder))).DisposeAsync();
        var files = Directory.GetFiles(folder, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal).ToList();
        if (!OperatingSystem.IsWindows())
            foreach (var file in files) File.SetUnixFileMode(file, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        var manifest = new BackupManifest(Format, clock.GetUtcNow(), Assembly.GetExecutingAssembly().GetName().Version!.ToString(),
            source is SqliteDatabase ? "sqlite" : "postgres", state, [.. files.Select(file => Describe(folder, file))]);
        var how = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write };
        if (!OperatingSystem.IsWindows()) how.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        await using var stream = new FileStream(Path.Combine(folder, ManifestName), how);
        await JsonSerializer.SerializeAsync(stream, manifest, json);
        stream.Flush(flushToDisk: true);
        return manifest;
    }

    /// <summary>Reads a complete back-up and compares it with its manifest.</summary>
    /// <exception cref="StartupException">It is not a back-up, or it was changed.</exception>
    public static async Task<BackupManifest> CheckAsync(string folder)
    {
        BackupManifest? manifest = null;
        try
        {
            manifest = JsonSerializer.Deserialize<BackupManifest>(await File.ReadAllBytesAsync(Path.Combine(folder, ManifestName)), json);
        }
        catch (Exception e) when (e is IOException or JsonException or UnauthorizedAccessException)
        {
            throw new StartupException(
                $"{folder} is not a finished back-up: its {ManifestName} cannot be read. {e.Message}",
                e
            );
        }

        if (manifest is not { Format: Format, Files: not null })
            throw new StartupException(
                $"{folder} has a back-up format that this program does not know. Use the program that made it, or a newer one."
            );
        foreach (var file in manifest.Files)
        {
            var path = Path.GetFullPath(Path.Combine(folder, file.Name));
            if (!path.StartsWith(Path.GetFullPath(folder) + Path.DirectorySeparatorChar, StringComparison.Ordinal) || !File.Exists(path))
                throw new StartupException($"The back-up is not complete: {file.Name} is missing. Use another back-up.");
            if (Describe(folder, path) != file)
                throw new StartupException($"The back-up is damaged: {file.Name} has changed. Use another back-up.");
        }

        if (manifest.Files.All(file => file.Name != "pakhouse.db"))
            throw new StartupException("The back-up contains no database. Use another back-up.");
        return manifest;
    }

    /// <summary>
    /// Restores a back-up where there is no database yet. The database cannot be served until <see cref="Restore"/> has made it safe.
    /// </summary>
    public static async Task PutBackAsync(string folder, PakhouseOptions options, Action<string, long, long> progress)
    {
        await CheckAsync(folder);
        if (options.Postgres is null)
        {
            await using var target = new SqliteDatabase(options);
            if (File.Exists(target.FilePath))
                throw new StartupException(
                    $"There is already a database: {target.FilePath}. Stop the server and move pakhouse.db, pakhouse.db-wal and "
                        + $"pakhouse.db-shm away first; leave pakhouse.state where it is. Nothing was changed."
                );
            DataFolder.Create(options.DataFolder);
            await PutAsync(folder, target, options.DataFolder);
            return;
        }

        // An older back-up is updated to the current schema first, in a copy.
        var temporary = Directory.CreateTempSubdirectory("pakhouse-restore-");
        try
        {
            await using var source = new SqliteDatabase(temporary.FullName);
            await PutAsync(folder, source, temporary.FullName);
            await using var target = new PostgresDatabase(options);
            target.Prepare();
            await StorageCopy.RunAsync(source, target, progress, NotFinished);
        }
        finally
        {
            temporary.Delete(recursive: true);
        }
    }

    private static async Task PutAsync(string folder, SqliteDatabase target, string dataFolder)
    {
        var temporary = target.FilePath + ".restoring";
        File.Copy(DatabaseFile(folder), temporary, overwrite: true);
        if (!OperatingSystem.IsWindows()) File.SetUnixFileMode(temporary, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        await CheckDatabaseAsync(temporary);
        // A newer history of use that is there already stays: it decides nothing.
        if (File.Exists(UsageFile(folder)) && !File.Exists(target.UsageFilePath))
        {
            File.Copy(UsageFile(folder), target.UsageFilePath);
            if (!OperatingSystem.IsWindows())
                File.SetUnixFileMode(target.UsageFilePath, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        }

        await using (var source = new SqliteDatabase(folder)) StorageCopy.CopyProtectionKeys(source, target);
        File.Move(temporary, Path.Combine(dataFolder, "pakhouse.db"));
        target.Prepare();
        await target.WriteAsync(async transaction =>
        {
            await DatabaseState.WriteAsync(transaction, "place", NotFinished);
            return true;
        });
    }

    /// <summary>Opens the file alone, lets SQLite check it, and reads its state.</summary>
    private static async Task<DatabaseState> CheckDatabaseAsync(string file)
    {
        await using var connection = await CheckFileAsync(file);
        // An earlier version has no such table, so nothing is known.
        return await connection.ExecuteScalarAsync<long>("SELECT COUNT(*) FROM sqlite_master WHERE name = 'deployment'") == 0
            ? new DatabaseState() : await DatabaseState.ReadAsync(connection);
    }

    private static async Task<SqliteConnection> CheckFileAsync(string file)
    {
        var connection = new SqliteConnection(new SqliteConnectionStringBuilder { DataSource = file, Pooling = false }.ToString());
        await connection.OpenAsync();
        if (await connection.ExecuteScalarAsync<string>("PRAGMA integrity_check", commandTimeout: 0) == "ok"
            && !(await connection.QueryAsync<string>("SELECT \"table\" FROM pragma_foreign_key_check", commandTimeout: 0)).Any())
            return connection;
        await connection.DisposeAsync();
        throw new StartupException($"The copy of the database in {file} is damaged. Do not use it; make another, or use an earlier one.");
    }

    private static BackupFile Describe(string folder, string file)
    {
        using var stream = File.OpenRead(file);
        return new BackupFile(
            Path.GetRelativePath(folder, file).Replace('\\', '/'),
            stream.Length,
            Convert.ToHexStringLower(SHA256.HashData(stream))
        );
    }
}
