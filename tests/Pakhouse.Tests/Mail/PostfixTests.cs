using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Pakhouse.Tests;

/// <summary>
/// The mail server of most relays, with a certificate of an authority that only the test knows, and each kind of refusal.
/// </summary>
public static class PostfixTests
{
    public class Certificates
    {
        [Theory]
        [InlineData("127.0.0.1", "127.0.0.1", true, false, null)]
        [InlineData("127.0.0.1", "127.0.0.1", false, false, "the certificate is untrusted")]
        [InlineData("other.example", "127.0.0.1", true, false, "the certificate is for another name")]
        [InlineData("127.0.0.1", "127.0.0.1", true, true, "the certificate has expired")]
        public async Task A_private_authority_is_trusted_where_it_is_set_and_the_log_says_which_check_failed(
            string certified, string host, bool isTrusted, bool isExpired, string? fault)
        {
            await using var postfix = await Postfix.StartAsync(certified, isExpired);
            await using var server = await TestServer.StartAsync([
                .. postfix.Settings(host),
                "--Pakhouse:SmtpTls=starttls",
                .. isTrusted ? [$"--Pakhouse:SmtpCaFile={postfix.CaFile}"] : Array.Empty<string>(),
            ]);
            await SendAsync(server, "ada@here.example");
            Assert.Equal(fault is null ? 0 : 1, await WaitingAsync(server));
            if (fault is not null)
                Assert.Contains(server.Log.Lines, line => line.Contains($"TLS: {fault}", StringComparison.Ordinal));
        }

        [Fact]
        public async Task A_port_that_does_not_speak_TLS_at_once_is_told_so()
        {
            await using var postfix = await Postfix.StartAsync("127.0.0.1", isExpired: false);
            await using var server = await TestServer.StartAsync([.. postfix.Settings("127.0.0.1"), "--Pakhouse:SmtpTls=implicit"]);
            await SendAsync(server, "ada@here.example");
            Assert.Equal(1, await WaitingAsync(server));
            Assert.Contains(server.Log.Lines, line => line.Contains("TLS negotiation failed", StringComparison.Ordinal));
        }
    }

    public class Refusals
    {
        /// <summary>The first row is the control: what is not refused is taken.</summary>
        [Theory]
        [InlineData("keys@acme.example", "ada@here.example", false, null)]
        [InlineData("keys@acme.example", "nobody@here.example", false, "the server refuses its recipient (status 550)")]
        [InlineData("keys@acme.example", "ada@elsewhere.example", true, "status 554")] // no relay for us
        [InlineData("refused@acme.example", "ada@here.example", true, "status 550")] // no such sender
        [InlineData("keys@acme.example", "grey@here.example", true, "status 450")] // greylisted
        public async Task Only_an_unknown_recipient_is_given_up(string from, string recipient, bool isKept, string? log)
        {
            await using var postfix = await Postfix.StartAsync("127.0.0.1", isExpired: false);
            await using var server = await TestServer.StartAsync([.. postfix.Settings("127.0.0.1"), $"--Pakhouse:MailFrom={from}"]);
            await SendAsync(server, recipient);
            Assert.Equal(isKept ? 1 : 0, await WaitingAsync(server));
            if (log is not null)
                Assert.Contains(server.Log.Lines, line => line.Contains(log, StringComparison.Ordinal));
            else
                Assert.DoesNotContain(server.Log.Lines, line => line.Contains("given up", StringComparison.Ordinal));
            Assert.DoesNotContain(
                server.Log.Lines,
                line => line.Contains(recipient, StringComparison.Ordinal) && line.Contains(nameof(MailSender), StringComparison.Ordinal)
            );
        }
    }

