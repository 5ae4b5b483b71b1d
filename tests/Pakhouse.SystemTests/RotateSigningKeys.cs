using System.Text.Json;

namespace Pakhouse.SystemTests;

/// <summary>The commands of the operator, beside a server that serves.</summary>
public sealed class RotateSigningKeys
{
    [Fact]
    public async Task New_key_is_listed_at_once_and_published_by_the_running_server_while_the_present_one_signs_on()
    {
        await using var server = await RunningServer.StartAsync();
        await using var seed = Seed.Open(server.DataFolder);
        var acme = await seed.AddAcmeAsync();
        var key = await seed.AddKeyAsync(acme.Owner, acme.Root);
        var present = Assert.Single(await PublishedAsync(server));

        var rotated = await RunningServer.RunAsync(["signing-keys", "rotate"], server.DataFolder);
        Assert.True(rotated.ExitCode == 0, rotated.All);
        var successor = rotated.Output.Split(' ')[1];
        Assert.NotEqual(present, successor);

        var listed = await RunningServer.RunAsync(["signing-keys", "list"], server.DataFolder);
        var lines = listed.Output.Trim().Split('\n');
        Assert.Equal(2, lines.Length);
        Assert.StartsWith(present, lines[0], StringComparison.Ordinal);
        Assert.EndsWith("(signs now)", lines[0], StringComparison.Ordinal);
        Assert.StartsWith(successor, lines[1], StringComparison.Ordinal);
        Assert.DoesNotContain("signs now", lines[1], StringComparison.Ordinal);

        // A second successor would leave verifiers no time for the first.
        var again = await RunningServer.RunAsync(["signing-keys", "rotate"], server.DataFolder);
        Assert.Equal(1, again.ExitCode);
        Assert.Contains(successor, again.Errors, StringComparison.Ordinal);

        // The running server looks every 5 s of real time: asked until it knows, and never longer than a minute.
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        using var pause = new PeriodicTimer(TimeSpan.FromMilliseconds(200));
        while ((await PublishedAsync(server)).Count == 1)
            await pause.WaitForNextTickAsync(deadline.Token);
        Assert.Equal([present, successor], await PublishedAsync(server));

        var header = Base64Url((await server.ExchangeAsync(key)).Token.Split('.')[0]);
        Assert.Equal(present, header.GetProperty("kid").GetString());

        await using var restarted = await RunningServer.StartInAsync(server.DataFolder);
        Assert.Equal([present, successor], await PublishedAsync(restarted));
    }

    private static async Task<List<string>> PublishedAsync(RunningServer server) =>
        [
            .. (await server.GetAsync("/.well-known/jwks.json"))
                .Json.GetProperty("keys")
                .EnumerateArray()
                .Select(key => key.GetProperty("kid").GetString()!),
        ];

    private static JsonElement Base64Url(string part) =>
        JsonDocument.Parse(System.Buffers.Text.Base64Url.DecodeFromChars(part)).RootElement;
}
