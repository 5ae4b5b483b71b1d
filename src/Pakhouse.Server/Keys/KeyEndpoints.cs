using System.Text.Json.Serialization;

namespace Pakhouse.Server;

/// <summary>
/// Personal access keys over HTTP. Only a session can generate a key (R7, in <see cref="Permissions"/>), and only that response contains
/// its secret. An owner or manager can see and delete the keys of members.
/// </summary>
public static class KeyEndpoints
{
    /// <summary>How many random ids are tried. Two ids of 16 base62 characters practically never collide.</summary>
    private const int IdsTriedMax = 3;

    /// <summary>A key without its secret.</summary>
    public record ShownKey
    {
        /// <summary>The public part of the key.</summary>
        public required string Id { get; init; }

        public required string Name { get; init; }

        /// <summary>The scopes that the key is limited to; null: no limit.</summary>
        public required IEnumerable<string>? Scopes { get; init; }

        public required DateTimeOffset CreatedDate { get; init; }

        /// <summary>Null: the key does not expire.</summary>
        public required DateTimeOffset? ExpiryDate { get; init; }

        /// <summary>Null: never, or in the last few seconds.</summary>
        public required DateTimeOffset? LastUsedDate { get; init; }

        /// <summary>The IP address of the last use.</summary>
        public required string? LastUsedAddress { get; init; }

        /// <summary>The holder of the key; absent in the list of your own keys.</summary>
        [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
        public Guid? UserId { get; init; }

        [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
        public string? UserEmail { get; init; }
    }

    /// <param name="Next">In a list with <c>all=true</c>: the value of <c>after</c> for the next page. Absent: this was the last
    /// page.</param>
    public sealed record ShownKeys(
        IEnumerable<ShownKey> Data,
        [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Next
    );

    public sealed record WantedKey
    {
        /// <summary>What the key is for, in 1 to 100 characters.</summary>
        public string? Name { get; init; }

        /// <summary>At most ten years ahead. Absent or null: the key does not expire.</summary>
        public DateTimeOffset? ExpiryDate { get; init; }

        /// <summary>The scopes to limit the key to. Absent or empty: no limit.</summary>
        public IReadOnlyList<string>? Scopes { get; init; }
    }

    public sealed record GeneratedKey
    {
        public required string Id { get; init; }
        public required string Name { get; init; }

        /// <summary>The key. Only this response ever contains it.</summary>
        public required string PersonalAccessKey { get; init; }

        public required DateTimeOffset? ExpiryDate { get; init; }

        public override string ToString() => $"key {Id}"; // the default ToString of a record would print the key
    }

    public static void Map(IEndpointRouteBuilder routes)
    {
        var group = routes.MapApi("/identity/v1/organizations/{organizationId:guid}/personal-access-keys").WithTags("Personal access keys");
        group.MapGet("", ListAsync).Describe<ShownKeys>("listKeys", "Your keys; with all=true the keys of every member");
        group.MapPost("", GenerateAsync).Describe<GeneratedKey>("generateKey", "Generates a key for you (with a session only)");
        group.MapDelete("/{keyId}", DeleteAsync).DescribeEmpty("deleteKey", "Ends a key at once: your own, or a member's");
    }

    private static async Task<IResult> ListAsync(
        Guid organizationId,
        bool? all,
        string? after,
        int? limit,
        HttpContext context,
        Keys keys,
        MemberKeys memberKeys
    )
    {
        if (all != true)
            return (await keys.ListAsync(context.Caller(), organizationId)).ToResult(own => new ShownKeys(
                own.Select(key => Show(key)),
                null
            ));
        var length = limit ?? 100;
        return (await memberKeys.ListAsync(context.Caller(), organizationId, after ?? "", length)).ToResult(found => new ShownKeys(
            found.Select(one => Show(one.Key) with { UserId = one.UserId, UserEmail = context.Caller().Shown(one.UserEmail) }),
            found.Count == length ? found[^1].Key.Id : null
        ));
    }

    private static async Task<IResult> GenerateAsync(Guid organizationId, Body<WantedKey> body, HttpContext context, Keys keys)
    {
        if (body.Refusal is { } unreadable)
            return unreadable.ToResult();
        var wanted = body.Value;
        var scopes = wanted.Scopes ?? [];
        if (wanted.Scopes is { Count: 0 })
            return NoScopes.ToResult(); // an empty list must not mean "no limit"
        if (scopes.Count > 32 || scopes.Any(scope => scope is null || !NameSet.IsName(scope)))
            return badScopes.ToResult();

        for (var tried = 1; ; tried++)
        {
            var generated = await keys.GenerateAsync(
                context.Caller(),
                organizationId,
                new NewKey(
                    KeyFormat.NewId(),
                    wanted.Name ?? "",
                    wanted.ExpiryDate?.ToUniversalTime(),
                    wanted.Scopes is null ? NameSet.All : NameSet.Of(scopes)
                )
            );
            if (generated.Refusal == Keys.DuplicateId && tried < IdsTriedMax)
                continue;
            return generated.ToResult(key => new GeneratedKey
            {
                Id = key.Id,
                Name = Checks.Normalize(wanted.Name!).Trim(),
                PersonalAccessKey = key.Reveal(),
                ExpiryDate = wanted.ExpiryDate,
            });
        }
    }

    /// <summary>A caller who may not delete the keys of members does not learn whether there is such a key.</summary>
    private static async Task<IResult> DeleteAsync(Guid organizationId, string keyId, HttpContext context, Keys keys, MemberKeys memberKeys)
    {
        var own = KeyFormat.IsId(keyId) ? await keys.DeleteAsync(context.Caller(), organizationId, keyId) : Keys.NoSuchKey;
        if (own.Refusal != Keys.NoSuchKey && own.Refusal?.Code != RefusalCode.AccessDenied)
            return own.ToEmpty();
        var members = await memberKeys.DeleteAsync(context.Caller(), organizationId, keyId);
        return (members.Refusal?.Code == RefusalCode.AccessDenied ? own : members).ToEmpty();
    }

    private static ShownKey Show(KeyEntry key) =>
        new()
        {
            Id = key.Id,
            Name = key.Name,
            Scopes = key.Scopes.IsAll ? null : key.Scopes,
            CreatedDate = key.CreatedAt,
            ExpiryDate = key.ExpiresAt,
            LastUsedDate = key.LastUsedAt,
            LastUsedAddress = key.LastUsedAddress,
        };

    internal static readonly Refusal NoScopes = Refusal.At(
        "scopes",
        RefusalCode.InvalidRequest,
        "the list is empty. Name at least one scope, or omit the member for all scopes.",
        "scopes empty"
    );

    private static readonly Refusal badScopes = Refusal.At(
        "scopes",
        RefusalCode.InvalidRequest,
        "give at most 32 scope names.",
        "scopes out of form"
    );
}
