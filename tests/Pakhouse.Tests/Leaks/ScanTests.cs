using System.Diagnostics;
using System.Net;
using System.Text;

namespace Pakhouse.Tests;

/// <summary>The command <c>scan</c>, on real files and real repositories.</summary>
public static class ScanTests
{
    private static string NewKey(string brand = "ph", KeyKind kind = KeyKind.Personal) =>
        Encoding.ASCII.GetString(KeyFormat.Create(brand, KeyFormat.NewId(), kind));

    private static async Task<(int Code, string Output, string Errors)> ScanAsync(string path, bool isHistory = false, Uri? revoke = null)
    {
        using var output = new StringWriter();
        using var errors = new StringWriter();
        var code = await Scan.RunAsync([path], isHistory, revoke, output, TextWriter.Synchronized(errors));
        return (code, output.ToString(), errors.ToString());
    }

    private static List<Finding> Search(byte[] text, int chunk)
    {
        using var scan = new KeyScan();
        var (found, at) = (new List<Finding>(), 0);
        scan.Run(
            "text",
            buffer =>
            {
                var count = Math.Min(Math.Min(chunk, buffer.Length), text.Length - at);
                text.AsSpan(at, count).CopyTo(buffer.Span);
                at += count;
                return count;
            },
            found.Add
        );
        return found;
    }

    public class Finding_keys
    {
        [Fact]
        public void A_key_is_found_once_with_its_line_wherever_the_pieces_of_the_text_end()
        {
            var keys = new[] { NewKey(), NewKey("a0123456789bcdef", KeyKind.Organization), NewKey("zz") };
            var text = Encoding.ASCII.GetBytes($"first\nsecond {keys[0]}\n{keys[1]}{keys[2]}\nlast ak1_ pak1_ _pak1_ \n");
            for (var chunk = 1; chunk <= text.Length; chunk++)
                Assert.Equal(
                    [
                        (2L, "ph", KeyKind.Personal, TestServer.IdOf(keys[0])),
                        (3L, "a0123456789bcdef", KeyKind.Organization, TestServer.IdOf(keys[1])),
                        (3L, "zz", KeyKind.Personal, TestServer.IdOf(keys[2])),
                    ],
                    Search(text, chunk).Select(found => (found.Line, found.Brand, found.Kind, found.Id))
                );
        }

        [Fact]
        public void Keys_across_the_borders_of_the_buffer_are_found()
        {
            var key = NewKey();
            var text = new byte[3 * 1024 * 1024];
            text.AsSpan().Fill((byte)'\n');
            var places = Enumerable.Range(1, 5).Select(i => i * 512 * 1024 - i * 17).ToArray();
            foreach (var place in places)
                Encoding.ASCII.GetBytes(key).CopyTo(text, place);
            Assert.Equal(places.Length, Search(text, int.MaxValue).Count);
        }

        [Fact]
        public void What_stands_around_a_key_does_not_hide_it_and_what_is_no_key_is_not_found()
        {
            var key = NewKey();
            foreach (var around in (string[])["{0}", "TOKEN_{0}", "%22{0}%22", "x{0}x", "\"{0}\"", "{0}=", "é{0}é", "__{0}__"])
                Assert.Equal(
                    TestServer.IdOf(key),
                    Assert.Single(Search(Encoding.UTF8.GetBytes(string.Format(around, key)), int.MaxValue)).Id
                );

            var changed = key[^1] == 'x' ? 'y' : 'x';
            foreach (
                var other in new[]
                {
                    key[..^1],
                    key[..^1] + changed,
                    key.Replace("_pak1_", "_pak2_", StringComparison.Ordinal),
                    key.Replace("_pak1_", "_xak1_", StringComparison.Ordinal),
                    key.ToUpperInvariant(),
                    key[3..],
                }
            )
                Assert.Empty(Search(Encoding.ASCII.GetBytes(other), int.MaxValue));
        }
    }

    public sealed class Files : IDisposable
    {
        private readonly string folder = Directory.CreateTempSubdirectory("pakhouse-scan-").FullName;

        public void Dispose() => Directory.Delete(folder, recursive: true);

