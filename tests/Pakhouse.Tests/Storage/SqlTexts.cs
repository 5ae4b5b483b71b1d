using System.Text.RegularExpressions;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;

namespace Pakhouse.Tests;

/// <summary>
/// A text of SQL as it stands in the source: a statement, a part of one, or a statement with gaps that are filled in when it is sent.
/// </summary>
/// <param name="Place">File and line.</param>
/// <param name="Parts">What stands around the gaps, each in one line; one part: there is no gap.</param>
/// <param name="Whole">The text with its lines, if there is no gap.</param>
internal sealed partial record SqlText(string Place, IReadOnlyList<string> Parts, string Whole)
{
    public bool IsComposed => Parts.Count > 1;

    public string Text => string.Join(IsComposed ? " … " : "", Parts);

    /// <summary>Whether a statement that was sent can have been made of this text: it holds all parts, in their order.</summary>
    public bool IsIn(string statement)
    {
        var at = 0;
        foreach (var part in Parts)
        {
            var found = statement.IndexOf(part, at, StringComparison.Ordinal);
            if (found < 0) return false;
            at = found + part.Length;
        }

        return true;
    }

    /// <summary>
    /// All of the server's, read off its syntax: so a text that is composed cannot hide behind another one that shares its parts.
    /// </summary>
    public static IReadOnlyList<SqlText> OfServer()
    {
        var root = Path.Combine(Repository.Root, "src", "Pakhouse.Server");
        return
        [
            .. Directory.EnumerateFiles(root, "*.cs", SearchOption.AllDirectories)
                .Where(file => !file.Contains($"{Path.DirectorySeparatorChar}obj{Path.DirectorySeparatorChar}", StringComparison.Ordinal))
                .SelectMany(file => Of(File.ReadAllText(file), Path.GetRelativePath(root, file))),
        ];
    }

    public static IEnumerable<SqlText> Of(string source, string file)
    {
        foreach (var node in CSharpSyntaxTree.ParseText(source).GetRoot().DescendantNodes())
        {
            if (node.Parent is BinaryExpressionSyntax { RawKind: (int)SyntaxKind.AddExpression })
                continue; // a part of a text of several lines, which is read as one
            var parts = PartsOf(node);
            if (parts is not null && Sql().IsMatch(string.Join(" ", parts)))
                yield return new SqlText(
                    $"{file}:{node.GetLocation().GetLineSpan().StartLinePosition.Line + 1}",
                    [.. parts.Select(Squeeze)],
                    string.Concat(parts)
                );
        }
    }

    public static string Squeeze(string text) => Space().Replace(text, " ").Trim();

    /// <summary>Null: no text. After a gap at the end stands an empty part.</summary>
    private static List<string>? PartsOf(SyntaxNode node)
    {
        switch (node)
        {
            case LiteralExpressionSyntax literal when literal.IsKind(SyntaxKind.StringLiteralExpression):
                return [literal.Token.ValueText];
            case ParenthesizedExpressionSyntax inner:
                return PartsOf(inner.Expression);
            case BinaryExpressionSyntax { RawKind: (int)SyntaxKind.AddExpression } sum:
                var (left, right) = (PartsOf(sum.Left), PartsOf(sum.Right));
                if (left is null && right is null)
                    return null;
                left ??= ["", ""];
                right ??= ["", ""];
                return [.. left.SkipLast(1), left[^1] + right[0], .. right.Skip(1)];
            case InterpolatedStringExpressionSyntax text:
                var parts = new List<string> { "" };
                foreach (var content in text.Contents)
                {
                    if (content is InterpolatedStringTextSyntax words)
                        parts[^1] += words.TextToken.ValueText;
                    else
                        parts.Add("");
                }

                return parts;
            default:
                return null;
        }
    }

    [GeneratedRegex(
        @"(^|\s)(SELECT|INSERT INTO|UPDATE [a-z_]+|DELETE FROM|JOIN [a-z_]+|WHERE|ORDER BY|GROUP BY|RETURNING|EXISTS \(|UNION( ALL)?|ON CONFLICT|AND [a-z.(_]+|LIMIT)\s",
        RegexOptions.ExplicitCapture,
        1000
    )]
    private static partial Regex Sql();

    [GeneratedRegex(@"\s+", RegexOptions.None, 1000)]
    private static partial Regex Space();
}
