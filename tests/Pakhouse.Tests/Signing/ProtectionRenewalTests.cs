using System.Data.Common;
using System.Net;
using Dapper;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.WebUtilities;
using Microsoft.Extensions.Primitives;
using OtpNet;

namespace Pakhouse.Tests;

/// <summary>After a flaw of Data Protection: what was encrypted or given out by the old keys is encrypted anew, or void.</summary>
public sealed class ProtectionRenewalTests
{
    private static readonly IPAddress here = IPAddress.Parse("198.51.100.7");

    /// <summary>Who encrypts, and what becomes of it. A source file that is new here must be thought of in the renewal.</summary>
    private static readonly Dictionary<string, string> users = new(StringComparer.Ordinal)
    {
        ["SigningKeys.cs"] = SigningKeys.Purpose,
        ["SecondFactor.cs"] = SecondFactor.Purpose,
        ["Mails.cs"] = Mails.Purpose,
        ["WebhookSecrets.cs"] = WebhookSecrets.Purpose,
        ["KeptForms.cs"] = "deleted with its session",
        ["SignInStateCookies.cs"] = "a cookie, void",
        ["IdempotencyTokens.cs"] = "in a form, void",
        ["ProviderSignOut.cs"] = "in an address, void",
        ["ProtectionRenewal.cs"] = "itself",
    };

    [Fact, SqliteOnly("it reads source files")]
    public void Everything_that_encrypts_is_encrypted_anew_or_void()
    {
        var found = Directory
            .GetFiles(Path.Combine(Repository.Root, "src", "Pakhouse.Server"), "*.cs", SearchOption.AllDirectories)
            .Where(file =>
                File.ReadAllText(file) is var text
                && (text.Contains("IDataProtect", StringComparison.Ordinal) || text.Contains(".CreateProtector(", StringComparison.Ordinal))
            )
            .Select(file => Path.GetFileName(file))
            .Where(name => name != "ProtectionKeyRing.cs"); // of which they are made
        Assert.Equal(users.Keys.Order(StringComparer.Ordinal), found.Order(StringComparer.Ordinal));
        Assert.Empty(ProtectionRenewal.Columns.Select(column => column.Purpose).Except(users.Values, StringComparer.Ordinal));
        Assert.Equal(4, ProtectionRenewal.Columns.Select(column => column.Purpose).Distinct(StringComparer.Ordinal).Count());
    }

    [Fact]
    public async Task Nothing_is_left_of_the_old_keys_and_all_but_sessions_goes_on()
    {
        await using var scene = await WebhooksTests.Scene.StartAsync();
        var (server, acme) = (scene.Server, scene.Acme);
        await server.Get<MailSender>().StopAsync(CancellationToken.None);
        var key = await server.AddKeyAsync(acme.Owner, acme.Root);
        var signingKey = Assert.Single(server.Get<SigningKeys>().Published).Public.Id;
        var owner = (await server.Users.FindAsync(acme.Owner))!;
        var (secret, _) = server.Get<SecondFactor>().Offer(owner.Id); // whose mail waits
        Assert.False((await server.Get<SecondFactor>().AddAsync(Actor.Session(owner.Id), secret, CodeAt(secret, server))).IsRefused);
        var newSecret = (await scene.Webhooks.RotateSecretAsync(scene.Owner, acme.Root, scene.Id)).Value.Secret;
        var member = await server.AddMemberAsync(acme.Root, "viewer");
        var visitor = await Visitor.SignInAsync(server, (await server.Users.FindAsync(member))!.Email);
        var session = Guid.Parse((await server.ScalarAsync<string>($"SELECT id FROM sessions WHERE user_id = '{member}'"))!);
        var form = new FormCollection(new Dictionary<string, StringValues>(StringComparer.Ordinal) { ["Name"] = "Key 1" });
        await server.Get<KeptForms>().KeepAsync(session, "/here", form);
        server.Clock.Advance(TimeSpan.FromMinutes(5)); // the code that turned the factor on is past

        // The control: the same search finds every column that is encrypted, by the one key there is.
        var old = Assert.Single(server.Get<ProtectionKeyRing>().GetAllKeys()).KeyId;
        var before = await EncryptedAsync(server.Place);
        Assert.Equal(
            [
                "authenticators.secret",
                "mails.content",
                "sessions.kept_form",
                "signing_keys.private_key",
                "webhooks.old_secret",
                "webhooks.secret",
            ],
            before.Select(one => one.Column).Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal)
        );
        Assert.All(before, one => Assert.Equal(old, one.Key));

        var report = await server.Get<ProtectionRenewal>().RunAsync();
        Assert.NotEqual(old, report.KeyId);
        Assert.Equal(1, report.Sessions);
        Assert.All(report.Columns, column => Assert.True(column is { Rows: > 0, Unreadable: 0 }, column.What));
        await server.StopAsync();
        var after = await EncryptedAsync(server.Place);
        Assert.All(after, one => Assert.Equal(report.KeyId, one.Key));
        Assert.Equal(
            before.Where(one => one.Column != "sessions.kept_form").Select(one => one.Column).Order(StringComparer.Ordinal),
            after.Select(one => one.Column).Order(StringComparer.Ordinal)
        );