        [Fact]
        public async Task Files_below_a_folder_are_searched_and_the_secret_is_never_shown()
        {
            var (one, two, named) = (NewKey(), NewKey("acme", KeyKind.Organization), NewKey());
            Directory.CreateDirectory(Path.Combine(folder, "a", ".hidden"));
            await File.WriteAllTextAsync(Path.Combine(folder, "a", ".hidden", "config"), $"\n\ntoken={one}\n");
            await File.WriteAllBytesAsync(Path.Combine(folder, "binary"), [0, 255, 0, .. Encoding.ASCII.GetBytes(two), 0]);
            await File.WriteAllTextAsync(Path.Combine(folder, $"{named}\u001b[31m.txt"), "nothing");
            await File.WriteAllTextAsync(Path.Combine(folder, "empty"), "");
            Directory.CreateSymbolicLink(Path.Combine(folder, "a", "circle"), folder);

            var (code, output, errors) = await ScanAsync(folder);
            Assert.Equal(Scan.FoundKeys, code);
            Assert.Contains(
                $"{Path.Combine(folder, "a", ".hidden", "config")}:3: personal access key {TestServer.IdOf(one)} (brand ph)",
                output,
                StringComparison.Ordinal
            );
            Assert.Contains(
                $"{Path.Combine(folder, "binary")}:1: API key {TestServer.IdOf(two)} (brand acme)",
                output,
                StringComparison.Ordinal
            );
            Assert.Contains($"personal access key {TestServer.IdOf(named)}", output, StringComparison.Ordinal);
            Assert.Equal(3, output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Length);
            Assert.Contains("3 keys in 3 places", errors, StringComparison.Ordinal);
            Assert.DoesNotContain('\u001b', output);
            foreach (var key in (string[])[one, two, named])
                Assert.DoesNotContain(key[^49..^20], output + errors, StringComparison.Ordinal);
        }

        [Fact]
        public async Task Nothing_found_is_0_and_what_cannot_be_read_is_2()
        {
            await File.WriteAllTextAsync(Path.Combine(folder, "a"), "nothing");
            Assert.Equal(Scan.FoundNothing, (await ScanAsync(folder)).Code);
            Assert.Equal(Scan.Failed, (await ScanAsync(Path.Combine(folder, "missing"))).Code);
            Assert.Equal(Scan.Failed, (await ScanAsync(folder, isHistory: true)).Code); // no repository
        }

        [Fact]
        public async Task With_revoke_what_is_found_ends_at_the_server()
        {
            await using var server = await TestServer.StartAsync();
            var acme = await server.AddAcmeAsync();
            var key = await server.AddKeyAsync(acme.Owner, acme.Root);
            await File.WriteAllTextAsync(Path.Combine(folder, "a"), $"{key} {NewKey()}");
            Assert.Equal(HttpStatusCode.OK, (await server.ExchangeAsync(key)).Status);
            var (code, _, errors) = await ScanAsync(folder, revoke: new Uri(server.Address));
            Assert.Equal(Scan.FoundKeys, code);
            Assert.Contains("Reported", errors, StringComparison.Ordinal);
            Assert.Equal(HttpStatusCode.Unauthorized, (await server.ExchangeAsync(key)).Status);
        }
    }

    public sealed class History : IDisposable
    {
        private readonly string folder = Directory.CreateTempSubdirectory("pakhouse-scan-").FullName;

        public void Dispose() => Directory.Delete(folder, recursive: true);

        private void Git(params string[] arguments)
        {
            var start = new ProcessStartInfo("git")
            {
                UseShellExecute = false,
                WorkingDirectory = folder,
                RedirectStandardOutput = true,
                RedirectStandardError = true,
            };
            foreach (
                var argument in (string[])
                    ["-c", "user.name=Test", "-c", "user.email=test@acme.example", "-c", "commit.gpgsign=false", .. arguments]
            )
                start.ArgumentList.Add(argument);
            using var git = Process.Start(start)!;
            git.StandardOutput.ReadToEnd();
            git.WaitForExit();
            Assert.Equal(0, git.ExitCode);
        }

        [Fact]
        public async Task A_key_that_was_committed_once_is_found_deleted_amended_or_said()
        {
            var (deleted, amended, said) = (NewKey(), NewKey(), NewKey());
            Git("init", "-q", "-b", "main");
            await File.WriteAllTextAsync(Path.Combine(folder, "settings.env"), $"A=1\nTOKEN={deleted}\n");
            Git("add", ".");
            Git("commit", "-q", "-m", "first");
            await File.WriteAllTextAsync(Path.Combine(folder, "settings.env"), "A=1\n");
            Git("commit", "-q", "-a", "-m", $"remove {said}");
            await File.WriteAllTextAsync(Path.Combine(folder, "other"), amended);
            Git("add", ".");
            Git("commit", "-q", "-m", "third");
            await File.WriteAllTextAsync(Path.Combine(folder, "other"), "harmless");
            Git("commit", "-q", "-a", "--amend", "-m", "third");

            // the control: the file itself holds none any more
            Assert.Equal(Scan.FoundNothing, (await ScanAsync(Path.Combine(folder, "settings.env"))).Code);
            var (code, output, _) = await ScanAsync(folder, isHistory: true);
            Assert.Equal(Scan.FoundKeys, code);
            Assert.Matches($"(?m)^[0-9a-f]{{7,}}:settings.env:2: personal access key {TestServer.IdOf(deleted)} ", output);
            Assert.Matches($"(?m)^commit [0-9a-f]{{12}}:\\d+: personal access key {TestServer.IdOf(said)} ", output);
            Assert.Matches($"(?m)^blob [0-9a-f]{{12}}:1: personal access key {TestServer.IdOf(amended)} ", output);
            foreach (var key in (string[])[deleted, amended, said])
                Assert.DoesNotContain(key[^49..^20], output, StringComparison.Ordinal);
        }
    }
}
