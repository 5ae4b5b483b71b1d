using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authentication.Cookies;
using Microsoft.AspNetCore.Authentication.OpenIdConnect;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Identity;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.StaticFiles;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.FileProviders;

namespace Pakhouse.Server;

/// <summary>The whole server on one page: services, then middleware and routes in the order in which a request meets them.</summary>
public static class Program
{
    public static Task<int> Main(string[] args) => Commands.RunAsync(args);

    /// <summary>Builds the server without listening. Creates the database or updates its schema.</summary>
    /// <param name="settings">Settings as on the command line: <c>--Pakhouse:TokenLifetimeSeconds 600</c>.</param>
    /// <param name="clock">The only clock of the process. Null: the system clock.</param>
    /// <param name="configure">For tests: changes services and logging last.</param>
    /// <param name="bounds">The source that the clock is compared with. Null: the database.</param>
    /// <param name="acceptsPause">A long time since the last write to the database is not an error, because it was restored.</param>
    /// <exception cref="StartupException">Settings, database or clock cannot be used; the message is for the operator.</exception>
    public static WebApplication Build(
        string[] settings,
        TimeProvider? clock = null,
        Action<WebApplicationBuilder>? configure = null,
        Func<Task<TimeBounds>>? bounds = null,
        bool acceptsPause = false
    )
    {
        // Settings are read once. To watch their files, the host would watch every folder below the current one, which for a service is
        // often the root of the machine.
        settings = ["--hostBuilder:reloadConfigOnChange=false", .. settings];
        var builder = WebApplication.CreateBuilder(new WebApplicationOptions { Args = settings, ApplicationName = "Pakhouse.Server" });
        Logs.DemandFormatter(builder.Configuration);
        var options = PakhouseOptions.Read(builder.Configuration);
        ServerCertificates.Demand(builder.Configuration, options);
        var database = Database.Of(options);
        database.Prepare();

        var fitness = new Fitness();
        var guarded = new GuardedClock(clock ?? TimeProvider.System, fitness);
        bounds ??= database.ReadTimeBoundsAsync;
        DemandClock(guarded, bounds().GetAwaiter().GetResult(), acceptsPause && database is SqliteDatabase);
        builder.Services.AddSingleton(fitness).AddSingleton(guarded).AddSingleton(bounds);

        AddServices(builder, options, database, guarded);
        // A failed start is thrown to Commands, which explains it; the host would first log it with its stack trace.
        var hasStarted = false;
        builder.Logging.AddFilter("Microsoft.Extensions.Hosting.Internal.Host", level => hasStarted && level >= LogLevel.Warning);
        configure?.Invoke(builder);
        var app = builder.Build();
        app.Lifetime.ApplicationStarted.Register(() => hasStarted = true);
        database.Outages = app.Services.GetRequiredService<OutageLog>();
        UseMiddleware(app, options);
        MapRoutes(app);
        return app;
    }

    private static void DemandClock(GuardedClock clock, TimeBounds bounds, bool acceptsPause)
    {
        if (acceptsPause)
            bounds = bounds with { Latest = DateTimeOffset.MaxValue };
        var now = clock.Unguarded;
        clock.Believe(now, bounds);
        if (ClockWatch.FaultOf(now, bounds) is { } fault)
            throw new StartupException(
                $"{fault} Nothing is signed, rotated, deleted or expired by a wrong clock. Set the clock right; with SQLite, where it is "
                    + $"right, run the command \"clock accept\". Nothing was changed."
            );
    }

    /// <summary>Reads only the settings, from the same sources, for commands that start no server.</summary>
    public static IConfiguration Configuration(string[] settings) => WebApplication.CreateBuilder(settings).Configuration;

