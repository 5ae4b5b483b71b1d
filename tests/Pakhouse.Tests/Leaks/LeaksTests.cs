using System.Diagnostics;
using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Dapper;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace Pakhouse.Tests;

/// <summary><c>POST /leaks/revoke</c>, and the partners' ways to say the same.</summary>
public static class LeaksTests
{
    private static async Task<Answer> ReportAsync(TestServer server, params string[] keys) =>
        await server.PostBodyAsync("/leaks/revoke", JsonSerializer.Serialize(new { keys }), "application/json");

    /// <summary>A key that fits the grammar and was never given out; with an id of one that was, too.</summary>
    private static string Forge(string? id = null) => Encoding.ASCII.GetString(KeyFormat.Create("ph", id ?? KeyFormat.NewId()));

    private static Task<List<(string Recipient, MailContent Content)>> MailsAsync(TestServer server) =>
        server
            .Get<Database>()
            .ReadAsync(async connection =>
                (await connection.QueryAsync<(string Recipient, byte[] Content)>("SELECT recipient, content FROM mails ORDER BY id"))
                    .Select(mail => (mail.Recipient, server.Get<Mails>().Open(mail.Content)))
                    .ToList()
            );

    public class On202
    {
        [Fact]
        public async Task A_reported_key_gets_no_token_from_the_moment_of_the_answer()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var (leaked, other) = (await server.AddKeyAsync(acme.Owner, acme.Root), await server.AddKeyAsync(acme.Owner, acme.Root));
            Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(leaked)).Status);

            Assert.Equal(HttpStatusCode.Accepted, (await ReportAsync(server, leaked)).Status);
            Assert.Equal(HttpStatusCode.Unauthorized, (await server.ExchangeAsync(leaked)).Status);
            Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(other)).Status);
            Assert.Equal(
                KeyStatus.Invalid,
                await server.ScalarAsync<long>($"SELECT status FROM access_keys WHERE id = '{TestServer.IdOf(leaked)}'")
            );
        }

        [Fact]
        public async Task Its_owner_is_told_once_and_what_happened_is_on_record()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var keys = new[] { await server.AddKeyAsync(acme.Owner, acme.Root), await server.AddKeyAsync(acme.Owner, acme.Root) };
            await ReportAsync(server, [.. keys, keys[0]]);
            await ReportAsync(server, keys);

            var mail = Assert.Single(await MailsAsync(server));
            Assert.Equal("person1@acme.example", mail.Recipient);
            foreach (var key in keys)
            {
                Assert.Contains(TestServer.IdOf(key), mail.Content.Text, StringComparison.Ordinal);
                Assert.DoesNotContain(key, mail.Content.Text, StringComparison.Ordinal);
                Assert.Equal(
                    1,
                    await server.ScalarAsync<long>(
                        $"SELECT COUNT(*) FROM activity WHERE action = 'PAT Leak' AND target = '{TestServer.IdOf(key)}' AND "
                            + $"organization_id = '{acme.Root}' AND subject_user_id = '{acme.Owner}' AND address = '127.0.0.1'"
                    )
                );
            }
        }

        [Fact]
        public async Task Of_an_organizations_own_key_its_owners_are_told()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var member = await server.AddMemberAsync(acme.Sub);
            var key = await server.AddKeyAsync(member, acme.Sub);
            await server.ExecuteAsync(
                $"UPDATE access_keys SET kind = 'oak' WHERE id = '{TestServer.IdOf(key)}'; UPDATE users SET kind = 'service' WHERE id = "
                    + $"'{member}'"
            );

            await ReportAsync(server, key);
            Assert.Equal("person1@acme.example", Assert.Single(await MailsAsync(server)).Recipient);
            Assert.Equal(HttpStatusCode.Unauthorized, (await server.ExchangeAsync(key)).Status);
        }

        [Fact]
        public async Task An_id_with_another_secret_ends_nothing()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            Assert.Equal(HttpStatusCode.Accepted, (await ReportAsync(server, Forge(TestServer.IdOf(key)))).Status);
            Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(key)).Status);
            Assert.Empty(await MailsAsync(server));
        }

        [Fact]
        public async Task Nothing_in_the_answer_or_its_time_tells_real_from_unknown()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            var answers = new List<(string Answer, TimeSpan Time)>();
            foreach (var keys in new string[][] { [key], [Forge()], [Forge(TestServer.IdOf(key))], ["no key"], [] })
            {
                var began = Stopwatch.GetTimestamp();
                var answer = await ReportAsync(server, keys);
                var headers = answer
                    .Response.Headers.Concat(answer.Response.Content.Headers)
                    .Where(header => header.Key != "Date")
                    .Select(header => $"{header.Key}: {string.Join(',', header.Value)}");
                answers.Add(($"{answer.Status} {answer.Body} {string.Join(' ', headers)}", Stopwatch.GetElapsedTime(began)));
            }

            Assert.Single(answers.Select(one => one.Answer).Distinct());
            // Finding a key takes milliseconds; the answer waits for more than that, whatever was found.
            Assert.All(answers, one => Assert.True(one.Time >= TimeSpan.FromMilliseconds(190), $"{one.Time}"));
        }

        [Fact]
        public async Task A_key_is_found_in_the_text_around_it_and_behind_escapes()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var (quoted, escaped) = (await server.AddKeyAsync(acme.Owner, acme.Root), await server.AddKeyAsync(acme.Owner, acme.Root));
            await server.PostBodyAsync(
                "/leaks/revoke",
                $$"""{"note":{"a":[1]},"keys":["export TOKEN='{{quoted}}'","{{escaped.Replace("_", "\\u005f", StringComparison.Ordinal)}}"]}""",
                "application/json"
            );
            foreach (var key in (string[])[quoted, escaped])
                Assert.Equal(HttpStatusCode.Unauthorized, (await server.ExchangeAsync(key)).Status);
        }

        [Fact]
        public async Task A_thousand_keys_of_one_call_end_together()
        {
            await using var server = await TestServer.StartAsync("--Pakhouse:KeysPerMemberMax=10000");
            var acme = await server.AddAcmeAsync();
            var keys = new List<string>();
            for (var i = 0; i < 12; i++)
                keys.Add(await server.AddKeyAsync(acme.Owner, acme.Root));
            Assert.Equal(
                HttpStatusCode.Accepted,
                (await ReportAsync(server, [.. Enumerable.Range(0, 1000 - keys.Count).Select(_ => Forge()), .. keys])).Status
            );
            Assert.Equal(0, await server.ScalarAsync<long>("SELECT COUNT(*) FROM access_keys WHERE deleted_at IS NULL"));
        }

        [Fact]
        public async Task No_key_that_was_sent_stands_in_the_log()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var keys = new[] { await server.AddKeyAsync(acme.Owner, acme.Root), Forge() };
            await ReportAsync(server, keys);
            await server.PostBodyAsync("/leaks/revoke", $"[\"{keys[1]}\"", "application/json");
            Assert.DoesNotContain(server.Log.Lines, line => keys.Any(key => line.Contains(key[^49..], StringComparison.Ordinal)));
            Assert.NotEmpty(server.Log.Lines);
        }
    }

    public class On400
    {
        [Fact]
        public async Task What_is_no_list_of_keys_is_refused()
        {
            await using var server = await TestServer.StartAsync();
            foreach (
                var body in (string[])
                    [
                        "",
                        "{}",
                        "[]",
                        "{\"keys\":\"one\"}",
                        "{\"keys\":[1]}",
                        "{\"keys\":[]}{}",
                        "{\"keys\":[],\"keys\":[]}",
                        "{\"keys\":[\"\\ud800\"]}",
                        "{\"keys\":[\"",
                    ]
            )
            {
                var answer = await server.PostBodyAsync("/leaks/revoke", body, "application/json");
                Assert.Equal(HttpStatusCode.BadRequest, answer.Status);
                Assert.Equal("invalid_request", answer.Error);
            }
        }

        [Fact]
        public async Task More_than_a_thousand_keys_or_a_longer_body_are_refused_and_end_nothing()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            Assert.Equal(HttpStatusCode.BadRequest, (await ReportAsync(server, [key, .. Enumerable.Repeat("x", 1000)])).Status);
            Assert.Equal(HttpStatusCode.RequestEntityTooLarge, (await ReportAsync(server, [key, new string('x', 130 * 1024)])).Status);
            using var chunked = new HttpRequestMessage(HttpMethod.Post, "/leaks/revoke")
            {
                Content = new StringContent($"{{\"keys\":[\"{key}\",\"{new string('x', 130 * 1024)}\"]}}"),
            };
            chunked.Headers.TransferEncodingChunked = true;
            // On a connection of its own: that of the refusal before was answered with its body unread, and is closed while the client may
            // be taking it again.
            using var alone = new HttpClient { BaseAddress = server.Http.BaseAddress };
            Assert.Equal(HttpStatusCode.RequestEntityTooLarge, (await alone.SendAsync(chunked)).StatusCode);
            Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(key)).Status);
        }
    }

    public class On429
    {
        [Fact]
        public async Task An_address_has_so_many_reports_a_minute_real_or_not()
        {
            await using var server = await TestServer.StartAsync("--Pakhouse:FailuresPerMinuteMax=3");
            var acme = await server.AddAcmeAsync();
            var keys = new List<string>();
            for (var i = 0; i < 4; i++) keys.Add(await server.AddKeyAsync(acme.Owner, acme.Root));
            foreach (var key in keys.Take(3)) Assert.Equal(HttpStatusCode.Accepted, (await ReportAsync(server, key)).Status);
            var refused = await ReportAsync(server, keys[3]);
            Assert.Equal(HttpStatusCode.TooManyRequests, refused.Status);
            Assert.NotNull(refused.Header("Retry-After"));
            Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(keys[3])).Status);

            server.Clock.Advance(TimeSpan.FromMinutes(2));
            Assert.Equal(HttpStatusCode.Accepted, (await ReportAsync(server, keys[3])).Status);
        }
    }

    public class OfGitHub
    {
        // https://docs.github.com/en/code-security/secret-scanning/secret-scanning-partner-program: the sample message, and the key it was
        // signed with.
        private const string VectorBody =
            """[{"source":"commit","token":"some_token","type":"some_type","url":"https://example.com/base-repo-url/"}]""";
        private const string VectorKeyId = "bcb53661c06b4728e59d897fb6165d5c9cda0fd9cdf9d09ead458168deb7518c";
        private const string VectorSignature =
            "MEQCIQDaMKqrGnE27S0kgMrEK0eYBmyG0LeZismAEz/BgZyt7AIfXt9fErtRS4XaeSt/AO1RtBY66YcAdjxji410VQV4xg==";
        private const string VectorKey =
            "-----BEGIN PUBLIC "
                + "KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEYAGMWO8XgCamYKMJS6jc/qgvSlAd\nAjPuDPRcXU22YxgBrz+zoN19MzuRyW87qEt9/AmtoNP5GrobzUvQSyJFVw==\n-----END PUBLIC KEY-----\n";

        private static readonly ECDsa ours = ECDsa.Create(ECCurve.NamedCurves.nistP256);

        private static string Published =>
            JsonSerializer.Serialize(
                new
                {
                    public_keys = new[]
                    {
                        new
                        {
                            key_identifier = VectorKeyId,
                            key = VectorKey,
                            is_current = false,
                        },
                        new
                        {
                            key_identifier = "ours",
                            key = ours.ExportSubjectPublicKeyInfoPem(),
                            is_current = true,
                        },
                    },
                }
            );

        private static string Sign(string body) =>
            Convert.ToBase64String(
                ours.SignData(Encoding.UTF8.GetBytes(body), HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence)
            );

        private static async Task<Answer> PostAsync(TestServer server, string body, string keyId, string signature)
        {
            using var request = new HttpRequestMessage(HttpMethod.Post, "/leaks/github")
            {
                Content = new StringContent(body, Encoding.UTF8, "application/json"),
            };
            request.Headers.TryAddWithoutValidation("GITHUB-PUBLIC-KEY-IDENTIFIER", keyId);
            request.Headers.TryAddWithoutValidation("GITHUB-PUBLIC-KEY-SIGNATURE", signature);
            return await Answer.OfAsync(await server.Http.SendAsync(request));
        }

        private static async Task<TestServer> StartAsync()
        {
            var file = Path.GetTempFileName();
            await File.WriteAllTextAsync(file, Published);
            return await TestServer.StartAsync($"--Pakhouse:LeakGitHubKeys={file}");
        }

        [Fact]
        public async Task The_published_test_vector_is_accepted_and_every_change_to_it_refused()
        {
            await using var server = await StartAsync();
            var accepted = await PostAsync(server, VectorBody, VectorKeyId, VectorSignature);
            Assert.Equal(HttpStatusCode.OK, accepted.Status);
            Assert.Equal("false_positive", accepted.Json[0].GetProperty("label").GetString());
            Assert.Equal("some_type", accepted.Json[0].GetProperty("token_type").GetString());
            Assert.Equal(Convert.ToHexStringLower(SHA256.HashData("some_token"u8)), accepted.Json[0].GetProperty("token_hash").GetString());

            foreach (
                var (body, keyId, signature) in new[]
                {
                    (VectorBody.Replace("commit", "Commit", StringComparison.Ordinal), VectorKeyId, VectorSignature),
                    (VectorBody + " ", VectorKeyId, VectorSignature),
                    (VectorBody, "ours", VectorSignature),
                    (VectorBody, "unknown", VectorSignature),
                    (VectorBody, "", VectorSignature),
                    (VectorBody, VectorKeyId, ""),
                    (VectorBody, VectorKeyId, "not base64"),
                    (VectorBody, VectorKeyId, Convert.ToBase64String(new byte[70])),
                    (VectorBody, VectorKeyId, Sign(VectorBody)),
                }
            )
                Assert.Equal(HttpStatusCode.Unauthorized, (await PostAsync(server, body, keyId, signature)).Status);
        }

        [Fact]
        public async Task A_signed_message_ends_real_keys_labels_every_match_and_tells_where_it_was_found()
        {
            await using var server = await StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            var body = JsonSerializer.Serialize(
                new object[]
                {
                    new
                    {
                        token = Forge(),
                        type = "pakhouse",
                        url = "https://github.com/acme/a",
                        source = "content",
                    },
                    new
                    {
                        token = key,
                        type = "pakhouse",
                        url = "https://github.com/acme/b\u001b[31m",
                        source = "content",
                    },
                    new
                    {
                        token = Forge(TestServer.IdOf(key)),
                        type = "pakhouse",
                        url = "",
                        source = "content",
                    },
                }
            );
            var answer = await PostAsync(server, body, "ours", Sign(body));
            Assert.Equal(
                ["false_positive", "true_positive", "false_positive"],
                answer.Json.EnumerateArray().Select(match => match.GetProperty("label").GetString()!)
            );
            Assert.Equal(HttpStatusCode.Unauthorized, (await server.ExchangeAsync(key)).Status);

            var mail = Assert.Single(await MailsAsync(server));
            Assert.Contains("https: / / github. com/ acme/ b[31m", mail.Content.Text, StringComparison.Ordinal);
            Assert.Contains("GitHub secret scanning", mail.Content.Text, StringComparison.Ordinal);
            // Sent again, it is as true as before.
            Assert.Equal("true_positive", (await PostAsync(server, body, "ours", Sign(body))).Json[1].GetProperty("label").GetString());
            Assert.Single(await MailsAsync(server));
        }

        [Fact]
        public async Task The_keys_are_fetched_once_and_for_an_unknown_name_once_a_minute()
        {
            var fetched = 0;
            var builder = WebApplication.CreateSlimBuilder();
            builder.Logging.ClearProviders();
            await using var gitHub = builder.Build();
            gitHub.Urls.Add("http://127.0.0.1:0");
            gitHub.MapGet(
                "/keys",
                () =>
                {
                    fetched++;
                    return fetched == 4 ? Results.StatusCode(500) : Results.Content(Published, "application/json");
                }
            );
            await gitHub.StartAsync();
            await using var server = await TestServer.StartAsync($"--Pakhouse:LeakGitHubKeys={gitHub.Urls.Single()}/keys");

            for (var i = 0; i < 3; i++)
                Assert.Equal(HttpStatusCode.OK, (await PostAsync(server, VectorBody, VectorKeyId, VectorSignature)).Status);
            Assert.Equal(1, fetched);
            for (var i = 0; i < 3; i++)
                Assert.Equal(HttpStatusCode.Unauthorized, (await PostAsync(server, VectorBody, "unknown", VectorSignature)).Status);
            Assert.Equal(1, fetched);
            server.Clock.Advance(TimeSpan.FromMinutes(1));
            await PostAsync(server, VectorBody, "unknown", VectorSignature);
            Assert.Equal(2, fetched);
            server.Clock.Advance(TimeSpan.FromHours(2));
            Assert.Equal(HttpStatusCode.OK, (await PostAsync(server, VectorBody, VectorKeyId, VectorSignature)).Status);
            // Out of reach when they are too old: closed, not open.
            server.Clock.Advance(TimeSpan.FromHours(2));
            Assert.Equal(HttpStatusCode.ServiceUnavailable, (await PostAsync(server, VectorBody, VectorKeyId, VectorSignature)).Status);
            Assert.Equal(HttpStatusCode.ServiceUnavailable, (await PostAsync(server, VectorBody, VectorKeyId, VectorSignature)).Status);
            Assert.Equal(4, fetched);
        }

        [Fact]
        public async Task Where_it_is_not_set_up_there_is_nothing()
        {
            await using var server = await TestServer.StartAsync();
            Assert.Equal(HttpStatusCode.NotFound, (await PostAsync(server, VectorBody, VectorKeyId, VectorSignature)).Status);
        }
    }

    public class OfGitLab
    {
        private const string Token = "a-shared-token-of-more-than-32-characters";
        private const string Type = "gitleaks_rule_id_pakhouse_ph_access_key";

        private static async Task<Answer> SendAsync(TestServer server, HttpMethod method, string path, string? token, string? body = null)
        {
            using var request = new HttpRequestMessage(method, $"/leaks/gitlab{path}");
            if (token is not null) request.Headers.TryAddWithoutValidation("Authorization", token);
            if (body is not null) request.Content = new StringContent(body, new MediaTypeHeaderValue("application/json"));
            return await Answer.OfAsync(await server.Http.SendAsync(request));
        }

        [Fact]
        public async Task Its_two_calls_are_answered_as_GitLab_documents_them()
        {
            await using var server = await TestServer.StartAsync($"--Pakhouse:LeakGitLabToken={Token}");
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);

            var types = await SendAsync(server, HttpMethod.Get, "/v1/revocable_token_types", Token);
            Assert.Equal($"{{\"types\":[\"{Type}\"]}}", types.Body);
            var body = JsonSerializer.Serialize(
                new[]
                {
                    new
                    {
                        type = Type,
                        token = key,
                        location = "https://gitlab.example.com/some-repo/blob/a/b",
                    },
                }
            );
            Assert.Equal(HttpStatusCode.Unauthorized, (await SendAsync(server, HttpMethod.Post, "/v1/revoke_tokens", null, body)).Status);
            Assert.Equal(
                HttpStatusCode.Unauthorized,
                (await SendAsync(server, HttpMethod.Post, "/v1/revoke_tokens", Token + "x", body)).Status
            );
            Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(key)).Status);
            Assert.Equal(
                HttpStatusCode.BadRequest,
                (await SendAsync(server, HttpMethod.Post, "/v1/revoke_tokens", Token, """{"no":"array"}""")).Status
            );
            Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(key)).Status);

            Assert.Equal(HttpStatusCode.NoContent, (await SendAsync(server, HttpMethod.Post, "/v1/revoke_tokens", Token, body)).Status);
            Assert.Equal(HttpStatusCode.Unauthorized, (await server.ExchangeAsync(key)).Status);
            // idempotent
            Assert.Equal(HttpStatusCode.NoContent, (await SendAsync(server, HttpMethod.Post, "/v1/revoke_tokens", Token, body)).Status);
            Assert.Contains(
                "https: / / gitlab. example. com/ some-repo/ blob/ a/ b",
                Assert.Single(await MailsAsync(server)).Content.Text,
                StringComparison.Ordinal
            );
        }

        [Fact]
        public async Task One_foreign_item_does_not_keep_the_others_alive()
        {
            await using var server = await TestServer.StartAsync($"--Pakhouse:LeakGitLabToken={Token}");
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            var body =
                $$"""[{"type":"gitleaks_rule_id_aws","token":"AKIA0"},7,{"type":"{{Type}}"},{"type":"{{Type}}","token":null},{"type":"{{Type}}","token":"{{key}}"},"x"]""";
            Assert.Equal(HttpStatusCode.NoContent, (await SendAsync(server, HttpMethod.Post, "/v1/revoke_tokens", Token, body)).Status);
            Assert.Equal(HttpStatusCode.Unauthorized, (await server.ExchangeAsync(key)).Status);
        }

        [Fact]
        public async Task Keys_of_an_earlier_brand_are_reported_under_its_name()
        {
            var first = await TestServer.StartAsync("--Pakhouse:Brand=acme");
            var acme = await first.AddAcmeAsync();
            var key = await first.AddKeyAsync(acme.Owner, acme.Root);
            await first.StopAsync();
            await using var server = await TestServer.StartOnAsync(
                first.Place,
                first.Clock,
                "--Pakhouse:Brand=newname",
                "--Pakhouse:EarlierBrands=acme",
                $"--Pakhouse:LeakGitLabToken={Token}"
            );

            var types = await SendAsync(server, HttpMethod.Get, "/v1/revocable_token_types", Token);
            Assert.Equal(
                """{"types":["gitleaks_rule_id_pakhouse_newname_access_key","gitleaks_rule_id_pakhouse_acme_access_key"]}""",
                types.Body
            );
            var body = JsonSerializer.Serialize(new[] { new { type = "gitleaks_rule_id_pakhouse_acme_access_key", token = key } });
            Assert.Equal(HttpStatusCode.NoContent, (await SendAsync(server, HttpMethod.Post, "/v1/revoke_tokens", Token, body)).Status);
            Assert.Equal(HttpStatusCode.Unauthorized, (await server.ExchangeAsync(key)).Status);
        }

        [Fact]
        public async Task Where_it_is_not_set_up_there_is_nothing_whatever_is_sent()
        {
            await using var server = await TestServer.StartAsync();
            Assert.Equal(HttpStatusCode.NotFound, (await SendAsync(server, HttpMethod.Get, "/v1/revocable_token_types", "")).Status);
            Assert.Equal(HttpStatusCode.NotFound, (await SendAsync(server, HttpMethod.Post, "/v1/revoke_tokens", null, "[]")).Status);
        }
    }
}
