using System.Net;

namespace Pakhouse.Tests;

public class PasswordWorkTests
{
    /// <summary>Fills every place with work that ends when the test says so.</summary>
    private static (TaskCompletionSource End, Task<Outcome<bool>>[] Works) Fill(PasswordWork work, int count)
    {
        var end = new TaskCompletionSource();
        var works = Enumerable.Range(0, count).Select(_ => work.RunAsync<bool>(async () =>
        {
            await end.Task;
            return true;
        })).ToArray();
        return (end, works);
    }

    [Fact]
    public async Task As_many_as_it_has_places_are_served_and_the_next_is_told_to_come_back()
    {
        using var work = new PasswordWork();
        var (end, works) = Fill(work, PasswordWork.AtOnceMax + PasswordWork.WaitingMax);
        for (var i = 0; i < 3; i++)
        {
            var refusal = (await work.RunAsync<bool>(() => throw new InvalidOperationException("beyond the queue nothing runs"))).Refusal!;
            Assert.Equal((RefusalCode.TemporarilyUnavailable, 5), (refusal.Code, refusal.RetryAfterSeconds));
        }

        Assert.All(works, one => Assert.False(one.IsCompleted));
        end.SetResult();
        Assert.All(await Task.WhenAll(works), one => Assert.True(one.Value));
        Assert.True((await work.RunAsync(() => Task.FromResult<Outcome<bool>>(true))).Value); // and the places are free again
    }

    [Fact]
    public async Task Work_that_throws_gives_its_place_back()
    {
        using var work = new PasswordWork();
        for (var i = 0; i < PasswordWork.AtOnceMax + PasswordWork.WaitingMax + 1; i++)
            await Assert.ThrowsAsync<InvalidOperationException>(() =>
                work.RunAsync<bool>(() => throw new InvalidOperationException("fault"))
            );
        Assert.True((await work.RunAsync(() => Task.FromResult<Outcome<bool>>(true))).Value);
    }

    [Fact]
    public async Task While_every_place_is_taken_a_sign_in_is_503_counts_as_no_attempt_and_exchanges_go_on()
    {
        await using var server = await TestServer.StartAsync("--Pakhouse:FailuresPerMinuteMax=3", "--Pakhouse:SignInAttemptsMax=1");
        var acme = await server.AddAcmeAsync();
        var key = await server.AddKeyAsync(acme.Owner, acme.Root);
        var (end, works) = Fill(server.Get<PasswordWork>(), PasswordWork.AtOnceMax + PasswordWork.WaitingMax);
        for (var i = 0; i < 5; i++)
        {
            var answer = await new Visitor(server).SubmitAsync(
                "/sign-in",
                ("Email", "person1@acme.example"),
                ("Password", TestServer.Password)
            );
            Assert.Equal((HttpStatusCode.ServiceUnavailable, "5"), (answer.Status, answer.Header("Retry-After")));
            Assert.Contains("as many passwords as it can", answer.Body);
        }

        Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(key)).Status);
        end.SetResult();
        await Task.WhenAll(works);
        await Visitor.SignInAsync(server, "person1@acme.example");
    }

    public class Record
    {
        private const string Strangers = "SELECT COUNT(*) FROM activity WHERE action = 'Login Failed' AND subject_user_id IS NULL";

        [Fact]
        public async Task What_strangers_try_is_folded_by_network_and_hour_and_bounded_in_all()
        {
            await using var server = await TestServer.StartAsync();
            var failures = server.Get<SignInFailures>();
            for (var i = 0; i < 50; i++)
                await failures.RecordAsync(null, IPAddress.Parse("198.51.100.1"), SignInMethod.Password);
            Assert.Equal(1, await server.ScalarAsync<long>(Strangers));
            Assert.Equal(50, await server.ScalarAsync<long>("SELECT failed FROM sign_in_failures"));
            for (var i = 0; i < 5; i++)
                await failures.RecordAsync(null, IPAddress.Parse($"2001:db8::{i}"), SignInMethod.Password); // one /64
            Assert.Equal(2, await server.ScalarAsync<long>(Strangers));
            for (var i = 0; i < SignInFailures.StrangersPerHourMax + 20; i++)
                await failures.RecordAsync(null, IPAddress.Parse($"203.0.113.{i}"), SignInMethod.Password);
            Assert.Equal(SignInFailures.StrangersPerHourMax, await server.ScalarAsync<long>(Strangers));

            server.Clock.Advance(TimeSpan.FromHours(1));
            await failures.RecordAsync(null, IPAddress.Parse("198.51.100.1"), SignInMethod.Password);
            Assert.Equal(SignInFailures.StrangersPerHourMax + 1, await server.ScalarAsync<long>(Strangers));
            server.Clock.Advance(TimeSpan.FromDays(2));
            await failures.RecordAsync(null, IPAddress.Parse("198.51.100.1"), SignInMethod.Password);
            Assert.Equal(1, await server.ScalarAsync<long>("SELECT COUNT(*) FROM sign_in_failures")); // what is older went
        }

        [Fact]
        public async Task What_is_tried_on_a_person_is_recorded_each_time_even_beside_many_strangers()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var failures = server.Get<SignInFailures>();
            for (var i = 0; i < SignInFailures.StrangersPerHourMax; i++)
                await failures.RecordAsync(null, IPAddress.Parse($"203.0.113.{i}"), SignInMethod.Password);
            var owner = await server.Users.FindAsync(acme.Owner);
            for (var i = 0; i < 3; i++)
                await failures.RecordAsync(owner, IPAddress.Parse("198.51.100.1"), SignInMethod.Password);
            Assert.Equal(
                3,
                await server.ScalarAsync<long>(
                    $"SELECT COUNT(*) FROM activity WHERE action = 'Login Failed' AND subject_user_id = '{acme.Owner}'"
                )
            );
        }
    }
}
