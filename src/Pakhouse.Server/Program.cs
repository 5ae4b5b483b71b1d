using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authentication.Cookies;
using Microsoft.AspNetCore.DataProtection;
using Microsoft.AspNetCore.Identity;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.StaticFiles;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.FileProviders;

namespace Pakhouse.Server;

/// <summary>The whole server on one page: services, then middleware and routes in the order that a request meets them.</summary>
public static class Program
{
    public static Task<int> Main(string[] args) => Commands.RunAsync(args);

    /// <summary>Builds the server; nothing listens yet. The database is made and brought up to date.</summary>
    /// <param name="settings">Settings as on the command line: <c>--Pakhouse:TokenLifetimeSeconds 600</c>.</param>
    /// <param name="clock">The only clock of the process. Null: the system's.</param>
    /// <param name="configure">For tests: the last word on services and logging.</param>
    /// <exception cref="StartupException">Settings or database are not usable; the message is for the operator.</exception>
    public static WebApplication Build(string[] settings, TimeProvider? clock = null, Action<WebApplicationBuilder>? configure = null)
    {
        // Settings are read once. To watch their files for changes, the host would put a watch on every folder below the current one,
        // which of a service is often the root of the machine.
        settings = ["--hostBuilder:reloadConfigOnChange=false", .. settings];
        var builder = WebApplication.CreateBuilder(new WebApplicationOptions { Args = settings, ApplicationName = "Pakhouse.Server" });
        var options = PakhouseOptions.Read(builder.Configuration);
        var database = new Database(options);
        database.Prepare();

        AddServices(builder, options, database, clock ?? TimeProvider.System);
        configure?.Invoke(builder);
        var app = builder.Build();
        UseMiddleware(app, options);
        MapRoutes(app);
        return app;
    }

    private static void AddServices(WebApplicationBuilder builder, PakhouseOptions options, Database database, TimeProvider clock)
    {
        var services = builder.Services;
        services.AddSingleton(options).AddSingleton(database).AddSingleton(clock).AddSingleton<PublicAddress>();

        services.AddSingleton<TokenEndpoint>().AddSingleton<KeyExchange>().AddSingleton<AccessToken>().AddSingleton<ExchangeLimit>();
        services.AddSingleton<Keys>().AddSingleton<Organizations>().AddSingleton<Members>().AddSingleton<Users>();
        services.AddSingleton<KeyUse>().AddHostedService(provider => provider.GetRequiredService<KeyUse>());
        services.AddSingleton<SigningKeys>().AddHostedService(provider => provider.GetRequiredService<SigningKeys>());

        services.AddSingleton<SetUp>().AddSingleton<PasswordSignIn>().AddSingleton<PasswordRules>().AddSingleton<SignInLimit>();
        services.AddSingleton<IPasswordHasher<User>, PasswordHasher<User>>().AddSingleton<ILookupNormalizer, UpperInvariantLookupNormalizer>();
        services.Configure<IdentityOptions>(identity => PasswordRules.Configure(identity, options));

        var protectedKeys = new DirectoryInfo(Path.Combine(options.DataFolder, "data-protection"));
        var protection = services.AddDataProtection().SetApplicationName("Pakhouse").PersistKeysToFileSystem(protectedKeys);
        if (options.DataProtectionCertificate is { } certificate) protection.ProtectKeysWithCertificate(certificate);

        // __Host-: the browser takes the cookie from this host and by HTTPS only, and no neighbour can plant one.
        var prefix = options.IsHttps ? "__Host-" : "";
        var secure = options.IsHttps ? CookieSecurePolicy.Always : CookieSecurePolicy.None;
        services.AddAuthentication(Sessions.Scheme).AddCookie(Sessions.Scheme, cookie =>
        {
            (cookie.Cookie.Name, cookie.Cookie.SecurePolicy, cookie.Cookie.SameSite, cookie.Cookie.Path) = ($"{prefix}pakhouse", secure, SameSiteMode.Lax, "/");
            (cookie.LoginPath, cookie.AccessDeniedPath, cookie.ReturnUrlParameter) = ("/sign-in", "/sign-in", "from");
            (cookie.ExpireTimeSpan, cookie.SlidingExpiration) = (options.SessionIdle, true);
            cookie.Events.OnValidatePrincipal = Sessions.ValidateAsync;
        });
        services.PostConfigure<CookieAuthenticationOptions>(Sessions.Scheme, cookie => cookie.TimeProvider = clock);
        services.AddAuthorization();
        services.AddAntiforgery(antiforgery =>
        {
            (antiforgery.Cookie.Name, antiforgery.Cookie.SecurePolicy, antiforgery.Cookie.SameSite, antiforgery.Cookie.Path) = ($"{prefix}pakhouse-form", secure, SameSiteMode.Strict, "/");
            antiforgery.SuppressXFrameOptionsHeader = true; // frame-ancestors says it
        });
        services.AddRazorPages(pages =>
        {
            pages.RootDirectory = "/Dashboard";
            pages.Conventions.AuthorizeFolder("/");
            pages.Conventions.AllowAnonymousToPage("/SignIn");
            pages.Conventions.AllowAnonymousToPage("/SetUp");
            pages.Conventions.ConfigureFilter(new ResponseCacheAttribute { NoStore = true, Location = ResponseCacheLocation.None });
        });

        builder.WebHost.UseUrls(options.Listen.GetLeftPart(UriPartial.Authority));
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = 64 * 1024; // forms of pages; the exchange bounds its own
            kestrel.Limits.MaxRequestLineSize = 8 * 1024;
            kestrel.Limits.MaxRequestHeadersTotalSize = 32 * 1024;
        });

        builder.Logging.AddFilter("Microsoft", LogLevel.Warning)
            .AddFilter("Microsoft.AspNetCore.DataProtection", LogLevel.Error); // that its keys are protected by the folder's mode stands in docs/operations.md
        // This category writes whole addresses, query included, where a mistaken caller puts a key. No setting can turn it on; Edge has a request log.
        services.PostConfigure<LoggerFilterOptions>(filters =>
            filters.Rules.Add(new LoggerFilterRule(null, "Microsoft.AspNetCore.Hosting.Diagnostics", LogLevel.None, null)));
    }

    private static void UseMiddleware(WebApplication app, PakhouseOptions options)
    {
        app.UseRequestLog();
        app.UseOrigin(options);
        app.UseFaults();
        app.UseStatusAnswers();
        app.UseRouting(); // an exchange goes no further: its endpoint short-circuits
        app.UsePageHeaders(options);
        app.UseAuthentication();
        app.UseAuthorization();
        app.UseAntiforgery();
    }

    private static void MapRoutes(WebApplication app)
    {
        TokenEndpoint.Map(app);
        Discovery.Map(app);
        Assets.Map(app);
        app.MapRazorPages();
    }
}
