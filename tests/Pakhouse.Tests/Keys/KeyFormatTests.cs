using System.Text;
using System.Text.RegularExpressions;
using CsCheck;

namespace Pakhouse.Tests;

public partial class KeyFormatTests
{
    [GeneratedRegex(@"^[a-z][a-z0-9]{1,15}_pak1_[0-9A-Za-z]{16}_[0-9A-Za-z]{49}$", RegexOptions.CultureInvariant, 1000)]
    private static partial Regex Grammar { get; }

    [Fact]
    public void A_hundred_thousand_generated_keys_follow_the_grammar_and_none_comes_twice()
    {
        var seen = new HashSet<string>(StringComparer.Ordinal);
        var characters = new int[128];
        for (var i = 0; i < 100_000; i++)
        {
            var id = KeyFormat.NewId();
            var bytes = KeyFormat.Create("ph", id);
            var key = Encoding.ASCII.GetString(bytes);
            Assert.Matches(Grammar, key);
            Assert.True(KeyFormat.TryParse(bytes, out _, out var parsed));
            Assert.Equal(id, parsed);
            Assert.True(seen.Add(key));
            foreach (var c in key.AsSpan()[^49..^6])
                characters[c]++;
        }

        // Every character of the secret is as likely as another: 4.3 million drawn, 69,355 expected of each, six standard deviations.
        var counts = characters.Where(count => count > 0).ToArray();
        Assert.Equal(62, counts.Length);
        Assert.All(counts, count => Assert.InRange(count, 69_355 - 1_570, 69_355 + 1_570));
    }

    [Fact]
    public void Every_single_character_change_of_a_sample_fails_the_check()
    {
        var sample = KeyFormat.Create("acme", KeyFormat.NewId());
        for (var position = 0; position < sample.Length; position++)
        {
            for (var value = 0; value < 256; value++)
            {
                if (value == sample[position])
                    continue;
                var changed = sample.ToArray();
                changed[position] = (byte)value;
                Assert.False(KeyFormat.TryParse(changed, out _, out var id), $"position {position}, byte {value}");
                Assert.Equal("", id);
            }
        }
    }

    [Fact]
    public void Losing_adding_or_swapping_a_character_fails_the_check() =>
        Gen.Select(Gen.Int[0, 83], Gen.Int[0, 2])
            .Sample(
                (position, kind) =>
                {
                    var sample = KeyFormat.Create("acme", KeyFormat.NewId());
                    position %= sample.Length - 1;
                    if (kind == 2 && sample[position] == sample[position + 1])
                        return true; // swapping equals changes nothing
                    var changed = sample.ToList();
                    if (kind == 0)
                        changed.RemoveAt(position);
                    else if (kind == 1)
                        changed.Insert(position, (byte)'A');
                    else
                        (changed[position], changed[position + 1]) = (changed[position + 1], changed[position]);
                    return !KeyFormat.TryParse(changed.ToArray(), out _, out _);
                },
                iter: 20_000
            );

    [Fact]
    public void Whatever_bytes_are_given_parsing_answers_and_says_yes_to_the_grammar_only() =>
        Gen.OneOf(Gen.Byte.Array[0, 200], Gen.Select(Gen.Char["abc_pk10ABC"].Array[60, 90], chars => Encoding.ASCII.GetBytes(chars)))
            .Sample(bytes => !KeyFormat.TryParse(bytes, out _, out _) || Grammar.IsMatch(Encoding.Latin1.GetString(bytes)), iter: 50_000);

    [Theory]
    [InlineData("ph", true), InlineData("a1", true), InlineData("abcdefghijklmnop", true)]
    [
        InlineData("p", false),
        InlineData("abcdefghijklmnopq", false),
        InlineData("1a", false),
        InlineData("Ph", false),
        InlineData("p_h", false),
        InlineData("", false),
        InlineData("pä", false)
    ]
    public void A_brand_is_two_to_sixteen_of_its_characters_with_a_letter_first(string brand, bool isBrand)
    {
        Assert.Equal(isBrand, KeyFormat.IsBrand(brand));
        if (isBrand)
            Assert.True(KeyFormat.TryParse(KeyFormat.Create(brand, KeyFormat.NewId()), out _, out _));
        else
            Assert.Throws<ArgumentException>(() => KeyFormat.Create(brand, KeyFormat.NewId()));
    }

    [Fact]
    public void A_key_is_shorter_than_a_hundred_characters() => Assert.Equal(88, KeyFormat.LengthMax);

    /// <summary>The vectors stand in docs/protocol.md, for whoever writes a scanner; this holds the page to the code.</summary>
    [Fact]
    public void The_published_test_vectors_hold()
    {
        var page = File.ReadAllText(Path.Combine(Repository.Root, "docs", "protocol.md"));
        var vectors = Regex.Matches(
            page,
            @"^\| `(?<key>[^`]+)` \| (?<verdict>valid|invalid)\b",
            RegexOptions.Multiline | RegexOptions.ExplicitCapture,
            TimeSpan.FromSeconds(1)
        );
        Assert.True(vectors.Count(vector => vector.Groups["verdict"].Value == "valid") >= 3);
        Assert.True(vectors.Count(vector => vector.Groups["verdict"].Value == "invalid") >= 3);
        foreach (Match vector in vectors)
            Assert.True(
                KeyFormat.TryParse(Encoding.ASCII.GetBytes(vector.Groups["key"].Value), out _, out _)
                    == (vector.Groups["verdict"].Value == "valid"),
                vector.Value
            );
    }
}

/// <summary>The checkout that the tests were built from.</summary>
internal static class Repository
{
    public static string Root { get; } = Find();

    private static string Find()
    {
        var folder = new DirectoryInfo(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(folder.FullName, "Pakhouse.slnx")))
            folder = folder.Parent ?? throw new InvalidOperationException("The tests run inside the checkout.");
        return folder.FullName;
    }
}
