using System.Buffers;
using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace Pakhouse.Server;

/// <summary>
/// The command <c>scan</c> finds keys of any brand in files, folders, standard input and the history of a git repository, by format and
/// check digits, offline. It prints where a key is and never the key.
/// </summary>
internal sealed class Scan
{
    public const int FoundNothing = 0,
        FoundKeys = 1,
        Failed = 2;

    private readonly TextWriter errors;
    private readonly ConcurrentBag<Finding> findings = [];
    private readonly ConcurrentDictionary<string, byte[]>? keys;
    private int files,
        unreadable;
    private long bytes;

    private Scan(TextWriter errors, bool isReporting) => (this.errors, keys) = (errors, isReporting ? new(StringComparer.Ordinal) : null);

    /// <param name="paths">Files and folders; "-": standard input.</param>
    /// <param name="isHistory">The paths are git repositories, and every object in them is searched.</param>
    /// <param name="server">The server to report found keys to; null: none.</param>
    public static async Task<int> RunAsync(IReadOnlyList<string> paths, bool isHistory, Uri? server, TextWriter output, TextWriter errors)
    {
        var began = Stopwatch.GetTimestamp();
        var scan = new Scan(errors, server is not null);
        foreach (var path in paths)
        {
            if (isHistory)
                scan.History(path);
            else if (path == "-")
                scan.Input();
            else if (Directory.Exists(path))
                scan.Files(scan.Below(path));
            else if (System.IO.File.Exists(path))
                scan.Files([new FileInfo(path)]);
            else
                scan.Unreadable(path);
        }

        foreach (var finding in scan.findings.OrderBy(finding => finding.Place, StringComparer.Ordinal).ThenBy(finding => finding.Line))
            await output.WriteLineAsync(
                $"{Printable(finding.Place)}:{finding.Line}: {(finding.Kind == KeyKind.Personal ? "personal access key" : "API key")} "
                    + $"{finding.Id} (brand {finding.Brand}{Text(finding.Encoding)})"
            );
        var seconds = Stopwatch.GetElapsedTime(began).TotalSeconds;
        var found = scan.findings.Select(finding => finding.Id).Distinct(StringComparer.Ordinal).Count();
        await errors.WriteLineAsync(
            $"{TimeText.Count(found, "key")} in {TimeText.Count(scan.findings.Count, "place")}; searched "
                + $"{TimeText.Count(scan.files, isHistory ? "object" : "file")}, {scan.bytes / 1e6:0.0} MB in {seconds:0.00} "
                + $"s{(scan.unreadable > 0 ? $"; {scan.unreadable} could not be read" : "")}."
        );
        if (server is not null && found > 0 && !await scan.ReportAsync(server))
            return Failed;
        return found > 0 ? FoundKeys
            : scan.unreadable > 0 ? Failed
            : FoundNothing;
    }

    /// <summary>Explains a place that shows no readable key.</summary>
    private static string Text(KeyEncoding encoding) =>
        encoding switch
        {
            KeyEncoding.None => "",
            KeyEncoding.Utf16 => ", in UTF-16",
            _ => ", in Base64",
        };

    /// <summary>A file name is somebody else's text: it can contain a key, or control sequences for a terminal.</summary>
    internal static string Printable(string place)
    {
        var text = Encoding.UTF8.GetBytes(new string([.. place.Select(c => char.IsControl(c) ? '?' : c)]));
        using var finder = new EncodedKeyFinder();
        var secrets = new List<Range>();
        finder.Find(
            text,
            (at, _, _, id, encoding) => secrets.Add(encoding == KeyEncoding.None ? (at.Start.Value + id.Length + 6)..at.End : at)
        );
        foreach (var secret in secrets)
            text.AsSpan()[secret].Fill((byte)'*');
        return Encoding.UTF8.GetString(text);
    }

    /// <summary>
    /// The files below a folder, one folder after the other. Unreadable entries are counted, and the scan continues.
    /// </summary>
    private IEnumerable<FileInfo> Below(string path)
    {
        var folders = new Stack<DirectoryInfo>([new DirectoryInfo(path)]);
        while (folders.TryPop(out var folder))
        {
            FileSystemInfo[] entries;
            try
            {
                entries = folder.GetFileSystemInfos();
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                Unreadable(folder.FullName);
                continue;
            }

            foreach (var entry in entries.Where(entry => entry.LinkTarget is null)) // a link can form a cycle
            {
                if (entry is DirectoryInfo below)
                    folders.Push(below);
                else if (entry is FileInfo file)
                    yield return file;
            }
        }
    }

    private void Files(IEnumerable<FileInfo> all) =>
        Parallel.ForEach(
            all,
            () => new KeyScan(Keep),
            (file, _, scan) =>
            {
                File(scan, file);
                return scan;
            },
            Done
        );

    private void File(KeyScan scan, FileInfo file)
    {
        try
        {
            scan.Name(file.FullName, file.Name, findings.Add);
            if (file.Length == 0)
                return; // empty, or a pipe or a device, which may never end
            using var handle = System.IO.File.OpenHandle(file.FullName, options: FileOptions.SequentialScan);
            var offset = 0L;
            scan.Run(
                file.FullName,
                buffer =>
                {
                    var count = RandomAccess.Read(handle, buffer.Span, offset);
                    offset += count;
                    return count;
                },
                findings.Add
            );
            Interlocked.Increment(ref files);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            Unreadable(file.FullName);
        }
    }

    private void Unreadable(string path)
    {
        Interlocked.Increment(ref unreadable);
        lock (errors)
            errors.WriteLine($"pakhouse: {Printable(path)} cannot be read");
    }

