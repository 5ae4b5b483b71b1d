namespace Pakhouse.Server;

/// <summary>The audit record over HTTP: as JSON in pages, and as one CSV file.</summary>
public static class ActivityEndpoints
{
    private static readonly string[] csvTitles =
    [
        "time",
        "action",
        "organization id",
        "organization",
        "actor id",
        "actor",
        "key id",
        "key",
        "address",
        "target id",
        "target",
        "subject id",
        "subject",
        "detail",
        "id",
    ];

    /// <summary>A person or object in a row: its id and its current name; null: it has no name any more.</summary>
    private sealed record ShownParty(string Id, string? Name);

    /// <summary>One row of the record.</summary>
    private sealed record ShownActivity
    {
        public required Guid Id { get; init; }
        public required DateTimeOffset At { get; init; }
        public required string Action { get; init; }

        /// <summary>Null: no organization, such as for a sign-in.</summary>
        public required ShownParty? Organization { get; init; }

        /// <summary>Null: the operator or the program; for a failed sign-in: unknown.</summary>
        public required ShownParty? Actor { get; init; }

        /// <summary>The key that the actor used.</summary>
        public required ShownParty? ActorKey { get; init; }

        /// <summary>Null: on the server's machine, or hidden from this caller.</summary>
        public required string? Address { get; init; }

        public required ShownParty? Target { get; init; }

        /// <summary>The affected person, if it is not the target.</summary>
        public required ShownParty? Subject { get; init; }

        public required string? Detail { get; init; }
    }

    /// <param name="Data">Newest first.</param>
    /// <param name="Next">The value of <c>before</c> for the next page; null: this was the last page.</param>
    private sealed record ShownActivities(IEnumerable<ShownActivity> Data, Guid? Next);

    public static void Map(IEndpointRouteBuilder routes)
    {
        var group = routes.MapApi("/identity/v1/organizations/{organizationId:guid}").WithTags("Activity");
        group
            .MapGet("/activity", ListAsync)
            .Describe<ShownActivities>(
                "listActivity",
                "Lists what happened in an organization, newest first; without the permission to see it, only your actions and those that "
                    + "affect you."
            );
        group
            .MapGet("/activity.csv", ExportAsync)
            .WithName("exportActivity")
            .WithSummary("The same rows as one CSV file.")
            .Produces<string>(StatusCodes.Status200OK, "text/csv");
    }

    private static async Task<IResult> ListAsync(
        Guid organizationId,
        string? kind,
        string? from,
        string? to,
        string? organization,
        string? action,
        string? person,
        string? before,
        HttpContext context,
        ActivityFeed feed
    )
    {
        var filter = Filter(kind, from, to, organization, action, person, before);
        if (filter.Refusal is { } refusal)
            return refusal.ToResult();
        return (await feed.PageAsync(context.Caller(), organizationId, filter.Value)).ToResult(page => new ShownActivities(
            page.Entries.Select(Show),
            page.Next
        ));
    }

    private static async Task ExportAsync(
        Guid organizationId,
        string? kind,
        string? from,
        string? to,
        string? organization,
        string? action,
        string? person,
        HttpContext context,
        ActivityFeed feed
    )
    {
        var filter = Filter(kind, from, to, organization, action, person, null);
        if (filter.Refusal is { } refusal)
        {
            await RefusalWriter.WriteAsync(context, refusal);
            return;
        }

        await CsvExport.WriteAsync(
            context,
            $"activity-{organizationId}.csv",
            csvTitles,
            async after =>
            {
                var before = after is null ? (Guid?)null : Guid.Parse(after);
                var page = await feed.PageAsync(
                    context.Caller(),
                    organizationId,
                    filter.Value with
                    {
                        Before = before,
                    },
                    CsvExport.PageLength
                );
                return page.Refusal is { } refused ? refused : new CsvPage(page.Value.Entries.Select(Cells), page.Value.Next?.ToString());
            }
        );
    }

    private static string?[] Cells(ActivityEntry one) =>
        [
            TimeText.Machine(one.At),
            one.Action,
            one.OrganizationId?.ToString(),
            one.OrganizationName,
            one.ActorId?.ToString(),
            one.ActorName,
            one.ActorKeyId,
            one.ActorKeyName,
            one.Address,
            one.Target,
            one.TargetName,
            one.SubjectId?.ToString(),
            one.SubjectName,
            one.Detail,
            one.Id.ToString(),
        ];

    private static Outcome<ActivityFilter> Filter(
        string? kind,
        string? from,
        string? to,
        string? organization,
        string? action,
        string? person,
        string? before
    ) =>
        kind is null or "" or "organization" or "auth"
            ? ActivityFilter.Read(kind == "auth", from, to, organization, action, person, before)
            : Refusal.At("kind", RefusalCode.InvalidRequest, "give organization or auth.", "unknown kind of activity");

    private static ShownActivity Show(ActivityEntry entry) =>
        new()
        {
            Id = entry.Id,
            At = entry.At,
            Action = entry.Action,
            Organization = Party(entry.OrganizationId?.ToString(), entry.OrganizationName),
            Actor = Party(entry.ActorId?.ToString(), entry.ActorName),
            ActorKey = Party(entry.ActorKeyId, entry.ActorKeyName),
            Address = entry.Address,
            Target = Party(entry.Target, entry.TargetName),
            Subject = Party(entry.SubjectId?.ToString(), entry.SubjectName),
            Detail = entry.Detail,
        };

    private static ShownParty? Party(string? id, string? name) => string.IsNullOrEmpty(id) ? null : new(id, name);
}
