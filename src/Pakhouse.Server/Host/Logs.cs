namespace Pakhouse.Server;

/// <summary>What the operator's log contains, and what no setting can enable.</summary>
internal static class Logs
{
    private const string SignInHandler = "Microsoft.AspNetCore.Authentication.OpenIdConnect.OpenIdConnectHandler";
    private const string Formatter = "Logging:Console:FormatterName";

    /// <exception cref="StartupException">For an unknown formatter, because the framework silently uses another one.</exception>
    public static void DemandFormatter(ConfigurationManager configuration)
    {
        if (configuration[Formatter] is { Length: > 0 } formatter && formatter.ToLowerInvariant() is not ("simple" or "json" or "systemd"))
            throw new StartupException($"{Formatter} must be simple, json or systemd.");
    }

    public static void Configure(WebApplicationBuilder builder)
    {
        builder.Logging.AddFilter("Microsoft", LogLevel.Warning)
            // It warns for every page with a form that it disables caching, which the page does too.
            .AddFilter("Microsoft.AspNetCore.Antiforgery", LogLevel.Error)
            // It would log a line for each request of a load balancer; a fault is logged once, where it is found.
            .AddFilter("Microsoft.Extensions.Diagnostics.HealthChecks", LogLevel.None)
            // docs/operations.md explains that its keys are protected by the folder's mode.
            .AddFilter("Microsoft.AspNetCore.DataProtection", LogLevel.Error);
        builder.Services.PostConfigure<LoggerFilterOptions>(SilenceFrameworkLogs);
    }

    /// <summary>
    /// Below Warning the framework logs URLs, headers and arguments, which contain a key if a caller made a mistake; its category for
    /// requests does so at any level, and as a scope. No setting can enable that, neither by category nor by provider. Middleware has a
    /// request log. So does its sign-in handler, which logs as an error whatever text
    /// somebody sends as the provider's response; <see cref="ProviderFailures"/> logs what went wrong.
    /// </summary>
    private static void SilenceFrameworkLogs(LoggerFilterOptions filters)
    {
        // A rule that names a provider beats every rule that names none, so a rule of our own would not be enough: each rule is limited.
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
