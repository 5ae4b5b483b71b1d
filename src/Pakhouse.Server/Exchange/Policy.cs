using System.Net;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Pakhouse.Server;

/// <summary>A rule of a policy that an exchange can break, in the order in which they are asked.</summary>
public enum PolicyRule
{
    Holders,
    Lifetime,
    RootKeys,
    Networks,
    Scopes,
}

/// <summary>
/// What an organization asks of its keys. A member that is null asks nothing. The form in the API, and of <c>organizations.policy</c>.
/// <para>Invariant: a policy narrows and never widens. Where two hold, <see cref="Stricter"/> holds, so a sub-organization cannot loosen what its root asks.</para>
/// </summary>
public sealed record Policy
{
    public const int NamesMax = 64, NetworksMax = 64, LifetimeDaysMax = 3650, KeysPerMemberMax = 10_000, TokenLifetimeSecondsMin = 60;

    internal static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web)
    {
        // A member that is not known is a typing error, and what it should have forbidden would stay allowed.
        UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
        AllowDuplicateProperties = false,
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        NumberHandling = JsonNumberHandling.Strict,
        Converters =
        {
            new NamesConverter(), new NetworksConverter(), new ZonedTime(),
            new JsonStringEnumConverter<KeysMayGrant>(JsonNamingPolicy.CamelCase, allowIntegerValues: false),
        },
    };

    public static Policy None { get; } = new();

    /// <summary>Roles of which a person needs one to hold a key. Empty: nobody holds keys. Organizations' API keys are not asked.</summary>
    public NameSet? Holders { get; init; }

    /// <summary>Asked when a key is generated; those that are there go on.</summary>
    public int? KeysPerMember { get; init; }

    /// <summary>What the form offers first.</summary>
    public int? LifetimeDefaultDays { get; init; }

    /// <summary>Days from its making after which a key works no more, whatever its own expiry.</summary>
    public int? LifetimeMaxDays { get; init; }

    public NameSet? Scopes { get; init; }

    /// <summary>From where keys are exchanged and their tokens used here. Empty: from nowhere.</summary>
    public NetworkSet? Networks { get; init; }

    public int? TokenLifetimeSeconds { get; init; }

    /// <summary>Whether a key of the root is exchanged for a token of a sub-organization; asked of both.</summary>
    public bool? RootKeys { get; init; }

    /// <summary>Whether a key may make its own successor. Not set: no.</summary>
    public bool? SelfRotation { get; init; }

    /// <summary>What a caller with a key may give to people here (R7). Not set: <see cref="Server.KeysMayGrant.PlatformRoles"/>.</summary>
    public KeysMayGrant? KeysMayGrant { get; init; }

    [JsonIgnore]
    public bool IsNone => this == None;

    [JsonIgnore]
    public TimeSpan? LifetimeMax => LifetimeMaxDays is { } days ? TimeSpan.FromDays(days) : null;

    [JsonIgnore]
    public TimeSpan? TokenLifetime => TokenLifetimeSeconds is { } seconds ? TimeSpan.FromSeconds(seconds) : null;

    /// <summary>What both allow. Commutative, associative, idempotent: the order of organizations does not matter.</summary>
    public static Policy Stricter(Policy a, Policy b) => new()
    {
        Holders = Both(a.Holders, b.Holders),
        KeysPerMember = Less(a.KeysPerMember, b.KeysPerMember),
        LifetimeDefaultDays = Less(a.LifetimeDefaultDays, b.LifetimeDefaultDays),
        LifetimeMaxDays = Less(a.LifetimeMaxDays, b.LifetimeMaxDays),
        Scopes = Both(a.Scopes, b.Scopes),
        Networks = a.Networks is null ? b.Networks : b.Networks is null ? a.Networks : a.Networks.Intersect(b.Networks),
        TokenLifetimeSeconds = Less(a.TokenLifetimeSeconds, b.TokenLifetimeSeconds),
        RootKeys = Both(a.RootKeys, b.RootKeys),
        SelfRotation = Both(a.SelfRotation, b.SelfRotation),
        KeysMayGrant = Less(a.KeysMayGrant, b.KeysMayGrant),
    };

    /// <summary>The first rule that a key breaks at a time; null: none. Scopes are not asked here: they narrow, and refuse only where nothing is left.</summary>
    public PolicyRule? FirstViolation(Subject subject, DateTimeOffset at)
    {
        if (Holders is { } holders && !subject.IsApiKey && !holders.Any(subject.Roles.Contains)) return PolicyRule.Holders;
        if (LifetimeMax is { } lifetime && subject.CreatedAt + lifetime <= at) return PolicyRule.Lifetime;
        if (RootKeys == false && subject.IsRootKeyElsewhere) return PolicyRule.RootKeys;
        if (Networks is { } networks && subject.Address is { } address && !networks.Contains(address)) return PolicyRule.Networks;
        return null;
    }

    /// <summary>What stands against a key that is to be made now; asked with what is announced too (<see cref="PolicyTimeline.Strictest"/>).</summary>
    /// <param name="scopes"><see cref="NameSet.All"/>: no narrowing of its own.</param>
    /// <param name="roles">Effective ones of the holder; null: an organization's API key, which nobody holds.</param>
    public Refusal? Forbids(DateTimeOffset? expiresAt, NameSet scopes, DateTimeOffset now, NameSet? roles)
    {
        if (Holders is { } holders && roles is not null && !holders.Any(roles.Contains))
            return new(RefusalCode.AccessDenied, holders.Count == 0 ? "By policy, nobody holds keys in this organization." : $"By policy, keys are held here with one of these roles: {string.Join(", ", holders)}. Ask an owner of the organization.", "policy: holders");
        if (LifetimeMax is { } lifetime && (expiresAt is null || expiresAt > now + lifetime))
            return new(RefusalCode.InvalidRequest, $"expiry: by policy, a key lives at most {TimeText.Count(lifetime.Days, "day")} here; choose an earlier time.", "policy: lifetime");
        if (Scopes is { } allowed && (allowed.Count == 0 || !scopes.IsAll && !scopes.IsSubsetOf(allowed)))
            return new(RefusalCode.InvalidScope, $"scopes: by policy, choose from {(allowed.Count == 0 ? "none" : string.Join(' ', allowed))}.", "policy: scopes");
        return null;
    }

    /// <summary>What stands against storing it.</summary>
    public Refusal? Check(PakhouseOptions options)
    {
        if (Holders?.All(options.Roles.Contains) == false) return OutOfBounds("holders", "name roles that GET /roles.json lists, none for nobody, or leave it out for everybody");
        if (KeysPerMember is < 1 or > KeysPerMemberMax) return OutOfBounds("keysPerMember", $"give a number from 1 to {KeysPerMemberMax}");
        if (LifetimeMaxDays is < 1 or > LifetimeDaysMax) return OutOfBounds("lifetimeMaxDays", $"give a number of days from 1 to {LifetimeDaysMax}");
        if (LifetimeDefaultDays is < 1 or > LifetimeDaysMax || LifetimeDefaultDays > LifetimeMaxDays) return OutOfBounds("lifetimeDefaultDays", $"give a number of days from 1 to {LifetimeMaxDays ?? LifetimeDaysMax}");
        if (Scopes?.IsSubsetOf(options.Scopes) == false || Scopes?.Count == 0) return OutOfBounds("scopes", $"choose from {options.Scopes}, or leave it out for all of them");
        if (TokenLifetimeSeconds is { } seconds && (seconds < TokenLifetimeSecondsMin || seconds > PakhouseOptions.TokenLifetimeMax.TotalSeconds))
            return OutOfBounds("tokenLifetimeSeconds", $"give a number of seconds from {TokenLifetimeSecondsMin} to {PakhouseOptions.TokenLifetimeMax.TotalSeconds}");
        return null;
    }

    private static Refusal OutOfBounds(string field, string expected) => new(RefusalCode.InvalidRequest, $"{field}: {expected}.", $"policy: {field} out of bounds");

    /// <summary>Keys that one person holds at most.</summary>
    public int KeysOf(PakhouseOptions options) => Math.Min(options.KeysPerMemberMax, KeysPerMember ?? int.MaxValue);

    /// <summary>What a rule is asked about.</summary>
    /// <param name="Roles">Effective in the organization that the token is for.</param>
    /// <param name="IsRootKeyElsewhere">The key is a root's, the token for a sub-organization.</param>
    /// <param name="Address">Null: not asked.</param>
    public readonly record struct Subject(bool IsApiKey, NameSet Roles, DateTimeOffset CreatedAt, bool IsRootKeyElsewhere, IPAddress? Address);

    /// <summary>As it is stored: names and networks in one order, so that equal policies are one text.</summary>
    public override string ToString() => JsonSerializer.Serialize(this, Json);

    private static int? Less(int? a, int? b) => a is null ? b : b is null ? a : Math.Min(a.Value, b.Value);

    private static KeysMayGrant? Less(KeysMayGrant? a, KeysMayGrant? b) => a is null || b < a ? b ?? a : a;

    private static bool? Both(bool? a, bool? b) => a is null ? b : b is null ? a : a.Value && b.Value;

    private static NameSet? Both(NameSet? a, NameSet? b) => a is null ? b : b is null ? a : NameSet.Of(a.Where(b.Contains));

    /// <exception cref="JsonException">Without words of its own: the serializer adds the path, which names the member.</exception>
    private static List<string> ReadTexts(ref Utf8JsonReader reader, int max)
    {
        if (reader.TokenType != JsonTokenType.StartArray) throw new JsonException();
        var texts = new List<string>();
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (reader.TokenType != JsonTokenType.String || texts.Count == max) throw new JsonException();
            texts.Add(reader.GetString()!);
        }

        return texts;
    }

    /// <summary>As an array, in the order of the alphabet.</summary>
    private sealed class NamesConverter : JsonConverter<NameSet>
    {
        public override NameSet Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
        {
            var names = ReadTexts(ref reader, NamesMax);
            return names.TrueForAll(NameSet.IsName) ? NameSet.Of(names.Order(StringComparer.Ordinal)) : throw new JsonException();
        }

        public override void Write(Utf8JsonWriter writer, NameSet value, JsonSerializerOptions options) =>
            JsonSerializer.Serialize(writer, value.Order(StringComparer.Ordinal));
    }

    private sealed class NetworksConverter : JsonConverter<NetworkSet>
    {
        public override NetworkSet Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
        {
            return NetworkSet.TryParse(ReadTexts(ref reader, NetworksMax), out var networks) ? networks : throw new JsonException();
        }

        public override void Write(Utf8JsonWriter writer, NetworkSet value, JsonSerializerOptions options) =>
            JsonSerializer.Serialize(writer, value.Select(network => network.ToString()));
    }
}

