using System.Diagnostics;
using System.IO.Compression;
using Dapper;
using Microsoft.Data.Sqlite;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;

namespace Pakhouse.Bench;

/// <summary>
/// The status lists at a size: what a start reads, what a poll costs, what a change costs, how small a list gets; and what the claim adds
/// to a token. Every hundredth key, and then every tenth, has ended. In one process, without HTTP: what is measured is what the lists add
/// to it.
/// </summary>
internal static class Status
{
    public static async Task RunAsync(string folder, int keys)
    {
        await using var app = Server.Program.Build([
            $"--Pakhouse:DataFolder={folder}",
            "--Pakhouse:PublicAddress=https://keys.example.com",
        ]);
        var (database, signingKeys, clock) = (
            app.Services.GetRequiredService<Database>(),
            app.Services.GetRequiredService<SigningKeys>(),
            TimeProvider.System
        );
        await signingKeys.RefreshAsync();
        await Fill(((SqliteDatabase)database).FilePath, keys);

        foreach (var every in (int[])[100, 10])
        {
            var ended = await database.WriteAsync(transaction =>
                transaction.Connection!.ExecuteAsync(
                    "UPDATE access_keys SET status = 1, status_version = 1 + status_index WHERE status_version = 0 AND ABS(RANDOM() % "
                        + "1000) < 1000 / @every",
                    new { every },
                    transaction
                )
            );
            await database.WriteAsync(transaction =>
                transaction.Connection!.ExecuteAsync(
                    "INSERT INTO counters (name, value) VALUES ('access_keys.status_version', @keys) ON CONFLICT (name) DO UPDATE SET "
                        + "value = counters.value + 1",
                    new { keys = (long)keys + 1 },
                    transaction
                )
            );

            var lists = new StatusLists(
                database,
                signingKeys,
                app.Services.GetRequiredService<PakhouseOptions>(),
                app.Services.GetRequiredService<PublicAddress>(),
                clock
            );
            var load = await TimeAsync(1, lists.RefreshAsync);
            SignedStatusList list = null!;
            var first = await TimeAsync(1, async () => list = (await lists.GetAsync(0))!);
            var quiet = await TimeAsync(20_000, async () => list = (await lists.GetAsync(0))!);
            var seen = 0.0;
            for (var i = 0; i < 30; i++)
            {
                await database.WriteAsync(transaction =>
                    transaction.Connection!.ExecuteAsync(
                        "UPDATE counters SET value = value + 1 WHERE name = 'access_keys.status_version'; UPDATE access_keys SET status = "
                            + "1 - status, status_version = (SELECT value FROM counters WHERE name = 'access_keys.status_version') WHERE "
                            + "status_index = @index",
                        new { index = i * 3001L },
                        transaction
                    )
                );
                seen += await TimeAsync(1, async () => list = (await lists.GetAsync(0))!) / 30;
            }

            Console.WriteLine(
                $"{keys:N0} keys, about 1 of {every} ended: load {load:N0} ms for {ended:N0} more; first list {first:N1} ms, "
                    + $"{list.Jwt.Length:N0} bytes, gzip {list.Gzipped.Length:N0}; poll unchanged {quiet * 1000:N1} µs; poll after a "
                    + $"change {seen:N1} ms"
            );
        }

        Levels();
        Claim(signingKeys, clock);
    }

    /// <summary>Time and size of one list by level of compression.</summary>
    private static void Levels()
    {
        foreach (var every in (int[])[1000, 100, 10])
        {
            var entries = new byte[StatusLists.EntriesPerList / 4];
            for (var i = 0L; i < StatusLists.EntriesPerList; i++)
                if (System.Security.Cryptography.RandomNumberGenerator.GetInt32(every) == 0)
                    entries[i / 4] |= (byte)(1 << (int)(i % 4 * 2));
            foreach (var level in (CompressionLevel[])[CompressionLevel.Fastest, CompressionLevel.Optimal, CompressionLevel.SmallestSize])
            {
                var length = 0L;
                var times = Enumerable
                    .Range(0, 15)
                    .Select(_ =>
                    {
                        var start = Stopwatch.GetTimestamp();
                        using var compressed = new MemoryStream();
                        using (var zlib = new ZLibStream(compressed, level, leaveOpen: true))
                            zlib.Write(entries);
                        length = compressed.Length;
                        return Stopwatch.GetElapsedTime(start).TotalMilliseconds;
                    })
                    .Order()
                    .ToArray();
                Console.WriteLine($"zlib {level}, 1 of {every} ended: {times[7]:N1} ms, {length:N0} bytes");
            }
        }
    }

