using System.Buffers;
using System.Buffers.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Pakhouse.Server;

/// <summary>
/// The token: claims and signature (RFC 9068, <c>typ: at+jwt</c>). It writes what <see cref="KeyExchange"/> granted, and decides nothing.
/// docs/protocol.md, "The token", lists every claim.
/// <para>It is written byte by byte: a general token writer takes 10 KB and 10 µs more for each token. Tests read every kind of token with
/// Microsoft.IdentityModel, and this server also uses that library for tokens that come back.</para>
/// </summary>
public sealed class AccessToken(SigningKeys signingKeys, PakhouseOptions options, PublicAddress publicAddress, TimeProvider clock)
{
    /// <summary>RFC 9068 §2.2 requires a client id. A program with a key has no registration, so all programs with one kind of key are one
    /// client.</summary>
    public const string ClientId = "personal-access-key",
        ApiKeyClientId = "api-key";

    // One for each thread, filled and emptied within one call of Write.
    [ThreadStatic]
    private static ArrayBufferWriter<byte>? claims;

    [ThreadStatic]
    private static Utf8JsonWriter? writer;

    /// <summary>
    /// The lifetime of the token of this grant: <see cref="PakhouseOptions.TokenLifetime"/>, shorter if a policy says so, and never longer
    /// than its key.
    /// </summary>
    public TimeSpan LifetimeOf(TokenGrant grant, DateTimeOffset now)
    {
        var lifetime = grant.LifetimeMax < options.TokenLifetime ? grant.LifetimeMax.Value : options.TokenLifetime;
        return grant.KeyEndsAt - now is { } rest && rest < lifetime ? rest : lifetime;
    }

    /// <summary>Writes the signed token in its compact form (RFC 7515 §7.1): ASCII, so no value needs an escape in JSON.</summary>
    public void Write(TokenGrant grant, DateTimeOffset now, IBufferWriter<byte> output)
    {
        var payload = claims ??= new(1024);
        var json = writer ??= new(
            payload,
            new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, SkipValidation = true }
        );
        payload.ResetWrittenCount();
        json.Reset(payload);
        WriteClaims(json, grant, now);
        json.Flush();

        var key = signingKeys.Current(now);
        var signed = key.TokenHeader.Length + 1 + Base64Url.GetEncodedLength(payload.WrittenCount);
        var token = output.GetSpan(signed + 1 + Base64Url.GetEncodedLength(TokenSigner.LengthMax));
        key.TokenHeader.CopyTo(token);
        token[key.TokenHeader.Length] = (byte)'.';
        Base64Url.EncodeToUtf8(payload.WrittenSpan, token[(key.TokenHeader.Length + 1)..], out _, out _);
        token[signed] = (byte)'.';
        Span<byte> signature = stackalloc byte[TokenSigner.LengthMax];
        signature = signature[..key.Signer.Sign(token[..signed], signature)];
        Base64Url.EncodeToUtf8(signature, token[(signed + 1)..], out _, out var length);
        output.Advance(signed + 1 + length);
    }

    private void WriteClaims(Utf8JsonWriter json, TokenGrant grant, DateTimeOffset now)
    {
        json.WriteStartObject();
        json.WriteString("iss"u8, publicAddress.Value);
        json.WriteString("sub"u8, grant.UserId);
        json.WriteString("aud"u8, options.Audience ?? publicAddress.Value);
        json.WriteString("client_id"u8, grant.IsApiKey ? ApiKeyClientId : ClientId);
        json.WriteNumber("iat"u8, now.ToUnixTimeSeconds());
        json.WriteNumber("exp"u8, (now + LifetimeOf(grant, now)).ToUnixTimeSeconds());
        json.WriteString("jti"u8, Ids.New(clock));
        json.WriteString("scope"u8, grant.Scopes.ToString());
        json.WriteString("org_id"u8, grant.OrganizationId);
        json.WriteString("root_org_id"u8, grant.RootOrganizationId);
        json.WriteString("currentOrganizationId"u8, grant.OrganizationId); // existing tools decode this claim
        json.WriteString("membership"u8, grant.IsMember ? "member"u8 : "inherited"u8);
        json.WriteStartArray("roles"u8);
        foreach (var role in grant.Roles.Names)
            json.WriteStringValue(role);
        json.WriteEndArray();
        json.WriteString("key_id"u8, grant.KeyId);
        if (grant.Scopes.Contains("profile"))
            json.WriteString("name"u8, grant.UserName);
        if (grant.Scopes.Contains("email"))
            json.WriteString("email"u8, grant.UserEmail);
        WriteStatus(json, grant.StatusIndex);
        json.WriteEndObject();
    }

    /// <summary>Where a verifier finds the status of the key (Token Status List §6.1).</summary>
    private void WriteStatus(Utf8JsonWriter json, long statusIndex)
    {
        var (list, entry) = Math.DivRem(statusIndex, StatusLists.EntriesPerList);
        json.WriteStartObject("status"u8);
        json.WriteStartObject("status_list"u8);
        json.WriteNumber("idx"u8, entry);
        json.WriteString("uri"u8, StatusLists.Address(publicAddress.Value, (int)list));
        json.WriteEndObject();
        json.WriteEndObject();
    }
}
