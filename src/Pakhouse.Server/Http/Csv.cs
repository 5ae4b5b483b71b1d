using System.Buffers;
using System.Text;

namespace Pakhouse.Server;

/// <summary>
/// Rows of comma-separated values (RFC 4180) for spreadsheets. Names, user agents and addresses are text that other people chose.
/// <para>Invariant: no cell begins like a formula, whether the spreadsheet separates cells by commas, semicolons, tabs, bars or line
/// breaks. Every cell is quoted.</para>
/// </summary>
public static class Csv
{
    public const string ContentType = "text/csv; charset=utf-8";

    /// <summary>Before the first row. Without it a spreadsheet guesses the encoding.</summary>
    public const char ByteOrderMark = '\uFEFF';

    /// <summary>
    /// Signs that start a formula (OWASP, "CSV Injection"), and their compatible forms (UAX #15): full-width, small, raised and lowered
    /// signs.
    /// </summary>
    private static readonly SearchValues<char> signs = SearchValues.Create(
        "=+-@\u207A\u207B\u207C\u208A\u208B\u208C\u2212\uFB29\uFE62\uFE63\uFE66\uFE6B\uFF0B\uFF0D\uFF1D\uFF20");

    /// <summary>
    /// Separators after which a cell begins in some program. A quote in a text can end the cell for a program that uses another separator.
    /// </summary>
    private static readonly SearchValues<char> borders = SearchValues.Create(",;|\"\t\r\n\v\f\u0085\u2028\u2029");

    /// <summary>One line with its end.</summary>
    public static void AppendRow(StringBuilder text, params ReadOnlySpan<string?> cells)
    {
        for (var i = 0; i < cells.Length; i++)
        {
            if (i > 0) text.Append(',');
            text.Append('"');
            AppendCell(text, cells[i] ?? "");
            text.Append('"');
        }

        text.Append("\r\n");
    }

    private static void AppendCell(StringBuilder text, string cell)
    {
        if (cell.Length > 0 && char.IsControl(cell[0])) text.Append('\''); // some programs skip control characters, some drop them
        var from = 0;
        while (from < cell.Length)
        {
            var length = cell.AsSpan(from).IndexOfAny(borders);
            var end = length < 0 ? cell.Length : from + length + 1;
            var piece = cell.AsSpan(from, end - from);
            // Before the skipped characters, because a program looks there first.
            if (IsFormula(piece)) text.Append('\'');
            text.Append(piece);
            if (piece[^1] == '"') text.Append('"');
            from = end;
        }
    }

    /// <summary>
    /// Whether a sign comes first, ignoring invisible characters: blanks, control characters, marks, zero-width characters.
    /// </summary>
    private static bool IsFormula(ReadOnlySpan<char> piece)
    {
        if (!piece.ContainsAny(signs)) return false;
        foreach (var rune in piece.EnumerateRunes())
            if (Checks.IsVisible(rune)) return rune.IsBmp && signs.Contains((char)rune.Value);
        return false;
    }
}

/// <param name="Next">The value that requests the next page; null: this is the last page.</param>
public sealed record CsvPage(IEnumerable<string?[]> Rows, string? Next);

/// <summary>
/// A download of any number of rows, page by page. So neither this process nor the database holds all rows, and a slow reader holds no
/// database connection and no transaction.
/// <para>Invariant: a file that ends normally is complete. An error after the first page breaks the connection, so the receiver sees a
/// failed transfer and not a short file.</para>
/// </summary>
public static class CsvExport
{
    /// <summary>Rows of one page: few enough for memory, many enough that the overhead of a page is small.</summary>
    public const int PageLength = 5_000;

    /// <param name="read">Returns the page after the cursor (null: the first) and checks again whether the caller may read it.</param>
    public static async Task WriteAsync(HttpContext context, string fileName, string[] titles, Func<string?, Task<Outcome<CsvPage>>> read)
    {
        var first = await read(null);
        if (first.Refusal is { } refusal)
        {
            await RefusalWriter.WriteAsync(context, refusal);
            return;
        }

        var response = context.Response;
        response.ContentType = Csv.ContentType;
        response.Headers.ContentDisposition = $"attachment; filename=\"{fileName}\"";
        response.Headers.CacheControl = "no-store";
        response.Headers["X-Accel-Buffering"] = "no"; // otherwise nginx buffers the file
        if (HttpMethods.IsHead(context.Request.Method)) return;

        var text = new StringBuilder().Append(Csv.ByteOrderMark);
        Csv.AppendRow(text, titles);
        for (var page = first.Value; ;)
        {
            foreach (var row in page.Rows) Csv.AppendRow(text, row);
            foreach (var chunk in text.GetChunks()) await response.WriteAsync(chunk.ToString(), context.RequestAborted);
            text.Clear();
            if (page.Next is null) return;
            Outcome<CsvPage> next;
            try
            {
                next = await read(page.Next);
            }
            catch
            {
                context.Abort();
                throw; // the log has the reason
            }

            if (next.IsRefused)
            {
                context.Abort();
                return;
            }

            page = next.Value;
        }
    }
}