    private static void AddServices(WebApplicationBuilder builder, PakhouseOptions options, Database database, TimeProvider clock)
    {
        var services = builder.Services;
        // By a factory, because the container disposes only what it created, and disposing closes the database.
        services
            .AddSingleton(options)
            .AddSingleton(_ => database)
            .AddSingleton(clock)
            .AddSingleton<PublicAddress>()
            .AddSingleton<OutageLog>();
        services.AddHosted<OperatorLog>(); // first, so that it stops last

        // Before everything else: nothing may run on an older state.
        services
            .AddSingleton<Deployment>()
            .AddSingleton<StateFile>()
            .AddHosted<StateGuard>()
            .AddSingleton<Restore>()
            .AddHosted<ClockWatch>();
        services.AddHosted<SigningKeys>(); // before others need the database: creates its own key and Data Protection's
        services.AddSingleton<IMemoryPoolFactory<byte>, ZeroingMemoryPool>();
        services
            .AddSingleton<TokenEndpoint>()
            .AddSingleton<ExchangeRead>()
            .AddSingleton<KeyExchange>()
            .AddSingleton<AccessToken>()
            .AddSingleton<ExchangeLimit>();
        services
            .AddSingleton<Introspection>()
            .AddSingleton<RevocationEndpoint>()
            .AddSingleton<ResourceServers>()
            .AddSingleton<ResourceServerLimit>()
            .AddSingleton<RevocationLimit>();
        services.AddSingleton<StatusLists>().AddSingleton<StatusListEndpoint>().AddHosted<StatusStreams>();
        services
            .AddSingleton<KeyLifecycle>()
            .AddSingleton<Keys>()
            .AddSingleton<MemberKeys>()
            .AddSingleton<Inventory>()
            .AddSingleton<IdempotencyTokens>()
            .AddHosted<KeyUsage>()
            .AddHosted<KeyExpiryJob>();
        services
            .AddSingleton<KeyRotation>()
            .AddHosted<OverlapEndJob>()
            .AddSingleton<KeyHistory>()
            .AddHosted<KeyHistoryJob>()
            .AddHosted<EndedKeys>()
            .AddHosted<ActivityRetention>();
        services.AddSingleton<ApiKeys>().AddHosted<ApiKeyNotices>();
        services
            .AddSingleton<Organizations>()
            .AddSingleton<Members>()
            .AddSingleton<Users>()
            .AddSingleton<InvitationMessages>()
            .AddSingleton<Invitations>()
            .AddSingleton<InvitationAnswers>();
        services.AddSingleton<KeyNotices>().AddSingleton<KeyChanges>().AddSingleton<Senders>();
        services.AddSingleton<Callers>().AddSingleton<Policies>().AddSingleton<Explanations>().AddSingleton<ActivityFeed>();
        services.AddSingleton<Leaks>().AddSingleton<LeakLimit>().AddSingleton<GitHubKeys>().AddSingleton<LeakEndpoints>();
        services.AddSingleton<WebhookSecrets>().AddSingleton<Webhooks>().AddSingleton<WebhookTarget>().AddHosted<WebhookSender>();
        services.AddSingleton<Mails>().AddSingleton<IMailLoss, LostMails>().AddSingleton<WebhookMakers>().AddHosted<MailSender>();
        ApiDocument.Add(services);

        services.AddSingleton<Draining>().AddHealthChecks().AddCheck<Health>("database");
        services.AddSingleton<SetUp>().AddSingleton<PasswordSignIn>().AddSingleton<PasswordRules>().AddSingleton<SignInLimit>();
        services.AddSingleton<PasswordWork>().AddSingleton<SignInFailures>();
        services
            .AddSingleton<SessionStore>()
            .AddSingleton<KeptForms>()
            .AddSingleton<SignInAttempts>()
            .AddSingleton<SecondFactor>()
            .AddSingleton<Passwords>()
            .AddSingleton<SignInStateCookies>();
        services
            .AddSingleton<Passkeys>()
            .AddSingleton<PasskeyStore>()
            .AddSingleton<PasskeyCeremony>()
            .AddSingleton<ProviderSubjects>()
            .AddSingleton<ProviderConnections>();
        services.AddOptions<IdentityPasskeyOptions>().Configure<PublicAddress>(PasskeyCeremony.Configure);
        services.AddSingleton<IPasswordHasher<User>, NormalizingPasswordHasher>().AddSingleton<ILookupNormalizer, LookupNormalizer>();
        services.Configure<IdentityOptions>(identity => PasswordRules.Configure(identity, options));

        // Registered after SigningKeys, which creates the first of these keys at its start while it excludes every other process.
        ProtectionKeyRing.Add(services, database.ProtectionKeys, options.DataProtectionCertificate);
        services.AddSingleton<ProtectionRenewal>();

        // __Host-: the browser accepts the cookie from this host over HTTPS only, so no sibling domain can set one.
        var prefix = options.IsHttps ? "__Host-" : "";
        var secure = options.IsHttps ? CookieSecurePolicy.Always : CookieSecurePolicy.None;
        var authentication = services
            .AddAuthentication(SessionCookie.Scheme)
            .AddCookie(
                SessionCookie.Scheme,
                cookie =>
                {
                    (cookie.Cookie.Name, cookie.Cookie.SecurePolicy, cookie.Cookie.SameSite, cookie.Cookie.Path) = (
                        $"{prefix}pakhouse",
                        secure,
                        SameSiteMode.Lax,
                        "/"
                    );
                    (cookie.LoginPath, cookie.AccessDeniedPath, cookie.ReturnUrlParameter) = ("/sign-in", "/sign-in", "from");
                    (cookie.ExpireTimeSpan, cookie.SlidingExpiration) = (options.SessionIdle, true);
                    (cookie.Events.OnValidatePrincipal, cookie.Events.OnCheckSlidingExpiration) = (
                        SessionCookie.ValidateAsync,
                        SessionCookie.RenewAsync
                    );
                }
            );
        if (options.OidcAuthority is not null)
        {
            services
                .AddSingleton<ProviderClientKey>()
                .AddSingleton<ProviderLogout>()
                .AddSingleton<ProviderLogoutLimit>()
                .AddSingleton<ProviderSignOut>();
            services
                .AddSingleton<ProviderMetadata>()
                .AddOptions<OpenIdConnectOptions>(ProviderSignIn.Scheme)
                .Configure<ProviderMetadata, ProviderClientKey>(
                    (oidc, metadata, clientKey) => ProviderSignIn.Configure(oidc, options, metadata, clientKey, clock)
                );
            authentication.AddOpenIdConnect(ProviderSignIn.Scheme, _ => { });
        }

        services.PostConfigure<CookieAuthenticationOptions>(SessionCookie.Scheme, cookie => cookie.TimeProvider = clock);
        services.AddAuthorization();
        services.AddAntiforgery(antiforgery =>
        {
            (antiforgery.Cookie.Name, antiforgery.Cookie.SecurePolicy, antiforgery.Cookie.SameSite, antiforgery.Cookie.Path) = (
                $"{prefix}pakhouse-form",
                secure,
                SameSiteMode.Strict,
                "/"
            );
            antiforgery.SuppressXFrameOptionsHeader = true; // frame-ancestors does this
        });
        services.AddRazorPages(pages =>
        {
            pages.RootDirectory = "/Dashboard";
            pages.Conventions.AuthorizeFolder("/");
            pages.Conventions.AllowAnonymousToPage("/SignIn/SignIn");
            pages.Conventions.AllowAnonymousToPage("/SignIn/SetUp");
            pages.Conventions.AllowAnonymousToPage("/SignIn/SignOut");
            pages.Conventions.AllowAnonymousToPage("/SignIn/AcceptInvitation");
            foreach (var page in (string[])["/SignIn/SignInCode", "/SignIn/ForgotPassword", "/SignIn/ResetPassword", "/SignIn/Connect"])
                pages.Conventions.AllowAnonymousToPage(page);
            pages.Conventions.AllowAnonymousToPage("/Docs/ApiDocs");
            pages.Conventions.ConfigureFilter(new PageMethods());
            pages.Conventions.ConfigureFilter(new FreshSignIn());
            pages.Conventions.ConfigureFilter(new ResponseCacheAttribute { NoStore = true, Location = ResponseCacheLocation.None });
        });

        builder.WebHost.UseUrls(options.Listen.GetLeftPart(UriPartial.Authority));
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.ConfigureEndpointDefaults(endpoint => endpoint.Use(next => connection =>
            {
                connection.Transport = new ZeroingPipe(connection.Transport);
                return next(connection);
            }));
            kestrel.Limits.MaxRequestBodySize = 64 * 1024; // forms of pages; the exchange bounds its own
            kestrel.Limits.MaxRequestLineSize = 8 * 1024;
            kestrel.Limits.MaxRequestHeadersTotalSize = 32 * 1024;
        });

        Logs.Configure(builder);
    }

    private static void UseMiddleware(WebApplication app, PakhouseOptions options)
    {
        app.UseRequestLog();
        app.UsePublicOrigin(options);
        app.UseErrorHandler();
        TokenEndpoint.UseBeforeRouting(app); // an exchange ends here
        app.UseRouting();
        app.UseStatusAnswers();
        app.UseReadableRequests(); // endpoints that read a secret out of a body short-circuit before
        app.UsePageHeaders(options);
        app.UseAuthentication();
        app.UseAuthorization();
        app.UseCallers();
        app.UseAntiforgery();
    }

    private static void MapRoutes(WebApplication app)
    {
        var routes = app.MapOpenRoutes();
        TokenEndpoint.Map(app); // apart: an exchange accepts only POST, and no scripts of other sites
        Discovery.Map(routes);
        StatusListEndpoint.Map(routes);
        Introspection.Map(routes);
        RevocationEndpoint.Map(routes);
        UserInfo.Map(routes);
        LeakEndpoints.Map(routes);
        SessionEndpoint.Map(routes);
        OrganizationEndpoints.Map(routes);
        MemberEndpoints.Map(routes);
        InvitationEndpoints.Map(routes);
        KeyEndpoints.Map(routes);
        KeyLifeEndpoints.Map(routes);
        ApiKeyEndpoints.Map(routes);
        InventoryEndpoints.Map(routes);
        PolicyEndpoints.Map(routes);
        ActivityEndpoints.Map(routes);
        WebhookEndpoints.Map(routes);
        CatalogueEndpoints.Map(routes, app.Services.GetRequiredService<PakhouseOptions>().Roles);
        ApiDocument.Map(routes);
        Health.Map(routes);
        Assets.Map(routes);
        if (app.Services.GetRequiredService<PakhouseOptions>().OidcAuthority is not null)
        {
            ProviderSignIn.Map(routes);
            ProviderLogout.Map(routes);
            ProviderClientKey.Map(routes);
            ProviderSignOut.Map(routes);
        }

        app.MapRazorPages();
    }
}
