using System.Net;
using System.Security.Cryptography;
using System.Text;

namespace Pakhouse.Server;

/// <summary>
/// The decision of an exchange: every reason to refuse, in order, on this page. It reads the database once (R6), keeps no state, and knows
/// neither HTTP nor the format of a token.
/// <para>Invariant: a grant relies only on data read after the request arrived.</para>
/// <para>A description begins with our name for the field at fault (<c>key</c>, <c>organization</c>, <c>scope</c>); the endpoint replaces
/// it by the name that the caller used.</para>
/// </summary>
public sealed class KeyExchange(ExchangeRead read, PakhouseOptions options, TimeProvider clock)
{
    // The hash to compare with when there is no such key. No key has this hash.
    private static readonly byte[] noHash = RandomNumberGenerator.GetBytes(SHA256.HashSizeInBytes);

    /// <summary>Returns the grant, or the first reason to refuse.</summary>
    public async ValueTask<Outcome<TokenGrant>> ExchangeAsync(ExchangeRequest request)
    {
        // 1. The grammar and its check digits, so that typing errors never reach the database.
        if (!KeyFormat.TryParse(request.Key.Span, out var kind, out var keyId))
            return Unproven("malformed");
        if (request.ApiKeyName is not null != (kind == KeyKind.Organization))
            return Unproven("the other kind of key");
        var hash = SHA256.HashData(request.Key.Span);

        // 2. The only read.
        var target = request.SubOrganization?.ToString();
        var facts = await read.FindAsync(keyId, target);

        // 3. The secret. Until it is verified, every failure returns the same response, so callers learn nothing.
        var isVerified = CryptographicOperations.FixedTimeEquals(hash, facts?.Hash ?? noHash);
        if (facts is null || !isVerified)
            return Unproven(facts is null ? "unknown id" : "wrong secret");
        if (request.ApiKeyName is { } name && !CryptographicOperations.FixedTimeEquals(name.Span, Encoding.UTF8.GetBytes(facts.UserName)))
            return Unproven("wrong name");
        return Evaluate(keyId, facts, target, request.Scopes, request.Address ?? IPAddress.None, clock.GetUtcNow());
    }

    /// <summary>Evaluates a raw key of either kind on its own: the grant that a token of its own organization would contain.</summary>
    public async ValueTask<Outcome<TokenGrant>> ProveAsync(ReadOnlyMemory<byte> key, IPAddress? address)
    {
        if (!KeyFormat.TryParse(key.Span, out _, out var keyId))
            return Unproven("malformed");
        var hash = SHA256.HashData(key.Span);
        var facts = await read.FindAsync(keyId, null);
        var isVerified = CryptographicOperations.FixedTimeEquals(hash, facts?.Hash ?? noHash);
        return facts is not null && isVerified
            ? Evaluate(keyId, facts, null, ScopeRequest.Everything, address ?? IPAddress.None, clock.GetUtcNow())
            : Unproven("unknown id or wrong secret");
    }

    /// <summary>Evaluates a token that came back: whether its key would still be exchanged for it, and what it would contain now.</summary>
    /// <param name="scopes">The scopes of the token.</param>
    /// <param name="address">The address of the caller that presented the token; null if somebody else asks about it.</param>
    public async ValueTask<Outcome<TokenGrant>> ResumeAsync(
        string keyId,
        string organizationId,
        NameSet scopes,
        IPAddress? address = null
    ) =>
        await read.FindAsync(keyId, organizationId) is { } facts
            ? Evaluate(keyId, facts, organizationId, ScopeRequest.Exactly(scopes), address, clock.GetUtcNow())
            : Unproven("unknown id");

