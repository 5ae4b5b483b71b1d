// A protected API. Start a server with the scopes that it requires, then this program, and call it with a token:
//
//   dotnet run --project src/Pakhouse.Server -- demo --Pakhouse:Scopes "orders:read orders:write"
//   dotnet run --project samples/OrdersApi -- --Issuer http://127.0.0.1:8420 --urls http://127.0.0.1:8500
//   curl http://127.0.0.1:8500/orders -H "Authorization: Bearer $TOKEN"
using System.Collections.Concurrent;
using System.Security.Claims;
using Pakhouse.AspNetCore;

var builder = WebApplication.CreateBuilder(args);
builder.Services.AddPakhouse(options =>
{
    options.Issuer = builder.Configuration["Issuer"] ?? "http://127.0.0.1:8420";
    options.Audience = builder.Configuration["Audience"] ?? "";
});

var app = builder.Build();
app.UseAuthentication();
app.UseAuthorization();

var orders = new ConcurrentDictionary<Guid, ConcurrentQueue<Order>>();

// Each organization sees its own orders: the token names its organization.
app.MapGet("/orders", (ClaimsPrincipal caller) => orders.GetValueOrDefault(caller.GetOrganizationId())?.ToArray() ?? [])
    .RequireScope("orders:read");

// Roles limit what the user may do, and scopes what the token may be used for: a change requires both.
app.MapPost(
        "/orders",
        (NewOrder wanted, ClaimsPrincipal caller) =>
        {
            var order = new Order(wanted.Article, wanted.Count, OrderedBy: caller.GetUserId(), WithKey: caller.GetKeyId());
            orders.GetOrAdd(caller.GetOrganizationId(), _ => []).Enqueue(order);
            return order;
        }
    )
    .RequireScope("orders:write")
    .RequireRole("owner", "organization-manager");

await app.RunAsync();

internal sealed record NewOrder(string Article, int Count);

internal sealed record Order(string Article, int Count, Guid OrderedBy, string WithKey);
