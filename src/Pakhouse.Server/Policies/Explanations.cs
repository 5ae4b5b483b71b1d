using System.Net;
using Dapper;

namespace Pakhouse.Server;

/// <summary>One step of the judgement of an exchange, in words.</summary>
public sealed record ExplainedStep(ExchangeStep Step, bool IsPassed, string Text);

/// <param name="Outcome">What the exchange would be answered.</param>
/// <param name="Steps">Those that were asked, in order; where it is refused the last one is the reason.</param>
/// <param name="OwnRoles">Roles of the key's membership.</param>
/// <param name="OtherRoles">Those that the holder has besides: in the root, seen from a sub-organization, or in the target.</param>
public sealed record Explanation(
    string KeyId,
    string KeyName,
    Guid Target,
    Outcome<TokenGrant> Outcome,
    IReadOnlyList<ExplainedStep> Steps,
    NameSet OwnRoles,
    NameSet OtherRoles
);

/// <summary>
/// Why a key gets what it gets: the judgement of the exchange itself, asked by a person. The holder asks for own keys, owners and managers
/// for those of their organization.
/// </summary>
public sealed class Explanations(Database database, ExchangeRead read, KeyExchange exchange, PakhouseOptions options, TimeProvider clock)
{
    /// <param name="organizationId">The key's own.</param>
    /// <param name="target">The organization that a token is to be for; null: the key's own.</param>
    /// <param name="address">Where the request would come from; null: networks are not asked.</param>
    public async Task<Outcome<Explanation>> ExplainAsync(
        Actor actor,
        Guid organizationId,
        string keyId,
        Guid? target,
        ScopeRequest scopes,
        IPAddress? address
    )
    {
        if (!KeyFormat.IsId(keyId))
            return Keys.NoSuchKey;
        var key = await database.ReadAsync<Outcome<Row>>(async connection =>
        {
            var access = await Guard.AuthorizeAsync(connection, null, actor, Permission.ExplainOwnKey, organizationId);
            if (access.Refusal is { } refused)
                return refused;
            var row = await connection.QuerySingleOrDefaultAsync<Row>(
                "SELECT k.name, m.user_id FROM access_keys k JOIN memberships m ON m.id = k.membership_id WHERE k.id = @keyId AND "
                    + "m.organization_id = @organizationId",
                new { keyId, organizationId }
            );
            if (row is null)
                return Keys.NoSuchKey;
            // Of somebody else's key, to who may not see it, the answer is that of a key that is not there.
            if (
                row.UserId != actor.UserId
                && (await Guard.AuthorizeAsync(connection, null, actor, Permission.ListMemberKeys, organizationId)).IsRefused
            )
                return Keys.NoSuchKey;
            return row;
        });
        if (key.Refusal is { } refusal)
            return refusal;

        var asked = target == organizationId ? null : target?.ToString();
        if (await read.FindAsync(keyId, asked) is not { } facts)
            return Keys.NoSuchKey;
        var now = clock.GetUtcNow();
        var steps = new List<ExchangeStep>();
        var outcome = exchange.Evaluate(keyId, facts, asked, scopes, address, now, steps);
        var policy = PolicyTimeline.Of(facts.Policy, facts.RootPolicy, asked is null ? null : facts.TargetPolicy).At(now);
        return new Explanation(
            keyId,
            key.Value.Name,
            target ?? organizationId,
            outcome,
            [
                .. steps.Select(
                    (step, i) =>
                        new ExplainedStep(
                            step,
                            !outcome.IsRefused || i < steps.Count - 1,
                            Describe(step, facts, policy, asked is not null, scopes, address)
                        )
                ),
            ],
            facts.Roles,
            facts.OtherRoles ?? NameSet.Empty
        );
    }

    /// <summary>What was asked, with what was found; whether it passed stands beside it.</summary>
    private string Describe(
        ExchangeStep step,
        ExchangeRow facts,
        Policy policy,
        bool isElsewhere,
        ScopeRequest scopes,
        IPAddress? address
    ) =>
        step switch
        {
            ExchangeStep.NotDeleted => "The key is not deleted, and the membership that it hangs on has not ended.",
            ExchangeStep.NotExpired => facts.ExpiresAt is { } at
                ? $"The key has not expired: its expiry is {TimeText.Exact(at)}."
                : "The key has not expired: it has no expiry.",
            ExchangeStep.NotReplaced => facts.OverlapEndsAt is { } end
                ? $"The key was rotated, and the time in which it still works has not ended: it does on {TimeText.Exact(end)}."
                : "The key was not replaced by another.",
            ExchangeStep.NotSuspended => "The key is not suspended.",
            ExchangeStep.HolderActive => "The holder is not disabled or deleted.",
            ExchangeStep.OrganizationOpen => "The key's organization and its root are not disabled or deleted.",
            ExchangeStep.Target => isElsewhere
                ? $"The organization asked for is open, and a sub-organization of the key's (R3){(facts.IsApiKey ? ", in which the API "
                    + "key has roles" : "")}."
                : "The organization asked for is the key's own (R3).",
            ExchangeStep.Holders => policy.Holders is not { } holders ? "Policy: everybody may hold keys."
            : facts.IsApiKey ? "Policy: who may hold keys is not asked of an organization's API key."
            : holders.Count == 0 ? "Policy: nobody may hold keys."
            : $"Policy: the holder has one of the roles {string.Join(", ", holders)}.",
            ExchangeStep.Lifetime => policy.LifetimeMax is { } lifetime
                ? $"Policy: the key is younger than {TimeText.Count(lifetime.Days, "day")}; it was made on "
                    + $"{TimeText.Exact(facts.CreatedAt)}."
                : "Policy: no longest lifetime.",
            ExchangeStep.RootKeys => !isElsewhere
                ? "Policy: the token is for the key's own organization."
                : "Policy: keys of the root may be exchanged for this sub-organization.",
            ExchangeStep.Networks => policy.Networks is not { } networks ? "Policy: every network is allowed."
            : address is null
                ? $"Policy: the request comes from {Names(networks.Select(one => one.ToString()))}; not asked here, as no address was "
                    + $"given."
            : $"Policy: {address} lies in {Names(networks.Select(one => one.ToString()))}.",
            ExchangeStep.Scopes =>
                $"The scopes asked for ({(scopes.IsEverything ? "all that are allowed" : scopes.Names)}) are within the catalogue "
                    + $"({options.Scopes}), the key's ({(facts.KeyScopes.IsAll ? "no limit" : facts.KeyScopes)}) and the policy's "
                    + $"({(policy.Scopes is { } allowed ? Names(allowed) : "no limit")}).",
        };

    private static string Names(IEnumerable<string> names) => string.Join(", ", names.DefaultIfEmpty("none"));

    private sealed record Row
    {
        public string Name { get; init; } = "";
        public Guid UserId { get; init; }
    }
}
