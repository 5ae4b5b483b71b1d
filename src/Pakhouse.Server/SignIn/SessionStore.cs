using System.Buffers.Text;
using System.Data.Common;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using Dapper;

namespace Pakhouse.Server;

/// <summary>A valid session, as a request with it sees it.</summary>
public sealed record Session
{
    public Guid Id { get; init; }
    public Guid UserId { get; init; }
    public string Name { get; init; } = "";
    public string Email { get; init; } = "";

    /// <summary>One of <see cref="SignInMethod"/>.</summary>
    public string Method { get; init; } = "";

    public DateTimeOffset CreatedAt { get; init; }

    /// <summary>When the person last authenticated: by signing in, or by a later confirmation.</summary>
    public DateTimeOffset ProvedAt { get; init; }

    /// <summary>Exact to <see cref="SessionStore.TouchInterval"/>.</summary>
    public DateTimeOffset LastSeenAt { get; init; }

    public string Address { get; init; } = "";
    public string UserAgent { get; init; } = "";

    /// <summary>The organization of the last page.</summary>
    public Guid? OrganizationId { get; init; }
}

/// <summary>How a person signed in. Stored as it is here, so it is never renamed.</summary>
public static class SignInMethod
{
    public const string Password = "password",
        PasswordAndCode = "password and code",
        PasswordAndRecoveryCode = "password and recovery code";
    public const string Passkey = "passkey",
        Provider = "provider",
        SetUp = "set-up",
        Invitation = "invitation";
}

/// <summary>
/// Sessions of people: begun, found, listed and ended. Callers decide who may begin one.
/// <para>Invariant: a session is valid only while its row says so. It ends when the user's stamp changes, when the user is disabled or
/// deleted, and by its age; every copy of its cookie ends with it.</para>
/// </summary>
public sealed class SessionStore(Database database, Mails mails, PublicAddress publicAddress, PakhouseOptions options, TimeProvider clock)
{
    /// <summary>A session ends this long after its sign-in, however often it is used.</summary>
    public static readonly TimeSpan LifetimeMax = TimeSpan.FromDays(30);

    /// <summary>The last request of a session is written at most this often.</summary>
    public static readonly TimeSpan TouchInterval = TimeSpan.FromMinutes(1);

    private static readonly Refusal notFound = new(
        RefusalCode.NotFound,
        "There is no such session, or it has ended.",
        "no such session of the caller"
    );

    private const string Good = """
        s.ended_at IS NULL AND s.created_at > @oldest AND s.last_seen_at > @idle
        AND u.security_stamp = s.security_stamp AND u.disabled_at IS NULL AND u.deleted_at IS NULL AND u.kind = 'person'
        """;

    private const string Columns =
        "s.id, s.user_id, u.name, u.email, s.method, s.created_at, s.proved_at, s.last_seen_at, s.address, s.user_agent, s.organization_id";

