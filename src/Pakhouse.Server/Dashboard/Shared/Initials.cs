using System.Globalization;

namespace Pakhouse.Server;

/// <summary>One or two letters of a name, for its tile.</summary>
public static class Initials
{
    public static string Of(string name)
    {
        var words = name.Split(' ', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        // By text element: half a surrogate pair is not a letter.
        return string.Concat(words.Take(2).Select(word => StringInfo.GetNextTextElement(word))).ToUpperInvariant();
    }
}
