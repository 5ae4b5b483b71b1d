namespace Pakhouse.Server;

/// <summary>
/// Reserved space on the disk of the data folder: the file <c>reserve</c>. On a full disk it is released in small steps, only for changes
/// that end or suspend keys. While it is not complete, every other change is refused, so that nothing else uses the released space. It is
/// filled again when there is space.
/// </summary>
internal sealed class DiskReserve(string folder)
{
    /// <summary>
    /// Many times what SQLite's log needs for the end of a key (about 100 KB) if the log can be reused, which each step ensures.
    /// </summary>
    public const long Size = 4 * 1024 * 1024;

    /// <summary>Small, because anybody can use the released space first.</summary>
    private const long Step = 256 * 1024;

    /// <summary>The free space that must remain before the reserve is filled; otherwise a disk at its limit would alternate.</summary>
    private const long Margin = 1024 * 1024;

    /// <summary>With less free space than this no change succeeds.</summary>
    private const long Least = 64 * 1024;

    /// <summary>Error numbers of Linux: no space, and no space within the quota.</summary>
    private static readonly int[] full = [28, 122];

    private readonly string file = Path.Combine(folder, "reserve");

    public bool IsWhole => new FileInfo(file) is { Exists: true, Length: >= Size };

    /// <summary>Whether the disk has no space for any change.</summary>
    public bool IsDiskFull => FreeSpace < Least;

    public static bool IsNoSpace(IOException e) => Array.IndexOf(full, e.HResult & 0xFFFF) >= 0;

    /// <summary>Fills the reserve again.</summary>
    /// <returns>False: the disk has no space for it.</returns>
    public bool TryFill()
    {
        if (IsWhole) return true;
        try
        {
            var present = new FileInfo(file) is { Exists: true } partly ? partly.Length : 0;
            if (FreeSpace < Size - present + Margin) return false;
            File.Delete(file);
            var options = new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write, PreallocationSize = Size };
            if (!OperatingSystem.IsWindows()) options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
            using var stream = new FileStream(file, options);
            stream.SetLength(Size);
            return true;
        }
        catch (IOException e) when (IsNoSpace(e))
        {
            return false;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return true; // no reserve is possible for another reason than space: changes are still allowed
        }
    }

    /// <summary>Releases one step of the reserve.</summary>
    /// <returns>False: nothing is left.</returns>
    public bool TryRelease()
    {
        try
        {
            using var stream = new FileStream(file, FileMode.Open, FileAccess.Write, FileShare.ReadWrite);
            if (stream.Length == 0) return false;
            stream.SetLength(Math.Max(0, Math.Min(stream.Length, Size) - Step));
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    private long FreeSpace
    {
        get
        {
            try
            {
                return new DriveInfo(folder).AvailableFreeSpace;
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                return long.MaxValue; // the folder is missing or not accessible: another error, reported as such
            }
        }
    }
}

/// <summary>The disk of the data folder is full, and the change does not end a key. It has its own response.</summary>
public sealed class DiskFullException(Exception? inner = null) : Exception("The disk of the data folder is full.", inner);
