using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using Dapper;
using Microsoft.AspNetCore.Routing;

namespace Pakhouse.Tests;

/// <summary>
/// R7 on every route that the server has, those of tomorrow included: whoever comes with a key, with a token got from one, or with an API
/// key's token can make no key, widen, prolong, revive or rotate none, and touch nothing that somebody signs in with.
/// </summary>
public partial class BreedingTests
{
    /// <summary>
    /// What a key may change (docs, "Roles and permissions"): tables beyond these must stay as they are, whatever they hold.
    /// </summary>
    private static readonly string[] open =
    [
        "activity",
        "counters",
        "invitation_counts",
        "invitation_parts",
        "invitations",
        "key_networks",
        "key_use_hours",
        "mails",
        "memberships",
        "schemaversions",
        "webhook_attempts",
        "webhook_messages",
        "data_protection_keys",
        "sign_in_attempts",
    ];

    private const string Bred = "bred@acme.example";

    private sealed record Caller(string Name, Acme Acme, Guid User, string KeyId, string Authorization);

    [Fact]
    public async Task Nothing_that_comes_with_a_key_makes_or_widens_one_or_touches_a_sign_in()
    {
        await using var server = await TestServer.StartAsync();
        var walked = 0;
        foreach (var kind in (string[])["token", "API key's token", "key itself"])
        {
            var caller = await AddCallerAsync(server, kind);
            foreach (var (method, pattern) in Routes(server))
            {
                var before = await ReadAsync(server);
                foreach (var isForm in (bool[])[false, true])
                {
                    using var request = Request(method, pattern, caller, isForm);
                    request.Headers.TryAddWithoutValidation("Authorization", caller.Authorization);
                    (await server.Http.SendAsync(request)).Dispose();
                    walked++;
                }

                var after = await ReadAsync(server);
                var faults = Compare(before, after);
                Assert.True(faults.Count == 0, $"{kind}: {method} {pattern}: {string.Join("; ", faults)}");
                if (!await IsAliveAsync(server, caller))
                    caller = await AddCallerAsync(server, kind); // it may end its own key, and leave
            }
        }

        Assert.True(walked > 100, $"{walked}");
    }

    /// <summary>The control: each of these is such a fault, and is found.</summary>
    [Fact]
    public async Task Every_kind_of_fault_would_be_found()
    {
        await using var server = await TestServer.StartAsync();
        var acme = await server.AddAcmeAsync();
        var key = TestServer.IdOf(await server.AddKeyAsync(acme.Owner, acme.Root, TimeSpan.FromDays(1), "openid"));
        var suspended = TestServer.IdOf(await server.AddKeyAsync(acme.Owner, acme.Root));
        var deleted = TestServer.IdOf(await server.AddKeyAsync(acme.Owner, acme.Root));
        await server.ExecuteAsync(
            $"UPDATE access_keys SET suspended_at = 1 WHERE id = '{suspended}'; UPDATE access_keys SET deleted_at = 1 WHERE id = "
                + $"'{deleted}'"
        );
        foreach (
            var fault in new Func<Task>[]
            {
                () => server.AddKeyAsync(acme.Owner, acme.Root),
                () => server.ExecuteAsync($"UPDATE access_keys SET expires_at = expires_at + 1 WHERE id = '{key}'"),
                () => server.ExecuteAsync($"UPDATE access_keys SET expires_at = NULL WHERE id = '{key}'"),
                () => server.ExecuteAsync($"UPDATE access_keys SET scopes = 'openid email' WHERE id = '{key}'"),
                () => server.ExecuteAsync($"UPDATE access_keys SET successor_id = 'x' WHERE id = '{key}'"),
                () => server.ExecuteAsync($"UPDATE access_keys SET suspended_at = NULL WHERE id = '{suspended}'"),
                () => server.ExecuteAsync($"UPDATE access_keys SET deleted_at = NULL WHERE id = '{deleted}'"),
                () => server.ExecuteAsync($"UPDATE organizations SET policy = '{{}}' WHERE id = '{acme.Root}'"),
                () => server.ExecuteAsync($"UPDATE users SET password_hash = 'x' WHERE id = '{acme.Owner}'"),
                () => server.ExecuteAsync($"UPDATE users SET email = 'x@acme.example' WHERE id = '{acme.Owner}'"),
                () => server.ExecuteAsync("INSERT INTO setup_codes (hash, created_at) SELECT hash, 1 FROM access_keys LIMIT 1"),
            }
        )
        {
            var before = await ReadAsync(server);
            await fault();
            Assert.NotEmpty(Compare(before, await ReadAsync(server)));
        }

        // And what a key may do is no fault.
        var untouched = await ReadAsync(server);
        await server.Keys.DeleteAsync(Actor.Key(acme.Owner, key, TestServer.EveryScope), acme.Root, key);
        Assert.Empty(Compare(untouched, await ReadAsync(server)));
    }

