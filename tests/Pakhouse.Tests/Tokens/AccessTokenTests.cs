using System.Buffers;
using System.Text;
using System.Text.Json;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;

namespace Pakhouse.Tests;

/// <summary>The token is written by hand; Microsoft.IdentityModel is the judge of it, from the key set as a verifier gets it.</summary>
public class AccessTokenTests
{
    private static readonly TokenGrant plain = new()
    {
        KeyId = "0123456789ABCDEF",
        IsApiKey = false,
        StatusIndex = 3,
        KeyExpiresAt = null,
        IsReplaced = false,
        KeyEndsAt = null,
        LifetimeMax = null,
        UserId = "0190f3a2-7c11-7d3e-9b52-3f1c8a6d4e70",
        UserName = "Ada",
        UserEmail = "ada@example.com",
        OrganizationId = "0190f3a2-7c11-7d3e-9b52-3f1c8a6d4e71",
        RootOrganizationId = "0190f3a2-7c11-7d3e-9b52-3f1c8a6d4e72",
        IsMember = true,
        Roles = NameSet.Of("owner", "builder"),
        Scopes = NameSet.Of("openid", "profile", "email"),
    };

    public static TheoryData<string, string> Names()
    {
        var data = new TheoryData<string, string>();
        foreach (var algorithm in (string[])["ES256", "RS256"])
            foreach (
            var name in (string[])["Ada", "Zoë Müller", "鍵 مفتاح 👩‍🚀", "\"quoted\" \\ / </script> \u007F\u2028", new string('ü', 100)]
        )
                data.Add(algorithm, name);
        return data;
    }

    [Theory]
    [MemberData(nameof(Names))]
    public async Task Every_claim_is_read_as_it_was_granted_whatever_the_name_and_the_algorithm(string algorithm, string name)
    {
        await using var server = await TestServer.StartAsync($"--Pakhouse:SigningAlgorithm={algorithm}");
        var now = server.Clock.GetUtcNow();
        TokenGrant[] grants =
        [
            plain with
            {
                UserName = name,
            },
            plain with
            {
                IsApiKey = true,
                IsMember = false,
                Roles = NameSet.Empty,
                Scopes = NameSet.Of("openid"),
                UserName = name,
            },
            plain with
            {
                StatusIndex = StatusLists.EntriesPerList + 7,
                Roles = NameSet.Of(Enumerable.Range(0, 200).Select(i => $"role-{i}")),
                UserName = name,
            },
            plain with
            {
                Scopes = NameSet.Of("profile"),
                KeyEndsAt = now.AddSeconds(90),
                LifetimeMax = TimeSpan.FromMinutes(10),
                UserName = name,
            },
        ];
        foreach (var grant in grants)
        {
            var token = Write(server, grant, now);
            var keys = new JsonWebKeySet((await server.GetAsync("/.well-known/jwks.json")).Body);
            var result = await new JsonWebTokenHandler { MapInboundClaims = false }.ValidateTokenAsync(
                token,
                new TokenValidationParameters
                {
                    ValidIssuer = server.Address,
                    ValidAudience = server.Address,
                    ValidTypes = ["at+jwt"],
                    ValidAlgorithms = [algorithm],
                    IssuerSigningKeys = keys.GetSigningKeys(),
                    RequireSignedTokens = true,
                    ValidateLifetime = false,
                }
            );
            Assert.True(result.IsValid, result.Exception?.ToString());
            var claims = ((JsonWebToken)result.SecurityToken);
            Assert.Equal(grant.UserId, claims.Subject);
            Assert.Equal(grant.IsApiKey ? "api-key" : "personal-access-key", claims.GetPayloadValue<string>("client_id"));
            Assert.Equal(now.ToUnixTimeSeconds(), claims.GetPayloadValue<long>("iat"));
            Assert.Equal(now.ToUnixTimeSeconds() + (grant.KeyEndsAt is null ? 3600 : 90), claims.GetPayloadValue<long>("exp"));
            Assert.Equal(36, claims.GetPayloadValue<string>("jti").Length);
            Assert.Equal(grant.Scopes.ToString(), claims.GetPayloadValue<string>("scope"));
            Assert.Equal(grant.OrganizationId, claims.GetPayloadValue<string>("org_id"));
            Assert.Equal(grant.OrganizationId, claims.GetPayloadValue<string>("currentOrganizationId"));
            Assert.Equal(grant.RootOrganizationId, claims.GetPayloadValue<string>("root_org_id"));
            Assert.Equal(grant.IsMember ? "member" : "inherited", claims.GetPayloadValue<string>("membership"));
            Assert.Equal(grant.Roles, claims.GetPayloadValue<JsonElement>("roles").EnumerateArray().Select(role => role.GetString()!));
            Assert.Equal(grant.KeyId, claims.GetPayloadValue<string>("key_id"));
            Assert.Equal(
                grant.Scopes.Contains("profile") ? name : null,
                claims.TryGetPayloadValue<string>("name", out var said) ? said : null
            );
            Assert.Equal(
                grant.Scopes.Contains("email") ? grant.UserEmail : null,
                claims.TryGetPayloadValue<string>("email", out var email) ? email : null
            );
            var status = claims.GetPayloadValue<JsonElement>("status").GetProperty("status_list");
            Assert.Equal(grant.StatusIndex % StatusLists.EntriesPerList, status.GetProperty("idx").GetInt64());
            Assert.Equal(
                $"{server.Address}/status-lists/{grant.StatusIndex / StatusLists.EntriesPerList}",
                status.GetProperty("uri").GetString()
            );
            Assert.Equal(result.Claims.Keys.Count, result.Claims.Keys.Distinct(StringComparer.Ordinal).Count());
        }
    }

    [Fact]
    public async Task Threads_that_sign_at_once_do_not_mix_their_tokens()
    {
        await using var server = await TestServer.StartAsync();
        var keys = new JsonWebKeySet((await server.GetAsync("/.well-known/jwks.json")).Body).GetSigningKeys();
        var now = server.Clock.GetUtcNow();
        var handler = new JsonWebTokenHandler { MapInboundClaims = false };
        var wrong = 0;
        await Parallel.ForAsync(
            0,
            2_000,
            new ParallelOptions { MaxDegreeOfParallelism = 16 },
            async (i, _) =>
            {
                var result = await handler.ValidateTokenAsync(
                    Write(server, plain with { UserName = $"Person {i} {new string('x', i % 400)}" }, now),
                    new TokenValidationParameters
                    {
                        ValidIssuer = server.Address,
                        ValidAudience = server.Address,
                        IssuerSigningKeys = keys,
                        ValidateLifetime = false,
                    }
                );
                if (!result.IsValid || !((string)result.Claims["name"]).StartsWith($"Person {i} ", StringComparison.Ordinal))
                    Interlocked.Increment(ref wrong);
            }
        );
        Assert.Equal(0, wrong);
    }

    private static string Write(TestServer server, TokenGrant grant, DateTimeOffset now)
    {
        var token = new ArrayBufferWriter<byte>();
        server.Get<AccessToken>().Write(grant, now, token);
        return Encoding.ASCII.GetString(token.WrittenSpan);
    }
}