/// <summary>What an organization has set: what is in force and, at most one, the change that is announced.</summary>
/// <param name="EnforcedFrom">From then on <paramref name="Next"/> holds instead. Both null: nothing is announced.</param>
public sealed record PolicyPlan(Policy Current, Policy? Next = null, DateTimeOffset? EnforcedFrom = null)
{
    public static PolicyPlan None { get; } = new(Policy.None);

    /// <param name="text">As stored; null: nothing was ever set.</param>
    public static PolicyPlan Parse(string? text) => text is null ? None : JsonSerializer.Deserialize<PolicyPlan>(text, Policy.Json)!;

    /// <summary>At a time; a change whose date has come is no longer an announcement.</summary>
    public PolicyPlan At(DateTimeOffset time) => EnforcedFrom <= time ? new(Next!) : this;

    public override string ToString() => JsonSerializer.Serialize(this, Policy.Json);
}

/// <summary>
/// What holds at any time where up to three organizations have a say: a key's own, its root, and the one that the token is for.
/// A pure function of what they have stored, so the parse of a given text is kept.
/// </summary>
public sealed class PolicyTimeline
{
    private const int KeptMax = 1_000;

    private static readonly System.Collections.Concurrent.ConcurrentDictionary<(string?, string?, string?), PolicyTimeline> kept = new();
    private static int keptCount; // the dictionary's own Count takes all its locks

