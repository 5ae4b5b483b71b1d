using System.Buffers.Text;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json.Nodes;
using Microsoft.IdentityModel.Tokens;

namespace Pakhouse.Tests;

/// <summary>Tokens that no verifier of ours may take, made out of a good one.</summary>
/// <param name="good">Of the server, and accepted everywhere.</param>
/// <param name="watched">An address that nobody may call.</param>
internal sealed partial class ForgedTokens(TestServer server, string good, string watched) : IDisposable
{
    private readonly ECDsa foreignEc = ECDsa.Create(ECCurve.NamedCurves.nistP256);
    private readonly RSA foreignRsa = RSA.Create(2048);

    private SigningKey Ours => server.Get<SigningKeys>().Current(server.Clock.GetUtcNow());

    private string Algorithm => Ours.Credentials.Algorithm;

    private string[] Parts => good.Split('.');

    public void Dispose()
    {
        foreignEc.Dispose();
        foreignRsa.Dispose();
    }

    /// <summary>Shorter by one character after the other, and each character changed: letters into the other case, others into another
    /// one.</summary>
    public IEnumerable<(string Name, string Token)> OfEachCharacter()
    {
        for (var length = 0; length < good.Length; length++)
            yield return ($"cut to {length}", good[..length]);
        for (var at = 0; at < good.Length; at++)
        {
            var (one, changed) = (good[at], good.ToCharArray());
            changed[at] =
                char.IsAsciiLetterUpper(one) ? char.ToLowerInvariant(one)
                : char.IsAsciiLetterLower(one) ? char.ToUpperInvariant(one)
                : one == '.' ? '-'
                : (char)(one ^ 1);
            yield return ($"character {at}", new string(changed));
        }

        // Of the last one some bits say nothing: another character can decode to the same signature.
        foreach (var last in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
            if (last != good[^1])
                yield return ($"last character {last}", good[..^1] + last);
    }

    /// <summary>Can stand in a header and in a form.</summary>
    public IEnumerable<(string Name, string Token)> All() =>
        [.. Shapes(), .. Algorithms(), .. KeysInTheHeader(), .. Headers(), .. Kinds(), .. Claims()];

    private IEnumerable<(string Name, string Token)> Shapes()
    {
        var (header, payload, signature) = (Parts[0], Parts[1], Parts[2]);
        foreach (
            var more in (string[])
                [
                    "A",
                    "AA",
                    "AAAA",
                    "=",
                    "==",
                    ".",
                    "..",
                    ".A",
                    "%",
                    "%00",
                    "&x=1",
                    ",",
                    ";",
                    "/",
                    "+",
                    "_",
                    "!",
                    "#",
                    "\"",
                    "AAAA".PadRight(3000, 'A'),
                ]
        )
            yield return ($"and {more[..Math.Min(4, more.Length)]} behind it", good + more);
        foreach (var before in (string[])["A", ".", "=", "Bearer.", "\"", "/"])
            yield return ($"{before} before it", before + good);
        foreach (var inside in (string[])["=", "==", "\t", " ", "A", "+", "/"])
        {
            yield return ($"{(int)inside[0]} behind the header", $"{header}{inside}.{payload}.{signature}");
            yield return ($"{(int)inside[0]} behind the payload", $"{header}.{payload}{inside}.{signature}");
            yield return ($"{(int)inside[0]} before the signature", $"{header}.{payload}.{inside}{signature}");
            yield return ($"{(int)inside[0]} inside the signature", $"{header}.{payload}.{signature[..40]}{inside}{signature[40..]}");
        }

        yield return ("base64 in place of base64url", $"{header}.{payload}.{Convert.ToBase64String(Base64Url.DecodeFromChars(signature))}");
        yield return ("all of it base64", string.Join('.', Parts.Select(part => Convert.ToBase64String(Base64Url.DecodeFromChars(part)))));
        yield return ("quoted", $"\"{good}\"");
        yield return ("two of them", $"{good}.{good}");
        yield return ("two of them, parted by a comma", $"{good},{good}");
        yield return ("no signature", $"{header}.{payload}.");
        yield return ("two parts", $"{header}.{payload}");
        yield return ("no payload", $"{header}..{signature}");
        yield return ("no header", $".{payload}.{signature}");
        yield return ("a part too many", $"{good}.{signature}");
        yield return ("parts in another order", $"{payload}.{header}.{signature}");
        yield return ("dots", new string('.', 2000));
        yield return ("five parts", $"{good}.{header}.{payload}");
        yield return ("the JSON of RFC 7515 §7.2", $$"""{"payload":"{{payload}}","protected":"{{header}}","signature":"{{signature}}"}""");
        yield return ("an id", server.Address);
        yield return ("a GUID", Ids.New(server.Clock).ToString());
        yield return ("the id of the signing key", Ours.Public.Id);
    }

    private IEnumerable<(string Name, string Token)> Algorithms()
    {
        var payload = Text(1);
        foreach (var none in (string[])["\"none\"", "\"None\"", "\"nOnE\"", "\"\"", "null", "0", "[]", "{}", $"[\"{Algorithm}\"]"])
            foreach (var signature in (string[])["", "AA", Parts[2]])
                yield return ($"alg {none}", $"{Encode(Header(("alg", none)))}.{Encode(payload)}.{signature}");
        yield return ("no alg", $"{Encode(Header(("alg", null)))}.{Encode(payload)}.");

        // The public key, as a secret that everybody knows.
        var jwks = server.Http.GetStringAsync("/.well-known/jwks.json").Result;
        foreach (var (name, secret) in PublicKeyAsSecret(jwks))
            foreach (var algorithm in (string[])["HS256", "HS384", "HS512"])
                yield return (
                    $"{algorithm} with {name}",
                    Build(Header(("alg", $"\"{algorithm}\"")), payload, data => Hmac(algorithm, secret, data))
                );

        foreach (
            var algorithm in (string[])
                [
                    "ES256",
                    "ES384",
                    "ES512",
                    "ES256K",
                    "RS256",
                    "RS384",
                    "RS512",
                    "PS256",
                    "EdDSA",
                    "es256",
                    "rs256",
                    "ES256 ",
                    "HS256",
                    "A128KW",
                    "dir",
                ]
        )
        {
            if (algorithm != Algorithm)
                yield return ($"our signature, called {algorithm}", Build(Header(("alg", $"\"{algorithm}\"")), payload, Sign));
            yield return ($"of another RSA key, called {algorithm}", Build(Header(("alg", $"\"{algorithm}\"")), payload, ForeignRsa));
            yield return ($"of another EC key, called {algorithm}", Build(Header(("alg", $"\"{algorithm}\"")), payload, ForeignEc));
        }

        yield return ("a signature of zeros", Build(Text(0), payload, _ => new byte[64])); // CVE-2022-21449
        yield return (
            "a signature of the curve's order",
            Build(
                Text(0),
                payload,
                _ => [.. new byte[32], .. Convert.FromHexString("FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551")]
            )
        );
        yield return ("a signature of ones", Build(Text(0), payload, _ => [.. Enumerable.Repeat((byte)255, 64)]));
        yield return (
            "a signature in DER",
            Build(Text(0), payload, data => foreignEc.SignData(data, HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence))
        );
    }

    private static IEnumerable<(string Name, byte[] Secret)> PublicKeyAsSecret(string jwks)
    {
        var key = JsonNode.Parse(jwks)!["keys"]![0]!;
        yield return ("the document of keys", Encoding.UTF8.GetBytes(jwks));
        yield return ("the key as JSON", Encoding.UTF8.GetBytes(key.ToJsonString()));
        yield return ("nothing", []);
        yield return ("zeros", new byte[64]);
        byte[] Member(string name) => Base64Url.DecodeFromChars((string)key[name]!);
        AsymmetricAlgorithm made;
        if ((string)key["kty"]! == "EC")
        {
            made = ECDsa.Create(
                new ECParameters
                {
                    Curve = ECCurve.NamedCurves.nistP256,
                    Q = new ECPoint { X = Member("x"), Y = Member("y") },
                }
            );
            yield return ("x and y", [.. Member("x"), .. Member("y")]);
        }
        else
        {
            made = RSA.Create(new RSAParameters { Modulus = Member("n"), Exponent = Member("e") });
            yield return ("n", Member("n"));
        }

        using (made)
        {
            yield return ("DER", made.ExportSubjectPublicKeyInfo());
            yield return ("PEM", Encoding.ASCII.GetBytes(made.ExportSubjectPublicKeyInfoPem()));
            yield return ("PEM and a line", Encoding.ASCII.GetBytes(made.ExportSubjectPublicKeyInfoPem() + "\n"));
        }
    }

    /// <summary>Everything that says where the key is: beside the signature of that key, which is not ours.</summary>
    private IEnumerable<(string Name, string Token)> KeysInTheHeader()
    {
        var point = foreignEc.ExportParameters(false).Q;
        var jwk =
            $$"""{"kty":"EC","crv":"P-256","x":"{{Base64Url.EncodeToString(point.X)}}","y":"{{Base64Url.EncodeToString(point.Y)}}","kid":"{{Ours.Public.Id}}","alg":"ES256","use":"sig"}""";
        var request = new CertificateRequest("CN=forged", foreignEc, HashAlgorithmName.SHA256);
        using var certificate = request.CreateSelfSigned(DateTimeOffset.UnixEpoch, new DateTimeOffset(2099, 1, 1, 0, 0, 0, TimeSpan.Zero));
        var x5c = $"[\"{Convert.ToBase64String(certificate.RawData)}\"]";
        var thumb = $"\"{Base64Url.EncodeToString(SHA256.HashData(certificate.RawData))}\"";
        (string, (string, string?)[])[] all =
        [
            ("jwk", [("jwk", jwk)]),
            ("x5c", [("x5c", x5c)]),
            ("x5t", [("x5t#S256", thumb), ("x5c", x5c)]),
            .. ((string[])["jku", "x5u", "iss", "jwks_uri"]).Select(name =>
                (name, ((string, string?)[])[(name, $"\"{watched}/.well-known/jwks.json\"")])
            ),
            ("all of them", [("jku", $"\"{watched}\""), ("x5u", $"\"{watched}/x\""), ("jwk", jwk), ("x5c", x5c)]),
            ("jku in a file", [("jku", "\"file:///etc/passwd\"")]),
        ];
        foreach (var (name, members) in all)
            foreach (var kid in (string?[])[$"\"{Ours.Public.Id}\"", "\"other\"", $"\"{watched}\"", null])
                foreach (var payload in (string[])[Text(1), With(("iss", $"\"{watched}\""))])
                    yield return ($"{name}, kid {kid}", Build(Header([("alg", "\"ES256\""), ("kid", kid), .. members]), payload, ForeignEc));
    }

    private string Text(int part) => Encoding.UTF8.GetString(Base64Url.DecodeFromChars(Parts[part]));

    /// <summary>The good one's, changed. Null: without it.</summary>
    private string Header(params (string Name, string? Json)[] members) => Changed(Text(0), members);

    private string With(params (string Name, string? Json)[] members) => Changed(Text(1), members);

    private static string Changed(string json, (string Name, string? Json)[] members)
    {
        var node = JsonNode.Parse(json)!.AsObject();
        foreach (var (name, _) in members)
            node.Remove(name);
        // By hand: what a writer of JSON would not write is wanted.
        var others = node.ToJsonString()[1..^1];
        return $"{{{string.Join(',', members.Where(one => one.Json is not null).Select(one => $"\"{one.Name}\":{one.Json}").Append(others).Where(text => text.Length > 0))}}}";
    }

    private static string Encode(string text) => Base64Url.EncodeToString(Encoding.UTF8.GetBytes(text));

    private static string Build(string header, string payload, Func<byte[], byte[]> sign)
    {
        var data = $"{Encode(header)}.{Encode(payload)}";
        return $"{data}.{Base64Url.EncodeToString(sign(Encoding.ASCII.GetBytes(data)))}";
    }

    private string Ourselves(string header, string payload) => Build(header, payload, Sign);

    private byte[] Sign(byte[] data) =>
        Ours.Credentials.Key.CryptoProviderFactory.CreateForSigning(Ours.Credentials.Key, Algorithm).Sign(data);

    private byte[] ForeignEc(byte[] data) => foreignEc.SignData(data, HashAlgorithmName.SHA256);

    private byte[] ForeignRsa(byte[] data) => foreignRsa.SignData(data, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);

    private static byte[] Hmac(string algorithm, byte[] secret, byte[] data) =>
        algorithm switch
        {
            "HS384" => HMACSHA384.HashData(secret, data),
            "HS512" => HMACSHA512.HashData(secret, data),
            _ => HMACSHA256.HashData(secret, data),
        };

    private static string Encrypted(string header, string inner) =>
        $"{Encode(header)}.{Encode(new string('k', 32))}.{Encode("iv iv iv iv iv iv")}.{Encode(inner)}.{Encode("tag tag tag tag ")}";
}
