using Microsoft.Extensions.Hosting;

namespace Pakhouse.Tests;

/// <summary>Makes the server send its statements: every route, every change of a key, every job, every search.</summary>
internal static class SqlWalk
{
    /// <summary>The time of the clock at the end, at most.</summary>
    public static DateTimeOffset End { get; } = new(2026, 12, 1, 0, 0, 0, TimeSpan.Zero);

    /// <summary>Ways that leave nothing to go on with: each has a server of its own.</summary>
    private static readonly string[] last =
    [
        "member removed", "member left", "user deleted", "user disabled",
        "organization disabled", "organization deleted", "organization of an API key deleted",
    ];

    public static async Task<IReadOnlyCollection<SentSql>> RunAsync()
    {
        var sent = new Dictionary<string, SentSql>(StringComparer.Ordinal);
        await using (var world = await MatrixWorld.StartAsync())
        {
            using var recorder = SqlRecorder.Record(world.Server.Get<Database>());
            await world.WalkAsync(MatrixRows.All);
            Add(recorder);
        }

        await using (var scene = await KeyLifecycleTests.Scene.StartAsync())
        {
            // Refused before anything is dialled, so that the failures of webhooks are recorded too.
            await scene.Server.ExecuteAsync("UPDATE webhooks SET url = 'https://127.0.0.1:1/'");
            using var recorder = SqlRecorder.Record(scene.Server.Get<Database>());
            foreach (var (name, way) in KeyLifecycleTests.Ways)
                if (!last.Contains(name)) await way.Walk(scene);
            await SearchAsync(scene);
            await RunJobsAsync(scene);
            Add(recorder);
        }

        foreach (var name in (string[])["user deleted", "organization deleted"])
        {
            await using var scene = await KeyLifecycleTests.Scene.StartAsync();
            using var recorder = SqlRecorder.Record(scene.Server.Get<Database>());
            await KeyLifecycleTests.Ways[name].Walk(scene);
            Add(recorder);
        }

        return sent.Values;

        void Add(SqlRecorder recorder)
        {
            foreach (var sql in recorder.Sent) sent.TryAdd(sql.Text, sql);
        }
    }

    private static async Task SearchAsync(KeyLifecycleTests.Scene scene)
    {
        var (server, owner, acme) = (scene.Server, scene.Owner, scene.Acme);
        foreach (var filter in Enum.GetValues<KeyFilter>())
            await server.Get<Inventory>().ListAsync(owner, acme.Root, new(filter, "ada"), 10);
        foreach (var organization in (Guid[])[acme.Root, acme.Sub])
            foreach (var search in (string[])["", "ada", "ada@example", "ädä one"])
            {
                await server.Members.PageAsync(owner, organization, search);
                await server.Members.PageAsync(owner, organization, search, acme.Owner);
                await server.Members.ListAsync(owner, organization, below: true);
            }

        foreach (var isAuth in (bool[])[true, false])
            foreach (var actor in (Actor[])[owner, scene.Holder])
                foreach (var person in (string?[])[null, scene.HolderEmail])
                    foreach (var (action, only) in ((string?, Guid?)[])[(null, null), (AuditAction.KeyCreate, acme.Sub)])
                        await server.Get<ActivityFeed>().PageAsync(actor, acme.Root,
                            new ActivityFilter { IsAuth = isAuth, Person = person, Action = action, OrganizationId = only });
    }

    private static async Task RunJobsAsync(KeyLifecycleTests.Scene scene)
    {
        await PoliciesTests.SetAsync(scene.Server, scene.Acme.Owner, scene.Acme.Root, new() { SelfRotation = true });
        await scene.Server.Get<SignInFailures>().RecordAsync(null, System.Net.IPAddress.Loopback, "password");
        var robot = await scene.ApiKeyAsync(TimeSpan.FromDays(5));
        await scene.Server.Get<ApiKeys>().ChangeAsync(scene.Owner, scene.Acme.Root, robot, "Another name", null);
        await scene.Server.Invitations.InviteAsync(scene.Owner, scene.Acme.Root, "new@acme.example", [new(scene.Acme.Root, NameSet.Empty)]);
        var code = (await scene.Server.MailsToAsync("new@acme.example"))[^1].TextBody!.Split("/invitations/")[1].Split()[0];
        await scene.Server.Get<InvitationAnswers>().SignUpAsync(code, "New", TestServer.Password, null);
        var user = (await scene.Server.Users.FindAsync(scene.Acme.Owner))!;
        await scene.Server.Get<PasskeyStore>().FindPasskeyAsync(user, [1], CancellationToken.None);
        await scene.Server.Get<PasskeyStore>().GetPasskeysAsync(user, CancellationToken.None);
        await scene.Server.Get<Passwords>().RequestResetAsync(scene.HolderEmail, null);
        var key = await scene.KeyAsync(TimeSpan.FromDays(20));
        await scene.Server.ExchangeAsync(scene.Secrets[key]);
        foreach (var organization in (Guid[])[scene.Acme.Root, scene.Acme.Sub])
            await scene.Server.Get<KeyHistory>().ReadAsync(scene.Holder, organization, key);
        await scene.Server.Get<KeyUsage>().FlushAsync();
        var jobs = scene.Server.Get<IEnumerable<IHostedService>>().OfType<PeriodicJob>().ToList();
        await scene.Server.Get<WebhookSender>().RunAsync(Guid.Empty);
        foreach (var pause in (TimeSpan[])[TimeSpan.Zero, KeyHistory.Kept + TimeSpan.FromDays(2), TimeSpan.FromDays(1000)])
        {
            scene.Server.Clock.Advance(pause);
            foreach (var job in jobs) await job.RunAsync();
        }
    }
}
