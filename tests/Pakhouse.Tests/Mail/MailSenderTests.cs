using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;

namespace Pakhouse.Tests;

public static class MailSenderTests
{
    private const string Recipient = "ada@elsewhere.example";

    public class Into_files
    {
        [Fact]
        public async Task By_default_a_message_becomes_a_file_that_only_the_server_may_read()
        {
            await using var server = await TestServer.StartAsync();
            await EnqueueAsync(server, "Grüße ✓", "Line one\nLine two");
            var mail = (await server.MailsToAsync(Recipient)).Single();
            Assert.Equal(("Grüße ✓", "Line one\nLine two"), (mail.Subject, mail.TextBody!.ReplaceLineEndings("\n").TrimEnd()));
            Assert.Equal("auto-generated", mail.Headers["Auto-Submitted"]);
            var file = Directory.GetFiles(Path.Combine(server.DataFolder, "mails")).Single();
            if (!OperatingSystem.IsWindows())
                Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(file));
            Assert.Equal(0, await server.ScalarAsync<long>("SELECT COUNT(*) FROM mails"));
        }

        [Fact]
        public async Task What_cannot_be_read_is_given_up_and_holds_up_nothing()
        {
            await using var server = await TestServer.StartAsync();
            await EnqueueAsync(server, "First", "x");
            await server.ExecuteAsync($"UPDATE mails SET content = {(TestDatabase.IsPostgres ? "'\\x00'::bytea" : "x'00'")}");
            await EnqueueAsync(server, "Second", "x");
            Assert.Equal(["Second"], (await server.MailsToAsync(Recipient)).Select(mail => mail.Subject));
            Assert.Equal(0, await server.ScalarAsync<long>("SELECT COUNT(*) FROM mails"));
        }
    }

    public class By_SMTP
    {
        [Fact]
        public async Task A_message_arrives_once_with_its_sender_recipient_and_words()
        {
            await using var smtp = new SmtpListener();
            await using var server = await TestServer.StartAsync(smtp.Settings);
            await EnqueueAsync(server, "Hello", "A secret link\n.\nA dot alone");
            await server.Get<MailSender>().RunAsync();
            await server.Get<MailSender>().RunAsync();
            var (from, to, data) = smtp.Messages.Single();
            Assert.Equal(("keys@acme.example", Recipient), (from, to));
            var mail = MimeKit.MimeMessage.Load(new MemoryStream(Encoding.UTF8.GetBytes(data)));
            Assert.Equal(("Hello", "A secret link\n.\nA dot alone"), (mail.Subject, mail.TextBody!.ReplaceLineEndings("\n").TrimEnd()));
            Assert.False(Directory.Exists(Path.Combine(server.DataFolder, "mails")));
        }

        [Fact]
        public async Task Many_due_at_once_share_a_few_connections_and_two_processes_send_none_twice()
        {
            await using var smtp = new SmtpListener();
            await using var server = await TestServer.StartAsync(smtp.Settings);
            for (var i = 0; i < 25; i++)
                await EnqueueAsync(server, $"Number {i}", "x", $"ada@elsewhere{i % 5}.example");
            using var second = new MailSender(
                server.Get<Database>(),
                server.Get<Mails>(),
                server.Get<IMailLoss>(),
                server.Get<PakhouseOptions>(),
                server.Get<PublicAddress>(),
                server.Clock,
                Microsoft.Extensions.Logging.Abstractions.NullLogger<MailSender>.Instance
            );
            await Task.WhenAll(server.Get<MailSender>().RunAsync(), second.RunAsync());
            Assert.Equal(25, smtp.Messages.Count);
            Assert.Equal(25, smtp.Messages.Select(message => message.Data).Distinct().Count());
            Assert.InRange(smtp.Connections, 1, 2 * MailSender.ConnectionsMax);
        }

        [Fact]
        public async Task A_server_that_is_away_is_tried_again_later_and_later_and_given_up_after_three_days()
        {
            await using var smtp = new SmtpListener { Answers = { ["DATA"] = "451 not now, ada@elsewhere.example" } };
            await using var server = await TestServer.StartAsync(smtp.Settings);
            await EnqueueAsync(server, "Subject that is nobody's business", "x");
            var waits = new List<double>();
            for (var i = 0; i < 9; i++)
            {
                await server.Get<MailSender>().RunAsync();
                var wait = TimeSpan.FromMilliseconds(
                    await server.ScalarAsync<long>("SELECT due_at FROM mails") - server.Clock.GetUtcNow().ToUnixTimeMilliseconds()
                );
                waits.Add(wait.TotalMinutes);
                server.Clock.Advance(wait);
            }

            Assert.Equal([1, 2, 4, 8, 16, 32, 60, 60, 60], waits);
            server.Clock.Advance(TimeSpan.FromDays(3));
            await server.Get<MailSender>().RunAsync();
            Assert.Equal(0, await server.ScalarAsync<long>("SELECT COUNT(*) FROM mails"));
            Assert.Contains(
                server.Log.Lines,
                line =>
                    line.Contains("is given up after ", StringComparison.Ordinal) && line.Contains("(status 451)", StringComparison.Ordinal)
            );
            Assert.DoesNotContain(
                server.Log.Lines,
                line => line.Contains("ada@", StringComparison.Ordinal) || line.Contains("nobody's business", StringComparison.Ordinal)
            );
        }

        [Fact]
        public async Task A_recipient_that_the_server_refuses_for_good_is_given_up_at_once_and_the_next_gets_theirs()
        {
            await using var smtp = new SmtpListener { Answers = { [$"RCPT TO:<{Recipient}>"] = "550 no such person" } };
            await using var server = await TestServer.StartAsync(smtp.Settings);
            await EnqueueAsync(server, "First", "x");
            await EnqueueAsync(server, "Second", "x", "bob@elsewhere.example");
            await server.Get<MailSender>().RunAsync();
            await server.Get<MailSender>().RunAsync();
            Assert.Equal(["bob@elsewhere.example"], smtp.Messages.Select(message => message.To));
            Assert.Equal(0, await server.ScalarAsync<long>("SELECT COUNT(*) FROM mails"));
        }

        /// <summary>Nine that the server is slow about, and a password reset behind them.</summary>
        [Fact]
        public async Task Slow_recipients_of_one_domain_hold_up_nobody_else()
        {
            var (release, arrived) = (
                new TaskCompletionSource(),
                new TaskCompletionSource<string>(TaskCreationOptions.RunContinuationsAsynchronously)
            );
            await using var smtp = new SmtpListener
            {
                Held = ("RCPT TO:<ada@slow.example", release.Task),
                Arrived = to => arrived.TrySetResult(to),
            };
            await using var server = await TestServer.StartAsync(smtp.Settings);
            for (var i = 0; i < 9; i++)
                await EnqueueAsync(server, $"Slow {i}", "x", "ada@slow.example");
            await EnqueueAsync(server, "Reset", "x");
            var sending = server.Get<MailSender>().RunAsync();
            Assert.Equal(Recipient, await arrived.Task.WaitAsync(TimeSpan.FromMinutes(2)));
            Assert.False(sending.IsCompleted);
            release.SetResult();
            await sending;
            Assert.Equal(10, smtp.Messages.Count);
        }

        [Theory]
        [InlineData("550 no such person", true)]
        [InlineData("550 5.1.1 no such person", true)]
        [InlineData("552 5.2.2 mailbox full", true)]
        [InlineData("550 5.2.1 mailbox disabled", true)]
        [InlineData("554 5.7.1 relay access denied", false)]
        [InlineData("550 5.7.1 policy", false)]
        [InlineData("554 go away", false)]
        [InlineData("550 5.1.0 sender unknown", false)]
        [InlineData("553 5.1.8 sender's domain unknown", false)]
        [InlineData("530 5.7.0 authentication required", false)]
        [InlineData("450 4.1.1 not now", false)]
        public async Task Only_what_the_server_says_of_the_recipient_is_final(string answer, bool isFinal)
        {
            await using var smtp = new SmtpListener { Answers = { ["RCPT"] = answer } };
            await using var server = await TestServer.StartAsync(smtp.Settings);
            await EnqueueAsync(server, "Hello", "x");
            await server.Get<MailSender>().RunAsync();
            Assert.Equal(isFinal ? 0 : 1, await server.ScalarAsync<long>("SELECT COUNT(*) FROM mails"));
        }

        [Theory]
        [InlineData("MAIL", "554 5.7.1 sender refused")]
        [InlineData("AUTH", "535 5.7.8 wrong password")]
        [InlineData("DATA", "554 5.7.1 policy")]
        public async Task What_the_server_says_of_us_is_tried_again(string command, string answer)
        {
            await using var smtp = new SmtpListener { Answers = { [command] = answer } };
            await using var server = await TestServer.StartAsync([
                .. smtp.Settings,
                "--Pakhouse:SmtpUser=keys",
                "--Pakhouse:SmtpPassword=s3cret",
            ]);
            await EnqueueAsync(server, "Hello", "x");
            await server.Get<MailSender>().RunAsync();
            smtp.Answers.Clear();
            server.Clock.Advance(TimeSpan.FromMinutes(1));
            await server.Get<MailSender>().RunAsync();
            Assert.Single(smtp.Messages);
        }

        [Fact]
        public async Task A_claim_of_a_process_that_died_is_anothers_after_ten_minutes()
        {
            await using var smtp = new SmtpListener();
            await using var server = await TestServer.StartAsync(smtp.Settings);
            await EnqueueAsync(server, "Hello", "x");
            await server.ExecuteAsync(
                $"UPDATE mails SET attempts = 1, due_at = due_at + {(long)TimeSpan.FromMinutes(10).TotalMilliseconds}"
            ); // as a claim leaves it
            await server.Get<MailSender>().RunAsync();
            Assert.Empty(smtp.Messages);
            server.Clock.Advance(TimeSpan.FromMinutes(10));
            await server.Get<MailSender>().RunAsync();
            Assert.Single(smtp.Messages);
        }

        [Fact]
        public async Task The_password_goes_to_the_server_and_into_no_log()
        {
            await using var smtp = new SmtpListener();
            await using var server = await TestServer.StartAsync([
                .. smtp.Settings,
                "--Pakhouse:SmtpUser=keys",
                "--Pakhouse:SmtpPassword=s3cret-of-smtp",
            ]);
            await EnqueueAsync(server, "Hello", "x");
            await server.Get<MailSender>().RunAsync();
            Assert.Single(smtp.Messages);
            Assert.Contains(smtp.Lines, line => line == $"AUTH PLAIN {Convert.ToBase64String("\0keys\0s3cret-of-smtp"u8)}");
            Assert.DoesNotContain(server.Log.Lines, line => line.Contains("s3cret", StringComparison.Ordinal));
        }

        /// <summary>
        /// The attack: stand between, offer no TLS or a certificate of one's own, and read the links. The control is the listener's plain
        /// delivery above.
        /// </summary>
        [Theory]
        [InlineData(false)]
        [InlineData(true)]
        public async Task Without_TLS_that_can_be_trusted_nothing_is_sent(bool offersTls)
        {
            await using var smtp = new SmtpListener { OffersTls = offersTls };
            await using var server = await TestServer.StartAsync([.. smtp.Settings, "--Pakhouse:SmtpTls=starttls"]);
            await EnqueueAsync(server, "Hello", "x");
            await server.Get<MailSender>().RunAsync();
            Assert.Empty(smtp.Messages);
            Assert.DoesNotContain(smtp.Lines, line => line.StartsWith("MAIL", StringComparison.Ordinal));
            Assert.Equal(offersTls, smtp.Lines.Contains("STARTTLS"));
            Assert.Equal(1, await server.ScalarAsync<long>("SELECT COUNT(*) FROM mails"));
        }
    }

    public class Settings
    {
        [Theory]
        [InlineData("SmtpUser", "--Pakhouse:SmtpHost=mail.acme.example", "--Pakhouse:SmtpUser=keys")]
        [InlineData(
            "SmtpTls",
            "--Pakhouse:SmtpHost=mail.acme.example",
            "--Pakhouse:SmtpUser=keys",
            "--Pakhouse:SmtpPassword=s3cret",
            "--Pakhouse:SmtpTls=none"
        )]
        [InlineData("MailFrom", "--Pakhouse:MailFrom=nobody at all <")]
        [InlineData("MailFrom", "--Pakhouse:SmtpHost=mail.acme.example")]
        [InlineData("SmtpCaFile", "--Pakhouse:SmtpCaFile=/nowhere/ca.pem")]
        [InlineData("SmtpHost", "--Pakhouse:SmtpHost=https://mail.acme.example")]
        public void What_cannot_work_or_would_tell_a_password_stops_the_start(string setting, params string[] settings)
        {
            var fault = Assert.Throws<StartupException>(() => PakhouseOptions.Read(Server.Program.Configuration(settings)));
            Assert.Contains($"Pakhouse:{setting}", fault.Message, StringComparison.Ordinal);
            Assert.DoesNotContain("s3cret", fault.Message, StringComparison.Ordinal);
        }
    }

    private static Task<bool> EnqueueAsync(TestServer server, string subject, string text, string recipient = Recipient) =>
        server
            .Get<Database>()
            .WriteAsync(async transaction =>
            {
                await server.Get<Mails>().EnqueueAsync(transaction, recipient, new MailContent(Literal(subject), Literal(text)));
                return true;
            });

    private static MailText Literal(string words)
    {
        var text = new MailText(0, 0);
        text.AppendLiteral(words);
        return text;
    }

    /// <summary>The receiving side of RFC 5321, as far as a sender sees it, on a port of its own.</summary>
    private sealed class SmtpListener : IAsyncDisposable
    {
        private readonly TcpListener listener = new(IPAddress.Loopback, 0);
        private readonly Task serving;
        private readonly Lock gate = new();
        private readonly List<(string From, string To, string Data)> messages = [];
        private readonly List<string> lines = [];

        public SmtpListener()
        {
            listener.Start();
            serving = ServeAsync();
        }

        /// <summary>In place of "yes", to a line that begins so.</summary>
        public Dictionary<string, string> Answers { get; } = new(StringComparer.Ordinal);

        public bool OffersTls { get; init; }

        /// <summary>A line that begins so is answered when the task ends.</summary>
        public (string Line, Task Until)? Held { get; init; }

        /// <summary>For each message: its recipient.</summary>
        public Action<string> Arrived { get; init; } = _ => { };

        public int Connections { get; private set; }

        public IReadOnlyList<(string From, string To, string Data)> Messages
        {
            get
            {
                lock (gate)
                    return [.. messages];
            }
        }

        public IReadOnlyList<string> Lines
        {
            get
            {
                lock (gate)
                    return [.. lines];
            }
        }

        public string[] Settings =>
            [
                "--Pakhouse:SmtpHost=127.0.0.1",
                $"--Pakhouse:SmtpPort={((IPEndPoint)listener.LocalEndpoint).Port}",
                "--Pakhouse:MailFrom=Keys <keys@acme.example>",
            ];

        public async ValueTask DisposeAsync()
        {
            listener.Stop();
            await serving;
        }

        private async Task ServeAsync()
        {
            var talks = new List<Task>();
            try
            {
                while (true)
                    talks.Add(TalkAsync(await listener.AcceptTcpClientAsync()));
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                await Task.WhenAll(talks);
            }
        }

        private async Task TalkAsync(TcpClient client)
        {
            using var _ = client;
            Connections++;
            try
            {
                Stream stream = client.GetStream();
                var (from, to) = ("", "");
                var reader = new StreamReader(stream, Encoding.UTF8);
                await SayAsync("220 test");
                while (await reader.ReadLineAsync() is { } line)
                {
                    lock (gate)
                        lines.Add(line);
                    if (Held is { } held && line.StartsWith(held.Line, StringComparison.Ordinal))
                        await held.Until;
                    if (Answers.FirstOrDefault(answer => line.StartsWith(answer.Key, StringComparison.Ordinal)).Value is { } no)
                        await SayAsync(no);
                    else if (line.StartsWith("EHLO", StringComparison.Ordinal))
                        await SayAsync(
                            OffersTls ? "250-test\r\n250-STARTTLS\r\n250 AUTH PLAIN" : "250-test\r\n250-8BITMIME\r\n250 AUTH PLAIN"
                        );
                    else if (line.StartsWith("AUTH", StringComparison.Ordinal))
                        await SayAsync("235 welcome");
                    else if (line == "STARTTLS")
                    {
                        await SayAsync("220 go on");
                        var secure = new SslStream(stream);
                        await secure.AuthenticateAsServerAsync(SelfSigned());
                        (stream, reader) = (secure, new StreamReader(secure, Encoding.UTF8));
                    }
                    else if (line == "DATA")
                    {
                        await SayAsync("354 go on");
                        var data = new StringBuilder();
                        while (await reader.ReadLineAsync() is { } part && part != ".")
                            data.Append(part.StartsWith('.') ? part[1..] : part).Append("\r\n");
                        lock (gate)
                            messages.Add((from, to, data.ToString()));
                        await SayAsync("250 taken");
                        Arrived(to);
                    }
                    else
                    {
                        if (line.StartsWith("MAIL FROM:", StringComparison.Ordinal))
                            from = line.Split('<', '>')[1];
                        if (line.StartsWith("RCPT TO:", StringComparison.Ordinal))
                            to = line.Split('<', '>')[1];
                        await SayAsync(line == "QUIT" ? "221 bye" : "250 yes");
                        if (line == "QUIT")
                            return;
                    }
                }

                async Task SayAsync(string text)
                {
                    await stream.WriteAsync(Encoding.ASCII.GetBytes(text + "\r\n"));
                    await stream.FlushAsync();
                }
            }
            catch (Exception e) when (e is IOException or SocketException or System.Security.Authentication.AuthenticationException)
            {
                // The other side went away.
            }
        }

        private static X509Certificate2 SelfSigned()
        {
            using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
            var request = new CertificateRequest("CN=127.0.0.1", key, HashAlgorithmName.SHA256);
            using var made = request.CreateSelfSigned(DateTimeOffset.UnixEpoch, DateTimeOffset.UnixEpoch.AddYears(100));
            return X509CertificateLoader.LoadPkcs12(made.Export(X509ContentType.Pkcs12), null);
        }
    }
}
