using System.Buffers.Text;
using System.IO.Compression;
using System.Text.Json;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;

namespace Pakhouse.Server;

/// <summary>
/// The demo's API. It verifies tokens as any API would, with public data only: it fetches the key set once, and the status list while it
/// waits for changes. APIs in .NET use the package Pakhouse.AspNetCore instead.
/// </summary>
internal sealed class DemoVerifier(HttpClient http, string issuer)
{
    private readonly JsonWebTokenHandler handler = new() { MapInboundClaims = false };
    private ICollection<SecurityKey> keys = [];

    public async Task FetchKeysAsync() =>
        keys = new JsonWebKeySet(await http.GetStringAsync(new Uri($"{issuer}/.well-known/jwks.json"))).GetSigningKeys();

    /// <summary>Null: the token is valid. Otherwise the reason for its refusal.</summary>
    public async Task<string?> FindFaultAsync(string token)
    {
        var result = await ValidateAsync(token, "at+jwt", audience: issuer);
        if (!result.IsValid)
            return result.Exception.Message;
        var status = ((JsonWebToken)result.SecurityToken).GetPayloadValue<JsonElement>("status").GetProperty("status_list");
        return await ReadStatusAsync(status.GetProperty("uri").GetString()!, status.GetProperty("idx").GetInt32()) == 0
            ? null
            : "the status list says that its key has ended";
    }

    /// <summary>The entry of a key in a signed status list (IETF Token Status List §8.3): 0 means valid.</summary>
    private async Task<int> ReadStatusAsync(string address, int index)
    {
        var list = await ValidateAsync(await http.GetStringAsync(new Uri(address)), "statuslist+jwt", audience: null);
        if (!list.IsValid)
            throw new InvalidOperationException("The status list is not signed by the issuer.", list.Exception);
        var body = ((JsonWebToken)list.SecurityToken).GetPayloadValue<JsonElement>("status_list");
        var bits = body.GetProperty("bits").GetInt32();
        await using var zlib = new ZLibStream(
            new MemoryStream(Base64Url.DecodeFromChars(body.GetProperty("lst").GetString())),
            CompressionMode.Decompress
        );
        using var entries = new MemoryStream();
        await zlib.CopyToAsync(entries);
        return entries.GetBuffer()[index * bits / 8] >> index * bits % 8 & (1 << bits) - 1;
    }

    private Task<TokenValidationResult> ValidateAsync(string text, string type, string? audience) =>
        handler.ValidateTokenAsync(
            text,
            new TokenValidationParameters
            {
                ValidIssuer = issuer,
                ValidAudience = audience,
                ValidateAudience = audience is not null,
                ValidTypes = [type],
                ValidAlgorithms = ["ES256", "RS256"],
                IssuerSigningKeys = keys,
            }
        );
}
