using System.Runtime.InteropServices;

namespace Pakhouse.Server;

/// <summary>
/// The folder on this machine with the SQLite file and the Data Protection keys. No other folder is needed, not even a temporary one.
/// </summary>
internal static class DataFolder
{
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    /// <summary>Created with mode 0700 if it is missing. A Windows profile folder already belongs to its user.</summary>
    public static void Create(string folder)
    {
        if (OperatingSystem.IsWindows()) Directory.CreateDirectory(folder);
        else Directory.CreateDirectory(folder, OwnerOnly | UnixFileMode.UserExecute);
    }

    /// <summary>A file that only its owner can read (0600). On Windows the folder's rights apply.</summary>
    public static FileStream Open(string file, FileMode mode)
    {
        var options = new FileStreamOptions { Mode = mode, Access = FileAccess.ReadWrite, Share = FileShare.ReadWrite };
        if (!OperatingSystem.IsWindows()) options.UnixCreateMode = OwnerOnly;
        return new FileStream(file, options);
    }

    /// <summary>
    /// Writes a file completely or not at all, whenever the power fails: into a new file of the same folder, flushed, renamed, and the
    /// folder flushed.
    /// </summary>
    public static void WriteWhole(string file, ReadOnlySpan<byte> content)
    {
        var folder = Path.GetDirectoryName(file)!;
        Create(folder);
        var unfinished = Path.Combine(folder, $".{Path.GetFileName(file)}.new");
        try
        {
            using (var stream = Open(unfinished, FileMode.Create))
            {
                stream.Write(content);
                stream.Flush(flushToDisk: true);
            }

            File.Move(unfinished, file, overwrite: true);
        }
        catch
        {
            TryDelete(unfinished);
            throw;
        }

        if (!OperatingSystem.IsWindows()) Flush(folder);
    }

    private static void TryDelete(string file)
    {
        try
        {
            File.Delete(file);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // What prevented the writing can prevent this too. The next attempt overwrites the file.
        }
    }

    /// <summary>
    /// A rename is durable when its folder is flushed. Some file systems do not support that; they keep the order themselves.
    /// </summary>
    private static void Flush(string folder)
    {
        var handle = open(folder, 0);
        if (handle < 0) return;
        _ = fsync(handle);
        _ = close(handle);
    }

    [DllImport("libc"), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int open([MarshalAs(UnmanagedType.LPUTF8Str)] string path, int flags);

    [DllImport("libc"), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int fsync(int handle);

    [DllImport("libc"), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int close(int handle);
}