    /// <summary>
    /// Begins a session and returns the value of its cookie; only the hash is stored. Null: the provider has ended its session in the
    /// meantime.
    /// </summary>
    public async Task<string?> BeginAsync(User user, string method, IPAddress? address, string? userAgent, byte[]? providerSession = null)
    {
        var secret = Base64Url.EncodeToString(RandomNumberGenerator.GetBytes(32));
        var isBegun = await database.WriteAsync(async transaction =>
        {
            var now = clock.GetUtcNow();
            var isOver =
                providerSession is not null
                && await transaction.Connection!.ExecuteScalarAsync<long>(
                    "SELECT COUNT(*) FROM provider_logouts WHERE provider_session = @providerSession",
                    new { providerSession },
                    transaction
                ) > 0;
            if (isOver)
                return false;
            await transaction.Connection!.ExecuteAsync(
                "DELETE FROM sessions WHERE created_at <= @oldest",
                new { oldest = now - LifetimeMax },
                transaction
            );
            var places = (
                await transaction.Connection!.QueryAsync<string>(
                    "SELECT DISTINCT address FROM sessions WHERE user_id = @Id",
                    new { user.Id },
                    transaction
                )
            ).AsList();
            if (places.Count > 0 && !places.Exists(place => IsSamePlace(place, address)))
                await mails.EnqueueAsync(transaction, user.Email, SignInMails.NewPlace(method, address, now, publicAddress));
            await transaction.Connection!.ExecuteAsync(
                """
                INSERT INTO sessions (id, hash, user_id, security_stamp, method, created_at, proved_at, last_seen_at, address, user_agent,
                    provider_session)
                VALUES (@id, @hash, @userId, @SecurityStamp, @method, @now, @now, @now, @address, @userAgent, @providerSession)
                """,
                new
                {
                    id = Ids.New(clock),
                    hash = Hash(secret),
                    userId = user.Id,
                    user.SecurityStamp,
                    method,
                    now,
                    address = address?.ToString() ?? "",
                    userAgent = KeyUsage.UserAgent(userAgent),
                    providerSession,
                },
                transaction
            );
            await ActivityLog.WriteAsync(
                transaction,
                clock,
                Actor.Session(user.Id, address),
                AuditAction.Login,
                null,
                user.Id.ToString(),
                detail: method
            );
            return true;
        });
        return isBegun ? secret : null;
    }

    /// <summary>Null if the cookie's value opens no session, whatever the reason.</summary>
    public Task<Session?> FindAsync(string secret) =>
        database.ReadAsync(connection =>
            connection.QuerySingleOrDefaultAsync<Session>(
                $"SELECT {Columns} FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.hash = @hash AND {Good}",
                new
                {
                    hash = Hash(secret),
                    oldest = Oldest,
                    idle = Idle,
                }
            )
        );

    /// <summary>The person's sessions, the most recently used first.</summary>
    public async Task<IReadOnlyList<Session>> ListAsync(Guid userId) =>
        (
            await database.ReadAsync(connection =>
                connection.QueryAsync<Session>(
                    $"SELECT {Columns} FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.user_id = @userId AND {Good} ORDER BY "
                        + $"s.last_seen_at DESC, s.id DESC",
                    new
                    {
                        userId,
                        oldest = Oldest,
                        idle = Idle,
                    }
                )
            )
        ).AsList();

    /// <summary>Records that the session was used, and from where.</summary>
    public async Task TouchAsync(Session session, IPAddress? address, string? userAgent)
    {
        var now = clock.GetUtcNow();
        if (now - session.LastSeenAt < TouchInterval)
            return;
        await UnlessDiskIsFullAsync(transaction =>
            transaction.Connection!.ExecuteAsync(
                "UPDATE sessions SET last_seen_at = @now, address = @address, user_agent = @userAgent WHERE id = @Id AND last_seen_at < "
                    + "@now AND ended_at IS NULL",
                new
                {
                    session.Id,
                    now,
                    address = address?.ToString() ?? "",
                    userAgent = KeyUsage.UserAgent(userAgent),
                },
                transaction
            )
        );
    }

    /// <summary>Records that the person of the session authenticated again.</summary>
    public Task ProveAsync(Guid id) =>
        database.WriteAsync(transaction =>
            transaction.Connection!.ExecuteAsync(
                "UPDATE sessions SET proved_at = @now WHERE id = @id AND ended_at IS NULL",
                new { id, now = clock.GetUtcNow() },
                transaction
            )
        );

    /// <summary>Records the organization of a page; a change of organization is written into the audit record.</summary>
    public async Task NoteOrganizationAsync(Actor actor, Session session, Guid organizationId)
    {
        if (session.OrganizationId == organizationId)
            return;
        await UnlessDiskIsFullAsync(async transaction =>
        {
            var changed = await transaction.Connection!.ExecuteAsync(
                "UPDATE sessions SET organization_id = @organizationId WHERE id = @Id AND COALESCE(organization_id, '') <> "
                    + "@organizationId AND ended_at IS NULL",
                new { session.Id, organizationId },
                transaction
            );
            if (changed == 1 && session.OrganizationId is not null)
                await ActivityLog.WriteAsync(
                    transaction,
                    clock,
                    actor,
                    AuditAction.SwitchOrganization,
                    organizationId,
                    organizationId.ToString()
                );
            return changed;
        });
    }

