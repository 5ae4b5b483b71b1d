using System.Net;
using System.Net.Http.Headers;
using System.Security.Claims;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using Pakhouse.AspNetCore;

namespace Pakhouse.Tests;

/// <summary>
/// An API that accepts tokens, as a platform builds it: Kestrel, the package, a server it knows by its address. What goes between the two
/// can be tampered with.
/// </summary>
internal sealed class VerifyingApi : IAsyncDisposable
{
    private readonly WebApplication app;
    private readonly HttpClient http;

    private VerifyingApi(WebApplication app, Wire wire) =>
        (this.app, Network, http) = (app, wire, new HttpClient { BaseAddress = new Uri(app.Urls.Single()) });

    public Wire Network { get; }

    public static async Task<VerifyingApi> StartAsync(TestServer server, Action<PakhouseBearerOptions>? more = null)
    {
        var wire = new Wire();
        var builder = WebApplication.CreateBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        builder.Services.AddPakhouse(options =>
        {
            (options.Issuer, options.TimeProvider, options.BackchannelHttpHandler) = (server.Address, server.Clock, wire);
            more?.Invoke(options);
        });
        var built = builder.Build();
        built.UseAuthentication();
        built.UseAuthorization();
        built
            .MapGet(
                "/who",
                (ClaimsPrincipal caller) =>
                    Results.Text(
                        $"{caller.GetOrganizationId()} {caller.GetRootOrganizationId()} {caller.GetUserId()} {caller.GetKeyId()} "
                            + $"{caller.IsInheritedMember()}"
                    )
            )
            .RequireAuthorization();
        built.MapGet("/build", () => "built").RequireRole("builder", "tester");
        built.MapGet("/mail", () => "mailed").RequireScope("openid", "email");
        await built.StartAsync();
        return new VerifyingApi(built, wire);
    }

    public async Task<Answer> AskAsync(string? token, string path = "/who")
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, path);
        if (token is not null)
            request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token);
        return await Answer.OfAsync(await http.SendAsync(request));
    }

    /// <summary>The header as it is: the class of the framework refuses some of what a forger sends.</summary>
    public async Task<Answer> AskRawAsync(string token)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, "/who");
        request.Headers.TryAddWithoutValidation("Authorization", $"Bearer {token}");
        return await Answer.OfAsync(await http.SendAsync(request));
    }

    public async Task<HttpStatusCode> StatusAsync(string? token, string path = "/who") => (await AskAsync(token, path)).Status;

    public async ValueTask DisposeAsync()
    {
        http.Dispose();
        await app.DisposeAsync();
    }

    internal sealed class Wire(HttpMessageHandler? inner = null)
        : DelegatingHandler(inner ?? new SocketsHttpHandler { AllowAutoRedirect = false })
    {
        private int fetches;

        /// <summary>Of status lists.</summary>
        public int Fetches => Volatile.Read(ref fetches);

        /// <summary>Answers in place of the server; null: the server's own.</summary>
        public Func<string?>? List { get; set; }

        /// <summary>Answers any request in place of the server; null, or null from it: see <see cref="List"/>.</summary>
        public Func<HttpRequestMessage, HttpResponseMessage?>? Interceptor { get; set; }

        /// <summary>Seconds that a cache on the way says it kept the list.</summary>
        public int? Age { get; set; }

        protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            var isList = request.RequestUri!.AbsolutePath.StartsWith("/status-lists", StringComparison.Ordinal);
            if (isList)
                Interlocked.Increment(ref fetches);
            if (Interceptor?.Invoke(request) is { } intercepted)
            {
                intercepted.RequestMessage ??= request;
                return intercepted;
            }

            if (!isList)
                return await base.SendAsync(request, cancellationToken);
            if (List?.Invoke() is { } list)
                return new HttpResponseMessage(HttpStatusCode.OK)
                {
                    Content = new StringContent(list, null, "application/statuslist+jwt"),
                    RequestMessage = request,
                };
            var response = await base.SendAsync(request, cancellationToken);
            if (Age is { } seconds)
                response.Headers.Age = TimeSpan.FromSeconds(seconds);
            return response;
        }
    }

    /// <summary>A handler that nobody can see into.</summary>
    internal sealed class Opaque(HttpMessageHandler inner) : HttpMessageHandler
    {
        private readonly HttpMessageInvoker invoker = new(inner);

        protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken) =>
            invoker.SendAsync(request, cancellationToken);
    }

    /// <summary>
    /// An address of this machine that nobody is to call. Whoever does is counted, and answered with the server's own documents.
    /// </summary>
    internal sealed class WatchedAddress : IAsyncDisposable
    {
        private readonly WebApplication app;
        private int requests;

        private WatchedAddress(TestServer server)
        {
            app = NewApp();
            app.Run(context =>
            {
                Interlocked.Increment(ref requests);
                return CopyAsync(server, context);
            });
        }

        public int Requests => Volatile.Read(ref requests);

        public string Address => app.Urls.Single();

        public static async Task<WatchedAddress> StartAsync(TestServer server)
        {
            var watched = new WatchedAddress(server);
            await watched.app.StartAsync();
            return watched;
        }

        public ValueTask DisposeAsync() => app.DisposeAsync();

        internal static async Task CopyAsync(TestServer server, HttpContext context)
        {
            using var answer = await server.Http.GetAsync(context.Request.Path);
            context.Response.ContentType = $"{answer.Content.Headers.ContentType}";
            await context.Response.Body.WriteAsync(await answer.Content.ReadAsByteArrayAsync());
        }

        internal static WebApplication NewApp()
        {
            var builder = WebApplication.CreateBuilder();
            builder.Logging.ClearProviders();
            builder.WebHost.UseUrls("http://127.0.0.1:0");
            return builder.Build();
        }
    }

    /// <summary>
    /// Stands before the server under the server's own address, and redirects one path. The client's handler connects to it instead.
    /// </summary>
    internal sealed class Front : IAsyncDisposable
    {
        private readonly WebApplication app = WatchedAddress.NewApp();
        private readonly string server;

        private Front(TestServer server, string path, string to)
        {
            this.server = server.Address;
            app.Run(async context =>
            {
                if (context.Request.Path == path)
                {
                    context.Response.Redirect(to + path);
                    return;
                }

                await WatchedAddress.CopyAsync(server, context);
            });
        }

        public static async Task<Front> StartAsync(TestServer server, string path, string to)
        {
            var front = new Front(server, path, to);
            await front.app.StartAsync();
            return front;
        }

        public SocketsHttpHandler Handler(bool follows) =>
            new()
            {
                AllowAutoRedirect = follows,
                ConnectCallback = async (context, cancellation) =>
                {
                    var port =
                        context.DnsEndPoint.Port == new Uri(server).Port ? new Uri(app.Urls.Single()).Port : context.DnsEndPoint.Port;
                    var socket = new System.Net.Sockets.Socket(System.Net.Sockets.SocketType.Stream, System.Net.Sockets.ProtocolType.Tcp);
                    await socket.ConnectAsync(IPAddress.Loopback, port, cancellation);
                    return new System.Net.Sockets.NetworkStream(socket, ownsSocket: true);
                },
            };

        public ValueTask DisposeAsync() => app.DisposeAsync();
    }
}
