using System.Net;
using Dapper;

namespace Pakhouse.Server;

/// <summary>One step of the decision of an exchange, in words.</summary>
public sealed record ExplainedStep(ExchangeStep Step, bool IsPassed, string Text);

/// <param name="Outcome">The response that the exchange would get.</param>
/// <param name="Steps">The evaluated steps, in order; if the exchange is refused, the last one is the reason.</param>
/// <param name="OwnRoles">Roles of the key's membership.</param>
/// <param name="OtherRoles">The holder's other roles: in the root, seen from a sub-organization, or in the target.</param>
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
/// Explains why a key gets what it gets, with the decision of the exchange itself. Holders can ask about their own keys, owners and
/// managers about those of their organization.
/// </summary>
public sealed class Explanations(Database database, ExchangeRead read, KeyExchange exchange, PakhouseOptions options, TimeProvider clock)
{
    /// <param name="organizationId">The key's own organization.</param>
    /// <param name="target">The organization for which a token is requested; null: the key's own.</param>
    /// <param name="address">The address from which the request would come; null: networks are not checked.</param>
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
            // A caller who may not see another person's key gets the same response as for a key that does not exist.
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

    /// <summary>Describes what was checked and found; whether it passed is shown next to it.</summary>
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
            ExchangeStep.NotDeleted => "The key is not deleted, and its membership has not ended.",
            ExchangeStep.NotExpired => facts.ExpiresAt is { } at
                ? $"The key has not expired: its expiry is {TimeText.Exact(at)}."
                : "The key has not expired: it has no expiry.",
            ExchangeStep.NotReplaced => facts.OverlapEndsAt is { } end
                ? $"The key was rotated and still works. Its overlap ends on {TimeText.Exact(end)}."
                : "The key was not replaced by another.",
            ExchangeStep.NotSuspended => "The key is not suspended.",
            ExchangeStep.HolderActive => "The holder is not disabled or deleted.",
            ExchangeStep.OrganizationOpen => "The key's organization and its root are not disabled or deleted.",
            ExchangeStep.Target => isElsewhere
                ? $"The requested organization is active, and a sub-organization of the key's (R3){(facts.IsApiKey ? ", in which the API "
                    + "key has roles" : "")}."
                : "The requested organization is the key's own (R3).",
            ExchangeStep.Holders => policy.Holders is not { } holders ? "Policy: everybody may hold keys."
            : facts.IsApiKey ? "Policy: the rule for holders does not apply to an organization's API key."
            : holders.Count == 0 ? "Policy: nobody may hold keys."
            : $"Policy: the holder has one of the roles {string.Join(", ", holders)}.",
            ExchangeStep.Lifetime => policy.LifetimeMax is { } lifetime
                ? $"Policy: the key is younger than {TimeText.Count(lifetime.Days, "day")}; it was created on "
                    + $"{TimeText.Exact(facts.CreatedAt)}."
                : "Policy: there is no lifetime limit.",
            ExchangeStep.RootKeys => !isElsewhere
                ? "Policy: the token is for the key's own organization."
                : "Policy: keys of the root may be exchanged for this sub-organization.",
            ExchangeStep.Networks => policy.Networks is not { } networks ? "Policy: every network is allowed."
            : address is null
                ? $"Policy: the request comes from {Names(networks.Select(one => one.ToString()))}; not asked here, as no address was "
                    + $"given."
            : $"Policy: {address} lies in {Names(networks.Select(one => one.ToString()))}.",
            ExchangeStep.Scopes =>
                $"The requested scopes ({(scopes.IsEverything ? "all that are allowed" : scopes.Names)}) are within the catalogue "
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