    /// <summary>A token with and without the claim, in turns.</summary>
    private static void Claim(SigningKeys signingKeys, TimeProvider clock)
    {
        var handler = new JsonWebTokenHandler { SetDefaultTimesOnTokenCreation = false };
        var ratios = new List<double>();
        for (var round = 0; round < 21; round++)
        {
            var (without, with) = (Tokens(hasStatus: false), Tokens(hasStatus: true));
            if (round > 5) ratios.Add(with / without);
        }

        ratios.Sort();
        Console.WriteLine($"token with the status claim to one without: {ratios[ratios.Count / 2]:N3} ({ratios[0]:N3}–{ratios[^1]:N3})");

        double Tokens(bool hasStatus)
        {
            var start = Stopwatch.GetTimestamp();
            for (var i = 0; i < 2000; i++)
            {
                var now = clock.GetUtcNow();
                var claims = new Dictionary<string, object>(16, StringComparer.Ordinal)
                {
                    ["sub"] = "0190f3a2-7c11-7d3e-9b52-3f1c8a6d4e70",
                    ["client_id"] = "personal-access-key",
                    ["jti"] = Ids.New(clock).ToString(),
                    ["scope"] = "openid profile email",
                    ["org_id"] = "0190f3a2-7c11-7d3e-9b52-3f1c8a6d4e70",
                    ["root_org_id"] = "0190f3a2-7c11-7d3e-9b52-3f1c8a6d4e70",
                    ["currentOrganizationId"] = "0190f3a2-7c11-7d3e-9b52-3f1c8a6d4e70",
                    ["membership"] = "member",
                    ["roles"] = new[] { "build-operator", "report-viewer" },
                    ["key_id"] = "0000000000000000",
                    ["name"] = "Person 1",
                    ["email"] = "person1@acme.example",
                };
                if (hasStatus)
                {
                    claims["status"] = new Dictionary<string, object>(StringComparer.Ordinal)
                    {
                        ["status_list"] = new Dictionary<string, object>(StringComparer.Ordinal)
                        {
                            ["idx"] = (long)i,
                            ["uri"] = StatusLists.Address("https://keys.example.com", i % 10),
                        },
                    };
                }

                handler.CreateToken(
                    new SecurityTokenDescriptor
                    {
                        TokenType = "at+jwt",
                        Issuer = "https://keys.example.com",
                        Audience = "https://keys.example.com",
                        IssuedAt = now.UtcDateTime,
                        Expires = now.UtcDateTime.AddHours(1),
                        Claims = claims,
                        SigningCredentials = signingKeys.Current(now).Credentials,
                    }
                );
            }

            return Stopwatch.GetElapsedTime(start).TotalMilliseconds;
        }
    }

    /// <summary>Keys of one member, in the order of their ids: nothing here looks at whose they are.</summary>
    private static async Task Fill(string file, int keys)
    {
        await using var connection = new SqliteConnection(
            new SqliteConnectionStringBuilder { DataSource = file, ForeignKeys = false }.ToString()
        );
        await connection.OpenAsync();
        if (await connection.ExecuteScalarAsync<long>("SELECT COUNT(*) FROM (SELECT 1 FROM access_keys LIMIT 1)") > 0)
            throw new InvalidOperationException("The folder has keys already: give an empty one.");
        await connection.ExecuteAsync(
            """
            PRAGMA synchronous=OFF;
            INSERT INTO access_keys (id, membership_id, name, hash, scopes, created_at, status_index)
            WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < @keys)
            SELECT printf('%016d', n), '', 'Key 1', zeroblob(32), '*', 0, n FROM numbers;
            INSERT INTO counters (name, value) VALUES ('access_keys.status_index', @keys - 1);
            PRAGMA wal_checkpoint(TRUNCATE);
            """,
            new { keys = (long)keys },
            commandTimeout: 3600
        );
    }

    private static async Task<double> TimeAsync(int times, Func<Task> what)
    {
        var start = Stopwatch.GetTimestamp();
        for (var i = 0; i < times; i++) await what();
        return Stopwatch.GetElapsedTime(start).TotalMilliseconds / times;
    }
}
