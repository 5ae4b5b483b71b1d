using System.Data.Common;
using System.Security.Cryptography;
using System.Text;
using Dapper;

namespace Pakhouse.Server;

/// <summary>The policy of an organization as its members see it: what applies, and where it comes from.</summary>
/// <param name="Own">The organization's own policy.</param>
/// <param name="Root">The policy of its root; empty for a root.</param>
/// <param name="Version">The version of the organization's own policy. A change names it, so that two people cannot overwrite each other's
/// change.</param>
public sealed record PolicyView(
    OrganizationAccess OrganizationAccess,
    PolicyPlan Own,
    PolicyPlan Root,
    PolicyTimeline Timeline,
    DateTimeOffset Now,
    string Version
)
{
    /// <summary>The stricter of both.</summary>
    public Policy InForce => Timeline.At(Now);

    public IReadOnlyList<(DateTimeOffset From, Policy Policy)> Announced => [.. Timeline.After(Now)];

    /// <summary>The organizations whose policy sets a rule.</summary>
    /// <param name="member">The rule's name in the API.</param>
    public IEnumerable<Guid> OriginsOf(string member)
    {
        var held = Value(InForce);
        if (Value(Own.Current) is { } own && (own == held || Value(Root.Current) != held))
            yield return OrganizationAccess.OrganizationId;
        if (OrganizationAccess.RootId is { } rootId && Value(Root.Current) is { } root && (root == held || Value(Own.Current) != held))
            yield return rootId;

        string? Value(Policy policy) => PolicyText.Lines(policy).Single(line => line.Member == member).Value;
    }
}

/// <param name="EnforcedFrom">Null: at once.</param>
/// <param name="Warn">Holders of affected keys are notified by mail.</param>
/// <param name="Version">The version of the policy that it changes; see <see cref="PolicyView"/>.</param>
public sealed record PolicyChange(Policy Policy, DateTimeOffset? EnforcedFrom, bool Warn, string Version);

/// <summary>The effect of a policy change on a key.</summary>
public enum PolicyEffect
{
    /// <summary>An exchange like its last one is refused.</summary>
    Stops,

    /// <summary>The key keeps working but ends earlier.</summary>
    EndsEarlier,

    /// <summary>Its tokens have fewer scopes.</summary>
    Narrowed,
}

/// <param name="EndsAt">Set for <see cref="PolicyEffect.EndsEarlier"/>.</param>
public sealed record AffectedKey(KeySnapshot Key, PolicyRule Rule, PolicyEffect Effect, DateTimeOffset? EndsAt);

/// <summary>How many keys a rule affects, and how many of these are in use.</summary>
public sealed record PolicyCount(PolicyRule Rule, PolicyEffect Effect, int Keys, int UsedInLastDay, int UsedInLast30Days);

/// <summary>
/// The effect of a change at its date, key by key: the decision of an exchange under the current policy and under the new one.
/// </summary>
/// <param name="At">The time for which it is computed.</param>
/// <param name="Checked">The number of evaluated keys.</param>
/// <param name="Affected">The number of affected keys among them.</param>
/// <param name="Counts">By rule and effect; a key that both ends earlier and loses scopes counts under each.</param>
/// <param name="Keys">The first affected keys, each with its most serious effect.</param>
public sealed record PolicyPreview(
    DateTimeOffset At,
    int Checked,
    int Affected,
    int UsedInLastDay,
    IReadOnlyList<PolicyCount> Counts,
    IReadOnlyList<AffectedKey> Keys
);

/// <summary>
/// The policies of organizations: reads them with what they inherit, previews a change and makes it. <see cref="Policy"/> defines what a
/// rule means, <see cref="KeyExchange"/> what it does to an exchange. A policy change never deletes keys or changes their status entries,
/// so it can be undone.
/// </summary>
public sealed class Policies(Database database, KeyExchange exchange, Mails mails, PakhouseOptions options, TimeProvider clock)
{
    /// <summary>The longest time before its date that a change can be announced.</summary>
    public static readonly TimeSpan NoticeMax = TimeSpan.FromDays(366);