    /// <summary>Returns the grant, or the first reason to refuse a key whose secret has been verified.
    /// Explanations and previews of a policy use it too, so they say what an exchange does.</summary>
    /// <param name="address">Null: networks are not checked.</param>
    /// <param name="steps">If given, receives the evaluated steps. In a refusal the last one is the step that refused.</param>
    internal Outcome<TokenGrant> Evaluate(
        string keyId,
        ExchangeRow facts,
        string? target,
        ScopeRequest scopes,
        IPAddress? address,
        DateTimeOffset now,
        List<ExchangeStep>? steps = null
    )
    {
        // 4. The end of the key, its owner or its organization (R5). The holder may learn the state of the key, not that of people or
        // tenants.
        steps?.Add(ExchangeStep.NotDeleted);
        if (facts.IsDeleted || facts.IsMembershipOver)
            return deleted;
        steps?.Add(ExchangeStep.NotReplaced);
        if (facts.OverlapEndsAt <= now)
            return facts.IsSuspended || facts.IsApiKey ? replacedBefore : replaced; // even if it has expired since
        steps?.Add(ExchangeStep.NotExpired);
        if (facts.ExpiresAt <= now)
            return expired;
        steps?.Add(ExchangeStep.NotSuspended);
        if (facts.IsSuspended)
            return suspended;
        steps?.Add(ExchangeStep.HolderActive);
        if (facts.IsUserGone)
            return Suspended("user disabled or deleted");
        steps?.Add(ExchangeStep.OrganizationOpen);
        if (facts.IsOrganizationClosed)
            return Suspended("organization or its root disabled or deleted");

        // 5. The organization (R3): the key's own, or, from a root, one of its sub-organizations. For an API key, one that its roles name.
        steps?.Add(ExchangeStep.Target);
        var isOwn = target is null || target == facts.OrganizationId;
        if (!isOwn && facts.TargetRootId != facts.OrganizationId)
            return notTheirs;
        if (!isOwn && facts.IsApiKey && facts.OtherRoles is null)
            return notTheirs;

        // 6. The policies that apply: of the key's organization, of its root, and of the organization that the token is for.
        var roles = options.Roles.Active(facts.Roles.Union(facts.OtherRoles ?? NameSet.Empty)); // R1
        var policies = PolicyTimeline.Of(facts.Policy, facts.RootPolicy, isOwn ? null : facts.TargetPolicy);
        var policy = policies.At(now);
        var subject = new Policy.Subject(facts.IsApiKey, roles, facts.CreatedAt, !isOwn, address);
        var violation = policy.FirstViolation(subject, now);
        for (var rule = PolicyRule.Holders; steps is not null && rule <= (violation ?? PolicyRule.Networks); rule++)
            steps.Add(StepOf(rule));
        if (violation is { } broken)
            return Beyond(broken);

        // 7. The scopes: never more than the catalogue, the key, the policy or the request allows.
        steps?.Add(ExchangeStep.Scopes);
        if (!scopes.Names.IsSubsetOf(options.Scopes))
            return Refusal.At(
                "scope",
                RefusalCode.InvalidScope,
                $"a scope is unknown; the scopes are {options.Scopes}.",
                "unknown scope"
            );
        var allowed = facts.KeyScopes.IsAll ? options.Scopes : facts.KeyScopes;
        if (!scopes.Names.IsSubsetOf(allowed))
            return Refusal.At(
                "scope",
                RefusalCode.InvalidScope,
                "this key is limited to fewer scopes. Ask for fewer, or omit the field to get all that the key allows.",
                "scope beyond the key's"
            );
        if (policy.Scopes is { } inPolicy && !allowed.IsSubsetOf(inPolicy))
            allowed = NameSet.Of(allowed.Where(inPolicy.Contains));
        if (!scopes.Names.IsSubsetOf(allowed))
            return Beyond(PolicyRule.Scopes);
        var granted = scopes.Grant(allowed);
        if (granted.Count == 0)
            return Beyond(PolicyRule.Scopes); // a token without a scope would be useless

        var expiresAt = Earlier(facts.ExpiresAt, policies.LifetimeEnd(facts.CreatedAt, now));
        return new TokenGrant
        {
            KeyId = keyId,
            IsApiKey = facts.IsApiKey,
            StatusIndex = facts.StatusIndex,
            KeyExpiresAt = expiresAt,
            IsReplaced = facts.OverlapEndsAt is not null,
            KeyEndsAt = Earlier(Earlier(expiresAt, facts.OverlapEndsAt), policies.NextViolationAt(subject, now)),
            LifetimeMax = policy.TokenLifetime,
            UserId = facts.UserId,
            UserName = facts.UserName,
            UserEmail = facts.UserEmail,
            OrganizationId = isOwn ? facts.OrganizationId : target!,
            RootOrganizationId = facts.RootId ?? facts.OrganizationId,
            IsMember = isOwn || facts.OtherRoles is not null,
            Roles = roles,
            Scopes = granted,
        };
    }

    private static DateTimeOffset? Earlier(DateTimeOffset? a, DateTimeOffset? b) => a is null || b < a ? b : a;