    private static IEnumerable<(string Method, RoutePattern Pattern)> Routes(TestServer server) =>
        from endpoint in server.Get<EndpointDataSource>().Endpoints.OfType<RouteEndpoint>()
        from method in endpoint.Metadata.GetMetadata<HttpMethodMetadata>()?.HttpMethods ?? ["GET", "POST"] // pages take both
        orderby endpoint.RoutePattern.RawText, method
        select (method, new RoutePattern(endpoint.RoutePattern.RawText ?? "/"));

    private sealed record RoutePattern(string Text)
    {
        public override string ToString() => Text;
    }

    private static HttpRequestMessage Request(string method, RoutePattern pattern, Caller caller, bool isForm, string role = "owner")
    {
        var path = Parameter()
            .Replace(
                pattern.Text,
                parameter =>
                    parameter.Groups["name"].Value.ToLowerInvariant() switch
                    {
                        var name
                            when name.Contains("user", StringComparison.Ordinal) || name.Contains("member", StringComparison.Ordinal) =>
                            caller.User.ToString(),
                        var name when name.Contains("key", StringComparison.Ordinal) => caller.KeyId,
                        var name when name.Contains("organization", StringComparison.Ordinal) => caller.Acme.Root.ToString(),
                        _ => parameter.Value.Contains(":guid", StringComparison.Ordinal) ? caller.Acme.Root.ToString()
                        : parameter.Value.Contains(":int", StringComparison.Ordinal) ? "1"
                        : caller.KeyId,
                    }
            );
        var fields = new Dictionary<string, object>(StringComparer.Ordinal)
        {
            ["id"] = KeyFormat.NewId(),
            ["name"] = "Bred",
            ["email"] = Bred,
            ["userEmail"] = Bred,
            ["userId"] = caller.User,
            ["roles"] = new[] { role },
            ["scopes"] = Array.Empty<string>(),
            ["expires"] = "never",
            ["expiresAt"] = "2027-01-01T00:00:00Z",
            ["lifetimeDays"] = 30,
            ["overlapHours"] = 24,
            ["overlapSeconds"] = 86400,
            ["url"] = "https://hooks.example.com/",
            ["enabled"] = true,
            ["disabled"] = false,
            ["password"] = "correct horse battery",
            ["newPassword"] = "another horse battery",
            ["suspended"] = false,
            ["action"] = "resume",
            ["policy"] = new { },
            ["organizationsAndRoles"] = new[] { new { organizationId = caller.Acme.Root, roles = new[] { role } } },
        };
        HttpContent content = isForm
            ? new FormUrlEncodedContent(
                fields.Where(field => field.Value is string).Select(field => KeyValuePair.Create(field.Key, (string)field.Value))
            )
            : new StringContent(JsonSerializer.Serialize(fields), Encoding.UTF8, "application/json");
        return new(new HttpMethod(method), $"/{path.TrimStart('/')}?action=invite&organizationId={caller.Acme.Root}&userId={caller.User}")
        {
            Content = method is "GET" or "HEAD" ? null : content,
        };
    }

