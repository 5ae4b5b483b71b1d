using Microsoft.Extensions.Configuration;

namespace Pakhouse.Tests;

public class OptionsTests
{
    [Fact]
    public void All_faults_are_told_at_once_each_with_its_bounds_and_what_was_given()
    {
        var e = Assert.Throws<StartupException>(() =>
            Read(
                ("TokenLifetimeSeconds", "59"),
                ("SigningAlgorithm", "HS256"),
                ("Brand", "PH"),
                ("Listen", "ftp://x"),
                ("TrustedProxies", "10.0.0.0/8 proxy"),
                ("Scopes", "ok n(o"),
                ("KeysPerMemberMax", "many"),
                ("TokenLifetimeSecond", "60"),
                ("DataProtectionCertificateFile", "/missing.pfx"),
                ("DataProtectionCertificatePassword", "hunter2")
            )
        );
        foreach (
            var expected in (string[])
                [
                    "Pakhouse:TokenLifetimeSeconds must be a whole number from 60 to 86400; given: 59",
                    "Pakhouse:SigningAlgorithm must be ES256 or RS256; given: HS256",
                    "Pakhouse:Brand must be 2 to 16 characters of [a-z0-9], the first a letter; given: PH",
                    "Pakhouse:Listen must be an http or https address",
                    "Pakhouse:TrustedProxies must be addresses or networks such as 10.0.0.7 or 10.0.0.0/8; given: proxy",
                    "Pakhouse:Scopes must be names of 1 to 64 characters of [A-Za-z0-9._:-]; given: n(o",
                    "Pakhouse:KeysPerMemberMax must be a whole number from 1 to 10000; given: many",
                    "Pakhouse:TokenLifetimeSecond is not a setting.",
                    "Pakhouse:DataProtectionCertificateFile must be a readable PKCS#12 file",
                ]
        )
            Assert.Contains(expected, e.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("hunter2", e.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("http://keys.example.com", true)]
    [InlineData("https://keys.example.com/path", true)]
    [InlineData("https://user@keys.example.com", true)]
    [InlineData("https://keys.example.com", false)]
    [InlineData("http://localhost:9000", false)]
    [InlineData("http://[::1]:9000", false)]
    public void The_public_address_is_https_unless_it_is_loopback(string address, bool isFault)
    {
        if (isFault)
            Assert.Contains(
                "PublicAddress must be",
                Assert.Throws<StartupException>(() => Read(("PublicAddress", address))).Message,
                StringComparison.Ordinal
            );
        else
            Assert.Equal(new Uri(address), Read(("PublicAddress", address)).PublicAddress);
    }

    [Fact]
    public void Listening_beyond_loopback_wants_a_public_address()
    {
        Assert.Throws<StartupException>(() => Read(("Listen", "http://0.0.0.0:8420")));
        Assert.True(Read(("Listen", "http://0.0.0.0:8420"), ("PublicAddress", "https://keys.example.com")).IsHttps);
    }

    [Fact]
    public void An_empty_value_counts_as_not_given() =>
        Assert.Equal(TimeSpan.FromHours(1), Read(("TokenLifetimeSeconds", "")).TokenLifetime);

    [Fact]
    public void Scopes_of_the_platform_stand_beside_those_that_are_always_there() =>
        Assert.Equal(
            "openid profile email organization:read organization:write orders:read orders:write",
            Read(("Scopes", "orders:read, orders:write")).Scopes.ToString()
        );

    [
        Theory,
        InlineData("DataFolder"),
        InlineData("RolesFile"),
        InlineData("ScopesFile"),
        InlineData("DataProtectionCertificateFile"),
        InlineData("LeakGitHubKeys")
    ]
    public void A_path_is_absolute_or_refused(string name) =>
        Assert.Contains(
            $"Pakhouse:{name} must be",
            Assert.Throws<StartupException>(() => Read((name, "data/here"))).Message,
            StringComparison.Ordinal
        );

    [Theory, InlineData("https://keys.example.com", 5), InlineData("http://localhost:9000", 0), InlineData("http://[::1]:9000", 0)]
    public void A_server_for_others_gives_the_balancer_time_to_notice_its_stop(string address, int seconds)
    {
        Assert.Equal(TimeSpan.FromSeconds(seconds), Read(("PublicAddress", address)).ShutdownDelay);
        Assert.Equal(TimeSpan.FromSeconds(1), Read(("PublicAddress", address), ("ShutdownDelaySeconds", "1")).ShutdownDelay);
        Assert.Equal(TimeSpan.Zero, Read(("PublicAddress", address), ("ShutdownDelaySeconds", "0")).ShutdownDelay);
    }

    private static PakhouseOptions Read(params (string Name, string Value)[] settings) =>
        PakhouseOptions.Read(
            new ConfigurationBuilder()
                .AddInMemoryCollection(settings.Select(setting => KeyValuePair.Create($"Pakhouse:{setting.Name}", (string?)setting.Value)))
                .Build()
        );
}
