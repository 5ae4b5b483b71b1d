using System.Text;
using System.Text.Json;

namespace Pakhouse.SystemTests;

/// <summary>What <c>scan-rules</c> prints, in the engines that will run it; and <c>scan</c> as it is called.</summary>
public sealed class ScanRules
{
    private static string NewKey(string brand, KeyKind kind = KeyKind.Personal) =>
        Encoding.ASCII.GetString(KeyFormat.Create(brand, KeyFormat.NewId(), kind));

    [Fact]
    public async Task Every_scanner_finds_the_keys_of_the_brand_and_nothing_else()
    {
        var (key, api) = (NewKey("acme"), NewKey("acme", KeyKind.Organization));
        (string Text, bool IsKey)[] samples =
        [
            (key, true),
            (api, true),
            ($"TOKEN={key}", true),
            ($"\"{key}\",", true),
            ($"curl -d personalAccessKey={key} https://x", true),
            ($"<{api}>", true),
            (NewKey("other"), false),
            (key[..^1], false),
            ($"{key}x", false),
            ($"x{key}", false),
            (key.Replace("_pak1_", "_pak2_", StringComparison.Ordinal), false),
            ("acme_pak1_", false),
            ("", false),
        ];

        var folder = Directory.CreateTempSubdirectory("pakhouse-rules-").FullName;
        var rules = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var scanner in (string[])["gitleaks", "github", "git-secrets"])
        {
            var printed = await RunningServer.RunAsync(["scan-rules", scanner, "--Pakhouse:Brand", "acme"], folder);
            Assert.True(printed.ExitCode == 0, printed.All);
            rules[scanner] = printed.Output;
        }

        var fields = rules["github"]
            .Split('\n')
            .Where(line => !line.StartsWith('#') && line.Contains(": ", StringComparison.Ordinal))
            .ToDictionary(
                line => line[..line.IndexOf(": ", StringComparison.Ordinal)],
                line => line[(line.IndexOf(": ", StringComparison.Ordinal) + 2)..],
                StringComparer.Ordinal
            );
        var run = await Tool.RunAsync(
            Tool.Python,
            [Tool.Script("scan_rules.py")],
            JsonSerializer.Serialize(
                new
                {
                    gitleaks = rules["gitleaks"],
                    github = new
                    {
                        secret = fields["Secret format"],
                        before = fields["Before secret"],
                        after = fields["After secret"],
                    },
                    samples = samples.Select(sample => sample.Text),
                }
            )
        );
        Assert.True(run.ExitCode == 0, run.All);
        var answers = JsonDocument.Parse(run.Output).RootElement;
        var expected = samples.Select(sample => sample.IsKey).ToArray();
        Assert.Equal(expected, answers.GetProperty("gitleaks").EnumerateArray().Select(answer => answer.GetBoolean()));
        Assert.Equal(expected, answers.GetProperty("github").EnumerateArray().Select(answer => answer.GetBoolean()));
        Assert.Equal("pakhouse_acme_access_key", answers.GetProperty("id").GetString()); // GitLab's type is made of it

        // git-secrets itself, in a repository that the printed command was run in.
        var repository = Directory.CreateDirectory(Path.Combine(folder, "repository")).FullName;
        Tool.Require("git-secrets", "git-secrets");
        var add = await Tool.RunAsync(Tool.Bash, ["-c", $"cd '{repository}' && git init -q . && {rules["git-secrets"]}"]);
        Assert.True(add.ExitCode == 0, add.All);
        foreach (var (text, isKey) in samples)
        {
            await File.WriteAllTextAsync(Path.Combine(repository, "file"), text + "\n");
            var scanned = await Tool.RunAsync(Tool.Bash, ["-c", $"cd '{repository}' && git secrets --scan file"]);
            Assert.Equal(isKey ? 1 : 0, scanned.ExitCode);
        }

        Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public async Task The_program_scans_standard_input_without_a_database_and_says_by_its_exit_code_what_it_found()
    {
        var folder = Directory.CreateTempSubdirectory("pakhouse-scan-").FullName;
        var key = NewKey("ph");
        var found = await Tool.RunAsync(
            "dotnet",
            [
                Path.Combine(AppContext.BaseDirectory, "Pakhouse.Server.dll"),
                "scan",
                "-",
                "--Pakhouse:DataFolder",
                Path.Combine(folder, "data"),
            ],
            $"a\nb {key}\n"
        );
        Assert.Equal(1, found.ExitCode);
        Assert.StartsWith(
            $"(standard input):2: personal access key {key.Split('_')[2]} (brand ph)",
            found.Output,
            StringComparison.Ordinal
        );
        Assert.DoesNotContain(key[^49..], found.All, StringComparison.Ordinal);
        Assert.False(Directory.Exists(Path.Combine(folder, "data")));
        Assert.Equal(
            0,
            (
                await Tool.RunAsync("dotnet", [Path.Combine(AppContext.BaseDirectory, "Pakhouse.Server.dll"), "scan", "-"], "nothing")
            ).ExitCode
        );
        Directory.Delete(folder, recursive: true);
    }
}