    private static readonly Refusal outdated = Refusal.At(
        "version",
        RefusalCode.Conflict,
        "somebody else changed the policy in the meantime. Read it again and repeat your change.",
        "policy changed meanwhile"
    );

    public Task<Outcome<PolicyView>> ViewAsync(Actor actor, Guid organizationId) =>
        database.ReadAsync<Outcome<PolicyView>>(async connection =>
        {
            var access = await Guard.AuthorizeAsync(connection, null, actor, Permission.SeePolicy, organizationId);
            if (access.Refusal is { } refused)
                return refused;
            var (own, root) = await StoredPolicy.ReadAsync(connection, null, organizationId);
            var now = clock.GetUtcNow();
            return new PolicyView(
                access.Value,
                PolicyPlan.Parse(own).At(now),
                PolicyPlan.Parse(root).At(now),
                PolicyTimeline.Of(own, root),
                now,
                VersionOf(own)
            );
        });

    /// <summary>Computes the effect of a change without making it.</summary>
    /// <param name="keysMax">The most affected keys in the list; all are counted.</param>
    public Task<Outcome<PolicyPreview>> PreviewAsync(Actor actor, Guid organizationId, PolicyChange change, int keysMax) =>
        database.ReadAsync<Outcome<PolicyPreview>>(async connection =>
        {
            var access = await Guard.AuthorizeAsync(connection, null, actor, Permission.ChangePolicy, organizationId);
            if (access.Refusal is { } refused)
                return refused;
            if (Check(change, options, clock.GetUtcNow()) is { } refusal)
                return refusal;
            return await PreviewAsync(connection, null, organizationId, change, keysMax);
        });

    /// <summary>Makes the change or announces it. It replaces an announced change.</summary>
    public Task<Outcome<PolicyPreview>> ChangeAsync(Actor actor, Guid organizationId, PolicyChange change) =>
        database.ChangeAsync<PolicyPreview>(async transaction =>
        {
            var access = await Guard.AuthorizeAsync(transaction, actor, Permission.ChangePolicy, organizationId);
            if (access.Refusal is { } refused)
                return refused;
            if (Check(change, options, clock.GetUtcNow()) is { } refusal)
                return refusal;
            var (stored, _) = await StoredPolicy.ReadAsync(transaction.Connection!, transaction, organizationId);
            if (change.Version != VersionOf(stored))
                return outdated;

            var preview = await PreviewAsync(transaction.Connection!, transaction, organizationId, change, change.Warn ? int.MaxValue : 0);
            var before = PolicyPlan.Parse(stored).At(clock.GetUtcNow());
            var plan = Plan(stored, change);
            if (plan == stored && !change.Warn)
                return preview; // unchanged
            await transaction.Connection!.ExecuteAsync(
                "UPDATE organizations SET policy = @policy WHERE id = @organizationId",
                new { organizationId, policy = plan },
                transaction
            );
            await ActivityLog.WriteAsync(
                transaction,
                clock,
                actor,
                AuditAction.PolicyUpdate,
                organizationId,
                organizationId.ToString(),
                detail: PolicyText.Changes(before, change)
            );
            await Events.WriteAsync(
                transaction,
                clock,
                EventTypes.PolicyChanged,
                organizationId,
                ("organizationId", organizationId),
                ("organizationName", access.Value.OrganizationName),
                ("enforcedFrom", change.EnforcedFrom ?? clock.GetUtcNow()),
                ("keysAffected", preview.Affected)
            );
            foreach (
                var holder in preview
                    .Keys.Where(key => key.Key.IsPerson && !key.Key.Facts.IsUserGone)
                    .GroupBy(key => key.Key.Facts.UserEmail, StringComparer.Ordinal)
            )
                await mails.EnqueueAsync(transaction, holder.Key, PolicyText.Warning(access.Value, preview.At, [.. holder]));
            return preview;
        });

