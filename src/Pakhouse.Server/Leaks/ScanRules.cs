namespace Pakhouse.Server;

/// <summary>The rules for other programs to find this deployment's keys, in the format of each program.</summary>
internal static class ScanRules
{
    public static readonly string[] Scanners = ["gitleaks", "github", "git-secrets"];

    /// <summary>The current brand first, then the earlier ones, because their keys still work.</summary>
    public static IEnumerable<string> Brands(PakhouseOptions options) =>
        options.EarlierBrands.Prepend(options.Brand).Distinct(StringComparer.Ordinal);

    /// <summary>Letters, digits and underscores only, because GitLab makes a type of it and replaces everything else.</summary>
    private static string RuleId(string brand) => $"pakhouse_{brand}_access_key";

    /// <summary>GitLab's name for a finding of our gitleaks rule when it requests its revocation.</summary>
    public static string GitLabType(string brand) => $"gitleaks_rule_id_{RuleId(brand)}";

    /// <summary>
    /// Both kinds of keys, without word boundaries: each format has its own way to define what may surround a key; git-secrets uses grep
    /// -w.
    /// </summary>
    private static string Expression(string brand) =>
        $"{brand}_[op]ak1_[0-9A-Za-z]{{{KeyFormat.IdLength}}}_[0-9A-Za-z]{{{KeyFormat.SecretLength + KeyFormat.CheckLength}}}";

    public static string For(string scanner, string brand) =>
        scanner switch
        {
            "gitleaks" => $"""
                # gitleaks: in .gitleaks.toml, or in the file that --config names; GitLab: in the ruleset of secret detection.
                [[rules]]
                id = "{RuleId(brand)}"
                description = "Access key of Pakhouse ({brand})"
                regex = '''\b({Expression(brand)})\b'''
                keywords = ["{brand}_pak1_", "{brand}_oak1_"]
                """,
            "github" => $"""
                # GitHub: Settings, Advanced Security, Custom patterns, New pattern.
                Pattern name: Pakhouse access key ({brand})
                Secret format: {Expression(brand)}
                Before secret: \A|[^0-9A-Za-z_]
                After secret: \z|[^0-9A-Za-z_]
                """,
            "git-secrets" => $"""
                # git-secrets: run in each repository, or with --global once.
                git secrets --add '{Expression(brand)}'
                """,
            _ => throw new ArgumentOutOfRangeException(nameof(scanner)),
        };
}
