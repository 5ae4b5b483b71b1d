using System.Net.Sockets;
using System.Text.RegularExpressions;
using Dapper;
using MailKit;
using MailKit.Net.Smtp;
using MailKit.Security;
using MimeKit;

namespace Pakhouse.Server;

/// <summary>
/// Sends what <see cref="Mails"/> holds, by SMTP or, if no server is set, into files. Each message is sent at least once: a process that
/// dies between a message and its deletion sends it again, with the same Message-ID, so mail programs recognize it.
/// <para>Invariant: a message waits in the table until a server accepted it, but no longer than <see cref="GivenUpAfter"/>. No log line
/// contains a recipient, a subject or text of a message. A server's own text could, so only its status is kept.</para>
/// </summary>
public sealed partial class MailSender(
    Database database,
    Mails mails,
    IMailLoss loss,
    PakhouseOptions options,
    PublicAddress publicAddress,
    TimeProvider clock,
    ILogger<MailSender> log
) : PeriodicJob(TimeSpan.FromSeconds(2), clock, log)
{
    public static readonly TimeSpan GivenUpAfter = TimeSpan.FromDays(3);

    /// <summary>After this time another process may send what a process has claimed but not sent. Longer than a batch can take.</summary>
    private static readonly TimeSpan claim = TimeSpan.FromMinutes(10);

    private const int SmtpTimeoutMilliseconds = 20_000;

    /// <summary>
    /// The most connections of this process at once, and how many of them the recipients of one domain and earlier failed messages may use.
    /// </summary>
    internal const int ConnectionsMax = 8,
        PerDomainMax = 2,
        RetriesMax = 4;

    /// <summary>Messages read for the next free connections.</summary>
    private const int CandidatesMax = 500;

    private readonly SemaphoreSlim gate = new(1, 1);

    /// <summary>Sends everything that is due. No message waits for the end of another: each is claimed when a connection is free.</summary>
    public override async Task RunAsync()
    {
        await gate.WaitAsync();
        List<(Task Delivery, Candidate Of)> underWay = []; // tasks that complete synchronously can be the same object
        using var connections = new SmtpConnections(options, SmtpTimeoutMilliseconds);
        try
        {
            while (true)
            {
                foreach (var due in await ClaimAsync([.. underWay.Select(one => one.Of)]))
                    underWay.Add((DeliverAsync(connections, due), Candidate.Of(due)));
                if (underWay.Count == 0)
                    break;
                // Or after a while, because other messages may have become due.
                using var done = new CancellationTokenSource();
                await Task.WhenAny([.. underWay.Select(one => one.Delivery), Task.Delay(TimeSpan.FromSeconds(2), Clock, done.Token)]);
                await done.CancelAsync();
                foreach (var ended in underWay.Where(one => one.Delivery.IsCompleted).ToList())
                {
                    underWay.Remove(ended);
                    await ended.Delivery; // throws if the database is unavailable
                }
            }

            await connections.CloseAsync();
        }
        finally
        {
            await Task.WhenAll(underWay.Select(one => one.Delivery)).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            gate.Release();
        }
    }

    public override void Dispose()
    {
        gate.Dispose();
        base.Dispose();
    }

    /// <summary>Claims messages for this process: other processes may try only after the claim.</summary>
    private async Task<IReadOnlyList<Due>> ClaimAsync(IReadOnlyCollection<Candidate> underWay)
    {
        var now = Clock.GetUtcNow();
        // Read first: usually nothing is due, and this takes no lock.
        var candidates = await database.ReadAsync(connection =>
            connection.QueryAsync<Candidate>(
                "SELECT id, recipient, attempts FROM mails WHERE due_at <= @now ORDER BY attempts, due_at, id LIMIT @CandidatesMax",
                new { now, CandidatesMax }
            )
        );
        List<Candidate> chosen = [.. underWay];
        foreach (var one in candidates)
            if (
                chosen.Count < ConnectionsMax
                && chosen.Count(other => other.Domain == one.Domain) < PerDomainMax
                && (one.Attempts == 0 || chosen.Count(other => other.Attempts > 0) < RetriesMax)
            )
                chosen.Add(one);
        var ids = chosen.Skip(underWay.Count).Select(one => one.Id.ToString()).ToList();
        if (ids.Count == 0)
            return [];
        // Written out, because the two databases pass lists differently.
        var parameters = new DynamicParameters(new { now, until = now + claim });
        for (var i = 0; i < ids.Count; i++)
            parameters.Add($"@id{i}", ids[i]);
        return
        [
            .. (
                await database.WriteExclusiveAsync(transaction =>
                    transaction.Connection!.QueryAsync<Due>(
                        $"""
                        UPDATE mails SET due_at = @until, attempts = attempts + 1
                        WHERE id IN ({string.Join(", ", Enumerable.Range(0, ids.Count).Select(i => $"@id{i}"))}) AND due_at <= @now
                        RETURNING id, recipient, content, created_at, attempts, invitation_id
                        """,
                        parameters,
                        transaction
                    )
                )
            ).OrderBy(due => due.Id),
        ];
    }

    private Task DeliverAsync(SmtpConnections connections, Due due) =>
        options.SmtpHost is null ? WriteFileAsync(due) : SendAsync(connections, due);

    private async Task WriteFileAsync(Due due)
    {
        DataFolder.Create(options.MailFolder);
        if (await MakeAsync(due) is not { } message)
            return;
        var path = Path.Combine(options.MailFolder, $"{due.CreatedAt:yyyyMMdd-HHmmss}-{due.Id}.eml");
        var file = new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write };
        if (!OperatingSystem.IsWindows())
            file.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        // Under another name until it is complete, so that nobody finds an incomplete file in the folder.
        await using (var stream = new FileStream($"{path}.part", file))
            await message.WriteToAsync(stream);
        File.Move($"{path}.part", path, overwrite: true);
        await ForgetAsync(due);
    }

    private async Task SendAsync(SmtpConnections connections, Due due)
    {
        if (await MakeAsync(due) is not { } message)
            return;
        var connection = connections.Take();
        try
        {
            await connection.SendAsync(message);
            connections.Return(connection);
            await ForgetAsync(due);
        }
        catch (SmtpCommandException e) when (IsFinal(e))
        {
            connections.Return(connection);
            await GiveUpAsync(due, "the server of the recipient refuses this address");
            LogRefused(due.Id, (int)e.StatusCode);
        }
        catch (Exception e)
            when (e
                    is CommandException
                        or ProtocolException
                        or ServiceNotConnectedException
                        or ServiceNotAuthenticatedException
                        or AuthenticationException
                        or SslHandshakeException
                        or IOException
                        or SocketException
                        or TimeoutException
                        or NotSupportedException
                        or OperationCanceledException
            )
        {
            // A connection in an unknown state cannot be used for the next message.
            connection.Dispose();
            await PutOffAsync(due, Describe(e, connection.TlsFault));
        }
    }

    /// <summary>
    /// Whether the server permanently refuses this recipient. Every other refusal can be caused by our login, sender or relay, which the
    /// operator can correct. RFC 3463: 5.1.0 and 5.1.7 to 5.1.9 concern the sender, 5.7 permissions. Servers without such a code mean the
    /// recipient by 550, 551 and 553 (RFC 5321 §4.2.3).
    /// </summary>
    internal static bool IsFinal(SmtpCommandException e)
    {
        if (e.ErrorCode != SmtpErrorCode.RecipientNotAccepted || (int)e.StatusCode < 500)
            return false;
        return EnhancedStatus().Match(e.Message) is { Success: true } status
            ? status.Groups["subject"].Value == "2"
                || (
                    status.Groups["subject"].Value == "1" && status.Groups["detail"].Value is "1" or "2" or "3" or "4" or "5" or "6" or "10"
                )
            : (int)e.StatusCode is 550 or 551 or 553;
    }

    /// <summary>The failure, for the operator. Never the server's own text, which can name the recipient.</summary>
    private static string Describe(Exception e, string? tlsFault) =>
        e switch
        {
            SmtpCommandException { ErrorCode: SmtpErrorCode.RecipientNotAccepted } command when (int)command.StatusCode >= 500 =>
                $"status {(int)command.StatusCode}, which refuses this server's login, sender or address, not the recipient: check "
                    + $"SmtpUser, MailFrom and the relay's rules",
            SmtpCommandException command => $"status {(int)command.StatusCode}",
            SslHandshakeException => $"TLS: {tlsFault ?? TlsFault.Protocol}",
            AuthenticationException => "the server does not accept SmtpUser and SmtpPassword",
            TimeoutException or OperationCanceledException => "no answer in time",
            _ => e.GetType().Name,
        };

    [GeneratedRegex(@"^5\.(?<subject>\d)\.(?<detail>\d{1,3})\b", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex EnhancedStatus();

    /// <summary>Null: it can never be made into a message, and was deleted.</summary>
    private async Task<MimeMessage?> MakeAsync(Due due)
    {
        try
        {
            var content = mails.Open(due.Content);
            var message = new MimeMessage
            {
                Subject = content.Subject,
                Date = due.CreatedAt,
                MessageId = $"{due.Id}@{new Uri(publicAddress.Value).Host}",
                Body = new TextPart("plain") { Text = content.Text },
            };
            message.From.Add(options.MailFrom);
            message.To.Add(new MailboxAddress("", due.Recipient));
            message.Headers.Add("Auto-Submitted", "auto-generated"); // RFC 3834: no automatic reply
            return message;
        }
        catch (Exception e) when (e is ParseException or System.Security.Cryptography.CryptographicException)
        {
            await GiveUpAsync(due, "it cannot be addressed");
            LogUnusable(due.Id, e.GetType().Name);
            return null;
        }
    }

    /// <summary>Deletes the message and notifies those who must know, in one transaction.</summary>
    private Task<bool> GiveUpAsync(Due due, string why) =>
        database.WriteAsync(async transaction =>
        {
            if (await transaction.Connection!.ExecuteAsync("DELETE FROM mails WHERE id = @Id", new { due.Id }, transaction) == 0)
                return false;
            await loss.NotifyAsync(transaction, new LostMail(due.Recipient, due.InvitationId, due.CreatedAt, why));
            return true;
        });

    private Task<int> ForgetAsync(Due due) =>
        database.WriteAsync(transaction =>
            transaction.Connection!.ExecuteAsync("DELETE FROM mails WHERE id = @Id", new { due.Id }, transaction)
        );

    /// <summary>Tries again after a minute, two, four, up to an hour, until the message is too old.</summary>
    private async Task PutOffAsync(Due due, string why)
    {
        var now = Clock.GetUtcNow();
        if (now - due.CreatedAt >= GivenUpAfter)
        {
            await GiveUpAsync(due, $"no server accepted it in {(int)GivenUpAfter.TotalDays} days");
            LogGivenUp(due.Id, due.Attempts, why);
            return;
        }

        var dueAt = now + TimeSpan.FromMinutes(Math.Min(60, Math.Pow(2, due.Attempts - 1)));
        await database.WriteAsync(transaction =>
            transaction.Connection!.ExecuteAsync("UPDATE mails SET due_at = @dueAt WHERE id = @Id", new { due.Id, dueAt }, transaction)
        );
        LogPutOff(due.Id, due.Attempts, why, dueAt);
    }

    private sealed record Candidate
    {
        public Guid Id { get; init; }
        public string Recipient { get; init; } = "";
        public long Attempts { get; init; }

        public string Domain => Recipient[(Recipient.LastIndexOf('@') + 1)..].ToLowerInvariant();

        public static Candidate Of(Due due) =>
            new()
            {
                Id = due.Id,
                Recipient = due.Recipient,
                Attempts = due.Attempts - 1,
            };
    }

    private sealed record Due
    {
        public Guid Id { get; init; }
        public string Recipient { get; init; } = "";
        public byte[] Content { get; init; } = [];
        public DateTimeOffset CreatedAt { get; init; }
        public long Attempts { get; init; }
        public Guid? InvitationId { get; init; }
    }

    [LoggerMessage(
        Level = LogLevel.Warning,
        Message = "Message {MailId} was not sent at attempt {Attempts} ({Why}); the next is at {DueAt:u}"
    )]
    private partial void LogPutOff(Guid mailId, long attempts, string why, DateTimeOffset dueAt);

    [LoggerMessage(Level = LogLevel.Error, Message = "Message {MailId} is given up after {Attempts} attempts ({Why})")]
    private partial void LogGivenUp(Guid mailId, long attempts, string why);

    [LoggerMessage(
        Level = LogLevel.Warning,
        Message = "Message {MailId} is given up: the server refuses its recipient (status {Status})"
    )]
    private partial void LogRefused(Guid mailId, int status);

    [LoggerMessage(Level = LogLevel.Error, Message = "Message {MailId} is given up: it cannot be read or addressed ({Why})")]
    private partial void LogUnusable(Guid mailId, string why);
}
