namespace Pakhouse.Server;

/// <summary>
/// Space on the disk of the data folder that is taken and not used: the file <c>reserve</c>. On a full disk it is given back in small
/// steps, to changes that end or suspend keys and to no others: while it is not whole, every other change is refused, so that nothing else
/// uses what was given back. It is filled again when there is space.
/// </summary>
internal sealed class DiskReserve(string folder)
{
    /// <summary>
    /// Many times what the log of SQLite needs for the end of a key (about 100 KB) where it can be reused, which is seen to at each step.
    /// </summary>
    public const long Size = 4 * 1024 * 1024;

    /// <summary>Small, because what is given back is anybody's until it is used.</summary>
    private const long Step = 256 * 1024;

    /// <summary>Free beside the reserve before it is filled: a disk at its limit would go back and forth.</summary>
    private const long Margin = 1024 * 1024;

    /// <summary>With less than this no change succeeds.</summary>
    private const long Least = 64 * 1024;

    /// <summary>Of Linux: no space, and no space within the quota.</summary>
    private static readonly int[] full = [28, 122];

    private readonly string file = Path.Combine(folder, "reserve");

    public bool IsWhole => new FileInfo(file) is { Exists: true, Length: >= Size };

    /// <summary>Whether the disk has no room for any change.</summary>
    public bool IsDiskFull => FreeSpace < Least;

    public static bool IsNoSpace(IOException e) => Array.IndexOf(full, e.HResult & 0xFFFF) >= 0;

    /// <summary>Takes what is missing of it.</summary>
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
            return true; // no reserve can be kept here, for another reason than space, and that is no reason to refuse changes
        }
    }

    /// <summary>Gives a step of it back to the disk.</summary>
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
                return long.MaxValue; // the folder is gone or closed to us: another fault, and told as such
            }
        }
    }
}

/// <summary>The disk of the data folder is full, and the change is none that ends a key. Answered with words of its own.</summary>
public sealed class DiskFullException(Exception? inner = null) : Exception("The disk of the data folder is full.", inner);
