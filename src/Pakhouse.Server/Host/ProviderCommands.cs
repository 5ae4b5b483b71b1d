using System.CommandLine;

namespace Pakhouse.Server;

/// <summary>The commands that bind accounts of the identity provider to people.</summary>
internal static class ProviderCommands
{
    public static void Add(Command users, string[] settings)
    {
        var email = new Argument<string>("EMAIL");
        var subject = new Argument<string>("SUBJECT")
        {
            Description = "the sub of the account at the identity provider; a refused sign-in shows it",
        };
        var issuer = new Option<string?>("--issuer") { Description = "the issuer in its tokens; by default from the provider's metadata" };
        var bind = new Command(
            "bind",
            "Let an account of the identity provider sign in to a person's account, whatever its e-mail address. The person is notified."
        )
        {
            email,
            subject,
            issuer,
        };
        bind.SetAction(
            (parsed, stop) =>
                Commands.ChangeAsync(
                    settings,
                    async services =>
                    {
                        var by = parsed.GetValue(issuer) ?? await IssuerAsync(services, stop);
                        return await services
                            .GetRequiredService<ProviderSubjects>()
                            .BindAsync(Actor.Operator, parsed.GetRequiredValue(email), by, parsed.GetRequiredValue(subject));
                    },
                    "The account is bound."
                )
        );
        users.Add(bind);

        var unbind = new Command(
            "unbind",
            "Forget every account of the identity provider that opens a person's account, and end the sessions that began so. The person "
                + "is told."
        )
        {
            email,
        };
        unbind.SetAction(
            (parsed, _) =>
                Commands.ChangeAsync(
                    settings,
                    services => services.GetRequiredService<ProviderSubjects>().UnbindAsync(Actor.Operator, parsed.GetRequiredValue(email)),
                    "No account of the provider is bound to this person any more."
                )
        );
        users.Add(unbind);
    }

    private static async Task<string> IssuerAsync(IServiceProvider services, CancellationToken stop)
    {
        if (services.GetService<ProviderMetadata>() is not { } metadata)
            throw new StartupException("Set Pakhouse:OidcAuthority as for the server, or give --issuer.");
        try
        {
            return (await metadata.GetConfigurationAsync(stop)).Issuer;
        }
        catch (InvalidOperationException)
        {
            throw new StartupException("The identity provider cannot be reached to read its issuer. Give it with --issuer.");
        }
    }
}
