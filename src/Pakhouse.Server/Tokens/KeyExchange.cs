using System.Security.Cryptography;

namespace Pakhouse.Server;

/// <summary>An exchange as it was asked for, free of the wire.</summary>
/// <param name="Key">ASCII bytes of the key. The caller owns and wipes them.</param>
/// <param name="SubOrganization">Null: the key's own organization.</param>
/// <param name="Scopes">Empty: all that the key allows.</param>
/// <param name="IsApiKey">An organization's API key is expected, not a person's.</param>
public readonly record struct ExchangeRequest(ReadOnlyMemory<byte> Key, Guid? SubOrganization, NameSet Scopes, bool IsApiKey = false);

/// <summary>What a token will say: exactly what the user may do in the organization at this moment (R4).</summary>
public sealed record TokenGrant
{
    public required string KeyId { get; init; }
    public required bool IsApiKey { get; init; }

    /// <summary>The key's entry in the status lists.</summary>
    public required long StatusIndex { get; init; }

    public required DateTimeOffset? KeyExpiresAt { get; init; }

    /// <summary>When the key stops by itself: its expiry or, of a rotated one, the end of its overlap. No token outlives it.</summary>
    public required DateTimeOffset? KeyEndsAt { get; init; }

    public required string UserId { get; init; }
    public required string UserName { get; init; }
    public required string UserEmail { get; init; }
    public required string OrganizationId { get; init; }
    public required string RootOrganizationId { get; init; }

    /// <summary>The user has a membership in just this organization.</summary>
    public required bool IsMember { get; init; }

    public required NameSet Roles { get; init; }
    public required NameSet Scopes { get; init; }
}

/// <summary>
/// The decision of an exchange: every reason to refuse, in order, on this page. It reads the database once (R6), remembers
/// nothing, and knows neither HTTP nor the form of a token.
/// <para>Invariant: what says yes was read after the exchange began.</para>
/// </summary>
public sealed class KeyExchange(Keys keys, PakhouseOptions options, TimeProvider clock)
{
    // Compared with when there is no such key. A hash of nothing that anybody has.
    private static readonly byte[] noHash = RandomNumberGenerator.GetBytes(SHA256.HashSizeInBytes);

    /// <summary>The grant, or the first reason that stands against it.</summary>
    public async ValueTask<Outcome<TokenGrant>> ExchangeAsync(ExchangeRequest request)
    {
        // 1. The grammar and its check digits: typing errors never reach the database.
        if (!KeyFormat.TryParse(request.Key.Span, out var kind, out var keyId)) return Unproven("malformed");
        if (request.IsApiKey != (kind == KeyKind.Organization)) return Unproven("the other kind of key");
        var hash = SHA256.HashData(request.Key.Span);

        // 2. The one read.
        var target = request.SubOrganization?.ToString();
        var facts = await keys.FindForExchangeAsync(keyId, target);

        // 3. The secret. Until here every answer is one and the same: it tells nothing to who has proved nothing.
        var isProven = CryptographicOperations.FixedTimeEquals(hash, facts?.Hash ?? noHash);
        if (facts is null || !isProven) return Unproven(facts is null ? "unknown id" : "wrong secret");
        return Judge(keyId, facts, target, request.Scopes);
    }

    /// <summary>The same for a token that came back: whether its key would still be exchanged for it, and what it would say now.</summary>
    /// <param name="scopes">Those of the token.</param>
    public async ValueTask<Outcome<TokenGrant>> ResumeAsync(string keyId, string organizationId, NameSet scopes) =>
        await keys.FindForExchangeAsync(keyId, organizationId) is { } facts ? Judge(keyId, facts, organizationId, scopes) : Unproven("unknown id");

