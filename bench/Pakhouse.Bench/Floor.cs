using System.Buffers;
using System.Collections.Concurrent;
using System.Data.Common;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Microsoft.Data.Sqlite;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;
using Npgsql;

namespace Pakhouse.Bench;

/// <summary>
/// The floor: what any exchange in this process model must do, and nothing else. Form bytes, SHA-256, one prepared read by primary
/// key, a comparison in constant time, an ES256 signature by the same library as the server's, JSON, one write. No routing, no check
/// digits, no people and organizations, no scopes, no counting of use, no limits, no log: their cost is the server's ratio to this.
/// <para>Or, with <c>--read exchange</c>, the server's own prepared read in the place of the one by primary key: what is left then is our
/// code, and not the database's.</para>
/// </summary>
internal sealed class Floor(string file, NpgsqlDataSource? postgres, bool isExchangeRead)
{
    private const string UserId = "0190f3a2-7c11-7d3e-9b52-3f1c8a6d4e70";
    private const string OrganizationId = "0190f3a2-7c11-7d3e-9b52-3f1c8a6d4e71";
    private const string Scope = "openid profile email";
    private const string Issuer = "http://127.0.0.1:8420";
    private const int LifetimeSeconds = 3600;
    private readonly string statement = isExchangeRead ? ExchangeRead.Sql : "SELECT hash, deleted_at FROM access_keys WHERE id = @id";
    private readonly int deletedAt = isExchangeRead ? 3 : 1; // the column
    private const int TailLength = KeyFormat.IdLength + 1 + KeyFormat.SecretLength + KeyFormat.CheckLength;

    // One connection a thread: between taking and leaving it nothing is awaited, so nothing needs to be handed out.
    [ThreadStatic]
    private static SqliteCommand? read;

    private readonly JsonWebTokenHandler handler = new() { SetDefaultTimesOnTokenCreation = false };
    private readonly SigningCredentials credentials = new(
        new ECDsaSecurityKey(ECDsa.Create(ECCurve.NamedCurves.nistP256)) { KeyId = "floor-0123456789-0123456789-0123456789-01" },
        "ES256"
    );
    private readonly TimeProvider clock = TimeProvider.System;

    // PostgreSQL is waited for, so connections are handed out; each keeps its prepared statement.
    private readonly ConcurrentQueue<DbCommand> idle = new();

