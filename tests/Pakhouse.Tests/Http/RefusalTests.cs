using System.Text.RegularExpressions;

namespace Pakhouse.Tests;

/// <summary>A refusal carries the field at fault as data: no sentence begins with one that only a reader of sentences could find.</summary>
public sealed partial class RefusalTests
{
    [Fact]
    public void A_field_is_data_and_begins_the_description()
    {
        var refusal = Refusal.At("name", RefusalCode.InvalidRequest, "enter 1 to 100 characters.", "too long");
        Assert.Equal(("name", "enter 1 to 100 characters."), (refusal.Field, refusal.Message));
        Assert.Equal("name: enter 1 to 100 characters.", refusal.Description);
        var renamed = refusal.In("fullName");
        Assert.Equal(("fullName", "fullName: enter 1 to 100 characters."), (renamed.Field, renamed.Description));
        Assert.Equal("no: colon", new Refusal(RefusalCode.Conflict, "no: colon", "why").Message); // nothing is read out of a sentence
    }

    [Fact, SqliteOnly("it reads source files")]
    public void No_refusal_writes_its_field_into_the_sentence()
    {
        var sources = Directory
            .GetFiles(Path.Combine(Repository.Root, "src", "Pakhouse.Server"), "*.cs", SearchOption.AllDirectories)
            .Where(file => !file.Contains("/obj/", StringComparison.Ordinal))
            .Select(File.ReadAllText);
        Assert.Equal([], sources.SelectMany(source => InSentence().Matches(source)).Select(match => match.Value));
        // the control
        Assert.Single(InSentence().Matches("return new(\n  RefusalCode.InvalidRequest,\n  $\"{field}: enter a name.\", \"\")"));
    }

    [GeneratedRegex(@"new(?: Refusal)?\(\s*RefusalCode\.\w+,\s*\$?""(?:\{\w+\}|[A-Za-z][\w-]*): ", RegexOptions.None, 1000)]
    private static partial Regex InSentence();
}
