using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;

namespace Pakhouse.SystemTests;

/// <summary>
/// The hand of the operator: the server's own code on the data folder of a running server, as a command of the program works.
/// Nothing listens.
/// </summary>
internal sealed class Seed : IAsyncDisposable
{
    public const string Password = "correct horse battery";

    private readonly WebApplication app;
    private int people;

    private Seed(WebApplication app) => this.app = app;

    public Keys Keys => Get<Keys>();

    public Organizations Organizations => Get<Organizations>();

    public Members Members => Get<Members>();

    public Users Users => Get<Users>();

    public T Get<T>()
        where T : notnull => app.Services.GetRequiredService<T>();

    public static Seed Open(string dataFolder, params string[] settings) =>
        new(Server.Program.Build([$"--Pakhouse:DataFolder={dataFolder}", .. settings]));

    public async Task<Person> AddPersonAsync(string? name = null)
    {
        var number = Interlocked.Increment(ref people);
        var email = $"{Ids.New(TimeProvider.System):N}@acme.example";
        return new Person((await Users.CreateAsync(Actor.Operator, email, name ?? $"Person {number}", Password)).Value, email);
    }

    /// <summary>Acme with its owner, and the sub-organization Mobile, in which the owner is an inherited member.</summary>
    public async Task<Acme> AddAcmeAsync()
    {
        var owner = await AddPersonAsync("Olivia Owner");
        var root = (await Organizations.CreateRootAsync(Actor.Operator, "Acme", owner.Id)).Value;
        var sub = (await Organizations.CreateSubAsync(Actor.Session(owner.Id), root, "Mobile")).Value;
        return new Acme(owner, root, sub);
    }

    /// <summary>The key as text.</summary>
    public async Task<string> AddKeyAsync(Person person, Guid organization, string name = "Key 1")
    {
        var outcome = await Keys.GenerateAsync(
            Actor.Session(person.Id),
            organization,
            new NewKey(KeyFormat.NewId(), name, null, NameSet.All)
        );
        Assert.Null(outcome.Refusal);
        using var key = outcome.Value;
        return key.Reveal();
    }

    public static string IdOf(string key) => key.Split('_')[2];

    /// <summary>The 43 characters that nobody else may see.</summary>
    public static string SecretOf(string key) => key.Split('_')[3][..KeyFormat.SecretLength];

    public ValueTask DisposeAsync() => app.DisposeAsync();
}

internal sealed record Person(Guid Id, string Email);

internal sealed record Acme(Person Owner, Guid Root, Guid Sub);
