using System.Text.RegularExpressions;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;

namespace Pakhouse.Tests;

/// <summary>
/// The rooms of the server stand on floors: a folder uses what stands below it and nothing else. docs/architecture.md says what each room
/// owns.
/// </summary>
public sealed class FloorsTests
{
    private static readonly string[] floors =
    [
        "Foundation",
        "Settings",
        "Http",
        "Storage",
        "Audit",
        "Outbox",
        "Authorization",
        "Signing",
        "Status",
        "Exchange",
        "Keys",
        "Organizations",
        "Policies",
        "SignIn",
        "Tokens",
        "Leaks",
        "Webhooks",
        "Activity",
        "Dashboard",
        "Backups",
        "Host",
    ];

    private static readonly string source = Path.Combine(Repository.Root, "src", "Pakhouse.Server");

    [Fact, SqliteOnly("it reads source files")]
    public void No_folder_uses_one_that_stands_above_it()
    {
        Assert.Equal(
            floors.Order(),
            Directory.GetDirectories(source).Select(folder => Path.GetFileName(folder)).Where(name => name is not ("bin" or "obj")).Order()
        );
        Assert.Empty(Directory.GetFiles(source, "*.cs"));
        Assert.Equal([], Violations(Sources()));
    }

    [Fact, SqliteOnly("it reads source files")]
    public void A_page_gets_its_data_from_its_model_and_asks_nobody_else() =>
        Assert.Equal(["Dashboard/Shared/_RoleNames.cshtml: @inject PakhouseOptions Options"], Injections(Sources()));

    [Fact, SqliteOnly("it reads source files")]
    public void Control_a_page_that_asks_the_database_itself_is_found() =>
        Assert.Equal(["Planted.cshtml: @inject Policies Policies"], Injections([("Planted.cshtml", "<p>\n  @inject Policies Policies\n")]));

    private static IEnumerable<string> Injections(IEnumerable<(string Path, string Text)> sources) =>
        sources
            .Where(source => source.Path.EndsWith(".cshtml", StringComparison.Ordinal))
            .SelectMany(source =>
                source
                    .Text.Split('\n')
                    .Where(line => Regex.IsMatch(line, "@inject|RequestServices", RegexOptions.None, TimeSpan.FromSeconds(1)))
                    .Select(line => $"{source.Path}: {line.Trim()}")
            )
            .Order(StringComparer.Ordinal);

    [Fact, SqliteOnly("it reads source files")]
    public void Control_a_class_and_a_page_that_reach_upwards_are_found()
    {
        var planted = new[]
        {
            (
                "Foundation/Planted.cs",
                "namespace Pakhouse.Server; static class Planted { public static object Of(Guid id) => new { name = nameof(KeyLifecycle), "
                    + "link = Links.Security(id) }; }"
            ),
            ("Dashboard/Planted.cshtml", "@inject Restore restore"),
        };
        Assert.Equal(
            [
                "Foundation/Planted.cs: Foundation uses KeyLifecycle of Keys",
                "Foundation/Planted.cs: Foundation uses Links of Settings",
                "Dashboard/Planted.cshtml: Dashboard uses Restore of Backups",
            ],
            Violations([.. Sources(), .. planted])
        );
    }

    private static IEnumerable<(string Path, string Text)> Sources() =>
        Directory
            .GetFiles(source, "*.cs*", SearchOption.AllDirectories)
            .Select(file => (Path: Path.GetRelativePath(source, file), File: file))
            .Where(file =>
                !file.Path.StartsWith("bin/", StringComparison.Ordinal) && !file.Path.StartsWith("obj/", StringComparison.Ordinal)
            )
            .Append((Path: "Foundation/KeyFormat.cs", File: Path.Combine(Repository.Root, "src", "Shared", "KeyFormat.cs")))
            .Where(file => Path.GetExtension(file.Path) is ".cs" or ".cshtml")
            .Order()
            .Select(file => (file.Path, File.ReadAllText(file.File)));

