using System.Text.Json.Serialization;

namespace Pakhouse.Server;

/// <summary>A public signing key as the JWKS contains it (RFC 7517, RFC 7518 §6).</summary>
public sealed record PublicKey
{
    [JsonPropertyName("kty")] public required string KeyType { get; init; }
    [JsonPropertyName("use")] public string Use { get; init; } = "sig";
    [JsonPropertyName("alg")] public required string Algorithm { get; init; }

    /// <summary>RFC 7638 thumbprint.</summary>
    [JsonPropertyName("kid")] public required string Id { get; init; }

    [JsonPropertyName("crv"), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public string? Curve { get; init; }
    [JsonPropertyName("x"), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public string? X { get; init; }
    [JsonPropertyName("y"), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public string? Y { get; init; }
    [JsonPropertyName("n"), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public string? Modulus { get; init; }
    [JsonPropertyName("e"), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public string? Exponent { get; init; }
}
