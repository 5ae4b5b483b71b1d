using System.Globalization;

namespace Pakhouse.Server;

/// <summary>One or two letters that stand for a name on its tile.</summary>
public static class Initials
{
    public static string Of(string name)
    {
        var words = name.Split(' ', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        // By text element: half a surrogate pair is no letter.
        return string.Concat(words.Take(2).Select(word => StringInfo.GetNextTextElement(word))).ToUpperInvariant();
    }
}
