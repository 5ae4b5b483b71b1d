using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Pakhouse.SystemTests;

/// <summary>A token, judged by the library of another language that knows nothing but the JWKS address.</summary>
public sealed class VerifyToken
{
    private const string Audience = "https://orders.acme.example";

    [Theory]
    [InlineData("ES256")]
    [InlineData("RS256")]
    public async Task Python_accepts_a_fresh_token_and_refuses_every_forgery(string algorithm)
    {
        await using var server = await RunningServer.StartAsync("--Pakhouse:SigningAlgorithm", algorithm, "--Pakhouse:Audience", Audience);
        var token = await NewTokenAsync(server);
        Assert.Equal(algorithm, Part(token, 0)["alg"]!.GetValue<string>());
        Assert.Equal([null], await VerifyAsync(server, algorithm, [token]));

        var jwk = JsonNode.Parse((await server.GetAsync("/.well-known/jwks.json")).Body)!["keys"]![0]!;
        var forgeries = new Dictionary<string, string>(StringComparer.Ordinal)
        {
            ["no signature, alg none"] = $"{Encode(With(Part(token, 0), "alg", "none"))}.{token.Split('.')[1]}.",
            ["the signature, alg none"] = $"{Encode(With(Part(token, 0), "alg", "none"))}.{string.Join('.', token.Split('.')[1..])}",
            ["no signature"] = token[..(token.LastIndexOf('.') + 1)],
            ["another's key under the same kid"] = SignedByAnother(token, algorithm),
            ["HS256 with the public key as PEM"] = SignedByPublicKey(token, Encoding.ASCII.GetBytes(Pem(jwk, algorithm))),
            ["HS256 with the public key as JWK"] = SignedByPublicKey(token, Encoding.ASCII.GetBytes(jwk.ToJsonString())),
            ["more roles, the old signature"] = Forged(token),
        };
        var refusals = await VerifyAsync(server, algorithm, [.. forgeries.Values]);
        foreach (var (name, refusal) in forgeries.Keys.Zip(refusals)) Assert.True(refusal is not null, $"accepted: {name}");

        Assert.Equal(["InvalidAudienceError"], await VerifyAsync(server, algorithm, [token], audience: "https://invoices.acme.example"));
        Assert.Equal(["InvalidIssuerError"], await VerifyAsync(server, algorithm, [token], issuer: "https://somebody.example"));
    }

    [Fact]
    public async Task Python_refuses_a_token_with_any_one_bit_changed()
    {
        await using var server = await RunningServer.StartAsync("--Pakhouse:Audience", Audience);
        var token = await NewTokenAsync(server);

        var parts = token.Split('.');
        var changed = new List<string>();
        for (var part = 0; part < 3; part++)
        {
            var bytes = Base64Url.DecodeFromChars(parts[part]);
            for (var bit = 0; bit < bytes.Length * 8; bit++)
            {
                bytes[bit / 8] ^= (byte)(1 << bit % 8);
                changed.Add(string.Join('.', parts.Select((text, i) => i == part ? Base64Url.EncodeToString(bytes) : text)));
                bytes[bit / 8] ^= (byte)(1 << bit % 8);
            }
        }

        var verdicts = await VerifyAsync(server, "ES256", [.. changed, token]);
        Assert.Equal(-1, Array.IndexOf(verdicts[..^1], null));
        Assert.Null(verdicts[^1]);
        Assert.Contains("InvalidSignatureError", verdicts);
    }

    [Fact]
    public async Task Control_with_signatures_unchecked_python_accepts_the_forged_token()
    {
        await using var server = await RunningServer.StartAsync("--Pakhouse:Audience", Audience);
        var token = await NewTokenAsync(server);

        Assert.Equal(["InvalidSignatureError"], await VerifyAsync(server, "ES256", [Forged(token)]));
        Assert.Equal([null], await VerifyAsync(server, "ES256", [Forged(token)], verifySignature: false));
        // Only the signature was turned off.
        Assert.Equal(
            ["InvalidAudienceError"],
            await VerifyAsync(server, "ES256", [Forged(token)], verifySignature: false, audience: "https://invoices.acme.example")
        );
    }

    private static async Task<string> NewTokenAsync(RunningServer server)
    {
        await using var seed = Seed.Open(server.DataFolder);
        var acme = await seed.AddAcmeAsync();
        var answer = await server.ExchangeAsync(await seed.AddKeyAsync(acme.Owner, acme.Root));
        Assert.Equal(200, answer.Status);
        return answer.Token;
    }

    /// <summary>For each token the reason of its refusal, or null.</summary>
    private static async Task<string?[]> VerifyAsync(
        RunningServer server,
        string algorithm,
        string[] tokens,
        string audience = Audience,
        string? issuer = null,
        bool verifySignature = true
    )
    {
        var question = JsonSerializer.Serialize(
            new
            {
                jwks = $"{server.Address}/.well-known/jwks.json",
                issuer = issuer ?? server.Address,
                audience,
                algorithm,
                verify_signature = verifySignature,
                tokens,
            }
        );
        var python = await Tool.RunAsync(Tool.Python, [Tool.Script("verify.py")], question);
        Assert.True(python.ExitCode == 0, python.All);
        return JsonSerializer.Deserialize<string?[]>(python.Output)!;
    }

    private static string Forged(string token)
    {
        var parts = token.Split('.');
        return $"{parts[0]}.{Encode(With(Part(token, 1), "roles", new JsonArray("owner", "everything")))}.{parts[2]}";
    }

    private static string SignedByAnother(string token, string algorithm)
    {
        var signed = token[..token.LastIndexOf('.')];
        using var ec = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var rsa = RSA.Create(2048);
        var bytes = Encoding.ASCII.GetBytes(signed);
        var signature =
            algorithm == "ES256"
                ? ec.SignData(bytes, HashAlgorithmName.SHA256)
                : rsa.SignData(bytes, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        return $"{signed}.{Base64Url.EncodeToString(signature)}";
    }

    private static string SignedByPublicKey(string token, byte[] publicKey)
    {
        var signed = $"{Encode(With(Part(token, 0), "alg", "HS256"))}.{token.Split('.')[1]}";
        return $"{signed}.{Base64Url.EncodeToString(HMACSHA256.HashData(publicKey, Encoding.ASCII.GetBytes(signed)))}";
    }

    private static string Pem(JsonNode jwk, string algorithm)
    {
        byte[] Number(string name) => Base64Url.DecodeFromChars(jwk[name]!.GetValue<string>());
        using AsymmetricAlgorithm key = algorithm == "ES256"
            ? ECDsa.Create(new ECParameters { Curve = ECCurve.NamedCurves.nistP256, Q = { X = Number("x"), Y = Number("y") } })
            : RSA.Create(new RSAParameters { Modulus = Number("n"), Exponent = Number("e") });
        return key.ExportSubjectPublicKeyInfoPem();
    }

    private static JsonObject Part(string token, int part) => JsonNode.Parse(Base64Url.DecodeFromChars(token.Split('.')[part]))!.AsObject();

    private static JsonObject With(JsonObject json, string name, JsonNode value)
    {
        json[name] = value;
        return json;
    }

    private static string Encode(JsonObject json) => Base64Url.EncodeToString(Encoding.UTF8.GetBytes(json.ToJsonString()));
}