    private void Input()
    {
        using var scan = new KeyScan(Keep);
        using var input = Console.OpenStandardInput();
        scan.Run("(standard input)", buffer => input.Read(buffer.Span), findings.Add);
        files++;
        bytes += scan.Searched;
    }

    /// <summary>
    /// Every object of the repository, also those that no branch reaches any more: files, commit messages, notes.
    /// </summary>
    private void History(string path)
    {
        using var git = Git(path, "cat-file", "--batch-all-objects", "--unordered", "--buffer", "--batch");
        using var stream = new BufferedStream(git.StandardOutput.BaseStream, 256 * 1024);
        var objects = new GitObjects(stream);
        using var scan = new KeyScan(Keep);
        var found = new List<Finding>();
        while (objects.Next() is { } header)
        {
            scan.Run(header, objects.Read, found.Add);
            files++;
        }

        git.WaitForExit();
        bytes += scan.Searched;
        if (git.ExitCode != 0)
            Unreadable(path);

        foreach (var group in found.GroupBy(finding => finding.Place, StringComparer.Ordinal))
        {
            var place = Locate(path, group.Key);
            foreach (var finding in group)
                findings.Add(finding with { Place = place });
        }
    }

    /// <summary>For people: the commit that added the file, and its path in that commit.</summary>
    private static string Locate(string path, string header)
    {
        var (id, type) = (
            header[..header.IndexOf(' ', StringComparison.Ordinal)],
            header[(header.IndexOf(' ', StringComparison.Ordinal) + 1)..]
        );
        if (type != "blob")
            return $"{type} {id[..12]}";
        using var git = Git(
            path,
            "log",
            "--all",
            "--reverse",
            "-m",
            "--first-parent",
            "--format=%h",
            $"--find-object={id}",
            "--name-only",
            "-z"
        );
        var words = git.StandardOutput.ReadToEnd().Split(['\0', '\n'], StringSplitOptions.RemoveEmptyEntries);
        git.WaitForExit();
        return words.Length >= 2 ? $"{words[0]}:{words[1]}" : $"blob {id[..12]}";
    }

    private static Process Git(string path, params string[] arguments)
    {
        var start = new ProcessStartInfo("git")
        {
            UseShellExecute = false,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        foreach (var argument in (string[])["-C", path, .. arguments])
            start.ArgumentList.Add(argument);
        try
        {
            var git = Process.Start(start)!;
            git.ErrorDataReceived += (_, _) => { }; // its text can contain file names, which this class prints safely
            git.BeginErrorReadLine();
            return git;
        }
        catch (System.ComponentModel.Win32Exception e)
        {
            throw new StartupException("git is not installed. Install it, or scan a folder without --git.", e);
        }
    }

    private void Keep(ReadOnlySpan<byte> key) => keys?.TryAdd(Convert.ToHexString(SHA256.HashData(key)), key.ToArray());

    private void Done(KeyScan scan)
    {
        Interlocked.Add(ref bytes, scan.Searched);
        scan.Dispose();
    }

    private async Task<bool> ReportAsync(Uri server)
    {
        using var http = new HttpClient(new SocketsHttpHandler { AllowAutoRedirect = false }) { Timeout = TimeSpan.FromMinutes(1) };
        foreach (var batch in keys!.Values.Chunk(LeakEndpoints.KeysPerCallMax))
        {
            var body = new ArrayBufferWriter<byte>();
            using (var json = new Utf8JsonWriter(body))
            {
                json.WriteStartObject();
                json.WriteStartArray("keys"u8);
                foreach (var key in batch)
                    json.WriteStringValue(key);
                json.WriteEndArray();
                json.WriteEndObject();
            }

            using var content = new ReadOnlyMemoryContent(body.WrittenMemory)
            {
                Headers = { ContentType = new MediaTypeHeaderValue("application/json") },
            };
            try
            {
                using var response = await http.PostAsync(new Uri(server, "/leaks/revoke"), content);
                if (response.StatusCode != HttpStatusCode.Accepted)
                {
                    await errors.WriteLineAsync($"pakhouse: {server.Authority} refused the report: {(int)response.StatusCode}");
                    return false;
                }
            }
            catch (Exception e) when (e is HttpRequestException or TaskCanceledException)
            {
                await errors.WriteLineAsync($"pakhouse: {server.Authority} cannot be reached; nothing was reported");
                return false;
            }
            finally
            {
                body.Clear();
            }
        }

        await errors.WriteLineAsync($"Reported to {server.Authority}: those that are its keys can no longer get tokens.");
        return true;
    }

    /// <summary>
    /// Splits the output of <c>git cat-file --batch</c>: a line with type and length, the content, a line break.
    /// </summary>
    private sealed class GitObjects(BufferedStream stream)
    {
        private long left = -1;

        /// <summary>"ID TYPE" of the next object; null: the end.</summary>
        public string? Next()
        {
            if (left >= 0)
                stream.ReadByte(); // the line break after the content
            var line = new StringBuilder(64);
            for (int c; (c = stream.ReadByte()) != '\n'; line.Append((char)c))
                if (c < 0)
                    return null;
            var words = line.ToString().Split(' ');
            if (words.Length != 3 || !long.TryParse(words[2], out left))
                return null;
            return $"{words[0]} {words[1]}";
        }

        public int Read(Memory<byte> buffer)
        {
            if (left == 0)
                return 0;
            var count = stream.Read(buffer.Span[..(int)Math.Min(buffer.Length, left)]);
            left -= count;
            return count;
        }
    }
}
