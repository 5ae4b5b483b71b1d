using System.Text.Json;

namespace Pakhouse.Server;

/// <summary>The main job, shown: from an empty data folder to two tokens, over HTTP like any client.</summary>
public static class Demo
{
    private const string Password = "correct horse battery";

    public static async Task<int> RunAsync(string[] settings, CancellationToken stop)
    {
        var folder = Directory.CreateTempSubdirectory("pakhouse-demo-").FullName;
        try
        {
            await using var app = Program.Build([.. settings, "--Pakhouse:DataFolder", folder, "--Pakhouse:PostgresConnection="]);
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
        var added = await services.GetRequiredService<Members>().AddAsync(Actor.Operator, acme, developer, NameSet.Of("build-operator", "report-viewer"));
        if (added.Refusal is { } refusal) throw new InvalidOperationException(refusal.Reason);

        var ownerKey = await GenerateAsync(services, owner, acme);
        var developerKey = await GenerateAsync(services, developer, acme);

        Console.WriteLine($"""
            Acme ({acme}) has a sub-organization, Mobile team ({mobile}).
            Olivia Owner is its owner; Devin Developer is a member of Acme only. Each has generated a key in Acme.

            """);
        await ExchangeAsync(address, developerKey, null, "Devin exchanges the key for Acme");
        await ExchangeAsync(address, developerKey, mobile, "Devin exchanges the same key for Mobile team, as an inherited member");

        Console.WriteLine($"""
            Now you. Exchange Devin's key, or Olivia's:

            curl {address}/auth/v3/token -d personalAccessKey={developerKey}

            curl {address}/auth/v3/token -d personalAccessKey={ownerKey} -d subOrganization={mobile}

            The dashboard: {address}
              Olivia  owner@acme.example   {Password}
              Devin   dev@acme.example     {Password}

            All of it is gone when you press Ctrl+C.
            """);
    }

    private static async Task<string> GenerateAsync(IServiceProvider services, Guid userId, Guid organizationId)
    {
        var generated = await services.GetRequiredService<Keys>().GenerateAsync(Actor.Session(userId), organizationId, new NewKey(KeyFormat.NewId(), "Key 1", null, NameSet.Empty));
        using var key = generated.Value;
        return key.Reveal();
    }

    private static async Task ExchangeAsync(string address, string key, Guid? subOrganization, string title)
    {
        using var http = new HttpClient();
        var fields = new Dictionary<string, string>(StringComparer.Ordinal) { ["personalAccessKey"] = key };
        if (subOrganization is { } id) fields["subOrganization"] = id.ToString();
        using var form = new FormUrlEncodedContent(fields);
        using var response = await http.PostAsync(new Uri($"{address}/auth/v3/token"), form);
        var body = await response.Content.ReadAsStringAsync();
        if (!response.IsSuccessStatusCode) throw new InvalidOperationException($"The exchange answered {(int)response.StatusCode}: {body}");

        using var answer = JsonDocument.Parse(body);
        var token = answer.RootElement.GetProperty("access_token").GetString()!;
        Console.WriteLine($"{title}. The token says:");
        foreach (var part in token.Split('.')[..2]) Console.WriteLine(Indented(part));
        Console.WriteLine();
    }

    private static readonly JsonSerializerOptions indented = new() { WriteIndented = true, Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private static string Indented(string base64Url)
    {
        using var json = JsonDocument.Parse(System.Buffers.Text.Base64Url.DecodeFromChars(base64Url));
        return JsonSerializer.Serialize(json.RootElement, indented);
    }
}