    internal static Refusal? Check(PolicyChange change, PakhouseOptions options, DateTimeOffset now)
    {
        if (change.EnforcedFrom is { } from && (from <= now || from > now + NoticeMax))
            return Refusal.At(
                "enforcedFrom",
                RefusalCode.InvalidRequest,
                $"give a time in the future, at most {NoticeMax.Days} days ahead, or omit it to enforce the policy at "
                    + $"once.",
                "policy: date out of bounds"
            );
        return change.Policy.Check(options);
    }

    private async Task<PolicyPreview> PreviewAsync(
        DbConnection connection,
        DbTransaction? transaction,
        Guid organizationId,
        PolicyChange change,
        int keysMax
    )
    {
        var now = clock.GetUtcNow();
        var at = change.EnforcedFrom ?? now;
        var (stored, _) = await StoredPolicy.ReadAsync(connection, transaction, organizationId);
        var (id, text) = (organizationId.ToString(), Plan(stored, change));
        var counts = new Dictionary<(PolicyRule, PolicyEffect), PolicyCount>();
        var affected = new List<AffectedKey>();
        var (number, total, usedInLastDay) = (0, 0, 0);
        await foreach (var key in KeySnapshots.ReadAsync(connection, transaction, KeySnapshots.OfPolicy, new { organizationId }))
        {
            number++;
            var facts = key.Facts;
            var changed = facts with
            {
                Policy = facts.OrganizationId == id ? text : facts.Policy,
                RootPolicy = facts.RootId == id ? text : facts.RootPolicy,
                TargetPolicy = key.Target == id ? text : facts.TargetPolicy,
            };
            var effects = Compare(key, changed, at).ToList();
            if (effects.Count == 0)
                continue;
            total++;
            var (isOfDay, isOfMonth) = (key.LastUsedAt > now.AddDays(-1) ? 1 : 0, key.LastUsedAt > now.AddDays(-30) ? 1 : 0);
            usedInLastDay += isOfDay;
            if (affected.Count < keysMax)
                affected.Add(effects[0]);
            foreach (var effect in effects)
            {
                var count = counts.GetValueOrDefault((effect.Rule, effect.Effect)) ?? new(effect.Rule, effect.Effect, 0, 0, 0);
                counts[(effect.Rule, effect.Effect)] = count with
                {
                    Keys = count.Keys + 1,
                    UsedInLastDay = count.UsedInLastDay + isOfDay,
                    UsedInLast30Days = count.UsedInLast30Days + isOfMonth,
                };
            }
        }

        return new(
            at,
            number,
            total,
            usedInLastDay,
            [.. counts.Values.OrderBy(count => count.Effect).ThenBy(count => count.Rule)],
            affected
        );
    }

    /// <summary>Empty if nothing changes for the key, also because the key does not work now.</summary>
    private IEnumerable<AffectedKey> Compare(KeySnapshot key, ExchangeRow changed, DateTimeOffset at)
    {
        var before = key.Evaluate(exchange, key.Facts, at);
        if (before.IsRefused)
            yield break;
        var steps = new List<ExchangeStep>();
        var after = key.Evaluate(exchange, changed, at, steps);
        if (after.IsRefused)
        {
            yield return new(key, KeyExchange.RuleOf(steps[^1])!.Value, PolicyEffect.Stops, null);
            yield break;
        }

        if (after.Value.KeyExpiresAt is { } end && !(before.Value.KeyExpiresAt <= end))
            yield return new(key, PolicyRule.Lifetime, PolicyEffect.EndsEarlier, end);
        if (!before.Value.Scopes.IsSubsetOf(after.Value.Scopes))
            yield return new(key, PolicyRule.Scopes, PolicyEffect.Narrowed, null);
    }

    /// <summary>The text to store after the change; null: there is no policy any more.</summary>
    private string? Plan(string? stored, PolicyChange change)
    {
        if (change.EnforcedFrom is { } from)
            return new PolicyPlan(PolicyPlan.Parse(stored).At(clock.GetUtcNow()).Current, change.Policy, from).ToString();
        return change.Policy.IsNone ? null : new PolicyPlan(change.Policy).ToString();
    }

    private static string VersionOf(string? stored) =>
        Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(stored ?? "")).AsSpan(0, 8));
}
