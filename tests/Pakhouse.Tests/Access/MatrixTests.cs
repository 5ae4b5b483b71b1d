using System.Text.RegularExpressions;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Mvc.RazorPages;
using Microsoft.AspNetCore.Mvc.RazorPages.Infrastructure;
using Microsoft.AspNetCore.Routing;

namespace Pakhouse.Tests;

/// <summary>
/// Who may do what, exhaustively: every route × every caller × every organization, from the caller's own to an unrelated one × every
/// credential. What is expected stands twice, in <see cref="Permissions"/> and by hand in <see cref="MatrixRows"/>; the two and the answers
/// must agree.
/// </summary>
public sealed partial class MatrixTests(MatrixWorld world) : IClassFixture<MatrixWorld>
{
    [Fact]
    public void Every_route_has_a_row_and_every_row_a_route()
    {
        var rows = MatrixRows.All.Select(row => $"{row.Method} {row.Path}").ToHashSet(StringComparer.Ordinal);
        Assert.Empty(Routes().Except(rows, StringComparer.Ordinal));
        Assert.Empty(rows.Except(Routes(), StringComparer.Ordinal));
    }

    /// <summary>A page takes a session and nothing else, whatever it could do with a key's token.</summary>
    [Fact]
    public async Task No_page_and_no_form_takes_a_token()
    {
        foreach (var row in MatrixRows.All.Where(row => row.IsPage && !row.IsPublic))
            foreach (var credential in "KT")
                Assert.Contains(
                    "/sign-in?",
                    (await world.SendAsync(row, "acme-owner", credential, "Acme")).Header("Location") ?? $"{row}",
                    StringComparison.Ordinal
                );
    }

    [Fact]
    public async Task Every_answer_is_what_the_permissions_and_the_cells_by_hand_say()
    {
        var faults = await world.CheckAsync(MatrixRows.All);
        Assert.True(faults.Count == 0, string.Join(Environment.NewLine, faults.Take(40)));
    }

    public static class Control
    {
        [Fact]
        public static async Task A_cell_that_is_wrong_by_hand_is_found()
        {
            var row = MatrixRows.All.First(row => row.Path.EndsWith("/invitations", StringComparison.Ordinal) && row.Method == "GET");
            await using var world = await MatrixWorld.StartAsync();
            Assert.NotEmpty(
                await world.CheckAsync([
                    row with
                    {
                        Cells = row.Cells!.Replace("mobile-viewer     -     SK", "mobile-viewer     -     S", StringComparison.Ordinal),
                    },
                ])
            );
            // the table says more than the hand
            Assert.NotEmpty(await world.CheckAsync([row with { Permissions = [Permission.SeeMembers] }]));
            Assert.NotEmpty(
                await world.CheckAsync([row with { Path = row.Path.Replace("invitations", "users", StringComparison.Ordinal) }])
            ); // the route gives more than both

            var form = MatrixRows.All.First(row => row.IsForm && row.Permissions is [Permission.ChangePolicy]);
            Assert.NotEmpty(
                await world.CheckAsync([
                    form with
                    {
                        Cells = form.Cells!.Replace("mobile-owner      -     S", "mobile-owner      -     -", StringComparison.Ordinal),
                    },
                ])
            );
            // the form of another page
            Assert.NotEmpty(await world.CheckAsync([form with { Path = form.Path.Replace("/policy", "/keys", StringComparison.Ordinal) }]));
        }
    }

    private IEnumerable<string> Routes() =>
        world
            .Server.Get<EndpointDataSource>()
            .Endpoints.OfType<RouteEndpoint>()
            .SelectMany(endpoint =>
            {
                var path = "/" + Constraint().Replace(endpoint.RoutePattern.RawText!, "}").Trim('/');
                return endpoint.Metadata.GetMetadata<PageActionDescriptor>() is { } page
                    ? [$"PAGE {path}", .. Handlers(page).Select(handler => $"{handler.Kind} {path}{handler.Query}")]
                    : endpoint
                        .Metadata.GetMetadata<HttpMethodMetadata>()
                        ?.HttpMethods.Where(method => method is not ("HEAD" or "OPTIONS"))
                        .Select(method => $"{method} {path}")
                        ?? [$"ANY {path}"];
            })
            .Distinct(StringComparer.Ordinal);

    /// <summary>
    /// As the framework finds them; whatever is not a GET stands as a form, so that a method nobody thinks of wants a row too.
    /// </summary>
    private IEnumerable<(string Kind, string Query)> Handlers(PageActionDescriptor page) =>
        from handler in world
            .Server.Get<PageLoader>()
            .LoadAsync(page, EndpointMetadataCollection.Empty)
            .GetAwaiter()
            .GetResult()
            .HandlerMethods
        select (handler.HttpMethod == "Get" ? "PAGE" : "FORM", handler.Name is null ? "" : $"?handler={handler.Name}");

    /// <summary>Where a route's pattern constrains a parameter: between its name and the brace.</summary>
    [GeneratedRegex(@"(:[a-z]+(\([^)]*\))?)+\}|\?\}", RegexOptions.ExplicitCapture, 1000)]
    internal static partial Regex Constraint();
}
