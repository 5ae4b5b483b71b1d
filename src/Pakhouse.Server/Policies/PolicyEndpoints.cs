using System.Net;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Pakhouse.Server;

/// <summary>Policies, their previews, and the explanation of an exchange, over HTTP.</summary>
public static class PolicyEndpoints
{
    private const int PreviewKeysMax = 1_000;

    /// <summary>The body that changes a policy; see <see cref="PolicyPlan"/>.</summary>
    private sealed record ShownPlan(
        Policy Policy,
        [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] Policy? Next,
        [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] DateTimeOffset? EnforcedFrom
    );

    private sealed record Announced(DateTimeOffset EnforcedFrom, Policy Policy);

    /// <summary>The policy in force, the announced change, and where both come from.</summary>
    private sealed record ShownPolicy
    {
        public required Guid OrganizationId { get; init; }

        /// <summary>The stricter of the organization's own policy and its root's. An absent member sets no rule.</summary>
        public required Policy InForce { get; init; }

        public required IEnumerable<Announced> Announced { get; init; }

        /// <summary>For each member of <see cref="InForce"/>, the organizations that set it.</summary>
        public required IReadOnlyDictionary<string, Guid[]> Origins { get; init; }

        public required ShownPlan Own { get; init; }

        /// <summary>Absent for a root.</summary>
        [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
        public ShownPlan? Inherited { get; init; }

        /// <summary>The version that a change must name.</summary>
        public required string Version { get; init; }
    }

    private sealed record WantedPolicy
    {
        public Policy? Policy { get; init; }

        /// <summary>Absent: at once.</summary>
        public DateTimeOffset? EnforcedFrom { get; init; }

        /// <summary>Holders of affected keys are notified by mail.</summary>
        public bool Warn { get; init; }

        public string? Version { get; init; }
    }

    public static void Map(IEndpointRouteBuilder routes)
    {
        var group = routes.MapApi("/identity/v1/organizations/{organizationId:guid}");
        group
            .MapGet(
                "/policy",
                async (HttpContext context, Policies policies, Guid organizationId) =>
                    Show(await policies.ViewAsync(context.Caller(), organizationId))
            )
            .WithName("viewPolicy")
            .WithSummary("The policy of an organization, and where it comes from")
            .WithTags("Policy");
        group
            .MapPost(
                "/policy/preview",
                async (HttpContext context, Policies policies, Guid organizationId) =>
                {
                    var wanted = await ReadAsync(context);
                    return wanted.Refusal is { } refused
                        ? refused.ToResult()
                        : (await policies.PreviewAsync(context.Caller(), organizationId, wanted.Value, PreviewKeysMax)).ToResult(Show);
                }
            )
            .WithName("previewPolicy")
            .WithSummary("Previews the effect of a policy change on each key")
            .WithTags("Policy");
        group
            .MapPut(
                "/policy",
                async (HttpContext context, Policies policies, Guid organizationId) =>
                {
                    var wanted = await ReadAsync(context);
                    if (wanted.Refusal is { } refused)
                        return refused.ToResult();
                    var changed = await policies.ChangeAsync(context.Caller(), organizationId, wanted.Value);
                    return changed.Refusal is { } refusal
                        ? refusal.ToResult()
                        : Show(await policies.ViewAsync(context.Caller(), organizationId));
                }
            )
            .WithName("changePolicy")
            .WithSummary("Changes the policy, at once or from a date")
            .WithTags("Policy");
        group
            .MapGet("/personal-access-keys/{keyId}/explain", ExplainAsync)
            .WithName("explainKey")
            .WithSummary("Explains step by step what a key would get for an organization (with a session only)")
            .WithTags("Personal access keys");
    }

