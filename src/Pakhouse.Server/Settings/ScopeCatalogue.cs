using System.Text.Json;
using System.Text.Json.Serialization;

namespace Pakhouse.Server;

/// <param name="Name">The name in requests and tokens.</param>
/// <param name="Title">The name for people.</param>
public sealed record ScopeEntry(
    string Name,
    string Title,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Description = null
);

/// <summary>
/// The scopes of the platform with texts for people: the built-in ones and its own. There are two kinds. Identity scopes (OpenID Connect
/// Core §5.4) define which claims a token contains. All others are API scopes and define which calls it allows: two of them are for this
/// server's own API, and the platform's APIs define the meaning of the rest.
/// </summary>
public static class ScopeCatalogue
{
    private static readonly JsonSerializerOptions json = new(JsonSerializerDefaults.Web)
    {
        UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
        ReadCommentHandling = JsonCommentHandling.Skip,
        AllowTrailingCommas = true,
        RespectNullableAnnotations = true,
        RespectRequiredConstructorParameters = true,
    };

    public const string OpenId = "openid",
        Profile = "profile",
        Email = "email",
        OrganizationRead = "organization:read",
        OrganizationWrite = "organization:write";

    /// <summary>The scopes of every server, the identity scopes first.</summary>
    public static IReadOnlyList<ScopeEntry> Standard { get; } =
    [
        new(OpenId, "Identity", "Who the token acts for."),
        new(Profile, "Name", "The token contains the person's name."),
        new(Email, "E-mail address", "The token contains the person's address, and its calls can read those of members."),
        new(OrganizationRead, "Read organizations", "Read organizations, their members, roles, keys and activity."),
        new(OrganizationWrite, "Change organizations", "Change organizations, members, roles, invitations and keys."),
    ];

    /// <summary>It limits claims and opens no API.</summary>
    public static bool IsIdentity(string name) => name is OpenId or Profile or Email;

    /// <exception cref="FormatException">It is not a catalogue; the message says where.</exception>
    public static IReadOnlyList<ScopeEntry> Parse(ReadOnlySpan<byte> utf8)
    {
        List<ScopeEntry>? entries;
        try
        {
            entries = JsonSerializer.Deserialize<List<ScopeEntry>>(utf8, json);
        }
        catch (JsonException e)
        {
            throw new FormatException($"line {e.LineNumber + 1}, {e.Path}: not the form of a catalogue", e);
        }

        if (entries is null || entries.Contains(null!))
            throw new FormatException("an entry is empty");
        if (entries.FirstOrDefault(entry => !NameSet.IsName(entry.Name)) is not null)
            throw new FormatException($"a scope's name is 1 to {NameSet.NameLengthMax} characters of [A-Za-z0-9._:-]");
        if (
            entries.Concat(Standard).GroupBy(entry => entry.Name, StringComparer.Ordinal).FirstOrDefault(group => group.Count() > 1) is
            { } twice
        )
            throw new FormatException($"scope {twice.Key} occurs twice, or is one of the built-in ones");
        return entries;
    }

    /// <summary>Every scope of the settings; a scope without a title uses its name.</summary>
    public static IEnumerable<ScopeEntry> Of(PakhouseOptions options) =>
        options.Scopes.Select(name => Standard.Concat(options.ScopeEntries).FirstOrDefault(entry => entry.Name == name) ?? new(name, name));

    public static string? DescriptionOf(PakhouseOptions options, string name) =>
        Of(options).FirstOrDefault(entry => entry.Name == name)?.Description;
}