        await using var next = await TestServer.StartOnAsync(server.Place, server.Clock, "--Pakhouse:WebhookNetworksAllowed=127.0.0.0/8");
        await next.Get<WebhookSender>().StopAsync(CancellationToken.None);
        Assert.Equal(report.KeyId, Assert.Single(next.Get<ProtectionKeyRing>().GetAllKeys()).KeyId);

        // The old cookie opens nothing; who signs in again comes in.
        var holder = new Visitor(next) { Cookies = visitor.Cookies };
        Assert.Equal(HttpStatusCode.Redirect, (await holder.GetAsync("/account")).Status);
        var again = await Visitor.SignInAsync(next, (await next.Users.FindAsync(member))!.Email);
        Assert.Equal(HttpStatusCode.OK, (await again.GetAsync("/account")).Status);

        Assert.Equal(signingKey, Assert.Single(next.Get<SigningKeys>().Published).Public.Id);
        Assert.Equal(HttpStatusCode.OK, (await next.ExchangeAsync(key)).Status);
        Assert.False((await next.Get<SecondFactor>().CheckAsync(owner, CodeAt(secret, next), here)).IsRefused);
        Assert.Contains(
            await next.MailsToAsync(owner.Email),
            mail => mail.TextBody!.Contains("code of that app", StringComparison.Ordinal)
        );

        Assert.False((await next.Get<Server.Webhooks>().TestAsync(scene.Owner, acme.Root, scene.Id)).IsRefused);
        await next.Get<WebhookSender>().RunAsync();
        var message = scene.Receiver.All[^1];
        byte[][] secrets = [.. new[] { newSecret, scene.Secret }.Select(text => Convert.FromBase64String(text["whsec_".Length..]))];
        Assert.Equal(WebhookSignature.Of(secrets, message.Id, long.Parse(message.Timestamp), message.Body), message.Signature);
        Assert.Equal(
            1,
            await next.ScalarAsync<long>(
                $"SELECT COUNT(*) FROM activity WHERE action = '{AuditAction.ProtectionKeysRenew}' AND target = '{report.KeyId}'"
            )
        );
    }

    /// <summary>
    /// It broke off after the change and before the old keys were destroyed: they are still there, and a second run ends them.
    /// </summary>
    [Fact]
    public async Task A_run_that_broke_off_is_run_again_and_what_nothing_can_read_is_left_and_told()
    {
        await using var server = await TestServer.StartAsync();
        var acme = await server.AddAcmeAsync();
        var key = await server.AddKeyAsync(acme.Owner, acme.Root);
        var keys = server.Get<Database>().ProtectionKeys;
        var old = Assert.Single(keys.GetAllElements());
        var first = await server.Get<ProtectionRenewal>().RunAsync();
        keys.StoreElement(old, $"key-{old.Attribute("id")!.Value}"); // as if it had not been destroyed any more
        await server.StopAsync();
        await using var next = await TestServer.StartOnAsync(server.Place, server.Clock);
        var zero = TestDatabase.IsPostgres ? "'\\x00'" : "x'00'";
        await next.ExecuteAsync(
            $"INSERT INTO mails (id, recipient, content, created_at, due_at, attempts) VALUES ('x', 'a@b.example', {zero}, 0, 0, 0)"
        );

        var second = await next.Get<ProtectionRenewal>().RunAsync();
        Assert.NotEqual(first.KeyId, second.KeyId);
        Assert.Equal(1, second.Columns.Single(column => column.What == "waiting mails").Unreadable);
        Assert.Equal(second.KeyId, Guid.Parse(Assert.Single(next.Get<Database>().ProtectionKeys.GetAllElements()).Attribute("id")!.Value));
        Assert.All(await EncryptedAsync(server.Place), one => Assert.Equal(second.KeyId, one.Key));
        await next.StopAsync();
        await using var last = await TestServer.StartOnAsync(server.Place, server.Clock);
        Assert.Equal(HttpStatusCode.OK, (await last.ExchangeAsync(key)).Status);
    }

    private static string CodeAt(string secret, TestServer server) =>
        new Totp(Base32Encoding.ToBytes(secret)).ComputeTotp(server.Clock.GetUtcNow().UtcDateTime);

    /// <summary>Every value in the database that Data Protection encrypted, whatever its table, as bytes or as text.</summary>
    private static async Task<List<(string Column, Guid Key)>> EncryptedAsync(TestDatabase place)
    {
        await using var connection = place.Connect();
        await connection.OpenAsync();
        var tables = (
            await connection.QueryAsync<string>(
                TestDatabase.IsPostgres
                    ? "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
                    : "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            )
        ).AsList();
        var found = new List<(string, Guid)>();
        foreach (var table in tables)
        {
            await using var reader = (DbDataReader)await connection.ExecuteReaderAsync($"SELECT * FROM {table}");
            while (await reader.ReadAsync())
                for (var i = 0; i < reader.FieldCount; i++)
                    if (ProtectionKeyRing.KeyOf(Bytes(reader.GetValue(i))) is { } key)
                        found.Add(($"{table}.{reader.GetName(i)}", key));
        }

        return found;
    }

    private static byte[] Bytes(object value) =>
        value switch
        {
            byte[] bytes => bytes,
            string text when text.StartsWith("CfDJ8", StringComparison.Ordinal) => WebEncoders.Base64UrlDecode(text),
            _ => [],
        };
}
