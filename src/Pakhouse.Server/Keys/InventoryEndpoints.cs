using System.Text.Json.Serialization;

namespace Pakhouse.Server;

/// <summary>The inventory over HTTP: pages of JSON, a CSV of everything, and actions on many keys at once.</summary>
public static class InventoryEndpoints
{
    private static readonly string[] csvTitles =
    [
        "Key",
        "Name",
        "Kind",
        "Holder",
        "E-mail",
        "Holder inactive",
        "Organization",
        "Created",
        "Expires",
        "Last used",
        "Last address",
        "Suspended",
        "Beyond policy",
    ];

    internal sealed record WantedAction
    {
        /// <summary>delete, suspend or resume.</summary>
        public string? Action { get; init; }

        public IReadOnlyList<string>? KeyIds { get; init; }
    }

    private sealed record ShownPage(
        IEnumerable<object> Data,
        [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Next
    );

    private static readonly Refusal badFilter = Refusal.At(
        "filter",
        RefusalCode.InvalidRequest,
        $"choose from {string.Join(", ", Enum.GetValues<KeyFilter>().Select(Api.Name))}.",
        "unknown filter"
    );
    private static readonly Refusal badAction = Refusal.At(
        "action",
        RefusalCode.InvalidRequest,
        "choose delete, suspend or resume.",
        "unknown action"
    );
    private static readonly Refusal badBody = new(
        RefusalCode.InvalidRequest,
        "The body is not a JSON object with action and keyIds.",
        "body out of form"
    );

    public static void Map(IEndpointRouteBuilder routes)
    {
        var group = routes.MapApi("/identity/v1/organizations/{organizationId:guid}");
        group
            .MapGet("/keys", ListAsync)
            .WithName("listInventory")
            .WithSummary("All keys of an organization and its sub-organizations, newest first")
            .WithTags("Inventory");
        group.MapGet("/keys.csv", WriteCsvAsync).WithName("exportInventory").WithSummary("All keys as CSV").WithTags("Inventory");
        group
            .MapPost("/keys/actions", ActAsync)
            .WithName("actOnKeys")
            .WithSummary("Deletes, suspends or resumes keys; their holders are notified by mail")
            .WithTags("Inventory");
    }

    /// <summary>Null: there is no filter of that name.</summary>
    public static KeyFilter? ReadFilter(string? text) =>
        string.IsNullOrEmpty(text)
            ? KeyFilter.All
            : Enum.GetValues<KeyFilter>().Where(filter => Api.Name(filter) == text).Select(filter => (KeyFilter?)filter).FirstOrDefault();

    private static async Task<IResult> ListAsync(
        HttpContext context,
        Inventory inventory,
        Guid organizationId,
        string? filter,
        string? search,
        string? after,
        int? limit
    )
    {
        if (ReadFilter(filter) is not { } known)
            return badFilter.ToResult();
        var length = limit ?? Inventory.PageLength;
        var page = await inventory.ListAsync(context.Caller(), organizationId, new(known, search ?? "", after ?? ""), length);
        return page.ToResult(rows => new ShownPage(
            rows.Select(row => Show(row, context.Caller())),
            rows.Count == length ? rows[^1].Cursor : null
        ));
    }

    private static async Task WriteCsvAsync(HttpContext context, Inventory inventory, Guid organizationId, string? filter, string? search)
    {
        if (ReadFilter(filter) is not { } known)
        {
            await RefusalWriter.WriteAsync(context, badFilter);
            return;
        }

        await CsvExport.WriteAsync(
            context,
            "keys.csv",
            csvTitles,
            async after =>
            {
                var page = await inventory.ListAsync(
                    context.Caller(),
                    organizationId,
                    new(known, search ?? "", after ?? ""),
                    CsvExport.PageLength
                );
                if (page.Refusal is { } refusal)
                    return refusal;
                return new CsvPage(
                    page.Value.Select(row => Cells(row, context.Caller())),
                    page.Value.Count < CsvExport.PageLength ? null : page.Value[^1].Cursor
                );
            }
        );
    }

    private static string?[] Cells(InventoryKey row, Actor caller)
    {
        var (key, facts) = (row.Key, row.Key.Facts);
        return
        [
            key.Id,
            key.Name,
            facts.IsApiKey ? "API key" : "Personal access key",
            key.IsPerson ? facts.UserName : "",
            key.IsPerson ? caller.Shown(facts.UserEmail) : "",
            Yes(facts.IsUserGone),
            key.OrganizationName,
            TimeText.Machine(facts.CreatedAt),
            Time(facts.ExpiresAt),
            Time(key.LastUsedAt),
            key.LastUsedAddress,
            Yes(facts.IsSuspended),
            row.BeyondPolicy is { } rule ? rule.Title() : "",
        ];

        static string Time(DateTimeOffset? time) => time is { } at ? TimeText.Machine(at) : "";
        static string Yes(bool value) => value ? "yes" : "";
    }

    private static async Task<IResult> ActAsync(HttpContext context, Inventory inventory, Guid organizationId, Body<WantedAction> body)
    {
        if (body.Refusal is { } unreadable)
            return unreadable.ToResult();
        var wanted = body.Value;
        if (wanted.KeyIds is null)
            return badBody.ToResult();
        KeyAction? action = wanted.Action switch
        {
            "delete" => KeyAction.Delete,
            "suspend" => KeyAction.Suspend,
            "resume" => KeyAction.Resume,
            _ => null,
        };
        return action is null
            ? badAction.ToResult()
            : (await inventory.ActAsync(context.Caller(), organizationId, action.Value, wanted.KeyIds)).ToResult(done => new
            {
                KeyIds = done,
            });
    }

    private static object Show(InventoryKey row, Actor caller) =>
        new
        {
            row.Key.Id,
            row.Key.Name,
            Kind = row.Key.IsPerson ? "personalAccessKey" : "apiKey",
            UserId = row.Key.IsPerson ? row.Key.Facts.UserId : null,
            UserName = row.Key.IsPerson ? row.Key.Facts.UserName : null,
            UserEmail = row.Key.IsPerson ? caller.Shown(row.Key.Facts.UserEmail) : null,
            HolderInactive = row.Key.Facts.IsUserGone,
            row.Key.Facts.OrganizationId,
            row.Key.OrganizationName,
            CreatedDate = row.Key.Facts.CreatedAt,
            ExpiryDate = row.Key.Facts.ExpiresAt,
            LastUsedDate = row.Key.LastUsedAt,
            row.Key.LastUsedAddress,
            Suspended = row.Key.Facts.IsSuspended,
            BeyondPolicy = row.BeyondPolicy is { } rule ? Api.Name(rule) : null,
        };
}