    private readonly (DateTimeOffset From, Policy Policy)[] steps;

    private PolicyTimeline(PolicyPlan[] plans)
    {
        DateTimeOffset[] times = [DateTimeOffset.MinValue, .. plans.Select(plan => plan.EnforcedFrom).OfType<DateTimeOffset>().Distinct().Order()];
        steps = [.. times.Select(time => (time, plans.Select(plan => plan.At(time).Current).Aggregate(Policy.Stricter)))];
    }

    /// <summary>Nobody asks anything.</summary>
    public static PolicyTimeline None { get; } = new([PolicyPlan.None]);

    /// <param name="own">As stored, each of them; null where there is none.</param>
    public static PolicyTimeline Of(string? own, string? root = null, string? target = null)
    {
        if (own is null && root is null && target is null) return None;
        if (kept.TryGetValue((own, root, target), out var known)) return known;
        if (Interlocked.Increment(ref keptCount) > KeptMax)
        {
            kept.Clear();
            Volatile.Write(ref keptCount, 1);
        }

        return kept[(own, root, target)] = new([PolicyPlan.Parse(own), PolicyPlan.Parse(root), PolicyPlan.Parse(target)]);
    }

    public Policy At(DateTimeOffset time)
    {
        var last = steps.Length - 1;
        while (steps[last].From > time) last--;
        return steps[last].Policy;
    }

