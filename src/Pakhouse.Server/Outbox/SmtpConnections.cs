using System.Collections.Concurrent;
using MailKit.Net.Smtp;
using MimeKit;

namespace Pakhouse.Server;

/// <summary>Connections to the mail server; each sends one message at a time and is kept for the next.</summary>
internal sealed class SmtpConnections(PakhouseOptions options, int timeoutMilliseconds) : IDisposable
{
    private readonly ConcurrentBag<SmtpConnection> free = [];

    public SmtpConnection Take() => free.TryTake(out var connection) ? connection : new SmtpConnection(options, timeoutMilliseconds);

    public void Return(SmtpConnection connection) => free.Add(connection);

    public async Task CloseAsync()
    {
        while (free.TryTake(out var connection))
            using (connection) await connection.CloseAsync();
    }

    public void Dispose()
    {
        while (free.TryTake(out var connection)) connection.Dispose();
    }
}

internal sealed class SmtpConnection : IDisposable
{
    private readonly PakhouseOptions options;
    private readonly SmtpClient client;

    public SmtpConnection(PakhouseOptions options, int timeoutMilliseconds)
    {
        this.options = options;
        client = new SmtpClient
        {
            Timeout = timeoutMilliseconds,
            CheckCertificateRevocation = false,
            ServerCertificateValidationCallback = (_, certificate, chain, errors) =>
                (TlsFault = Server.TlsFault.Of(certificate, chain, errors, options.SmtpAuthorities)) is null,
        };
    }

    /// <summary>Which check of the certificate failed; null: none.</summary>
    public string? TlsFault { get; private set; }

    public async Task SendAsync(MimeMessage message)
    {
        if (!client.IsConnected)
        {
            await client.ConnectAsync(options.SmtpHost!, options.SmtpPort, options.SmtpTls);
            if (options.SmtpUser is not null) await client.AuthenticateAsync(options.SmtpUser, options.SmtpPassword!);
        }

        await client.SendAsync(message);
    }

    public async Task CloseAsync()
    {
        if (client.IsConnected) await client.DisconnectAsync(true);
    }

    public void Dispose() => client.Dispose();
}
