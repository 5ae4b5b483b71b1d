using System.Net;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Time.Testing;

namespace Pakhouse.Tests;

/// <summary>What the operator's log tells, and what it leaves out.</summary>
public sealed class OperatorLogTests
{
    private const string Category = "Information Pakhouse.Server.Operator: ";

    private static List<string> Told(TestServer server) =>
        [.. server.Log.Lines.Where(line => line.StartsWith(Category, StringComparison.Ordinal)).Select(line => line[Category.Length..])];

    [Fact]
    public async Task Every_row_of_the_record_is_told_once_by_ids_alone()
    {
        await using var server = await TestServer.StartAsync();
        var acme = await server.AddAcmeAsync();
        var member = await server.AddMemberAsync(acme.Root, "viewer");
        var person = (await server.Users.FindAsync(member))!;
        await Visitor.SignInAsync(server, person.Email);
        foreach (var name in (string[])["One", "Two"]) // deleted by one statement
        {
            var made = await server.Keys.GenerateAsync(
                Actor.Session(member),
                acme.Root,
                new NewKey(KeyFormat.NewId(), name, null, NameSet.All)
            );
            Assert.False(made.IsRefused);
        }

        Assert.False((await server.Members.RemoveAsync(Actor.Session(acme.Owner), acme.Root, member)).IsRefused);
        await server.Get<SigningKeys>().RotateAsync(Actor.Operator);

        var told = Told(server);
        var rows = await server.ScalarAsync<long>("SELECT COUNT(*) FROM activity");
        Assert.Equal(rows, told.Count(line => line.Contains(", by ", StringComparison.Ordinal)));
        Assert.Single(told, line => line.StartsWith($"Login: {member}, by user {member}", StringComparison.Ordinal));
        Assert.Equal(2, told.Count(line => line.StartsWith("PAT Revoke: ", StringComparison.Ordinal)));
        const string signingKey = "Signing Key Create: ";
        Assert.Contains(
            told,
            line => line.StartsWith(signingKey, StringComparison.Ordinal) && line.Contains("by operator", StringComparison.Ordinal)
        );
        Assert.Contains(told, line => line.StartsWith("Started on ASP.NET Core", StringComparison.Ordinal));
        foreach (var secret in (string[])[person.Email, person.Name, "viewer", "127.0.0.1", "Acme"])
            Assert.DoesNotContain(
                told.Where(line => line.Contains(", by ", StringComparison.Ordinal)),
                line => line.Contains(secret, StringComparison.Ordinal)
            );
        await server.StopAsync();
        Assert.Equal(["Stopping", "Stopped"], Told(server)[^2..].Select(line => line.Split(' ')[0]));
    }

    /// <summary>
    /// Npgsql gives one transaction object to many: what a change noted that was rolled back must not come with the next.
    /// </summary>
    [Fact]
    public async Task A_change_that_was_not_committed_is_not_told_nor_with_the_next_one()
    {
        await using var server = await TestServer.StartAsync();
        var before = Told(server).Count;
        var database = server.Get<Database>();
        for (var round = 0; round < 20; round++)
        {
            await Assert.ThrowsAsync<InvalidOperationException>(() => database.WriteAsync<bool>(async transaction =>
            {
                await ActivityLog.WriteAsync(transaction, server.Clock, Actor.Operator, AuditAction.UserCreate, null, "lost");
                throw new InvalidOperationException("rolled back");
            }));
            await server.ExecuteAsync("UPDATE users SET name = name WHERE id = ''");
        }

        await database.WriteAsync(async transaction =>
        {
            await ActivityLog.WriteAsync(transaction, server.Clock, Actor.Operator, AuditAction.UserCreate, null, "kept");
            return true;
        });
        Assert.StartsWith("User Create: kept", Assert.Single(Told(server)[before..]), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_change_of_very_many_is_a_hundred_lines_and_a_sum()
    {
        await using var server = await TestServer.StartAsync();
        var before = Told(server).Count;
        await server.Get<Database>().WriteAsync(async transaction =>
        {
            for (var i = 0; i < 150; i++)
                await ActivityLog.WriteAsync(transaction, server.Clock, Actor.Operator, AuditAction.KeyRevoke, null, $"{i}");
            return true;
        });
        var told = Told(server)[before..];
        Assert.Equal(TransactionNotes.ChangesMax + 1, told.Count);
        Assert.StartsWith("The same change made 50 more", told[^1], StringComparison.Ordinal);
    }

    [Fact]
    public async Task Normal_requests_and_questions_of_a_balancer_are_no_warning()
    {
        await using var server = await TestServer.StartAsync();
        var acme = await server.AddAcmeAsync();
        var visitor = await Visitor.SignInAsync(server, (await server.Users.FindAsync(acme.Owner))!.Email);
        foreach (var path in (string[])["/account", $"/organizations/{acme.Root}/security", $"/organizations/{acme.Root}/team"])
            Assert.Equal(HttpStatusCode.OK, (await visitor.GetAsync(path)).Status);
        Assert.Equal(HttpStatusCode.OK, (await server.GetAsync("/health/ready")).Status);
        Assert.DoesNotContain(server.Log.Lines, IsLoud);
        server.Get<Fitness>().SetClockFault("injected");
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await server.GetAsync("/health/ready")).Status);
        Assert.DoesNotContain(server.Log.Lines, IsLoud);

        static bool IsLoud(string line) =>
            line.Split(' ')[0] is "Warning" or "Error" or "Critical" && !line.Contains("Install 10.", StringComparison.Ordinal);
    }

