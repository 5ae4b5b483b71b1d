using System.Runtime.InteropServices;

namespace Pakhouse.Server;

/// <summary>
/// The folder on this machine: the SQLite file and, with it, the Data Protection keys. It needs no other folder, no temporary one either.
/// </summary>
internal static class DataFolder
{
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    /// <summary>With mode 0700 where it is missing. A Windows profile folder is its user's own.</summary>
    public static void Create(string folder)
    {
        if (OperatingSystem.IsWindows()) Directory.CreateDirectory(folder);
        else Directory.CreateDirectory(folder, OwnerOnly | UnixFileMode.UserExecute);
    }

    /// <summary>A file that only its owner can read (0600). On Windows the folder's rights hold.</summary>
    public static FileStream Open(string file, FileMode mode)
    {
        var options = new FileStreamOptions { Mode = mode, Access = FileAccess.ReadWrite, Share = FileShare.ReadWrite };
        if (!OperatingSystem.IsWindows()) options.UnixCreateMode = OwnerOnly;
        return new FileStream(file, options);
    }

    /// <summary>
    /// Writes a file that is there whole or not at all, whenever the power fails: into a new file of the same folder, flushed, renamed, and
    /// the folder flushed.
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
            // What stood in the way of writing can stand in the way of this too. The next try begins the file anew.
        }
    }

    /// <summary>
    /// A rename is durable when its folder is. Not every file system can be asked for it; those that cannot keep it in order themselves.
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