    /// <summary>What is announced, in the order of its dates.</summary>
    public IEnumerable<(DateTimeOffset From, Policy Policy)> After(DateTimeOffset time) => steps.Length == 1 ? [] : steps.Where(step => step.From > time);

    /// <summary>The date of the first announced change under which the key would be refused; null: of none.</summary>
    public DateTimeOffset? NextViolationAt(Policy.Subject subject, DateTimeOffset now)
    {
        foreach (var (from, policy) in After(now))
            if (policy.FirstViolation(subject, from) is not null) return from;
        return null;
    }

    /// <summary>What holds now and what is announced: asked of what is made now, so that it is not refused in a few days.</summary>
    public Policy Strictest(DateTimeOffset now) => After(now).Select(step => step.Policy).Aggregate(At(now), Policy.Stricter);

    /// <summary>When the longest lifetime ends a key; null: never.</summary>
    public DateTimeOffset? LifetimeEnd(DateTimeOffset createdAt, DateTimeOffset now)
    {
        var end = createdAt + At(now).LifetimeMax;
        foreach (var (from, policy) in After(now))
        {
            if (createdAt + policy.LifetimeMax is not { } capped) continue;
            var stop = capped > from ? capped : from;
            if (end is null || stop < end) end = stop;
        }

        return end;
    }
}

public static class PolicyRules
{
    /// <summary>For people.</summary>
    public static string Title(this PolicyRule rule) => rule switch
    {
        PolicyRule.Holders => "Who may hold keys",
        PolicyRule.Lifetime => "Longest lifetime",
        PolicyRule.RootKeys => "Keys of the root in sub-organizations",
        PolicyRule.Networks => "Networks",
        PolicyRule.Scopes => "Scopes",
    };
}

/// <summary>What keys may give to people, by the policy of the organization.</summary>
public enum KeysMayGrant
{
    /// <summary>Nothing: no invitation, no membership, no role.</summary>
    None,

    /// <summary>Memberships and the platform's own roles, and not those that <see cref="BuiltInRoles"/> names.</summary>
    PlatformRoles,

    /// <summary>All that its user may give. Whoever finds such a key can make themselves an owner who stays when the key has ended.</summary>
    All,
}
