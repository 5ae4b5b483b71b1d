using System.Collections.Frozen;
using System.Reflection;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Pakhouse.Server;

/// <summary>Roles of one part of the platform, as <c>roles.json</c> holds and <c>GET /roles.json</c> shows them.</summary>
public sealed record RoleModule
{
    public required string Module { get; init; }
    public required string Title { get; init; }

    /// <summary>Modules of one group stand together.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public string? GroupName { get; init; }

    /// <summary>False: of this module's roles a member holds one at most. Absent: true.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public bool? Multi { get; init; }

    /// <summary>False: not offered to people; roles already held go on. Absent: true.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public bool? Enabled { get; init; }

    /// <summary>Ticked when somebody is invited.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public IReadOnlyList<string>? DefaultRoles { get; init; }

    public required IReadOnlyList<RoleEntry> Roles { get; init; }
}

/// <param name="Key">What stands in tokens.</param>
/// <param name="Name">What people read.</param>
public sealed record RoleEntry(string Key, string Name);

/// <summary>
/// The roles of the platform: our own three and whatever its modules have. Members hold only roles of the catalogue; a role that has
/// left it is kept, shown as retired and put into no token. What a role is enough for here, <see cref="Permissions"/> says; for the rest
/// the platform's APIs do.
/// </summary>
public sealed class RoleCatalogue
{
    /// <summary>Roles of one member in one organization.</summary>
    public const int RolesMax = 32;

    private static readonly JsonSerializerOptions json = new(JsonSerializerDefaults.Web)
    {
        UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
        ReadCommentHandling = JsonCommentHandling.Skip,
        AllowTrailingCommas = true,
    };

    private readonly FrozenDictionary<string, string> names;

    private RoleCatalogue(IReadOnlyList<RoleModule> modules)
    {
        Modules = modules;
        names = modules.SelectMany(module => module.Roles).ToFrozenDictionary(role => role.Key, role => role.Name, StringComparer.Ordinal);
    }

    public IReadOnlyList<RoleModule> Modules { get; }

    /// <summary>What a deployment has that sets no file of its own.</summary>
    public static RoleCatalogue Default { get; } = Parse(ReadDefault());

    public bool Contains(string role) => names.ContainsKey(role);

    /// <summary>For people; a retired role has only its key.</summary>
    public string NameOf(string role) => names.GetValueOrDefault(role, role);

    /// <summary>The roles without the retired ones.</summary>
    public NameSet Active(NameSet roles) => roles.All(Contains) ? roles : NameSet.Of(roles.Where(Contains));

    /// <summary>Whether a member may hold these roles; null: yes.</summary>
    /// <param name="held">What the member holds already: a role that has left the catalogue may stay, and not come anew.</param>
    public Refusal? Check(NameSet roles, NameSet held)
    {
        if (roles.Count > RolesMax)
            return new Refusal(RefusalCode.InvalidRequest, $"roles: give at most {RolesMax}.", "too many roles");
        if (!roles.All(role => Contains(role) || held.Contains(role)))
            return new Refusal(
                RefusalCode.InvalidRequest,
                "roles: one of them is not in the catalogue; GET /roles.json lists those that are.",
                "unknown role"
            );
        return
            Modules.FirstOrDefault(module => module.Multi == false && module.Roles.Count(role => roles.Contains(role.Key)) > 1)
                is { } module
            ? new Refusal(
                RefusalCode.InvalidRequest,
                $"roles: of {module.Title}, give one role at most.",
                "two roles of a module that allows one"
            )
            : null;
    }

    /// <exception cref="FormatException">It is no catalogue; the message says where.</exception>
    public static RoleCatalogue Parse(ReadOnlySpan<byte> utf8)
    {
        IReadOnlyList<RoleModule> modules;
        try
        {
            modules = JsonSerializer.Deserialize<List<RoleModule>>(utf8, json) ?? throw new FormatException("it is empty");
        }
        catch (JsonException e)
        {
            throw new FormatException($"line {e.LineNumber + 1}, {e.Path}: not the form of a catalogue", e);
        }

        var seen = new HashSet<string>(StringComparer.Ordinal);
        foreach (var module in modules)
        {
            foreach (var role in module.Roles)
            {
                if (!NameSet.IsName(role.Key))
                    throw new FormatException(
                        $"module {module.Module}: a role's key is 1 to {NameSet.NameLengthMax} characters of [A-Za-z0-9._:-]"
                    );
                if (!seen.Add(role.Key))
                    throw new FormatException($"role {role.Key} stands in it twice");
            }

            if (module.DefaultRoles?.FirstOrDefault(role => module.Roles.All(entry => entry.Key != role)) is { } stray)
                throw new FormatException($"module {module.Module}: its default role {stray} is not one of its roles");
        }

        return BuiltInRoles.All.FirstOrDefault(role => !seen.Contains(role)) is { } missing
            ? throw new FormatException($"the role {missing} is missing: Pakhouse's own permissions hang on it")
            : new RoleCatalogue(modules);
    }

    private static byte[] ReadDefault()
    {
        using var stream = Assembly.GetExecutingAssembly().GetManifestResourceStream("roles.json")!;
        var bytes = new byte[stream.Length];
        stream.ReadExactly(bytes);
        return bytes;
    }
}
