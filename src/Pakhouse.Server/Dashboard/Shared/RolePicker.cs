using Microsoft.Extensions.Primitives;

namespace Pakhouse.Server;

/// <summary>The role catalogue as a form offers it: per module boxes to tick, or one choice where a module allows one role only.</summary>
/// <param name="Prefix">Of the fields' names: several can stand in one form.</param>
/// <param name="Chosen">Ticked.</param>
/// <param name="Held">Held now: a retired role, or one of a module that is not offered, is shown only to who has it.</param>
/// <param name="MayGrantOwner">R8; the operation has the last word.</param>
public sealed record RolePicker(RoleCatalogue Catalogue, string Prefix, NameSet Chosen, NameSet Held, bool MayGrantOwner)
{
    public IEnumerable<RoleModule> Modules =>
        Catalogue.Modules.Where(module => module.Enabled != false || module.Roles.Any(role => Held.Contains(role.Key)));

    public IEnumerable<string> Retired => Held.Where(role => !Catalogue.Contains(role));

    /// <summary>What the catalogue ticks beforehand.</summary>
    public static NameSet Defaults(RoleCatalogue catalogue) =>
        NameSet.Of(catalogue.Modules.Where(module => module.Enabled != false).SelectMany(module => module.DefaultRoles ?? []));

    /// <summary>What was chosen. Whatever a forged field holds becomes single names, each of which the operation looks at.</summary>
    public static NameSet Read(IEnumerable<KeyValuePair<string, StringValues>> form, string prefix) =>
        NameSet.Parse(
            string.Join(
                ' ',
                form.Where(field => field.Key.StartsWith($"{prefix}.", StringComparison.Ordinal)).SelectMany(field => field.Value.ToArray())
            )
        );
}