    private static async Task<Caller> AddCallerAsync(TestServer server, string kind, string[]? scopes = null)
    {
        var acme = await server.AddAcmeAsync();
        if (kind == "API key's token")
        {
            using var made = (
                await server
                    .Get<ApiKeys>()
                    .CreateAsync(
                        Actor.Session(acme.Owner),
                        acme.Root,
                        new NewApiKey(KeyFormat.NewId(), "Service", null, NameSet.All, [new ApiKeyRoles(acme.Root, NameSet.Of("owner"))])
                    )
            ).Value;
            var answer = await server.PostAsync("/auth/v1/api-key/token", ("name", "Service"), ("secret", made.Reveal()));
            return new(kind, acme, acme.Owner, made.Id, $"Bearer {answer.Token}");
        }

        var key = await server.AddKeyAsync(acme.Owner, acme.Root, TimeSpan.FromDays(30), scopes ?? [.. TestServer.EveryScope]);
        return new(
            kind,
            acme,
            acme.Owner,
            TestServer.IdOf(key),
            $"Bearer {(kind == "key itself" ? key : (await server.ExchangeAsync(key)).Token)}"
        );
    }

    private static async Task<bool> IsAliveAsync(TestServer server, Caller caller) =>
        await server.ScalarAsync<long>(
            $"""
            SELECT COUNT(*) FROM access_keys k JOIN memberships m ON m.id = k.membership_id JOIN organizations o ON o.id = m.organization_id
            WHERE k.id = '{caller.KeyId}' AND k.deleted_at IS NULL AND m.ended_at IS NULL AND o.deleted_at IS NULL AND o.disabled_at IS NULL
            """
        ) == 1;

    /// <summary>Every row of every table that is not open, as text under its table and key.</summary>
    private static Task<Dictionary<string, IDictionary<string, object?>>> ReadAsync(TestServer server) =>
        server
            .Get<Database>()
            .ReadAsync(async connection =>
            {
                var tables = await connection.QueryAsync<string>(
                    TestDatabase.IsPostgres
                        ? "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
                        : "SELECT name FROM sqlite_master WHERE type = 'table'"
                );
                var rows = new Dictionary<string, IDictionary<string, object?>>(StringComparer.Ordinal);
                foreach (var table in tables.Except(open))
                    foreach (
                        IDictionary<string, object?> row in await connection.QueryAsync(
                            $"SELECT * FROM \"{table}\"{(table == "users" ? " WHERE kind = 'person'" : "")}"
                        )
                    ) // nobody signs in as a service
                        rows[
                            $"{table} {Text(row.Values.First())}{(table is "access_keys" or "organizations" ? "" : string.Concat(row.Values.Select(Text)))}"
                        ] = row;
                return rows;
            });

    private static List<string> Compare(
        Dictionary<string, IDictionary<string, object?>> before,
        Dictionary<string, IDictionary<string, object?>> after
    )
    {
        var faults = after
            .Keys.Except(before.Keys)
            .Where(row => !row.StartsWith("organizations ", StringComparison.Ordinal))
            .Select(row => $"new: {Short(row)}")
            .Concat(before.Keys.Except(after.Keys).Select(row => $"gone: {Short(row)}"))
            .ToList();
        foreach (var (name, was) in before.Where(row => row.Value.ContainsKey("id") && after.ContainsKey(row.Key)))
            foreach (var (column, value) in after[name])
            {
                if (name.StartsWith("organizations ", StringComparison.Ordinal) && column != "policy")
                    continue; // a new name or a sub-organization is none of this; a wider policy is
                if (
                    Text(was[column]) == Text(value)
                    || column.StartsWith("status", StringComparison.Ordinal) && column != "status_index"
                    || column == "deleted_at" && was[column] is null
                )
                    continue;
                faults.Add($"changed: {name} {column}");
            }

        return faults;

        static string Short(string row) => row.Length <= 120 ? row : row[..120];
    }

    private static string Text(object? value) => value is byte[] bytes ? Convert.ToHexString(bytes) : $"{value}";

    [GeneratedRegex(@"\{\**(?<name>[A-Za-z]+)[^}]*\}", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex Parameter();
}
