using System.Text;

namespace Pakhouse.Tests;

public class ChecksTests
{
    private static readonly string key = Encoding.ASCII.GetString(KeyFormat.Create("acme", KeyFormat.NewId()));

    [Theory]
    [InlineData("Build server")]
    [InlineData("مفتاح البناء")]
    [InlineData("鍵")]
    [InlineData("👩‍🚀 deploy")]
    [InlineData("O'Brien & Söhne <3")]
    [InlineData("שלום\u200F!")]
    public void A_name_of_any_script_is_kept_as_it_was_written(string name)
    {
        Assert.Null(Checks.Name(name, "name", 100, out var kept));
        Assert.Equal(name, kept);
    }

    [Fact]
    public void Two_ways_of_writing_a_letter_are_one_name()
    {
        Assert.Null(Checks.Name("  Cafe\u0301 ", "name", 100, out var typed));
        Assert.Equal("Café", typed);
        Assert.Equal(Checks.Normalize("\u1100\u1161\u11A8"), Checks.Normalize("\uAC01")); // Hangul by algorithm
        Assert.Equal("Å", Checks.Normalize("\u212B")); // a singleton
        // canonical order
        Assert.Equal("a\u0323\u0307", Checks.Normalize("a\u0307\u0323").Replace("ạ", "a\u0323", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("", "enter 1 to")]
    [InlineData("  \u00A0\u3000 ", "enter 1 to")]
    [InlineData("a\nb", "control characters")]
    [InlineData("a\0b", "control characters")]
    [InlineData("a\u2028b", "control characters")]
    [InlineData("ada\u202Egnp.exe", "direction")]
    [InlineData("\u2067ada\u2069", "direction")]
    [InlineData("\u200B\u200D\uFEFF", "can be seen")]
    [InlineData("\u3164", "can be seen")]
    [InlineData("\u2800\u2800", "can be seen")]
    [InlineData("\u0301\u0302", "can be seen")]
    [InlineData("\uE000", "can be seen")]
    public void A_name_is_one_line_that_can_be_seen_and_turns_nothing_around_it(string name, string told) =>
        Assert.Contains(told, Checks.Name(name, "name", 100, out _)!.Description, StringComparison.Ordinal);

    [Fact]
    public void Half_a_character_is_refused_before_a_database_meets_it()
    {
        Assert.Contains("Unicode", Checks.Name("a\uD83D", "name", 100, out _)!.Description, StringComparison.Ordinal);
        Assert.Contains("Unicode", Checks.Name("\uDE00a", "name", 100, out _)!.Description, StringComparison.Ordinal);
    }

    [Fact]
    public void The_length_is_that_of_what_is_stored()
    {
        Assert.Null(Checks.Name(string.Concat(Enumerable.Repeat("e\u0301", 100)), "name", 100, out var kept));
        Assert.Equal(100, kept.Length);
        Assert.Contains("too long", Checks.Name(new string('a', 101), "name", 100, out _)!.Description, StringComparison.Ordinal);
        Assert.Contains(
            "too long",
            Checks.Name(new string('\u0301', 1_000_000), "name", 100, out _)!.Description,
            StringComparison.Ordinal
        );
    }

    public static TheoryData<string> Secrets =>
        [
            key,
            $"my {key} key",
            key[..40],
            $"Bearer {key}",
            Uri.EscapeDataString(key).Replace("_", "%5F", StringComparison.Ordinal),
            Convert.ToBase64String(Encoding.UTF8.GetBytes(key)),
            $"Basic {Convert.ToBase64String(Encoding.UTF8.GetBytes($"id:{key}"))}",
            System.Buffers.Text.Base64Url.EncodeToString(Encoding.UTF8.GetBytes($"x{key}")),
            Encoding.ASCII.GetString(KeyFormat.Create("ph", KeyFormat.NewId(), KeyKind.Organization)),
            "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
            "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
            "-----BEGIN EC PRIVATE KEY-----",
        ];

    [Theory]
    [MemberData(nameof(Secrets))]
    public void A_secret_is_no_name_and_the_refusal_does_not_repeat_it(string secret)
    {
        var refusal = Checks.Name(secret, "name", 1000, out _);
        Assert.Contains("looks like a key or another secret", refusal!.Description, StringComparison.Ordinal);
        Assert.DoesNotContain(secret[..8], refusal.Description + refusal.Reason, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("pak1 of the build")]
    [InlineData("0190f3a2-7c11-7d3e-9b52-3f1c8a6d4e70")]
    [InlineData("a-rather-long-name-of-a-deployment-in-kebab-case/and/a/path")]
    [InlineData("100 % done")]
    public void A_name_that_only_resembles_a_secret_is_a_name(string name) => Assert.Null(Checks.Name(name, "name", 100, out _));

    [Theory]
    [InlineData("ada@example.com")]
    [InlineData("ada.byron+keys@mail.example.com")]
    [InlineData("ada@localhost")]
    [InlineData("o'brien@example.com")]
    [InlineData("ada@bücher.example")]
    [InlineData("ada@xn--bcher-kva.example")]
    [InlineData("дарья@пример.example")]
    public void An_address_that_mail_can_be_sent_to_is_taken(string address)
    {
        Assert.True(EmailAddress.TryParse($" {address} ", out var kept));
        Assert.Equal(address, kept);
        Assert.True(MimeKit.MailboxAddress.TryParse(address, out var mailbox)); // what the mailer makes of it
        Assert.Equal(EmailAddress.Normalize(address), EmailAddress.Normalize(mailbox!.Address));
    }

    [Theory]
    [InlineData("")]
    [InlineData("@")]
    [InlineData("ada")]
    [InlineData(".ada@example.com")]
    [InlineData("ada.@example.com")]
    [InlineData("a..b@example.com")]
    [InlineData("a b@example.com")]
    [InlineData("ada@@example.com")]
    [InlineData("ada@example..com")]
    [InlineData("ada@.example.com")]
    [InlineData("ada@example.com.")]
    [InlineData("ada@-example.com")]
    [InlineData("ada@exa_mple.com")]
    [InlineData("ada@ex\u200Bample.com")]
    [InlineData("a\u200Dda@example.com")]
    [InlineData("ada@exam\u202Eple.com")]
    [InlineData("ada\u0000@example.com")]
    [InlineData("ada@[127.0.0.1]")]
    [InlineData("\"ada\"@example.com")]
    [InlineData("Ada <ada@example.com>")]
    [InlineData("ada@example.com,eve@example.com")]
    [InlineData("ada@xn--zzzzzz-.example")]
    [InlineData("ada@xn--ada.example")]
    [InlineData("ada@ab--cd.example")]
    [InlineData("ada@☃.example")]
    [InlineData("a\uD83D@example.com")]
    public void What_no_mail_reaches_is_no_address(string address) => Assert.False(EmailAddress.TryParse(address, out _));

    [Fact]
    public void A_part_that_is_too_long_is_no_address()
    {
        Assert.True(EmailAddress.TryParse($"{new string('a', 64)}@example.com", out _));
        Assert.False(EmailAddress.TryParse($"{new string('a', 65)}@example.com", out _));
        Assert.False(EmailAddress.TryParse($"{string.Concat(Enumerable.Repeat("é", 33))}@example.com", out _)); // octets count
        Assert.False(EmailAddress.TryParse($"ada@{new string('a', 64)}.com", out _));
        Assert.False(EmailAddress.TryParse($"ada@{string.Join('.', Enumerable.Repeat("abcdefgh", 30))}", out _));
        Assert.False(EmailAddress.TryParse($"{key}@example.com", out _)); // 64 octets hold a short key's mark
    }

    [Theory]
    [InlineData("ada@bücher.example", "ada@xn--bcher-kva.example")]
    [InlineData("ada@BÜCHER.example", "Ada@XN--bcher-KVA.Example")]
    [InlineData("ada@bu\u0308cher.example", "ada@bücher.example")]
    [InlineData("ade\u0301@example.com", "adé@example.com")]
    public void Spellings_of_one_address_are_equal(string one, string other)
    {
        Assert.Equal(EmailAddress.Normalize(one), EmailAddress.Normalize(other));
        Assert.True(EmailAddress.TryParse(one, out _));
        Assert.True(EmailAddress.TryParse(other, out _));
    }

    [Fact]
    public void Neighbours_are_not_equal()
    {
        Assert.NotEqual(EmailAddress.Normalize("ada@bücher.example"), EmailAddress.Normalize("ada@bucher.example"));
        Assert.NotEqual(EmailAddress.Normalize("ada@straße.example"), EmailAddress.Normalize("ada@strasse.example"));
        Assert.Equal("NO ADDRESS", EmailAddress.Normalize(" no address "));
    }

    [Fact]
    public void A_password_is_the_same_on_every_keyboard()
    {
        var hasher = new NormalizingPasswordHasher();
        var hash = hasher.HashPassword(new User(), "cre\u0301me bru\u0302le\u0301e");
        Assert.NotEqual(
            Microsoft.AspNetCore.Identity.PasswordVerificationResult.Failed,
            hasher.VerifyHashedPassword(new User(), hash, "créme brûlée")
        );
        Assert.Equal(
            Microsoft.AspNetCore.Identity.PasswordVerificationResult.Failed,
            hasher.VerifyHashedPassword(new User(), hash, "creme brulee")
        );

        var before = new Microsoft.AspNetCore.Identity.PasswordHasher<User>().HashPassword(new User(), "cre\u0301me");
        Assert.Equal(
            Microsoft.AspNetCore.Identity.PasswordVerificationResult.SuccessRehashNeeded,
            hasher.VerifyHashedPassword(new User(), before, "cre\u0301me")
        );
    }
}
