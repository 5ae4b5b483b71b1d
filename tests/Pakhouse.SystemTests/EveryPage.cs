using System.Collections.Concurrent;
using System.Reflection;
using System.Text.RegularExpressions;

namespace Pakhouse.SystemTests;

/// <summary>
/// Holds that <see cref="SeeEveryPage"/> sees every page: after the last of its tests, each Razor page of the program was audited, or
/// stands here.
/// </summary>
public sealed partial class EveryPage : IAsyncDisposable
{
    /// <summary>Pages that it does not see, and why.</summary>
    private static readonly Dictionary<string, string> elsewhere = new(StringComparer.Ordinal)
    {
        ["/sign-out"] = "shows nothing: it leads on",
        ["/account/passkeys/add"] = "needs a server that has passkeys: audited by SignInWays",
        ["/account/passkeys/{id:guid}/remove"] = "needs a passkey: audited by SignInWays",
        ["/sign-in/code"] = "needs an authenticator app: audited by SignInWays",
        ["/invitations/{code:maxlength(64)}"] = "needs an invitation: audited by UseTeam",
        ["/sign-in/connect"] = "needs a provider: audited by ConnectAccounts",
    };

    private static readonly ConcurrentDictionary<string, bool> seen = new(StringComparer.Ordinal);

    private int tests;

    public static void Seen(string url) => seen.TryAdd(new Uri(url).AbsolutePath, true);

    /// <summary>One more of the tests.</summary>
    public void Begin() => Interlocked.Increment(ref tests);

    /// <exception cref="Xunit.Sdk.XunitException">Reported as a failure of the class.</exception>
    public ValueTask DisposeAsync()
    {
        // Some of the tests alone see some of the pages.
        if (tests < typeof(SeeEveryPage).GetMethods().Count(method => method.GetCustomAttribute<FactAttribute>() is not null))
            return default;
        var templates = Templates(Path.Combine(Page.Root, "src", "Pakhouse.Server")).ToList();
        Assert.True(templates.Count > 30);
        Assert.Empty(elsewhere.Keys.Except(templates, StringComparer.Ordinal));
        var missing = templates.Where(template =>
            !elsewhere.ContainsKey(template) && !seen.Keys.Any(path => Pattern(template).IsMatch(path))
        );
        Assert.Equal("", string.Join(", ", missing));
        Assert.DoesNotMatch(Pattern("/organizations/{organizationId:guid}/new-page"), string.Join('\n', seen.Keys)); // the control
        return default;
    }

    /// <summary>The addresses of the pages, out of their sources.</summary>
    private static IEnumerable<string> Templates(string folder) =>
        Directory
            .EnumerateFiles(folder, "*.cshtml", SearchOption.AllDirectories)
            .Select(file => Directive().Match(File.ReadAllText(file)))
            .Where(match => match.Success)
            .Select(match => match.Groups["route"] is { Success: true } route ? route.Value : "/");

    private static Regex Pattern(string template) =>
        new($"^{Parameter().Replace(template, "[^/]+")}$", RegexOptions.Multiline | RegexOptions.ExplicitCapture, TimeSpan.FromSeconds(1));

    [GeneratedRegex("^\\uFEFF?@page( \"(?<route>[^\"]+)\")?", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex Directive();

    [GeneratedRegex(@"\{[^}]*\}", RegexOptions.None, 1000)]
    private static partial Regex Parameter();
}
