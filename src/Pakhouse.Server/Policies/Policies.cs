using System.Data.Common;
using System.Security.Cryptography;
using System.Text;
using Dapper;

namespace Pakhouse.Server;

/// <summary>The policy of an organization as its members see it: what holds, and where it comes from.</summary>
/// <param name="Own">What the organization itself asks.</param>
/// <param name="Root">What its root asks; of a root itself nothing.</param>
/// <param name="Version">Of what the organization itself has stored: a change names it, so that two people do not undo each other.</param>
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

    /// <summary>The organizations that ask what a rule asks.</summary>
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
/// <param name="Warn">Holders of the keys that it affects are told by mail.</param>
/// <param name="Version">Of the policy that it changes; see <see cref="PolicyView"/>.</param>
public sealed record PolicyChange(Policy Policy, DateTimeOffset? EnforcedFrom, bool Warn, string Version);

/// <summary>What a change of policy does to a key.</summary>
public enum PolicyEffect
{
    /// <summary>Exchanges as its last one are refused.</summary>
    Stops,

    /// <summary>It goes on and ends earlier than it would have.</summary>
    EndsEarlier,

    /// <summary>Its tokens have fewer scopes.</summary>
    Narrowed,
}

/// <param name="EndsAt">Of <see cref="PolicyEffect.EndsEarlier"/>.</param>
public sealed record AffectedKey(KeySnapshot Key, PolicyRule Rule, PolicyEffect Effect, DateTimeOffset? EndsAt);

/// <summary>How many keys a rule affects, and how many of these are in use.</summary>
public sealed record PolicyCount(PolicyRule Rule, PolicyEffect Effect, int Keys, int UsedInLastDay, int UsedInLast30Days);

/// <summary>
/// What a change would do at its date, key by key: the judgement of an exchange, asked with the policy as it is and as it would be.
/// </summary>
/// <param name="At">The moment of which it speaks.</param>
/// <param name="Checked">Keys that were looked at.</param>
/// <param name="Affected">Those of them to which something happens.</param>
/// <param name="Counts">By rule and effect; a key that both ends earlier and loses scopes counts under each.</param>
/// <param name="Keys">The first of the affected ones, each with what weighs most.</param>
public sealed record PolicyPreview(
    DateTimeOffset At,
    int Checked,
    int Affected,
    int UsedInLastDay,
    IReadOnlyList<PolicyCount> Counts,
    IReadOnlyList<AffectedKey> Keys
);

/// <summary>
/// The policies of organizations: reading them with what they inherit, previewing and making a change. What a rule means is
/// <see cref="Policy"/>'s, what it does to an exchange <see cref="KeyExchange"/>'s; a change of a policy never deletes keys or changes
/// their status entries, so it can be undone.
/// </summary>
public sealed class Policies(Database database, KeyExchange exchange, Mails mails, PakhouseOptions options, TimeProvider clock)
{
    /// <summary>A change is announced at most this long before.</summary>
    public static readonly TimeSpan NoticeMax = TimeSpan.FromDays(366);

    private static readonly Refusal outdated = new(
        RefusalCode.Conflict,
        "version: the policy was changed by somebody else meanwhile; look at it again and repeat your change.",
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

    /// <summary>What a change would do, without doing it.</summary>
    /// <param name="keysMax">Affected keys that are listed; all are counted.</param>
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

    /// <summary>Makes the change, or announces it. A change that was announced before is replaced.</summary>
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
                return preview; // written back as it was read
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
            return new(
                RefusalCode.InvalidRequest,
                $"enforcedFrom: give a time in the future, at most {NoticeMax.Days} days ahead, or leave it out to enforce the policy at "
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

    /// <summary>Nothing where nothing changes for the key, which may also be because it does not work as it is.</summary>
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

    /// <summary>What is stored after the change; null: nothing is asked any more.</summary>
    private string? Plan(string? stored, PolicyChange change)
    {
        if (change.EnforcedFrom is { } from)
            return new PolicyPlan(PolicyPlan.Parse(stored).At(clock.GetUtcNow()).Current, change.Policy, from).ToString();
        return change.Policy.IsNone ? null : new PolicyPlan(change.Policy).ToString();
    }

    private static string VersionOf(string? stored) =>
        Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(stored ?? "")).AsSpan(0, 8));
}
