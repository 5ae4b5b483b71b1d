using System.Net;

namespace Pakhouse.Tests;

internal static partial class AdvisoryChecks
{
    private const string ProviderSecret = "provider-secret-PmD4sXq7uKc2", MailPassword = "mail-password-Tz91LxQw8rVb";

    private const int WindowLength = 10;

    private static readonly Lazy<Task> noAnswerHoldsASecret = new(LookEverywhereAsync);

    /// <summary>Once for all that ask: every GET of the API and every page, as an owner with a session and with a key, the record, its
    /// export, and the log.</summary>
    public static Task NoAnswerHoldsASecret() => noAnswerHoldsASecret.Value;

    private static async Task LookEverywhereAsync()
    {
        var gateway = ResourceServers.NewSecret();
        await using var server = await TestServer.StartAsync(
            "--Pakhouse:OidcAuthority=http://127.0.0.1:9", "--Pakhouse:OidcClientId=pakhouse",
                $"--Pakhouse:OidcClientSecret={ProviderSecret}",
            "--Pakhouse:SmtpHost=127.0.0.1", "--Pakhouse:SmtpPort=9", "--Pakhouse:MailFrom=keys@acme.example", "--Pakhouse:SmtpUser=keys",
                $"--Pakhouse:SmtpPassword={MailPassword}",
            $"--Pakhouse:ResourceServers:gateway:SecretHash={gateway.Hash}");
        var acme = await server.AddAcmeAsync();
        var owner = await ApiClient.SignInAsync(server, acme.Owner);
        var path = $"/identity/v1/organizations/{acme.Root}";
        var secrets = new Dictionary<string, string>(StringComparer.Ordinal)
        {
            ["provider"] = ProviderSecret,
            ["mail"] = MailPassword,
            ["gateway"] = gateway.Secret,
            ["gateway's hash"] = gateway.Hash,
            ["password"] = TestServer.Password,
        };

        // Made by the API and by the page; the one answer that shows each is the control.
        var made = await owner.SendAsync("POST", $"{path}/personal-access-keys", """{"name":"Key 1"}""");
        Keep("key", made.Json.GetProperty("personalAccessKey").GetString()!, made);
        var keyId = TestServer.IdOf(secrets["key"]);
        var rotated = await owner.SendAsync("POST", $"{path}/personal-access-keys/{keyId}/rotate");
        Keep("successor", rotated.Json.GetProperty("personalAccessKey").GetString()!, rotated);
        var hook = await owner.SendAsync("POST", $"{path}/webhooks", """{"url":"https://hooks.example.com/"}""");
        Keep("webhook", hook.Json.GetProperty("secret").GetString()!["whsec_".Length..], hook);
        var webhookId = hook.Json.GetProperty("id").GetString()!;
        using (var service = (await server.Get<ApiKeys>().CreateAsync(Actor.Session(acme.Owner), acme.Root,
            new NewApiKey(KeyFormat.NewId(), "Robot", null, NameSet.All,
                [new ApiKeyRoles(acme.Root, NameSet.Of("organization-manager"))]))).Value)
            secrets["API key"] = service.Reveal();
        var person = await server.Users.FindAsync(acme.Owner);
        var visitor = await Visitor.SignInAsync(server, person!.Email!);
        var page = await visitor.SubmitToAsync($"/organizations/{acme.Root}/security", $"/organizations/{acme.Root}/security#new-key",
            ("Name", "By the page"), ("Expires", "never"),
            ("Scopes", "openid"));
        Assert.Equal(HttpStatusCode.OK, page.Status);
        var shown = System.Text.RegularExpressions.Regex.Match(page.Body, "ph_pak1_[0-9A-Za-z]{16}_[0-9A-Za-z]{49}",
            System.Text.RegularExpressions.RegexOptions.None, TimeSpan.FromSeconds(1)).Value;
        Keep("key of the page", shown, page);
        foreach (var cookie in visitor.Cookies.Where(cookie =>
            cookie.Key.Contains("session", StringComparison.OrdinalIgnoreCase))) secrets[$"cookie {cookie.Key}"] = cookie.Value;
        await server.Invitations.InviteAsync(Actor.Session(acme.Owner), acme.Root, "new@acme.example", [new(acme.Root, NameSet.Empty)]);
        var token = (await server.ExchangeAsync(secrets["key"])).Token;
        var inDatabase = await server.ScalarAsync<string>(TestDatabase.IsPostgres ? "SELECT encode(hash, 'hex') FROM access_keys LIMIT 1"
            : "SELECT lower(hex(hash)) FROM access_keys LIMIT 1");
        secrets["hash of a key"] = inDatabase!;

        var windows = secrets.SelectMany(one => Windows(one.Value).Select(window => (one.Key, Window: window))).ToList();
        var faults = new List<string>();
        var looked = 0;
        foreach (var row in MatrixRows.All.Where(row => row.Method is "GET" or "PAGE"))
        {
            var address = (row.Path + row.Query).Replace("{organizationId}", $"{acme.Root}", StringComparison.Ordinal).Replace("{userId}",
                $"{acme.Owner}", StringComparison.Ordinal).Replace("{keyId}", keyId, StringComparison.Ordinal)
                .Replace("{id}", webhookId, StringComparison.Ordinal).Replace("{realm}", "acme",
                    StringComparison.Ordinal).Replace("{number}", "0", StringComparison.Ordinal).Replace("{act}", "rename",
                        StringComparison.Ordinal);
            if (address.Contains('{', StringComparison.Ordinal)) continue;
            Answer[] answers = row.IsPage ? [await visitor.GetAsync(address)]
                : [await owner.GetAsync(address), await ApiClient.WithToken(server, token).GetAsync(address)];
            foreach (var answer in answers)
            {
                if (answer.Status == HttpStatusCode.OK) looked++;
                Find($"{row}", $"{answer.Body}\n{answer.Response.Headers}");
            }
        }

        Assert.True(looked > 60, $"{looked} answers were looked at");
        foreach (var line in server.Log.Lines) Find("the log", line);
        Assert.True(faults.Count == 0, string.Join(Environment.NewLine, faults.Distinct(StringComparer.Ordinal).Take(20)));

        void Keep(string name, string secret, Answer answer)
        {
            secrets[name] = secret;
            Assert.Contains(secret, answer.Body, StringComparison.Ordinal);
            Assert.Null(answer.Header("Location"));
        }

        void Find(string where, string text)
        {
            foreach (var (name, window) in windows)
                if (text.Contains(window, StringComparison.Ordinal)) faults.Add($"{where} holds a part of the {name}");
        }
    }

    /// <summary>Every part of so many characters. Of a key only what is secret: its id is public.</summary>
    private static IEnumerable<string> Windows(string secret)
    {
        var text = secret.Contains("_pak1_", StringComparison.Ordinal) || secret.Contains("_oak1_", StringComparison.Ordinal)
            ? secret.Split('_')[^1] : secret;
        for (var at = 0; at + WindowLength <= text.Length; at += 3) yield return text.Substring(at, WindowLength);
    }
}