    private static async Task<IResult> ExplainAsync(
        HttpContext context,
        Explanations explanations,
        Guid organizationId,
        string keyId,
        string? organization,
        string? scope,
        string? address
    )
    {
        Guid? target = null;
        if (!string.IsNullOrEmpty(organization))
        {
            if (!Guid.TryParse(organization, out var id))
                return Refusal.At(
                    "organization",
                    RefusalCode.InvalidRequest,
                    "give a UUID such as 0190f3a2-7c11-7d3e-9b52-3f1c8a6d4e70.",
                    "target is no UUID"
                ).ToResult();
            target = id;
        }

        IPAddress? from = null;
        if (!string.IsNullOrEmpty(address) && !IPAddress.TryParse(address, out from))
            return Refusal.At("address", RefusalCode.InvalidRequest, "give an IPv4 or IPv6 address.", "no address").ToResult();
        if (scope?.Length > 2048)
            return Refusal.At("scope", RefusalCode.InvalidRequest, "this is too long.", "scope too long").ToResult();
        return (
            await explanations.ExplainAsync(
                context.Caller(),
                organizationId,
                keyId,
                target,
                ScopeRequest.Of(NameSet.Parse(scope ?? "")),
                from
            )
        ).ToResult(explained => new
        {
            explained.KeyId,
            OrganizationId = explained.Target,
            Granted = !explained.Outcome.IsRefused,
            explained.Outcome.Refusal?.Error,
            Message = explained.Outcome.Refusal?.Description,
            Steps = explained.Steps.Select(step => new
            {
                Step = Api.Name(step.Step),
                Passed = step.IsPassed,
                step.Text,
            }),
            Roles = explained.Outcome.IsRefused
                ? null
                : new
                {
                    Granted = explained.Outcome.Value.Roles,
                    OfMembership = explained.OwnRoles,
                    Besides = explained.OtherRoles,
                },
            Scopes = explained.Outcome.IsRefused ? null : explained.Outcome.Value.Scopes,
        });
    }

    private static IResult Show(Outcome<PolicyView> outcome) =>
        outcome.Refusal is { } refusal ? refusal.ToResult() : Json(Shape(outcome.Value));

    private static ShownPolicy Shape(PolicyView view) =>
        new()
        {
            OrganizationId = view.OrganizationAccess.OrganizationId,
            InForce = view.InForce,
            Announced = view.Announced.Select(step => new Announced(step.From, step.Policy)),
            Origins = Origins(view),
            Own = new(view.Own.Current, view.Own.Next, view.Own.EnforcedFrom),
            Inherited = view.OrganizationAccess.RootId is null ? null : new(view.Root.Current, view.Root.Next, view.Root.EnforcedFrom),
            Version = view.Version,
        };

    private static Dictionary<string, Guid[]> Origins(PolicyView view) =>
        PolicyText
            .Lines(view.InForce)
            .Where(line => line.Value is not null)
            .ToDictionary(line => line.Member, line => view.OriginsOf(line.Member).ToArray(), StringComparer.Ordinal);

    private static object Show(PolicyPreview preview) =>
        new
        {
            preview.At,
            preview.Checked,
            preview.Affected,
            preview.UsedInLastDay,
            Rules = preview.Counts.Select(count => new
            {
                Rule = Api.Name(count.Rule),
                Effect = Api.Name(count.Effect),
                count.Keys,
                count.UsedInLastDay,
                count.UsedInLast30Days,
            }),
            Keys = preview.Keys.Select(key => new
            {
                key.Key.Id,
                key.Key.Name,
                UserId = key.Key.IsPerson ? key.Key.Facts.UserId : null,
                UserName = key.Key.IsPerson ? key.Key.Facts.UserName : null,
                OrganizationId = key.Key.Facts.OrganizationId,
                Rule = Api.Name(key.Rule),
                Effect = Api.Name(key.Effect),
                EndsDate = key.EndsAt,
                LastUsedDate = key.Key.LastUsedAt,
            }),
        };

    private static IResult Json(object value) => Results.Json(value, Policy.Json);

    private static async Task<Outcome<PolicyChange>> ReadAsync(HttpContext context)
    {
        var read = await RequestBodies.ReadJsonAsync(context.Request);
        return read.Refusal is { } unreadable ? unreadable : Read(read.Value.Span);
    }

    /// <summary>Strict: an unknown member may be a misspelled rule that should have forbidden something.</summary>
    internal static Outcome<PolicyChange> Read(ReadOnlySpan<byte> body)
    {
        try
        {
            var wanted = JsonSerializer.Deserialize<WantedPolicy>(body, Policy.Json);
            return wanted?.Policy is null
                ? Refusal.At("policy", RefusalCode.InvalidRequest, "the member is missing; {} sets no rule.", "no policy")
                : new PolicyChange(wanted.Policy, wanted.EnforcedFrom, wanted.Warn, wanted.Version ?? "");
        }
        catch (JsonException e)
        {
            // Of the path, only our own member name is passed on; the rest is the caller's text.
            var member = PolicyText
                .Lines(Policy.None)
                .Select(line => line.Member)
                .Concat(["enforcedFrom", "warn", "version"])
                .FirstOrDefault(name => e.Path?.Split('.', '[').Contains(name) == true);
            return Refusal.At(
                member ?? "policy",
                RefusalCode.InvalidRequest,
                member is null
                    ? "the body does not have the expected form; a member may be unknown or duplicated."
                    : "this does not have the expected form: names of 1 to 64 characters, networks such as 10.0.0.0/8, "
                        + "numbers, dates such as 2027-01-31T00:00:00Z.",
                "policy out of form"
            );
        }
    }
}
