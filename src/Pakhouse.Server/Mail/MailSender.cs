using System.Net.Sockets;
using Dapper;
using MailKit;
using MailKit.Net.Smtp;
using MailKit.Security;
using MimeKit;

namespace Pakhouse.Server;

/// <summary>
/// Sends what <see cref="Mails"/> holds: by SMTP, or, where no server is set, into files. At least once: a process that dies between a message
/// and its deletion sends it again, with the same Message-ID, by which mail programs know it.
/// <para>Invariant: a message waits in the table until a server took it, and no longer than <see cref="GivenUpAfter"/>. No log line holds a recipient, a
/// subject or a word of a message; a server's own words could, so of them only the status is kept.</para>
/// </summary>
public sealed partial class MailSender(Database database, Mails mails, PakhouseOptions options, PublicAddress publicAddress, TimeProvider clock, ILogger<MailSender> log) : Recurring(TimeSpan.FromSeconds(2), clock, log)
{
    public static readonly TimeSpan GivenUpAfter = TimeSpan.FromDays(3);

    /// <summary>What a process has claimed and not sent is another's after this: longer than a batch can take.</summary>
    private static readonly TimeSpan claim = TimeSpan.FromMinutes(10);

    private const int BatchSize = 10;
    private const int SmtpTimeoutMilliseconds = 20_000;

    private readonly SemaphoreSlim turn = new(1, 1);

    /// <summary>Sends everything that is due.</summary>
    public override async Task RunAsync()
    {
        await turn.WaitAsync();
        try
        {
            while (await ClaimAsync() is { Count: > 0 } batch)
            {
                if (options.SmtpHost is null) await WriteFilesAsync(batch);
                else await SendAsync(batch);
                if (batch.Count < BatchSize) return;
            }
        }
        finally
        {
            turn.Release();
        }
    }

    public override void Dispose()
    {
        turn.Dispose();
        base.Dispose();
    }

    /// <summary>Takes messages for this process: the next attempt of anybody else is after the claim.</summary>
    private async Task<IReadOnlyList<Due>> ClaimAsync()
    {
        var now = Clock.GetUtcNow();
        // Asked first: most of the time there is nothing, and this takes no lock.
        if (await database.ReadAsync(connection => connection.ExecuteScalarAsync<long>("SELECT COUNT(*) FROM (SELECT 1 FROM mails WHERE due_at <= @now LIMIT 1) AS one", new { now })) == 0) return [];
        return [.. (await database.WriteAloneAsync(transaction => transaction.Connection!.QueryAsync<Due>(
            """
            UPDATE mails SET due_at = @until, attempts = attempts + 1 WHERE id IN (SELECT id FROM mails WHERE due_at <= @now ORDER BY due_at, id LIMIT @BatchSize)
            RETURNING id, recipient, content, created_at, attempts
            """, new { now, until = now + claim, BatchSize }, transaction))).OrderBy(due => due.Id)];
    }

    private async Task WriteFilesAsync(IReadOnlyList<Due> batch)
    {
        DataFolder.Create(options.MailFolder);
        foreach (var due in batch)
        {
            if (await MakeAsync(due) is not { } message) continue;
            var path = Path.Combine(options.MailFolder, $"{due.CreatedAt:yyyyMMdd-HHmmss}-{due.Id}.eml");
            var file = new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write };
            if (!OperatingSystem.IsWindows()) file.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
            // Under another name until it is whole: whoever looks into the folder finds no halves.
            await using (var stream = new FileStream($"{path}.part", file)) await message.WriteToAsync(stream);
            File.Move($"{path}.part", path, overwrite: true);
            await ForgetAsync(due);
        }
    }

    private async Task SendAsync(IReadOnlyList<Due> batch)
    {
        using var client = new SmtpClient { Timeout = SmtpTimeoutMilliseconds };
        foreach (var due in batch)
        {
            if (await MakeAsync(due) is not { } message) continue;
            try
            {
                if (!client.IsConnected)
                {
                    await client.ConnectAsync(options.SmtpHost!, options.SmtpPort, options.SmtpTls);
                    if (options.SmtpUser is not null) await client.AuthenticateAsync(options.SmtpUser, options.SmtpPassword!);
                }

                await client.SendAsync(message);
                await ForgetAsync(due);
            }
            catch (SmtpCommandException e) when (e.ErrorCode == SmtpErrorCode.RecipientNotAccepted && (int)e.StatusCode >= 500)
            {
                await ForgetAsync(due);
                LogRefused(due.Id, (int)e.StatusCode);
            }
            catch (Exception e) when (e is CommandException or ProtocolException or ServiceNotConnectedException or AuthenticationException or SslHandshakeException
                                          or IOException or SocketException or TimeoutException or NotSupportedException or OperationCanceledException)
            {
                await PutOffAsync(due, e is SmtpCommandException command ? $"status {(int)command.StatusCode}" : e.GetType().Name);
                // A connection in an unknown state is no use to the next message.
                await client.DisconnectAsync(false);
            }
        }

        if (client.IsConnected) await client.DisconnectAsync(true);
    }

    /// <summary>Null: it cannot be made into a message, now or ever, and is gone.</summary>
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
            message.Headers.Add("Auto-Submitted", "auto-generated"); // RFC 3834: nobody's holiday notice answers it
            return message;
        }
        catch (Exception e) when (e is ParseException or System.Security.Cryptography.CryptographicException)
        {
            await ForgetAsync(due);
            LogUnusable(due.Id, e.GetType().Name);
            return null;
        }
    }

    private Task<int> ForgetAsync(Due due) => database.WriteAsync(transaction => transaction.Connection!.ExecuteAsync("DELETE FROM mails WHERE id = @Id", new { due.Id }, transaction));

    /// <summary>Tries again after a minute, two, four, up to an hour, until it is too old.</summary>
    private async Task PutOffAsync(Due due, string why)
    {
        var now = Clock.GetUtcNow();
        if (now - due.CreatedAt >= GivenUpAfter)
        {
            await ForgetAsync(due);
            LogGivenUp(due.Id, due.Attempts, why);
            return;
        }

        var dueAt = now + TimeSpan.FromMinutes(Math.Min(60, Math.Pow(2, due.Attempts - 1)));
        await database.WriteAsync(transaction => transaction.Connection!.ExecuteAsync("UPDATE mails SET due_at = @dueAt WHERE id = @Id", new { due.Id, dueAt }, transaction));
        LogPutOff(due.Id, due.Attempts, why, dueAt);
    }

    private sealed record Due
    {
        public Guid Id { get; init; }
        public string Recipient { get; init; } = "";
        public byte[] Content { get; init; } = [];
        public DateTimeOffset CreatedAt { get; init; }
        public long Attempts { get; init; }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "Message {MailId} was not sent at attempt {Attempts} ({Why}); the next is at {DueAt:u}")]
    private partial void LogPutOff(Guid mailId, long attempts, string why, DateTimeOffset dueAt);

    [LoggerMessage(Level = LogLevel.Error, Message = "Message {MailId} is given up after {Attempts} attempts ({Why})")]
    private partial void LogGivenUp(Guid mailId, long attempts, string why);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Message {MailId} is given up: the server takes nothing for its recipient (status {Status})")]
    private partial void LogRefused(Guid mailId, int status);

    [LoggerMessage(Level = LogLevel.Error, Message = "Message {MailId} is given up: it cannot be read or addressed ({Why})")]
    private partial void LogUnusable(Guid mailId, string why);
}
