using System.Text.Json.Serialization;

namespace Pakhouse.Server;

/// <summary>
/// Personal access keys over HTTP. A key is generated with a session only (R7: <see cref="Permissions"/> says so) and its secret stands in
/// that one answer; an owner or manager sees and deletes the keys of members.
/// </summary>
public static class KeyEndpoints
{
    /// <summary>Of what is asked for, whatever its length: of 16 characters of base62 one does not meet another's.</summary>
    private const int IdsTriedMax = 3;

    /// <summary>A key without its secret.</summary>
    public record ShownKey
    {
        /// <summary>The public part of the key.</summary>
        public required string Id { get; init; }

        public required string Name { get; init; }

        /// <summary>Scopes that the key is limited to; null: no limit.</summary>
        public required IEnumerable<string>? Scopes { get; init; }

        public required DateTimeOffset CreatedDate { get; init; }

        /// <summary>Null: the key does not expire.</summary>
        public required DateTimeOffset? ExpiryDate { get; init; }

        /// <summary>Null: never, or in the last few seconds.</summary>
        public required DateTimeOffset? LastUsedDate { get; init; }

        /// <summary>Where the last use came from.</summary>
        public required string? LastUsedAddress { get; init; }

        /// <summary>Whose key it is; absent in the list of one's own.</summary>
        [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
        public Guid? UserId { get; init; }

        [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
        public string? UserEmail { get; init; }
    }

    /// <param name="Next">Of a list with <c>all=true</c>: what to send as <c>after</c> for the next page. Absent: this was the
    /// last.</param>
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

        /// <summary>What to limit the key to. Absent or empty: no limit.</summary>
        public IReadOnlyList<string>? Scopes { get; init; }
    }

    public sealed record GeneratedKey
    {
        public required string Id { get; init; }
        public required string Name { get; init; }

        /// <summary>The key. This is the only answer that ever holds it.</summary>
        public required string PersonalAccessKey { get; init; }

        public required DateTimeOffset? ExpiryDate { get; init; }

        public override string ToString() => $"key {Id}"; // a record would print the key
    }

    public static void Map(IEndpointRouteBuilder routes)
    {
        var group = routes.MapApi("/identity/v1/organizations/{organizationId:guid}/personal-access-keys").WithTags("Personal access keys");
        group.MapGet("", ListAsync).Describe<ShownKeys>("listKeys", "The caller's keys; with all=true those of every member");
        group.MapPost("", GenerateAsync).Describe<GeneratedKey>("generateKey", "Generates a key for the caller (with a session only)");
        group.MapDelete("/{keyId}", DeleteAsync).DescribeEmpty("deleteKey", "Ends a key at once: the caller's own, or a member's");
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
            return NoScopes.ToResult(); // empty is not everything
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

    /// <summary>Who may not delete the keys of members is not told whether there is such a key.</summary>
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

    internal static readonly Refusal NoScopes = new(
        RefusalCode.InvalidRequest,
        "scopes: the list is empty. Name at least one scope, or leave the member out for all of them.",
        "scopes empty"
    );

    private static readonly Refusal badScopes = new(
        RefusalCode.InvalidRequest,
        "scopes: give at most 32 names of scopes.",
        "scopes out of form"
    );
}