    /// <summary>
    /// Every use of a type of a higher floor. Classes are read by the compiler; of pages, every word that names a type counts.
    /// </summary>
    private static List<string> Violations(IEnumerable<(string Path, string Text)> sources)
    {
        var files = sources.ToLookup(file => file.Path.EndsWith(".cs", StringComparison.Ordinal));
        const string usings =
            "global using System; global using System.Collections.Generic; global using System.IO; global using System.Linq; global using "
            + "System.Threading; "
            + "global using System.Threading.Tasks; global using Microsoft.AspNetCore.Builder; global using Microsoft.AspNetCore.Http; "
            + "global using Microsoft.AspNetCore.Routing; "
            + "global using Microsoft.Extensions.Configuration; global using Microsoft.Extensions.DependencyInjection; global using "
            + "Microsoft.Extensions.Hosting; global using Microsoft.Extensions.Logging;";
        var trees = files[true].Select(file => CSharpSyntaxTree.ParseText(file.Text, path: file.Path)).ToList();
        var assemblies = ((string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!)
            .Split(Path.PathSeparator)
            .Where(path => !path.EndsWith("Pakhouse.Server.dll", StringComparison.Ordinal));
        var compilation = CSharpCompilation.Create(
            "floors",
            [.. trees, CSharpSyntaxTree.ParseText(usings)],
            assemblies.Select(path => MetadataReference.CreateFromFile(path))
        );
        var found = new List<string>();
        foreach (var tree in trees)
        {
            var model = compilation.GetSemanticModel(tree);
            var used = tree.GetRoot()
                .DescendantNodes()
                .OfType<SimpleNameSyntax>()
                .SelectMany(name =>
                    model.GetSymbolInfo(name) is var symbols
                    && (symbols.Symbol ?? symbols.CandidateSymbols.FirstOrDefault())
                        is { } symbol
                            and not (ILocalSymbol or IParameterSymbol)
                        ? new[] { symbol as INamedTypeSymbol, symbol.ContainingType }
                        : []
                )
                .OfType<INamedTypeSymbol>();
            foreach (var type in used.Select(Outermost).ToHashSet<INamedTypeSymbol>(SymbolEqualityComparer.Default))
                Note(tree.FilePath, type.Name, PathOf(type));
        }

        var types = compilation
            .Assembly.GlobalNamespace.GetNamespaceMembers()
            .SelectMany(Types)
            .Where(type => PathOf(type) is not null)
            .ToLookup(type => type.Name, StringComparer.Ordinal);
        foreach (var (path, text) in files[false])
        {
            foreach (
                var word in Regex
                    .Matches(text, @"(?<![\w.\-""'/#>])[A-Z]\w+(?=[\s.(<])", RegexOptions.None, TimeSpan.FromSeconds(5))
                    .Select(match => match.Value)
                    .Distinct(StringComparer.Ordinal)
            )
                foreach (var type in types[word])
                    Note(path, type.Name, PathOf(type));
        }

        return found;

        void Note(string path, string type, string? where)
        {
            if (where is null || Floor(where) <= Floor(path))
                return;
            found.Add($"{path}: {path.Split('/')[0]} uses {type} of {where.Split('/')[0]}");
        }
    }

    private static int Floor(string path) => Array.IndexOf(floors, path.Split('/')[0]);

    private static string? PathOf(INamedTypeSymbol type) =>
        type.OriginalDefinition.Locations.FirstOrDefault(location => location.IsInSource)?.SourceTree?.FilePath is { Length: > 0 } path
            ? path
            : null;

    private static INamedTypeSymbol Outermost(INamedTypeSymbol type) => type.ContainingType is { } outer ? Outermost(outer) : type;

    private static IEnumerable<INamedTypeSymbol> Types(INamespaceSymbol names) =>
        names.GetTypeMembers().Concat(names.GetNamespaceMembers().SelectMany(Types));
}
