using System.Net;
using System.Net.Http.Headers;
using System.Security.Claims;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using Pakhouse.AspNetCore;

namespace Pakhouse.Tests;

/// <summary>An API that accepts tokens, as a platform builds it: Kestrel, the package, a server it knows by its address. What goes between the two can be tampered with.</summary>
internal sealed class VerifyingApi : IAsyncDisposable
{
    private readonly WebApplication app;
    private readonly HttpClient http;

    private VerifyingApi(WebApplication app, Wire wire) => (this.app, Network, http) = (app, wire, new HttpClient { BaseAddress = new Uri(app.Urls.Single()) });

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
        built.MapGet("/who", (ClaimsPrincipal caller) => Results.Text($"{caller.GetOrganizationId()} {caller.GetRootOrganizationId()} {caller.GetUserId()} {caller.GetKeyId()} {caller.IsInheritedMember()}")).RequireAuthorization();
        built.MapGet("/build", () => "built").RequireRole("builder", "tester");
        built.MapGet("/mail", () => "mailed").RequireScope("openid", "email");
        await built.StartAsync();
        return new VerifyingApi(built, wire);
    }

    public async Task<Answer> AskAsync(string? token, string path = "/who")
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, path);
        if (token is not null) request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token);
        return await Answer.OfAsync(await http.SendAsync(request));
    }

    public async Task<HttpStatusCode> StatusAsync(string? token, string path = "/who") => (await AskAsync(token, path)).Status;

    public async ValueTask DisposeAsync()
    {
        http.Dispose();
        await app.DisposeAsync();
    }

    internal sealed class Wire() : DelegatingHandler(new SocketsHttpHandler { AllowAutoRedirect = false })
    {
        private int fetches;

        /// <summary>Of status lists.</summary>
        public int Fetches => Volatile.Read(ref fetches);

        /// <summary>Answers in place of the server; null: the server's own.</summary>
        public Func<string?>? List { get; set; }

        /// <summary>Seconds that a cache on the way says it kept the list.</summary>
        public int? Age { get; set; }

        protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            if (!request.RequestUri!.AbsolutePath.StartsWith("/status-lists", StringComparison.Ordinal)) return await base.SendAsync(request, cancellationToken);
            Interlocked.Increment(ref fetches);
            if (List?.Invoke() is { } list) return new HttpResponseMessage(HttpStatusCode.OK) { Content = new StringContent(list, null, "application/statuslist+jwt"), RequestMessage = request };
            var response = await base.SendAsync(request, cancellationToken);
            if (Age is { } seconds) response.Headers.Age = TimeSpan.FromSeconds(seconds);
            return response;
        }
    }
}