    /// <summary>What stands against a key that was proved.</summary>
    private Outcome<TokenGrant> Judge(string keyId, ExchangeFacts facts, string? target, NameSet scopes)
    {
        // 4. The end of the key, its owner or its organization (R5). The holder may learn of the key, not of people and tenants.
        var now = clock.GetUtcNow();
        if (facts.IsDeleted || facts.IsMembershipOver) return deleted;
        if (facts.OverlapEndsAt <= now) return facts.IsSuspended || facts.IsApiKey ? replacedBefore : replaced; // also when it has expired since
        if (facts.ExpiresAt <= now) return expired;
        if (facts.IsSuspended) return suspended;
        if (facts.IsUserGone) return Suspended("user disabled or deleted");
        if (facts.IsOrganizationClosed) return Suspended("organization or its root disabled or deleted");

        // 5. The organization (R3): the key's own, or, from a root, one of its sub-organizations; for an API key one that its roles name.
        var isOwn = target is null || target == facts.OrganizationId;
        if (!isOwn && facts.TargetRootId != facts.OrganizationId) return notTheirs;
        if (!isOwn && facts.IsApiKey && facts.OtherRoles is null) return notTheirs;

        // 6. The scopes: never more than the catalogue, the key or the request allows.
        if (!scopes.IsSubsetOf(options.Scopes)) return new Refusal(RefusalCode.InvalidScope, $"scope: a scope is not known here; the scopes are {options.Scopes}.", "unknown scope");
        var allowed = facts.KeyScopes.Count == 0 ? options.Scopes : facts.KeyScopes;
        if (!scopes.IsSubsetOf(allowed)) return new Refusal(RefusalCode.InvalidScope, "scope: this key is limited to fewer scopes; ask for less, or leave the field out to get all that the key allows.", "scope beyond the key's");

        return new TokenGrant
        {
            KeyId = keyId,
            IsApiKey = facts.IsApiKey,
            StatusIndex = facts.StatusIndex,
            KeyExpiresAt = facts.ExpiresAt,
            KeyEndsAt = facts.OverlapEndsAt < facts.ExpiresAt || facts.ExpiresAt is null ? facts.OverlapEndsAt : facts.ExpiresAt,
            UserId = facts.UserId,
            UserName = facts.UserName,
            UserEmail = facts.UserEmail,
            OrganizationId = isOwn ? facts.OrganizationId : target!,
            RootOrganizationId = facts.RootId ?? facts.OrganizationId,
            IsMember = isOwn || facts.OtherRoles is not null,
            Roles = options.Roles.Living(facts.Roles.Union(facts.OtherRoles ?? NameSet.Empty)), // R1
            Scopes = scopes.Count == 0 ? allowed : scopes,
        };
    }

    private const string UnprovenDescription = "personalAccessKey: the key is not valid. Check that it was copied whole, that it belongs to this server, and that it was not deleted; otherwise generate a new one.";

    private static Refusal Unproven(string reason) => new(RefusalCode.InvalidGrant, UnprovenDescription, reason) { IsGuess = true };

    private static Refusal Suspended(string reason) => new(RefusalCode.InvalidGrant, UnprovenDescription, reason);

    private static readonly Refusal deleted = new(RefusalCode.InvalidGrant, "personalAccessKey: this key was deleted. Generate a new one.", "deleted") { Late = LateUse.OfEnded };
    private static readonly Refusal expired = new(RefusalCode.InvalidGrant, "personalAccessKey: this key has expired. Generate a new one.", "expired") { Late = LateUse.OfEnded };
    private static readonly Refusal replaced = new(RefusalCode.InvalidGrant, "personalAccessKey: this key was rotated, and the time in which it still worked has ended. Use the key that replaced it.", "rotated, overlap over") { Late = LateUse.OfReplaced };
    private static readonly Refusal replacedBefore = replaced with { Late = LateUse.OfEnded };
    private static readonly Refusal suspended = new(RefusalCode.InvalidGrant, "personalAccessKey: this key is suspended. Ask an owner of the organization.", "suspended");
    private static readonly Refusal notTheirs = new(RefusalCode.AccessDenied, "subOrganization: this key cannot be exchanged for that organization. Give a sub-organization of the key's root organization, or leave the field out.", "not the key's organization nor a sub-organization of it (R3)");
}
