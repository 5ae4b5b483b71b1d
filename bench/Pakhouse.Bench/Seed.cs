using System.Security.Cryptography;
using Microsoft.Data.Sqlite;

namespace Pakhouse.Bench;

/// <summary>
/// A data folder as the server makes it, filled with real keys: ten to a user, a thousand users to a root organization, every
/// second user a member of one of its four sub-organizations instead of the root. Beside it <c>keys.txt</c>, a sample of the keys.
/// </summary>
internal static class Seed
{
    public const string SampleFile = "keys.txt";

    private const int KeysPerUser = 10;
    private const int UsersPerRoot = 1000;
    private const int SubsPerRoot = 4;

    public static void Run(string folder, int keys, int sample)
    {
        var clock = TimeProvider.System;
        var settings = new ConfigurationBuilder().AddInMemoryCollection([new("Pakhouse:DataFolder", folder)]).Build();
        var database = new SqliteDatabase(PakhouseOptions.Read(settings));
        database.Prepare();

        using var connection = new SqliteConnection(
            new SqliteConnectionStringBuilder { DataSource = database.FilePath, ForeignKeys = false }.ToString()
        );
        connection.Open();
        // For seeding only: a crash here costs a folder of test data. Ids are drawn at random, so every row may touch another page: all
        // pages stay in memory (300 bytes a key), and one commit writes each of them once.
        Execute(connection, "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-6000000;");

        var ownerOnly = new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write };
        if (!OperatingSystem.IsWindows())
            ownerOnly.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        var samplePath = Path.Combine(folder, SampleFile);
        using var file = new StreamWriter(samplePath + ".part", ownerOnly);
        using var transaction = connection.BeginTransaction();
        using var rows = new Rows(connection, transaction, clock);
        var organizations = new string[1 + SubsPerRoot];
        var membership = "";
        var every = Math.Max(1, keys / Math.Min(sample, keys));
        for (var i = 0; i < keys; i++)
        {
            if (i % (KeysPerUser * UsersPerRoot) == 0)
                rows.AddOrganizations(organizations);
            if (i % KeysPerUser == 0)
            {
                var user = i / KeysPerUser;
                membership = rows.AddMember(user, organizations[user % 2 == 0 ? 0 : 1 + user / 2 % SubsPerRoot]);
            }

            var id = KeyFormat.NewId();
            var key = KeyFormat.Create("ph", id);
            rows.AddKey(id, membership, key);
            if (i % every == 0)
                file.WriteLine(System.Text.Encoding.ASCII.GetString(key));
        }

        transaction.Commit();
        // where the server goes on
        Execute(connection, "INSERT INTO counters (name, value) SELECT 'access_keys.status_index', MAX(status_index) FROM access_keys");
        file.Close();
        File.Move(samplePath + ".part", samplePath, overwrite: true); // its presence says that the folder is whole
        Console.WriteLine($"{keys} keys in {database.FilePath}, {new FileInfo(database.FilePath).Length / 1_000_000} MB");
    }

    private static void Execute(SqliteConnection connection, string sql)
    {
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        command.ExecuteNonQuery();
    }

    /// <summary>One kept statement for each table.</summary>
    private sealed class Rows : IDisposable
    {
        private readonly SqliteConnection connection;
        private readonly TimeProvider clock;
        private readonly long now;
        private long keys;
        private readonly SqliteCommand organization,
            user,
            member,
            key;
        private readonly SqliteTransaction transaction;

        public Rows(SqliteConnection connection, SqliteTransaction transaction, TimeProvider clock)
        {
            (this.connection, this.transaction, this.clock, now) = (
                connection,
                transaction,
                clock,
                clock.GetUtcNow().ToUnixTimeMilliseconds()
            );
            organization = Insert("organizations", "id", "root_id", "name", "name_normalized", "created_at");
            user = Insert("users", "id", "email", "email_normalized", "name", "security_stamp", "created_at");
            member = Insert("memberships", "id", "organization_id", "user_id", "roles", "created_at");
            key = Insert("access_keys", "id", "membership_id", "name", "hash", "scopes", "created_at", "status_index");
        }

        public void AddOrganizations(string[] ids)
        {
            for (var i = 0; i < ids.Length; i++)
            {
                ids[i] = NewId();
                var name = i == 0 ? "Acme" : $"Team {i}";
                Run(organization, ids[i], i == 0 ? DBNull.Value : ids[0], name, name.ToUpperInvariant(), now);
            }
        }

        public string AddMember(int number, string organizationId)
        {
            var (userId, membershipId) = (NewId(), NewId());
            var email = $"person{number}@acme.example";
            Run(user, userId, email, email.ToUpperInvariant(), $"Person {number}", NewId(), now);
            Run(member, membershipId, organizationId, userId, "build-operator report-viewer", now);
            return membershipId;
        }

        public void AddKey(string id, string membershipId, byte[] secret) =>
            Run(key, id, membershipId, "Key 1", SHA256.HashData(secret), "*", now, keys++);

        public void Dispose()
        {
            foreach (var command in new[] { organization, user, member, key })
                command.Dispose();
        }

        private string NewId() => Ids.New(clock).ToString();

#pragma warning disable CA2100 // names of our own tables
        private SqliteCommand Insert(string table, params string[] columns)
        {
            var command = connection.CreateCommand();
            command.Transaction = transaction;
            command.CommandText =
                $"INSERT INTO {table} ({string.Join(", ", columns)}) VALUES ({string.Join(", ", columns.Select(column => "@" + column))})";
            foreach (var column in columns)
                command.Parameters.Add(new SqliteParameter { ParameterName = "@" + column });
            return command;
        }
#pragma warning restore CA2100

        private static void Run(SqliteCommand command, params ReadOnlySpan<object> values)
        {
            for (var i = 0; i < values.Length; i++)
                command.Parameters[i].Value = values[i];
            command.ExecuteNonQuery();
        }
    }
}