    public class Given_up
    {
        [Fact]
        public async Task An_invitation_that_no_server_takes_is_told_to_its_sender_and_stands_in_the_record()
        {
            await using var postfix = await Postfix.StartAsync("127.0.0.1", isExpired: false);
            await using var server = await TestServer.StartAsync([
                .. postfix.Settings("127.0.0.1"),
                "--Pakhouse:MailFrom=keys@acme.example",
            ]);
            var acme = await server.AddAcmeAsync();
            var owner = Actor.Session(acme.Owner);
            foreach (var email in (string[])["nobody@here.example", "ada@here.example"]) // the second is the control
                Assert.False((await server.Invitations.InviteAsync(owner, acme.Root, email, [new(acme.Root, NameSet.Empty)])).IsRefused);
            await server.Get<MailSender>().RunAsync();
            var invitations = (await server.Invitations.ListAsync(owner, acme.Root)).Value;
            Assert.Equal(
                [("ada@here.example", false), ("nobody@here.example", true)],
                invitations.Select(one => (one.Email, one.UndeliveredAt is not null))
            );
            Assert.Equal(
                1,
                await server.ScalarAsync<long>(
                    $"SELECT COUNT(*) FROM activity WHERE action = '{AuditAction.InviteUndelivered}' AND organization_id = '{acme.Root}'"
                )
            );
            Assert.Equal(1, await server.ScalarAsync<long>("SELECT COUNT(*) FROM mails WHERE recipient = 'person1@acme.example'"));

            // Sent once more, it is under way again.
            Assert.False((await server.Invitations.SendAgainAsync(owner, acme.Root, "nobody@here.example")).IsRefused);
            Assert.All((await server.Invitations.ListAsync(owner, acme.Root)).Value, one => Assert.Null(one.UndeliveredAt));
        }

        [Fact]
        public async Task Any_other_mail_to_a_person_that_no_server_takes_stands_in_the_record()
        {
            await using var postfix = await Postfix.StartAsync("127.0.0.1", isExpired: false);
            await using var server = await TestServer.StartAsync([
                .. postfix.Settings("127.0.0.1"),
                "--Pakhouse:MailFrom=keys@acme.example",
            ]);
            var user = (await server.Users.CreateAsync(Actor.Operator, "nobody@here.example", "Nobody", TestServer.Password)).Value;
            await SendAsync(server, "nobody@here.example");
            Assert.Equal(
                1,
                await server.ScalarAsync<long>(
                    $"SELECT COUNT(*) FROM activity WHERE action = '{AuditAction.MailUndelivered}' AND subject_user_id = '{user}'"
                )
            );
        }
    }

    private static async Task SendAsync(TestServer server, string recipient)
    {
        await server.Get<Database>().WriteAsync(async transaction =>
        {
            await server.Get<Mails>().EnqueueAsync(transaction, recipient, new MailContent($"Hello", $"A text"));
            return true;
        });
        await server.Get<MailSender>().RunAsync();
    }

    private static Task<long> WaitingAsync(TestServer server) => server.ScalarAsync<long>("SELECT COUNT(*) FROM mails");

    /// <summary>An instance of its own: folder, port, certificate. What it takes it throws away.</summary>
    private sealed class Postfix : IAsyncDisposable
    {
        private readonly string folder = Directory.CreateTempSubdirectory("pakhouse-postfix-").FullName;
        private int port;

        public string CaFile => Path.Combine(folder, "ca.pem");

