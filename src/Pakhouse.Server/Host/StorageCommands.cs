namespace Pakhouse.Server;

/// <summary>The commands <c>migrate</c> and <c>storage copy</c>.</summary>
internal static class StorageCommands
{
    public static async Task<int> MigrateAsync(string[] settings)
    {
        await using var database = Database.Of(PakhouseOptions.Read(Program.Configuration(settings)));
        database.Prepare();
        Console.WriteLine($"The schema is up to date: {database.DisplayName}");
        return 0;
    }

    public static async Task<int> CopyAsync(string[] settings, string from, string to)
    {
        var options = PakhouseOptions.Read(Program.Configuration(settings));
        if (from == to)
            throw new StartupException("--from and --to name the same database. One must be sqlite and the other postgres.");
        if (options.Postgres is null)
            throw new StartupException("Pakhouse:PostgresConnection is not set: give the connection string of the PostgreSQL side.");

        await using var sqlite = new SqliteDatabase(options);
        await using var postgres = new PostgresDatabase(options);
        if (from == "sqlite" && !File.Exists(sqlite.FilePath))
            throw new StartupException($"There is no database at {sqlite.FilePath}; set Pakhouse:DataFolder to the folder that holds it.");
        sqlite.Prepare();
        postgres.Prepare();
        Database source = from == "sqlite" ? sqlite : postgres;
        Database target = from == "sqlite" ? postgres : sqlite;

        var tables = await StorageCopy.RunAsync(source, target, ShowProgress);
        foreach (var table in tables)
            Console.WriteLine($"{table.Name,-22} {table.Rows,12:N0} rows  sha256 {table.Checksum}");
        Console.WriteLine(
            $"Copied and checked: {source.DisplayName} → {target.DisplayName}. The source is unchanged. Never start a server on it again, "
                + $"because it lacks all later changes."
        );
        return 0;
    }

    /// <summary>One line for each table that has rows, where somebody watches. Into a file or a pipe it writes nothing.</summary>
    internal static void ShowProgress(string table, long rows, long total)
    {
        if (!Console.IsErrorRedirected && total > 0)
            Console.Error.Write($"\r{table,-22} {rows,12:N0} of {total:N0}{(rows == total ? Environment.NewLine : "")}");
    }
}