    /// <summary>The rule of a policy that a step checks; null: the step checks something else.</summary>
    public static PolicyRule? RuleOf(ExchangeStep step) =>
        step switch
        {
            ExchangeStep.Holders => PolicyRule.Holders,
            ExchangeStep.Lifetime => PolicyRule.Lifetime,
            ExchangeStep.RootKeys => PolicyRule.RootKeys,
            ExchangeStep.Networks => PolicyRule.Networks,
            ExchangeStep.Scopes => PolicyRule.Scopes,
            ExchangeStep.NotDeleted
            or ExchangeStep.NotExpired
            or ExchangeStep.NotReplaced
            or ExchangeStep.NotSuspended
            or ExchangeStep.HolderActive
            or ExchangeStep.OrganizationOpen
            or ExchangeStep.Target => null,
        };

    private static ExchangeStep StepOf(PolicyRule rule) =>
        rule switch
        {
            PolicyRule.Holders => ExchangeStep.Holders,
            PolicyRule.Lifetime => ExchangeStep.Lifetime,
            PolicyRule.RootKeys => ExchangeStep.RootKeys,
            PolicyRule.Networks => ExchangeStep.Networks,
            PolicyRule.Scopes => ExchangeStep.Scopes,
        };

    private static Refusal Beyond(PolicyRule rule) =>
        rule switch
        {
            PolicyRule.Holders => holders,
            PolicyRule.Lifetime => tooOld,
            PolicyRule.RootKeys => noRootKeys,
            PolicyRule.Networks => elsewhere,
            PolicyRule.Scopes => noScopeLeft,
        };

    private static readonly Refusal unproven = Refusal.At(
        "key",
        RefusalCode.InvalidGrant,
        "the key is not valid. Check that it was copied whole, that it belongs to this server, and that it was not deleted; "
            + "otherwise generate a new one.",
        "not proved"
    );

    private static Refusal Unproven(string reason) => unproven with { Reason = reason, IsGuess = true };

    private static Refusal Suspended(string reason) => unproven with { Reason = reason };

    private static readonly Refusal deleted = Refusal.At(
        "key",
        RefusalCode.InvalidGrant,
        "this key was deleted. Generate a new one.",
        "deleted"
    ) with
    {
        Late = UseAfterEnd.OfEnded,
    };
    private static readonly Refusal expired = Refusal.At(
        "key",
        RefusalCode.InvalidGrant,
        "this key has expired. Generate a new one.",
        "expired"
    ) with
    {
        Late = UseAfterEnd.OfEnded,
    };
    private static readonly Refusal replaced = Refusal.At(
        "key",
        RefusalCode.InvalidGrant,
        "this key was rotated, and the time in which it still worked has ended. Use the key that replaced it.",
        "rotated, overlap over"
    ) with
    {
        Late = UseAfterEnd.OfReplaced,
    };
    private static readonly Refusal replacedBefore = replaced with { Late = UseAfterEnd.OfEnded };
    private static readonly Refusal suspended = Refusal.At(
        "key",
        RefusalCode.InvalidGrant,
        "this key is suspended. Ask an owner of the organization.",
        "suspended"
    );
    private static readonly Refusal notTheirs = Refusal.At(
        "organization",
        RefusalCode.AccessDenied,
        "this key cannot be exchanged for that organization. Give a sub-organization of the key's root organization, or "
            + "leave the field out.",
        "not the key's organization nor a sub-organization of it (R3)"
    );
    private static readonly Refusal holders = Refusal.At(
        "key",
        RefusalCode.AccessDenied,
        "the organization's policy does not allow keys for your current roles. Ask an owner of the organization.",
        "policy: holders"
    );
    private static readonly Refusal tooOld = Refusal.At(
        "key",
        RefusalCode.InvalidGrant,
        "this key is older than the organization's policy allows. Generate a new one.",
        "policy: lifetime"
    ) with
    {
        Late = UseAfterEnd.OfEnded,
    };
    private static readonly Refusal noRootKeys = Refusal.At(
        "organization",
        RefusalCode.AccessDenied,
        "by policy, keys of the root are not exchanged for this sub-organization. Use a key that was generated in it.",
        "policy: root keys"
    );
    private static readonly Refusal elsewhere = Refusal.At(
        "key",
        RefusalCode.AccessDenied,
        "the organization's policy does not allow the network that this request came from. Exchange the key from an allowed one, or "
            + "ask an owner.",
        "policy: networks"
    );
    private static readonly Refusal noScopeLeft = Refusal.At(
        "scope",
        RefusalCode.InvalidScope,
        "the organization's policy does not allow this scope, or allows none of the key's; ask for less, or leave the field out to "
            + "get all that is allowed.",
        "policy: scopes"
    );
}
