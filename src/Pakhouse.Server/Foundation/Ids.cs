namespace Pakhouse.Server;

/// <summary>Ids are UUIDv7 (RFC 9562 §5.7): they sort by creation time and are never reused (R10).</summary>
public static class Ids
{
#pragma warning disable RS0030 // the only place that may create ids
    public static Guid New(TimeProvider clock) => Guid.CreateVersion7(clock.GetUtcNow());
#pragma warning restore RS0030

    /// <summary>The lower bound of ids at a time: no id created at that time or later sorts before it.</summary>
    public static Guid First(DateTimeOffset time) => new($"{time.ToUnixTimeMilliseconds():x12}".Insert(8, "-") + "-0000-0000-000000000000");
}

/// <summary>A set of role or scope names, stored as one text separated by spaces: one column, one row, on every database.</summary>
public sealed class NameSet : IReadOnlyCollection<string>, IEquatable<NameSet>
{
    /// <summary>For the audit record and for people: an empty set is the word "none".</summary>
    public string Text => Count == 0 ? "none" : ToString();

    /// <summary>The most characters of one name.</summary>
    public const int NameLengthMax = 64;

    private readonly string[] names;
    private readonly string text;

    private NameSet(string[] names) => (this.names, text) = (names, string.Join(' ', names));

    private NameSet(string text) => (names, this.text) = ([], text);

    public static NameSet Empty { get; } = new([]);

    /// <summary>
    /// Every name, now and in the future. It is stored as one word that cannot be a name, so an empty set is never read as everything. Only
    /// a column can contain it: <see cref="Parse"/>, which reads what a caller sends, does not know the word.
    /// </summary>
    public static NameSet All { get; } = new("*");

    /// <summary>It contains every name and has none to list.</summary>
    public bool IsAll => ReferenceEquals(this, All);

    public int Count => names.Length;

    /// <summary>For loops that must not allocate.</summary>
    public ReadOnlySpan<string> Names => names;

    public static NameSet Of(params IEnumerable<string> names) => new([.. names.Distinct(StringComparer.Ordinal)]);

    /// <summary>The text of a column.</summary>
    public static NameSet OfColumn(string text) => text == "*" ? All : Parse(text);

    /// <summary>Splits at spaces and commas: RFC 6749 §3.3 uses spaces, and the public sample of existing clients sends commas.</summary>
    public static NameSet Parse(string text)
    {
        if (text.Length == 0)
            return Empty;
        var words = text.Split([' ', ','], StringSplitOptions.RemoveEmptyEntries);
        return HasRepeated(words) ? Of(words) : new(words);
    }

    /// <summary>Searches the few stored names without building a table.</summary>
    private static bool HasRepeated(string[] words)
    {
        if (words.Length > 16)
            return true; // unknown
        for (var i = 1; i < words.Length; i++)
            if (Array.IndexOf(words, words[i], 0, i) >= 0)
                return true;
        return false;
    }

    public bool Contains(string name) => IsAll || Array.IndexOf(names, name) >= 0;

    public NameSet Union(NameSet other) =>
        IsAll || other.Count == 0 ? this
        : other.IsAll || Count == 0 ? other
        : Of(names.Concat(other.names));

    public bool IsSubsetOf(NameSet other) => other.IsAll || !IsAll && Array.TrueForAll(names, other.Contains);

    /// <summary>Whether both contain the same names, in any order.</summary>
    public bool SetEquals(NameSet other) => IsSubsetOf(other) && other.IsSubsetOf(this);

    /// <summary>A name is 1 to 64 of <c>[a-z0-9._:-]</c>, in either case.</summary>
    public static bool IsName(string text) =>
        text.Length is > 0 and <= NameLengthMax && text.All(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '_' or ':' or '-');

    public IEnumerator<string> GetEnumerator() => ((IEnumerable<string>)names).GetEnumerator();

    System.Collections.IEnumerator System.Collections.IEnumerable.GetEnumerator() => names.GetEnumerator();

    /// <summary>The same names in the same order.</summary>
    public bool Equals(NameSet? other) => other is not null && text == other.text;

    public override bool Equals(object? obj) => Equals(obj as NameSet);

    public override int GetHashCode() => text.GetHashCode(StringComparison.Ordinal);

    public override string ToString() => text;
}
