using System.Net;
using Microsoft.AspNetCore.Mvc;

namespace Pakhouse.Server;

/// <summary>Explains the result of an exchange, for the holder of the key and for owners and managers.</summary>
public sealed class ExplainModel(Organizations organizations, Explanations explanations) : OrganizationPage(organizations)
{
    [FromRoute]
    public string KeyId { get; set; } = "";

    [FromQuery(Name = "organization")]
    public Guid? Target { get; set; }

    [FromQuery(Name = "scope")]
    public string? Scope { get; set; }

    [FromQuery(Name = "address")]
    public string? Address { get; set; }

    public Explanation Explanation { get; private set; } = null!;

    /// <summary>The key's organization and, for a root, its sub-organizations.</summary>
    public IEnumerable<Organization> Targets => Organizations.Where(one => one.Id == OrganizationId || one.RootId == OrganizationId);

    /// <summary>The text without the field name at its start.</summary>
    public static string Describe(Refusal refusal) =>
        char.ToUpperInvariant(refusal.Message[0]) + refusal.Message[1..];

    public async Task<IActionResult> OnGetAsync()
    {
        if (await LoadAsync() is { } refused)
            return refused;
        IPAddress? address = null;
        if (!string.IsNullOrWhiteSpace(Address) && !IPAddress.TryParse(Address.Trim(), out address))
            Errors.Add("Enter an IPv4 or IPv6 address, or leave it empty.");
        var explained = await explanations.ExplainAsync(
            Actor,
            OrganizationId,
            KeyId,
            Target,
            ScopeRequest.Of(NameSet.Parse(Scope is { Length: <= 2048 } ? Scope : "")),
            address
        );
        if (explained.Refusal is { } refusal)
            return this.Refuse(refusal);
        Explanation = explained.Value;
        return Page();
    }
}
