using System.Text.Json;

namespace Pakhouse.Server;

/// <summary>The whole story over HTTP, as any client would see it: a key, its token, an API that verifies it, and the end of the
/// key.</summary>
public static class Demo
{
    private const string Password = "correct horse battery";

    public static async Task<int> RunAsync(string[] settings, CancellationToken stop)
    {
        Console.WriteLine("Pakhouse starts with an empty database in a temporary folder …");
        var folder = Directory.CreateTempSubdirectory("pakhouse-demo-").FullName;
        try
        {
            await using var app = Program.Build([
                .. settings,
                "--Pakhouse:DataFolder",
                folder,
                "--Pakhouse:PostgresConnection=",
                "--Logging:LogLevel:Pakhouse.Server.Operator=Critical", // only the demo's own output
            ]);
            await app.StartAsync(stop);
            await ShowAsync(app);
            await app.WaitForShutdownAsync(stop);
            return 0;
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static async Task ShowAsync(WebApplication app)
    {
        var services = app.Services;
        var users = services.GetRequiredService<Users>();
        var organizations = services.GetRequiredService<Organizations>();
        var address = services.GetRequiredService<PublicAddress>().Value;

        var owner = (await users.CreateAsync(Actor.Operator, "owner@acme.example", "Olivia Owner", Password)).Value;
        var developer = (await users.CreateAsync(Actor.Operator, "dev@acme.example", "Devin Developer", Password)).Value;
        var acme = (await organizations.CreateRootAsync(Actor.Operator, "Acme", owner)).Value;
        var mobile = (await organizations.CreateSubAsync(Actor.Session(owner), acme, "Mobile team")).Value;
        var added = await services
            .GetRequiredService<Members>()
            .AddAsync(Actor.Operator, acme, developer, NameSet.Of("build-operator", "report-viewer"));
        if (added.Refusal is { } refusal)
            throw new InvalidOperationException(refusal.Reason);

        var ownerKey = await GenerateAsync(services, owner, acme, "Laptop");
        var developerKey = await GenerateAsync(services, developer, acme, "Build server");
        var lostKey = await GenerateAsync(services, developer, acme, "Lost laptop");

        Console.WriteLine(
            $"""
            1. Acme ({acme}) has a sub-organization, Mobile team ({mobile}).
               Olivia Owner owns Acme. Devin Developer is a member of Acme. Each generated a key in Acme.

            2. A machine exchanges Devin's key for a token for Mobile team. Devin is an inherited member there. The token says:
            """
        );
        using var http = new HttpClient();
        var token = await ExchangeAsync(http, address, developerKey, mobile);
        Console.WriteLine(Indented(token.Split('.')[1]));

        var api = new DemoVerifier(http, address);
        await api.FetchKeysAsync();
        Console.WriteLine(
            $"""

            3. An API verifies the token with the public key set and the status list. It does not ask about the key: {await DescribeAsync(
                api,
                token
            )}.
            """
        );

        var lostToken = await ExchangeAsync(http, address, lostKey, null);
        var before = await DescribeAsync(api, lostToken);
        var clock = services.GetRequiredService<TimeProvider>();
        var began = clock.GetTimestamp();
        var deleted = await services.GetRequiredService<Keys>().DeleteAsync(Actor.Session(developer), acme, lostKey.Split('_')[2]);
        if (deleted.Refusal is { } notDeleted)
            throw new InvalidOperationException(notDeleted.Reason);
        while (await api.FindFaultAsync(lostToken) is null)
            await Task.Delay(TimeSpan.FromMilliseconds(100), clock);
        Console.WriteLine(
            $"""

            4. Devin's laptop is lost. A token of its key is still {before}. Devin deletes that key.
               {clock.GetElapsedTime(began).TotalSeconds:0.00} seconds later the same API, offline as before, says: {await DescribeAsync(
                api,
                lostToken
            )}.

            Now you. Exchange Devin's key, or Olivia's:

            curl {address}/auth/v3/token -d personalAccessKey={developerKey}

            curl {address}/auth/v3/token -d personalAccessKey={ownerKey} -d subOrganization={mobile}

            The dashboard: {address}
              Olivia  owner@acme.example   {Password}
              Devin   dev@acme.example     {Password}

            All of it is gone when you press Ctrl+C.
            """
        );
    }

    private static async Task<string> DescribeAsync(DemoVerifier api, string token) =>
        await api.FindFaultAsync(token) is { } fault ? $"refused, because {fault}" : "accepted";

    private static async Task<string> GenerateAsync(IServiceProvider services, Guid userId, Guid organizationId, string name)
    {
        var generated = await services
            .GetRequiredService<Keys>()
            .GenerateAsync(Actor.Session(userId), organizationId, new NewKey(KeyFormat.NewId(), name, null, NameSet.All));
        using var key = generated.Value;
        return key.Reveal();
    }

    /// <summary>The token.</summary>
    private static async Task<string> ExchangeAsync(HttpClient http, string address, string key, Guid? subOrganization)
    {
        var fields = new Dictionary<string, string>(StringComparer.Ordinal) { ["personalAccessKey"] = key };
        if (subOrganization is { } id)
            fields["subOrganization"] = id.ToString();
        using var form = new FormUrlEncodedContent(fields);
        using var response = await http.PostAsync(new Uri($"{address}/auth/v3/token"), form);
        var body = await response.Content.ReadAsStringAsync();
        if (!response.IsSuccessStatusCode)
            throw new InvalidOperationException($"The exchange answered {(int)response.StatusCode}: {body}");
        using var answer = JsonDocument.Parse(body);
        return answer.RootElement.GetProperty("access_token").GetString()!;
    }

    private static readonly JsonSerializerOptions indented = new()
    {
        WriteIndented = true,
        Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    private static string Indented(string base64Url)
    {
        using var json = JsonDocument.Parse(System.Buffers.Text.Base64Url.DecodeFromChars(base64Url));
        return JsonSerializer.Serialize(json.RootElement, indented);
    }
}
