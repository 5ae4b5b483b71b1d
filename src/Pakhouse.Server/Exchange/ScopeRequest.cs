namespace Pakhouse.Server;

/// <summary>
/// Which scopes a token is asked for. Everything is asked for by saying so and never by leaving something out: the default of this type is
/// no scope at all.
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

    /// <summary>All that the key allows.</summary>
    public static ScopeRequest Everything { get; } = new(Kind.Everything, NameSet.Empty);

    /// <summary>The field <c>scope</c> of a request. Absent or empty is everything: so the clients of the field send it.</summary>
    public static ScopeRequest Of(NameSet names) => names.Count == 0 ? Everything : new(Kind.Asked, names);

    /// <summary>Of a token that came back: what it was granted, and nothing more.</summary>
    public static ScopeRequest Exactly(NameSet names) => new(Kind.Exactly, names);

    /// <summary>The scopes named; empty where everything is asked for, or nothing.</summary>
    public NameSet Names => names ?? NameSet.Empty;

    public bool IsEverything => kind == Kind.Everything;

    /// <summary>
    /// What is granted out of what is allowed (R11). A request that names only identity scopes narrows the claims and not the APIs: the
    /// public sample sends exactly these, and then calls APIs. One that names any API scope gets the named ones alone.
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
