using System.Net;
using Dapper;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

namespace Pakhouse.Tests;

/// <summary>A process whose clock is wrong does nothing by time.</summary>
public class ClockTests
{
    [Theory]
    [InlineData(-400, false), InlineData(-2, false), InlineData(20, true), InlineData(400, false)]
    public async Task Process_whose_clock_is_days_off_does_not_start(int days, bool isGood)
    {
        var place = await TestDatabase.CreateAsync();
        var clock = new MovedClock(TimeProvider.System.GetUtcNow());
        var first = await TestServer.StartOnAsync(place, clock, bounds: null);
        await first.Get<ClockWatch>().CheckAsync();
        await first.StopAsync();

        var other = new MovedClock(TimeProvider.System.GetUtcNow().AddDays(days));
        // PostgreSQL has a clock of its own. On SQLite a few weeks may be a pause.
        if (isGood && !TestDatabase.IsPostgres)
        {
            await (await TestServer.StartOnAsync(place, other, bounds: null)).StopAsync();
        }
        else
        {
            var refused = await Assert.ThrowsAsync<StartupException>(() => TestServer.StartOnAsync(place, other, bounds: null));
            Assert.Contains("The clock of this machine says", refused.Message, StringComparison.Ordinal);
        }

        await place.DeleteAsync();
    }

    [Theory, SqliteOnly("PostgreSQL's own clock decides"), InlineData(-400), InlineData(400)]
    public async Task Clock_that_is_right_after_all_is_accepted_by_command(int days)
    {
        var place = await TestDatabase.CreateAsync();
        await (await TestServer.StartOnAsync(place, new MovedClock(TimeProvider.System.GetUtcNow()), bounds: null)).StopAsync();
        var clock = new MovedClock(TimeProvider.System.GetUtcNow().AddDays(days));
        await using (var database = Database.Of(place.Options))
            await database.WriteSeenTimeAsync(clock.GetUtcNow(), accept: true);
        var server = await TestServer.StartOnAsync(place, clock, bounds: null);
        Assert.Equal(HttpStatusCode.OK, (await server.GetAsync("/health/ready")).Status);
        await server.StopAsync();
        await place.DeleteAsync();
    }

    [Fact]
    public async Task While_the_clock_is_wrong_nothing_is_signed_rotated_deleted_or_expired_and_afterwards_all_goes_on()
    {
        var shift = TimeSpan.Zero;
        var clock = new MovedClock(new DateTimeOffset(2026, 11, 2, 9, 0, 30, TimeSpan.Zero));
        TestServer server = null!;
        Task<TimeBounds> Bounds() =>
            Task.FromResult(
                new TimeBounds(
                    clock.GetUtcNow() - shift - TimeSpan.FromHours(1),
                    clock.GetUtcNow() - shift + TimeSpan.FromHours(1),
                    "the test"
                )
            );
        await using (server = await TestServer.StartOnAsync(null, clock, Bounds))
        {
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root, TimeSpan.FromDays(30));
            var deleted = await server.AddKeyAsync(acme.Owner, acme.Root);
            await server.ExchangeAsync(key);
            await server.Get<KeyUsage>().FlushAsync();
            await server.Keys.DeleteAsync(Actor.Session(acme.Owner), acme.Root, TestServer.IdOf(deleted));
            await server
                .Get<SessionStore>()
                .BeginAsync((await server.Users.FindAsync(acme.Owner))!, SignInMethod.Password, IPAddress.Loopback, null);
            await server.Get<SigningKeys>().RotateAsync(Actor.Operator);
            await server.Get<MailSender>().RunAsync();
            var before = await CountsAsync(server);

            shift = TimeSpan.FromDays(500); // and the clock with it: it is wrong, and the bounds know
            clock.Advance(shift);
            await server.Get<ClockWatch>().CheckAsync();
            Assert.Equal(HttpStatusCode.ServiceUnavailable, (await server.ExchangeAsync(key)).Status);
            Assert.Equal(HttpStatusCode.ServiceUnavailable, (await server.GetAsync("/health/ready")).Status);
            await Assert.ThrowsAsync<UnfitException>(server.Get<SigningKeys>().RefreshAsync);
            await Assert.ThrowsAsync<UnfitException>(() => server.Get<SigningKeys>().RotateAsync(Actor.Operator));
            foreach (var job in Jobs(server))
            {
                try
                {
                    await job.RunAsync();
                }
                catch (UnfitException)
                {
                    // As it should.
                }
            }

            Assert.Equal(before, await CountsAsync(server));

            // The control: a right clock after 500 days. The same jobs do delete.
            shift = TimeSpan.Zero;
            await server.Get<ClockWatch>().CheckAsync();
            await server.Get<SigningKeys>().RefreshAsync();
            foreach (var job in Jobs(server))
                await job.RunAsync();
            Assert.Equal(HttpStatusCode.OK, (await server.GetAsync("/health/ready")).Status);
            var after = await CountsAsync(server);
            Assert.NotEqual(before["access_keys"], after["access_keys"]);
            Assert.NotEqual(before["activity"], after["activity"]);
        }
    }

    private static IEnumerable<PeriodicJob> Jobs(TestServer server) => server.Get<IEnumerable<IHostedService>>().OfType<PeriodicJob>();

    private static async Task<Dictionary<string, long>> CountsAsync(TestServer server)
    {
        var counts = new Dictionary<string, long>(StringComparer.Ordinal);
        foreach (
            var table in (string[])
                [
                    "access_keys",
                    "key_use_hours",
                    "key_networks",
                    "key_expiry_notices",
                    "signing_keys",
                    "sessions",
                    "activity",
                    "mails",
                    "webhook_messages",
                    "setup_codes",
                ]
        )
            counts[table] = await server.ScalarAsync<long>($"SELECT COUNT(*) FROM {table}");
        return counts;
    }
}