    [Fact]
    public void An_outage_is_a_line_at_its_begin_one_a_minute_and_one_at_its_end_however_many_meet_it()
    {
        var (clock, recorded) = (new FakeTimeProvider(), new RecordedLog());
        using var logs = LoggerFactory.Create(builder => builder.AddProvider(recorded));
        var outages = new OutageLog(clock, logs.CreateLogger<OutageLog>());
        outages.End(); // nothing was wrong
        for (var i = 0; i < 1000; i++) outages.Tell(new TimeoutException("no\nanswer"), isWhole: true);
        var line = Assert.Single(recorded.Lines);
        Assert.Contains("The database cannot be used: no answer", line, StringComparison.Ordinal);
        Assert.DoesNotContain("TimeoutException", line, StringComparison.Ordinal);

        clock.Advance(OutageLog.Interval);
        var met = new TimeoutException("no answer");
        Assert.False(OutageLog.IsTold(met));
        outages.Tell(met, isWhole: true);
        outages.Tell(met, isWhole: true); // by the database, and where it ended a request
        Assert.True(OutageLog.IsTold(met));
        Assert.Contains("since the last such line: 1000", recorded.Lines.ElementAt(1), StringComparison.Ordinal);
        outages.End();
        outages.End();
        Assert.Equal(3, recorded.Lines.Count);
        Assert.Contains("available again", recorded.Lines.ElementAt(2), StringComparison.Ordinal);

        // On a full disk reads succeed: that is no end.
        clock.Advance(OutageLog.Interval);
        outages.Tell(new IOException("full"), isWhole: false);
        outages.End();
        Assert.Equal(4, recorded.Lines.Count);
    }

    [
        Theory,
        InlineData("10.0.12+abc", true),
        InlineData("10.0.13+abc", false),
        InlineData("10.0.13", false),
        InlineData("10.1.0-rc.1", false),
        InlineData("10.0.6", true),
        InlineData("9.0.99", true),
        InlineData(null, true),
        InlineData("ten", true)
    ]
    public void A_runtime_below_the_lowest_that_is_known_to_be_good_is_warned_of(string? version, bool isWarned)
    {
        var warning = RuntimeFloor.Warn(version);
        Assert.Equal(isWarned, warning is not null);
        Assert.Equal(
            version == "10.0.6" || version == "9.0.99",
            warning?.Contains("protection-keys renew", StringComparison.Ordinal) == true
        );
    }

    [Fact]
    public async Task The_warning_of_the_runtime_is_loud_and_there_when_it_is_due()
    {
        await using var server = await TestServer.StartAsync();
        var critical = server
            .Log.Lines.Where(line => line.StartsWith("Critical Pakhouse.Server.Operator", StringComparison.Ordinal))
            .ToList();
        Assert.Equal(RuntimeFloor.Warning is null ? 0 : 1, critical.Count);
        Assert.All(critical, line => Assert.Contains(RuntimeFloor.Warning!, line, StringComparison.Ordinal));
    }
}
