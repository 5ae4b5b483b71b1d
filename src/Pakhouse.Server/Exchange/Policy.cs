using System.Net;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Pakhouse.Server;

/// <summary>
/// The rules of an organization for its keys. A member that is null sets no rule. This is the format of the API and of
/// <c>organizations.policy</c>.
/// <para>Invariant: a policy narrows and never widens. Where two policies apply, <see cref="Stricter"/> applies, so a sub-organization
/// cannot loosen the policy of its root.</para>
/// </summary>
public sealed record Policy
{
    public const int NamesMax = 64,
        NetworksMax = 64,
        LifetimeDaysMax = 3650,
        KeysPerMemberMax = 10_000,
        TokenLifetimeSecondsMin = 60;

    internal static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web)
    {
        // An unknown member is refused: it is a typing error, and the rule that was meant would not apply.
        UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
        AllowDuplicateProperties = false,
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        NumberHandling = JsonNumberHandling.Strict,
        Converters =
        {
            new NamesConverter(),
            new NetworksConverter(),
            new ZonedTime(),
            new JsonStringEnumConverter<KeysMayGrant>(JsonNamingPolicy.CamelCase, allowIntegerValues: false),
        },
    };

    public static Policy None { get; } = new();

    /// <summary>A person needs one of these roles to hold a key. Empty: nobody may hold keys. This does not apply to organizations' API
    /// keys.</summary>
    public NameSet? Holders { get; init; }

    /// <summary>Checked when a key is generated; existing keys keep working.</summary>
    public int? KeysPerMember { get; init; }

    /// <summary>The default of the form.</summary>
    public int? LifetimeDefaultDays { get; init; }

    /// <summary>Days after its creation for which a key works at most, whatever its own expiry.</summary>
    public int? LifetimeMaxDays { get; init; }

    public NameSet? Scopes { get; init; }

    /// <summary>The networks from which keys may be exchanged and their tokens used here. Empty: none.</summary>
    public NetworkSet? Networks { get; init; }

    public int? TokenLifetimeSeconds { get; init; }

    /// <summary>Whether a key of the root may be exchanged for a token of a sub-organization; both policies must allow it.</summary>
    public bool? RootKeys { get; init; }

    /// <summary>Whether a key may create its own successor. Null: no.</summary>
    public bool? SelfRotation { get; init; }

    /// <summary>What a caller with a key may grant to people here (R7). Null: <see cref="Server.KeysMayGrant.PlatformRoles"/>.</summary>
    public KeysMayGrant? KeysMayGrant { get; init; }

    [JsonIgnore]
    public bool IsNone => this == None;

    [JsonIgnore]
    public TimeSpan? LifetimeMax => LifetimeMaxDays is { } days ? TimeSpan.FromDays(days) : null;

    [JsonIgnore]
    public TimeSpan? TokenLifetime => TokenLifetimeSeconds is { } seconds ? TimeSpan.FromSeconds(seconds) : null;

    /// <summary>Allows only what both policies allow. Commutative, associative, idempotent: the order of organizations does not
    /// matter.</summary>
    public static Policy Stricter(Policy a, Policy b) =>
        new()
        {
            Holders = Both(a.Holders, b.Holders),
            KeysPerMember = Less(a.KeysPerMember, b.KeysPerMember),
            LifetimeDefaultDays = Less(a.LifetimeDefaultDays, b.LifetimeDefaultDays),
            LifetimeMaxDays = Less(a.LifetimeMaxDays, b.LifetimeMaxDays),
            Scopes = Both(a.Scopes, b.Scopes),
            Networks =
                a.Networks is null ? b.Networks
                : b.Networks is null ? a.Networks
                : a.Networks.Intersect(b.Networks),
            TokenLifetimeSeconds = Less(a.TokenLifetimeSeconds, b.TokenLifetimeSeconds),
            RootKeys = Both(a.RootKeys, b.RootKeys),
            SelfRotation = Both(a.SelfRotation, b.SelfRotation),
            KeysMayGrant = Less(a.KeysMayGrant, b.KeysMayGrant),
        };

    /// <summary>
    /// Returns the first rule that a key breaks at a time; null: none. Scopes are not checked here, because they narrow, and refuse only if
    /// no scope is left.
    /// </summary>
    public PolicyRule? FirstViolation(Subject subject, DateTimeOffset at)
    {
        if (Holders is { } holders && !subject.IsApiKey && !holders.Any(subject.Roles.Contains))
            return PolicyRule.Holders;
        if (LifetimeMax is { } lifetime && subject.CreatedAt + lifetime <= at)
            return PolicyRule.Lifetime;
        if (RootKeys == false && subject.IsRootKeyElsewhere)
            return PolicyRule.RootKeys;
        if (Networks is { } networks && subject.Address is { } address && !networks.Contains(address))
            return PolicyRule.Networks;
        return null;
    }

    /// <summary>
    /// Returns the first reason to refuse a new key. Announced policies count too (<see cref="PolicyTimeline.Strictest"/>).
    /// </summary>
    /// <param name="scopes"><see cref="NameSet.All"/>: no limit of its own.</param>
    /// <param name="roles">The effective roles of the holder; null: an organization's API key, which has no holder.</param>
    public Refusal? Forbids(DateTimeOffset? expiresAt, NameSet scopes, DateTimeOffset now, NameSet? roles)
    {
        if (Holders is { } holders && roles is not null && !holders.Any(roles.Contains))
            return new(
                RefusalCode.AccessDenied,
                holders.Count == 0
                    ? "The organization's policy does not allow people to hold keys."
                    : $"The policy requires one of these roles to hold a key: {string.Join(", ", holders)}. Ask an owner of the "
                        + $"organization.",
                "policy: holders"
            );
        if (LifetimeMax is { } lifetime && (expiresAt is null || expiresAt > now + lifetime))
            return Refusal.At(
                "expiry",
                RefusalCode.InvalidRequest,
                $"by policy, a key lives at most {TimeText.Count(lifetime.Days, "day")} here; choose an earlier time.",
                "policy: lifetime"
            );
        if (Scopes is { } allowed && (allowed.Count == 0 || !scopes.IsAll && !scopes.IsSubsetOf(allowed)))
            return Refusal.At(
                "scopes",
                RefusalCode.InvalidScope,
                $"by policy, choose from {(allowed.Count == 0 ? "none" : string.Join(' ', allowed))}.",
                "policy: scopes"
            );
        return null;
    }

    /// <summary>What stands against storing it.</summary>
    public Refusal? Check(PakhouseOptions options)
    {
        if (Holders?.All(options.Roles.Contains) == false)
            return OutOfBounds("holders", "name roles that GET /roles.json lists, none for nobody, or leave it out for everybody");
        if (KeysPerMember is < 1 or > KeysPerMemberMax)
            return OutOfBounds("keysPerMember", $"give a number from 1 to {KeysPerMemberMax}");
        if (LifetimeMaxDays is < 1 or > LifetimeDaysMax)
            return OutOfBounds("lifetimeMaxDays", $"give a number of days from 1 to {LifetimeDaysMax}");
        if (LifetimeDefaultDays is < 1 or > LifetimeDaysMax || LifetimeDefaultDays > LifetimeMaxDays)
            return OutOfBounds("lifetimeDefaultDays", $"give a number of days from 1 to {LifetimeMaxDays ?? LifetimeDaysMax}");
        if (Scopes?.IsSubsetOf(options.Scopes) == false || Scopes?.Count == 0)
            return OutOfBounds("scopes", $"choose from {options.Scopes}, or omit it for all scopes");
        if (
            TokenLifetimeSeconds is { } seconds
            && (seconds < TokenLifetimeSecondsMin || seconds > PakhouseOptions.TokenLifetimeMax.TotalSeconds)
        )
            return OutOfBounds(
                "tokenLifetimeSeconds",
                $"give a number of seconds from {TokenLifetimeSecondsMin} to {PakhouseOptions.TokenLifetimeMax.TotalSeconds}"
            );
        return null;
    }

    private static Refusal OutOfBounds(string field, string expected) =>
        Refusal.At(field, RefusalCode.InvalidRequest, $"{expected}.", $"policy: {field} out of bounds");

    /// <summary>The most keys that one person may hold.</summary>
    public int KeysOf(PakhouseOptions options) => Math.Min(options.KeysPerMemberMax, KeysPerMember ?? int.MaxValue);

    /// <summary>The facts that the rules check.</summary>
    /// <param name="Roles">The effective roles in the organization that the token is for.</param>
    /// <param name="IsRootKeyElsewhere">The key belongs to a root, and the token is for a sub-organization.</param>
    /// <param name="Address">Null: not checked.</param>
    public readonly record struct Subject(
        bool IsApiKey,
        NameSet Roles,
        DateTimeOffset CreatedAt,
        bool IsRootKeyElsewhere,
        IPAddress? Address
    );

    /// <summary>The stored text. Names and networks are sorted, so that equal policies have equal text.</summary>
    public override string ToString() => JsonSerializer.Serialize(this, Json);

    private static int? Less(int? a, int? b) =>
        a is null ? b
        : b is null ? a
        : Math.Min(a.Value, b.Value);

    private static KeysMayGrant? Less(KeysMayGrant? a, KeysMayGrant? b) => a is null || b < a ? b ?? a : a;

    private static bool? Both(bool? a, bool? b) =>
        a is null ? b
        : b is null ? a
        : a.Value && b.Value;

    private static NameSet? Both(NameSet? a, NameSet? b) =>
        a is null ? b
        : b is null ? a
        : NameSet.Of(a.Where(b.Contains));

    /// <exception cref="JsonException">It has no message of its own: the serializer adds the path, which names the member.</exception>
    private static List<string> ReadTexts(ref Utf8JsonReader reader, int max)
    {
        if (reader.TokenType != JsonTokenType.StartArray)
            throw new JsonException();
        var texts = new List<string>();
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (reader.TokenType != JsonTokenType.String || texts.Count == max)
                throw new JsonException();
            texts.Add(reader.GetString()!);
        }

        return texts;
    }

    /// <summary>As an array, in alphabetical order.</summary>
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