    /// <param name="postgres">Connection string of a copy of the same data; null: the SQLite file of the folder.</param>
    /// <param name="isExchangeRead">The statement of the server instead of a read by primary key.</param>
    public static async Task RunAsync(string folder, string address, string? postgres, bool isExchangeRead)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls(address).ConfigureKestrel(kestrel => kestrel.AddServerHeader = false);
        await using var app = builder.Build();
        app.Run(
            new Floor(
                Path.Combine(folder, "pakhouse.db"),
                postgres is null ? null : NpgsqlDataSource.Create(PostgresConnection.Parse(postgres).ConnectionString),
                isExchangeRead
            ).AnswerAsync
        );
        await app.RunAsync();
    }

    private async Task AnswerAsync(HttpContext context)
    {
        var body = context.Request.BodyReader;
        var result = await body.ReadAsync();
        while (!result.IsCompleted)
        {
            body.AdvanceTo(result.Buffer.Start, result.Buffer.End);
            result = await body.ReadAsync();
        }

        var answer = postgres is null ? Exchange(result.Buffer) : await ExchangeAsync(result.Buffer);
        body.AdvanceTo(result.Buffer.End);
        var response = context.Response;
        if (answer is null)
        {
            response.StatusCode = StatusCodes.Status401Unauthorized;
            return;
        }

        response.ContentType = "application/json";
        response.ContentLength = answer.WrittenCount;
        response.Headers.CacheControl = "no-store";
        response.Headers.Pragma = "no-cache";
        await response.Body.WriteAsync(answer.WrittenMemory);
    }

    private ArrayBufferWriter<byte>? Exchange(ReadOnlySequence<byte> form)
    {
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        if (!TryRead(form, hash, out var id))
            return null;
        var command = read ??= Prepare();
        command.Parameters[0].Value = id;
        using (var row = command.ExecuteReader())
        {
            if (!row.Read() || !row.IsDBNull(deletedAt) || !CryptographicOperations.FixedTimeEquals(hash, row.GetFieldValue<byte[]>(0)))
                return null;
        }

        return Write(id);
    }

    private async ValueTask<ArrayBufferWriter<byte>?> ExchangeAsync(ReadOnlySequence<byte> form)
    {
        var hash = new byte[SHA256.HashSizeInBytes];
        if (!TryRead(form, hash, out var id))
            return null;
        if (!idle.TryDequeue(out var command))
            command = await PrepareAsync();
        command.Parameters[0].Value = id;
        await using (var row = await command.ExecuteReaderAsync())
        {
            if (
                !await row.ReadAsync()
                || !row.IsDBNull(deletedAt)
                || !CryptographicOperations.FixedTimeEquals(hash, row.GetFieldValue<byte[]>(0))
            )
                return null;
        }

        idle.Enqueue(command);
        return Write(id);
    }

    private static bool TryRead(ReadOnlySequence<byte> form, Span<byte> hash, out string id)
    {
        id = "";
        var bytes = form.IsSingleSegment ? form.FirstSpan : form.ToArray();
        var field = "personalAccessKey="u8;
        if (!bytes.StartsWith(field) || bytes.Length < field.Length + TailLength) return false;
        var key = bytes[field.Length..];
        id = Encoding.ASCII.GetString(key[^TailLength..][..KeyFormat.IdLength]);
        SHA256.HashData(key, hash);
        return true;
    }

    private ArrayBufferWriter<byte> Write(string id)
    {
        var buffer = new ArrayBufferWriter<byte>(1536);
        using var json = new Utf8JsonWriter(buffer);
        json.WriteStartObject();
        json.WriteString("access_token"u8, CreateToken(id));
        json.WriteString("token_type"u8, "Bearer"u8);
        json.WriteNumber("expires_in"u8, LifetimeSeconds);
        json.WriteString("scope"u8, Scope);
        json.WriteString("organization_id"u8, OrganizationId);
        json.WriteEndObject();
        json.Flush();
        return buffer;
    }

    private string CreateToken(string keyId)
    {
        var now = clock.GetUtcNow();
        return handler.CreateToken(new SecurityTokenDescriptor
        {
            TokenType = "at+jwt",
            Issuer = Issuer,
            Audience = Issuer,
            IssuedAt = now.UtcDateTime,
            Expires = now.UtcDateTime.AddSeconds(LifetimeSeconds),
            SigningCredentials = credentials,
            Claims = new Dictionary<string, object>(13, StringComparer.Ordinal)
            {
                ["sub"] = UserId,
                ["client_id"] = "personal-access-key",
                ["jti"] = Ids.New(clock).ToString(),
                ["scope"] = Scope,
                ["org_id"] = OrganizationId,
                ["root_org_id"] = OrganizationId,
                ["currentOrganizationId"] = OrganizationId,
                ["membership"] = "member",
                ["roles"] = roles,
                ["key_id"] = keyId,
                ["name"] = "Person 12345",
                ["email"] = "person12345@acme.example",
                ["status"] = status,
            },
        });
    }

    private static readonly Dictionary<string, object> status = new(StringComparer.Ordinal)
    {
        ["status_list"] = new Dictionary<string, object>(StringComparer.Ordinal)
        {
            ["idx"] = 123456L,
            ["uri"] = $"{Issuer}/status-lists/0",
        },
    };

    private static readonly string[] roles = ["build-operator", "report-viewer"];

    private SqliteCommand Prepare()
    {
        var connection = new SqliteConnection(
            new SqliteConnectionStringBuilder { DataSource = file, Mode = SqliteOpenMode.ReadWrite }.ToString()
        );
        connection.Open();
        var command = connection.CreateCommand();
        command.CommandText = statement;
        command.Parameters.Add(new SqliteParameter("@id", SqliteType.Text));
        if (isExchangeRead)
            command.Parameters.Add(new SqliteParameter("@target", SqliteType.Text) { Value = DBNull.Value });
        command.Prepare();
        return command;
    }

    private async Task<DbCommand> PrepareAsync()
    {
        var command = (await postgres!.OpenConnectionAsync()).CreateCommand();
        command.CommandText = statement;
        command.Parameters.Add(new NpgsqlParameter("@id", NpgsqlTypes.NpgsqlDbType.Text));
        if (isExchangeRead) command.Parameters.Add(new NpgsqlParameter("@target", NpgsqlTypes.NpgsqlDbType.Text) { Value = DBNull.Value });
        await command.PrepareAsync();
        return command;
    }
}
