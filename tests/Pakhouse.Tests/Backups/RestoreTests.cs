using System.Net;
using Dapper;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Time.Testing;

namespace Pakhouse.Tests;

/// <summary>
/// R12: a key that has ended stays ended, whatever is restored. A back-up of an earlier moment is put back, in each of the ways there are.
/// </summary>
public class RestoreTests
{
    [Fact]
    public async Task Old_state_serves_nothing_until_it_is_made_safe_and_then_no_key_that_ended_lives()
    {
        await using var scene = await Scene.StartAsync();
        await scene.PutBackAsync();
        var refused = await Assert.ThrowsAsync<StartupException>(() => scene.ServeAsync());
        Assert.Contains("restore finish", refused.Message, StringComparison.Ordinal);

        var report = await scene.FinishAsync(scene.Ended, scene.LateKeyId);
        Assert.Equal((1, 1), (report.EndedKeys, report.UnknownKeys));
        await using var server = await scene.ServeAsync();

        // Made and ended after the back-up: invalid for verifiers at once, refused here, and its entry is nobody else's.
        Assert.Equal(1, await StatusListTests.StatusAsync(server, scene.LateEntry));
        Assert.Equal(HttpStatusCode.Unauthorized, (await server.ExchangeAsync(scene.LateKey)).Status);
        var next = StatusListTests.EntryOf(await server.ExchangeAsync(await server.AddKeyAsync(scene.Acme.Owner, scene.Acme.Root)));
        Assert.Equal($"{scene.Address}/status-lists/1", next.Uri);
        Assert.Equal(0, await StatusListTests.StatusAsync(server, next));

        // Made before and ended after: ended again. Untouched: as good as ever.
        Assert.Equal(HttpStatusCode.Unauthorized, (await server.ExchangeAsync(scene.EndedKey)).Status);
        Assert.Equal(1, await StatusListTests.StatusAsync(server, scene.EndedEntry));
        Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(scene.Kept)).Status);
        Assert.Equal(0, await StatusListTests.StatusAsync(server, scene.KeptEntry));

        // Verifiers have seen a number, and go on: no list says a smaller one.
        Assert.True(StatusListTests.Version(await StatusListTests.FetchAsync(server)) > scene.VersionSeen);
        Assert.True(StatusListTests.Version(await StatusListTests.FetchAsync(server, path: "/status-lists/1")) > scene.VersionSeen);
    }

    [Fact]
    public async Task Control_without_that_the_token_of_the_ended_key_would_be_good_again_and_its_entry_another_keys()
    {
        await using var scene = await Scene.StartAsync();
        await scene.PutBackAsync();
        await using (var app = scene.Command()) await app.Services.GetRequiredService<Restore>().MovedAsync(); // a lie: something was lost
        await using var server = await scene.ServeAsync();
        var next = StatusListTests.EntryOf(await server.ExchangeAsync(await server.AddKeyAsync(scene.Acme.Owner, scene.Acme.Root)));
        Assert.Equal(scene.LateEntry, next);
        Assert.Equal(0, await StatusListTests.StatusAsync(server, scene.LateEntry));
    }

    [Fact]
    public async Task Gap_is_invalid_whole_and_every_process_and_every_later_start_says_so()
    {
        await using var scene = await Scene.StartAsync();
        await scene.PutBackAsync();
        var report = await scene.FinishAsync();
        for (var start = 0; start < 2; start++)
        {
            var server = await scene.ServeAsync();
            foreach (
                var index in (long[])[report.FirstUnknownIndex, report.FirstUnknownIndex + 1, report.NextIndex / 2, report.NextIndex - 1]
            )
                Assert.Equal(1, await StatusListTests.StatusAsync(server, ($"{scene.Address}/status-lists/0", index)));
            Assert.Equal(0, await StatusListTests.StatusAsync(server, ($"{scene.Address}/status-lists/0", report.FirstUnknownIndex - 1)));
            Assert.Equal(0, report.NextIndex % StatusLists.EntriesPerList);
            await server.StopAsync();
        }
    }

    [Fact]
    public async Task What_let_people_in_is_void_and_a_new_signing_key_can_be_demanded()
    {
        await using var scene = await Scene.StartAsync();
        await scene.PutBackAsync();
        var report = await scene.FinishAsync(newSigningKey: true);
        await using var server = await scene.ServeAsync();
        foreach (
            var table in (string[])
                [
                    "sessions",
                    "setup_codes",
                    "spent_challenges",
                    "invitations",
                    "invitation_parts",
                    "password_resets",
                    "recovery_codes",
                    "mails",
                ]
        )
            Assert.Equal(0, await server.ScalarAsync<long>($"SELECT COUNT(*) FROM {table}"));
        Assert.Contains(report.Voided, table => table is { Table: "sessions", Rows: 1 });
        Assert.Contains(report.Voided, table => table is { Table: "invitations", Rows: 1 });
        Assert.Contains(report.Voided, table => table is { Table: "password_resets", Rows: 1 });
        Assert.Null(await server.Get<SessionStore>().FindAsync(scene.Session));
        var published = (await server.GetAsync("/.well-known/jwks.json"))
            .Json.GetProperty("keys")
            .EnumerateArray()
            .Single()
            .GetProperty("kid")
            .GetString();
        Assert.Equal(report.SigningKeyId, published);
        Assert.NotEqual(scene.SigningKeyId, published);
        Assert.Equal(1, await server.ScalarAsync<long>("SELECT COUNT(*) FROM activity WHERE action = 'Database Restore'"));
    }

    [Fact]
    public async Task Process_that_serves_while_the_database_is_put_back_beneath_it_serves_nothing_more()
    {
        await using var server = await TestServer.StartAsync();
        var acme = await server.AddAcmeAsync();
        var key = await server.AddKeyAsync(acme.Owner, acme.Root);
        await server.Get<StateGuard>().RunAsync();
        Assert.Equal(HttpStatusCode.OK, (await server.GetAsync("/health/ready")).Status);
        await server.ExecuteAsync("UPDATE counters SET value = value - 1 WHERE name = 'access_keys.status_index'");
        await server.Get<StateGuard>().RunAsync();
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await Answered(server.ExchangeAsync(key))) ?? HttpStatusCode.ServiceUnavailable);
        Assert.True(server.Get<Fitness>().IsStateAtFault);
        Assert.Contains(
            server.Log.Lines,
            line => line.StartsWith("Critical", StringComparison.Ordinal) && line.Contains("restored or replaced", StringComparison.Ordinal)
        );

        // It is stopping: the port may be closed already.
        static async Task<HttpStatusCode?> Answered(Task<Answer> answer)
        {
            try
            {
                return (await answer).Status;
            }
            catch (HttpRequestException)
            {
                return null;
            }
        }
    }

    [
        Theory,
        SqliteOnly("PostgreSQL tells its copies by numbers of its own"),
        InlineData("file put back in its folder"),
        InlineData("file copied to an empty folder"),
        InlineData("file deleted")
    ]
    public async Task Copies_of_the_file_by_hand_are_known(string how)
    {
        await using var server = await TestServer.StartAsync();
        await server.StopAsync();
        var file = Path.Combine(server.DataFolder, "pakhouse.db");
        File.Copy(file, file + ".old");
        server.Clock.Advance(TimeSpan.FromSeconds(1)); // ids of one millisecond are in no order
        var again = await TestServer.StartOnAsync(server.Place, server.Clock);
        await again.AddAcmeAsync();
        await again.StopAsync();

        var place = server.Place;
        if (how == "file put back in its folder") File.Move(file + ".old", file, overwrite: true);
        if (how == "file deleted") File.Delete(file);
        if (how == "file copied to an empty folder")
        {
            place = await TestDatabase.CreateEmptyAsync();
            Directory.CreateDirectory(place.Folder);
            File.Copy(file, Path.Combine(place.Folder, "pakhouse.db"));
        }

        var refused = await Assert.ThrowsAsync<StartupException>(() => TestServer.StartOnAsync(place, server.Clock));
        Assert.Contains("restore finish", refused.Message, StringComparison.Ordinal);
        await place.DeleteAsync();
    }

    [Fact, PostgresOnly("a copy made by PostgreSQL")]
    public async Task Copy_of_the_database_is_known_by_PostgreSQLs_own_numbers_and_can_be_accepted_as_moved()
    {
        var server = await TestServer.StartAsync();
        var acme = await server.AddAcmeAsync();
        var key = await server.AddKeyAsync(acme.Owner, acme.Root);
        await server.StopAsync();
        var copy = await server.Place.CopyAsync();
        await Assert.ThrowsAsync<StartupException>(() => TestServer.StartOnAsync(copy, server.Clock));
        await using (var app = Server.Program.Build(copy.Settings, server.Clock, null, () => Task.FromResult(TimeBounds.Any)))
            await app.Services.GetRequiredService<Restore>().MovedAsync();
        await using var moved = await TestServer.StartOnAsync(copy, server.Clock);
        Assert.Equal(HttpStatusCode.OK, (await moved.ExchangeAsync(key)).Status);
        await server.Place.DeleteAsync();
    }

    [Fact]
    public async Task Damaged_or_unfinished_back_up_is_refused_and_a_database_in_use_is_left_alone()
    {
        await using var scene = await Scene.StartAsync();
        var manifest = await Backup.CheckAsync(scene.Folder);
        Assert.Contains(manifest.Files, file => file.Name == "pakhouse.db");
        var inUse = await Assert.ThrowsAsync<StartupException>(() =>
            Backup.PutBackAsync(scene.Folder, scene.Source.Options, (_, _, _) => { })
        );
        Assert.Contains("Nothing was changed", inUse.Message, StringComparison.Ordinal);
        foreach (var file in manifest.Files)
        {
            var path = Path.Combine(scene.Folder, file.Name);
            var whole = await File.ReadAllBytesAsync(path);
            var bytes = (byte[])whole.Clone();
            bytes[bytes.Length / 2] ^= 1;
            await File.WriteAllBytesAsync(path, bytes);
            Assert.Contains(
                "damaged",
                (await Assert.ThrowsAsync<StartupException>(() => Backup.CheckAsync(scene.Folder))).Message,
                StringComparison.Ordinal
            );
            await File.WriteAllBytesAsync(path, whole);
        }

        await Backup.CheckAsync(scene.Folder);
        File.Delete(Path.Combine(scene.Folder, "manifest.json"));
        Assert.Contains(
            "not a finished back-up",
            (await Assert.ThrowsAsync<StartupException>(() => Backup.CheckAsync(scene.Folder))).Message,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void File_of_ended_keys_is_ids_or_our_own_export_and_nothing_of_it_is_repeated()
    {
        Assert.Equal(["WnSeVe6cVioc6VVs", "0123456789abcdef"], EndedKeyFile.Parse("WnSeVe6cVioc6VVs\r\n\r\n0123456789abcdef", null).KeyIds);
        var csv = new System.Text.StringBuilder("\uFEFF");
        Csv.AppendRow(csv, "time", "action", "target id", "target", "detail");
        Csv.AppendRow(csv, "2031-01-02T00:00:00Z", "PAT Revoke", "WnSeVe6cVioc6VVs", "a \"quoted\",\nname", null);
        Csv.AppendRow(csv, "2031-01-02T00:00:00Z", "PAT Rotate", "0123456789abcdef", "", "overlap ended");
        Csv.AppendRow(csv, "2031-01-02T00:00:00Z", "PAT Rotate", "0123456789abcdeg", "", "0123456789abcdef");
        Csv.AppendRow(csv, "2031-01-02T00:00:00Z", "Member Remove", "someone", "", null);
        Csv.AppendRow(csv, "2030-01-02T00:00:00Z", "Member Remove", "someone before", "", null);
        var read = EndedKeyFile.Parse(csv.ToString(), new DateTimeOffset(2031, 1, 1, 0, 0, 0, TimeSpan.Zero));
        Assert.Equal(["WnSeVe6cVioc6VVs", "0123456789abcdef"], read.KeyIds);
        Assert.Contains("Member Remove  someone", Assert.Single(read.OtherChanges), StringComparison.Ordinal);

        foreach (var wrong in (string[])["WnSeVe6cVioc6VVs\nph_pak1_secret", "WnSeVe6cVioc6VVs,x", "time,action,target id\nx,PAT Revoke"])
        {
            var refused = Assert.Throws<StartupException>(() => EndedKeyFile.Parse(wrong, null));
            Assert.Contains("Line 2", refused.Message.Replace("Line 1", "Line 2", StringComparison.Ordinal), StringComparison.Ordinal);
            Assert.DoesNotContain("secret", refused.Message, StringComparison.Ordinal);
        }
    }

    [Theory]
    [
        InlineData(-1, null, 1 << 20),
        InlineData(5, null, 1 << 20),
        InlineData(1 << 19, null, 2 << 20),
        InlineData((1 << 20) - 1, null, 2 << 20)
    ]
    [InlineData(5, 7L, 1 << 20), InlineData(5, (long)(1 << 20), 2 << 20), InlineData((1 << 20) - 1, (long)((1 << 20) - 1), 1 << 20)]
    public void Next_entry_is_the_first_of_a_list_that_no_lost_key_can_have_had(long last, long? seen, long expected) =>
        Assert.Equal(
            expected,
            Restore.NextIndex(
                new DatabaseState { StatusIndex = last },
                seen is null ? null : new DatabaseState { StatusIndex = seen.Value }
            )
        );

    /// <summary>A back-up, and what happened after it: a key was ended, another was made and ended. The machine is lost then.</summary>
    private sealed class Scene : IAsyncDisposable
    {
        private readonly DirectoryInfo temporary = Directory.CreateTempSubdirectory("pakhouse-test-");

        public required FakeTimeProvider Clock { get; init; }
        public required TestDatabase Source { get; init; }
        public required TestDatabase Target { get; init; }
        public required string Address { get; init; }
        public required Acme Acme { get; init; }
        public string Folder => Path.Combine(temporary.FullName, "backup");
        public string Kept { get; private set; } = "";
        public (string Uri, long Index) KeptEntry { get; private set; }
        public string EndedKey { get; private set; } = "";
        public (string Uri, long Index) EndedEntry { get; private set; }
        public string LateKey { get; private set; } = "";
        public (string Uri, long Index) LateEntry { get; private set; }
        public string Session { get; private set; } = "";
        public string SigningKeyId { get; private set; } = "";
        public long VersionSeen { get; private set; }

        public string Ended => TestServer.IdOf(EndedKey);

        public string LateKeyId => TestServer.IdOf(LateKey);

        public static async Task<Scene> StartAsync()
        {
            var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var scene = new Scene
            {
                Clock = server.Clock,
                Source = server.Place,
                Target = await TestDatabase.CreateEmptyAsync(),
                Address = server.Address,
                Acme = acme,
            };
            (scene.Kept, scene.EndedKey) = (
                await server.AddKeyAsync(acme.Owner, acme.Root),
                await server.AddKeyAsync(acme.Owner, acme.Root)
            );
            (scene.KeptEntry, scene.EndedEntry) = (
                StatusListTests.EntryOf(await server.ExchangeAsync(scene.Kept)),
                StatusListTests.EntryOf(await server.ExchangeAsync(scene.EndedKey))
            );
            scene.Session = (
                await server
                    .Get<SessionStore>()
                    .BeginAsync((await server.Users.FindAsync(acme.Owner))!, SignInMethod.Password, IPAddress.Loopback, null)
            )!;
            Assert.False(
                (
                    await server.Invitations.InviteAsync(
                        Actor.Session(acme.Owner),
                        acme.Root,
                        "guest@acme.example",
                        [new OrganizationRoles(acme.Root, NameSet.Empty)]
                    )
                ).IsRefused
            );
            await server.Get<Passwords>().RequestResetAsync("person1@acme.example", null);
            scene.SigningKeyId = server.Get<SigningKeys>().Published.Single().Public.Id;

            await Backup.MakeAsync(server.Get<Database>(), scene.Folder, server.Clock, (_, _, _) => { });

            server.Clock.Advance(TimeSpan.FromMinutes(10));
            scene.LateKey = await server.AddKeyAsync(acme.Owner, acme.Root);
            scene.LateEntry = StatusListTests.EntryOf(await server.ExchangeAsync(scene.LateKey));
            foreach (var key in (string[])[scene.LateKey, scene.EndedKey])
                Assert.False((await server.Keys.DeleteAsync(Actor.Session(acme.Owner), acme.Root, TestServer.IdOf(key))).IsRefused);
            scene.VersionSeen = StatusListTests.Version(await StatusListTests.FetchAsync(server));
            await server.StopAsync();
            server.Clock.Advance(TimeSpan.FromMinutes(10));
            return scene;
        }

        public Task PutBackAsync() => Backup.PutBackAsync(Folder, TargetOptions, (_, _, _) => { });

        private PakhouseOptions TargetOptions => Target.Options;

        /// <summary>As a command of the program: nothing listens.</summary>
        public Microsoft.AspNetCore.Builder.WebApplication Command() =>
            Server.Program.Build(Target.Settings, Clock, null, () => Task.FromResult(TimeBounds.Any), acceptsPause: true);

        public async Task<RestoreReport> FinishAsync(params string[] ended)
        {
            await using var app = Command();
            return await app.Services.GetRequiredService<Restore>().FinishAsync(new RestoreOrder(ended, false));
        }

        public async Task<RestoreReport> FinishAsync(bool newSigningKey)
        {
            await using var app = Command();
            return await app.Services.GetRequiredService<Restore>().FinishAsync(new RestoreOrder([], newSigningKey));
        }

        public Task<TestServer> ServeAsync() => TestServer.StartOnAsync(Target, Clock, $"--Pakhouse:PublicAddress={Address}");

        public async ValueTask DisposeAsync()
        {
            temporary.Delete(recursive: true);
            await Source.DeleteAsync();
            await Target.DeleteAsync();
        }
    }
}
