using System.Buffers;
using System.Text;

namespace Pakhouse.Server;

/// <summary>
/// Rows of comma-separated values (RFC 4180) for people's spreadsheets. A cell that a spreadsheet would take for a formula is defused: names and
/// user agents are what somebody else chose.
/// </summary>
public static class Csv
{
    public const string ContentType = "text/csv; charset=utf-8";

    private static readonly SearchValues<char> quoted = SearchValues.Create("\",\r\n");

    /// <summary>One line with its end.</summary>
    public static void AppendRow(StringBuilder text, params ReadOnlySpan<string?> cells)
    {
        for (var i = 0; i < cells.Length; i++)
        {
            if (i > 0) text.Append(',');
            var cell = Defuse(cells[i] ?? "");
            if (cell.AsSpan().ContainsAny(quoted)) text.Append('"').Append(cell.Replace("\"", "\"\"", StringComparison.Ordinal)).Append('"');
            else text.Append(cell);
        }

        text.Append("\r\n");
    }

    /// <summary>OWASP, "CSV Injection": a formula begins with one of these, also behind what a spreadsheet skips.</summary>
    private static string Defuse(string cell) => cell.AsSpan().TrimStart() is ['=' or '+' or '-' or '@', ..] || cell is ['\t' or '\r' or '\n', ..] ? "'" + cell : cell;
}
