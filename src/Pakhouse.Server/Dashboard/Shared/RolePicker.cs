using Microsoft.Extensions.Primitives;

namespace Pakhouse.Server;

/// <summary>The role catalogue in a form: check boxes for each module, or one choice if a module allows only one role.</summary>
/// <param name="Prefix">Prefix of the field names, because one form can have several.</param>
/// <param name="Chosen">Ticked.</param>
/// <param name="Held">Current roles: a retired role, or one of a module that is not offered, is shown only to a member who has it.</param>
/// <param name="MayGrantOwner">R8; the operation decides.</param>
public sealed record RolePicker(RoleCatalogue Catalogue, string Prefix, NameSet Chosen, NameSet Held, bool MayGrantOwner)
{
    public IEnumerable<RoleModule> Modules =>
        Catalogue.Modules.Where(module => module.Enabled != false || module.Roles.Any(role => Held.Contains(role.Key)));

    public IEnumerable<string> Retired => Held.Where(role => !Catalogue.Contains(role));

    /// <summary>The roles that the catalogue selects by default.</summary>
    public static NameSet Defaults(RoleCatalogue catalogue) =>
        NameSet.Of(catalogue.Modules.Where(module => module.Enabled != false).SelectMany(module => module.DefaultRoles ?? []));

    /// <summary>The chosen roles. A forged field is split into single names, each of which the operation checks.</summary>
    public static NameSet Read(IEnumerable<KeyValuePair<string, StringValues>> form, string prefix) =>
        NameSet.Parse(
            string.Join(
                ' ',
                form.Where(field => field.Key.StartsWith($"{prefix}.", StringComparison.Ordinal)).SelectMany(field => field.Value.ToArray())
            )
        );
}
