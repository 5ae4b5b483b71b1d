using System.Xml.Linq;

namespace Pakhouse.Tests;

/// <summary>The keys of Data Protection: one bad thing among them does not spoil the rest, and the words say which it is.</summary>
public sealed class ProtectionKeysTests : IDisposable
{
    private readonly DirectoryInfo temporary = Directory.CreateTempSubdirectory("pakhouse-test-");

    private string Folder => Path.Combine(temporary.FullName, "keys");

    public void Dispose() => temporary.Delete(recursive: true);

    [Fact]
    public void A_key_is_stored_whole_in_a_file_of_its_owner_alone_and_nothing_is_left_beside_it()
    {
        var store = new ProtectionKeyFiles(Folder);
        store.StoreElement(Key("a"), "key-a");
        store.StoreElement(Key("b"), "key-b");

        Assert.Equal(
            ["key-a.xml", "key-b.xml"],
            Directory.GetFileSystemEntries(Folder).Select(Path.GetFileName).Order(StringComparer.Ordinal)
        );
        foreach (var file in Directory.GetFiles(Folder))
            if (!OperatingSystem.IsWindows())
                Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(file));
        Assert.Equal(2, store.GetAllElements().Count);
        Assert.Throws<ArgumentException>(() => store.StoreElement(Key("c"), "../key-c"));
    }

    [Theory, InlineData(""), InlineData("<key id='c'>"), InlineData("\0\0\0\0")]
    public void A_key_that_cannot_be_read_is_named_and_the_others_are_used(string content)
    {
        var store = new ProtectionKeyFiles(Folder);
        store.StoreElement(Key("a"), "key-a");
        File.WriteAllText(Path.Combine(Folder, "key-c.xml"), content);
        File.Copy(Path.Combine(Folder, "key-a.xml"), Path.Combine(Folder, "key-a (copy).xml"));
        File.WriteAllText(Path.Combine(Folder, ".key-d.xml.new"), "<ke");

        Assert.Equal("a", Assert.Single(store.GetAllElements()).Attribute("id")!.Value);
        Assert.Equal(2, store.Faults.Count);
        Assert.Contains("key-c.xml", store.Faults.Keys);
    }

    [Fact]
    public void A_revocation_that_cannot_be_read_stops_the_reading()
    {
        var store = new ProtectionKeyFiles(Folder);
        store.StoreElement(Key("a"), "key-a");
        File.WriteAllText(Path.Combine(Folder, "revocation-1.xml"), "");
        Assert.Contains("revocation-1.xml", Assert.Throws<StartupException>(store.GetAllElements).Message, StringComparison.Ordinal);
    }

    [Fact, PostgresOnly("a trigger refuses the row; the system tests make SQLite's folder read-only")]
    public async Task Where_no_new_key_can_be_stored_the_newest_that_can_be_read_goes_on_and_the_log_says_so()
    {
        await using var server = await TestServer.StartAsync();
        var ring = server.Get<ProtectionKeyRing>();
        var present = Assert.Single(ring.GetAllKeys());
        await server.BreakInsertsAsync("data_protection_keys");

        var later = TimeProvider.System.GetUtcNow().AddDays(200); // its date is over long since
        Assert.Equal(present.KeyId, ring.CreateNewKey(later, later.AddDays(90)).KeyId);
        Assert.Contains(
            server.Log.Lines,
            line => line.StartsWith("Warning", StringComparison.Ordinal) && line.Contains("cannot be stored", StringComparison.Ordinal)
        );

        // The control: with no key to go on with there is nothing but a refusal.
        await server.ExecuteAsync("DELETE FROM data_protection_keys");
        Assert.Contains(
            "none can be stored",
            Assert.Throws<StartupException>(() => ring.CreateNewKey(later, later.AddDays(90))).Message,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public async Task Restore_is_said_of_a_missing_key_alone()
    {
        await using var server = await TestServer.StartAsync();
        var ring = server.Get<ProtectionKeyRing>();
        var good = (await server.ScalarAsync<byte[]>("SELECT private_key FROM signing_keys"))!;

        Assert.Contains("damaged", ring.Explain(good.AsSpan(0, 10)), StringComparison.Ordinal);
        Assert.Contains("damaged", ring.Explain(good), StringComparison.Ordinal); // its key is there and good
        var stranger = good.ToArray();
        stranger[5] ^= 1;
        Assert.Contains("is missing in", ring.Explain(stranger), StringComparison.Ordinal);
        Assert.Contains("Restore the Data Protection keys", ring.Explain(stranger), StringComparison.Ordinal);
        ring.RevokeKey(ring.GetAllKeys().Single().KeyId);
        Assert.Contains("was revoked", ring.Explain(good), StringComparison.Ordinal);
        Assert.DoesNotContain("back-up", ring.Explain(good), StringComparison.Ordinal);
    }

    private static XElement Key(string id) => new("key", new XAttribute("id", id));
}