        public static async Task<Postfix> StartAsync(string certified, bool isExpired)
        {
            var postfix = new Postfix();
            await postfix.RunAsync("chmod", "755", postfix.folder);
            foreach (var name in (string[])["conf", "queue", "data"])
                Directory.CreateDirectory(Path.Combine(postfix.folder, name));
            await postfix.RunAsync("chown", "postfix", Path.Combine(postfix.folder, "data"));
            using (var free = new TcpListener(IPAddress.Loopback, 0))
            {
                free.Start();
                postfix.port = ((IPEndPoint)free.LocalEndpoint).Port;
            }

            postfix.Certify(certified, isExpired);
            await File.WriteAllTextAsync(
                Path.Combine(postfix.folder, "conf", "main.cf"),
                $$"""
                compatibility_level = 3.6
                queue_directory = {{postfix.folder}}/queue
                data_directory = {{postfix.folder}}/data
                maillog_file = {{postfix.folder}}/log
                maillog_file_prefixes = {{postfix.folder}}
                inet_interfaces = 127.0.0.1
                inet_protocols = ipv4
                myhostname = relay.example
                mydestination = here.example
                mynetworks =
                relay_domains =
                local_recipient_maps = inline:{ada@here.example=x, grey@here.example=x}
                local_transport = discard:
                smtpd_relay_restrictions = reject_unauth_destination
                smtpd_recipient_restrictions = check_sender_access inline:{ {refused@acme.example = 550 5.7.1 not yours} }, check_recipient_access inline:{ {grey@here.example = 450 4.2.0 Greylisted} }
                smtpd_tls_security_level = may
                smtpd_tls_chain_files = {{postfix.folder}}/server.pem
                """
            );
            await File.WriteAllTextAsync(
                Path.Combine(postfix.folder, "conf", "master.cf"),
                $"""
                127.0.0.1:{postfix.port} inet n - n - - smtpd
                cleanup unix n - n - 0 cleanup
                qmgr unix n - n 300 1 qmgr
                rewrite unix - - n - - trivial-rewrite
                bounce unix - - n - 0 bounce
                defer unix - - n - 0 bounce
                trace unix - - n - 0 bounce
                error unix - - n - - error
                retry unix - - n - - error
                discard unix - - n - - discard
                anvil unix - - n - 1 anvil
                tlsmgr unix - - n 1000? 1 tlsmgr
                postlog unix-dgram n - n - 1 postlogd

                """
            );
            await postfix.RunAsync("/usr/sbin/postfix", "-c", Path.Combine(postfix.folder, "conf"), "start");
            return postfix;
        }

        public string[] Settings(string host) =>
            [$"--Pakhouse:SmtpHost={host}", $"--Pakhouse:SmtpPort={port}", "--Pakhouse:MailFrom=Keys <keys@acme.example>"];

        public async ValueTask DisposeAsync()
        {
            await RunAsync("/usr/sbin/postfix", "-c", Path.Combine(folder, "conf"), "stop");
            await RunAsync("rm", "-rf", folder);
        }

        /// <summary>The master of Postfix is root; a test that is not asks for it.</summary>
        private async Task RunAsync(string program, params string[] arguments)
        {
            var start = new ProcessStartInfo(Environment.IsPrivilegedProcess ? program : "sudo") { RedirectStandardError = false };
            if (!Environment.IsPrivilegedProcess)
                foreach (var argument in (string[])["-n", program])
                    start.ArgumentList.Add(argument);
            foreach (var argument in arguments)
                start.ArgumentList.Add(argument);
            using var process = Process.Start(start)!;
            await process.WaitForExitAsync();
            Assert.True(process.ExitCode == 0, $"{program} {string.Join(' ', arguments)} ended with {process.ExitCode}");
        }

        private void Certify(string name, bool isExpired)
        {
            var now = TimeProvider.System.GetUtcNow();
            using var authorityKey = ECDsa.Create(ECCurve.NamedCurves.nistP256);
            var authority = new CertificateRequest("CN=A private authority", authorityKey, HashAlgorithmName.SHA256);
            authority.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
            using var ca = authority.CreateSelfSigned(now.AddDays(-30), now.AddDays(30));
            using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
            var request = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256);
            var names = new SubjectAlternativeNameBuilder();
            if (IPAddress.TryParse(name, out var address))
                names.AddIpAddress(address);
            else
                names.AddDnsName(name);
            request.CertificateExtensions.Add(names.Build());
            // Where the authority's list of revocations would be: nobody answers there, as in a network without a way out.
            request.CertificateExtensions.Add(
                CertificateRevocationListBuilder.BuildCrlDistributionPointExtension(["http://127.0.0.1:9/ca.crl"])
            );
            using var leaf = request.Create(ca, now.AddDays(-20), now.AddDays(isExpired ? -10 : 20), RandomNumberGenerator.GetBytes(8));
            File.WriteAllText(CaFile, ca.ExportCertificatePem());
            File.WriteAllText(
                Path.Combine(folder, "server.pem"),
                key.ExportPkcs8PrivateKeyPem() + "\n" + leaf.ExportCertificatePem() + "\n"
            );
        }
    }
}
