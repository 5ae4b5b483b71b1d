using System.Net;
using CsCheck;
using Microsoft.Extensions.Time.Testing;

namespace Pakhouse.Tests;

public class FailureLimitTests
{
    private static readonly DateTimeOffset start = new(2026, 11, 2, 9, 0, 0, TimeSpan.Zero);

    /// <summary>
    /// Any order of failures and pauses: in no span of sixty seconds are there more than twice the limit, and what Retry-After promises
    /// holds.
    /// </summary>
    [Fact]
    public void Whatever_comes_the_limit_holds_and_retry_after_is_kept() =>
        Gen.Select(Gen.Int[1, 20], Gen.Int[0, 40].Array[1, 200])
            .Sample(
                (perMinute, pauses) =>
                {
                    var clock = new FakeTimeProvider(start);
                    var limit = new FailureLimit(perMinute, clock);
                    var address = IPAddress.Parse("198.51.100.1");
                    var failures = new List<DateTimeOffset>();
                    foreach (var pause in pauses)
                    {
                        clock.Advance(TimeSpan.FromSeconds(pause / 4.0));
                        if (limit.Check(address) is null)
                        {
                            limit.Count(address);
                            failures.Add(clock.GetUtcNow());
                            if (failures.Count(at => at > clock.GetUtcNow().AddSeconds(-60)) > 2 * perMinute)
                                return false;
                        }
                    }

                    if (limit.Check(address) is not { } refusal)
                        return true;
                    clock.Advance(TimeSpan.FromSeconds(refusal.RetryAfterSeconds!.Value));
                    return limit.Check(address) is null;
                },
                iter: 2_000
            );

    [Theory]
    [InlineData("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true)] // one /64, one customer
    [InlineData("2001:db8:1:2::1", "2001:db8:1:3::1", false)]
    [InlineData("198.51.100.1", "::ffff:198.51.100.1", true)] // the same host, seen by two sockets
    [InlineData("198.51.100.1", "198.51.100.2", false)]
    public void Addresses_of_one_network_share_a_limit(string one, string other, bool isShared)
    {
        var limit = new FailureLimit(1, new FakeTimeProvider(start));
        limit.Count(IPAddress.Parse(one));
        Assert.Equal(isShared, limit.Check(IPAddress.Parse(other)) is not null);
    }

    [Fact]
    public void Memory_is_bounded_and_addresses_that_are_known_stay_limited()
    {
        var limit = new FailureLimit(2, new FakeTimeProvider(start));
        var first = IPAddress.Parse("10.0.0.1");
        limit.Count(first);
        for (var i = 0; i < FailureLimit.AddressesMax + 10_000; i++)
            limit.Count(new IPAddress([11, (byte)(i >> 16), (byte)(i >> 8), (byte)i]));
        limit.Count(first);
        Assert.NotNull(limit.Check(first));
        Assert.InRange(limit.Addresses, FailureLimit.AddressesMax, FailureLimit.AddressesMax);
    }
}