    /// <summary>Ends one of the caller's own sessions.</summary>
    /// <param name="action"><see cref="AuditAction.Logout"/> or <see cref="AuditAction.SessionEnd"/>.</param>
    public Task<Outcome<bool>> EndAsync(Actor actor, Guid id, string action) =>
        database.ChangeAsync<bool>(async transaction =>
        {
            if (Guard.Demand(actor, Permission.EndSession) is { } refused)
                return refused;
            TransactionNotes.Of(transaction).IsUrgent = true;
            var ended = await transaction.Connection!.ExecuteAsync(
                "UPDATE sessions SET ended_at = @now WHERE id = @id AND user_id = @UserId AND ended_at IS NULL",
                new
                {
                    id,
                    actor.UserId,
                    now = clock.GetUtcNow(),
                },
                transaction
            );
            if (ended == 0)
                return notFound;
            await ActivityLog.WriteAsync(transaction, clock, actor, action, null, id.ToString(), actor.UserId);
            return true;
        });

    /// <summary>Ends every session of the caller but one, and returns how many.</summary>
    public Task<Outcome<int>> EndOthersAsync(Actor actor, Guid kept) =>
        database.ChangeAsync<int>(async transaction =>
        {
            if (Guard.Demand(actor, Permission.EndOtherSessions) is { } refused)
                return refused;
            return await EndOthersAsync(transaction, clock, actor, kept);
        });

    public static async Task<int> EndOthersAsync(DbTransaction transaction, TimeProvider clock, Actor actor, Guid kept)
    {
        var ended = (
            await transaction.Connection!.QueryAsync<Guid>(
                "UPDATE sessions SET ended_at = @now WHERE user_id = @UserId AND id <> @kept AND ended_at IS NULL RETURNING id",
                new
                {
                    actor.UserId,
                    kept,
                    now = clock.GetUtcNow(),
                },
                transaction
            )
        ).AsList();
        foreach (var id in ended)
            await ActivityLog.WriteAsync(transaction, clock, actor, AuditAction.SessionEnd, null, id.ToString(), actor.UserId);
        return ended.Count;
    }

    /// <summary>
    /// A failure to record usage must not refuse the request: a signed-in person can end keys while the disk is full.
    /// </summary>
    private async Task UnlessDiskIsFullAsync(Func<DbTransaction, Task<int>> note)
    {
        try
        {
            await database.WriteAsync(note);
        }
        catch (DiskFullException)
        {
            // A later request records it.
        }
    }

    /// <summary>Whether two addresses are in the same network (IPv4 /24, IPv6 /48), within which addresses change often.</summary>
    private static bool IsSamePlace(string place, IPAddress? address)
    {
        if (address is { IsIPv4MappedToIPv6: true })
            address = address.MapToIPv4();
        if (!IPAddress.TryParse(place, out var known) || address is null)
            return place == (address?.ToString() ?? "");
        if (known.IsIPv4MappedToIPv6)
            known = known.MapToIPv4();
        var (one, two) = (known.GetAddressBytes(), address.GetAddressBytes());
        var bytes = two.Length == 4 ? 3 : 6;
        return one.Length == two.Length && one.AsSpan(0, bytes).SequenceEqual(two.AsSpan(0, bytes));
    }

    private DateTimeOffset Oldest => clock.GetUtcNow() - LifetimeMax;

    private DateTimeOffset Idle => clock.GetUtcNow() - options.SessionIdle;

    private static byte[] Hash(string secret) => SHA256.HashData(Encoding.ASCII.GetBytes(secret));
}
