using System.Buffers.Text;
using System.Text;
using System.Text.Json.Nodes;

namespace Pakhouse.Tests;

/// <summary>Those with a strange header or strange claims.</summary>
internal sealed partial class ForgedTokens
{
    private IEnumerable<(string Name, string Token)> Headers()
    {
        foreach (var kid in (string[])
            [
                "\"../../../../../../dev/null\"", "\"/etc/passwd\"", "\"x' OR '1'='1\"", "\"x'; DROP TABLE signing_keys; --\"",
                    "\"a\\u0000b\"", "\"\\ud800\"", "\"\"", "null", "0", "[]", "{}", "true",
                $"\"{new string('k', 4000)}\"", "\"%\"", "\"|/bin/true\"", "\"%00\"", $"[\"{Ours.Public.Id}\"]",
            ])
            yield return ($"kid {kid[..Math.Min(12, kid.Length)]}", Build(Header(("kid", kid), ("alg", "\"ES256\"")), Text(1), ForeignEc));

        // From here on our own key has signed: what is refused is the form.
        foreach (var crit in (string[])["[\"exp\"]", "[\"x\"]", "[\"b64\"]", "[]", "\"exp\"", "null", "{}"]) yield return ($"crit {crit}",
            Ourselves(Header(("crit", crit), ("b64", "false")), Text(1)));
        yield return ("a header twice: alg", Ourselves(Text(0).Insert(1, "\"alg\":\"none\","), Text(1)));
        yield return ("a header twice: kid", Ourselves(Text(0).Insert(1, "\"kid\":\"x\","), Text(1)));
        yield return ("a header twice: typ", Ourselves(Text(0).Insert(1, "\"typ\":\"JWT\","), Text(1)));
        yield return ("a header twice, once by escapes", Ourselves(Text(0).Insert(1, "\"\\u0061lg\":\"none\","), Text(1)));
        foreach (var header in (string[])["[]", "null", "\"\"", "{", "1", "", $"{new string('[', 2000)}", "\uFEFF{}", Text(0) + "x",
            Text(0) + Text(0), "x" + Text(0)])
            yield return ($"a header that is {header[..Math.Min(6, header.Length)]}", Ourselves(header, Text(1)));
        foreach (var payload in (string[])["[]", "null", "\"\"", "{", "1", "", $"{new string('[', 2000)}", "\uFEFF{}", Text(1) + "x",
            Text(1) + Text(1), $"[{Text(1)}]", $"{{\"a\":{Text(1)}}}"])
            yield return ($"a payload that is {payload[..Math.Min(6, payload.Length)]}", Ourselves(Text(0), payload));
        yield return ("a payload in UTF-16", $"{Parts[0]}.{Base64Url.EncodeToString(Encoding.Unicode.GetBytes(Text(1)))}.{Parts[2]}");
    }

    /// <summary>Signed by us, for something else.</summary>
    private IEnumerable<(string Name, string Token)> Kinds()
    {
        foreach (
            var type in (string?[])
                [
                    "\"JWT\"",
                    "\"statuslist+jwt\"",
                    "\"logout+jwt\"",
                    "\"id+jwt\"",
                    "\"dpop+jwt\"",
                    "\"secevent+jwt\"",
                    "\"at+jwt \"",
                    "\"\"",
                    "null",
                    "1",
                    "[\"at+jwt\"]",
                    null,
                ]
        )
            yield return ($"typ {type}", Ourselves(Header(("typ", type)), Text(1)));
        yield return ("a status list", server.Http.GetStringAsync("/status-lists/0").Result);
        foreach (
            var (algorithm, encryption) in ((string, string)[])
                [
                    ("dir", "A128CBC-HS256"),
                    ("dir", "A256GCM"),
                    ("RSA-OAEP", "A256GCM"),
                    ("ECDH-ES", "A128GCM"),
                    ("PBES2-HS256+A128KW", "A128CBC-HS256"),
                ]
        )
            yield return (
                $"encrypted, {algorithm}",
                Encrypted(
                    $$"""{"alg":"{{algorithm}}","enc":"{{encryption}}","cty":"JWT","typ":"at+jwt","kid":"{{Ours.Public.Id}}","p2c":2147483647,"p2s":"AAAA"}""",
                    good
                )
            );
        yield return (
            "encrypted and packed",
            Encrypted("""{"alg":"dir","enc":"A128CBC-HS256","zip":"DEF","cty":"JWT","typ":"at+jwt"}""", good)
        );
    }

    private IEnumerable<(string Name, string Token)> Claims()
    {
        foreach (var exp in (string?[])
            ["1e400", "99999999999999999999999999", "9999999999999999", "253402300800", "9223372036854775807", "9223372036854775808",
                "-1", "0", "-9223372036854775808", "\"4102444800\"", "\"text\"", "null", "[]", "{}", "true", "[4102444800]", null])
            yield return ($"exp {exp}", Ourselves(Text(0), With(("exp", exp))));
        foreach (var iat in (string?[])["4102444800", "99999999999999999999999999", "\"text\"", "null", "[]",
            null]) yield return ($"iat {iat}", Ourselves(Text(0), With(("iat", iat))));
        foreach (var aud in (string?[])
            [
                "\"\"", "null", "[]", "{}", "0", "true", $"[[\"{server.Address}\"]]", $"{{\"a\":\"{server.Address}\"}}",
                    "[\"https://other.example\"]", "[null]", $"\"{server.Address} \"", $"\"{server.Address}/\"",
                $"\"{server.Address.ToUpperInvariant()}\"", $"\"{server.Address},https://other.example\"", $"\"x {server.Address}\"", null,
            ])
            yield return ($"aud {aud}", Ourselves(Text(0), With(("aud", aud))));
        foreach (var iss in (string?[])["\"\"", "null", "[]", $"[\"{server.Address}\"]", $"\"{server.Address}/\"",
            $"\"{server.Address.ToUpperInvariant()}\"", $"\"{watched}\"", "0", null])
            yield return ($"iss {iss}", Ourselves(Text(0), With(("iss", iss))));
        foreach (var name in (string[])["exp", "aud", "iss", "sub", "key_id", "org_id", "scope", "status"])
            yield return ($"{name} twice",
                Ourselves(Text(0), Text(1).Insert(1, $"\"{name}\":{JsonNode.Parse(Text(1))![name]!.ToJsonString()},")));
    }
}
