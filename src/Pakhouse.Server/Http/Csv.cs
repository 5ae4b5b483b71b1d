using System.Buffers;
using System.Text;

namespace Pakhouse.Server;

/// <summary>
/// Rows of comma-separated values (RFC 4180) for people's spreadsheets: names, user agents and addresses are what somebody else chose.
/// <para>Invariant: no cell begins like a formula, whether the spreadsheet takes commas, semicolons, tabs, bars or line breaks for its
/// separators. Every cell is quoted.</para>
/// </summary>
public static class Csv
{
    public const string ContentType = "text/csv; charset=utf-8";

    /// <summary>Before the first row. Without it a spreadsheet guesses the encoding.</summary>
    public const char ByteOrderMark = '\uFEFF';

    /// <summary>
    /// OWASP, "CSV Injection"; and what compatibility (UAX #15) makes the same: full-width, small, raised and lowered signs.
    /// </summary>
    private static readonly SearchValues<char> signs = SearchValues.Create(
        "=+-@\u207A\u207B\u207C\u208A\u208B\u208C\u2212\uFB29\uFE62\uFE63\uFE66\uFE6B\uFF0B\uFF0D\uFF1D\uFF20");

    /// <summary>
    /// Behind one of these a cell begins, in one program or another. A quote in a text can end the cell for a program that takes another
    /// separator.
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
        if (cell.Length > 0 && char.IsControl(cell[0])) text.Append('\''); // some programs skip it, some drop it
        var from = 0;
        while (from < cell.Length)
        {
            var length = cell.AsSpan(from).IndexOfAny(borders);
            var end = length < 0 ? cell.Length : from + length + 1;
            var piece = cell.AsSpan(from, end - from);
            // Before what is skipped, because that is where a program looks first.
            if (IsFormula(piece)) text.Append('\'');
            text.Append(piece);
            if (piece[^1] == '"') text.Append('"');
            from = end;
        }
    }

    /// <summary>
    /// Whether a sign comes first, but for characters that nobody sees: blanks, control characters, marks, zero-width characters.
    /// </summary>
    private static bool IsFormula(ReadOnlySpan<char> piece)
    {
        if (!piece.ContainsAny(signs)) return false;
        foreach (var rune in piece.EnumerateRunes())
            if (Checks.IsVisible(rune)) return rune.IsBmp && signs.Contains((char)rune.Value);
        return false;
    }
}

/// <param name="Next">To ask for the page after this one; null: it is the last.</param>
public sealed record CsvPage(IEnumerable<string?[]> Rows, string? Next);

/// <summary>
/// A download of rows, from the first to the last, however many: page by page, so that neither this process nor the database holds them
/// all, and a slow reader holds no connection and no transaction of the database.
/// <para>Invariant: a file that ends well is whole. What goes wrong behind the first page breaks the connection, so that the receiver sees
/// a failed transfer and not a short file.</para>
/// </summary>
public static class CsvExport
{
    /// <summary>Rows of one page: few enough for memory, many enough that the work of a page does not count.</summary>
    public const int PageLength = 5_000;

    /// <param name="read">Gives the page behind the cursor (null: the first) and asks anew whether the caller may have it.</param>
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
        response.Headers["X-Accel-Buffering"] = "no"; // nginx would keep the file until its buffer is full
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
                throw; // and the log says why
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
