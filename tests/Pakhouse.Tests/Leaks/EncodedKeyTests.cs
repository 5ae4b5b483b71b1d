using System.Buffers.Text;
using System.Text;

namespace Pakhouse.Tests;

/// <summary>Keys in Base64 and UTF-16, as they stand in the files of other programs.</summary>
public sealed class EncodedKeyTests
{
    private static readonly string[] brands = ["ph", "acme", "a0123456789bcdef"]; // shortest to longest

    private static byte[] NewKey(string brand, KeyKind kind = KeyKind.Personal) => KeyFormat.Create(brand, KeyFormat.NewId(), kind);

    private static string B64(string text, bool padded = true) => B64(Encoding.Latin1.GetBytes(text), padded);

    private static string B64(byte[] bytes, bool padded = true) =>
        padded ? Convert.ToBase64String(bytes) : Convert.ToBase64String(bytes).TrimEnd('=');

    /// <summary>In lines of a certain width; each with what stands before and behind it.</summary>
    private static string Wrapped(string text, int width, string lineEnd = "\n", string before = "", string behind = "") =>
        string.Concat(text.Chunk(width).Select(line => $"{before}{new string(line)}{behind}{lineEnd}"));

    /// <summary>Each form gets the key and makes a file of it.</summary>
    public static readonly IReadOnlyDictionary<string, Func<string, string>> Forms = new Dictionary<string, Func<string, string>>(
        StringComparer.Ordinal
    )
    {
        ["Kubernetes secret"] = key => $"apiVersion: v1\nkind: Secret\ndata:\n  user: YWRh\n  token: {B64(key)}\n",
        ["Basic header"] = key => $"GET / HTTP/1.1\r\nAuthorization: Basic {B64("ada:" + key)}\r\n\r\n",
        ["Basic header, key as the name"] = key => $"Authorization: Basic {B64(key + ":")}",
        ["Basic header, name of other bytes"] = key => $"Authorization: Basic {B64("Ã¿Ã¾>?Ã¿Ã¾>?:" + key)}",
        [".dockerconfigjson: JSON and Base64 twice"] = key =>
            $"data:\n  .dockerconfigjson: {B64($"{{\"auths\":{{\"r.example\":{{\"auth\":\"{B64("ada:" + key)}\"}}}}}}")}\n",
        [".dockerconfigjson, indented JSON"] = key =>
            $".dockerconfigjson: {B64($"{{\n\t\"auths\": {{\n\t\t\"r.example\": {{\n\t\t\t\"auth\": "
                + $"\"{B64("ada:" + key)}\"\n\t\t}}\n\t}}\n}}\n")}\n",
        ["a manifest with such a secret, in a secret"] = key =>
            $"manifest: {B64($"data:\n  .dockerconfigjson: {B64($"{{\"auth\":\"{B64("ada:" + key)}\"}}")}\n")}\n",
        [".npmrc"] = key => $"//npm.acme.example/:_auth={B64("ada:" + key)}\nalways-auth=true\n",
        [".netrc in a secret"] = key => $"netrc: {B64($"machine git.acme.example\nlogin ada\npassword {key}\n")}",
        ["URL-safe, not padded"] = key =>
            Base64Url.EncodeToString(Encoding.Latin1.GetBytes("\u00fb\u00ff\u00fe??>>" + key + "\u00ff\u00fe")),
        ["in a URL"] = key => $"https://acme.example/?a=b&auth={Uri.EscapeDataString(B64("ada:" + key))}&c=d",
        ["glued to a word"] = key => $"TOKEN_{B64(key)}_END",
        ["64 columns"] = key => Wrapped(B64($"before {key} behind"), 64),
        ["76 columns, CRLF (MIME)"] = key =>
            $"Content-Transfer-Encoding: base64\r\n\r\n{Wrapped(B64($"{new string('x', 90)} {key}\r\n"), 76, "\r\n")}",
        ["YAML block scalar"] = key =>
            $"data:\n  file: |\n{Wrapped(B64($"some text and {key}\nmore of it"), 64, "\n", "    ")}  other: x\n",
        ["YAML scalar of several lines that begins on the line of its name"] = key => $"  auth: {B64("a:" + key).Insert(20, "\n    ")}\n",
        ["JSON string with line breaks"] = key => $"{{\"file\":\"{Wrapped(B64(key + " and more"), 64, "\\n")}\"}}",
        ["JSON string with CRLF"] = key => $"{{\"file\":\"{Wrapped(B64(key + " and more"), 64, "\\r\\n")}\"}}",
        ["JSON in JSON"] = key => $"{{\"text\":\"{{\\\"file\\\":\\\"{Wrapped(B64(key + " and more"), 64, "\\\\n")}\\\"}}\"}}",
        ["line breaks in a URL"] = key => $"file={Wrapped(B64(key + " and more"), 76, "%0D%0A")}",
        ["strings of a program, added"] = key => $"var file =\n{Wrapped(B64(key + " and more"), 60, "\n", "    \"", "\" +")}    \"\";\n",
        ["comments"] = key => Wrapped(B64("file: " + key), 70, "\n", "# "),
        ["a patch"] = key => $"@@ -0,0 +1,3 @@\n{Wrapped(B64("file: " + key), 64, "\n", "+    ")}",
        ["a mail that quotes"] = key => Wrapped(B64("file: " + key), 72, "\r\n", "> "),
        ["quoted-printable soft breaks"] = key => Wrapped($"Authorization: Basic {B64("ada:" + key)}", 75, "=\r\n"),
        ["lines in Base64 in lines"] = key => Wrapped(B64(Wrapped(B64($"user:{key}"), 64)), 76, "\r\n"),
        ["PowerShell -EncodedCommand"] = key =>
            $"powershell -EncodedCommand {B64(Encoding.Unicode.GetBytes($"pakhouse login --key '{key}'"))}",
        ["a Basic header in such a command"] = key =>
            $"pwsh -enc {B64(Encoding.Unicode.GetBytes($"irm https://a.example -Headers @{{ Authorization = 'Basic {B64("ada:" + key)}' "
                + $"}}"))}",
        ["UTF-16, big endian, in Base64"] = key => B64(Encoding.BigEndianUnicode.GetBytes($"key={key};")),
        ["UTF-16 file"] = key =>
            Encoding.Latin1.GetString([.. Encoding.Unicode.GetPreamble(), .. Encoding.Unicode.GetBytes($"key={key}\r\n")]),
        ["UTF-16 file, big endian"] = key => Encoding.Latin1.GetString(Encoding.BigEndianUnicode.GetBytes($"key={key}\r\n")),
        ["UTF-16 file with wrapped Base64"] = key =>
            Encoding.Latin1.GetString(Encoding.Unicode.GetBytes($"a\r\n{Wrapped(B64("ada:" + key), 64, "\r\n")}")),
        ["string in a program's binary"] = key =>
            $"\u0001\u00ff\u0007{new string('\u0090', 500)}{Encoding.Latin1.GetString(Encoding.Unicode.GetBytes(key))}\u0001\u0002\u0003",
    };

    public static TheoryData<string> FormNames => [.. Forms.Keys];

    private static List<Finding> Search(string text, int chunk = int.MaxValue)
    {
        var bytes = Encoding.Latin1.GetBytes(text);
        using var scan = new KeyScan();
        var (found, at) = (new List<Finding>(), 0);
        scan.Run(
            "text",
            buffer =>
            {
                var count = Math.Min(Math.Min(chunk, buffer.Length), bytes.Length - at);
                bytes.AsSpan(at, count).CopyTo(buffer.Span);
                at += count;
                return count;
            },
            found.Add
        );
        return found;
    }

    [Theory]
    [MemberData(nameof(FormNames))]
    public void A_key_of_any_brand_is_found_once_at_its_line_whatever_it_is_wrapped_in(string form)
    {
        foreach (var brand in brands)
            foreach (var kind in Enum.GetValues<KeyKind>())
            {
                var key = NewKey(brand, kind);
                var file = Forms[form](Encoding.ASCII.GetString(key));
                // The control: it is not there to read.
                Assert.False(KeyFinder.TryFind(Encoding.Latin1.GetBytes(file), 0, out _, out _, out _));

                // The lines of a UTF-16 file are counted too: the low byte of its line breaks is one.
                var before = "first\nsecond\n";
                var found = Assert.Single(Search(before + file));
                Assert.Equal((brand, kind, TestServer.IdOf(Encoding.ASCII.GetString(key))), (found.Brand, found.Kind, found.Id));
                Assert.NotEqual(KeyEncoding.None, found.Encoding);
                Assert.InRange(found.Line, 3, 3 + file.Count(c => c == '\n'));

                key[^1] = key[^1] == 'x' ? (byte)'y' : (byte)'x';
                Assert.Empty(Search(before + Forms[form](Encoding.ASCII.GetString(key)))); // the control: the check digits decide
            }
    }

    [Fact]
    public void The_line_is_that_on_which_the_encoded_key_begins()
    {
        var key = Encoding.ASCII.GetString(NewKey("ph"));
        Assert.Equal(5, Assert.Single(Search(Forms["Kubernetes secret"](key))).Line);
        Assert.Equal(2, Assert.Single(Search(Forms["Basic header"](key))).Line);
        // 48 bytes are a line of 64: the key begins on the third of them, and lines before the text count too.
        Assert.Equal(5, Assert.Single(Search("a\nb\n" + Wrapped(B64(new string('x', 2 * 48 + 5) + key), 64))).Line);
        // Of what is wrapped twice the outer line counts: 57 bytes are one of 76.
        var inner = Wrapped(B64(new string('x', 96) + key), 64);
        Assert.Equal(1 + inner.IndexOf(B64(key)[..8], StringComparison.Ordinal) / 57, Assert.Single(Search(Wrapped(B64(inner), 76))).Line);
        Assert.Equal([1L, 1, 2, 3], Search($"{B64(key)} {key}\n{B64(key)}\n{key}").Select(found => found.Line));
    }

    [Fact]
    public void A_key_is_found_at_every_place_in_Base64_and_in_every_width_of_line_from_32()
    {
        var key = Encoding.ASCII.GetString(NewKey("acme"));
        for (var length = 0; length < 100; length++)
            foreach (var padded in (bool[])[true, false])
            {
                var text = B64(new string('\u00ff', length) + key + new string('\u00ff', length % 7), padded);
                Assert.Single(Search(text));
                Assert.Single(Search(text.Replace('+', '-').Replace('/', '_')));
                for (var glued = 1; glued < 4; glued++)
                    Assert.Single(Search(new string('x', glued) + text));
                Assert.Single(Search(Wrapped(text, 32 + length)));
                Assert.Single(Search(Wrapped(B64(Wrapped(text, 32 + length, "\r\n")), 64, "\r\n", "      ")));
            }
    }

    [Fact]
    public void Keys_across_the_borders_of_buffers_and_windows_are_found_once()
    {
        // Long Base64 in lines, deeper and deeper; a key in each 1,000 to 1,700 bytes, so that every border is met.
        var (ids, plain) = (new List<string>(), new StringBuilder());
        for (var length = 0; length < 900_000; length = plain.Length)
        {
            var key = Encoding.ASCII.GetString(NewKey(brands[ids.Count % 3]));
            ids.Add(TestServer.IdOf(key));
            plain.Append(' ', 900 + ids.Count * 37 % 700).Append(key);
        }

        var text = plain.ToString();
        for (var depth = 1; depth <= 3; depth++)
        {
            text = depth == 2 ? B64(text) : Wrapped(B64(text), 76, "\r\n", "  ");
            var found = Search(text);
            Assert.Equal(ids, found.Select(one => one.Id));
            Assert.Equal(found.Select(one => one.Line).Order(), found.Select(one => one.Line));
            Assert.Equal(ids, Search(text, 65_521).Select(one => one.Id)); // a pipe's pieces
        }

        Assert.Empty(Search(B64(text))); // the depth has an end

        var wide = Encoding.Latin1.GetString(Encoding.Unicode.GetBytes(plain.ToString()));
        Assert.Equal(ids, Search(wide).Select(one => one.Id));
        Assert.Equal(ids, Search(B64(wide)).Select(one => one.Id));
    }

    [Fact]
    public void The_report_of_a_leak_may_hold_the_key_in_Base64_and_names_hide_it()
    {
        var key = Encoding.ASCII.GetString(NewKey("ph"));
        foreach (
            var text in (string[])
                [key, B64("ada:" + key), $"Basic {B64("ada:" + key, padded: false)}", B64($"{{\"auth\":\"{B64("ada:" + key)}\"}}")]
        )
        {
            var match = Assert.Single(LeakReport.ReadKeys(Encoding.UTF8.GetBytes($"{{\"keys\":[\"{text}\"]}}"), 1)!);
            Assert.Equal(TestServer.IdOf(key), match.Key!.Id);
            var name = Scan.Printable($"/home/ada/{text}.txt");
            Assert.DoesNotContain(text[^30..^12], name, StringComparison.Ordinal);
            Assert.EndsWith(".txt", name, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void A_free_text_with_a_key_in_Base64_is_refused_whatever_is_glued_to_it()
    {
        var encoded = B64("ada:" + Encoding.ASCII.GetString(NewKey("ph")), padded: false);
        foreach (var glued in (string[])["", "a", "ab", "abc", "config/", "--auth-"])
        {
            Assert.True(Checks.MightContainSecret(glued + encoded));
            Assert.True(Checks.MightContainKey($"https://hooks.example/{glued}{encoded}"));
        }

        Assert.False(Checks.MightContainSecret("config/" + B64("ada:" + new string('x', 70), padded: false))); // the control
    }
}
