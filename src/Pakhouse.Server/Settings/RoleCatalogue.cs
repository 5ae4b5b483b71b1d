using System.Collections.Frozen;
using System.Reflection;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Pakhouse.Server;

/// <summary>Roles of one part of the platform, as in <c>roles.json</c> and <c>GET /roles.json</c>.</summary>
public sealed record RoleModule
{
    public required string Module { get; init; }
    public required string Title { get; init; }

    /// <summary>Modules of one group are shown together.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public string? GroupName { get; init; }

    /// <summary>False: a member holds at most one role of this module. Absent: true.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public bool? Multi { get; init; }

    /// <summary>False: not offered to people; existing members keep their roles. Absent: true.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public bool? Enabled { get; init; }

    /// <summary>Selected by default in an invitation.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public IReadOnlyList<string>? DefaultRoles { get; init; }

    public required IReadOnlyList<RoleEntry> Roles { get; init; }
}

/// <param name="Key">The name in tokens.</param>
/// <param name="Name">The name for people.</param>
public sealed record RoleEntry(string Key, string Name);

/// <summary>
/// The roles of the platform: our own three and those of its modules. Members hold only roles of the catalogue; a role that has left it is
/// kept, shown as retired and put into no token. <see cref="Permissions"/> defines what a role allows here; the platform's APIs define the
/// rest.
/// </summary>
public sealed class RoleCatalogue
{
    /// <summary>The most roles of one member in one organization.</summary>
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

    /// <summary>The catalogue of a deployment that sets no file.</summary>
    public static RoleCatalogue Default { get; } = Parse(ReadDefault());

    public bool Contains(string role) => names.ContainsKey(role);

    /// <summary>The name for people; a retired role has only its key.</summary>
    public string NameOf(string role) => names.GetValueOrDefault(role, role);

    /// <summary>The roles without the retired ones.</summary>
    public NameSet Active(NameSet roles) => roles.All(Contains) ? roles : NameSet.Of(roles.Where(Contains));

    /// <summary>Whether a member may hold these roles; null: allowed.</summary>
    /// <param name="held">The member's current roles: a role that has left the catalogue may stay but not be added.</param>
    public Refusal? Check(NameSet roles, NameSet held)
    {
        if (roles.Count > RolesMax)
            return Refusal.At("roles", RefusalCode.InvalidRequest, $"give at most {RolesMax}.", "too many roles");
        if (!roles.All(role => Contains(role) || held.Contains(role)))
            return Refusal.At(
                "roles",
                RefusalCode.InvalidRequest,
                "one of them is not in the catalogue. GET /roles.json lists all roles.",
                "unknown role"
            );
        return
            Modules.FirstOrDefault(module => module.Multi == false && module.Roles.Count(role => roles.Contains(role.Key)) > 1)
                is { } module
            ? Refusal.At(
                "roles",
                RefusalCode.InvalidRequest,
                $"give at most one role of {module.Title}.",
                "two roles of a module that allows one"
            )
            : null;
    }

    /// <exception cref="FormatException">It is not a catalogue; the message says where.</exception>
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
                    throw new FormatException($"role {role.Key} occurs twice");
            }

            if (module.DefaultRoles?.FirstOrDefault(role => module.Roles.All(entry => entry.Key != role)) is { } stray)
                throw new FormatException($"module {module.Module}: its default role {stray} is not one of its roles");
        }

        return BuiltInRoles.All.FirstOrDefault(role => !seen.Contains(role)) is { } missing
            ? throw new FormatException($"the role {missing} is missing: Pakhouse's own permissions need it")
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
