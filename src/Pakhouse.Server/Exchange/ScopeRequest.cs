namespace Pakhouse.Server;

/// <summary>
/// The scopes requested for a token. A request for all scopes is explicit: the default of this type is no scope at all.
/// </summary>
public readonly struct ScopeRequest
{
    private enum Kind
    {
        Exactly,
        Asked,
        Everything,
    }

    private readonly Kind kind;
    private readonly NameSet? names;

    private ScopeRequest(Kind kind, NameSet names) => (this.kind, this.names) = (kind, names);

    /// <summary>All scopes that the key allows.</summary>
    public static ScopeRequest Everything { get; } = new(Kind.Everything, NameSet.Empty);

    /// <summary>The field <c>scope</c> of a request. Absent or empty means all, because existing clients omit it.</summary>
    public static ScopeRequest Of(NameSet names) => names.Count == 0 ? Everything : new(Kind.Asked, names);

    /// <summary>For a token that came back: the scopes that it was granted, and no more.</summary>
    public static ScopeRequest Exactly(NameSet names) => new(Kind.Exactly, names);

    /// <summary>The requested scopes; empty if all or none are requested.</summary>
    public NameSet Names => names ?? NameSet.Empty;

    public bool IsEverything => kind == Kind.Everything;

    /// <summary>
    /// The granted subset of the allowed scopes (R11). A request that names only identity scopes limits the claims but not the APIs: the
    /// public sample sends exactly these and then calls APIs. A request that names any API scope gets only the named scopes.
    /// </summary>
    /// <param name="allowed">By the key and the policy. <see cref="Names"/> are within it.</param>
    public NameSet Grant(NameSet allowed) =>
        kind switch
        {
            Kind.Everything => allowed,
            Kind.Asked when Names.All(ScopeCatalogue.IsIdentity) => Names.Union(
                NameSet.Of(allowed.Where(scope => !ScopeCatalogue.IsIdentity(scope)))
            ),
            Kind.Asked or Kind.Exactly => Names,
        };
}
