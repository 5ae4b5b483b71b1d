using System.Text;

namespace Pakhouse.Server;

/// <summary>
/// What happened since a back-up, from the operator: a file with one key id a line, or the CSV export of an organization's activity. An
/// export also contains other changes; those are shown, and only a person can repeat them.
/// </summary>
public sealed record EndedKeyFile(IReadOnlyList<string> KeyIds, IReadOnlyList<string> OtherChanges)
{
    /// <summary>Characters; enough for an export of a million rows.</summary>
    private const int LengthMax = 256 * 1024 * 1024;

    private static readonly HashSet<string> ends = new(StringComparer.Ordinal)
    {
        AuditAction.KeyRevoke,
        AuditAction.KeyLeak,
        AuditAction.ApiKeyRevoke,
    };

    /// <summary>Actions on keys that need no repetition: new keys are unknown to the back-up and invalid, and the others affect only
    /// themselves.</summary>
    private static readonly HashSet<string> harmless = new(StringComparer.Ordinal)
    {
        AuditAction.KeyCreate,
        AuditAction.ApiKeyCreate,
        AuditAction.KeyExpire,
        AuditAction.ApiKeyExpire,
        AuditAction.KeyRotate,
        AuditAction.ApiKeyRotate,
        AuditAction.KeyResume,
        AuditAction.Login,
        AuditAction.LoginFailed,
        AuditAction.Logout,
        AuditAction.SwitchOrganization,
    };

    /// <param name="since">Other changes are reported from this time.</param>
    /// <exception cref="StartupException">It is neither format. The message names the line and never its content, which could be a
    /// key.</exception>
    public static EndedKeyFile Read(string path, DateTimeOffset? since)
    {
        try
        {
            if (new FileInfo(path).Length > LengthMax)
                throw new StartupException(
                    $"{path} is longer than {LengthMax / 1024 / 1024} MB. Split it, and run the command with each part."
                );
            return Parse(File.ReadAllText(path), since);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new StartupException($"{path} cannot be read: {e.Message}", e);
        }
    }

    internal static EndedKeyFile Parse(string text, DateTimeOffset? since)
    {
        var rows = Rows(text.TrimStart('\uFEFF')).ToList();
        if (rows.Count == 0)
            return new([], []);
        var header = rows[0].Fields;
        int action = header.IndexOf("action"),
            target = header.IndexOf("target id"),
            time = header.IndexOf("time"),
            detail = header.IndexOf("detail");
        var keys = new List<string>();
        var others = new List<string>();
        if (action < 0 || target < 0)
        {
            foreach (var (line, fields) in rows)
            {
                if (fields is [var id] && KeyFormat.IsId(id.Trim()))
                    keys.Add(id.Trim());
                else
                    throw new StartupException(
                        $"Line {line} is not the public id of a key: 16 letters and digits, the part between the underscores. Give one id "
                            + $"a line, or the CSV export of activity."
                    );
            }

            return new(keys, others);
        }

        foreach (var (line, fields) in rows.Skip(1))
        {
            if (fields.Count != header.Count)
                throw new StartupException(
                    $"Line {line} has {fields.Count} columns, and the first line has {header.Count}. Give the unchanged export."
                );
            var (did, id) = (fields[action], fields[target]);
            if (
                KeyFormat.IsId(id)
                && (
                    ends.Contains(did)
                    || (did is AuditAction.KeyRotate or AuditAction.ApiKeyRotate && detail >= 0 && fields[detail] == "overlap ended")
                )
            )
                keys.Add(id);
            else if (
                !harmless.Contains(did)
                && !(
                    time >= 0
                    && since is not null
                    && DateTimeOffset.TryParse(fields[time], System.Globalization.CultureInfo.InvariantCulture, out var at)
                    && at <= since
                )
            )
                others.Add(
                    string.Join(
                        "  ",
                        new[] { time < 0 ? "" : fields[time], did, id, detail < 0 ? "" : fields[detail] }.Where(word => word.Length > 0)
                    )
                );
        }

        return new(keys, others);
    }

    /// <summary>RFC 4180, with the number of the line on which each row begins. Empty lines are skipped.</summary>
    private static IEnumerable<(int Line, List<string> Fields)> Rows(string text)
    {
        var (fields, field) = (new List<string>(), new StringBuilder());
        var (isQuoted, line, begin) = (false, 1, 1);
        for (var i = 0; i <= text.Length; i++)
        {
            var c = i < text.Length ? text[i] : '\n';
            if (isQuoted && i < text.Length)
            {
                if (c == '"' && i + 1 < text.Length && text[i + 1] == '"') field.Append(text[i++]);
                else if (c == '"') isQuoted = false;
                else field.Append(c);
            }
            else if (c == '"' && field.Length == 0)
            {
                isQuoted = true;
            }
            else if (c == ',')
            {
                fields.Add(field.ToString());
                field.Clear();
            }
            else if (c == '\n')
            {
                if (fields.Count > 0 || field.Length > 0) yield return (begin, [.. fields, field.ToString().TrimEnd('\r')]);
                fields.Clear();
                field.Clear();
                begin = line + 1;
            }
            else if (c != '\r' || i + 1 >= text.Length || text[i + 1] != '\n')
            {
                field.Append(c);
            }

            if (c == '\n') line++;
        }
    }
}
