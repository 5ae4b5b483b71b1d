using System.Net;
using CsCheck;

namespace Pakhouse.Tests;

/// <summary>What a policy is, apart from any server: how two become one, and which addresses a network holds.</summary>
public static class PolicyTests
{
    private static readonly Gen<NameSet?> names = Gen.Int[0, 15]
        .Select(bits => NameSet.Of(new[] { "a", "b", "c", "d" }.Where((_, i) => (bits & (1 << i)) != 0)))
        .Null();

    // Few bits, so that networks meet.
    private static readonly Gen<NetworkSet?> networks = Gen.Select(Gen.Int[0, 15], Gen.Int[0, 4], Gen.Bool)
        .Select(
            (bits, prefix, isSix) =>
                isSix
                    ? $"{(bits >> (4 - prefix) << (4 - prefix)):x}000::/{prefix}"
                    : $"{bits >> (4 - prefix) << (8 - prefix)}.0.0.0/{prefix}"
        )
        .Array[0, 5]
        .Select(texts => NetworkSet.TryParse(texts, out var set) ? set : throw new InvalidOperationException(string.Join(' ', texts)))
        .Null();

    private static readonly Gen<bool?> flags = Gen.Bool.Nullable();
    private static readonly Gen<int?> numbers = Gen.Int[1, 5].Nullable();

    internal static readonly Gen<Policy> Policies = Gen.Select(
            Gen.Select(names, names, networks),
            Gen.Select(numbers, numbers, numbers, numbers),
            Gen.Select(flags, flags)
        )
        .Select(
            (sets, numbers, flags) =>
                new Policy
                {
                    Holders = sets.Item1,
                    Scopes = sets.Item2,
                    Networks = sets.Item3,
                    KeysPerMember = numbers.Item1,
                    LifetimeDefaultDays = numbers.Item2,
                    LifetimeMaxDays = numbers.Item3,
                    TokenLifetimeSeconds = numbers.Item4,
                    RootKeys = flags.Item1,
                    SelfRotation = flags.Item2,
                    KeysMayGrant = (KeysMayGrant?)(numbers.Item2 % 3),
                }
        );

    public class Stricter
    {
        [Fact]
        public void The_order_of_two_does_not_matter() =>
            Gen.Select(Policies, Policies).Sample((a, b) => Policy.Stricter(a, b) == Policy.Stricter(b, a));

        [Fact]
        public void The_grouping_of_three_does_not_matter() =>
            Gen.Select(Policies, Policies, Policies)
                .Sample((a, b, c) => Policy.Stricter(Policy.Stricter(a, b), c) == Policy.Stricter(a, Policy.Stricter(b, c)));

        [Fact]
        public void A_policy_with_itself_is_itself_and_with_none_too() =>
            Policies.Sample(a => Policy.Stricter(a, a) == a && Policy.Stricter(a, Policy.None) == a);

        [Fact]
        public void What_one_refuses_both_refuse_and_what_both_allow_each_allows() =>
            Gen.Select(Policies, Policies, names, Gen.Int[0, 255], Gen.Bool, Gen.Int[0, 6])
                .Sample(
                    (a, b, roles, octet, isElsewhere, age) =>
                    {
                        var at = new DateTimeOffset(2026, 11, 2, 9, 0, 0, TimeSpan.Zero);
                        var subject = new Policy.Subject(
                            false,
                            roles ?? NameSet.Empty,
                            at.AddDays(-age),
                            isElsewhere,
                            new IPAddress([(byte)octet, 0, 0, 1])
                        );
                        var (one, other) = (a.FirstViolation(subject, at), b.FirstViolation(subject, at));
                        var both = Policy.Stricter(a, b).FirstViolation(subject, at);
                        // Of roles the two may name none in common: then both together refuse what each alone would not.
                        return one is null && other is null ? both is null or PolicyRule.Holders : both is not null;
                    }
                );

        [Fact]
        public void A_policy_comes_back_from_its_text_as_it_was() =>
            Gen.Select(Policies, Policies)
                .Sample(
                    (a, b) =>
                    {
                        var plan = new PolicyPlan(a, b, new DateTimeOffset(2027, 1, 31, 0, 0, 0, TimeSpan.Zero));
                        return PolicyPlan.Parse(plan.ToString()) == plan;
                    }
                );
    }

    public class Networks
    {
        [Theory]
        [InlineData("10.0.0.0/8", "10.0.0.0/8")]
        [InlineData("0.0.0.0/0", "0.0.0.0/0")]
        [InlineData("192.0.2.7", "192.0.2.7/32")]
        [InlineData("2001:db8::/32", "2001:db8::/32")]
        [InlineData("2001:DB8:0::1", "2001:db8::1/128")]
        [InlineData("::ffff:10.0.0.0/104", "10.0.0.0/8")]
        public void Is_read(string text, string expected) => Assert.Equal(expected, NetworkSet.Parse(text)!.Value.ToString());

        [Theory]
        [InlineData("")]
        [InlineData("10.0.0.1/8")] // bits behind the prefix
        [InlineData("2001:db8::1/32")]
        [InlineData("10.0.0.0/33")]
        [InlineData("10.0.0.0/-1")]
        [InlineData("10.0.0.0/ 8")]
        [InlineData("10.0.0.0/")]
        [InlineData("10.0.0.0/8/8")]
        [InlineData("10/8")] // short for 0.0.0.10
        [InlineData("010.0.0.0/8")] // octal to some
        [InlineData("0x0a.0.0.0/8")]
        [InlineData("167772160/8")]
        [InlineData("fe80::1%eth0")]
        [InlineData("::ffff:10.0.0.0/95")]
        [InlineData("example.com")]
        public void Is_no_network(string text) => Assert.Null(NetworkSet.Parse(text));

        [Theory]
        [InlineData("10.0.0.0/8", "10.255.255.255", true)]
        [InlineData("10.0.0.0/8", "11.0.0.0", false)]
        [InlineData("10.0.0.0/8", "::ffff:10.1.2.3", true)] // as a dual-stack socket tells an IPv4 caller
        [InlineData("10.0.0.0/8", "::10.1.2.3", false)]
        [InlineData("::ffff:10.0.0.0/104", "10.1.2.3", true)]
        [InlineData("192.0.2.7/32", "192.0.2.8", false)]
        [InlineData("0.0.0.0/0", "2001:db8::1", false)]
        [InlineData("::/0", "10.1.2.3", false)]
        [InlineData("::/0", "::ffff:10.1.2.3", false)]
        [InlineData("2001:db8::/33", "2001:db8:7fff::1", true)]
        [InlineData("2001:db8::/33", "2001:db8:8000::1", false)]
        [InlineData("", "127.0.0.1", false)]
        public void Holds_an_address_or_not(string texts, string address, bool isHeld)
        {
            Assert.True(NetworkSet.TryParse(texts.Split(' ', StringSplitOptions.RemoveEmptyEntries), out var set));
            Assert.Equal(isHeld, set.Contains(IPAddress.Parse(address)));
        }
    }
}
