using Microsoft.AspNetCore.Http.Extensions;

namespace Pakhouse.Server;

/// <summary>One page of a long list, counted from 1. Not "page", because Razor Pages reserves that name.</summary>
/// <param name="First">Index of the first entry of this page.</param>
/// <param name="Count">Entries of this page.</param>
public sealed record Pager(int Part, int PerPage, int First, int Count, long Total, string Label, string? Earlier, string? Later)
{
    /// <param name="asked">The number in the URL, which can be anything.</param>
    /// <param name="label">For assistive technology: "Pages of members".</param>
    /// <param name="query">The filters of this page; the links keep them.</param>
    public static Pager Of(int asked, int perPage, long total, string label, IQueryCollection query, string anchor = "")
    {
        var last = (int)Math.Max(1, (total + perPage - 1) / perPage);
        var part = Math.Clamp(asked, 1, last);
        var first = (part - 1) * perPage;
        return new(
            part,
            perPage,
            first,
            (int)Math.Min(perPage, total - first),
            total,
            label,
            part > 1 ? Link(part - 1) : null,
            part < last ? Link(part + 1) : null
        );

        string Link(int to) =>
            new QueryBuilder(query.Where(pair => pair.Key != "part")) { { "part", to.ToString() } }.ToQueryString() + anchor;
    }
}
