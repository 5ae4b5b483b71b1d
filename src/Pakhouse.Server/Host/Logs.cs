namespace Pakhouse.Server;

/// <summary>What reaches the operator's log, and what no setting lets into it.</summary>
internal static class Logs
{
    private const string SignInHandler = "Microsoft.AspNetCore.Authentication.OpenIdConnect.OpenIdConnectHandler";
    private const string Formatter = "Logging:Console:FormatterName";

    /// <exception cref="StartupException">The framework takes another formatter, without a word, for one that it does not know.</exception>
    public static void DemandFormatter(ConfigurationManager configuration)
    {
        if (configuration[Formatter] is { Length: > 0 } formatter && formatter.ToLowerInvariant() is not ("simple" or "json" or "systemd"))
            throw new StartupException($"{Formatter} must be simple, json or systemd.");
    }

    public static void Configure(WebApplicationBuilder builder)
    {
        builder.Logging.AddFilter("Microsoft", LogLevel.Warning)
            // It warns of every page with a form that it forbids caches, which the page does too.
            .AddFilter("Microsoft.AspNetCore.Antiforgery", LogLevel.Error)
            // A line for each question of a balancer; what is wrong is told once, by who found it.
            .AddFilter("Microsoft.Extensions.Diagnostics.HealthChecks", LogLevel.None)
            // That its keys are protected by the folder's mode stands in docs/operations.md.
            .AddFilter("Microsoft.AspNetCore.DataProtection", LogLevel.Error);
        builder.Services.PostConfigure<LoggerFilterOptions>(SilenceFrameworkLogs);
    }

    /// <summary>
    /// Below Warning the framework writes addresses, headers and arguments, where a mistaken caller puts a key; its category of
    /// requests does at any level, as a scope too. No setting turns that on, neither by category nor by provider; Middleware has a request
    /// log. So does its handler of sign-in, which writes as an error whatever text somebody brings as the provider's answer;
    /// <see cref="ProviderSignIn"/> says what went wrong.
    /// </summary>
    private static void SilenceFrameworkLogs(LoggerFilterOptions filters)
    {
        // A rule that names a provider beats every rule that names none, so a rule of our own would not do: each rule is narrowed.
        filters.Rules.Insert(0, new LoggerFilterRule(null, null, filters.MinLevel, null));
        for (var i = 0; i < filters.Rules.Count; i++)
        {
            var rule = filters.Rules[i];
            filters.Rules[i] = new LoggerFilterRule(rule.ProviderName, rule.CategoryName, rule.LogLevel, (provider, category, level) =>
                category is not ("Microsoft.AspNetCore.Hosting.Diagnostics" or SignInHandler)
                && (level >= LogLevel.Warning || category?.StartsWith("Microsoft.AspNetCore.", StringComparison.Ordinal) != true)
                && rule.Filter?.Invoke(provider, category, level) != false);
        }
    }
}
